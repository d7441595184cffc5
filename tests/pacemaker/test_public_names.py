"""What ``bridle.pacemaker`` offers: every name resolves, is documented, and is loaded when it is needed."""

from __future__ import annotations

import inspect
import re
import types

import pytest

import bridle
import bridle.pacemaker
from tests.test_public_surface import foreign, is_own, loaded_by


@pytest.mark.parametrize("name", bridle.pacemaker.__all__)
def test_every_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(bridle.pacemaker, name)
    assert name in dir(bridle.pacemaker)
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return
    assert inspect.getdoc(value), f"{name} has no docstring"
    assert not str(value.__doc__).startswith(f"{name}("), f"{name} has no docstring of its own"
    for attribute, member in inspect.getmembers(value) if inspect.isclass(value) else ():
        if not attribute.startswith("_") and is_own(member):
            assert inspect.getdoc(member), f"{name}.{attribute} has no docstring"


def test_the_list_is_complete() -> None:
    for name in bridle.pacemaker.__all__:
        getattr(bridle.pacemaker, name)
    found = {
        name
        for name, value in vars(bridle.pacemaker).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert found - {"annotations", "TYPE_CHECKING"} == set(bridle.pacemaker.__all__)
    source = (
        inspect.getsource(bridle.pacemaker).partition("if TYPE_CHECKING:\n")[2].partition("\n_MODULES")[0]
    )
    names = set(re.findall(r"(?:import |    |, )\(?([A-Za-z_]+)(?=[,\n)])", source))
    assert {name for name in names if hasattr(bridle.pacemaker, name)} >= set(bridle.pacemaker.__all__)


def test_it_is_a_part_of_bridle_that_is_loaded_when_it_is_asked_for() -> None:
    assert "bridle.pacemaker" not in loaded_by("import bridle")
    loaded = loaded_by("import bridle\nbridle.pacemaker.NodeList")
    assert foreign(loaded) == set()
    assert "asyncio" not in loaded
    assert foreign(loaded_by("import bridle\nbridle.pacemaker.connect")) == set()
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        bridle.pacemaker.nothing  # noqa: B018
