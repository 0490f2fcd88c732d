"""Examples in docstrings run. They may use a small trace, its image and its history."""

from __future__ import annotations

import doctest
import inspect

import pytest

import odograph
import odograph.processor
from support.commands import CODE, CODE_BYTES, loop_trace
from support.paths import ROOT

FOUND = {
    test.name: test
    for room in (odograph, odograph.processor)
    for name in room.__all__
    if inspect.isclass(getattr(room, name)) or inspect.isfunction(getattr(room, name))
    for test in doctest.DocTestFinder(recurse=False).find(getattr(room, name), name)
    if test.examples
}


def test_the_names_that_users_begin_with_have_examples() -> None:
    first = {"open", "decode", "History", "Recording", "Image", "LiveTrace", "Selection", "TraceConfig"}
    assert first <= set(FOUND)


@pytest.mark.parametrize("name", sorted(FOUND))
def test_an_example_in_a_docstring_shows_what_happens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    image = odograph.Image()
    image.add_bytes(CODE_BYTES, CODE)
    trace = loop_trace()
    test = FOUND[name]
    test.globs = {**vars(odograph), "odograph": odograph, "trace": trace, "image": image}
    test.globs["history"] = odograph.decode(trace, image)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(test, out=said.append).failed == 0, "".join(said)
