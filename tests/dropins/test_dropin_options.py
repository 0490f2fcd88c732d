"""Arguments of ptdump and ptxed as C reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from odograph.dropins.options import Arguments, DecoderOptions, Failure, FileRange, open_range, parse_number


def failure(call: object, *arguments: object, **more: object) -> tuple[str, int]:
    with pytest.raises(Failure) as caught:
        call(*arguments, **more)  # type: ignore[operator]
    return caught.value.text, caught.value.status


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("12", 12),
        ("0x1F", 31),
        ("0X1f", 31),
        ("017", 15),
        ("+3", 3),
        (" 3", 3),
        ("-1", 2**64 - 1),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", None),
        ("0x", None),
        ("08", None),
        ("1 ", None),
        ("1_0", None),
        ("0b1", None),
        ("--1", None),
        ("", None),
        ("x", None),
    ],
)
def test_numbers_are_those_of_strtoull(text: str, value: int | None) -> None:
    assert parse_number(text) == value


def number(*words: str, bits: int = 8) -> int:
    return Arguments(["tool", *words]).number("--n", bits)


def test_numbers_as_arguments() -> None:
    assert number("0xff") == 255
    assert failure(number) == ("--n: missing argument.", 1)
    assert failure(number, "") == ("--n: missing argument.", 1)
    assert failure(number, "--time") == ("--n: missing argument.", 1)
    assert failure(number, "3x") == ("--n: bad argument: 3x.", 1)
    assert failure(number, "256") == ("--n: value too big: 256.", 1)
    assert failure(number, "-1") == ("--n: value too big: -1.", 1)
    assert number("-1", bits=64) == 2**64 - 1


@pytest.mark.parametrize(
    ("text", "cpu"),
    [
        ("none", None),
        ("6/94", (6, 94, 0)),
        ("0x6/0x5e/3", (6, 94, 3)),
        ("6/94/", (6, 94, 0)),
        ("65535/255/255", (65535, 255, 255)),
    ],
)
def test_processors(text: str, cpu: tuple[int, int, int] | None) -> None:
    assert Arguments(["tool", text]).cpu() == cpu


@pytest.mark.parametrize("text", ["", "6", "6/", "/1", "6/1/x", "6/1/2/3", "65536/1", "6/256", "6/1/256"])
def test_no_processors(text: str) -> None:
    assert failure(Arguments(["tool", text]).cpu) == ("cpu must be specified as f/m[/s]", 1)


def test_a_missing_processor() -> None:
    assert failure(Arguments(["tool"]).cpu, status=0) == ("--cpu: missing argument.", 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f", FileRange("f")),
        ("f:16", FileRange("f", 16)),
        ("f:0x10-0x20", FileRange("f", 16, 32)),
        ("a:1:2", FileRange("a:1", 2)),
        ("f:zz", FileRange("f:zz")),
        ("f:2-zz", FileRange("f:2-zz")),
        ("f:2x", FileRange("f:2x")),
        ("f:", FileRange("f:")),
        (":3", FileRange("", 3)),
    ],
)
def test_file_ranges(text: str, expected: FileRange) -> None:
    assert FileRange.parse(text) == expected


@pytest.mark.parametrize("text", ["f:2-2", "f:2-1", "f:2-", "f:0-0"])
def test_empty_file_ranges(text: str) -> None:
    assert failure(FileRange.parse, text, status=2) == (f"bad file {text}: invalid argument.", 2)


def test_the_bytes_of_a_range(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    name = str(file)
    assert bytes(open_range(FileRange(name))) == b"0123456789"
    assert bytes(open_range(FileRange(name, 3))) == b"3456789"
    assert bytes(open_range(FileRange(name, 3, 10))) == b"3456789"
    assert bytes(open_range(FileRange(name, 3, 5))) == b"34"
    assert failure(open_range, FileRange(name, 10)) == (f"bad offset 0xa into {name}.", 1)
    assert failure(open_range, FileRange(name, 3, 11)) == (f"bad range 0xb in {name}.", 1)
    missing = str(tmp_path / "missing")
    assert failure(open_range, FileRange(missing)) == (f"failed to open {missing}: 2.", 1)
    file.write_bytes(b"")
    assert failure(open_range, FileRange(name)) == (f"bad offset 0x0 into {name}.", 1)


def test_the_decoder_configuration() -> None:
    options = DecoderOptions()
    arguments = Arguments(["tool", "4", "5", "6", "7"])
    taken = ["--mtc-freq", "--nom-freq", "--cpuid-0x15.eax", "--cpuid-0x15.ebx", "--other"]
    assert [options.take(option, arguments) for option in taken] == [True, True, True, True, False]
    config = options.config(keep_tcal_on_ovf=True)
    assert (config.mtc_freq, config.nom_freq, config.cpuid_0x15_eax, config.cpuid_0x15_ebx) == (4, 5, 6, 7)
    assert config.keep_tcal_on_ovf
    assert (config.cpu, options.cpu_is_unknown) == (None, False)
    options.cpu = (6, 94, 3)
    assert (options.config().cpu, options.cpu_is_unknown) == ((6, 94, 3), False)
    options.cpu = (0, 0, 0)
    assert (options.config().cpu, options.cpu_is_unknown) == (None, True)
