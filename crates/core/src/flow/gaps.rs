//! Gaps kept compactly: a damaged trace may have one for every two bytes.

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::sink::{Gap, GapCause};
use crate::asid::Asid;
use crate::error::PtError;

/// One gap in so many is kept whole, so that reading can begin there.
const BLOCK: usize = 64;
/// How many of the last contexts are compared, to find one that is there already.
const RECENT: usize = 16;

/// What a gap says besides the gap before it, by bits of its first byte.
const STEP: u8 = 1;
const LOST: u8 = 2;
const CONTEXT: u8 = 4;
const IP: u8 = 8;
const NO_IP: u8 = 16;
const TSC: u8 = 32;
const NO_TSC: u8 = 64;

/// Gaps, or notes, in order. Each is written as what differs from the one before: four bytes, where they are alike.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    length: usize,
    /// The first gap of each block.
    heads: Vec<Head>,
    /// The others.
    bytes: Vec<u8>,
    /// What gaps have in common with the one before, unless they say which of these holds.
    contexts: Vec<Context>,
    last: Option<Gap>,
}

type Context = (GapCause, Option<PtError>, Asid);

#[derive(Clone, Copy, Debug)]
struct Head {
    gap: Gap,
    /// Where the gaps behind it begin.
    at: usize,
}

fn context_of(gap: &Gap) -> Context {
    (gap.cause, gap.code, gap.asid)
}

impl Gaps {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no gaps.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The first one.
    pub fn first(&self) -> Option<Gap> {
        self.heads.first().map(|head| head.gap)
    }

    /// Adds one at the end.
    pub fn push(&mut self, gap: Gap) {
        match self.last.filter(|_| !self.length.is_multiple_of(BLOCK)) {
            Some(before) => self.write(&before, &gap),
            None => self.heads.push(Head { gap, at: self.bytes.len() }),
        }
        self.length += 1;
        self.last = Some(gap);
    }

    /// All, in order.
    pub fn iter(&self) -> Iter<'_> {
        self.iter_at(0)
    }

    /// Those from trace offset `offset` on. Offsets ascend.
    pub fn from_offset(&self, offset: u64) -> impl Iterator<Item = Gap> + '_ {
        let block = self.heads.partition_point(|head| head.gap.offset < offset).saturating_sub(1);
        self.iter_at(block).skip_while(move |gap| gap.offset < offset)
    }

    /// Keeps the first `length`.
    pub fn truncate(&mut self, length: usize) {
        if length >= self.length {
            return;
        }
        let block = length / BLOCK;
        // Of the last block, what stays is written again.
        let kept: Vec<Gap> = self.iter_at(block).take(length % BLOCK).collect();
        if let Some(head) = self.heads.get(block) {
            self.bytes.truncate(head.at);
        }
        self.heads.truncate(block);
        (self.length, self.last) = (block * BLOCK, None);
        self.extend(kept);
    }

    /// The same in a trace with `by` more bytes in front (fewer, if negative).
    pub fn move_by(&mut self, by: i64) {
        for gap in self.heads.iter_mut().map(|head| &mut head.gap).chain(&mut self.last) {
            gap.offset = gap.offset.wrapping_add_signed(by);
        }
    }

    fn iter_at(&self, block: usize) -> Iter<'_> {
        Iter { gaps: self, number: block.saturating_mul(BLOCK), at: 0, before: None }
    }

    /// The number of a gap's context, which may be a new one.
    fn context(&mut self, gap: &Gap) -> u64 {
        let context = context_of(gap);
        let first = self.contexts.len().saturating_sub(RECENT);
        let recent = self.contexts.get(first..).unwrap_or_default();
        let known = recent.iter().rposition(|known| *known == context);
        let number = first + known.unwrap_or(recent.len());
        if known.is_none() {
            self.contexts.push(context);
        }
        number as u64
    }

    fn write(&mut self, before: &Gap, gap: &Gap) {
        let mut kind = 0;
        let mut numbers = [0; 5];
        let mut count = 0;
        let mut say = |bit: u8, number: u64| {
            kind |= bit;
            if let Some(place) = numbers.get_mut(count) {
                *place = number;
                count += 1;
            }
        };
        // The distance of the offset is always there, and first.
        say(0, distance(before.offset, gap.offset));
        if before.step != gap.step {
            say(STEP, distance(before.step, gap.step));
        }
        if before.bytes_lost != gap.bytes_lost {
            say(LOST, distance(before.bytes_lost, gap.bytes_lost));
        }
        let mut none = 0;
        let optional = [(before.ip, gap.ip, IP, NO_IP), (before.tsc, gap.tsc, TSC, NO_TSC)];
        for (before, now, bit, no_bit) in optional {
            match now {
                _ if before == now => (),
                Some(now) => say(bit, distance(before.unwrap_or(0), now)),
                None => none |= no_bit,
            }
        }
        kind |= none;
        let context = (context_of(before) != context_of(gap)).then(|| self.context(gap));
        if context.is_some() {
            kind |= CONTEXT;
        }
        self.bytes.push(kind);
        for number in numbers.into_iter().take(count).chain(context) {
            write_number(&mut self.bytes, number);
        }
    }
}

