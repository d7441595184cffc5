"""The tests that BNG Blaster was captured in, as configurations of the session daemon; and what happened
between the rows that were kept."""

from __future__ import annotations

from typing import Any

__all__ = ["BETWEEN", "CONFIGURATIONS", "Step"]

Step = float | tuple[str, dict[str, Any]]
"""Seconds that pass, or a command that is given."""

_LINE = {
    "agent-circuit-id": "0.0.0.0/0.0.0.0 eth 0:{session-global}",
    "agent-remote-id": "DEU.RTBRICK.{session-global}",
}
_A = {
    "interfaces": {
        "a10nsp": [{"interface": "a1"}],
        "access": [{"interface": "a0", "outer-vlan-min": 1, "outer-vlan-max": 4000, "inner-vlan": 7}],
    },
    "sessions": {"count": 3},
    "pppoe": {"reconnect": True},
    "access-line": _LINE,
    "session-traffic": {"ipv4-pps": 1, "ipv6-pps": 1, "ipv6pd-pps": 1},
    "simulation": {"multicast": {"groups": ["239.0.0.1"]}},
}
_LACS = [
    {
        "server": "LNS1",
        "sessions": 4,
        "established": 3,
        "vendor": "python-lac",
        "proxy-authentication": "PAP",
    },
    {"server": "LNS2", "sessions": 0, "name": "LAC2", "tunnel-id": 4244},
]
_LI = [
    {
        "source-address": "10.0.0.2",
        "destination-address": "10.0.0.1",
        "liid": liid,
        "direction": direction,
        "packet-type": kind,
        "sub-packet-type": tags,
    }
    for liid, direction, kind, tags in (
        (78, "downstream", "ipv4", "untagged"),
        (77, "downstream", "ethernet", "single-tagged"),
        (77, "upstream", "ethernet", "single-tagged"),
    )
]
_LNS = [
    {"name": "LNS1", "address": "10.0.0.11", "secret": "test"},
    {"name": "LNS2", "address": "10.0.0.12"},
]
_ZAPPING = {
    "igmp": {
        "group": "239.0.0.1",
        "group-count": 3,
        "source": "1.1.1.1",
        "zapping-interval": 2,
        "max-join-delay": 30,
    },
    "simulation": {
        "seed": 4,
        "multicast": {"groups": ["239.0.0.1", "239.0.0.2", "239.0.0.3"], "pps": 16, "leave-delay": 1.9},
    },
}


def _zapping(kind: str) -> dict[str, Any]:
    access = {"interface": "a0", "type": kind, "outer-vlan-min": 1, "outer-vlan-max": 9, "inner-vlan": 7}
    return {
        "interfaces": {"a10nsp": [{"interface": "a1"}], "access": [access]},
        "sessions": {"count": 2},
        "access-line": _LINE,
        **_ZAPPING,
    }


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "A": _A,
    "B": {
        "interfaces": {
            "a10nsp": [{"interface": "a1"}],
            "access": [
                {
                    "interface": "a0",
                    "type": "ipoe",
                    "outer-vlan-min": 1,
                    "outer-vlan-max": 99,
                    "inner-vlan": 7,
                    "session-group-id": 1,
                    "i1-start": 100,
                    "i1-step": 10,
                    "agent-circuit-id": "ACI {session-global} {session} {i1} {i2} {outer-vlan}.{inner-vlan}",
                    "agent-remote-id": "ARI{session-global}",
                },
                {
                    "interface": "a0",
                    "type": "ipoe",
                    "vlan-mode": "N:1",
                    "outer-vlan": 100,
                    "ipv6": False,
                    "session-group-id": 2,
                },
                {
                    "interface": "b0",
                    "type": "ipoe",
                    "outer-vlan-min": 1,
                    "outer-vlan-max": 9,
                    "ipv6": False,
                    "address": "192.0.2.2",
                    "address-iter": "0.0.0.4",
                    "gateway": "192.0.2.1",
                    "gateway-iter": "0.0.0.4",
                },
                {"interface": "b0", "outer-vlan-min": 200, "outer-vlan-max": 299},
            ],
        },
        "sessions": {"count": 8},
        "access-line": _LINE,
        "session-traffic": {"ipv4-pps": 1},
        "simulation": {"silent-interfaces": ["b0"]},
    },
    "L": {
        "interfaces": {
            "network": {"interface": "n0", "address": "10.0.0.1/24"},
            "access": [{"interface": "b0", "outer-vlan-min": 1, "outer-vlan-max": 9}],
        },
        "streams": [
            {
                "name": "RAW1",
                "type": "ipv4",
                "direction": "downstream",
                "pps": 2,
                "network-interface": "n0",
                "destination-ipv4-address": "192.0.2.9",
            }
        ],
        "igmp": {
            "group": "239.0.0.1",
            "group-count": 3,
            "send-multicast-traffic": True,
            "multicast-traffic-pps": 5,
        },
        "l2tp-server": _LNS,
        "simulation": {"silent-interfaces": ["b0"], "l2tp": _LACS[:1], "li-flows": _LI},
    },
    "Z": _zapping("pppoe"),
    "Z2": _zapping("ipoe"),
    "Z3": {**_zapping("ipoe"), "simulation": {"seed": 4}},
    "O": {
        "release": "0.5",
        "interfaces": {
            "network": {"interface": "n0", "address": "10.0.0.1/24"},
            "access": [{"interface": "a0", "outer-vlan": 1000, "inner-vlan-min": 1, "inner-vlan-max": 9}],
        },
        "sessions": {"count": 3},
        "pppoe": {"reconnect": True},
        "session-traffic": {"ipv4-pps": 1},
        "simulation": {"multicast": {"groups": ["239.0.0.1"], "leave-delay": 2.0}},
    },
    "O2": {
        "release": "0.5",
        "interfaces": {
            "network": {"interface": "n0", "address": "10.0.0.1/24"},
            "access": [
                {
                    "interface": "a0",
                    "type": "ipoe",
                    "outer-vlan-min": 1,
                    "outer-vlan-max": 9,
                    "ipv6": False,
                    "address": "192.0.2.2",
                },
                {"interface": "a0", "outer-vlan-min": 100, "outer-vlan-max": 109},
            ],
        },
        "sessions": {"count": 4},
        "l2tp-server": _LNS,
        "simulation": {
            "silent-interfaces": ["a0"],
            "l2tp": [{**_LACS[0], "sessions": 3}],
            "li-flows": _LI[1:],
        },
    },
    "S": {
        "interfaces": {
            "a10nsp": [{"interface": "a1"}],
            "access": [{"interface": "a0", "outer-vlan-min": 1, "outer-vlan-max": 4000, "inner-vlan": 7}],
        },
        "sessions": {"count": 2000},
    },
    "Q": _A,
}


