"""The ``crm_ipc_*`` calls, and the functions around them."""

from __future__ import annotations

import errno
import os
import socket

import pytest

import bridle
from bridle.net.libqb.places import Places
from bridle.pacemaker import (
    create_hello_message,
    create_reply,
    create_request,
    is_authentic_process,
    legacy,
    peer_identity,
)
from bridle.wire.libqb import Transport
from bridle.wire.pacemaker_header import Layout
from bridle.wire.pacemaker_xml import element
from tests.pacemaker.conftest import Start
from tests.pacemaker.test_ipc import silent
from tests.support.pacemaker import launcher, trust_anybody
from tests.support.programs import poll

NOBODY = 0xFFFFFFFF


def client_of(name: str, places: Places, max_size: int = 0) -> legacy.CrmIpc:
    made = legacy.crm_ipc_new(name, max_size, trusted=trust_anybody, places=places)
    assert made is not None
    return made


def ping() -> legacy.Xml:
    return create_request("ping", None, None, "pacemakerd", "test", "1")


def test_a_conversation(start: Start, places: Places, layout: Layout, transport: Transport) -> None:
    start("pacemakerd", launcher, layout, transport)
    client = client_of("pacemakerd", places)
    assert legacy.crm_ipc_name(client) == "pacemakerd"
    assert legacy.crm_ipc_connect(client)
    assert legacy.crm_ipc_get_fd(client) >= 0
    assert legacy.crm_ipc_ready(client) == 0
    assert legacy.crm_ipc_read(client) == -errno.EAGAIN
    assert legacy.crm_ipc_buffer(client) is None
    assert legacy.crm_ipc_buffer_flags(client) == 0
    size, ack = legacy.crm_ipc_send(client, ping(), 0x200)
    assert ack is not None
    assert (size, ack.tag) == (87, "ack")
    size, none = legacy.crm_ipc_send(client, ping())
    assert (size > 100, none) == (True, None)
    for _ in range(2):
        assert poll(lambda: legacy.crm_ipc_ready(client) > 0)
        assert legacy.crm_ipc_read(client) > 100
        assert "ping_response" in (legacy.crm_ipc_buffer(client) or "")
    assert legacy.crm_ipc_buffer_flags(client) == 0x30000
    legacy.crm_ipc_destroy(client)
    assert legacy.crm_ipc_buffer(client) is None


def test_without_a_connection(places: Places) -> None:
    assert legacy.crm_ipc_new("") is None
    client = client_of("pacemakerd", places)
    assert not legacy.crm_ipc_connect(client)
    assert client.errno == errno.ECONNREFUSED
    assert not legacy.crm_ipc_connected(client)
    assert not legacy.crm_ipc_connected(None)
    assert legacy.crm_ipc_send(client, ping()) == (-errno.ENOTCONN, None)
    assert legacy.crm_ipc_read(client) == -errno.ENOTCONN
    assert legacy.crm_ipc_ready(client) == -errno.ENOTCONN
    assert legacy.crm_ipc_get_fd(client) == -errno.EINVAL
    legacy.crm_ipc_close(client)
    legacy.crm_ipc_destroy(None)
    assert legacy.crm_ipc_default_buffer_size() == 131072


def test_what_the_calls_refuse(start: Start, places: Places) -> None:
    start("pacemakerd", launcher)
    start("attrd", silent)
    client = client_of("attrd", places)
    assert legacy.crm_ipc_connect(client)
    dangerous = element("stonith_command", {"st_callopt": "4096"})
    assert legacy.crm_ipc_send(client, dangerous) == (-errno.EINVAL, None)
    assert legacy.crm_ipc_send(client, ping(), 0x200, 50) == (-errno.ETIMEDOUT, None)
    assert legacy.crm_ipc_send(client, ping(), 0x200, 50) == (-errno.EALREADY, None)
    noise = element("a", {"b": os.urandom(200_000).hex()})
    assert legacy.crm_ipc_send(client, noise) == (-errno.EMSGSIZE, None)
    legacy.crm_ipc_close(client)


