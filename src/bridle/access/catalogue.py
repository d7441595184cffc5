"""The access classes of commands that real daemons have, for whoever stands in front of them: an agent.

Kea's are those that its own ``api`` folder tells (``facts/kea.md`` §3), with the library that has the
command; some read only and are ``write`` there all the same, and so they are here. Kamailio's, BNG Blaster's
and Pacemaker's (``facts/*.md``) declare none: what only looks is ``read``. The requests of BNG Blaster's
controller are commands here. A ``#`` stands for 4 and for 6.

No name has two meanings, so one table does for all. What is not in it counts as ``write``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from bridle.core.manager import Access

__all__ = ["CATALOGUE", "EVENTS", "EVENT_COMMANDS", "Classified"]


EVENTS = "events"
"""The command that stands for being told of events: nobody runs it, but it is decided about."""

EVENT_COMMANDS: Mapping[str, str] = {
    "cib-diff": "cib-query",
    "fencing": "fencing-history",
    "fencing-configuration": "fencing-devices",
    "fencing-history": "fencing-history",
    "node": "node-list",
    "resource-changed": "resource-info",
    "resource-executed": "resource-info",
}
"""Events that tell what a command of the same daemon tells: that command stands for them."""


class Classified(msgspec.Struct, frozen=True):
    """What is known of a command by its name. ``hook`` is the library that has it, empty for none."""

    access: Access
    hook: str = ""


_KEA: Mapping[str, tuple[str, str]] = {
    # library: (read, write)
    "": (
        """build-report command-help config-get config-hash-get interface-list list-commands server-tag-get
        statistic-get statistic-get-all statistic-global-get-all status-get subnet#-select-test
        subnet4o6-select-test version-get""",
        """config-backend-pull config-reload config-set config-test config-write dhcp-disable dhcp-enable
        interface-add interface-redetect kea-lfc-start leases-reclaim libreload shutdown statistic-remove
        statistic-remove-all statistic-reset statistic-reset-all statistic-sample-age-set
        statistic-sample-age-set-all statistic-sample-count-set statistic-sample-count-set-all""",
    ),
    "cb_cmds": (
        """remote-class#-get remote-class#-get-all remote-global-parameter#-get
        remote-global-parameter#-get-all remote-network#-get remote-network#-list remote-option-def#-get
        remote-option-def#-get-all remote-option#-global-get remote-option#-global-get-all remote-server#-get
        remote-server#-get-all remote-subnet#-get-by-id remote-subnet#-get-by-prefix remote-subnet#-list""",
        """remote-class#-del remote-class#-set remote-global-parameter#-del remote-global-parameter#-set
        remote-network#-del remote-network#-set remote-option-def#-del remote-option-def#-set
        remote-option#-global-del remote-option#-global-set remote-option#-network-del
        remote-option#-network-set remote-option#-pool-del remote-option#-pool-set remote-option#-subnet-del
        remote-option#-subnet-set remote-option6-pd-pool-del remote-option6-pd-pool-set remote-server#-del
        remote-server#-set remote-subnet#-del-by-id remote-subnet#-del-by-prefix remote-subnet#-set""",
    ),
    "class_cmds": ("class-get class-list", "class-add class-del class-update"),
    "gss_tsig": (
        "gss-tsig-get gss-tsig-get-all gss-tsig-key-get gss-tsig-list",
        """gss-tsig-key-del gss-tsig-key-expire gss-tsig-purge gss-tsig-purge-all gss-tsig-rekey
        gss-tsig-rekey-all""",
    ),
    "high_availability": (
        "",
        """ha-continue ha-heartbeat ha-maintenance-cancel ha-maintenance-notify ha-maintenance-start ha-reset
        ha-scopes ha-sync ha-sync-complete-notify""",
    ),
    "host_cache": (
        "cache-get cache-get-by-id cache-size",
        "cache-clear cache-flush cache-insert cache-load cache-remove cache-write",
    ),
    "host_cmds": (
        """reservation-get reservation-get-all reservation-get-by-address reservation-get-by-hostname
        reservation-get-by-id reservation-get-page""",
        "reservation-add reservation-del reservation-update",
    ),
    "lease_cmds": (
        """lease#-get lease#-get-all lease#-get-by-hostname lease#-get-by-hw-address lease#-get-by-state
        lease#-get-page lease4-get-by-client-id lease6-get-by-duid""",
        """lease#-add lease#-del lease#-resend-ddns lease#-update lease#-wipe lease#-write
        lease6-bulk-apply""",
    ),
    "lease_query": ("", "binary-address6-upgrade extended-info#-upgrade"),
    "perfmon": ("", "perfmon-control perfmon-get-all-durations"),
    "stat_cmds": ("stat-lease#-get", ""),
    "subnet_cmds": (
        "network#-get network#-list subnet#-get subnet#-list",
        """network#-add network#-del network#-subnet-add network#-subnet-del subnet#-add subnet#-del
        subnet#-delta-add subnet#-delta-del subnet#-update""",
    ),
}

