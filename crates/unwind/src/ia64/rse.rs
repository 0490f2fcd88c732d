//! Arithmetic of the register stack engine: backing store addresses and rotation.
//!
//! Every 64th word of the backing store, the one whose address has bits 3 to 8 set, holds the NaT bits of the 63
//! registers below it (Itanium manual, volume 2, 6.1).

/// The address of a register `count` registers above the one at `bsp`, or below for negative counts.
pub fn add_to_bsp(bsp: u64, count: i64) -> u64 {
    let slot = i64::try_from(bsp >> 3 & 63).unwrap_or(0);
    let mut distance = slot.wrapping_add(count);
    if count < 0 {
        distance = distance.wrapping_sub(62);
    }
    // Division truncates towards zero: a walk down counts a collection only when it is passed.
    let words = count.wrapping_add(distance / 63);
    bsp.wrapping_add_signed(words.wrapping_mul(8))
}

/// Where the NaT bit of the register at a backing store address is kept: the collection's address and the bit.
pub(super) fn collection(address: u64) -> (u64, u32) {
    (address | 0x1f8, u32::try_from(address >> 3 & 63).unwrap_or(0))
}

/// Registers of the frame that its caller does not share (size of locals).
pub(super) fn locals(pfs: u64) -> i64 {
    i64::try_from(pfs >> 7 & 127).unwrap_or(0)
}

/// Which register of the frame in the backing store is general register `32 + index`, as `cfm` rotates them.
pub fn rotated(cfm: u64, index: u64) -> u64 {
    let rotating = (cfm >> 14 & 15) * 8;
    let base = cfm >> 18 & 127;
    if index < rotating {
        (index + base) % rotating
    } else {
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(mut bsp: u64, count: i64) -> u64 {
        // No register lies in a collection; the next one does behind it.
        if bsp >> 3 & 63 == 63 {
            bsp += 8;
        }
        for _ in 0..count.unsigned_abs() {
            loop {
                bsp = if count < 0 { bsp - 8 } else { bsp + 8 };
                if bsp >> 3 & 63 != 63 {
                    break;
                }
            }
        }
        bsp
    }

    #[test]
    fn as_a_walk_from_word_to_word() {
        for phase in 0..64 {
            let bsp = 0x10_0000 + phase * 8;
            for count in -504..=504 {
                assert_eq!(add_to_bsp(bsp, count), walk(bsp, count), "phase {phase}, count {count}");
            }
        }
    }

    #[test]
    fn addresses_wrap() {
        assert_eq!(add_to_bsp(u64::MAX - 15, 2), 8);
        assert_eq!(add_to_bsp(8, -2), u64::MAX - 15);
        // No count is too large to be an answer.
        for count in [i64::MAX, i64::MIN] {
            assert_eq!(add_to_bsp(16, count) % 8, 0);
        }
    }

    #[test]
    fn rotation_stays_in_the_rotating_part() {
        let cfm = 16 | 2 << 14 | 3 << 18;
        assert_eq!([0, 12, 13, 15].map(|index| rotated(cfm, index)), [3, 15, 0, 2]);
        assert_eq!(rotated(cfm, 16), 16);
        assert_eq!(rotated(5 << 18, 3), 3);
        let all = 96 | 12 << 14 | 95 << 18;
        assert_eq!([0, 1, 95].map(|index| rotated(all, index)), [95, 0, 94]);
    }

    #[test]
    fn nat_collections() {
        assert_eq!(collection(0x1000), (0x11f8, 0));
        assert_eq!(collection(0x11f0), (0x11f8, 62));
        assert_eq!(locals(0x8_0000_0000_0000 | 5 << 7 | 9), 5);
    }
}
