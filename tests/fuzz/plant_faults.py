"""Plants small faults in the IA-64 engine, one at a time, and says which of them its own tests notice.

    python tests/plant_faults.py [--only WORD] [--target DIRECTORY]

Works in a copy of the crates; the tests that run there are those that need no recordings from outside. Ends
with 1 if more than one fault of twenty goes unnoticed, or if a fault no longer fits the source.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
ENGINE = "crates/unwind/src/ia64"


class Fault(NamedTuple):
    """What is wrong, in which file, and the text that makes it so."""

    name: str
    file: str
    right: str
    wrong: str


FAULTS = [
    Fault(
        "epilogue one slot late",
        "body.rs",
        "i128::from(self.length) - 1 - i128::from(time)",
        "i128::from(self.length) - i128::from(time)",
    ),
    Fault(
        "save in force one slot early",
        "region.rs",
        "i128::from(slot) <= change.time",
        "i128::from(slot) < change.time",
    ),
    Fault(
        "default time is the prologue's start",
        "region.rs",
        "time.map_or(last, |time|",
        "time.map_or(0, |time|",
    ),
    Fault("epilogue leaves one prologue less", "body.rs", "count.saturating_add(1)", "count"),
    Fault(
        "copied state lacks the prologues",
        "region.rs",
        "self.state = self.labels.get(&label).ok_or(Status::UndefinedLabel)?.clone();",
        "self.state.rules = self.labels.get(&label).ok_or(Status::UndefinedLabel)?.rules.clone();",
    ),
    Fault("slots of a spill mask from the right", "spill.rs", "[6, 4, 2, 0].map", "[0, 2, 4, 6].map"),
    Fault(
        "saves in registers count for no slot",
        "spill.rs",
        "spills.push((saved, place, times.next()));",
        "let time = if matches!(place, Place::AtPsp(_)) { times.next() } else { None };\n"
        "            spills.push((saved, place, time));",
    ),
    Fault("spill base in words", "spill.rs", "self.base.wrapping_mul(4)", "self.base.wrapping_mul(8)"),
    Fault(
        "floats are spilled in eight bytes", "spill.rs", "area.place(&floats, 16,", "area.place(&floats, 8,"
    ),
    Fault(
        "NaT bits from 32 on are lost",
        "evaluate.rs",
        "unat >> (address >> 3 & 63) & 1",
        "(unat & 0xffff_ffff) >> (address >> 3 & 63) & 1",
    ),
    Fault(
        "saved primary unat is not used",
        "evaluate.rs",
        "match self.saved(target, Saved::PRIUNAT)? {",
        "match None {",
    ),
    Fault("NaT collection one slot low", "rse.rs", "(address | 0x1f8,", "((address | 0x1f8) - 8,"),
    Fault(
        "rotation reaches one register too far",
        "rse.rs",
        "if index < rotating {",
        "if rotating > 0 && index <= rotating {",
    ),
    Fault("size of the frame instead of its locals", "rse.rs", "pfs >> 7 & 127", "pfs & 127"),
    Fault(
        "one word less on the way down", "rse.rs", "distance.wrapping_sub(62)", "distance.wrapping_sub(61)"
    ),
    Fault("the caller's frame lies above", "step.rs", "add_to_bsp(bsp, -locals(", "add_to_bsp(bsp, locals("),
    Fault(
        "swizzled to the wrong region",
        "swap.rs",
        "(pointer & 0xc000_0000) << 31",
        "(pointer & 0xc000_0000) << 30",
    ),
    Fault("scratch area forgotten", "place.rs", "16u64.wrapping_sub(field", "0u64.wrapping_sub(field"),
    Fault("frame sizes in eights", "prologue.rs", "size.wrapping_mul(16)", "size.wrapping_mul(8)"),
    Fault(
        "psp before pfs in a mask",
        "prologue.rs",
        "(4, Saved::PFS), (2, Saved::PSP)",
        "(4, Saved::PSP), (2, Saved::PFS)",
    ),
    Fault(
        "implicit registers in another order",
        "prologue.rs",
        "[Saved::RP, Saved::PFS, Saved::PSP,",
        "[Saved::PFS, Saved::RP, Saved::PSP,",
    ),
    Fault(
        "epilogue keeps saves",
        "place.rs",
        "Place::AtPsp(offset) => (offset as i64) < 16",
        "Place::AtPsp(offset) => (offset as i64) < 0",
    ),
    Fault(
        "predicates the other way",
        "region.rs",
        "value >> (bit & 63) & 1 == 1",
        "value >> (bit & 63) & 1 == 0",
    ),
    Fault(
        "end of a table's row included",
        "table.rs",
        "read(target, index, 1)? <= wanted",
        "read(target, index, 1)? < wanted",
    ),
    Fault(
        "branch spills at the slots of general ones",
        "spill.rs",
        "Saved::branch, self.times(3)",
        "Saved::branch, self.times(2)",
    ),
    Fault(
        "branch registers are spilled in sixteen bytes",
        "spill.rs",
        "area.place(&self.branch, 8,",
        "area.place(&self.branch, 16,",
    ),
    Fault("zero is no NaT value", "evaluate.rs", "[0, 0x1fffe]", "[0, 0x1ffff]"),
    Fault(
        "NaT of a general register saved in another is lost",
        "evaluate.rs",
        "(Place::General(number), _) => self.context.nat(number),",
        "(Place::General(_), _) => Ok(Nat::Known(false)),",
    ),
    Fault(
        "the callee's primary unat stays",
        "step.rs",
        "Special::Pfs, Special::PriUnat, Special::Gp]",
        "Special::Pfs, Special::Gp]",
    ),
    Fault(
        "saved fpsr is not given back",
        "step.rs",
        "    (Saved::FPSR, Special::Fpsr),\n",
        "    (Saved::LC, Special::Fpsr),\n",
    ),
    Fault(
        "saved bsp is not used",
        "step.rs",
        "Some((bsp, _)) => bsp,",
        "Some(_) => frame.context.basic(Special::Bsp)?,",
    ),
    Fault(
        "another return register is ignored",
        "evaluate.rs",
        "let number = self.rules.return_branch;",
        "let number = 0;",
    ),
    Fault(
        "the system's marker lasts one region",
        "region.rs",
        "self.state.rules.abi = prologue.abi.or(self.state.rules.abi);",
        "self.state.rules.abi = prologue.abi;",
    ),
    Fault(
        "labels are set and copied the other way",
        "decode.rs",
        "0xf8 => (Format::B4, Descriptor::CopyState",
        "0xf8 => (Format::B4, Descriptor::LabelState",
    ),
    Fault(
        "ar.pfs is asked once",
        "context.rs",
        "Err(Failure::Status(_)) => {",
        "Err(Failure::Status(Status::NoMemory)) => {",
    ),
    Fault(
        "the other half of a float is not read", "context.rs", "address.wrapping_add(8))?])", "address)?])"
    ),
    Fault(
        "words are read least significant byte first",
        "swap.rs",
        "ByteOrder::Big => bytes.iter().fold(0, next)",
        "ByteOrder::Big => bytes.iter().rev().fold(0, next)",
    ),
    Fault(
        "other byte orders use what was learned",
        "env.rs",
        "        self.order = order;\n        self.forget();",
        "        self.order = order;",
    ),
    Fault(
        "what was learned is for all addresses",
        "cache.rs",
        "self.learned.get(&(*source, ip, slot))",
        "self.learned.iter().find(|(key, _)| key.2 == slot).map(|entry| entry.1)",
    ),
    Fault(
        "answers are given back only if they can be read",
        "lookup.rs",
        "if answer.is_freed() { target.free(ip)",
        "if answer.is_freed() && result.is_ok() { target.free(ip)",
    ),
    Fault(
        "names are not given back",
        "target.rs",
        "Answer::Table | Answer::Function | Answer::Symbols | Answer::Information",
        "Answer::Table | Answer::Function | Answer::Information",
    ),
    Fault(
        "slots of a bundle count two", "lookup.rs", "bundles.saturating_mul(3)", "bundles.saturating_mul(2)"
    ),
    Fault(
        "a leaf without a row cannot be unwound",
        "lookup.rs",
        "Err(Failure::Status(Status::NoTableEntry)) => Ok(None),",
        "Err(Failure::Status(Status::NoTableEntry)) => Err(Status::CannotUnwind.into()),",
    ),
    Fault(
        "rotation by the base of floats",
        "rse.rs",
        "let base = cfm >> 18 & 127;",
        "let base = cfm >> 25 & 127;",
    ),
]


def copy_of_sources(folder: Path) -> None:
    """A crate that has the engine and its tests and nothing else, so that it is built quickly."""
    for name in ("Cargo.toml", "Cargo.lock"):
        shutil.copy(ROOT / name, folder / name)
    # What the crate's manifest names.
    shutil.copytree(ROOT / "crates/files", folder / "crates/files")
    crate = folder / "crates/unwind"
    shutil.copytree(ROOT / ENGINE, crate / "src/ia64")
    shutil.copytree(ROOT / "crates/unwind/tests", crate / "tests")
    shutil.copy(ROOT / "crates/unwind/Cargo.toml", crate / "Cargo.toml")
    (crate / "src/lib.rs").write_text("#![forbid(unsafe_code)]\n\npub mod ia64;\n")
    manifest = (folder / "Cargo.toml").read_text()
    members = re.compile(r"^members = .*?\]$", re.DOTALL | re.MULTILINE)
    unoptimized = "\n[profile.dev.package.odograph-unwind]\nopt-level = 0\n"
    (folder / "Cargo.toml").write_text(members.sub('members = ["crates/unwind"]', manifest) + unoptimized)
    for path in (crate / "tests").glob("*.rs"):
        if not path.name.startswith("ia64"):
            path.unlink()
    # What an earlier run built from a fault must not pass for what these files give.
    for path in crate.rglob("*.rs"):
        path.touch()


def tests_pass(folder: Path, target: Path) -> tuple[bool, str]:
    """Whether the crate's tests pass; else the first that does not, or the compiler's first complaint."""
    command = ["cargo", "test", "--quiet", "--package", "odograph-unwind", "--lib", "--tests"]
    environment = os.environ | {"CARGO_TARGET_DIR": str(target), "ODOGRAPH_SHARED": str(folder / "nothing")}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if result.returncode == 0:
        return True, ""
    lines = (result.stdout + "\n" + result.stderr).splitlines()
    failed = [line.split()[1] for line in lines if line.startswith("---- ") and len(line.split()) > 1]
    errors = [line for line in lines if line.startswith("error")]
    if not failed:
        raise SystemExit(f"it does not compile, or its tests end: {errors[:2]}")
    return False, failed[0]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="only faults with this word in their name")
    parser.add_argument("--target", type=Path, default=ROOT / "target" / "faults", help="where cargo builds")
    arguments = parser.parse_args()
    faults = [fault for fault in FAULTS if arguments.only in fault.name]
    unnoticed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_of_sources(folder)
        passed, failed = tests_pass(folder, arguments.target)
        if not passed:
            print(f"without any fault {failed} fails", file=sys.stderr)
            return 1
        for fault in faults:
            path = folder / ENGINE / fault.file
            source = path.read_text()
            if source.count(fault.right) != 1:
                print(f"{fault.name}: {fault.file} has {source.count(fault.right)} places", file=sys.stderr)
                return 1
            path.write_text(source.replace(fault.right, fault.wrong))
            began = time.monotonic()
            passed, failed = tests_pass(folder, arguments.target)
            path.write_text(source)
            unnoticed += passed
            seconds = time.monotonic() - began
            print(
                f"{'NOT CAUGHT' if passed else 'caught':<11} {fault.name:<40} {seconds:4.0f} s  {failed}",
                flush=True,
            )
    print(f"{len(faults) - unnoticed} of {len(faults)} caught")
    return 1 if unnoticed * 20 > len(faults) else 0


if __name__ == "__main__":
    sys.exit(main())