_KAMAILIO = (
    """cfg.diff cfg.get cfg.help cfg.list cnt.get cnt.get_raw cnt.get_vars cnt.grp_get_all cnt.grps_list
    cnt.help cnt.list_groups cnt.list_vars cnt.var_list core.aliases_list core.arg core.echo core.flags
    core.info core.modules core.ppdefines core.ppdefines_full core.printi core.prints core.ps core.psa
    core.psx core.pwd core.runinfo core.shmmem core.sockets_list core.tcp_info core.tcp_list core.tcp_options
    core.uptime core.version corex.list_aliases corex.list_sockets corex.shm_status ctl.connections ctl.listen
    ctl.who
    dispatcher.hash dispatcher.list dlg.briefing dlg.dlg_list dlg.dlg_list_ctx dlg.is_alive dlg.list
    dlg.list_ctx dlg.list_match dlg.list_match_ctx dlg.profile_get_size dlg.profile_list dlg.stats_active
    dns.debug dns.debug_all dns.lookup dns.mem_info dns.view htable.dump htable.get htable.listTables
    htable.stats mod.mem_stats mod.mem_statsx mod.stats pkg.info pkg.stats pv.shvGet sl.stats stats.fetch
    stats.fetchn stats.get_statistics system.listMethods system.methodHelp system.methodSignature
    tm.hash_stats tm.list tm.stats ul.db_contacts ul.db_expired_contacts ul.db_users ul.dump ul.lookup""",
    """cfg.add_group_inst cfg.commit cfg.del cfg.del_delayed cfg.del_group_inst cfg.reset cfg.rollback cfg.set
    cfg.set_delayed cfg.set_delayed_int cfg.set_delayed_string cfg.set_now_int cfg.set_now_string cfg.seti
    cfg.sets cnt.reset core.kill corex.debug corex.pkg_summary corex.shm_summary dispatcher.add
    dispatcher.ping_active dispatcher.reload dispatcher.remove dispatcher.set_duid_state
    dispatcher.set_state dlg.bridge_dlg dlg.dump_file dlg.end_dlg dlg.set_state dlg.terminate_dlg dns.add_a
    dns.add_aaaa dns.add_srv dns.delete_a dns.delete_aaaa dns.delete_all dns.delete_all_force
    dns.delete_cname dns.delete_ebl dns.delete_naptr dns.delete_ptr dns.delete_srv dns.delete_txt
    htable.delete htable.flush htable.reload htable.setex htable.seti htable.sets htable.setxi htable.setxs
    htable.store pv.shvSet stats.clear_statistics stats.reset_statistics tm.cancel tm.clean tm.reply
    tm.reply_callid tm.t_uac_start tm.t_uac_wait tm.t_uac_wait_block ul.add ul.flush ul.rm ul.rm_contact""",
)

_BNGBLASTER = (
    """a10nsp-interfaces access-interfaces arp-clients bgp-raw-update-list bgp-sessions commands http-clients
    icmp-clients igmp-info interface-topology interfaces isis-adjacencies isis-database l2tp-sessions
    l2tp-tunnels lag-info ldp-adjacencies ldp-database ldp-raw-update-list ldp-sessions li-flows
    network-interfaces ospf-database ospf-interfaces ospf-neighbors session-counters session-info
    session-streams session-summary session-traffic sessions-pending stream-info stream-stats
    stream-summary streams-pending test-info""",
    """arp-clients-reset bgp-disconnect bgp-raw-update bgp-teardown cfm-cc-rdi-off cfm-cc-rdi-on cfm-cc-start
    cfm-cc-stop dhcp-release dhcp-start dhcp-stop http-clients-start http-clients-stop icmp-clients-start
    icmp-clients-stop igmp-join igmp-join-iter igmp-leave igmp-leave-all interface-disable interface-enable
    ip6cp-close ip6cp-open ipcp-close ipcp-open isis-load-mrt isis-lsp-flap isis-lsp-purge isis-lsp-update
    isis-teardown isis-update-priority l2tp-csurq l2tp-lcp-restart l2tp-session-terminate
    l2tp-tunnel-terminate lcp-echo-request-accept lcp-echo-request-ignore ldp-disconnect ldp-raw-update
    ldp-teardown monkey-start monkey-stop multicast-traffic-start multicast-traffic-stop ospf-load-mrt
    ospf-lsa-update ospf-pdu-update ospf-teardown pcap-start pcap-stop session-restart session-start
    session-stop session-traffic-disabled session-traffic-enabled session-traffic-reset
    session-traffic-start session-traffic-stop session-update stream-reset stream-start stream-stop
    stream-stop-verified stream-traffic-disabled stream-traffic-enabled stream-traffic-start
    stream-traffic-stop stream-update terminate test-stop traffic-start traffic-stop zapping-start
    zapping-stats zapping-stop""",
)

_PACEMAKER = (
    """attribute-query cib-query fencing-devices fencing-history graph node-info node-list ping resource-info
    resource-list""",
    """attribute-clear-failures attribute-delete attribute-refresh attribute-update cib-apply-diff cib-bump
    cib-create cib-delete cib-erase cib-modify cib-replace cib-upgrade fence fencing-confirm
    fencing-device-add fencing-device-remove fencing-history-cleanup fencing-level-add
    fencing-level-remove node-join node-leave node-purge reprobe resource-add resource-cancel
    resource-execute resource-fail resource-refresh resource-remove resource-start resource-stop""",
)


_CONTROLLER = (
    """controller-description controller-interfaces controller-version instance-file instance-list
    instance-metrics instance-status""",
    """instance-command instance-create instance-delete instance-kill instance-start instance-stop
    instance-upload""",
)


def _names(words: str) -> Iterator[str]:
    for word in words.split():
        if "#" in word:
            yield word.replace("#", "4")
            yield word.replace("#", "6")
        else:
            yield word


def _entries() -> Iterator[tuple[str, Classified]]:
    for hook, (read, write) in _KEA.items():
        yield from ((name, Classified("read", hook)) for name in _names(read))
        yield from ((name, Classified("write", hook)) for name in _names(write))
    yield EVENTS, Classified("read")
    for read, write in (_KAMAILIO, _BNGBLASTER, _CONTROLLER, _PACEMAKER):
        yield from ((name, Classified("read")) for name in _names(read))
        yield from ((name, Classified("write")) for name in _names(write))


CATALOGUE: Mapping[str, Classified] = dict(_entries())
"""The commands by name."""
