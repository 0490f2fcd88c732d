//! Names and counts of packets by kind.

use super::{decode_repaired, sync, BlockContext, Packet};
use crate::cpu::Errata;

const PAD: usize = 0;
const TNT8: usize = 9;

impl Packet {
    /// Names of all kinds; the index is [`Packet::kind`].
    pub const KINDS: [&'static str; 32] = [
        "pad", "psb", "psbend", "ovf", "stop", "fup", "tip", "tip.pge", "tip.pgd", "tnt8", "tnt64", "mode",
        "pip", "vmcs", "cbr", "tsc", "tma", "mtc", "cyc", "mnt", "exstop", "mwait", "pwre", "pwrx", "ptw",
        "cfe", "evd", "trig", "bbp", "bip", "bep", "unknown",
    ];

    /// Index of the packet's kind in [`Packet::KINDS`]; both MODE leaves are `mode`.
    pub fn kind(&self) -> usize {
        match self {
            Packet::Pad => PAD,
            Packet::Psb => 1,
            Packet::Psbend => 2,
            Packet::Ovf => 3,
            Packet::Stop => 4,
            Packet::Fup(_) => 5,
            Packet::Tip(_) => 6,
            Packet::TipPge(_) => 7,
            Packet::TipPgd(_) => 8,
            Packet::Tnt8(_) => TNT8,
            Packet::Tnt64(_) => 10,
            Packet::ModeExec { .. } | Packet::ModeTsx { .. } => 11,
            Packet::Pip { .. } => 12,
            Packet::Vmcs { .. } => 13,
            Packet::Cbr { .. } => 14,
            Packet::Tsc { .. } => 15,
            Packet::Tma { .. } => 16,
            Packet::Mtc { .. } => 17,
            Packet::Cyc { .. } => 18,
            Packet::Mnt { .. } => 19,
            Packet::Exstop { .. } => 20,
            Packet::Mwait { .. } => 21,
            Packet::Pwre { .. } => 22,
            Packet::Pwrx { .. } => 23,
            Packet::Ptw { .. } => 24,
            Packet::Cfe { .. } => 25,
            Packet::Evd { .. } => 26,
            Packet::Trig { .. } => 27,
            Packet::Bbp { .. } => 28,
            Packet::Bip { .. } => 29,
            Packet::Bep { .. } => 30,
            Packet::Unknown => 31,
        }
    }
}

/// How many packets of each kind a trace holds, from its first PSB on, and how many places could not
/// be decoded (after each the count goes on at the next PSB). Bytes that an erratum of the processor spoilt count as
/// what they were meant to be, or not at all.
pub fn count_kinds(trace: &[u8], errata: &Errata) -> ([u64; 32], u64) {
    let mut counts = [0; 32];
    let mut errors = 0;
    let mut context = BlockContext::default();
    let mut at = sync::forward(trace, 0);
    while let Some(mut offset) = at {
        // Most bytes of most traces are short TNTs and PADs.
        if context.short_items.is_none() {
            while let Some(&byte) = trace.get(offset).filter(|&&byte| byte & 1 == 0 && byte != 2) {
                counts[if byte == 0 { PAD } else { TNT8 }] += 1;
                offset += 1;
            }
        }
        match decode_repaired(trace.get(offset..).unwrap_or(&[]), &mut context, errata) {
            Ok((packet, size)) => {
                if let Some(count) = packet.and_then(|packet| counts.get_mut(packet.kind())) {
                    *count += 1;
                }
                at = Some(offset + size);
            }
            Err(crate::error::PtError::Eos) => break,
            Err(_) => {
                errors += 1;
                context = BlockContext::default();
                at = sync::forward(trace, offset + 1);
            }
        }
    }
    (counts, errors)
}
