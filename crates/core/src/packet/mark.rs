//! The mark that our own recorders leave where a trace alone does not say how often a loop was run through.
//!
//! Direct jumps and calls write no packet. Where code goes round in such branches only, an address that a FUP gives is
//! met again and again, and no packet tells at which time it was left. A recorder that counts instructions writes the
//! number into a MNT packet, directly before the FUP or the PSB. Other decoders pass over MNT packets.

use super::Packet;

/// The upper three bytes of the payload. The last byte in the trace never belongs to a PSB.
const MAGIC: u64 = 0x4f_444f << COUNT_BITS;
const COUNT_BITS: u32 = 40;

/// After so many instructions without a packet a recorder writes a PSB with a mark, so that no mark counts many more:
/// decoding can begin inside a long loop, and no few bytes stand for an hour of work.
pub const MARK_PERIOD: u64 = 1 << 18;

/// The packet that says: `count` instructions have been executed since the last branch that a packet decided, since
/// tracing was switched on or since the last PSB, whichever came last. Larger counts than 40 bits hold are cut.
pub fn mark(count: u64) -> Packet {
    Packet::Mnt { payload: MAGIC | count.min((1 << COUNT_BITS) - 1) }
}

/// The count of a mark, if the payload of a MNT packet is one.
pub fn marked(payload: u64) -> Option<u64> {
    (payload >> COUNT_BITS == MAGIC >> COUNT_BITS).then_some(payload & ((1 << COUNT_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_again_and_other_payloads_are_none() {
        for count in [0, 1, 5_000_000_000, (1 << 40) - 1] {
            let Packet::Mnt { payload } = mark(count) else { panic!("not a MNT") };
            assert_eq!(marked(payload), Some(count));
        }
        assert_eq!(mark(u64::MAX), mark((1 << 40) - 1));
        assert_eq!(marked(77), None);
        assert_eq!(marked(u64::MAX), None);
    }
}
