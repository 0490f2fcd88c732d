//! The fast path: TNT, TIP and timing while nothing rarer is open.

use super::decoder::EventDecoder;
use crate::packet::{self, Packet};

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

impl EventDecoder {
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

    /// Consumes one short TNT if it is the very next packet and nothing rarer is open; its raw byte comes back.
    /// Its bits lie below its highest set bit, down to bit 1.
    #[inline]
    pub fn next_tnt8(&mut self, trace: &[u8]) -> Option<u8> {
        if !self.quiescent {
            return None;
        }
        let byte = *trace.get(self.pos)?;
        (byte & 1 == 0 && byte > 2).then(|| {
            self.pos += 1;
            byte
        })
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