impl PartialEq for Gaps {
    fn eq(&self, other: &Gaps) -> bool {
        self.iter().eq(other)
    }
}

impl Eq for Gaps {}

impl Extend<Gap> for Gaps {
    fn extend<T: IntoIterator<Item = Gap>>(&mut self, gaps: T) {
        gaps.into_iter().for_each(|gap| self.push(gap));
    }
}

impl FromIterator<Gap> for Gaps {
    fn from_iter<T: IntoIterator<Item = Gap>>(gaps: T) -> Self {
        let mut made = Gaps::default();
        made.extend(gaps);
        made
    }
}

impl<'a> IntoIterator for &'a Gaps {
    type Item = Gap;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// See [`Gaps::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    gaps: &'a Gaps,
    number: usize,
    at: usize,
    before: Option<Gap>,
}

impl Iterator for Iter<'_> {
    type Item = Gap;

    fn next(&mut self) -> Option<Gap> {
        if self.number >= self.gaps.length {
            return None;
        }
        let gap = match self.before.filter(|_| !self.number.is_multiple_of(BLOCK)) {
            Some(before) => self.read(before)?,
            None => {
                let head = self.gaps.heads.get(self.number / BLOCK)?;
                self.at = head.at;
                head.gap
            }
        };
        self.number += 1;
        self.before = Some(gap);
        Some(gap)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let rest = self.gaps.length.saturating_sub(self.number);
        (rest, Some(rest))
    }
}

impl Iter<'_> {
    fn read(&mut self, before: Gap) -> Option<Gap> {
        let mut gap = before;
        let kind = *self.gaps.bytes.get(self.at)?;
        self.at += 1;
        gap.offset = moved(gap.offset, self.number()?);
        if kind & STEP != 0 {
            gap.step = moved(gap.step, self.number()?);
        }
        if kind & LOST != 0 {
            gap.bytes_lost = moved(gap.bytes_lost, self.number()?);
        }
        for (value, bit, no_bit) in [(&mut gap.ip, IP, NO_IP), (&mut gap.tsc, TSC, NO_TSC)] {
            if kind & bit != 0 {
                *value = Some(moved(value.unwrap_or(0), self.number()?));
            } else if kind & no_bit != 0 {
                *value = None;
            }
        }
        if kind & CONTEXT != 0 {
            let context = usize::try_from(self.number()?).ok()?;
            (gap.cause, gap.code, gap.asid) = *self.gaps.contexts.get(context)?;
        }
        Some(gap)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let byte = *self.gaps.bytes.get(self.at)?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Some(number)
    }
}

/// From one number to another, small ones where that is short in either direction.
fn distance(from: u64, to: u64) -> u64 {
    let by = to.wrapping_sub(from) as i64;
    ((by << 1) ^ (by >> 63)) as u64
}

