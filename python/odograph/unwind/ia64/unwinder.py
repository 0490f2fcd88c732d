"""Stepping up IA-64 stacks by names: what :class:`odograph._native.UwxEnv` does by numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from odograph._native import UwxEnv
from odograph.errors import InvalidArgument, UnwindError
from odograph.frame import Found, Frame, Stack
from odograph.text.reprs import hex_repr
from odograph.unwind.ia64.names import (
    Disposition,
    Lookup,
    Register,
    Request,
    Status,
    br,
    fr,
    gr,
    register_name,
)
from odograph.unwind.ia64.signals import SavedContext, is_signal_frame, read_saved_context

if TYPE_CHECKING:
    from odograph.unwind.ia64.snapshot import Snapshot

__all__ = ["DEFAULT_LIMIT", "CopyIn", "Location", "LookUpIp", "Named", "Unwinder", "unwind"]

#: So many frames a stack has at most, unless more are asked for.
DEFAULT_LIMIT: Final = 1 << 16

#: ``copy_in(request, address_or_register, size)``: exactly ``size`` bytes, or None if they cannot be had. A
#: register is asked for by its name, unwind information as it lies in the target; words of stacks and
#: registers have their least significant byte first.
CopyIn = Callable[[Request, "int | str", int], "bytes | None"]

#: ``lookup_ip(request, ip, uvec)``: what uwx(3X) calls by that name. It replaces what is in ``uvec`` by the
#: keys and values of its answer.
LookUpIp = Callable[[Lookup, int, list[Any]], int]

_NUMBERS: Final = {
    **{register.name.lower(): register.value for register in Register},
    "pr": Register.PREDS.value,
    "preds": Register.PREDS.value,
    **{f"gr{number}": gr(number) for number in range(128)},
    **{f"fr{number}": fr(number) for number in range(128)},
    **{f"br{number}": br(number) for number in range(8)},
}

_BASIC: Final = ("ip", "sp", "bsp", "cfm")
_GENERAL: Final = tuple(f"gr{number}" for number in range(4, 8))
_GENERAL_AND_BRANCH: Final = (*_GENERAL, *(f"br{number}" for number in range(1, 6)))
_PRESERVED: Final = ("pr", "unat", "lc", "fpsr", *_GENERAL_AND_BRANCH)
_FLOATS: Final = tuple(f"fr{number}" for number in (*range(2, 6), *range(16, 32)))


class Location(NamedTuple):
    """Where the value of a register lies: ``register`` by name, or ``address`` on one of the stacks.

    All are None where it is computed or constant.
    """

    register: str | None = None
    memory_stack: int | None = None
    register_stack: int | None = None


@hex_repr("offset")
class Named(NamedTuple):
    """What a place is called. None: not known."""

    module: str | None
    function: str | None
    offset: int | None
    """Bytes from where the function begins; the slot counts as one to three of them."""


class Unwinder:
    """Steps up the stack of one thread, from a context that is given by :meth:`start`.

    What is learned of code is kept, so one unwinder for many stacks of a process is quicker: only stacks are
    read again, and ``lookup_ip`` is asked. Where code is unmapped or changed, :meth:`forget`. An exception of
    a callback comes out of the method that asked, as the same object, and the context is as it was. One
    thread uses an unwinder at a time, and callbacks do not: that raises :class:`~odograph.errors.Reentered`.
    """

    def __init__(
        self, copy_in: CopyIn, lookup_ip: LookUpIp, *, big: bool = False, floats: bool = True
    ) -> None:
        """``big``: unwind information has its most significant byte first. ``floats`` False reads preserved
        floating-point registers only when they are asked for.
        """
        self._env = UwxEnv()
        self._copy_in, self._lookup_ip = copy_in, lookup_ip
        self._interrupted: SavedContext | None = None
        self.forget()
        self._big = big
        self._env.set_remote(big)
        if not floats:
            self._env.set_nofr()

    def forget(self) -> None:
        """Forget what was learned of code."""
        self._env.register_callbacks(None, self._copyin, self._lookupip)

    def start(
        self,
        ip: int,
        sp: int,
        bsp: int,
        cfm: int,
        registers: Mapping[str, int | tuple[int, int]] | None = None,
    ) -> None:
        """Begin at a context; everything else that was known is forgotten.

        ``ip`` has the slot in its low bits; ``bsp`` is where GR32 lies; ``cfm`` has the epilogue count from
        bit 52, as ar.pfs has it. ``registers`` need no ``copy_in`` then: special ones, GR4 to GR7, BR1 to
        BR5, FR2 to FR5 and FR16 to FR31.

        :raises InvalidArgument: a register cannot be set, or a value has no 64 bits.
        """
        self._env.init_context(ip, sp, bsp, cfm)
        self._interrupted = None
        for name, value in (registers or {}).items():
            self.set_register(name, value)

    def set_register(self, name: str, value: int | tuple[int, int]) -> None:
        """Set a register of the context; floating-point ones as (significand, sign << 17 | exponent).

        :raises InvalidArgument: there is none of this name, or it cannot be set.
        """
        number = _number(name)
        is_float = number >> 8 == 2
        if isinstance(value, tuple) != is_float:
            raise InvalidArgument(f"{value} cannot be a value of the register {name}")
        status = (
            self._env.set_fr(number, value) if isinstance(value, tuple) else self._env.set_reg(number, value)
        )
        if status:
            raise InvalidArgument(f"the register {name} cannot be set")

    def set_nat(self, name: str, nat: bool) -> None:
        """Set the NaT bit of GR4 to GR7, which uwx(3X) begins with as clear.

        :raises InvalidArgument: it is another register.
        """
        if self._env.set_nat(_number(name), nat):
            raise InvalidArgument(f"the NaT bit of {name} cannot be set")

    def step(self) -> Status:
        """Step to the caller: ``Status.OK``. With ``BOTTOM`` there is none, and with ``ABI_FRAME`` the frame
        was interrupted, of which only the system's own structures tell more; the context is as it was then.

        :raises UnwindError: why there is no step.
        """
        return self._checked(self._env.step())

    def resume(self) -> bool:
        """Go on behind a frame that gave ``ABI_FRAME``: with the context that a signal of Linux interrupted.

        Registers that calls preserve are kept; all others, where they are asked for, are those that the
        kernel saved. False, and everything as it was, for other systems and where that context cannot be
        read.
        """
        context = read_saved_context(self._word("sp"), self._memory_word)
        if context is None or not is_signal_frame(*self.abi_context):
            return False
        kept: dict[str, int | tuple[int, int]] = {}
        for name in (*_GENERAL_AND_BRANCH, *_FLOATS):
            value = self._env.get_reg(_number(name))[1]
            if value is not None:
                kept[name] = value
        nats = [name for name in _GENERAL if self._env.get_nat(_number(name))[1]]
        self.start(context.ip, context.sp, context.bsp, context.cfm, kept)
        for name in nats:
            self.set_nat(name, True)
        self._interrupted = context
        return True

    @property
    def abi_context(self) -> tuple[int, int]:
        """System and kind of the context that the last step met, if it gave ``ABI_FRAME``; else zeros."""
        code = self._env.get_abi_context_code()
        return code >> 8, code & 0xFF

    def register(self, name: str) -> int | tuple[int, int]:
        """A register of the context; floating-point ones as (significand, sign << 17 | exponent).

        Registers that no frame so far has saved are those of the context that unwinding began from, so the
        ones that calls do not preserve mean something only there.

        :raises UnwindError: it cannot be read.
        :raises InvalidArgument: there is none of this name.
        """
        status, value = self._env.get_reg(_number(name))
        self._checked(status)
        assert value is not None
        return value

    def nat(self, name: str) -> bool:
        """The NaT bit of GR0, GR4 to GR7, or a stacked register.

        :raises UnwindError: it cannot be read, or is of another register.
        """
        status, nat = self._env.get_nat(_number(name))
        self._checked(status)
        return bool(nat)

    def location(self, name: str) -> Location:
        """Where the value of a register lies.

        :raises UnwindError: it cannot be found out.
        """
        status, word = self._env.get_spill_loc(_number(name))
        self._checked(status)
        assert word is not None
        match word & 7:
            case Disposition.REG:
                return Location(register=register_name(word >> 4))
            case Disposition.MSTK:
                return Location(memory_stack=word & ~7)
            case Disposition.RSTK:
                return Location(register_stack=word & ~7)
        return Location()

    @property
    def function_start(self) -> int:
        """Where the function begins that the context stands in.

        :raises UnwindError: ``NOUENTRY``, ``NOUDESC``, ``NOSYM``: it is not known.
        """
        status, start = self._env.get_funcstart()
        self._checked(status)
        assert start is not None
        return start

    def name(self) -> Named:
        """Names of where the context stands, as far as ``lookup_ip`` knows them."""
        status, module, function, offset = self._env.get_sym_info()
        if status:
            return Named(None, None, None)
        return Named(module, function, offset)

    def stack(self, *, limit: int = DEFAULT_LIMIT, names: bool = True, floats: bool = False) -> Stack:
        """The frames from the context outwards, each with the registers that calls preserve.

        Frames that signals interrupted are followed where Linux left their contexts. ``floats`` adds FR2 to
        FR5 and FR16 to FR31, each as the number that its 16 bytes are when it is spilled. What keeps the
        stack from being followed is its ``end``. The context is that of the last frame then.
        """
        wanted = (*_PRESERVED, *_FLOATS) if floats else _PRESERVED
        frames = [self._frame(Found.START, wanted, names)]
        while len(frames) < limit:
            before = self._basic()
            try:
                status = self.step()
            except UnwindError as error:
                return Stack(frames, str(error))
            if status == Status.BOTTOM:
                return Stack(frames)
            found = Found.UNWIND_INFO
            if status == Status.ABI_FRAME:
                abi, context = self.abi_context
                if not self.resume():
                    return Stack(frames, f"interrupted: context {context:#x} of system {abi}")
                found = Found.SIGNAL
            if self._basic() == before:
                return Stack(frames, "the caller is the frame itself")
            frames.append(self._frame(found, wanted, names))
        return Stack(frames, f"there are more than {limit} frames")

    def _copyin(self, request: int, loc: memoryview, rem: int, size: int, _: object) -> int:
        data = self._copied(Request(request), rem, size)
        if data is None:
            return 0
        if len(data) > size:
            raise InvalidArgument(f"copy_in gave {len(data)} bytes, but {size} were asked for")
        loc[: len(data)] = data
        return len(data)

    def _copied(self, request: Request, place: int, size: int) -> bytes | None:
        if request is not Request.REG:
            return self._copy_in(request, place, size)
        name = register_name(place)
        if name is None:
            return None
        if self._interrupted is None:
            return self._copy_in(request, name, size)
        value = self._interrupted.register(name, self._memory_word)
        if value is None:
            return None
        words = value if isinstance(value, tuple) else (value,)
        return b"".join(word.to_bytes(8, "little") for word in words)

    def _lookupip(self, request: int, ip: int, _: object, uvec: list[Any]) -> int:
        return self._lookup_ip(Lookup(request), ip, uvec)

    def _memory_word(self, address: int) -> int | None:
        """A word of the memory stack; None if it cannot be read."""
        address &= (1 << 64) - 1
        data = None if address & 7 else self._copy_in(Request.MSTACK, address, 8)
        return None if data is None or len(data) != 8 else int.from_bytes(data, "little")

    def _basic(self) -> list[int]:
        return [self._word(name) for name in _BASIC]

    def _word(self, name: str) -> int:
        value = self.register(name)
        assert isinstance(value, int)
        return value

    def _frame(self, found: Found, wanted: tuple[str, ...], names: bool) -> Frame:
        registers = dict(zip(_BASIC, self._basic(), strict=True))
        for name in wanted:
            status, value = self._env.get_reg(_number(name))
            if isinstance(value, tuple):
                registers[name] = value[1] << 64 | value[0]
            elif value is not None and status == Status.OK:
                registers[name] = value
        called = self.name() if names else Named(None, None, None)
        return Frame(
            registers["ip"],
            found,
            is_return=found is Found.UNWIND_INFO,
            function=called.function,
            offset=called.offset or 0,
            module=called.module,
            registers=registers,
        )

    def _checked(self, code: int) -> Status:
        status = Status(code)
        if status < 0:
            ip = self._env.get_reg(Register.IP)[1]
            assert not isinstance(ip, tuple)
            raise UnwindError(status.message, status=status, ip=ip)
        return status

    def __repr__(self) -> str:
        return f"<Unwinder: IA-64, {'big' if self._big else 'little'} endian>"


def unwind(snapshot: Snapshot, *, limit: int = DEFAULT_LIMIT, names: bool = True) -> Stack:
    """The stack of a stopped thread.

    :raises UnwindError: not even its first frame can be read.
    """
    unwinder = Unwinder(snapshot.copy_in, snapshot.lookup_ip, big=snapshot.big)
    unwinder.start(*snapshot.start)
    return unwinder.stack(limit=limit, names=names)


def _number(name: str) -> int:
    number = _NUMBERS.get(name)
    if number is None:
        raise InvalidArgument(f"there is no register {name!r}; there are ip, sp, gr4, br1, fr2, pr and so on")
    return number