def _joins(session: int, first: int, count: int) -> list[Step]:
    return [
        ("igmp-join", {"session-id": session, "group": f"239.0.1.{number}"})
        for number in range(first, first + count)
    ]


BETWEEN: dict[int, list[Step]] = {
    0: [5.0],
    73: [1.05],
    78: [3.0, ("ipcp-close", {"session-id": 1})],
    79: [("igmp-join", {"session-id": 1, "group": "239.0.0.9"})],
    80: [("ipcp-open", {"session-id": 1}), 2.0],
    82: [2.0],
    96: [2.0],
    98: [2.0],
    99: [("igmp-join", {"session-id": 2, "group": "239.0.0.3"})],
    103: [2.0],
    104: [1.1, *_joins(2, 10, 2), 0.1],
    105: [*_joins(2, 13, 1), 0.1],
    109: _joins(2, 18, 1),
    116: [3.0],
    130: [("session-update", {"session-id": 1, "username": "new@isp"})],
    134: [0.2],
    135: [0.3],
    136: [0.3],
    137: [0.1],
    138: [0.25],
    139: [0.3],
    140: [0.3],
    141: [2.0],
    144: [1.2, ("terminate", {"session-id": 3})],
    148: [2.5],
    152: [0.2],
    155: [1.0],
    156: [2.0],
    157: [0.3],
    158: [("session-start", {}), 2.0],
    177: [1.0],
    182: [4.5],
    194: [("dhcp-stop", {"session-id": 1})],
    196: [1.0],
    198: [("dhcp-start", {"session-id": 1}), 1.0],
    200: [0.5],
    204: [29.0],
    228: [0.5],
    230: [("session-start", {"session-id": 1}), 1.0],
    234: [7.0],
    235: [3.0],
    **{number: [0.5] for number in range(236, 242)},
    247: [1.5],
    252: [4.3],
    253: [0.5],
    254: [0.5],
    255: [0.5],
    256: [1.5],
    257: [0.5],
    258: [0.5],
    262: [7.0],
    265: [50.0],
    308: [("ipcp-close", {"session-id": 1})],
    310: [1.0],
    312: [1.0],
    314: [2.0],
    316: [
        (
            "igmp-join",
            {
                "session-id": 2,
                "group": "239.0.0.1",
                "source1": "1.1.1.1",
                "source2": "2.2.2.2",
                "source3": "3.3.3.3",
            },
        )
    ],
    317: [0.8],
    318: [1.0, ("igmp-leave", {"session-id": 2, "group": "239.0.0.1"})],
    319: [2.5],
    328: _joins(3, 5, 1),
    334: [2.5],
    351: [20.0],
    359: [("terminate", {"session-id": 1}), 1.0],
    361: [0.41],
    362: [0.41],
    363: [0.41],
    364: [0.81],
    365: [1.21],
    366: [0.41],
    367: [0.4],
    368: [0.85],
    369: [0.41],
    370: [0.4],
    371: [("session-stop", {})],
    372: [0.3],
    377: [1.0],
    378: [5.0],
    383: [6.0],
    386: [1.5],
}
"""What comes before a row, by its number."""
