"""``pt_enc_*``: the packet encoder with libipt's argument order and return values."""

from __future__ import annotations

from odograph.compat.libipt.config import config_copy, pt_config
from odograph.compat.libipt.decoder import returns_values
from odograph.compat.libipt.enums import (
    ppt_cbr,
    ppt_cfe,
    ppt_cyc,
    ppt_evd,
    ppt_exstop,
    ppt_fup,
    ppt_mnt,
    ppt_mode,
    ppt_mtc,
    ppt_mwait,
    ppt_ovf,
    ppt_pad,
    ppt_pip,
    ppt_psb,
    ppt_psbend,
    ppt_ptw,
    ppt_pwre,
    ppt_pwrx,
    ppt_stop,
    ppt_tip,
    ppt_tip_pgd,
    ppt_tip_pge,
    ppt_tma,
    ppt_tnt_8,
    ppt_tnt_64,
    ppt_trig,
    ppt_tsc,
    ppt_vmcs,
    pt_mol_exec,
    pt_mol_tsx,
)
from odograph.compat.libipt.errors import pte_eos, returns_status
from odograph.compat.libipt.packet import pt_packet, pt_ptw_size
from odograph.errors import InvalidArgument, OdographError, PtError, TraceError

_PLAIN: dict[int, bytes] = {
    ppt_pad: b"\x00",
    ppt_psb: b"\x02\x82" * 8,
    ppt_psbend: b"\x02\x23",
    ppt_ovf: b"\x02\xf3",
    ppt_stop: b"\x02\x83",
}
_IP_OPCODES: dict[int, int] = {ppt_fup: 0x1D, ppt_tip: 0x0D, ppt_tip_pge: 0x11, ppt_tip_pgd: 0x01}
_IP_SIZES = {0: 0, 1: 2, 2: 4, 3: 6, 4: 6, 6: 8}


class pt_encoder:
    """An opaque handle; ``buffer`` is what it writes to, None once it is freed."""

    __slots__ = ("buffer", "config", "offset")

    def __init__(self, config: pt_config) -> None:
        assert config.begin is not None
        self.config = config
        self.buffer: memoryview | None = memoryview(config.begin).cast("B")[: config.end]
        self.offset = 0
        if self.buffer.readonly:
            raise TypeError("the buffer must be writable")


def pt_alloc_encoder(config: pt_config | None) -> pt_encoder | None:
    """A new encoder at the start of the buffer; None if the configuration is None or names no buffer."""
    try:
        return pt_encoder(config_copy(config))
    except OdographError:
        return None


def pt_free_encoder(encoder: pt_encoder | None) -> None:
    """Give the encoder up."""
    if encoder is not None:
        encoder.buffer = None


def _buffer(encoder: pt_encoder | None) -> tuple[pt_encoder, memoryview]:
    if encoder is not None and not isinstance(encoder, pt_encoder):
        raise TypeError(f"the encoder must be a pt_encoder or None, not {type(encoder).__name__}")
    if encoder is None or encoder.buffer is None:
        raise InvalidArgument("there is no encoder", code=PtError.invalid)
    return encoder, encoder.buffer


@returns_status
def pt_enc_sync_set(encoder: pt_encoder | None, offset: int) -> int:
    """Go to an offset. ``-pte_eos``: it lies beyond the end."""
    handle, buffer = _buffer(encoder)
    if not 0 <= offset <= len(buffer):
        return -pte_eos
    handle.offset = offset
    return 0


@returns_values(None)
def pt_enc_get_offset(encoder: pt_encoder | None) -> tuple[int, int | None]:
    """``(status, offset)`` of the next packet; the status is 0."""
    handle, _ = _buffer(encoder)
    return 0, handle.offset


def pt_enc_get_config(encoder: pt_encoder | None) -> pt_config | None:
    """The configuration of the encoder."""
    return None if encoder is None or encoder.buffer is None else encoder.config


@returns_status
def pt_enc_next(encoder: pt_encoder | None, packet: pt_packet | None) -> int:
    """Write a packet; return its size in bytes. Its ``size`` field does not matter.

    ``-pte_eos``: it does not fit; ``-pte_bad_opc``: there is no such packet; ``-pte_bad_packet``,
    ``-pte_invalid``: a field has a value that the packet has no room for. Nothing is written then.
    """
    handle, buffer = _buffer(encoder)
    if packet is None:
        raise InvalidArgument("there is no packet", code=PtError.invalid)
    data = _encoded(packet)
    if len(buffer) - handle.offset < len(data):
        return -pte_eos
    buffer[handle.offset : handle.offset + len(data)] = data
    handle.offset += len(data)
    return len(data)


