"""Runs inside gdb: stops a program at many points, and writes what gdb says of the stack there.

Each line of the output is a JSON object: registers, memory around the stack pointer, frames. The first says
where the files are mapped. Settings come in the environment as JSON: output, count, seed, functions (where to
stop at times), longest (the most instructions to go on at a time). With a core in the settings it writes the
frames of each thread in that instead. With a port it asks the remote target there, which is a static program.
"""

import base64
import json
import os
import pathlib
import random
import zlib

import gdb  # type: ignore[import-not-found]

SETTINGS = json.loads(os.environ["STACKS"])
KINDS = {gdb.NORMAL_FRAME: "normal", gdb.INLINE_FRAME: "inline", gdb.SIGTRAMP_FRAME: "signal"}
REGISTERS = {
    "i386:x86-64": (
        *("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13"),
        *("r14", "r15", "rip"),
    ),
    "aarch64": (*(f"x{number}" for number in range(31)), "sp", "pc"),
}


def run(command):
    return gdb.execute(command, to_string=True)


def mappings():
    rows = []
    for line in pathlib.Path(f"/proc/{gdb.selected_inferior().pid}/maps").read_text().splitlines():
        words = line.split(maxsplit=5)
        start, end = (int(word, 16) for word in words[0].split("-"))
        name = words[5].strip() if len(words) > 5 else ""
        rows.append((start, end, words[1], int(words[2], 16), name))
    return rows


def memory(sp, rows):
    """The rest of the stack from a little below the stack pointer, and small writable mappings of files."""
    inferior = gdb.selected_inferior()
    pieces = []
    for start, end, rights, _, name in rows:
        first = max(start, sp - 512) if start <= sp < end or name == "[stack]" else start
        wanted = start <= sp < end or name == "[stack]" or (SETTINGS["program"] in name and "w" in rights)
        follows = pieces and pieces[-1][2] == start and not name and "w" in rights
        if wanted or follows:
            last = min(end, first + (1 << 18))
            if name == "[stack]" and not start <= sp < end:
                first = max(start, end - (1 << 16))
                last = end
            try:
                data = bytes(inferior.read_memory(first, last - first))
            except gdb.MemoryError:
                continue
            pieces.append((first, base64.b64encode(zlib.compress(data, 1)).decode(), end))
    return [(first, data) for first, data, _ in pieces]


def remote_memory(sp, main_sp, found):
    """As :func:`memory`, of a target that does not tell its mappings; and the code around each frame."""
    inferior = gdb.selected_inferior()
    pieces = []
    wanted = [(sp - 512, 1 << 16), (main_sp - (1 << 15), (1 << 15) + 8192)]
    wanted += [(pc - 8, 24) for _, _, pc in found]
    for first, size in wanted:
        data = b""
        while len(data) < size:
            at = first + len(data)
            count = min(4096 - at % 4096, size - len(data))
            try:
                data += bytes(inferior.read_memory(at, count))
            except gdb.MemoryError:
                break
        pieces.append((first, base64.b64encode(zlib.compress(data, 1)).decode()))
    return pieces


def frames():
    found = []
    frame = gdb.newest_frame()
    reason = None
    while frame is not None:
        found.append((KINDS.get(frame.type(), "tail call"), frame.name(), frame.pc()))
        reason = gdb.frame_stop_reason_string(frame.unwind_stop_reason())
        frame = frame.older()
    return found, reason


def sample(out, main_sp):
    frame = gdb.newest_frame()
    registers = {}
    for name in REGISTERS[frame.architecture().name()]:
        registers[name] = int(frame.read_register(name)) % (1 << 64)
    found, reason = frames()
    sp = registers.get("rsp", registers.get("sp"))
    remote = "port" in SETTINGS
    row = {
        "registers": registers,
        "memory": remote_memory(sp, main_sp, found) if remote else memory(sp, mappings()),
        "frames": found,
        "reason": reason,
    }
    out.write(json.dumps(row) + "\n")


def of_core(path):
    run("set pagination off")
    run("set backtrace past-main on")
    run("set backtrace past-entry on")
    run(f"core-file {path}")
    rows = []
    for thread in gdb.selected_inferior().threads():
        thread.switch()
        found, reason = frames()
        rows.append({"tid": thread.ptid[1] or thread.ptid[0], "frames": found, "reason": reason})
    pathlib.Path(SETTINGS["output"]).write_text("".join(json.dumps(row) + "\n" for row in rows))


def main():
    if "core" in SETTINGS:
        of_core(SETTINGS["core"])
        return
    chance = random.Random(SETTINGS["seed"])
    for command in (
        "set pagination off",
        "set confirm off",
        "set disable-randomization on",
        "set backtrace past-main on",
        "set backtrace past-entry on",
        "set print asm-demangle on",
        "set startup-with-shell off",
        "set step-mode on",
        "handle all nostop noprint pass",
        "handle SIGTRAP stop print nopass",
    ):
        run(command)
    if "port" in SETTINGS:
        run("set architecture aarch64")
        run(f"target remote :{SETTINGS['port']}")
    run("break main")
    run("continue" if "port" in SETTINGS else "run")
    run("delete")
    main_sp = int(gdb.selected_frame().read_register("sp")) % (1 << 64)
    with open(SETTINGS["output"], "w") as out:
        known = SETTINGS["mappings"] if "port" in SETTINGS else mappings()
        out.write(json.dumps({"mappings": known}) + "\n")
        for _ in range(SETTINGS["count"]):
            if SETTINGS["functions"] and chance.random() < 0.1:
                run(f"tbreak {chance.choice(SETTINGS['functions'])}")
                run("continue")
                run("delete")
            most = SETTINGS["longest"] if chance.random() < 0.5 else 12
            run(f"stepi {chance.randint(1, most)}")
            if not gdb.selected_inferior().pid:
                break
            sample(out, main_sp)
    run("kill")


try:
    main()
except Exception as error:
    print("the sampler failed:", type(error).__name__, error)
    raise
