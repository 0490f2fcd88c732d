"""The names of the package, and what it takes to load it."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import odograph


def test_every_name_is_that_of_one_module() -> None:
    homes = [(name, home) for home, names in odograph._HOMES.items() for name in names]
    assert sorted([name for name, _ in homes] + ["__version__"]) == sorted(odograph.__all__)
    for name, home in homes:
        assert getattr(odograph, name) is getattr(import_module(f"odograph.{home}"), name)
        assert name in dir(odograph)


def test_there_are_no_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        getattr(odograph, "Nothing")  # noqa: B009
    with pytest.raises(ImportError, match="Nothing"):
        exec("from odograph import Nothing")


def test_names_are_loaded_when_they_are_asked_for() -> None:
    code = """
import sys, odograph
assert not [name for name in sys.modules if name.startswith("odograph.") and name != "odograph._native"]
assert odograph.errors.PtError is odograph.PtError
from odograph import *
assert open is odograph.open and decode(b"").gaps() is not None
"""
    subprocess.run([sys.executable, "-c", code], check=True)
