"""libipt's packet encoder, as its manual page has it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odograph.compat.libipt import (
    ppt_cbr,
    ppt_cfe,
    ppt_cyc,
    ppt_evd,
    ppt_exstop,
    ppt_fup,
    ppt_invalid,
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
    ppt_unknown,
    ppt_vmcs,
    pt_alloc_encoder,
    pt_config,
    pt_enc_get_config,
    pt_enc_get_offset,
    pt_enc_next,
    pt_enc_sync_set,
    pt_free_encoder,
    pt_mol_exec,
    pt_mol_tsx,
    pt_packet,
    pt_pkt_alloc_decoder,
    pt_pkt_next,
    pt_pkt_sync_set,
    pt_ptw_size,
    pte_bad_opc,
    pte_bad_packet,
    pte_eos,
    pte_invalid,
)
from support.libipttrace import config_for, ip, packet

ONES = (1 << 64) - 1


def encoded(made: pt_packet) -> int | str:
    """The bytes, or the error."""
    config = pt_config()
    config.begin = buffer = bytearray(32)
    encoder = pt_alloc_encoder(config)
    size = pt_enc_next(encoder, made)
    assert pt_enc_get_offset(encoder) == (0, max(size, 0))
    return size if size < 0 else buffer[:size].hex()


def mode(leaf: int, **bits: int) -> pt_packet:
    name = "tsx" if leaf == pt_mol_tsx else "exec"
    fields: dict[str, Any] = {f"mode__bits__{name}__{bit}": value for bit, value in bits.items()}
    return packet(ppt_mode, mode__leaf=leaf, **fields)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (packet(ppt_pad), "00"),
        (packet(ppt_psb), "0282" * 8),
        (packet(ppt_psbend), "0223"),
        (packet(ppt_ovf), "02f3"),
        (packet(ppt_stop), "0283"),
        (packet(ppt_tip, ip__ipc=0), "0d"),
        (packet(ppt_tip, ip__ipc=1, ip__ip=ONES), "2dffff"),
        (packet(ppt_tip_pge, ip__ipc=2, ip__ip=0x12345678), "5178563412"),
        (packet(ppt_tip_pgd, ip__ipc=3, ip__ip=ONES), "61ffffffffffff"),
        (packet(ppt_fup, ip__ipc=4, ip__ip=1), "9d010000000000"),
        (packet(ppt_fup, ip__ipc=6, ip__ip=1), "dd0100000000000000"),
        (packet(ppt_fup, ip__ipc=5), -pte_invalid),
        (packet(ppt_fup, ip__ipc=7), -pte_invalid),
        (packet(ppt_fup, ip__ipc=12), -pte_invalid),
        (packet(ppt_tnt_8), "02"),
        (packet(ppt_tnt_8, tnt__bit_size=2, tnt__payload=0xFF), "fe"),
        (packet(ppt_tnt_8, tnt__bit_size=3, tnt__payload=5), "1a"),
        (packet(ppt_tnt_8, tnt__bit_size=7), -pte_bad_packet),
        (packet(ppt_tnt_64), "02a3010000000000"),
        (packet(ppt_tnt_64, tnt__bit_size=47), "02a3000000000080"),
        (packet(ppt_tnt_64, tnt__bit_size=48), -pte_invalid),
        (packet(ppt_tnt_64, tnt__bit_size=2, tnt__payload=4), -pte_invalid),
        (mode(pt_mol_exec, csl=1, iflag=1), "9905"),
        (mode(pt_mol_exec, csd=1), "9902"),
        (mode(pt_mol_tsx, intx=1), "9921"),
        (mode(pt_mol_tsx, abrt=1), "9922"),
        (mode(0x40), -pte_bad_packet),
        (packet(ppt_pip, pip__cr3=0xA000, pip__nr=1), "0243010a00000000"),
        (packet(ppt_pip, pip__cr3=ONES), "0243feffffffffff"),
        (packet(ppt_vmcs, vmcs__base=0xABC000), "02c8bc0a000000"),
        (packet(ppt_vmcs, vmcs__base=ONES), "02c8ffffffffff"),
        (packet(ppt_tsc, tsc__tsc=ONES), "19ffffffffffffff"),
        (packet(ppt_cbr, cbr__ratio=9), "02030900"),
        (packet(ppt_tma, tma__ctc=0x1234, tma__fc=0x1FF), "0273341200ff01"),
        (packet(ppt_tma, tma__fc=0x200), -pte_bad_packet),
        (packet(ppt_mtc, mtc__ctc=7), "5907"),
        (packet(ppt_cyc), "03"),
        (packet(ppt_cyc, cyc__value=0x21), "0f02"),
        (packet(ppt_cyc, cyc__value=ONES >> 3), "fffffffffffffffffe"),
        (packet(ppt_cyc, cyc__value=ONES), "ffffffffffffffffff0e"),
        (packet(ppt_mnt, mnt__payload=ONES), "02c388ffffffffffffffff"),
        (packet(ppt_exstop), "0262"),
        (packet(ppt_exstop, exstop__ip=1), "02e2"),
        (packet(ppt_mwait, mwait__hints=1, mwait__ext=2), "02c20100000002000000"),
        (packet(ppt_pwre, pwre__state=0xFF, pwre__sub_state=0xFF, pwre__hw=1), "022208ff"),
        (
            packet(ppt_pwrx, pwrx__last=0xFF, pwrx__deepest=0xFE, pwrx__interrupt=1, pwrx__autonomous=1),
            "02a2fe09000000",
        ),
        (packet(ppt_pwrx, pwrx__store=1), "02a20004000000"),
        (packet(ppt_ptw, ptw__payload=ONES), "0212ffffffff"),
        (packet(ppt_ptw, ptw__payload=1, ptw__plc=1, ptw__ip=1), "02b20100000000000000"),
        (packet(ppt_ptw, ptw__plc=2), -pte_bad_packet),
        (packet(ppt_cfe, cfe__type=1, cfe__vector=14, cfe__ip=1), "0213810e"),
        (packet(ppt_evd, evd__type=1, evd__payload=2), "0253010200000000000000"),
        (packet(ppt_trig, trig__trbv=3, trig__ip=1, trig__mult=1), "d9a003"),
        (packet(ppt_trig, trig__trbv=3, trig__icntv=1, trig__icnt=0x1234), "d940033412"),
        (packet(ppt_unknown), -pte_bad_opc),
        (packet(ppt_invalid), -pte_bad_opc),
        (packet(99), -pte_bad_opc),
    ],
)
def test_every_packet_has_its_bytes(made: pt_packet, expected: int | str) -> None:
    assert encoded(made) == expected


def test_the_encoder_loop() -> None:
    config = pt_config()
    config.begin = buffer = bytearray(b"\xee" * 4)
    config.end = 3
    encoder = pt_alloc_encoder(config)
    assert encoder is not None
    assert pt_enc_get_offset(encoder) == (0, 0)
    assert pt_enc_next(encoder, packet(ppt_mtc, mtc__ctc=7)) == 2
    # What does not fit is not written.
    assert pt_enc_next(encoder, packet(ppt_mtc, mtc__ctc=7)) == -pte_eos
    assert pt_enc_next(encoder, packet(ppt_pad)) == 1
    assert pt_enc_next(encoder, packet(ppt_pad)) == -pte_eos
    assert (buffer.hex(), pt_enc_get_offset(encoder)) == ("590700ee", (0, 3))
    assert pt_enc_sync_set(encoder, 4) == -pte_eos
    assert pt_enc_sync_set(encoder, 1) == 0
    assert pt_enc_next(encoder, packet(ppt_pad)) == 1
    assert buffer.hex() == "590000ee"
    kept = pt_enc_get_config(encoder)
    assert kept is not None
    assert kept.end == 3
    pt_free_encoder(encoder)
    assert pt_enc_next(encoder, packet(ppt_pad)) == -pte_invalid


def test_none_is_invalid() -> None:
    assert pt_alloc_encoder(None) is None
    assert pt_alloc_encoder(pt_config()) is None
    pt_free_encoder(None)
    assert pt_enc_sync_set(None, 0) == -pte_invalid
    assert pt_enc_get_offset(None) == (-pte_invalid, None)
    assert pt_enc_get_config(None) is None
    assert pt_enc_next(None, packet(ppt_pad)) == -pte_invalid
    config = config_for(b"\x00")
    with pytest.raises(TypeError, match="writable"):
        pt_alloc_encoder(config)
    config.begin = bytearray(1)
    assert pt_enc_next(pt_alloc_encoder(config), None) == -pte_invalid


def test_sizes_of_ptwrite() -> None:
    assert [pt_ptw_size(plc) for plc in range(4)] == [4, 8, -pte_bad_packet, -pte_bad_packet]


FIELDS = {
    ppt_pip: {"pip__cr3": 52, "pip__nr": 1},
    ppt_tsc: {"tsc__tsc": 56},
    ppt_cbr: {"cbr__ratio": 8},
    ppt_tma: {"tma__ctc": 16, "tma__fc": 9},
    ppt_mtc: {"mtc__ctc": 8},
    ppt_cyc: {"cyc__value": 61},
    ppt_vmcs: {"vmcs__base": 52},
    ppt_mnt: {"mnt__payload": 64},
    ppt_exstop: {"exstop__ip": 1},
    ppt_mwait: {"mwait__hints": 32, "mwait__ext": 32},
    ppt_pwre: {"pwre__state": 4, "pwre__sub_state": 4, "pwre__hw": 1},
    ppt_pwrx: {
        "pwrx__last": 4,
        "pwrx__deepest": 4,
        "pwrx__interrupt": 1,
        "pwrx__store": 1,
        "pwrx__autonomous": 1,
    },
    ppt_ptw: {"ptw__payload": 32, "ptw__ip": 1},
    ppt_cfe: {"cfe__type": 5, "cfe__vector": 8, "cfe__ip": 1},
    ppt_evd: {"evd__type": 5, "evd__payload": 64},
    ppt_trig: {"trig__trbv": 8, "trig__ip": 1, "trig__mult": 1},
}


@given(st.data())
def test_what_is_encoded_is_decoded(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([*FIELDS, ppt_tip, ppt_tnt_8]))
    if kind == ppt_tip:
        made = ip(kind, data.draw(st.integers(0, ONES)))
    elif kind == ppt_tnt_8:
        size = data.draw(st.integers(1, 6))
        made = packet(kind, tnt__bit_size=size, tnt__payload=data.draw(st.integers(0, (1 << size) - 1)))
    else:
        drawn = {name: data.draw(st.integers(0, (1 << bits) - 1)) for name, bits in FIELDS[kind].items()}
        if kind == ppt_pip:
            drawn["pip__cr3"] &= ~0x1F
        if kind == ppt_vmcs:
            drawn["vmcs__base"] &= ~0xFFF
        made = packet(kind, **drawn)
    config = pt_config()
    config.begin = bytearray(16)
    made.size = pt_enc_next(pt_alloc_encoder(config), made)
    decoder = pt_pkt_alloc_decoder(config)
    assert pt_pkt_sync_set(decoder, 0) == 0
    assert pt_pkt_next(decoder) == (made.size, made)
