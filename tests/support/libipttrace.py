"""Traces for the tests of libipt's names, written with libipt's encoder."""

from __future__ import annotations

from typing import Any

from odograph.compat.libipt import (
    ppt_fup,
    ppt_mode,
    ppt_psb,
    ppt_psbend,
    ppt_tip,
    ppt_tip_pgd,
    ppt_tip_pge,
    ppt_tnt_8,
    pt_alloc_encoder,
    pt_config,
    pt_enc_get_offset,
    pt_enc_next,
    pt_free_encoder,
    pt_ipc_full,
    pt_ipc_suppressed,
    pt_mol_exec,
    pt_packet,
)

IP_PACKETS = (ppt_fup, ppt_tip, ppt_tip_pge, ppt_tip_pgd)


def packet(kind: int, **fields: Any) -> pt_packet:
    """A packet; ``mode_leaf`` as ``leaf__field``, for example ``exec__csl=1``."""
    made = pt_packet(type=kind)
    for name, value in fields.items():
        *path, field = name.split("__")
        target = made.payload
        for step in path:
            target = getattr(target, step)
        setattr(target, field, value)
    return made


def ip(kind: int, address: int | None) -> pt_packet:
    """FUP, TIP, TIP.PGE or TIP.PGD."""
    compression = pt_ipc_suppressed if address is None else pt_ipc_full
    return packet(kind, ip__ipc=compression, ip__ip=address or 0)


def tnt(bits: str) -> pt_packet:
    """Branches from the oldest on, for example ``"!.!"``."""
    value = int(bits.replace("!", "1").replace(".", "0"), 2)
    return packet(ppt_tnt_8, tnt__bit_size=len(bits), tnt__payload=value)


def psb_plus(address: int | None) -> list[pt_packet]:
    """PSB+ in 64-bit mode; None: tracing is off."""
    fup = [] if address is None else [ip(ppt_fup, address)]
    mode = packet(ppt_mode, mode__leaf=pt_mol_exec, mode__bits__exec__csl=1)
    return [packet(ppt_psb), *fup, mode, packet(ppt_psbend)]


def trace(*packets: pt_packet) -> bytes:
    """The bytes of the packets."""
    config = pt_config()
    config.begin = buffer = bytearray(64 * (len(packets) + 1))
    encoder = pt_alloc_encoder(config)
    for each in packets:
        assert pt_enc_next(encoder, each) > 0, each
    status, size = pt_enc_get_offset(encoder)
    assert status == 0
    pt_free_encoder(encoder)
    return bytes(buffer[:size])


def config_for(data: bytes) -> pt_config:
    """A configuration for a trace, otherwise empty."""
    config = pt_config()
    config.begin = data
    return config
