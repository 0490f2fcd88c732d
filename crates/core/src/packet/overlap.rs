//! Where two buffers of one trace meet: the later one may repeat the end of the earlier one.
//!
//! The caller brings two copies of parts of one stream of bytes, as snapshots of a ring buffer are. The earlier one may
//! have been filled up with zeros to a multiple of eight bytes. Back comes what they share.

use super::{sync, PSB};

/// Most zeros that an earlier buffer is filled up with.
const MOST_PADDING: usize = 7;

/// What two buffers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// So many bytes at the start of the later buffer repeat the end of the earlier one.
    pub repeated: usize,
    /// So many bytes at the end of the earlier buffer are filling, and no part of the stream.
    pub padding: usize,
}

/// What the start of `later` repeats of the end of `earlier`: as much as can be. None if they do not share a PSB.
///
/// They share a PSB if, from the first PSB of `later` on, `earlier` holds the same bytes up to its end, filling aside,
/// and in front of them all that `later` has there: it does not begin before `earlier`. Cost is linear.
pub fn overlap(earlier: &[u8], later: &[u8]) -> Option<Overlap> {
    let pattern = Segments::of(later);
    let text = Segments::of(earlier);
    let (&first, &last) = (pattern.starts.first()?, text.starts.last()?);
    let tail = earlier.get(last..)?;
    let mut matched = Some(pattern.longest_end_of(&text));
    while let Some(segments) = matched {
        // So many whole segments of the later buffer lie before the last PSB of the earlier one.
        let at = text.starts.get(text.starts.len() - 1 - segments)?;
        let behind = pattern.starts.get(segments).and_then(|&start| later.get(start..));
        if let (Some(behind), true) = (behind, earlier.get(..*at)?.ends_with(later.get(..first)?)) {
            let same = tail.iter().zip(behind).take_while(|(one, two)| one == two).count();
            let rest = tail.get(same..).unwrap_or(&[]);
            if rest.len() <= MOST_PADDING && rest.iter().all(|&byte| byte == 0) {
                let repeated = pattern.starts.get(segments).map_or(0, |start| start + same);
                return Some(Overlap { repeated, padding: rest.len() });
            }
        }
        matched = segments.checked_sub(1).map(|whole| pattern.shorter.get(whole).copied().unwrap_or(0));
    }
    None
}

/// Bytes from PSB to PSB.
struct Segments<'a> {
    bytes: &'a [u8],
    /// Where PSBs are.
    starts: Vec<usize>,
    /// For each number of segments, less one: how many at their start are also at their end.
    shorter: Vec<usize>,
}

impl<'a> Segments<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let mut starts = Vec::new();
        let mut at = sync::forward(bytes, 0);
        while let Some(psb) = at {
            starts.push(psb);
            at = sync::forward(bytes, psb + PSB.len());
        }
        let mut segments = Segments { bytes, starts, shorter: Vec::new() };
        let mut matched = 0;
        for nth in 0..segments.whole() {
            if nth > 0 {
                matched = segments.next_match(matched, segments.get(nth));
            }
            segments.shorter.push(matched);
        }
        segments
    }

    /// The number of segments that end in a PSB.
    fn whole(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    fn get(&self, nth: usize) -> &'a [u8] {
        match self.starts.get(nth..nth + 2) {
            Some(&[start, end]) => self.bytes.get(start..end).unwrap_or(&[]),
            _ => &[],
        }
    }

    /// If the first `matched` segments have just been met, how many have with another one (Knuth, Morris and Pratt).
    fn next_match(&self, mut matched: usize, segment: &[u8]) -> usize {
        loop {
            if matched < self.shorter.len() && self.get(matched) == segment {
                return matched + 1;
            }
            let Some(&shorter) = matched.checked_sub(1).and_then(|whole| self.shorter.get(whole)) else {
                return 0;
            };
            matched = shorter;
        }
    }

    /// How many segments at the start of these are also the last whole ones of others.
    fn longest_end_of(&self, others: &Segments<'_>) -> usize {
        (0..others.whole()).fold(0, |matched, nth| self.next_match(matched, others.get(nth)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(earlier: &[u8], later: &[u8]) -> Option<(usize, usize)> {
        overlap(earlier, later).map(|overlap| (overlap.repeated, overlap.padding))
    }

    /// Pieces that begin with a PSB and say which they are.
    fn pieces(numbers: impl IntoIterator<Item = u8>) -> Vec<u8> {
        let piece =
            |number: u8| [&PSB[..], &[0x02, 0x23, 0x02, 0xc3, 0x88, number, 0, 0, 0, 0, 0, 0, 1]].concat();
        numbers.into_iter().flat_map(piece).collect()
    }

    #[test]
    fn every_cut_of_a_stream_is_found_again() {
        let stream = pieces(0..9);
        for begin in 0..stream.len() {
            for end in (begin..stream.len()).step_by(3) {
                for padding in [0, (8 - end % 8) % 8] {
                    let mut earlier = stream[..end].to_vec();
                    earlier.extend(vec![0; padding]);
                    // What is filling and what is a zero of the stream looks the same.
                    let hidden = stream[end..].iter().take(padding).take_while(|&&byte| byte == 0).count();
                    let shared = sync::forward(&stream[begin..end], 0).is_some();
                    let expected = shared.then_some((end - begin + hidden, padding - hidden));
                    assert_eq!(found(&earlier, &stream[begin..]), expected, "{begin} {end} {padding}");
                }
            }
        }
    }

    #[test]
    fn a_repeating_stream_shares_as_much_as_can_be() {
        let same = pieces([7; 6]);
        assert_eq!(found(&same, &same), Some((same.len(), 0)));
        assert_eq!(found(&same, &[&same[..], &pieces([7, 8])].concat()), Some((same.len(), 0)));
        assert_eq!(found(&pieces([1, 7, 7, 7]), &pieces([7, 7, 8])), Some((2 * 29, 0)));
        assert_eq!(found(&pieces([1, 7, 7, 7, 7]), &pieces([7, 7, 7, 7, 8])), Some((4 * 29, 0)));
    }

    #[test]
    fn other_bytes_share_nothing() {
        let stream = pieces(0..4);
        assert_eq!(found(&stream, &pieces(4..6)), None);
        assert_eq!(found(&stream, &stream[60..70]), None);
        assert_eq!(found(&[], &stream), None);
        // More zeros than filling, other bytes in the place of filling, other bytes before the PSB.
        assert_eq!(found(&[&stream[..], &[0; 8]].concat(), &pieces(2..6)), None);
        assert_eq!(found(&[&stream[..], &[0, 1]].concat(), &pieces(2..6)), None);
        assert_eq!(found(&stream, &[&[0x59, 0x01][..], &pieces(2..6)].concat()), None);
        // The later one would begin before the earlier one.
        assert_eq!(found(&pieces([7; 2]), &[&[0x59, 0x01][..], &pieces([7, 7, 8])].concat()), None);
    }

    #[test]
    fn long_repetitions_take_one_pass() {
        let same = pieces(std::iter::repeat_n(7, 100_000));
        assert_eq!(found(&same, &[&same[..], &pieces([8])].concat()), Some((same.len(), 0)));
        let other = [pieces([8]), same.clone()].concat();
        assert_eq!(found(&same, &other), None);
    }
}
