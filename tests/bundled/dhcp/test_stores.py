"""What every lease store does, whatever it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bridle.bundled.dhcp.lease_databases import database_path, open_store4, open_store6
from bridle.bundled.dhcp.leases import Lease4, Lease6, LeaseKind, LeaseState
from bridle.bundled.dhcp.settings import LeaseDatabase
from bridle.bundled.dhcp.store import LeaseStore4, LeaseStore6, StoreError
from bridle.bundled.dhcp.store_sqlite import MEMORY, SqliteStore4
from tests.support.postgresql import private_server
from tests.support.programs import missing

PROGRAMS = ("initdb", "postgres", "setpriv")
KINDS = [
    "memory",
    "file",
    pytest.param("postgresql", marks=pytest.mark.peers(*PROGRAMS)),
]


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[dict[str, str | int]]:
    """PostgreSQL for all tests here, where it is installed."""
    if missing(PROGRAMS):
        yield {}
        return
    with private_server() as running:
        yield running


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path, server: dict[str, str | int]) -> LeaseDatabase:
    if request.param == "memory":
        return LeaseDatabase(persist=False)
    if request.param == "file":
        return LeaseDatabase(name=str(tmp_path / "leases.csv"))
    return LeaseDatabase(kind="postgresql", **server)  # type: ignore[arg-type]


@pytest.fixture
def store4(database: LeaseDatabase) -> Iterator[LeaseStore4]:
    store = open_store4(database)
    store.wipe(None)
    yield store
    store.close()


@pytest.fixture
def store6(database: LeaseDatabase) -> Iterator[LeaseStore6]:
    store = open_store6(database)
    store.wipe(None)
    yield store
    store.close()


def lease4(address: int, **changes: object) -> Lease4:
    number = address.to_bytes(6, "big")
    made = Lease4(
        address=address,
        hw_address=number,
        client_id=b"\1" + number,
        valid_lifetime=100,
        cltt=1000,
        subnet_id=1,
    )
    return msgspec.structs.replace(made, **changes)


def lease6(number: int, **changes: object) -> Lease6:
    made = Lease6(
        address=number.to_bytes(16, "big"),
        duid=b"\0\3\0\1" + number.to_bytes(6, "big"),
        iaid=7,
        preferred_lifetime=50,
        valid_lifetime=100,
        cltt=1000,
        subnet_id=1,
    )
    return msgspec.structs.replace(made, **changes)


def test_what_is_put_in_comes_out(store4: LeaseStore4) -> None:
    whole = lease4(
        0xFFFFFFFE, hostname="Ä.example.", fqdn_forward=True, fqdn_reverse=True, user_context={"a": [1]}
    )
    assert store4.insert(whole)
    assert not store4.insert(lease4(0xFFFFFFFE))
    assert store4.get(0xFFFFFFFE) == whole
    assert store4.get(1) is None
    assert store4.delete(0xFFFFFFFE)
    assert not store4.delete(0xFFFFFFFE)


def test_an_update_meets_the_lease_that_it_was_made_from(store4: LeaseStore4) -> None:
    before = lease4(5)
    store4.insert(before)
    after = lease4(5, cltt=2000)
    assert store4.update(after, before)
    assert not store4.update(lease4(5, cltt=3000), before), "somebody was faster"
    assert store4.get(5) == after
    assert not store4.update(lease4(6), lease4(6))


def test_the_leases_of_a_client(store4: LeaseStore4) -> None:
    one, two = lease4(1), lease4(2, hw_address=b"other", client_id=b"\1" + (1).to_bytes(6, "big"))
    for lease in (one, two, lease4(3)):
        store4.insert(lease)
    assert sorted(lease.address for lease in store4.of_client(one.client_id, one.hw_address)) == [1, 2]
    assert [lease.address for lease in store4.of_client(b"", one.hw_address)] == [1]
    assert store4.of_client(b"", b"") == []


def test_the_first_free_address(store4: LeaseStore4) -> None:
    assert store4.first_free(10, 12) == 10
    for address in (10, 11, 13):
        store4.insert(lease4(address))
    assert store4.first_free(10, 13) == 12
    assert store4.first_free(10, 11) is None
    assert store4.first_free(13, 13) is None
    assert store4.first_free(5, 4) is None


def test_what_ended_longest_ago_is_used_again_first(store4: LeaseStore4) -> None:
    store4.insert(lease4(1, cltt=1000))
    store4.insert(lease4(2, cltt=500, state=LeaseState.RECLAIMED))
    store4.insert(lease4(3, cltt=600, state=LeaseState.DECLINED))
    assert store4.first_reusable(1, 9, 10) == store4.get(2), "reclaimed"
    assert store4.first_reusable(1, 1, 1099) is None
    assert store4.first_reusable(1, 1, 1100) == store4.get(1)
    assert store4.first_reusable(3, 9, 699) is None, "still on probation"
    assert store4.first_reusable(3, 9, 700) == store4.get(3)


def test_expired_leases_and_their_removal(store4: LeaseStore4) -> None:
    for address, cltt in ((1, 300), (2, 100), (3, 200), (4, 900)):
        store4.insert(lease4(address, cltt=cltt))
    assert [lease.address for lease in store4.expired(400, 0)] == [2, 3, 1]
    assert [lease.address for lease in store4.expired(400, 2)] == [2, 3]
    gone = store4.get(2)
    assert gone is not None
    store4.update(msgspec.structs.replace(gone, state=LeaseState.RECLAIMED), gone)
    assert [lease.address for lease in store4.expired(400, 0)] == [3, 1]
    assert store4.delete_reclaimed(200) == 0
    assert store4.delete_reclaimed(201) == 1
    assert store4.get(2) is None


def test_selections_pages_and_counts(store4: LeaseStore4) -> None:
    for address in range(2500):
        store4.insert(
            lease4(address, subnet_id=1 + address % 2, hostname="Host.Example." if address == 7 else "")
        )
    store4.insert(lease4(5000, state=LeaseState.DECLINED, subnet_id=3))
    assert [lease.address for lease in store4.select()] == [*range(2500), 5000]
    assert len(list(store4.select(subnet_ids=[1]))) == 1250
    assert list(store4.select(subnet_ids=[])) == []
    assert [lease.address for lease in store4.select(hostname="host.example.")] == [7]
    assert [lease.address for lease in store4.select(state=LeaseState.DECLINED, subnet_ids=[3])] == [5000]
    assert [lease.address for lease in store4.page(-1, 2)] == [0, 1]
    assert [lease.address for lease in store4.page(2499, 5)] == [5000]
    assert store4.counts() == {(1, 0): 1250, (2, 0): 1250, (3, 1): 1}
    assert store4.wipe(1) == 1250
    assert store4.wipe(None) == 1251


def test_a_transaction_is_all_or_nothing(store4: LeaseStore4) -> None:
    def fail() -> None:
        with store4.transaction():
            store4.insert(lease4(1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store4.get(1) is None
    with store4.transaction():
        store4.insert(lease4(1))
    assert store4.get(1) is not None


def test_ipv6_addresses_and_prefixes_live_side_by_side(store6: LeaseStore6) -> None:
    address, prefix = lease6(9), lease6(9, kind=LeaseKind.PREFIX, prefix_length=64)
    assert store6.insert(address)
    assert store6.insert(prefix)
    assert not store6.insert(prefix)
    assert store6.get(LeaseKind.ADDRESS, address.address) == address
    assert store6.get(LeaseKind.PREFIX, address.address) == prefix
    assert len(store6.of_client(address.duid)) == 2
    assert store6.update(lease6(9, cltt=2000), address)
    assert not store6.update(lease6(9, cltt=3000), address)
    assert store6.counts() == {(1, LeaseKind.ADDRESS, 0): 1, (1, LeaseKind.PREFIX, 0): 1}
    assert [lease.kind for lease in store6.select(kind=LeaseKind.PREFIX)] == [LeaseKind.PREFIX]
    assert store6.delete(LeaseKind.PREFIX, prefix.address)
    assert not store6.delete(LeaseKind.PREFIX, prefix.address)


def test_ipv6_ranges(store6: LeaseStore6) -> None:
    for number in range(1500):
        store6.insert(lease6(number))
    first, last = (10).to_bytes(16, "big"), (1300).to_bytes(16, "big")
    assert list(store6.taken(LeaseKind.ADDRESS, first, last)) == [
        n.to_bytes(16, "big") for n in range(10, 1301)
    ]
    assert list(store6.taken(LeaseKind.PREFIX, first, last)) == []
    assert store6.first_reusable(LeaseKind.ADDRESS, first, last, 1099) is None
    assert store6.first_reusable(LeaseKind.ADDRESS, first, last, 1100) is not None
    assert len(list(store6.select())) == 1500
    assert [lease.address[-1] for lease in store6.page(b"", 2)] == [0, 1]
    assert len(store6.expired(1100, 3)) == 3


def test_leases_outlive_their_process(tmp_path: Path) -> None:
    database = LeaseDatabase(name=str(tmp_path / "leases4.csv"))
    assert database_path(database, 4) == str(tmp_path / "leases4.sqlite"), "Kea's own file is left alone"
    store = open_store4(database)
    store.insert(lease4(1))
    store.close()
    store = open_store4(database)
    assert store.get(1) == lease4(1)
    store.close()


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    path = str(tmp_path / "leases4.sqlite")
    writer, reader = SqliteStore4(path), SqliteStore4(path, read_only=True)
    with writer.transaction():
        writer.insert(lease4(1))
        assert reader.get(1) is None
    assert reader.get(1) == lease4(1)
    with pytest.raises(StoreError, match="readonly"):
        reader.insert(lease4(2))
    writer.close()
    reader.close()


def test_what_is_no_lease_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("address,hwaddr\n" * 100)
    with pytest.raises(StoreError, match="file is not a database"):
        SqliteStore4(str(tmp_path / "text.sqlite"))
    with pytest.raises(StoreError, match=r"the folder of the lease database .* does not exist"):
        open_store4(LeaseDatabase(name=str(tmp_path / "nowhere" / "leases")))
    store = open_store6(LeaseDatabase(name=str(tmp_path / "six.sqlite")))
    store.close()
    with pytest.raises(StoreError, match="is no lease4 database"):
        SqliteStore4(str(tmp_path / "six.sqlite"))
    newer = SqliteStore4(str(tmp_path / "new.sqlite"))
    newer._database.execute("PRAGMA user_version=99")
    newer.close()
    with pytest.raises(StoreError, match="of a later version"):
        SqliteStore4(str(tmp_path / "new.sqlite"))
    assert MEMORY == ":memory:"
