//! Where two versions of an image may read differently.

use std::sync::Arc;

use crate::asid::Asid;

use super::section::Part;

/// Above this many, ranges declared changed are merged into one that covers them all.
const MOST_TOUCHES: usize = 1024;

/// A range that was declared changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touch {
    /// The image version the declaration made; unique.
    pub version: u64,
    pub asid: Asid,
    pub first: u64,
    pub last: u64,
}

/// Remembers a touch; their versions stay in ascending order.
pub(super) fn push_touch(touches: &mut Vec<Touch>, touch: Touch) {
    touches.push(touch);
    if touches.len() > MOST_TOUCHES {
        let first = touches.iter().map(|touch| touch.first).min().unwrap_or(0);
        let last = touches.iter().map(|touch| touch.last).max().unwrap_or(u64::MAX);
        touches.clear();
        touches.push(Touch { asid: Asid::default(), first, last, ..touch });
    }
}

/// The touches that only one of the two lists has. Lists of versions of one image share most.
pub(super) fn touched(one: &[Touch], two: &[Touch]) -> Vec<Touch> {
    let only = |a: &[Touch], b: &[Touch]| -> Vec<Touch> {
        let known = |touch: &&Touch| match b.binary_search_by_key(&touch.version, |other| other.version) {
            Ok(index) => b.get(index) != Some(touch),
            Err(_) => true,
        };
        a.iter().filter(known).copied().collect()
    };
    let mut both = only(one, two);
    both.extend(only(two, one));
    both
}

/// The ranges in which two lists of disjoint sorted parts hold different sections, merged.
pub(super) fn differing(one: &[&Arc<Part>], two: &[&Arc<Part>]) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let (mut left, mut right) = (one.iter().peekable(), two.iter().peekable());
    let mut at = 0u64;
    loop {
        while left.next_if(|part| part.last < at).is_some() {}
        while right.next_if(|part| part.last < at).is_some() {}
        let (a, b) = (left.peek(), right.peek());
        // The next address at which either list begins or ends something.
        let border = |part: Option<&&&Arc<Part>>| match part {
            None => u64::MAX,
            Some(part) if part.first > at => part.first - 1,
            Some(part) => part.last,
        };
        let last = border(a).min(border(b));
        let here = |part: Option<&&&Arc<Part>>| part.filter(|part| part.first <= at).map(|part| key(part));
        if here(a) != here(b) {
            push_range(&mut ranges, at, last);
        }
        match last.checked_add(1) {
            Some(next) if a.is_some() || b.is_some() => at = next,
            _ => return ranges,
        }
    }
}

/// What makes the bytes at an address: the section and where its address 0 would lie in the source.
fn key(part: &Part) -> (u64, u64) {
    (part.section, part.offset.wrapping_sub(part.first))
}

fn push_range(ranges: &mut Vec<(u64, u64)>, first: u64, last: u64) {
    match ranges.last_mut() {
        Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
        _ => ranges.push((first, last)),
    }
}
