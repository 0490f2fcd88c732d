//! What is known of functions, for the leaps that return addresses do not explain.

/// Where functions begin, and where exceptions land.
#[derive(Clone, Debug, Default)]
pub struct Names {
    starts: Vec<u64>,
    /// Some of the starts: what begins there is not known.
    ends: Vec<u64>,
    pads: Vec<(u64, u64, u64)>,
}

impl Names {
    /// `starts` are addresses at which functions begin, `ends` those from which on nothing is known, up to the next
    /// start; `pads` (landing pad, first, last): an exception that passes a call whose bytes lie in this range, its end
    /// not included, goes on at this landing pad.
    pub fn new(mut starts: Vec<u64>, mut ends: Vec<u64>, mut pads: Vec<(u64, u64, u64)>) -> Names {
        starts.sort_unstable();
        ends.retain(|end| starts.binary_search(end).is_err());
        ends.sort_unstable();
        starts.extend(&ends);
        starts.sort_unstable();
        starts.dedup();
        pads.sort_unstable();
        Names { starts, ends, pads }
    }

    /// Where the function around an address begins.
    pub(super) fn function(&self, ip: u64) -> Option<u64> {
        let behind = self.starts.partition_point(|&start| start <= ip);
        let start = self.starts.get(behind.checked_sub(1)?).copied()?;
        self.ends.binary_search(&start).is_err().then_some(start)
    }

    /// A function begins there.
    pub(super) fn is_start(&self, ip: u64) -> bool {
        self.starts.binary_search(&ip).is_ok() && self.ends.binary_search(&ip).is_err()
    }

    /// An exception may land there.
    pub(super) fn is_pad(&self, ip: u64) -> bool {
        let at = self.pads.partition_point(|pad| pad.0 < ip);
        self.pads.get(at).is_some_and(|pad| pad.0 == ip)
    }

    /// An exception that passes the call that comes back to `back` lands at `ip`.
    pub(super) fn lands(&self, ip: u64, back: u64) -> bool {
        let call = back.wrapping_sub(1);
        let first = self.pads.partition_point(|pad| pad.0 < ip);
        let here = self.pads.iter().skip(first).take_while(|pad| pad.0 == ip);
        here.into_iter().any(|&(_, from, to)| from <= call && call < to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_behind_the_end() {
        let names = Names::new(vec![10, 20, 40], vec![30, 40], vec![(25, 20, 23), (25, 10, 12)]);
        let found: Vec<Option<u64>> = [9, 10, 19, 29, 30, 39, 40, 99].map(|ip| names.function(ip)).into();
        let expected = [None, Some(10), Some(10), Some(20), None, None, Some(40), Some(40)];
        assert_eq!(found, expected);
        assert!(names.is_start(10) && !names.is_start(30) && names.is_start(40) && !names.is_start(11));
        assert!(names.is_pad(25) && !names.is_pad(24));
        assert!(names.lands(25, 23) && names.lands(25, 11) && !names.lands(25, 24) && !names.lands(24, 11));
    }
}