def test_a_larger_buffer(start: Start, places: Places) -> None:
    fake = start("pacemakerd", launcher)
    client = client_of("pacemakerd", places, 1_000_000)
    assert legacy.crm_ipc_connect(client)
    noise = element("a", {"b": os.urandom(100_000).hex()})
    assert legacy.crm_ipc_send(client, noise)[0] > 200_000
    fake.wait_for_requests(2)
    legacy.crm_ipc_close(client)


def test_the_end_of_the_daemon(start: Start, places: Places, transport: Transport) -> None:
    fake = start("pacemakerd", launcher, transport=transport)
    client = client_of("pacemakerd", places)
    assert legacy.crm_ipc_connect(client)
    fake.stop()
    assert poll(lambda: legacy.crm_ipc_read(client) == -errno.ENOTCONN)
    assert not legacy.crm_ipc_connected(client)
    legacy.crm_ipc_close(client)


def test_messages() -> None:
    hello = create_hello_message("577", "me", "1", "0")
    assert hello is not None
    assert hello.get("crm_sys_from") == "577_me"
    assert str(hello.get("reference")).startswith("hello-me-")
    assert create_hello_message("", "me", "1", "0") is None
    assert create_hello_message("577", "me", "1", "") is None
    request = create_request("ping", element("d"), "node1", "crmd", "me", "577", "f")
    assert (request.get("crm_sys_from"), request.get("origin")) == ("577_me", "f")
    assert create_request("ping", None, None, "crmd", "me", None).get("crm_sys_from") == "me"
    assert create_request("ping", None, None, "crmd", None, "577").get("crm_sys_from") == "577"
    with pytest.raises(ValueError, match="needed"):
        create_request("ping", None, None, "crmd", None, None)
    reply = create_reply(request, None)
    assert reply is not None
    assert reply.get("crm_sys_to") == "577_me"
    assert create_reply(element("a"), None) is None


def test_whose_process_is_authentic() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = peer_identity(ours, os.getuid(), 4_000_000)
        assert (found.authentic, found.pid, found.uid, found.gid) == (
            True,
            os.getpid(),
            os.getuid(),
            os.getgid(),
        )
        assert is_authentic_process(ours, 4_000_000, os.getgid())
        assert is_authentic_process(ours, 4_000_000, 4_000_000) == (os.getuid() == 0)
        status, identity = legacy.crm_ipc_is_authentic_process(ours.fileno(), os.getuid(), 0)
        assert (status, identity is not None and identity.pid) == (1, os.getpid())
        assert legacy.crm_ipc_is_authentic_process(ours, os.getuid(), 0)[0] == 1
        assert ours.fileno() >= 0


def test_a_socket_without_such_a_peer_is_not_authentic() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        assert legacy.crm_ipc_is_authentic_process(other, NOBODY, NOBODY)[0] == 0
        found = peer_identity(other, 1, 1)
        assert (found.authentic, found.pid, found.uid, found.gid) == (False, 0, NOBODY, NOBODY)


def test_what_is_no_socket() -> None:
    assert legacy.crm_ipc_is_authentic_process(-1, 0, 0) == (-errno.EBADF, None)
    assert legacy.crm_ipc_is_authentic_process(99_999, 0, 0) == (-errno.EBADF, None)
    read, write = os.pipe()
    try:
        assert legacy.crm_ipc_is_authentic_process(read, 0, 0) == (-errno.ENOTSOCK, None)
    finally:
        os.close(read)
        os.close(write)
    closed = socket.socket()
    closed.close()
    assert legacy.crm_ipc_is_authentic_process(closed, 0, 0) == (-errno.EBADF, None)
    with pytest.raises(bridle.TransportError):
        is_authentic_process(closed, 0, 0)
