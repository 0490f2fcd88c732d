//! The search for PSB.

use super::PSB;

fn is_psb_word(word: &[u8]) -> bool {
    word == [0x02, 0x82, 0x02, 0x82, 0x02, 0x82, 0x02, 0x82]
        || word == [0x82, 0x02, 0x82, 0x02, 0x82, 0x02, 0x82, 0x02]
}

/// The last PSB of the run of `02 82` bytes around `at`, where an aligned word of the pattern was seen.
fn last_of_run(trace: &[u8], at: usize, limit: usize) -> Option<usize> {
    let mut end = at;
    // Go to the end of the run; a run of PSBs without anything between them has one last PSB.
    while end < limit {
        let expected = if (end - at).is_multiple_of(2) { trace.get(at)? } else { trace.get(at + 1)? };
        if trace.get(end) != Some(expected) {
            break;
        }
        end += 1;
    }
    if trace.get(end.wrapping_sub(1)) == Some(&0x02) {
        end -= 1;
    }
    let start = end.checked_sub(PSB.len())?;
    (trace.get(start..end) == Some(&PSB[..])).then_some(start)
}

/// Offset of the first PSB at or behind `from`; of PSBs that follow each other directly, the last.
///
/// A PSB needs an 8-byte word of its pattern at a multiple of 8, which every PSB has. Cost is linear.
pub fn forward(trace: &[u8], from: usize) -> Option<usize> {
    let mut at = from.checked_add(7)? & !7;
    while let Some(word) = trace.get(at..).and_then(|rest| rest.get(..8)) {
        if is_psb_word(word) {
            if let Some(start) = last_of_run(trace, at, trace.len()) {
                if start >= from {
                    return Some(start);
                }
            }
        }
        at += 8;
    }
    None
}

/// Offset of the last PSB that lies wholly before `before`.
pub fn backward(trace: &[u8], before: usize) -> Option<usize> {
    let limit = before.min(trace.len());
    let mut at = limit & !7;
    while at >= 8 {
        at -= 8;
        let Some(word) = trace.get(at..).and_then(|rest| rest.get(..8)) else { continue };
        if is_psb_word(word) {
            if let Some(start) = last_of_run(trace, at, limit) {
                return Some(start);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_psbs(size: usize, offsets: &[usize]) -> Vec<u8> {
        let mut trace = vec![0x1c; size];
        for &offset in offsets {
            trace[offset..offset + PSB.len()].copy_from_slice(&PSB);
        }
        trace
    }

    #[test]
    fn a_psb_is_found_wherever_it_lies() {
        for offset in 0..40 {
            for tail in 0..9 {
                let end = offset + PSB.len();
                let trace = with_psbs(end + tail, &[offset]);
                assert_eq!(forward(&trace, 0), Some(offset));
                assert_eq!(forward(&trace, offset), Some(offset));
                assert_eq!(forward(&trace, offset + 1), None);
                assert_eq!(backward(&trace, trace.len()), Some(offset));
                assert_eq!(backward(&trace, end), Some(offset));
                assert_eq!(backward(&trace, end - 1), None);
            }
        }
    }

    #[test]
    fn of_adjoining_psbs_the_last_counts() {
        let trace = with_psbs(80, &[5, 21, 37]);
        assert_eq!(forward(&trace, 0), Some(37));
        assert_eq!(backward(&trace, 80), Some(37));
        assert_eq!(backward(&trace, 37), Some(21));
    }

    #[test]
    fn half_a_pattern_does_not_hide_a_psb() {
        let mut trace = with_psbs(80, &[40]);
        trace[8..18].copy_from_slice(&PSB[..10]);
        // The pattern goes on at both ends of the PSB.
        trace[38..40].copy_from_slice(&[0x02, 0x82]);
        trace[56] = 0x02;
        assert_eq!(forward(&trace, 0), Some(40));
        assert_eq!(backward(&trace, 80), Some(40));
        assert_eq!(backward(&trace, 53), None);
    }

    #[test]
    fn a_trace_without_psb_has_none() {
        assert_eq!(forward(&[], 0), None);
        assert_eq!(forward(&PSB[..15], 0), None);
        assert_eq!(forward(&PSB, usize::MAX), None);
        assert_eq!(backward(&[0x02; 100], 200), None);
        assert_eq!(backward(&[], 0), None);
    }

    #[test]
    fn long_patterns_take_one_pass() {
        // Nearly a PSB, many times over.
        let piece = [&PSB[..14], &[0x82]].concat();
        let trace = piece.repeat(200_000);
        assert_eq!(forward(&trace, 0), None);
        assert_eq!(backward(&trace, trace.len()), None);
        let run = PSB.repeat(200_000);
        assert_eq!(forward(&run, 0), Some(run.len() - PSB.len()));
        assert_eq!(backward(&run, run.len()), Some(run.len() - PSB.len()));
    }
}
