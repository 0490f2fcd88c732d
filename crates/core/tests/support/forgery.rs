//! Saved streams with other content and a checksum that fits it.

use odograph_core::history::{DecodedTrace, EventColumns, InstructionColumns};
use xxhash_rust::xxh3::xxh3_128;

use super::random::Random;

/// Bytes of the checksum at the end.
const CHECKSUM: usize = 16;

/// What was saved with some bytes changed, dropped or put in.
pub fn forged(saved: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = saved[..saved.len() - CHECKSUM].to_vec();
    for _ in 0..1 + random.below(3) {
        // The head is the same in all of them and would be found out at once.
        let at = 40 + random.below(bytes.len() - 40);
        match random.below(4) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            2 => drop(bytes.remove(at)),
            _ => bytes.insert(at, random.next() as u8),
        }
    }
    let checksum = xxh3_128(&bytes).to_le_bytes();
    bytes.extend(checksum);
    bytes
}

/// Loads some forgeries; gives how many were let in. Those may say anything, but say it.
pub fn forge(
    saved: &[u8],
    random: &mut Random,
    count: usize,
    load: impl Fn(&[u8]) -> Option<DecodedTrace>,
) -> usize {
    let mut let_in = 0;
    for _ in 0..count {
        let Some(stream) = load(&forged(saved, random)) else { continue };
        let_in += 1;
        let mut events = EventColumns::default();
        let _ = stream.events(0..u64::MAX, 0, &mut events, &mut || false);
        let checkpoints: Vec<u64> = stream.checkpoints().map(|(step, ..)| step).collect();
        for _ in 0..4 {
            let near = checkpoints.get(random.below(checkpoints.len().max(1))).copied().unwrap_or(0);
            let start = (near + random.below(100) as u64).min(stream.steps());
            let stop = (start + 500).min(stream.steps());
            let mut columns = InstructionColumns::default();
            let _ = stream.instructions(start, stop, 0, &mut columns, &mut || false);
            let mut ips = [0; 100];
            let _ = stream.write_ips(start, &mut ips, &mut || false);
        }
        let _ = stream.step_at_tsc(random.next() & 0xffff);
    }
    let_in
}
