"""Where files that are made go: what is replaced, what is streamed to, and what is refused and left alone."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from odograph.errors import OdographError, OutputError
from odograph.files.destination import Destination, must_be_a_file

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="not root")
needs_user = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


def write(path: str | os.PathLike[str], content: bytes = b"content", least: int = 0) -> None:
    """What every writer does."""
    with Destination(path, what="recording", least=least) as destination:
        made = destination.room / "made"
        made.write_bytes(content)
        destination.deliver(made)


@pytest.fixture(autouse=True)
def _temporary_files_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    yield
    assert [name for name in os.listdir(temporary) if not name.endswith(".kept")] == []
    assert list(tmp_path.glob("**/.odograph-*")) == []


def test_a_new_name_and_a_regular_file_are_made_whole(tmp_path: Path) -> None:
    path = tmp_path / "new"
    write(path)
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_mask()
    with path.open("rb") as reader:
        write(path, b"other")
        assert reader.read() == b"content"
    assert path.read_bytes() == b"other"


def test_nothing_happens_to_the_place_until_the_file_is_there(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), Destination(path):
        raise KeyError
    assert path.read_bytes() == b"old"
    with Destination(tmp_path / "never"):
        pass
    assert not (tmp_path / "never").exists()


def test_a_symbolic_link_stays_and_leads_to_the_new_file(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "target"
    target.parent.mkdir()
    for link in (tmp_path / "link", tmp_path / "link-to-link"):
        link.symlink_to("elsewhere/target" if link.name == "link" else "link")
        for content in (b"made through a dangling link", b"replaced"):
            write(link, content)
            assert link.is_symlink()
            assert target.read_bytes() == content
        target.unlink()
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    with pytest.raises(OutputError, match="symbolic links"):
        write(loop)


def test_a_fifo_is_streamed_to(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    write(fifo, b"x" * 300_000)
    reader.join(timeout=20)
    assert got == [b"x" * 300_000]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_fifo_that_nothing_reads_is_waited_for_and_that_is_said_once(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))

    def waits(text: str) -> None:
        said.append(text)
        reader.start()

    said: list[str] = []
    with Destination(fifo, on_wait=waits) as destination:
        made = destination.room / "made"
        made.write_bytes(b"x" * 300_000)
        destination.deliver(made)
    reader.join(timeout=20)
    assert said == [f"{fifo} is a FIFO that nothing reads; waiting for a reader"]
    assert got == [b"x" * 300_000]


def test_an_open_descriptor_is_written_to(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    write(f"/dev/fd/{write_end}")
    os.close(write_end)
    assert os.read(read_end, 100) == b"content"
    os.close(read_end)
    with open(tmp_path / "file", "w+b") as file:
        file.write(b"something that is longer")
        file.flush()
        os.unlink(file.name)
        write(f"/proc/self/fd/{file.fileno()}")
        file.seek(0)
        assert file.read() == b"content"


def test_a_reader_that_leaves_costs_no_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: os.close(os.open(fifo, os.O_RDONLY)))
    reader.start()
    with Destination(fifo, what="recording") as destination:
        reader.join()
        made = destination.room / "made"
        made.write_bytes(b"content")
        with pytest.raises(OutputError, match=r"Broken pipe; the recording is kept in \S+\.kept") as caught:
            destination.deliver(made)
    kept = Path(str(caught.value).rpartition(" ")[2])
    assert kept.read_bytes() == b"content"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("-", "standard output"),
        ("", "is empty; name a file"),
        ("no/such", "there is no directory"),
        ("file/below", "not a directory"),
        ("new/", "leave out the / at the end"),
        ("file/", "leave out the / at the end"),
        ("directory/", "is a directory"),
        ("directory", "is a directory"),
        ("socket", "is a socket"),
        ("link-to-directory", "is a directory"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(
    name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("file")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link-to-directory").symlink_to("directory")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
        before = sorted(os.listdir(tmp_path))
        with pytest.raises(OutputError, match=sentence) as caught:
            Destination(name, what="recording")
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, OdographError)
    assert sorted(os.listdir(tmp_path)) == before


def test_standard_streams_are_refused_as_destinations(tmp_path: Path) -> None:
    script = "from odograph.files.destination import Destination; Destination('/dev/stdout')"
    for output in (subprocess.PIPE, (tmp_path / "file").open("wb")):
        run = subprocess.run([sys.executable, "-c", script], stdout=output, stderr=subprocess.PIPE, text=True)
        assert "/dev/stdout is standard output, where other output goes" in run.stderr
    script = script.replace("Destination('/dev/stdout')", f"Destination({str(tmp_path / 'file')!r})")
    with (tmp_path / "file").open("wb") as file:
        run = subprocess.run([sys.executable, "-c", script], stdout=file, stderr=subprocess.PIPE, text=True)
    assert "is standard output" in run.stderr


@needs_user
def test_a_place_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "writable").write_bytes(b"longer than the new content")
    closed.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="Permission denied"):
            write(closed / "new")
        # It cannot be replaced, but written.
        write(closed / "writable")
        assert (closed / "writable").read_bytes() == b"content"
    finally:
        closed.chmod(0o700)
    protected = tmp_path / "protected"
    protected.write_bytes(b"old")
    protected.chmod(0o400)
    with pytest.raises(OutputError, match="Permission denied"):
        write(protected)
    assert protected.read_bytes() == b"old"


def test_too_little_room_is_found_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no room left in"):
        Destination(tmp_path / "x", least=1 << 62)
    with (
        Destination(tmp_path / "x") as place,
        pytest.raises(OutputError, match="no room left in"),
        place.writing(),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_what_else_finds_no_room_is_not_blamed_on_the_place(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="elsewhere is full") as caught, Destination(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "elsewhere is full")
    assert not isinstance(caught.value, OutputError)


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EXDEV])
def test_where_a_name_cannot_be_replaced_the_content_is(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "mounted"
    path.write_bytes(b"longer than the new content")
    monkeypatch.setattr(os, "replace", replace)
    write(path)
    assert path.read_bytes() == b"content"


def test_a_place_that_is_gone_after_the_work_costs_no_file(tmp_path: Path) -> None:
    path = tmp_path / "place"
    with Destination(path, what="recording") as destination:
        made = destination.room / "made"
        made.write_bytes(b"content")
        path.mkdir()
        with pytest.raises(OutputError, match=r"the recording is kept in") as caught:
            destination.deliver(made)
    kept = Path(str(caught.value).rpartition(" ")[2])
    assert kept.read_bytes() == b"content"
    assert kept.parent == tmp_path


def test_files_that_are_written_out_of_order_must_be_regular(tmp_path: Path) -> None:
    must_be_a_file(tmp_path / "new")
    (tmp_path / "file").touch()
    must_be_a_file(tmp_path / "file")
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(OutputError):
            must_be_a_file(tmp_path / name)


@pytest.fixture
def device(tmp_path: Path) -> Callable[..., Path]:
    """Makes a device in a directory of ours."""

    def make(name: str, kind: int, major: int, minor: int) -> Path:
        path = tmp_path / name
        try:
            os.mknod(path, kind | 0o666, os.makedev(major, minor))
            if kind == stat.S_IFCHR:
                os.close(os.open(path, os.O_WRONLY))
        except OSError as error:
            pytest.skip(f"no devices here: {error}")
        return path

    return make


@needs_root
def test_devices_stay_devices(device: Callable[..., Path], tmp_path: Path) -> None:
    null = device("null", stat.S_IFCHR, 1, 3)
    link = tmp_path / "link"
    link.symlink_to("null")
    for path in (null, link):
        write(path)
    assert stat.S_ISCHR(null.stat().st_mode)
    assert link.is_symlink()
    full = device("full", stat.S_IFCHR, 1, 7)
    with pytest.raises(OutputError, match="No space left on device; give another place"):
        Destination(full, what="recording")
    with pytest.raises(OutputError, match="is a device"):
        write(device("random", stat.S_IFCHR, 1, 8))
    with pytest.raises(OutputError, match="is a device"):
        Destination(device("zero", stat.S_IFCHR, 1, 5), what="recording")
    with pytest.raises(OutputError, match="is a block device"):
        write(device("block", stat.S_IFBLK, 7, 250))


@needs_root
def test_a_full_disk_is_found_before_the_work(
    tmp_path: Path, private_mount: Callable[[Path, str], list[str]]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        "import sys; from odograph.files.destination import Destination as D; D(sys.argv[1], least=1 << 20)"
    )
    line = [*private_mount(disk, "64k"), sys.executable, "-c", script, str(disk / "x")]
    run = subprocess.run(line, capture_output=True, text=True)
    assert f"no room left in {disk}" in run.stderr


def _mask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def test_what_replaces_a_private_file_is_private(tmp_path: Path) -> None:
    target = tmp_path / "private"
    target.touch(mode=0o600)
    with Destination(target) as place:
        made = place.room / "made"
        made.write_bytes(b"new")
        made.chmod(0o644)
        place.deliver(made)
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"new", 0o600)
