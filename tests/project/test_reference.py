"""The reference of the documentation site lists every public name, and each has a docstring."""

from __future__ import annotations

import inspect
import re
from importlib import import_module

import pytest

from support.paths import ROOT

REFERENCE = ROOT / "docs" / "reference" / "api"
ROOMS = [
    "",
    ".unwind",
    ".unwind.ia64",
    ".processor",
    ".symbols",
    ".views",
    ".cluster",
    ".debug",
    ".debug.dap",
]


def listed() -> dict[str, str]:
    """The dotted names on the pages of the reference, each with its page."""
    found: dict[str, str] = {}
    for page in sorted(REFERENCE.glob("*.md")):
        for name in re.findall(r"^::: (\S+)$", page.read_text(), re.M):
            assert name not in found, f"{name} is on {page.name} and on {found[name]}"
            found[name] = page.name
    return found


def public(room: str) -> dict[str, object]:
    module = import_module(f"odograph{room}")
    return {
        f"odograph{room}.{name}": getattr(module, name) for name in module.__all__ if name != "__version__"
    }


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_in_the_reference(room: str) -> None:
    pages = listed()
    at_the_top = {id(value) for value in public("").values()}
    for name, value in public(room).items():
        assert name in pages or id(value) in at_the_top, f"{name} is on no page of docs/reference/api"


def test_the_reference_lists_only_what_there_is() -> None:
    for name, page in listed().items():
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute), f"{page} lists {name}"


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_and_its_methods_have_a_docstring(room: str) -> None:
    for name, value in public(room).items():
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{name} has no docstring"
        if inspect.isclass(value):
            for method, function in vars(value).items():
                if not method.startswith("_") and (
                    inspect.isfunction(function) or isinstance(function, property)
                ):
                    assert inspect.getdoc(getattr(value, method)), f"{name}.{method} has no docstring"


def test_the_index_of_the_reference_links_every_name() -> None:
    index = (REFERENCE / "index.md").read_text()
    for name, page in listed().items():
        assert f"]({page}#{name})" in index, f"index.md has no link to {name}"
