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
        let expected = if (end - at) % 2 == 0 { trace.get(at)? } else { trace.get(at + 1)? };
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
