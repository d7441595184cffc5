"""The options that have names without being defined (Kea's "standard options"), in a table for each space.

A line is ``CODE NAME TYPE``: ``[]`` after the type makes it an array, ``+`` joins the fields of a record,
``>SPACE`` says which space its sub-options are of.
"""

from __future__ import annotations

__all__ = ["TABLES"]

_DHCP4 = """
1 subnet-mask ipv4-address
2 time-offset int32
3 routers ipv4-address[]
4 time-servers ipv4-address[]
5 name-servers ipv4-address[]
6 domain-name-servers ipv4-address[]
7 log-servers ipv4-address[]
8 cookie-servers ipv4-address[]
9 lpr-servers ipv4-address[]
10 impress-servers ipv4-address[]
11 resource-location-servers ipv4-address[]
12 host-name string
13 boot-size uint16
14 merit-dump string
15 domain-name fqdn
16 swap-server ipv4-address
17 root-path string
18 extensions-path string
19 ip-forwarding boolean
20 non-local-source-routing boolean
21 policy-filter ipv4-address[]
22 max-dgram-reassembly uint16
23 default-ip-ttl uint8
24 path-mtu-aging-timeout uint32
25 path-mtu-plateau-table uint16[]
26 interface-mtu uint16
27 all-subnets-local boolean
28 broadcast-address ipv4-address
29 perform-mask-discovery boolean
30 mask-supplier boolean
31 router-discovery boolean
32 router-solicitation-address ipv4-address
33 static-routes ipv4-address[]
34 trailer-encapsulation boolean
35 arp-cache-timeout uint32
36 ieee802-3-encapsulation boolean
37 default-tcp-ttl uint8
38 tcp-keepalive-interval uint32
39 tcp-keepalive-garbage boolean
40 nis-domain string
41 nis-servers ipv4-address[]
42 ntp-servers ipv4-address[]
43 vendor-encapsulated-options empty >vendor-encapsulated-options-space
44 netbios-name-servers ipv4-address[]
45 netbios-dd-server ipv4-address[]
46 netbios-node-type uint8
47 netbios-scope string
48 font-servers ipv4-address[]
49 x-display-manager ipv4-address[]
50 dhcp-requested-address ipv4-address
51 dhcp-lease-time uint32
52 dhcp-option-overload uint8
53 dhcp-message-type uint8
54 dhcp-server-identifier ipv4-address
55 dhcp-parameter-request-list uint8[]
56 dhcp-message string
57 dhcp-max-message-size uint16
58 dhcp-renewal-time uint32
59 dhcp-rebinding-time uint32
60 vendor-class-identifier string
61 dhcp-client-identifier binary
62 nwip-domain-name string
63 nwip-suboptions binary
64 nisplus-domain-name string
65 nisplus-servers ipv4-address[]
66 tftp-server-name string
67 boot-file-name string
68 mobile-ip-home-agent ipv4-address[]
69 smtp-server ipv4-address[]
70 pop-server ipv4-address[]
71 nntp-server ipv4-address[]
72 www-server ipv4-address[]
73 finger-server ipv4-address[]
74 irc-server ipv4-address[]
75 streettalk-server ipv4-address[]
76 streettalk-directory-assistance-server ipv4-address[]
77 user-class binary
78 slp-directory-agent boolean+ipv4-address[]
79 slp-service-scope boolean+string
81 fqdn uint8+uint8+uint8+fqdn
82 dhcp-agent-options empty >dhcp-agent-options-space
85 nds-server ipv4-address[]
86 nds-tree-name string
87 nds-context string
88 bcms-controller-names fqdn[]
89 bcms-controller-address ipv4-address[]
90 authenticate binary
91 client-last-transaction-time uint32
92 associated-ip ipv4-address[]
93 client-system uint16[]
94 client-ndi uint8+uint8+uint8
97 uuid-guid uint8+binary
98 uap-servers string
99 geoconf-civic binary
100 pcode string
101 tcode string
108 v6-only-preferred uint32
112 netinfo-server-address ipv4-address[]
113 netinfo-server-tag string
114 v4-captive-portal string
116 auto-config uint8
117 name-service-search uint16[]
118 subnet-selection ipv4-address
119 domain-search fqdn[]
124 vivco-suboptions uint32+binary
125 vivso-suboptions uint32
136 pana-agent ipv4-address[]
137 v4-lost fqdn
138 capwap-ac-v4 ipv4-address[]
141 sip-ua-cs-domains fqdn[]
146 rdnss-selection uint8+ipv4-address+ipv4-address+fqdn
159 v4-portparams uint8+psid
212 option-6rd uint8+uint8+ipv6-address+ipv4-address[]
213 v4-access-domain fqdn
"""

