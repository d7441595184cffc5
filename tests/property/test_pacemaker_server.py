"""Whatever clients send, every service answers or says nothing; whatever arguments come, every command
answers. Nothing raises but what drops a client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridle.core.errors import RemoteProtocolError
from bridle.core.messages import Command, Response
from bridle.wire.pacemaker_server import SERVICES
from bridle.wire.pacemaker_xml import element, write_xml
from tests.support.cluster import cluster
from tests.support.loops import on_virtual_clock
from tests.support.pacemaker_server import Conversation

pytestmark = pytest.mark.timeout(120)

TAGS = [
    *("create_request_adv", "cib_command", "cib-callback", "stonith_command", "stonith_set_notification"),
    *("create_attrd_op", "op", "lrmd_command", "message", "a"),
]
INSIDE = [
    *(
        "crm_xml",
        "cib_calldata",
        "st_calldata",
        "lrmd_calldata",
        "lrmd_rsc",
        "options",
        "arguments",
        "rsc_op",
    ),
    *(
        "primitive",
        "attributes",
        "st_device_id",
        "fencing-level",
        "cib",
        "diff",
        "version",
        "source",
        "target",
    ),
    *("change", "nvpair", "node", "configuration", "status", "resources"),
]
NAMES = [
    *(
        "crm_task",
        "subt",
        "crm_sys_to",
        "crm_host_to",
        "crm_events",
        "id",
        "uname",
        "on_node",
        "mode",
        "class",
    ),
    *(
        "cib_op",
        "cib_callopt",
        "cib_section",
        "cib_notify_type",
        "cib_notify_activate",
        "st_op",
        "st_callopt",
    ),
    *("st_target", "st_timeout", "st_notify_activate", "agent", "index", "devices", "target", "task"),
    *(
        "attr_name",
        "attr_value",
        "attr_regex",
        "attr_dampening",
        "attr_host",
        "attr_host_id",
        "attr_resource",
    ),
    *(
        "lrmd_op",
        "lrmd_rsc_id",
        "lrmd_rsc_action",
        "lrmd_rsc_interval",
        "lrmd_timeout",
        "lrmd_class",
        "lrmd_type",
    ),
    *("format", "operation", "path", "position", "epoch", "admin_epoch", "num_updates", "__delete__"),
]
VALUES = [
    *(
        "",
        "0",
        "1",
        "-1",
        "2",
        "4096",
        "4098",
        "999999999999999999999",
        "x",
        "node1",
        "dummy",
        "true",
        "//*",
        "//[",
    ),
    *(
        "request",
        "ping",
        "hello",
        "node-info",
        "lrm_delete",
        "lrm_fail",
        "probe_again",
        "pe_calc",
        "rm_node_cache",
    ),
    *(
        "register",
        "cib_query",
        "cib_modify",
        "cib_create",
        "cib_replace",
        "cib_delete",
        "cib_apply_diff",
        "cib_erase",
    ),
    *("cib_notify", "cib_diff_notify", "st_query", "st_fence", "st_fence_history", "st_device_register"),
    *("st_level_add", "st_execute", "lrmd_rsc_exec", "lrmd_rsc_register", "lrmd_rsc_info", "lrmd_rsc_cancel"),
    *(
        "update",
        "query",
        "clear-failure",
        "update-both",
        "update-delay",
        "peer-remove",
        "refresh",
        "cib",
        "nodes",
    ),
    *(
        "value++",
        "epoch++",
        "create",
        "delete",
        "modify",
        "move",
        "/cib",
        "/cib/status",
        "node-list",
        "(",
        "[a",
    ),
]
attributes = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=6)
parts = st.recursive(
    st.builds(element, st.sampled_from(INSIDE), attributes),
    lambda inner: st.builds(
        lambda tag, given, children: element(tag, given, *children),
        st.sampled_from(INSIDE),
        attributes,
        st.lists(inner, max_size=3),
    ),
    max_leaves=6,
)
requests = st.builds(
    lambda tag, given, children: write_xml(element(tag, given, *children)).decode(),
    st.sampled_from(TAGS),
    attributes,
    st.lists(parts, max_size=2),
)
texts = st.one_of(requests, requests, requests, st.text(max_size=40))
CONFIGURATION = {"imagined": {"resources": [{"id": "dummy"}], "nodes": [{"name": "node2"}]}}


@contextlib.contextmanager
def no_faults() -> Iterator[None]:
    """Fail where a handler raised what it should not have."""
    faults: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: faults.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("bridle.core")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
    assert faults == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SERVICES), texts, st.sampled_from([0, 0x200])), max_size=15))
def test_any_requests(asked: list[tuple[str, str, int]]) -> None:
    @on_virtual_clock
    async def run() -> None:
        async with cluster(CONFIGURATION) as c:
            talks = {name: Conversation(c.daemon, name) for name in SERVICES}
            for service, text, flags in asked:
                with contextlib.suppress(RemoteProtocolError):
                    await asyncio.wait_for(talks[service].ask(text, flags=flags), 400_000)
                await asyncio.sleep(1)
            assert (await c.ask("ping")).result == 0

    with no_faults():
        run()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(SERVICES), st.binary(max_size=200))
def test_any_bytes(service: str, data: bytes) -> None:
    @on_virtual_clock
    async def run() -> None:
        async with cluster() as c:
            talk = Conversation(c.daemon, service)
            with contextlib.suppress(RemoteProtocolError):
                talk.server.receive(data)

    run()


values = st.one_of(
    st.integers(-2, 3),
    st.sampled_from(
        [2**32, 2**64, -1.5, True, None, "", "x", "node1", "node2", "dummy", "off", "start", "1", []]
    ),
    st.sampled_from(
        ["<a/>", "<cib/>", "<", '<node id="1" uname="x"/>', "//node", "//[", "nodes", {"a": 1}, ["d"]]
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_arguments(data: st.DataObject) -> None:
    @on_virtual_clock
    async def run() -> None:
        async with cluster(CONFIGURATION) as c:
            manager = c.daemon.manager
            names = sorted(definition.name for definition in manager)
            for _ in range(data.draw(st.integers(1, 10))):
                definition = manager.definition(data.draw(st.sampled_from(names)))
                assert definition is not None
                known: list[Any] = [one.name for one in definition.signature.parameters] or ["x"]
                given = data.draw(st.dictionaries(st.sampled_from(known), values, max_size=4))
                response = await asyncio.wait_for(manager.execute(Command(definition.name, given)), 400_000)
                assert isinstance(response, Response)
                await asyncio.sleep(1)
            assert (await c.ask("ping")).result == 0

    with no_faults():
        run()