fn moved(from: u64, distance: u64) -> u64 {
    from.wrapping_add((distance >> 1) ^ (distance & 1).wrapping_neg())
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

impl Serialize for Gaps {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de> Deserialize<'de> for Gaps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Gaps;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("gaps")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut found: A) -> Result<Gaps, A::Error> {
                let mut gaps = Gaps::default();
                while let Some(gap) = found.next_element()? {
                    gaps.push(gap);
                }
                Ok(gaps)
            }
        }
        deserializer.deserialize_seq(Each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random_gaps(count: usize, seed: u64) -> Vec<Gap> {
        let mut state = seed;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let mut gap = Gap {
            step: 0,
            cause: GapCause::Overflow,
            code: Some(PtError::Overflow),
            offset: 0,
            bytes_lost: 2,
            ip: None,
            asid: Asid::default(),
            tsc: None,
        };
        let number = |next: &mut dyn FnMut(u64) -> u64| match next(4) {
            0 => u64::MAX - next(3),
            1 => next(3),
            _ => next(1 << 30) << next(34),
        };
        let mut made = Vec::new();
        for _ in 0..count {
            gap.offset += next(1000);
            match next(9) {
                0 => gap.step += next(5),
                1 => gap.bytes_lost = number(&mut next),
                2 => gap.ip = Some(number(&mut next)),
                3 => gap.ip = None,
                4 => gap.tsc = Some(number(&mut next)),
                5 => gap.tsc = None,
                6 => (gap.cause, gap.code) = (GapCause::Endless, None),
                7 => (gap.cause, gap.code) = (GapCause::Memory, Some(PtError::Nomap)),
                _ => gap.asid.cr3 = Some(next(2)).filter(|&cr3| cr3 > 0),
            }
            made.push(gap);
        }
        made
    }

    #[test]
    fn what_was_put_in_comes_out() {
        for count in [0, 1, 63, 64, 65, 128, 1000] {
            let gaps = random_gaps(count, 7);
            let kept: Gaps = gaps.iter().copied().collect();
            assert_eq!(kept.iter().collect::<Vec<_>>(), gaps);
            assert_eq!(
                (kept.len(), kept.is_empty(), kept.first()),
                (count, count == 0, gaps.first().copied())
            );
        }
    }

    #[test]
    fn those_from_an_offset_on_are_found() {
        let gaps = random_gaps(700, 8);
        let kept: Gaps = gaps.iter().copied().collect();
        for offset in (0..gaps[699].offset + 2).step_by(997).chain(gaps.iter().map(|gap| gap.offset)) {
            let expected: Vec<_> = gaps.iter().copied().filter(|gap| gap.offset >= offset).collect();
            assert_eq!(kept.from_offset(offset).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn what_is_cut_off_can_be_put_on_again() {
        let gaps = random_gaps(300, 9);
        for length in 0..=300 {
            let mut kept: Gaps = gaps.iter().copied().collect();
            kept.truncate(length);
            assert_eq!(kept.iter().collect::<Vec<_>>(), gaps[..length]);
            kept.extend(gaps[length..].iter().copied());
            assert_eq!(kept.iter().collect::<Vec<_>>(), gaps);
        }
    }

    #[test]
    fn gaps_move_together_and_are_written_like_a_list() {
        let mut gaps = random_gaps(200, 10);
        let mut kept: Gaps = gaps[..130].iter().copied().collect();
        kept.move_by(5000);
        gaps.iter_mut().for_each(|gap| gap.offset += 5000);
        kept.extend(gaps[130..].iter().copied());
        assert_eq!(kept.iter().collect::<Vec<_>>(), gaps);
        let written = postcard::to_stdvec(&kept).unwrap();
        assert_eq!(written, postcard::to_stdvec(&gaps).unwrap());
        assert_eq!(postcard::from_bytes::<Gaps>(&written).unwrap().iter().collect::<Vec<_>>(), gaps);
    }

    #[test]
    fn a_flood_of_overflows_takes_few_bytes_for_each() {
        let first = random_gaps(1, 1)[0];
        let other = (GapCause::Contradiction, Some(PtError::BadQuery));
        let flood = (0..100_000).map(|at| match at % 2 {
            0 => Gap { offset: 2 * at, ..first },
            _ => Gap { offset: 2 * at, cause: other.0, code: other.1, ..first },
        });
        let flood: Gaps = flood.collect();
        let bytes = flood.bytes.len() + flood.heads.len() * size_of::<Head>();
        assert!(bytes < 5 * flood.len(), "{bytes} bytes");
        assert_eq!(flood.contexts.len(), 2);
    }
}
