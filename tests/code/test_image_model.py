"""Images against a naive model: a list of bytes with owners, one operation after the other."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from odograph import Asid, Image, ImageError, InvalidArgument

SPACE = 48  # addresses used; few, so that sections collide


def match(one: Asid, two: Asid) -> bool:
    fields = ((one.cr3, two.cr3), (one.vmcs, two.vmcs))
    return all(a is None or b is None or a == b for a, b in fields)


@dataclass
class Old:
    """A section of the model: the addresses of it that are still visible."""

    name: str
    asid: Asid
    content: dict[int, int]
    empty: bool

    def runs(self) -> list[tuple[int, int]]:
        """First address and size of each visible part."""
        runs: list[tuple[int, int]] = []
        for address in sorted(self.content):
            if runs and sum(runs[-1]) == address:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((address, 1))
        return runs

    def parts(self) -> int:
        return 1 if self.empty else len(self.runs())


class Model:
    def __init__(self) -> None:
        self.sections: list[Old] = []

    def add(self, section: Old) -> None:
        for other in self.sections:
            if match(other.asid, section.asid):
                other.content = {a: b for a, b in other.content.items() if a not in section.content}
        self.sections = [other for other in self.sections if other.empty or other.content]
        self.sections.append(Old(section.name, section.asid, dict(section.content), section.empty))

    def copy(self, source: Model) -> None:
        for section in list(source.sections):
            self.add(section)

    def remove(self, asid: Asid, name: str | None) -> int:
        gone = [s for s in self.sections if match(s.asid, asid) and name in (None, s.name)]
        self.sections = [s for s in self.sections if s not in gone]
        return sum(section.parts() for section in gone)

    def read(self, address: int, size: int, asid: Asid) -> bytes | None:
        for section in reversed(self.sections):
            if match(section.asid, asid) and address in section.content:
                for first, length in section.runs():
                    if first <= address < first + length:
                        end = min(first + length, address + size)
                        return bytes(section.content[a] for a in range(address, end))
        return None

    def listing(self) -> list[tuple[str, int, int, Asid]]:
        rows = []
        for section in self.sections:
            if not section.empty:
                rows += [(section.name, first, size, section.asid) for first, size in section.runs()]
        return rows


asids = st.builds(Asid, st.sampled_from([None, 1, 2]), st.sampled_from([None, 7]))
names = st.sampled_from(["a", "b"])
which = st.integers(0, 1)
actions = st.one_of(
    st.tuples(st.just("add"), which, names, asids, st.integers(0, SPACE - 1), st.integers(0, 14)),
    st.tuples(st.just("copy"), which, which),
    st.tuples(st.just("filename"), which, names, asids),
    st.tuples(st.just("asid"), which, asids),
    st.tuples(st.just("snapshot"), which),
)


def check(image: Image, model: Model, asid: Asid) -> None:
    listing = [(s.filename or "", s.vaddr, s.size, s.asid) for s in image.sections if s.size]
    assert listing == model.listing()
    for address in range(SPACE + 16):
        expected = model.read(address, 5, asid)
        try:
            assert image.read(address, 5, asid) == expected
        except ImageError:
            assert expected is None


@settings(max_examples=150, deadline=None)
@given(st.lists(actions, max_size=25), asids)
def test_an_image_is_what_the_model_is(steps: list[tuple[object, ...]], asid: Asid) -> None:
    images = [Image(), Image()]
    models = [Model(), Model()]
    snapshots: list[tuple[Image, list[object]]] = []
    for number, step in enumerate(steps):
        match step:
            case ("add", int(at), str(name), Asid() as owner, int(vaddr), int(size)):
                data = bytes((number * 16 + index) & 0xFF for index in range(size))
                images[at].add_bytes(data, vaddr, owner, name)
                content = {vaddr + index: byte for index, byte in enumerate(data)}
                models[at].add(Old(name, owner, content, empty=size == 0))
            case ("copy", int(at), int(source)):
                assert images[at].copy_from(images[source]) == 0
                if at != source:
                    models[at].copy(models[source])
            case ("filename", int(at), str(name), Asid() as owner):
                assert images[at].remove_by_filename(name, owner) == models[at].remove(owner, name)
            case ("asid", int(at), Asid() as owner):
                assert images[at].remove_by_asid(owner) == models[at].remove(owner, None)
            case ("snapshot", int(at)):
                snapshots.append((images[at].snapshot(), list(images[at].sections)))
            case unknown:
                raise AssertionError(unknown)
    for image, model in zip(images, models, strict=True):
        check(image, model, asid)
        check(image, model, Asid())
    for snapshot, sections in snapshots:
        assert snapshot.sections == sections


@given(st.integers(-3, 2**64 + 3), st.integers(0, 64), asids)
def test_reading_an_empty_image_never_crashes(address: int, size: int, asid: Asid) -> None:
    try:
        assert Image().read(address, size, asid) == b""
        assert size == 0
    except ImageError:
        assert 0 <= address < 2**64
        assert size
    except InvalidArgument:
        assert not 0 <= address < 2**64
