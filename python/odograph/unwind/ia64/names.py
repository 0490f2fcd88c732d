"""Statuses, requests, answers, keys and registers of uwx(3X), numbered as in its edition of 2006."""

from __future__ import annotations

import enum
from typing import Final

__all__ = [
    "Answer",
    "Disposition",
    "Key",
    "Lookup",
    "Register",
    "Request",
    "Status",
    "br",
    "fr",
    "gr",
    "register_name",
]


class Status(enum.IntEnum):
    """``UWX_OK``, ``UWX_BOTTOM``, ``UWX_ABI_FRAME`` and, negative, ``UWX_ERR_*``."""

    OK = 0
    BOTTOM = 1
    """There is no caller."""
    ABI_FRAME = 2
    """The system made this frame: a signal's or an interrupt's."""
    NOENV = -1
    IPNOTFOUND = -2
    LOOKUPERR = -3
    BADKEY = -4
    COPYIN_UTBL = -5
    COPYIN_UINFO = -6
    COPYIN_MSTK = -7
    COPYIN_RSTK = -8
    COPYIN_REG = -9
    NOUENTRY = -10
    NOUDESC = -11
    BADUDESC = -12
    NOMEM = -13
    PROLOG_UF = -14
    UNDEFLABEL = -15
    BADREGID = -16
    CANTUNWIND = -17
    NOCALLBACKS = -18
    NOCONTEXT = -19
    UCACCESS = -20
    NOSYM = -21

    @property
    def message(self) -> str:
        """What it means, in words."""
        return _MESSAGES[self]


_MESSAGES: Final = {
    Status.OK: "a frame",
    Status.BOTTOM: "the outermost frame",
    Status.ABI_FRAME: "a frame that the system made",
    Status.NOENV: "no environment",
    Status.IPNOTFOUND: "no module has this address",
    Status.LOOKUPERR: "the look-up failed",
    Status.BADKEY: "the look-up's answer has a key that is unknown, or lacks one",
    Status.COPYIN_UTBL: "the unwind table cannot be read",
    Status.COPYIN_UINFO: "an information block cannot be read",
    Status.COPYIN_MSTK: "the memory stack cannot be read",
    Status.COPYIN_RSTK: "the register stack cannot be read",
    Status.COPYIN_REG: "a register cannot be read",
    Status.NOUENTRY: "the unwind table has no row for this address",
    Status.NOUDESC: "there are no descriptors for this address",
    Status.BADUDESC: "a descriptor is malformed",
    Status.NOMEM: "descriptors ask for more than is allowed",
    Status.PROLOG_UF: "an epilogue ends more prologues than there are",
    Status.UNDEFLABEL: "a label is used that was not set",
    Status.BADREGID: "there is no such register, or it cannot be asked for",
    Status.CANTUNWIND: "this cannot be unwound",
    Status.NOCALLBACKS: "no callbacks were registered",
    Status.NOCONTEXT: "no context was set",
    Status.UCACCESS: "the interrupted context cannot be read",
    Status.NOSYM: "no function has this address",
}


class Request(enum.IntEnum):
    """What a copy-in reads: ``UWX_COPYIN_*``."""

    UINFO = 1
    """Unwind tables and information blocks: 4 or 8 bytes as they lie in the target."""
    MSTACK = 2
    """The memory stack: 8 bytes, the least significant first."""
    RSTACK = 3
    """The backing store of the register stack: 8 bytes, the least significant first."""
    REG = 4
    """A register of the context that unwinding began from: 8 bytes, of an FR 16."""


class Lookup(enum.IntEnum):
    """What a look-up is asked: the requests among ``UWX_LKUP_*``."""

    LOOKUP = 1
    FREE = 2
    SYMBOLS = 3
    MODULE = 4


class Answer(enum.IntEnum):
    """What a look-up answers: the results among ``UWX_LKUP_*``."""

    NOTFOUND = 0
    ERR = 1
    UTABLE = 2
    FDESC = 3
    SYMINFO = 4
    REMAP = 5
    UINFO = 6


class Key(enum.IntEnum):
    """``UWX_KEY_*``; what a number means depends on the request or answer it is part of."""

    END = 0
    TBASE = 1
    UFLAGS = 2
    USTART = 3
    CONTEXT = 3
    UEND = 4
    NEWIP = 5
    UINFO = 6
    GP = 7
    MODULE = 17
    FUNC = 18
    FUNCSTART = 19
    # What a look-up brings.
    PREDS = 1
    VERSION = 2


class Register(enum.IntEnum):
    """``UWX_REG_*``; general, floating-point and branch registers have :func:`gr`, :func:`fr`, :func:`br`."""

    IP = 0
    SP = 1
    BSP = 2
    CFM = 3
    RP = 4
    PSP = 5
    PFS = 6
    PREDS = 7
    PRIUNAT = 8
    BSPSTORE = 9
    RNAT = 10
    UNAT = 11
    FPSR = 12
    LC = 13
    AR_PFS = 14
    GP = 15


class Disposition(enum.IntEnum):
    """Where the value of a register lies: the low three bits of a spill location, ``UWX_DISP_*``."""

    NONE = 0
    SPPLUS = 1
    SPREL = 2
    PSPREL = 3
    REG = 4
    """In a register; its number is in the bits from the fourth."""
    MSTK = 5
    """On the memory stack, at the address that the other bits are."""
    RSTK = 6
    """On the backing store, at the address that the other bits are."""


_KINDS: Final = {"gr": 0x100, "fr": 0x200, "br": 0x300}
_COUNTS: Final = {"gr": 128, "fr": 128, "br": 8}


def gr(number: int) -> int:
    """General register ``number``: ``UWX_REG_GR(number)``."""
    return 0x100 | number


def fr(number: int) -> int:
    """Floating-point register ``number``: ``UWX_REG_FR(number)``."""
    return 0x200 | number


def br(number: int) -> int:
    """Branch register ``number``: ``UWX_REG_BR(number)``."""
    return 0x300 | number


_NAMES: Final = {
    **{register.value: register.name.lower() for register in Register},
    Register.PREDS.value: "pr",
    Register.AR_PFS.value: "pfs",
    **{base | number: f"{kind}{number}" for kind, base in _KINDS.items() for number in range(_COUNTS[kind])},
}


def register_name(number: int) -> str | None:
    """``"gr4"``, ``"br0"``, ``"pfs"`` for a register's number; None for other numbers.

    The predicates are ``"pr"``; both numbers that ar.pfs is asked by are ``"pfs"``.
    """
    return _NAMES.get(number)
