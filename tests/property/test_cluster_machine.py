"""The cluster daemon against a model: a CIB's options and resources, and attributes by name and node."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridle.bundled.cluster.cluster import Cluster
from bridle.core.messages import Command, Response
from bridle.daemon.document import Document
from tests.support.cluster import EPOCH

pytestmark = pytest.mark.timeout(120)

names = st.sampled_from(["a", "b", "c"])
nodes = st.sampled_from(["node1", "node2"])
texts = st.sampled_from(["1", "2", "<&'\"", "ä"])


class ClusterMachine(RuleBasedStateMachine):
    """Every rule does the same to the daemon and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.daemon = Cluster(node="node1", native=False, epoch=lambda: float(EPOCH), clock=lambda: self.time)
        configuration: dict[str, Any] = {"imagined": {"nodes": [{"name": "node2"}]}}
        self.daemon.configure(self.daemon.check_configuration(Document({"Cluster": configuration})))
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.daemon.start())
        self.options: dict[str, str] = {}
        self.resources: dict[str, str] = {}
        self.attributes: dict[str, dict[str, str | None]] = {}
        self.version = self.daemon.world.cib.version()

    def teardown(self) -> None:
        self.loop.run_until_complete(self.daemon.stop())
        self.loop.close()

    def ask(self, name: str, /, **arguments: Any) -> Response:
        given = {key.replace("_", "-"): value for key, value in arguments.items()}
        return self.loop.run_until_complete(self.daemon.manager.execute(Command(name, given)))

    def done(self, name: str, /, **arguments: Any) -> Any:
        response = self.ask(name, **arguments)
        assert response.result == 0, response
        return response.value

    @rule(name=names, value=texts)
    def set_option(self, name: str, value: str) -> None:
        from bridle.bundled.cluster.tree import dump, make

        pair = make("nvpair", {"id": f"o-{name}", "name": name, "value": value})
        update = make("cluster_property_set", {"id": "cib-bootstrap-options"}, pair)
        self.done("cib-modify", section="crm_config", xml=dump(update))
        self.options[name] = value

    @rule(name=names)
    def delete_option(self, name: str) -> None:
        self.done("cib-delete", xml=f'<nvpair id="o-{name}"/>')
        self.options.pop(name, None)

    @rule(name=names, kind=st.sampled_from(["Dummy", "Stateful"]))
    def create_resource(self, name: str, kind: str) -> None:
        xml = f'<primitive id="{name}" class="ocf" provider="p" type="{kind}"/>'
        response = self.ask("cib-create", section="resources", xml=xml)
        assert (response.result == 4) == (name in self.resources)
        self.resources.setdefault(name, kind)

    @rule(name=names, kind=st.sampled_from(["Dummy", "Stateful"]))
    def replace_resource(self, name: str, kind: str) -> None:
        xml = f'<primitive id="{name}" class="ocf" provider="p" type="{kind}"/>'
        response = self.ask("cib-replace", section="resources", xml=xml)
        assert (response.result == 0) == (name in self.resources)
        if name in self.resources:
            self.resources[name] = kind

    @rule(name=names)
    def delete_resource(self, name: str) -> None:
        self.done("cib-delete", xpath=f"//primitive[@id='{name}']")
        self.resources.pop(name, None)

    @rule(name=names)
    def be_refused(self, name: str) -> None:
        whole = self.done("cib-query")["cib"]
        assert self.ask("cib-create", section="resources", xml=f'<nonsense id="{name}"/>').result != 0
        assert self.ask("cib-modify", xml=f'<op id="no-{name}"/>').result != 0
        self.done("cib-modify", xml='<cib dc-uuid="9"/>', dry_run=True)
        assert self.done("cib-query")["cib"] == whole

    @rule(name=names, node=nodes, value=texts)
    def update_attribute(self, name: str, node: str, value: str) -> None:
        self.done("attribute-update", name=name, node=node, value=value)
        self.attributes.setdefault(name, {})[node] = value

    @rule(name=names, node=nodes)
    def delete_attribute(self, name: str, node: str) -> None:
        self.done("attribute-delete", name=name, node=node)
        self.attributes.setdefault(name, {})[node] = None

    @rule(seconds=st.sampled_from([0.1, 5.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.time += seconds
        self.done("ping")

    @invariant()
    def the_cib_says_what_the_model_says(self) -> None:
        world = self.daemon.world
        pairs = world.root.iterfind("configuration/crm_config/cluster_property_set/nvpair")
        found = {
            str(one.get("name")): one.get("value") for one in pairs if str(one.get("id")).startswith("o-")
        }
        assert found == self.options
        kinds = {
            one.get("id"): one.get("type") for one in world.root.iterfind("configuration/resources/primitive")
        }
        assert kinds == self.resources

    @invariant()
    def attributes_are_what_the_model_says(self) -> None:
        for name, values in self.attributes.items():
            told = self.done("attribute-query", name=name)["values"]
            assert {one["node"]: one["value"] for one in told} == values
        written = {
            (str(state.get("uname")), str(pair.get("name"))): pair.get("value")
            for state in self.daemon.world.root.iterfind("status/node_state")
            for pair in state.iterfind("transient_attributes/instance_attributes/nvpair")
            if pair.get("name") in self.attributes
        }
        expected = {
            (node, name): value
            for name, values in self.attributes.items()
            for node, value in values.items()
            if value is not None
        }
        assert written == expected

    @invariant()
    def the_version_never_goes_back(self) -> None:
        version = self.daemon.world.cib.version()
        assert version >= self.version
        self.version = version


TestCluster = ClusterMachine.TestCase
TestCluster.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
