"""Every daemon, and the agent, reads who may do what: from ``access``, or where Kea's hook library stands."""

from __future__ import annotations

import msgspec
import pytest

import bridle
from bridle import JSON
from bridle.agent.agent import Agent
from bridle.bundled.bng.bng import Bng
from bridle.bundled.ddns.d2 import D2
from bridle.bundled.dhcp.dhcp4 import Dhcp4
from bridle.bundled.dhcp.dhcp6 import Dhcp6
from bridle.core.errors import ConfigurationError
from bridle.core.messages import Command, Peer
from bridle.daemon.configuration import ConfigurationOwner, Held
from bridle.daemon.daemon import Daemon
from bridle.daemon.document import Document


class Thermostat(bridle.Daemon):
    """Has a configuration of its own, and a secret."""

    secrets = ("pairing-code",)

    class Configuration(msgspec.Struct, forbid_unknown_fields=True, rename="kebab"):
        """What it takes."""

        pairing_code: str = ""


class Plain(bridle.Daemon):
    """Takes any configuration."""


DAEMONS = [Agent, Dhcp4, Dhcp6, D2, Bng, Thermostat, Plain]
POLICY: dict[str, JSON] = {
    "assign-role-method": "basic-authentication",
    "roles": [{"name": "reader", "accept-commands": "READ"}],
}


def held_by(kind: type[Daemon], value: dict[str, JSON]) -> Held:
    daemon = kind()
    return ConfigurationOwner(daemon, None).test(Document({daemon.root: value}))


@pytest.mark.parametrize("kind", DAEMONS)
def test_access_is_read_and_told(kind: type[Daemon]) -> None:
    held = held_by(kind, {"access": POLICY})
    assert held.access is not None
    policy = held.access.policy
    assert policy is not None
    reader = policy.role_of(Peer(transport="unix", user="reader"))
    assert policy.governs(Peer(transport="unix"))
    assert policy.decide(reader, Command("status-get")).allowed
    assert not policy.decide(reader, Command("shutdown")).allowed
    assert held.value["access"] == POLICY
    assert held_by(kind, {}).access is None


@pytest.mark.parametrize("kind", [Agent, Dhcp4, Dhcp6, D2])
@pytest.mark.parametrize("library", ["libca_rbac.so", "/opt/lib/libdhcp_rbac.so"])
def test_kea_s_library_is_read_as_roles(kind: type[Daemon], library: str) -> None:
    entry: JSON = {"library": library, "parameters": POLICY}
    held = held_by(kind, {"hooks-libraries": [entry]})
    assert held.access is not None
    policy = held.access.policy
    assert policy is not None
    assert list(policy.roles) == ["reader"]
    assert not policy.governs(Peer(transport="unix"))
    assert held.value["hooks-libraries"] == [entry]


@pytest.mark.parametrize("kind", [Agent, Dhcp4, Dhcp6, D2])
def test_what_is_wrong_in_it_refuses_the_configuration(kind: type[Daemon]) -> None:
    entry: JSON = {"library": "libca_rbac.so", "parameters": {"assign-role-method": "luck"}}
    with pytest.raises(ConfigurationError, match="'assign-role-method' is one of"):
        held_by(kind, {"hooks-libraries": [entry]})
    with pytest.raises(ConfigurationError, match="missing parameter 'assign-role-method'"):
        held_by(kind, {"hooks-libraries": [{"library": "libca_rbac.so", "parameters": {}}]})
    with pytest.raises(ConfigurationError, match='unexpected keyword "library" in access'):
        held_by(kind, {"hooks-libraries": [{"library": "libca_rbac.so"}]})
    with pytest.raises(ConfigurationError, match="access control is configured twice"):
        held_by(
            kind, {"access": POLICY, "hooks-libraries": [{"library": "libca_rbac.so", "parameters": POLICY}]}
        )


@pytest.mark.parametrize("kind", DAEMONS)
def test_access_is_a_map(kind: type[Daemon]) -> None:
    with pytest.raises(ConfigurationError, match=r"(?i)map|type"):
        held_by(kind, {"access": []})


def test_a_daemon_s_own_secrets_are_masked() -> None:
    held = held_by(Thermostat, {"access": {**POLICY, "secrets": ["room"]}})
    assert held.access is not None
    policy = held.access.policy
    assert policy is not None
    value: JSON = {"pairing-code": "1", "room": "2", "password": "3", "target": 4}
    masked = policy.redaction.masked(value)
    assert isinstance(masked, dict)
    assert [name for name, item in masked.items() if item == "********"] == [
        "pairing-code",
        "room",
        "password",
    ]
