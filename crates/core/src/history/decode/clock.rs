//! From TSC ticks to nanoseconds.

/// How ticks become nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// Nothing is known: there are no times.
    #[default]
    Unknown,
    /// The conversion of perf's mmap page: `zero + tsc * mult / 2^shift`.
    Perf {
        /// Time at TSC 0, in ns.
        zero: u64,
        /// Multiplier.
        mult: u32,
        /// Shift, at most 63.
        shift: u16,
    },
    /// TSC frequency as a multiple of 100 MHz (the maximum non-turbo ratio); time 0 is TSC 0.
    Nominal(u8),
}

impl Clock {
    /// The time of a tick; None if the clock is unknown. Wraps at 2^64.
    pub fn ns(self, tsc: u64) -> Option<i64> {
        match self {
            Clock::Perf { zero, mult, shift } if shift < 64 => {
                let (mult, shift) = (u64::from(mult), u32::from(shift));
                let high = (tsc >> shift).wrapping_mul(mult);
                let low = (u128::from(tsc & (1u64 << shift).wrapping_sub(1)) * u128::from(mult)) >> shift;
                Some(zero.wrapping_add(high).wrapping_add(low as u64) as i64)
            }
            Clock::Nominal(ratio) if ratio > 0 => Some((u128::from(tsc) * 10 / u128::from(ratio)) as i64),
            _ => None,
        }
    }

    /// How long ticks take, in ns; None if the clock is unknown. Saturates.
    pub fn span(self, ticks: i64) -> Option<i64> {
        let ticks = i128::from(ticks);
        let ns = match self {
            Clock::Perf { mult, shift, .. } if shift < 64 => (ticks * i128::from(mult)) >> shift,
            Clock::Nominal(ratio) if ratio > 0 => ticks * 10 / i128::from(ratio),
            _ => return None,
        };
        Some(i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX }))
    }

    /// The first tick whose time is not before `ns`; None if the clock is unknown.
    pub fn tsc(self, ns: i64) -> Option<u64> {
        let estimate = match self {
            Clock::Perf { zero, mult, shift } if shift < 64 && mult > 0 => {
                // Zero counts modulo 2^64: the TSC may have started before the clock.
                let elapsed = (ns as u64).wrapping_sub(zero);
                if elapsed >> 63 != 0 {
                    return Some(0);
                }
                u64::try_from((u128::from(elapsed) << shift) / u128::from(mult)).unwrap_or(u64::MAX)
            }
            Clock::Nominal(ratio) if ratio > 0 => {
                u64::try_from(i128::from(ns.max(0)) * i128::from(ratio) / 10).unwrap_or(u64::MAX)
            }
            _ => return None,
        };
        let mut tsc = estimate.saturating_sub(2);
        while tsc < estimate.saturating_add(2) && self.ns(tsc).is_some_and(|at| at < ns) {
            tsc += 1;
        }
        Some(tsc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_as_perf_does() {
        let clock = Clock::Perf { zero: 0, mult: 394, shift: 10 };
        assert_eq!(clock.ns(0x123_4567_89ab), Some(481_341_757_048));
    }

    #[test]
    fn spans_are_differences() {
        assert_eq!(Clock::Nominal(24).span(2400), Some(1000));
        assert_eq!(Clock::Perf { zero: 99, mult: 394, shift: 10 }.span(-1024), Some(-394));
        assert_eq!(Clock::Perf { zero: 0, mult: u32::MAX, shift: 0 }.span(i64::MAX), Some(i64::MAX));
        assert_eq!(Clock::Unknown.span(1), None);
    }

    #[test]
    fn goes_back_to_the_first_tick() {
        let early = Clock::Perf { zero: 0xfff8_0926_dc64_6c50, mult: 0x22a1_cd05, shift: 31 };
        assert!(early.tsc(0x59ed_1190_1d5a).is_some_and(|tsc| tsc > 1 << 52));
        for clock in [Clock::Perf { zero: 1000, mult: 394, shift: 10 }, Clock::Nominal(24), early] {
            for ns in [1001, 5000, 481_341_757_048] {
                let tsc = clock.tsc(ns).unwrap();
                assert!(clock.ns(tsc).unwrap() >= ns);
                assert!(tsc == 0 || clock.ns(tsc - 1).unwrap() < ns);
            }
        }
        assert_eq!(Clock::Unknown.ns(5), None);
    }
}
