"""What a frame of an IA-64 stack costs: ``python benchmarks/unwind.py``.

Stacks of executed programs from ``../shared/ia64/vectors`` are followed through callbacks written in Python.
Cold: an environment that knows no code yet, so that unwind tables are searched and descriptors are read;
warm: the same environment follows the same stack once more. Each stack counts with the least of its times.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import struct
import sys
import time
import zlib
from pathlib import Path
from typing import Any

from odograph.compat import uwx

ROOT = Path(__file__).resolve().parent.parent
VECTORS = Path(os.environ.get("ODOGRAPH_SHARED", ROOT.parent / "shared")) / "ia64" / "vectors"
#: Microseconds that a frame may take.
WARM, COLD = 15.0, 250.0
STACKS, ROUNDS, FEWEST_FRAMES = 40, 5, 3


class Program:
    """The text of an executed program, and its unwind table."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        (offset,), (count,) = struct.unpack_from("<Q", data, 32), struct.unpack_from("<H", data, 56)
        for index in range(count):
            kind, flags, start, address, _, size = struct.unpack_from("<IIQQQQ", data, offset + 56 * index)
            if kind == 1 and flags & 1:
                self.base, self.text = address, data[start : start + size]
            elif kind == 0x70000001:
                self.table = address, address + size


class Machine:
    """A snapshot that answers as uwx(3X) asks."""

    def __init__(self, program: Program, snapshot: dict[str, Any]) -> None:
        self.program, self.snapshot = program, snapshot
        (self.memory_base, memory), (self.backing_base, backing) = snapshot["mstack"], snapshot["rstack"]
        self.memory, self.backing = (zlib.decompress(base64.b64decode(data)) for data in (memory, backing))
        pack = struct.Struct("<Q").pack
        named = {6: "pfs", 7: "pr", 10: "rnat", 11: "unat", 12: "fpsr", 13: "lc"}
        self.registers = {number: pack(snapshot[name]) for number, name in named.items()}
        self.registers |= {0x101 + index: pack(value) for index, value in enumerate(snapshot["gr"])}
        self.registers |= {0x300 + index: pack(value) for index, value in enumerate(snapshot["br"])}
        self.registers |= {
            0x200 + int(number): pack(low) + pack(high) for number, (low, high) in snapshot["fr"].items()
        }

    def copyin(self, request: int, loc: memoryview, rem: int, size: int, _: object) -> int:
        """Copies what is asked for."""
        if request == uwx.UWX_COPYIN_UINFO:
            offset = rem - self.program.base
            loc[:] = self.program.text[offset : offset + size]
        elif request == uwx.UWX_COPYIN_MSTACK:
            offset = rem - self.memory_base
            loc[:] = self.memory[offset : offset + size]
        elif request == uwx.UWX_COPYIN_REG:
            loc[:] = self.registers[rem]
        elif rem & 0x1F8 == 0x1F8 and rem >= self.snapshot["rbs_end"]:
            loc[:] = self.registers[uwx.UWX_REG_RNAT]
        else:
            offset = rem - self.backing_base
            loc[:] = self.backing[offset : offset + size]
        return size

    def lookupip(self, request: int, ip: int, _: object, uvec: list[Any]) -> int:
        """Every address is the program's."""
        if request != uwx.UWX_LKUP_LOOKUP:
            return uwx.UWX_LKUP_NOTFOUND
        start, end = self.program.table
        uvec[:] = [uwx.UWX_KEY_TBASE, self.program.base, uwx.UWX_KEY_USTART, start, uwx.UWX_KEY_UEND, end, 0]
        return uwx.UWX_LKUP_UTABLE

    def follow(self, env: uwx.uwx_env) -> float:
        """Seconds that the whole stack takes."""
        snapshot = self.snapshot
        start = time.perf_counter()
        cfm = snapshot["cfm"] | snapshot["ec"] << 52
        uwx.uwx_init_context(env, snapshot["ip"], snapshot["sp"], snapshot["bsp"], cfm)
        frames = 0
        while (status := uwx.uwx_step(env)) == uwx.UWX_OK:
            frames += 1
        took = time.perf_counter() - start
        if status != uwx.UWX_BOTTOM or frames != len(snapshot["frames"]):
            raise SystemExit(f"a stack of {len(snapshot['frames'])} frames ended at {frames} with {status}")
        return took

    def measure(self) -> tuple[float, float]:
        """The least seconds, warm and cold."""
        warm, cold = [], []
        for _ in range(ROUNDS):
            env = uwx.uwx_init()
            assert env is not None
            uwx.uwx_register_callbacks(env, None, self.copyin, self.lookupip)
            cold.append(self.follow(env))
            warm.append(self.follow(env))
        return min(warm), min(cold)


def main() -> int:
    """Prints a line a program; 1 if a frame takes longer than it may."""
    paths = sorted(VECTORS.glob("*.jsonl.gz"))
    if not paths:
        print(f"skipped: there are no snapshots in {VECTORS}")
        return 0
    slow = False
    print(f"{'program':10} {'stacks':>6} {'frames':>6} {'warm us/frame':>14} {'cold us/frame':>14}")
    for path in paths:
        name = path.name.removesuffix(".jsonl.gz")
        program = Program(path.with_name(f"{name}.elf"))
        with gzip.open(path) as lines:
            snapshots = [json.loads(line) for line in lines]
        # The frame that has no caller is stepped as well.
        deep = [snapshot for snapshot in snapshots if len(snapshot["frames"]) >= FEWEST_FRAMES][:STACKS]
        frames = sum(len(snapshot["frames"]) + 1 for snapshot in deep)
        if not frames:
            continue
        times = [Machine(program, snapshot).measure() for snapshot in deep]
        warm, cold = (sum(column) / frames * 1e6 for column in zip(*times, strict=True))
        slow |= warm > WARM or cold > COLD
        print(f"{name:10} {len(deep):6} {frames:6} {warm:14.2f} {cold:14.2f}")
    print(f"at most {WARM:g} warm and {COLD:g} cold: {'no' if slow else 'yes'}")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