_AGENT = """
1 circuit-id binary
2 remote-id binary
4 docsis-device-class uint32
5 link-selection ipv4-address
6 subscriber-id string
11 server-id-override ipv4-address
12 relay-id binary
19 relay-port empty
"""

_DHCP6 = """
1 clientid binary
2 serverid binary
3 ia-na uint32+uint32+uint32
4 ia-ta uint32
5 iaaddr ipv6-address+uint32+uint32
6 oro uint16[]
7 preference uint8
8 elapsed-time uint16
9 relay-msg binary
11 auth binary
12 unicast ipv6-address
13 status-code uint16+string
14 rapid-commit empty
15 user-class binary
16 vendor-class uint32+binary
17 vendor-opts uint32
18 interface-id binary
19 reconf-msg uint8
20 reconf-accept empty
21 sip-server-dns fqdn[]
22 sip-server-addr ipv6-address[]
23 dns-servers ipv6-address[]
24 domain-search fqdn[]
25 ia-pd uint32+uint32+uint32
26 iaprefix uint32+uint32+uint8+ipv6-address
27 nis-servers ipv6-address[]
28 nisp-servers ipv6-address[]
29 nis-domain-name fqdn
30 nisp-domain-name fqdn
31 sntp-servers ipv6-address[]
32 information-refresh-time uint32
33 bcmcs-server-dns fqdn[]
34 bcmcs-server-addr ipv6-address[]
36 geoconf-civic uint8+uint16+binary
37 remote-id uint32+binary
38 subscriber-id binary
39 client-fqdn uint8+fqdn
40 pana-agent ipv6-address[]
41 new-posix-timezone string
42 new-tzdb-timezone string
43 ero uint16[]
44 lq-query uint8+ipv6-address
45 client-data empty
46 clt-time uint32
47 lq-relay-data ipv6-address+binary
48 lq-client-link ipv6-address[]
51 v6-lost fqdn
52 capwap-ac-v6 ipv6-address[]
53 relay-id binary
57 v6-access-domain fqdn
58 sip-ua-cs-list fqdn[]
59 bootfile-url string
60 bootfile-param tuple[]
61 client-arch-type uint16[]
62 nii uint8+uint8+uint8
64 aftr-name fqdn
65 erp-local-domain-name fqdn
66 rsoo empty >rsoo-opts
67 pd-exclude binary
74 rdnss-selection ipv6-address+uint8+fqdn
79 client-linklayer-addr binary
80 link-address ipv6-address
82 solmax-rt uint32
83 inf-max-rt uint32
87 dhcpv4-message binary
88 dhcp4o6-server-addr ipv6-address[]
89 s46-rule uint8+uint8+uint8+ipv4-address+ipv6-prefix >s46-rule-options
90 s46-br ipv6-address
91 s46-dmr ipv6-prefix
92 s46-v4v6bind ipv4-address+ipv6-prefix >s46-v4v6bind-options
93 s46-portparams uint8+psid
94 s46-cont-mape empty >s46-cont-mape-options
95 s46-cont-mapt empty >s46-cont-mapt-options
96 s46-cont-lw empty >s46-cont-lw-options
103 v6-captive-portal string
143 ipv6-address-andsf ipv6-address[]
"""

_DOCSIS4 = """
1 oro uint8[]
2 tftp-servers ipv4-address[]
"""

_DOCSIS6 = """
1 oro uint16[]
32 tftp-servers ipv6-address[]
33 config-file string
34 syslog-servers ipv6-address[]
36 device-id binary
37 time-servers ipv6-address[]
38 time-offset int32
"""

TABLES: dict[int, dict[str, str]] = {
    4: {"dhcp4": _DHCP4, "dhcp-agent-options-space": _AGENT, "vendor-4491": _DOCSIS4},
    6: {"dhcp6": _DHCP6, "vendor-4491": _DOCSIS6},
}
"""By protocol (4 or 6) and space."""
