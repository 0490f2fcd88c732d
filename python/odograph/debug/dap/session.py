"""A session with an editor: requests and their answers."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from odograph.debug.dap.breakpoints import Breakpoint, Breakpoints, Where
from odograph.debug.dap.code import listing, to_message
from odograph.debug.dap.expression import evaluate
from odograph.debug.dap.messages import (
    Arguments,
    address_of,
    answer_to,
    is_by_instruction,
    refusal_of,
    result_of,
    source_of,
)
from odograph.debug.dap.thread import DebuggedThread, ShownFrame
from odograph.debug.dap.wire import Message
from odograph.debug.halt import Halt, HaltReason
from odograph.errors import InvalidArgument, OdographError
from odograph.text.printable import printable

if TYPE_CHECKING:
    from odograph.recording.recording import Recording

__all__ = ["Session"]

CAPABILITIES = {
    "supportsConfigurationDoneRequest": True,
    "supportsFunctionBreakpoints": True,
    "supportsConditionalBreakpoints": True,
    "supportsHitConditionalBreakpoints": True,
    "supportsLogPoints": True,
    "supportsInstructionBreakpoints": True,
    "supportsStepBack": True,
    "supportsSteppingGranularity": True,
    "supportsDisassembleRequest": True,
    "supportsReadMemoryRequest": True,
    "supportsGotoTargetsRequest": True,
    "supportsEvaluateForHovers": True,
    "supportsDelayedStackTraceLoading": True,
    "supportsTerminateRequest": True,
}
_TOP = 1 << 64
_MOST_LINES = 1 << 16
_MOST_BYTES = 1 << 20
_EXECUTION, _REGISTERS = 1, 2


class Session:
    """One editor's session over the threads of a recording.

    ``send`` gets each message for the editor. Threads move alone, and only in :meth:`handle`;
    :meth:`interrupt` may be called meanwhile by another thread.
    """

    def __init__(self, recording: Recording, tids: list[int], send: Callable[[Message], None]) -> None:
        self.threads = {tid: DebuggedThread(recording, tid) for tid in tids}
        self.is_over = False
        self._send = send
        self._breakpoints = Breakpoints(self.threads, self._say)
        self._first = tids[0]
        self._starts = True
        self._base = 0
        self._frames: list[tuple[DebuggedThread, ShownFrame]] = []
        self._goals: list[tuple[DebuggedThread, int]] = []

    def handle(self, request: Message) -> None:
        """Answers any request, and does what it asks for."""
        if request.get("type") != "request":
            return
        arguments = request.get("arguments")
        answer = answer_to(request)
        handler = _HANDLERS.get(answer["command"])
        after: Callable[[], None] | None = None
        try:
            if handler is None:
                raise InvalidArgument(f"there is no request {answer['command']!r}")
            body, after = handler(self, Arguments(arguments))
            if body is not None:
                answer["body"] = body
        except (OdographError, KeyError, ValueError, TypeError, IndexError) as error:
            text = printable(str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error))
            answer = refusal_of(request, text)
            after = None
        self._send(answer)
        if after is not None:
            after()

    def interrupt(self) -> None:
        """Ends the movement that is under way, and those that begin before ``pause`` is answered."""
        for thread in self.threads.values():
            thread.target.interrupt()

    def _event(self, name: str, body: Message | None = None) -> None:
        self._send({"type": "event", "event": name, **({} if body is None else {"body": body})})

    def _say(self, text: str) -> None:
        self._event("output", {"category": "console", "output": printable(text.rstrip("\n"), "\n") + "\n"})

    # Beginning and end ------------------------------------------------------------------------------------

    def initialize(self, arguments: Arguments) -> _Answer:
        """The capabilities of this adapter; the editor may set breakpoints from now on."""
        self._base = 1 if arguments.values.get("linesStartAt1") is False else 0
        return dict(CAPABILITIES), None

    def launch(self, arguments: Arguments) -> _Answer:
        """``stopOnEntry`` (true unless given), ``atEnd``, ``tid``."""
        tid = arguments.number("tid", self._first)
        if tid not in self.threads:
            raise InvalidArgument(f"there is no thread {tid} in this recording")
        self._first = tid
        self._starts = arguments.values.get("stopOnEntry") is not False
        thread = self.threads[tid]
        if arguments.values.get("atEnd"):
            thread.target.goto(thread.target.last)
        return None, lambda: self._event("initialized")

    def configuration_done(self, arguments: Arguments) -> _Answer:
        """All breakpoints are set: the editor is told where the program stands."""
        thread = self.threads[self._first]
        if self._starts:
            return None, lambda: self._stopped(thread, "entry")
        return None, lambda: self._halted(thread, thread.target.run())

    def disconnect(self, arguments: Arguments) -> _Answer:
        """Ends the session."""
        self.is_over = True
        return None, lambda: self._event("terminated")

    def pause(self, arguments: Arguments) -> _Answer:
        """Stops the movement that is under way."""
        for thread in self.threads.values():
            thread.target.forget_interrupt()
        return None, None

    def nothing(self, arguments: Arguments) -> _Answer:
        """Takes a request that changes nothing here."""
        return None, None

    # Breakpoints ------------------------------------------------------------------------------------------

    def set_breakpoints(self, arguments: Arguments) -> _Answer:
        """Replaces the breakpoints on lines of a source file."""
        path = arguments.values.get("source", {})
        path = path.get("path") if isinstance(path, dict) else None
        if not isinstance(path, str):
            raise InvalidArgument("a source breakpoint needs the path of its source")
        asked = arguments.list("breakpoints") or [{"line": line} for line in arguments.list("lines", int)]
        name = f"source {path}"
        self._breakpoints.clear(name)
        return {"breakpoints": [self._source_breakpoint(name, path, one) for one in asked]}, None

    def _source_breakpoint(self, name: str, path: str, asked: Message) -> Message:
        line = asked.get("line")
        if isinstance(line, bool) or not isinstance(line, int):
            return self._refused("a line is a number")
        found = {
            tid: place
            for tid, thread in self.threads.items()
            if (place := thread.places.addresses_of(path, line + self._base)) is not None
        }
        if not found:
            return self._refused(f"no code is known to be from {os.path.basename(path)}:{line}")
        nearest = min(place[0] for place in found.values())
        where = {tid: addresses for tid, (at, addresses) in found.items() if at == nearest}
        return self._added(name, "breakpoint", where, asked) | {"line": nearest - self._base}

    def set_function_breakpoints(self, arguments: Arguments) -> _Answer:
        """Replaces the breakpoints on functions, by their names."""
        self._breakpoints.clear("functions")
        return {
            "breakpoints": [self._function_breakpoint(one) for one in arguments.list("breakpoints")]
        }, None

    def _function_breakpoint(self, asked: Message) -> Message:
        name = asked.get("name")
        if not isinstance(name, str):
            return self._refused("a function has a name")
        where, said = {}, ""
        for tid, thread in self.threads.items():
            try:
                where[tid] = thread.target.addresses(name)
            except KeyError as error:
                said = str(error.args[0])
        if not where:
            return self._refused(said)
        return self._added("functions", "function breakpoint", where, asked, means=name)

    def set_instruction_breakpoints(self, arguments: Arguments) -> _Answer:
        """Replaces the breakpoints on addresses."""
        self._breakpoints.clear("instructions")
        asked = arguments.list("breakpoints")
        return {"breakpoints": [self._instruction_breakpoint(one) for one in asked]}, None

    def _instruction_breakpoint(self, asked: Message) -> Message:
        address = address_of(asked.get("instructionReference"), asked.get("offset"))
        where = {tid: [address] for tid in self.threads}
        return self._added("instructions", "instruction breakpoint", where, asked)

    def _added(
        self, name: str, kind: str, where: dict[int, Where], asked: Message, means: str | None = None
    ) -> Message:
        try:
            breakpoint = self._breakpoints.add(name, kind, where, asked, means)
        except InvalidArgument as error:
            return self._refused(str(error))
        first = next(iter(where.values()))[0]
        return {"id": breakpoint.number, "verified": True, "instructionReference": f"{first:#x}"}

    def _refused(self, why: str) -> Message:
        return {"verified": False, "message": why}

    # Moving -----------------------------------------------------------------------------------------------

    def go_on(self, arguments: Arguments) -> _Answer:
        """Runs forward to the next breakpoint, or to the end."""
        thread = self._thread(arguments)
        move = self._moving(thread, lambda: thread.target.run(skip_here=True))
        return {"allThreadsContinued": False}, move

    def go_back(self, arguments: Arguments) -> _Answer:
        """Runs backward to the previous breakpoint, or to the beginning."""
        thread = self._thread(arguments)
        return None, self._moving(thread, lambda: thread.target.run(reverse=True))

    def next(self, arguments: Arguments) -> _Answer:
        """Goes to the next line, over calls; by instruction if the editor asks for that."""
        thread, single = self._thread(arguments), is_by_instruction(arguments)
        return None, self._moving(thread, lambda: thread.movement.over(single))

    def step_in(self, arguments: Arguments) -> _Answer:
        """Goes to the next line, into calls; by instruction if the editor asks for that."""
        thread, single = self._thread(arguments), is_by_instruction(arguments)
        return None, self._moving(thread, lambda: thread.movement.into(single))

    def step_out(self, arguments: Arguments) -> _Answer:
        """Goes to where the present function returned to."""
        thread = self._thread(arguments)
        return None, self._moving(thread, thread.movement.out)

    def step_back(self, arguments: Arguments) -> _Answer:
        """Goes to the previous line, over calls; by instruction if the editor asks for that."""
        thread, single = self._thread(arguments), is_by_instruction(arguments)
        return None, self._moving(thread, lambda: thread.movement.back(single))

    def _moving(self, thread: DebuggedThread, move: Callable[[], Halt]) -> Callable[[], None]:
        return lambda: self._halted(thread, move())

    def _halted(self, thread: DebuggedThread, halt: Halt) -> None:
        met = self._breakpoints.met(halt.breakpoints)
        match halt.reason:
            case HaltReason.BREAKPOINT:
                self._stopped(thread, met[0].kind if met else "breakpoint", met=met)
            case HaltReason.STEP:
                self._stopped(thread, "step", text=halt.message)
            case HaltReason.INTERRUPTED:
                self._stopped(thread, "pause")
            case HaltReason.GAP:
                self._stopped(thread, "exception", "execution was lost here", halt.message)
            case HaltReason.BEGIN:
                self._stopped(thread, "pause", "the recording begins here")
            case HaltReason.END:
                self._stopped(thread, "pause", "the recording ends here")

    def _stopped(
        self,
        thread: DebuggedThread,
        reason: str,
        description: str = "",
        text: str = "",
        met: list[Breakpoint] | None = None,
    ) -> None:
        self._frames.clear()
        self._goals.clear()
        body: Message = {"reason": reason, "threadId": thread.tid, "allThreadsStopped": True}
        if description:
            body |= {"description": description, "text": text.strip() or description}
            self._say(f"{description}: step {thread.target.step}")
        if met:
            body["hitBreakpointIds"] = [breakpoint.number for breakpoint in met]
        self._event("stopped", body)

    def goto_targets(self, arguments: Arguments) -> _Answer:
        """The executions of a line before and behind the present step, of the first thread."""
        path = arguments.values.get("source", {})
        path = path.get("path") if isinstance(path, dict) else None
        line = arguments.number("line")
        targets: list[Message] = []
        for thread in self.threads.values():
            place = thread.places.addresses_of(path, line + self._base) if isinstance(path, str) else None
            if place is None:
                continue
            for label, step in _around(thread, place[1]):
                self._goals.append((thread, step))
                text = f"{label}: step {step} of thread {thread.tid}"
                targets.append({"id": len(self._goals), "label": text, "line": place[0] - self._base})
        return {"targets": targets}, None

    def goto(self, arguments: Arguments) -> _Answer:
        """Goes to the execution of a line that ``goto_targets`` listed."""
        number = arguments.number("targetId")
        if not 1 <= number <= len(self._goals):
            raise InvalidArgument(f"there is no place {number} to go to")
        thread, step = self._goals[number - 1]
        thread.target.goto(step)
        return None, lambda: self._stopped(thread, "goto")

    # Looking ----------------------------------------------------------------------------------------------

    def list_threads(self, arguments: Arguments) -> _Answer:
        """The threads of the recording that are debugged."""
        return {"threads": [{"id": tid, "name": one.name} for tid, one in self.threads.items()]}, None

    def stack_trace(self, arguments: Arguments) -> _Answer:
        """The frames of a thread at its step, or some of them."""
        thread = self._thread(arguments)
        start, levels = arguments.number("startFrame", 0), arguments.number("levels", 0)
        stack = thread.stack
        chosen = stack[max(start, 0) :][: levels if levels > 0 else None]
        frames = []
        for shown in chosen:
            self._frames.append((thread, shown))
            frames.append(self._frame_message(len(self._frames), shown))
        return {"stackFrames": frames, "totalFrames": len(stack)}, None

    def _frame_message(self, number: int, shown: ShownFrame) -> Message:
        message: Message = {
            "id": number,
            "name": shown.name,
            "line": 0,
            "column": 0,
            "instructionPointerReference": f"{shown.frame.address:#x}",
        }
        if shown.file is not None and shown.line:
            message["line"] = shown.line - self._base
            message["source"] = source_of(shown.file)
        else:
            message["presentationHint"] = "subtle"
        return message

    def scopes(self, arguments: Arguments) -> _Answer:
        """What variables of a frame there are: its registers, and facts about the step."""
        number = arguments.number("frameId")
        self._frame(number)
        scopes = [("Execution", _EXECUTION, "locals"), ("Registers", _REGISTERS, "registers")]
        return {
            "scopes": [
                {
                    "name": name,
                    "presentationHint": hint,
                    "variablesReference": number * 4 + kind,
                    "expensive": False,
                }
                for name, kind, hint in scopes
            ]
        }, None

    def variables(self, arguments: Arguments) -> _Answer:
        """The names and values of a scope."""
        number, kind = divmod(arguments.number("variablesReference"), 4)
        thread, shown = self._frame(number)
        frame = shown.frame
        values: dict[str, str]
        if kind == _REGISTERS:
            values = {"rip": f"{frame.address:#x}"}
            values |= {name: f"{value:#x}" for name, value in frame.registers.items()}
        else:
            target = thread.target
            known = {
                "step": target.step,
                "time": target.time,
                "tsc": target.tsc,
                "called at step": frame.step if shown is not thread.stack[0] else None,
            }
            values = {name: str(value) for name, value in known.items() if value is not None}
            values |= {"thread": thread.name, "found by": frame.found.value}
        return {
            "variables": [
                {"name": name, "value": value, "variablesReference": 0} for name, value in values.items()
            ]
        }, None

    def evaluate(self, arguments: Arguments) -> _Answer:
        """An expression, or ``goto STEP`` and ``goto time NS`` in the console."""
        text = arguments.text("expression").strip()
        frame = arguments.values.get("frameId")
        thread = self.threads[self._first] if frame is None else self._frame(arguments.number("frameId"))[0]
        command, _, rest = text.partition(" ")
        if command == "goto" and rest and arguments.values.get("context") in (None, "repl"):
            kind, _, moment = rest.strip().partition(" ")
            value = evaluate(moment if kind == "time" and moment else rest, thread.value)
            if value is None:
                raise InvalidArgument(f"{rest!r} is not known")
            if kind == "time" and moment:
                thread.target.goto_time(value)
            else:
                thread.target.goto(value)
            return result_of(f"step {thread.target.step}"), lambda: self._stopped(thread, "goto")
        value = evaluate(text, thread.value)
        return result_of("unknown" if value is None else f"{value} ({value:#x})"), None

    def disassemble(self, arguments: Arguments) -> _Answer:
        """The instructions around an address."""
        address = address_of(arguments.values.get("memoryReference"), arguments.values.get("offset"))
        count = arguments.number("instructionCount")
        before = -arguments.number("instructionOffset", 0)
        if not 0 <= count <= _MOST_LINES or abs(before) > _MOST_LINES:
            raise InvalidArgument(f"no more than {_MOST_LINES} instructions are listed at once")
        thread = self.threads[self._first]
        lines = listing(thread.target, address, before, count)
        names = thread.target.symbols
        return {"instructions": [to_message(line, names.name_of(line.address)) for line in lines]}, None

    def read_memory(self, arguments: Arguments) -> _Answer:
        """Bytes of code and of files that are mapped; what is not known is left out."""
        address = address_of(arguments.values.get("memoryReference"), arguments.values.get("offset"))
        count = arguments.number("count")
        if not 0 <= count <= _MOST_BYTES:
            raise InvalidArgument(f"no more than {_MOST_BYTES} bytes are read at once")
        data = self.threads[self._first].target.read_code(address, count) if count else b""
        body: Message = {"address": f"{address:#x}", "data": base64.b64encode(data).decode()}
        if len(data) < count:
            body["unreadableBytes"] = count - len(data)
        return body, None

    def _thread(self, arguments: Arguments) -> DebuggedThread:
        tid = arguments.number("threadId", self._first)
        if tid not in self.threads:
            raise InvalidArgument(f"there is no thread {tid} in this recording")
        # What has no thread of its own is asked of the one that was looked at last.
        self._first = tid
        return self.threads[tid]

    def _frame(self, number: int) -> tuple[DebuggedThread, ShownFrame]:
        if not 1 <= number <= len(self._frames):
            raise InvalidArgument(f"there is no frame {number} any more; ask for the stack again")
        return self._frames[number - 1]


_Answer = tuple[Message | None, Callable[[], None] | None]
"""The body of an answer, and what is to be done when it has been sent."""


def _around(thread: DebuggedThread, addresses: Where) -> list[tuple[str, int]]:
    """The nearest executions of some instructions."""
    target = thread.target
    hits = target.processor.breakpoints.hits
    steps = {int(step) for address in addresses for step in hits(address, address).tolist()}
    before = [step for step in steps if step < target.step]
    behind = [step for step in steps if step > target.step]
    found = [("last time", max(before))] if before else []
    return [*found, *([("next time", min(behind))] if behind else [])]


_HANDLERS: dict[str, Callable[[Session, Arguments], _Answer]] = {
    "initialize": Session.initialize,
    "launch": Session.launch,
    "attach": Session.launch,
    "configurationDone": Session.configuration_done,
    "disconnect": Session.disconnect,
    "terminate": Session.disconnect,
    "setBreakpoints": Session.set_breakpoints,
    "setFunctionBreakpoints": Session.set_function_breakpoints,
    "setInstructionBreakpoints": Session.set_instruction_breakpoints,
    "setExceptionBreakpoints": Session.nothing,
    "continue": Session.go_on,
    "reverseContinue": Session.go_back,
    "next": Session.next,
    "stepIn": Session.step_in,
    "stepOut": Session.step_out,
    "stepBack": Session.step_back,
    "pause": Session.pause,
    "cancel": Session.nothing,
    "gotoTargets": Session.goto_targets,
    "goto": Session.goto,
    "threads": Session.list_threads,
    "stackTrace": Session.stack_trace,
    "scopes": Session.scopes,
    "variables": Session.variables,
    "evaluate": Session.evaluate,
    "disassemble": Session.disassemble,
    "readMemory": Session.read_memory,
}
