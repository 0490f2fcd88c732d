//! Packets out of bytes.

use super::{IpCompression, IpPayload, Packet, Tnt, PSB};
use crate::error::PtError;
use serde::{Deserialize, Serialize};

/// What a packet decoder has to remember from packet to packet: whether a BBP opened a block, and how
/// wide the items of that block are.
///
/// A BIP header would read as a short TNT outside a block. The context is set by BBP and kept over
/// the packets that may stand inside a block, as `perf` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockContext {
    /// Inside a block; the items carry 4 bytes if true, 8 if false.
    pub short_items: Option<bool>,
    /// BBP, BIP and BEP are unknown, as they are to libipt.
    pub libipt: bool,
}

impl BlockContext {
    fn after(&mut self, packet: &Packet) {
        match packet {
            Packet::Bbp { short, .. } => self.short_items = Some(*short),
            Packet::Pad
            | Packet::Tsc { .. }
            | Packet::Tma { .. }
            | Packet::Mtc { .. }
            | Packet::Cyc { .. }
            | Packet::Cbr { .. }
            | Packet::Fup(_)
            | Packet::Mnt { .. }
            | Packet::Exstop { .. }
            | Packet::Pwre { .. }
            | Packet::Pwrx { .. }
            | Packet::Bip { .. } => {}
            _ => self.short_items = None,
        }
    }
}

fn bytes<const N: usize>(all: &[u8], from: usize) -> Result<[u8; N], PtError> {
    let slice = all.get(from..).and_then(|rest| rest.get(..N)).ok_or(PtError::Eos)?;
    slice.try_into().map_err(|_| PtError::Eos)
}

