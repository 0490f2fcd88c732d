"""``UWX_*``: statuses, requests, results, keys, registers and dispositions, numbered as in the edition of
2006.
"""

from __future__ import annotations

from typing import Final

UWX_OK: Final = 0
UWX_BOTTOM: Final = 1
UWX_ABI_FRAME: Final = 2
UWX_ERR_NOENV: Final = -1
UWX_ERR_IPNOTFOUND: Final = -2
UWX_ERR_LOOKUPERR: Final = -3
UWX_ERR_BADKEY: Final = -4
UWX_ERR_COPYIN_UTBL: Final = -5
UWX_ERR_COPYIN_UINFO: Final = -6
UWX_ERR_COPYIN_MSTK: Final = -7
UWX_ERR_COPYIN_RSTK: Final = -8
UWX_ERR_COPYIN_REG: Final = -9
UWX_ERR_NOUENTRY: Final = -10
UWX_ERR_NOUDESC: Final = -11
UWX_ERR_BADUDESC: Final = -12
UWX_ERR_NOMEM: Final = -13
UWX_ERR_PROLOG_UF: Final = -14
UWX_ERR_UNDEFLABEL: Final = -15
UWX_ERR_BADREGID: Final = -16
UWX_ERR_CANTUNWIND: Final = -17
UWX_ERR_NOCALLBACKS: Final = -18
UWX_ERR_NOCONTEXT: Final = -19
UWX_ERR_UCACCESS: Final = -20
UWX_ERR_NOSYM: Final = -21

UWX_COPYIN_UINFO: Final = 1
UWX_COPYIN_MSTACK: Final = 2
UWX_COPYIN_RSTACK: Final = 3
UWX_COPYIN_REG: Final = 4

UWX_LKUP_LOOKUP: Final = 1
UWX_LKUP_FREE: Final = 2
UWX_LKUP_SYMBOLS: Final = 3
UWX_LKUP_MODULE: Final = 4

UWX_LKUP_NOTFOUND: Final = 0
UWX_LKUP_ERR: Final = 1
UWX_LKUP_UTABLE: Final = 2
UWX_LKUP_FDESC: Final = 3
UWX_LKUP_SYMINFO: Final = 4
UWX_LKUP_REMAP: Final = 5
UWX_LKUP_UINFO: Final = 6

# Some numbers mean one thing in a request and others in answers.
UWX_KEY_END: Final = 0
UWX_KEY_PREDS: Final = 1
UWX_KEY_VERSION: Final = 2
UWX_KEY_TBASE: Final = 1
UWX_KEY_UFLAGS: Final = 2
UWX_KEY_USTART: Final = 3
UWX_KEY_UEND: Final = 4
UWX_KEY_CONTEXT: Final = 3
UWX_KEY_NEWIP: Final = 5
UWX_KEY_UINFO: Final = 6
UWX_KEY_GP: Final = 7
UWX_KEY_MODULE: Final = 17
UWX_KEY_FUNC: Final = 18
UWX_KEY_FUNCSTART: Final = 19

UWX_REG_IP: Final = 0
UWX_REG_SP: Final = 1
UWX_REG_BSP: Final = 2
UWX_REG_CFM: Final = 3
UWX_REG_RP: Final = 4
UWX_REG_PSP: Final = 5
UWX_REG_PFS: Final = 6
UWX_REG_PREDS: Final = 7
UWX_REG_PRIUNAT: Final = 8
UWX_REG_BSPSTORE: Final = 9
UWX_REG_RNAT: Final = 10
UWX_REG_UNAT: Final = 11
UWX_REG_FPSR: Final = 12
UWX_REG_LC: Final = 13
UWX_REG_AR_PFS: Final = 14
UWX_REG_GP: Final = 15


def UWX_REG_GR(n: int) -> int:
    """General register ``n``."""
    return 0x100 | n


def UWX_REG_FR(n: int) -> int:
    """Floating-point register ``n``."""
    return 0x200 | n


def UWX_REG_BR(n: int) -> int:
    """Branch register ``n``."""
    return 0x300 | n


# The low three bits of a spill location. The rest is the address, or four bits up the register.
UWX_DISP_NONE: Final = 0
UWX_DISP_SPPLUS: Final = 1
UWX_DISP_SPREL: Final = 2
UWX_DISP_PSPREL: Final = 3
UWX_DISP_REG: Final = 4
UWX_DISP_MSTK: Final = 5
UWX_DISP_RSTK: Final = 6


def UWX_GET_DISP_CODE(disp: int) -> int:
    """The ``UWX_DISP_*`` of a spill location."""
    return disp & 7


def UWX_GET_DISP_OFFSET(disp: int) -> int:
    """The address of a spill location on one of the stacks."""
    return disp & ~7


def UWX_GET_DISP_REGID(disp: int) -> int:
    """The register of a spill location that is one."""
    return disp >> 4


UWX_ABI_HPUX_SIGCONTEXT: Final = 0x0101
"""What ``uwx_get_abi_context_code`` gives where HP-UX called a signal handler."""
