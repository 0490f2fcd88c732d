//! Makes a case smaller while it keeps what is interesting about it.

use odograph_core::packet::Packet;

use super::case::{Case, Part};

/// Smaller forms of a case, the boldest first.
pub fn smaller(case: &Case) -> Vec<Case> {
    let mut found = Vec::new();
    let parts = case.parts.len();
    let mut size = parts / 2;
    while size > 0 {
        for start in (0..parts).step_by(size) {
            let mut fewer = case.clone();
            fewer.parts.drain(start..(start + size).min(parts));
            found.push(fewer);
        }
        size /= 2;
    }
    for nth in 0..case.pieces.len() {
        let mut fewer = case.clone();
        fewer.pieces.remove(nth);
        found.push(fewer);
    }
    let mut plain = |change: &dyn Fn(&mut Case)| {
        let mut other = case.clone();
        change(&mut other);
        if other.describe() != case.describe() {
            found.push(other);
        }
    };
    plain(&|case| case.cpu = None);
    plain(&|case| case.filters.clear());
    plain(&|case| case.tick_events = false);
    plain(&|case| case.end_on_call = false);
    plain(&|case| case.end_on_jump = false);
    plain(&|case| (case.mtc_freq, case.nom_freq, case.eax, case.ebx) = (0, 0, 0, 0));
    plain(&|case| {
        for piece in &mut case.pieces {
            piece.source = super::case::Source::File;
            piece.cr3 = None;
        }
    });
    for nth in 0..parts {
        // A shorter TNT.
        if let Part::Packet(Packet::Tnt8(tnt) | Packet::Tnt64(tnt)) = &case.parts[nth] {
            if tnt.size > 1 {
                let mut tnt = *tnt;
                tnt.bits >>= 1;
                tnt.size -= 1;
                let mut other = case.clone();
                let packet = if tnt.size > 6 { Packet::Tnt64(tnt) } else { Packet::Tnt8(tnt) };
                other.parts[nth] = Part::Packet(packet);
                found.push(other);
            }
        }
    }
    found
}