fn le(all: &[u8], from: usize, size: usize) -> Result<u64, PtError> {
    let slice = all.get(from..).and_then(|rest| rest.get(..size)).ok_or(PtError::Eos)?;
    Ok(slice.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

#[inline]
pub(super) fn ip_payload_size(compression: u8) -> Result<(IpCompression, usize), PtError> {
    Ok(match compression {
        0 => (IpCompression::Suppressed, 0),
        1 => (IpCompression::Update16, 2),
        2 => (IpCompression::Update32, 4),
        3 => (IpCompression::Sext48, 6),
        4 => (IpCompression::Update48, 6),
        6 => (IpCompression::Full, 8),
        _ => return Err(PtError::BadPacket),
    })
}

/// The payload of a FUP or TIP packet at the start of `all`, whose first byte is `opcode`, and the packet's size.
#[inline]
pub(crate) fn ip(all: &[u8], opcode: u8) -> Result<(IpPayload, usize), PtError> {
    let (compression, size) = ip_payload_size(opcode >> 5)?;
    // One wide load where the trace goes on, as it nearly always does.
    let ip = match all.get(1..9).and_then(|wide| <[u8; 8]>::try_from(wide).ok()) {
        Some(wide) if size > 0 => u64::from_le_bytes(wide) & (u64::MAX >> (64 - 8 * size)),
        _ => le(all, 1, size)?,
    };
    Ok((IpPayload { compression, ip }, 1 + size))
}

/// Decodes the packet at the start of `all`; returns it with its size.
///
/// Errors: `eos` if the packet is cut off (or `all` is empty), `bad_packet` for reserved values,
/// `bad_opc` for unknown opcodes. Where a packet is both cut off and bad, libipt's order decides.
pub fn decode(all: &[u8], context: &mut BlockContext) -> Result<(Packet, usize), PtError> {
    let &opcode = all.first().ok_or(PtError::Eos)?;
    if let (Some(short), 4) = (context.short_items, opcode & 7) {
        let size = if short { 4 } else { 8 };
        return Ok((Packet::Bip { id: opcode >> 3, short, payload: le(all, 1, size)? }, 1 + size));
    }
    let (packet, size) = match opcode {
        0x00 => (Packet::Pad, 1),
        0x99 => mode(all)?,
        0x59 => (Packet::Mtc { ctc: le(all, 1, 1)? as u8 }, 2),
        0x19 => (Packet::Tsc { tsc: le(all, 1, 7)? }, 8),
        0xd9 => trig(all)?,
        0x02 => extended(all, context)?,
        _ if opcode & 3 == 3 => {
            let (value, size) = cyc(all)?;
            (Packet::Cyc { value }, size)
        }
        _ if opcode & 1 == 0 => (Packet::Tnt8(short_tnt(opcode)), 1),
        _ => {
            let kind = opcode & 0x1f;
            if !matches!(kind, 0x1d | 0x0d | 0x11 | 0x01) {
                return Err(PtError::BadOpc);
            }
            let (payload, size) = ip(all, opcode)?;
            let packet = match kind {
                0x1d => Packet::Fup(payload),
                0x0d => Packet::Tip(payload),
                0x11 => Packet::TipPge(payload),
                _ => Packet::TipPgd(payload),
            };
            (packet, size)
        }
    };
    context.after(&packet);
    Ok((packet, size))
}

/// The bits of a short TNT; `opcode` is even and neither 0 nor 2.
#[inline]
pub fn short_tnt(opcode: u8) -> Tnt {
    let payload = opcode >> 1;
    let size = 7u32.saturating_sub(payload.leading_zeros()) as u8;
    Tnt { size, bits: u64::from(payload) & ((1u64 << size) - 1) }
}

fn mode(all: &[u8]) -> Result<(Packet, usize), PtError> {
    let bits = le(all, 1, 1)? as u8;
    let packet = match bits & 0xe0 {
        0x00 => Packet::ModeExec { csl: bits & 1 != 0, csd: bits & 2 != 0, iflag: bits & 4 != 0 },
        0x20 => Packet::ModeTsx { intx: bits & 1 != 0, abrt: bits & 2 != 0 },
        _ => return Err(PtError::BadPacket),
    };
    Ok((packet, 2))
}

fn trig(all: &[u8]) -> Result<(Packet, usize), PtError> {
    let [flags, trbv] = bytes::<2>(all, 1)?;
    let icntv = flags & 0x40 != 0;
    let icnt = if icntv { le(all, 3, 2)? as u16 } else { 0 };
    let packet = Packet::Trig { trbv, icnt, ip: flags & 0x80 != 0, icntv, mult: flags & 0x20 != 0 };
    Ok((packet, if icntv { 5 } else { 3 }))
}

/// The value of a CYC packet at the start of `all`, and its size.
#[inline]
pub(crate) fn cyc(all: &[u8]) -> Result<(u64, usize), PtError> {
    let first = le(all, 0, 1)?;
    let mut value = first >> 3;
    let mut more = first & 4 != 0;
    let mut size = 1;
    let mut shift = 5;
    while more {
        let next = le(all, size, 1)?;
        if size > 8 {
            return Err(PtError::BadPacket);
        }
        value |= (next >> 1) << shift;
        shift += 7;
        more = next & 1 != 0;
        size += 1;
    }
    Ok((value, size))
}

fn extended(all: &[u8], context: &BlockContext) -> Result<(Packet, usize), PtError> {
    let [_, opcode] = bytes::<2>(all, 0)?;
    Ok(match opcode {
        0xa3 => {
            let payload = le(all, 2, 6)?;
            if payload < 2 {
                return Err(PtError::BadPacket);
            }
            let size = 63 - payload.leading_zeros();
            (Packet::Tnt64(Tnt { size: size as u8, bits: payload & ((1 << size) - 1) }), 8)
        }
        0x82 => {
            if bytes::<16>(all, 0)? != PSB {
                return Err(PtError::BadPacket);
            }
            (Packet::Psb, 16)
        }
        0x23 => (Packet::Psbend, 2),
        0xf3 => (Packet::Ovf, 2),
        0x83 => (Packet::Stop, 2),
        0x03 => (Packet::Cbr { ratio: (le(all, 2, 2)? & 0xff) as u8 }, 4),
        0x73 => {
            let payload = le(all, 2, 5)?;
            let (ctc, reserved, fc) = (payload as u16, payload >> 16 & 0xff, (payload >> 24) as u16);
            if reserved != 0 || fc > 0x1ff {
                return Err(PtError::BadPacket);
            }
            (Packet::Tma { ctc, fc }, 7)
        }
        0x43 => {
            let payload = le(all, 2, 6)?;
            (Packet::Pip { cr3: payload >> 1 << 5, nr: payload & 1 != 0 }, 8)
        }
        0xc8 => (Packet::Vmcs { base: le(all, 2, 5)? << 12 }, 7),
        0xc3 => {
            if le(all, 2, 1)? != 0x88 {
                return Err(PtError::BadOpc);
            }
            (Packet::Mnt { payload: le(all, 3, 8)? }, 11)
        }
        0x62 | 0xe2 => (Packet::Exstop { ip: opcode & 0x80 != 0 }, 2),
        0xc2 => (Packet::Mwait { hints: le(all, 2, 4)? as u32, ext: le(all, 6, 4)? as u32 }, 10),
        0x22 => {
            let payload = le(all, 2, 2)?;
            let hw = payload & if context.libipt { 0x08 } else { 0x80 } != 0;
            let (state, sub_state) = ((payload >> 12) as u8 & 15, (payload >> 8) as u8 & 15);
            (Packet::Pwre { state, sub_state, hw }, 4)
        }
        0xa2 => {
            let payload = le(all, 2, 5)?;
            let packet = Packet::Pwrx {
                last: (payload >> 4) as u8 & 15,
                deepest: payload as u8 & 15,
                interrupt: payload & 0x100 != 0,
                store: payload & 0x400 != 0,
                autonomous: payload & 0x800 != 0,
            };
            (packet, 7)
        }
        0x13 => {
            let [kind, vector] = bytes::<2>(all, 2)?;
            (Packet::Cfe { kind: kind & 0x1f, vector, ip: kind & 0x80 != 0 }, 4)
        }
        0x53 => {
            let kind = le(all, 2, 1)? as u8 & if context.libipt { 0x1f } else { 0x3f };
            (Packet::Evd { kind, payload: le(all, 3, 8)? }, 11)
        }
        0x63 if !context.libipt => {
            let byte = le(all, 2, 1)? as u8;
            (Packet::Bbp { short: byte & 0x80 != 0, kind: byte & 0x1f }, 3)
        }
        0x33 | 0xb3 if !context.libipt => (Packet::Bep { ip: opcode & 0x80 != 0 }, 2),
        _ if opcode & 0x1f == 0x12 => {
            let plc = opcode >> 5 & 3;
            let size = match plc {
                0 => 4,
                1 => 8,
                _ => return Err(PtError::BadPacket),
            };
            (Packet::Ptw { payload: le(all, 2, size)?, plc, ip: opcode & 0x80 != 0 }, 2 + size)
        }
        _ => return Err(PtError::BadOpc),
    })
}
