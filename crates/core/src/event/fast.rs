//! The fast path: TNT, TIP and timing while nothing rarer is open.

use super::decoder::EventDecoder;
use crate::packet::{self, IpCompression, IpPayload, Packet};

/// What the fast path found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowItem {
    /// Taken / not-taken bits, the oldest in the most significant of the `size` low bits.
    Tnt {
        /// The bits.
        bits: u64,
        /// How many.
        size: u8,
    },
    /// The target of a branch.
    Tip {
        /// Its address.
        ip: u64,
    },
    /// Something else, which was not consumed: [`EventDecoder::next`] deals with it.
    Other,
}

/// A walk over TNT and TIP packets that the caller decodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    /// Offset of the next packet.
    pub pos: usize,
    /// What a TIP is relative to.
    pub last_ip: u64,
    /// A TIP was passed.
    pub tip: bool,
}

impl Cursor {
    /// The next eight bytes, if there are as many.
    #[inline]
    pub fn word(&self, trace: &[u8]) -> Option<u64> {
        let bytes = trace.get(self.pos..self.pos.checked_add(8)?)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }
}

impl EventDecoder {
    /// Consumes PAD, MTC and CYC, if nothing is open. False if there are none.
    #[inline]
    pub(crate) fn pass_time(&mut self, trace: &[u8]) -> bool {
        let from = self.pos;
        while self.quiescent {
            let Some(rest) = trace.get(self.pos..) else { break };
            self.pos += match rest.first() {
                Some(0x00) => 1,
                Some(0x59) => {
                    let Some(&ctc) = rest.get(1) else { break };
                    self.time.on_mtc(ctc);
                    2
                }
                Some(opcode) if opcode & 0b11 == 0b11 => match packet::cyc(rest) {
                    Ok((value, size)) if !(self.errata.skd007 && size == 2) => {
                        self.on_cyc(value);
                        size
                    }
                    _ => break,
                },
                _ => break,
            };
        }
        self.pos > from
    }

    /// A place in the trace to walk on from, if nothing is open.
    #[inline]
    pub(crate) fn cursor(&self) -> Option<Cursor> {
        self.quiescent.then_some(Cursor { pos: self.pos, last_ip: self.last_ip.base(), tip: false })
    }

    /// Goes on where a walk by [`EventDecoder::cursor`] has come to.
    #[inline]
    pub(crate) fn go_on(&mut self, cursor: Cursor) {
        self.pos = cursor.pos;
        if cursor.tip {
            self.last_ip.update(IpPayload { compression: IpCompression::Full, ip: cursor.last_ip });
        }
    }

    /// Consumes PAD, timing and the next TNT or TIP, as long as nothing rarer comes up.
    ///
    /// Any mixture of this and [`EventDecoder::next`] gives the same events.
    #[inline(always)]
    pub fn next_flow(&mut self, trace: &[u8]) -> FlowItem {
        if !self.quiescent {
            return FlowItem::Other;
        }
        match trace.get(self.pos) {
            Some(&opcode) if opcode & 1 == 0 && opcode > 2 => {
                self.pos += 1;
                let tnt = packet::short_tnt(opcode);
                FlowItem::Tnt { bits: tnt.bits, size: tnt.size }
            }
            _ => self.next_flow_of_any_size(trace),
        }
    }

    /// The rest of [`EventDecoder::next_flow`]: packets other than a short TNT, until one decides.
    #[inline(never)]
    fn next_flow_of_any_size(&mut self, trace: &[u8]) -> FlowItem {
        let skd007 = self.errata.skd007;
        loop {
            let Some(rest) = trace.get(self.pos..) else { return FlowItem::Other };
            let Some(&opcode) = rest.first() else { return FlowItem::Other };
            let size = match opcode {
                0x00 => 1,
                0x59 => {
                    let Some(&ctc) = rest.get(1) else { return FlowItem::Other };
                    self.time.on_mtc(ctc);
                    2
                }
                _ if opcode & 0b11 == 0b11 => {
                    let Ok((value, size)) = packet::cyc(rest) else { return FlowItem::Other };
                    if skd007 && size == 2 {
                        return FlowItem::Other;
                    }
                    self.on_cyc(value);
                    size
                }
                _ if opcode & 0x1f == 0x0d => {
                    let Ok((payload, size)) = packet::ip(rest, opcode) else { return FlowItem::Other };
                    let Ok(ip) = self.last_ip.after(payload) else { return FlowItem::Other };
                    self.last_ip.update(payload);
                    self.pos += size;
                    return FlowItem::Tip { ip };
                }
                _ if opcode & 1 == 0 && opcode > 2 => {
                    self.pos += 1;
                    let tnt = packet::short_tnt(opcode);
                    return FlowItem::Tnt { bits: tnt.bits, size: tnt.size };
                }
                0x02 | 0x19 => match packet::decode(rest, &mut self.blocks.clone()) {
                    Ok((Packet::Tnt64(tnt), size)) => {
                        self.pos += size;
                        return FlowItem::Tnt { bits: tnt.bits, size: tnt.size };
                    }
                    Ok((packet @ (Packet::Tsc { .. } | Packet::Tma { .. }), size)) => {
                        if self.keep_time(&packet, false).is_err() {
                            return FlowItem::Other;
                        }
                        size
                    }
                    _ => return FlowItem::Other,
                },
                _ => return FlowItem::Other,
            };
            self.pos += size;
        }
    }
}
