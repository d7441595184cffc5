"""Running a coroutine test: on the virtual clock, or on every event loop that is supported."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from bridle.testing import run

__all__ = ["LOOPS", "SECONDS", "on_every_loop", "on_virtual_clock"]

SECONDS = 20.0
"""How long a test in real time may take: far more than any needs, less than the limit on every test."""

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}

_Test = Callable[..., Coroutine[Any, Any, None]]


def on_virtual_clock(test: _Test) -> Callable[..., None]:
    """Run a test where waiting takes no time. What the loop could only log fails the test."""

    @functools.wraps(test)
    def wrapper(*args: object, **kwargs: object) -> None:
        run(_strictly(test(*args, **kwargs)))

    return wrapper


def on_every_loop(test: _Test) -> Callable[..., None]:
    """Run a test in real time, once on asyncio's own loop and once on uvloop's."""

    @functools.wraps(test)
    def wrapper(*args: object, loop_factory: str, **kwargs: object) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop_factory]) as runner:
            runner.run(asyncio.wait_for(_strictly(test(*args, **kwargs)), SECONDS))

    signature = inspect.signature(test)
    extra = inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY)
    parameters = [*signature.parameters.values(), extra]
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return pytest.mark.parametrize("loop_factory", LOOPS)(wrapper)


async def _strictly(test: Coroutine[Any, Any, None]) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    await test
    for _ in range(3):  # what was closed last is told so by callbacks
        await asyncio.sleep(0)
    assert not faults, f"the loop met an error that nobody handled: {faults}"
