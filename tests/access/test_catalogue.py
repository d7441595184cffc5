"""The catalogue of real daemons' commands has one meaning for every name, and agrees with what is known."""

from __future__ import annotations

from collections import Counter

import pytest

from bridle.access import catalogue
from bridle.access.catalogue import CATALOGUE
from bridle.bundled.bng.bng import Bng
from bridle.bundled.ddns.d2 import D2
from bridle.bundled.dhcp.dhcp4 import Dhcp4
from bridle.bundled.dhcp.dhcp6 import Dhcp6
from bridle.daemon.daemon import Daemon


def test_no_name_stands_in_it_twice() -> None:
    counted = Counter(name for name, _ in catalogue._entries())
    assert not [name for name, count in counted.items() if count > 1]


@pytest.mark.parametrize("kind", [Dhcp4, Dhcp6, D2, Bng])
def test_bundled_daemons_declare_what_it_says_of_the_real_ones(kind: type[Daemon]) -> None:
    for definition in kind().manager:
        if definition.name in CATALOGUE:
            assert CATALOGUE[definition.name].access == definition.access, definition.name


def test_it_knows_what_kea_s_dhcp_servers_have_by_themselves() -> None:
    known = (
        "build-report config-backend-pull config-get config-hash-get config-reload config-set config-test "
        "config-write dhcp-disable dhcp-enable leases-reclaim libreload list-commands server-tag-get "
        "shutdown statistic-get statistic-get-all statistic-remove statistic-remove-all statistic-reset "
        "statistic-reset-all statistic-sample-age-set statistic-sample-age-set-all "
        "statistic-sample-count-set statistic-sample-count-set-all status-get version-get"
    )
    assert not [name for name in known.split() if name not in CATALOGUE]