def _low(value: int, size: int) -> bytes:
    """The low bytes of a number."""
    return (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def _check(good: bool, code: PtError) -> None:
    if not good:
        raise TraceError(code.name, code=code)


def _cyc(value: int) -> bytes:
    data = bytearray([(value & 0x1F) << 3 | (4 if value >> 5 else 0) | 3])
    value >>= 5
    while value:
        data.append((value & 0x7F) << 1 | (1 if value >> 7 else 0))
        value >>= 7
    return bytes(data)


def _encoded(packet: pt_packet) -> bytes:
    """The bytes of a packet as libipt writes them: numbers that are too large are cut."""
    kind, payload = packet.type, packet.payload
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind in _IP_OPCODES:
        ipc = payload.ip.ipc
        _check(ipc in _IP_SIZES, PtError.invalid)
        return bytes([_IP_OPCODES[kind] | ipc << 5]) + _low(payload.ip.ip, _IP_SIZES[ipc])
    if kind == ppt_tnt_8:
        tnt = payload.tnt
        _check(tnt.bit_size < 7, PtError.bad_packet)
        return _low(2 << tnt.bit_size | tnt.payload << 1, 1)
    if kind == ppt_tnt_64:
        tnt = payload.tnt
        _check(tnt.bit_size < 48 and tnt.payload >> tnt.bit_size == 0, PtError.invalid)
        return b"\x02\xa3" + _low(1 << tnt.bit_size | tnt.payload, 6)
    if kind == ppt_mode:
        mode = payload.mode
        _check(mode.leaf in (pt_mol_exec, pt_mol_tsx), PtError.bad_packet)
        bits, tsx = mode.bits.exec, mode.bits.tsx
        flags = bits.csl | bits.csd << 1 | bits.iflag << 2
        return bytes([0x99, flags if mode.leaf == pt_mol_exec else 0x20 | tsx.intx | tsx.abrt << 1])
    if kind == ppt_pip:
        return b"\x02\x43" + _low(payload.pip.cr3 >> 5 << 1 | payload.pip.nr, 6)
    if kind == ppt_vmcs:
        return b"\x02\xc8" + _low(payload.vmcs.base >> 12, 5)
    if kind == ppt_tsc:
        return b"\x19" + _low(payload.tsc.tsc, 7)
    if kind == ppt_cbr:
        return bytes([0x02, 0x03, payload.cbr.ratio, 0])
    if kind == ppt_tma:
        _check(payload.tma.fc < 1 << 9, PtError.bad_packet)
        return b"\x02\x73" + _low(payload.tma.ctc, 2) + b"\x00" + _low(payload.tma.fc, 2)
    if kind == ppt_mtc:
        return bytes([0x59, payload.mtc.ctc])
    if kind == ppt_cyc:
        return _cyc(payload.cyc.value)
    if kind == ppt_mnt:
        return b"\x02\xc3\x88" + _low(payload.mnt.payload, 8)
    if kind == ppt_exstop:
        return bytes([0x02, 0x62 | payload.exstop.ip << 7])
    if kind == ppt_mwait:
        return b"\x02\xc2" + _low(payload.mwait.hints, 4) + _low(payload.mwait.ext, 4)
    if kind == ppt_pwre:
        pwre = payload.pwre
        # libipt's place for HW; the processor manual has bit 7.
        return b"\x02\x22" + bytes([pwre.hw << 3, (pwre.state & 15) << 4 | pwre.sub_state & 15])
    if kind == ppt_pwrx:
        pwrx = payload.pwrx
        reason = pwrx.interrupt | pwrx.store << 2 | pwrx.autonomous << 3
        return b"\x02\xa2" + bytes([(pwrx.last & 15) << 4 | pwrx.deepest & 15, reason, 0, 0, 0])
    if kind == ppt_ptw:
        ptw = payload.ptw
        size = pt_ptw_size(ptw.plc)
        _check(size > 0, PtError.bad_packet)
        return bytes([0x02, 0x12 | ptw.plc << 5 | ptw.ip << 7]) + _low(ptw.payload, size)
    if kind == ppt_cfe:
        cfe = payload.cfe
        return bytes([0x02, 0x13, cfe.type & 0x1F | cfe.ip << 7, cfe.vector])
    if kind == ppt_evd:
        return b"\x02\x53" + bytes([payload.evd.type & 0x1F]) + _low(payload.evd.payload, 8)
    if kind == ppt_trig:
        trig = payload.trig
        flags = trig.ip << 7 | trig.icntv << 6 | trig.mult << 5
        return bytes([0xD9, flags, trig.trbv]) + (_low(trig.icnt, 2) if trig.icntv else b"")
    raise TraceError("there is no such packet", code=PtError.bad_opc)
