//! Bytes out of packets.

use super::decode::ip_payload_size;
use super::{IpPayload, Packet, Tnt, PSB};
use crate::error::PtError;

fn ip(out: &mut Vec<u8>, opcode: u8, payload: IpPayload) -> Result<(), PtError> {
    let (_, size) = ip_payload_size(payload.compression as u8).map_err(|_| PtError::Invalid)?;
    out.push(opcode | (payload.compression as u8) << 5);
    le(out, payload.ip, size);
    Ok(())
}

fn le(out: &mut Vec<u8>, value: u64, size: usize) {
    out.extend(value.to_le_bytes().iter().take(size));
}

/// Appends a packet; returns its size.
///
/// Errors, with nothing appended: `bad_packet` for a short TNT of no bits or more than six, an FC
/// of more than 9 bits, or an invalid PLC; `invalid` for a long TNT of no bits or more than 47, for
/// stray bits, and for payloads that do not fit their field; `bad_opc` for unknown packets.
pub fn encode(packet: &Packet, out: &mut Vec<u8>) -> Result<usize, PtError> {
    let start = out.len();
    match append(packet, out) {
        Ok(()) => Ok(out.len() - start),
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Writes a packet at the start of `buffer`; returns its size.
///
/// Errors, with nothing written: `eos` if it does not fit, otherwise as [`encode`].
pub fn encode_into(packet: &Packet, buffer: &mut [u8]) -> Result<usize, PtError> {
    let mut bytes = Vec::with_capacity(PSB.len());
    let size = encode(packet, &mut bytes)?;
    buffer.get_mut(..size).ok_or(PtError::Eos)?.copy_from_slice(&bytes);
    Ok(size)
}

fn fits(value: u64, bits: u32) -> Result<u64, PtError> {
    if bits < 64 && value >> bits != 0 {
        return Err(PtError::Invalid);
    }
    Ok(value)
}

fn append(packet: &Packet, out: &mut Vec<u8>) -> Result<(), PtError> {
    match *packet {
        Packet::Pad => out.push(0),
        Packet::Psb => out.extend(PSB),
        Packet::Psbend => out.extend([0x02, 0x23]),
        Packet::Ovf => out.extend([0x02, 0xf3]),
        Packet::Stop => out.extend([0x02, 0x83]),
        Packet::Fup(payload) => ip(out, 0x1d, payload)?,
        Packet::Tip(payload) => ip(out, 0x0d, payload)?,
        Packet::TipPge(payload) => ip(out, 0x11, payload)?,
        Packet::TipPgd(payload) => ip(out, 0x01, payload)?,
        Packet::Tnt8(Tnt { size, bits }) => {
            if !(1..=6).contains(&size) {
                return Err(PtError::BadPacket);
            }
            out.push(((1 << size | fits(bits, size.into())?) << 1) as u8);
        }
        Packet::Tnt64(Tnt { size, bits }) => {
            if !(1..=47).contains(&size) {
                return Err(PtError::Invalid);
            }
            out.extend([0x02, 0xa3]);
            le(out, 1 << size | fits(bits, size.into())?, 6);
        }
        Packet::ModeExec { csl, csd, iflag } => {
            out.extend([0x99, u8::from(csl) | u8::from(csd) << 1 | u8::from(iflag) << 2]);
        }
        Packet::ModeTsx { intx, abrt } => out.extend([0x99, 0x20 | u8::from(intx) | u8::from(abrt) << 1]),
        Packet::Pip { cr3, nr } => {
            out.extend([0x02, 0x43]);
            le(out, fits(cr3 >> 5, 47)? << 1 | u64::from(nr), 6);
        }
        Packet::Vmcs { base } => {
            out.extend([0x02, 0xc8]);
            le(out, fits(base >> 12, 40)?, 5);
        }
        Packet::Cbr { ratio } => out.extend([0x02, 0x03, ratio, 0]),
        Packet::Tsc { tsc } => {
            out.push(0x19);
            le(out, fits(tsc, 56)?, 7);
        }
        Packet::Tma { ctc, fc } => {
            if fc > 0x1ff {
                return Err(PtError::BadPacket);
            }
            out.extend([0x02, 0x73]);
            le(out, u64::from(ctc) | u64::from(fc) << 24, 5);
        }
        Packet::Mtc { ctc } => out.extend([0x59, ctc]),
        Packet::Cyc { value } => {
            fits(value, 61)?;
            let mut rest = value >> 5;
            out.push((value as u8 & 0x1f) << 3 | u8::from(rest != 0) << 2 | 3);
            while rest != 0 {
                let low = (rest & 0x7f) as u8;
                rest >>= 7;
                out.push(low << 1 | u8::from(rest != 0));
            }
        }
        Packet::Mnt { payload } => {
            out.extend([0x02, 0xc3, 0x88]);
            le(out, payload, 8);
        }
        Packet::Exstop { ip } => out.extend([0x02, 0x62 | u8::from(ip) << 7]),
        Packet::Mwait { hints, ext } => {
            out.extend([0x02, 0xc2]);
            le(out, hints.into(), 4);
            le(out, ext.into(), 4);
        }
        Packet::Pwre { state, sub_state, hw } => {
            let (state, sub_state) = (fits(state.into(), 4)?, fits(sub_state.into(), 4)?);
            out.extend([0x02, 0x22]);
            le(out, state << 12 | sub_state << 8 | u64::from(hw) << 7, 2);
        }
        Packet::Pwrx { last, deepest, interrupt, store, autonomous } => {
            let (last, deepest) = (fits(last.into(), 4)?, fits(deepest.into(), 4)?);
            let reason = u64::from(interrupt) << 8 | u64::from(store) << 10 | u64::from(autonomous) << 11;
            out.extend([0x02, 0xa2]);
            le(out, deepest | last << 4 | reason, 5);
        }
        Packet::Ptw { payload, plc, ip } => {
            let size = match plc {
                0 => 4,
                1 => 8,
                _ => return Err(PtError::BadPacket),
            };
            fits(payload, size * 8)?;
            out.extend([0x02, 0x12 | plc << 5 | u8::from(ip) << 7]);
            le(out, payload, size as usize);
        }
        Packet::Cfe { kind, vector, ip } => {
            fits(kind.into(), 5)?;
            out.extend([0x02, 0x13, kind | u8::from(ip) << 7, vector]);
        }
        Packet::Evd { kind, payload } => {
            fits(kind.into(), 6)?;
            out.extend([0x02, 0x53, kind]);
            le(out, payload, 8);
        }
        Packet::Trig { trbv, icnt, ip, icntv, mult } => {
            let flags = u8::from(ip) << 7 | u8::from(icntv) << 6 | u8::from(mult) << 5;
            out.extend([0xd9, flags, trbv]);
            if icntv {
                le(out, icnt.into(), 2);
            } else {
                fits(icnt.into(), 0)?;
            }
        }
        Packet::Bbp { short, kind } => {
            fits(kind.into(), 5)?;
            out.extend([0x02, 0x63, u8::from(short) << 7 | kind]);
        }
        Packet::Bip { id, short, payload } => {
            fits(id.into(), 5)?;
            let size = if short { 4 } else { 8 };
            fits(payload, size * 8)?;
            out.push(id << 3 | 4);
            le(out, payload, size as usize);
        }
        Packet::Bep { ip } => out.extend([0x02, 0x33 | u8::from(ip) << 7]),
        Packet::Unknown => return Err(PtError::BadOpc),
    }
    Ok(())
}
