//! The packets around a place, for rules that ask what they were.

use odograph_core::packet::{decode, sync, BlockContext, IpCompression, Packet};

use super::case::Case;

/// The packets from some PSB before `offset` up to the one there, without those of time.
pub fn before(case: &Case, offset: usize) -> Vec<Packet> {
    let trace = case.trace();
    let mut blocks = BlockContext { libipt: true, ..BlockContext::default() };
    // libipt may be some PSBs ahead.
    let mut at = offset + 16;
    for _ in 0..3 {
        at = sync::backward(&trace, at).unwrap_or(at);
    }
    let mut packets = Vec::new();
    while at <= offset {
        let Ok((packet, size)) = decode(trace.get(at..).unwrap_or(&[]), &mut blocks) else {
            match sync::forward(&trace, at + 1) {
                Some(psb) => at = psb,
                None => break,
            }
            continue;
        };
        let is_time = matches!(
            packet,
            Packet::Pad
                | Packet::Tsc { .. }
                | Packet::Tma { .. }
                | Packet::Mtc { .. }
                | Packet::Cyc { .. }
                | Packet::Cbr { .. }
        );
        if !is_time {
            packets.push(packet);
        }
        at += size;
    }
    packets
}

/// Whether one of the packets just before `offset`, or there, waits for another.
pub fn is_open(case: &Case, offset: usize) -> bool {
    let waits = |packet: &Packet| {
        matches!(
            packet,
            Packet::Fup(_)
                | Packet::ModeExec { .. }
                | Packet::ModeTsx { .. }
                | Packet::Mwait { .. }
                | Packet::Exstop { ip: true }
                | Packet::Ptw { ip: true, .. }
        )
    };
    before(case, offset).iter().rev().take(6).any(waits)
}

/// Whether `second` comes before `offset` behind `first` with no TIP of any kind between them.
fn follows(
    case: &Case,
    offset: usize,
    first: impl Fn(&Packet) -> bool,
    second: impl Fn(&Packet) -> bool,
) -> bool {
    let (mut open, mut in_psb) = (false, false);
    for packet in before(case, offset) {
        match packet {
            Packet::Psb => (open, in_psb) = (false, true),
            Packet::Psbend | Packet::Ovf => in_psb = false,
            _ if in_psb => {}
            packet if open && second(&packet) => return true,
            packet if first(&packet) => open = true,
            Packet::Tip(_) | Packet::TipPge(_) | Packet::TipPgd(_) => open = false,
            _ => {}
        }
    }
    false
}

fn is_fup(packet: &Packet) -> bool {
    matches!(packet, Packet::Fup(_))
}

/// Whether two FUPs before `offset` have no TIP between them.
pub fn has_unpaired_fup(case: &Case, offset: usize) -> bool {
    follows(case, offset, is_fup, is_fup)
}

/// Whether before `offset` a FUP follows a MODE.Exec.
pub fn has_mode_before_fup(case: &Case, offset: usize) -> bool {
    follows(case, offset, |packet| matches!(packet, Packet::ModeExec { .. }), is_fup)
}

/// Whether there is an MWAIT before `offset`.
pub fn has_mwait(case: &Case, offset: usize) -> bool {
    before(case, offset).iter().any(|packet| matches!(packet, Packet::Mwait { .. }))
}

/// Whether there is a PWRE before `offset`.
pub fn has_pwre(case: &Case, offset: usize) -> bool {
    before(case, offset).iter().any(|packet| matches!(packet, Packet::Pwre { .. }))
}

/// Whether before `offset` an OVF is followed by a FUP or TIP.PGD of which later addresses are a part.
pub fn has_address_behind_repair(case: &Case, offset: usize) -> bool {
    let mut packets = before(case, offset).into_iter().skip_while(|packet| !matches!(packet, Packet::Ovf));
    let stray = packets.find(|packet| matches!(packet, Packet::Fup(_) | Packet::TipPgd(_)));
    let mut rest = packets.filter_map(|packet| match packet {
        Packet::Fup(ip) | Packet::Tip(ip) | Packet::TipPge(ip) | Packet::TipPgd(ip) => Some(ip.compression),
        _ => None,
    });
    use IpCompression::{Update16, Update32, Update48};
    stray.is_some() && rest.any(|compression| matches!(compression, Update16 | Update32 | Update48))
}

/// Whether libipt 2.0.5 knows every packet of a trace: nothing of Event Trace and no TRIG.
pub fn is_known(trace: &[u8]) -> bool {
    let mut blocks = BlockContext { libipt: true, ..BlockContext::default() };
    let mut at = 0;
    while let Some(psb) = sync::forward(trace, at) {
        at = psb;
        loop {
            let rest = trace.get(at..).unwrap_or(&[]);
            if matches!(rest, [0xd9, ..] | [0x02, 0x13 | 0x53, ..]) {
                return false;
            }
            match decode(rest, &mut blocks) {
                Ok((_, size)) => at += size,
                Err(_) => break,
            }
        }
        at = at.max(psb + 16);
    }
    true
}
