"""The one table of results: every outcome in every vocabulary, and back."""

from __future__ import annotations

import errno

import pytest

from bridle.core.results import (
    TABLE,
    ExitStatus,
    Result,
    Row,
    from_errno,
    from_fault,
    from_http,
    from_status,
    row,
)

# As the real programs have them: facts/kea.md §1.5, facts/kamailio.md §1.4, facts/bngblaster.md §1.4,
# facts/pacemaker.md §6.
EXPECTED = [
    (Result.SUCCESS, 0, None, "ok", 200, 0, 0),
    (Result.ERROR, 1, 400, "error", 400, errno.EINVAL, 1),
    (Result.UNSUPPORTED, 2, 500, "error", 400, errno.EOPNOTSUPP, 2),
    (Result.EMPTY, 3, 404, "warning", 404, errno.ENXIO, 3),
    (Result.CONFLICT, 4, 409, "error", 409, errno.EEXIST, 4),
    (Result.FATAL, 5, 503, "error", 500, errno.ENOTRECOVERABLE, 5),
    (Result.FORBIDDEN, 403, 403, "error", 403, errno.EACCES, 77),
]

every_row = pytest.mark.parametrize("line", TABLE, ids=lambda line: line.result.name)


def test_every_result_has_its_row_in_order() -> None:
    assert [line.result for line in TABLE] == list(Result)


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected[0].name)
def test_a_result_is_called_what_the_real_programs_call_it(
    expected: tuple[Result, int, *tuple[object, ...]],
) -> None:
    result, number, *names = expected
    assert result == number
    assert row(result) == Row(result, *names)  # type: ignore[arg-type]


@every_row
def test_a_result_comes_back_from_a_fault(line: Row) -> None:
    if line.fault is None:
        assert line.result is Result.SUCCESS
    else:
        unknown = line.result is Result.UNSUPPORTED
        assert from_fault(line.fault, unknown_method=unknown) is line.result


@every_row
def test_a_result_comes_back_from_a_status_object(line: Row) -> None:
    unknown = line.result is Result.UNSUPPORTED
    assert from_status(line.status, line.code, unknown_command=unknown) is line.result


@every_row
def test_a_result_comes_back_from_an_errno(line: Row) -> None:
    assert from_errno(line.errno) is line.result


@every_row
def test_an_exit_status_is_the_result_itself_unless_it_is_too_large_for_one(line: Row) -> None:
    assert line.exit == (ExitStatus.FORBIDDEN if line.result is Result.FORBIDDEN else line.result)


@pytest.mark.parametrize("column", ["result", "fault", "errno", "exit"])
def test_no_two_results_share_a_name_where_the_name_alone_has_to_tell(column: str) -> None:
    names = [getattr(line, column) for line in TABLE]
    assert len(set(names)) == len(names)


def test_two_results_share_a_status_object_only_where_the_caller_says_what_was_unknown() -> None:
    pairs = [(line.status, line.code) for line in TABLE if line.result is not Result.UNSUPPORTED]
    assert len(set(pairs)) == len(pairs)
    assert row(Result.UNSUPPORTED)[2:4] == row(Result.ERROR)[2:4]


@pytest.mark.parametrize("result", [-1, 6, 77, 1000, -(2**63)])
def test_a_code_that_only_its_daemon_knows_is_an_error_everywhere_else(result: int) -> None:
    assert row(result) is TABLE[Result.ERROR]


def test_kamailios_500_is_an_error_unless_it_is_about_an_unknown_method() -> None:
    assert from_fault(500) is Result.ERROR
    assert from_fault(500, unknown_method=True) is Result.UNSUPPORTED
    assert from_fault(400, unknown_method=True) is Result.ERROR


@pytest.mark.parametrize("code", [0, -1, 200, 401, 501, 999])
def test_an_unknown_fault_is_an_error(code: int) -> None:
    assert from_fault(code) is Result.ERROR


@pytest.mark.parametrize(
    ("status", "code", "result"),
    [
        ("ok", 0, Result.SUCCESS),
        ("warning", 404, Result.EMPTY),
        ("error", 404, Result.EMPTY),
        ("error", 400, Result.ERROR),
        ("error", 401, Result.ERROR),
        ("warning", 0, Result.ERROR),
        ("", 200, Result.ERROR),
    ],
)
def test_a_status_object_is_read_by_status_and_code(status: str, code: int, result: Result) -> None:
    assert from_status(status, code) is result


def test_an_unknown_command_of_bng_blaster_is_unsupported_whatever_its_code() -> None:
    assert from_status("error", 400, unknown_command=True) is Result.UNSUPPORTED
    assert from_status("warning", 404, unknown_command=True) is Result.UNSUPPORTED
    assert from_status("ok", 200, unknown_command=True) is Result.SUCCESS


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ETIME, errno.EIO, -1, 9999])
def test_an_unknown_errno_is_an_error(code: int) -> None:
    assert from_errno(code) is Result.ERROR


@pytest.mark.parametrize("status", [100, 302, 400, 401, 404, 405, 408, 409, 413, 500, 501, 502, 503])
def test_what_http_refuses_is_an_error_unless_it_is_forbidden(status: int) -> None:
    assert from_http(status) is Result.ERROR
    assert from_http(403) is Result.FORBIDDEN


def test_exit_statuses_beside_the_results_are_those_of_sysexits() -> None:
    assert {status.name: int(status) for status in ExitStatus} == {
        "ERROR": 1,
        "USAGE": 64,
        "UNAVAILABLE": 69,
        "TIMEOUT": 75,
        "PROTOCOL": 76,
        "FORBIDDEN": 77,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize(
    ("code", "result"),
    [
        (errno.ENODEV, Result.EMPTY),
        (errno.ENOTUNIQ, Result.CONFLICT),
        (errno.EPROTONOSUPPORT, Result.UNSUPPORTED),
    ],
)
def test_other_numbers_that_pacemaker_has_for_the_same(code: int, result: Result) -> None:
    assert from_errno(code) is result
