//! Images one after the other in time, each kept as what differs from the one before.

use std::collections::HashSet;
use std::sync::Arc;

use super::map::SectionMap;
use super::section::Part;
use super::{AsidKey, Image, Learned};

/// At least every so many images one is kept whole, so that any of them is made with few changes.
const WHOLE: usize = 64;

/// Images and the times from which they hold. An image that differs little from the one before takes little.
#[derive(Clone, Default)]
pub struct ImageLog {
    entries: Vec<Entry>,
    last: Option<Image>,
    has_callback: bool,
}

#[derive(Clone)]
struct Entry {
    tsc: u64,
    version: u64,
    learned: Learned,
    whole: Option<Image>,
    /// What changed since the entry before. None for the first entry, and where more than sections changed: then `whole` is kept.
    changes: Option<Box<[Change]>>,
}

/// What is other in an address space.
#[derive(Clone)]
struct Change {
    key: AsidKey,
    /// Where parts lay that are no longer there: first and last address.
    gone: Box<[(u64, u64)]>,
    new: Box<[Arc<Part>]>,
}

impl ImageLog {
    /// How many images there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the log has no images.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Some image asks a callback for memory.
    pub fn has_callback(&self) -> bool {
        self.has_callback
    }

    /// Adds an image that holds from a time on, which is not before that of the last one. In the place of the last one, if that
    /// has the same time.
    pub fn push(&mut self, tsc: u64, image: &Image) {
        if self.entries.last().is_some_and(|last| last.tsc == tsc) {
            self.entries.pop();
            self.last = self.len().checked_sub(1).and_then(|last| self.get(last));
        }
        self.append(tsc, image);
    }

    /// Adds an image at the end. Unlike [`push`](ImageLog::push), it replaces none of the same time.
    pub(crate) fn append(&mut self, tsc: u64, image: &Image) {
        let before = self.last.take().filter(|before| before.is_like(image));
        let changes = before.map(|before| changes(&before, image));
        let far = self.entries.iter().rev().take(WHOLE - 1).all(|entry| entry.whole.is_none());
        let whole = (changes.is_none() || far).then(|| image.clone());
        let (version, learned) = (image.version, image.learned.clone());
        self.has_callback |= image.callback.is_some();
        self.last = Some(image.clone());
        self.entries.push(Entry { tsc, version, learned, whole, changes });
    }

    /// The time from which an image holds.
    pub fn tsc(&self, at: usize) -> Option<u64> {
        self.entries.get(at).map(|entry| entry.tsc)
    }

    /// How many images hold from before `tsc` on.
    pub fn before(&self, tsc: u64) -> usize {
        self.entries.partition_point(|entry| entry.tsc < tsc)
    }

    /// The version of an image; see [`Image::version`].
    pub fn version(&self, at: usize) -> Option<u64> {
        self.entries.get(at).map(|entry| entry.version)
    }

    /// An image: the very one that was put in, with its version and what was learned about it.
    pub fn get(&self, at: usize) -> Option<Image> {
        let from =
            (0..=at).rev().find(|&from| self.entries.get(from).is_some_and(|entry| entry.whole.is_some()))?;
        let whole = self.entries.get(from)?.whole.clone()?;
        self.forward(whole, from, at)
    }

    /// Image `to`, by what changed since image `from`, which is given. Costs less than [`ImageLog::get`] if they are near.
    pub fn after(&self, image: &Image, from: usize, to: usize) -> Option<Image> {
        let near = from <= to && to - from <= WHOLE && self.version(from) == Some(image.version);
        let known = near && self.entries.get(from + 1..=to)?.iter().all(|entry| entry.changes.is_some());
        if known {
            self.forward(image.clone(), from, to)
        } else {
            self.get(to)
        }
    }

    fn forward(&self, mut image: Image, from: usize, to: usize) -> Option<Image> {
        for entry in self.entries.get(from + 1..=to)? {
            let spaces = Arc::make_mut(&mut image.spaces);
            for change in entry.changes.as_ref()?.iter() {
                let space = Arc::make_mut(spaces.entry(change.key).or_default());
                change.gone.iter().for_each(|&(first, last)| space.carve(first, last));
                change.new.iter().for_each(|part| space.insert(part.clone()));
                if space.is_empty() {
                    spaces.remove(&change.key);
                }
            }
        }
        let entry = self.entries.get(to)?;
        (image.version, image.learned) = (entry.version, entry.learned.clone());
        Some(image)
    }

    /// The files of the sections of these images are what they were when they were added. `seen` are those that need not be
    /// looked at.
    pub fn files_are_unchanged(&self, range: std::ops::Range<usize>, seen: &mut HashSet<u64>) -> bool {
        let Some(first) = self.get(range.start) else { return true };
        let later = self.entries.get(range.start + 1..range.end).unwrap_or_default();
        first.files_are_unchanged(seen)
            && later.iter().all(|entry| match (&entry.changes, &entry.whole) {
                (Some(changes), _) => {
                    let parts = changes.iter().flat_map(|change| change.new.iter());
                    let mut files = parts.filter_map(|part| part.source.file());
                    files.all(|file| !seen.insert(file.id()) || file.is_unchanged())
                }
                (None, whole) => whole.as_ref().is_none_or(|whole| whole.files_are_unchanged(seen)),
            })
    }
}

impl Image {
    /// The two differ in sections at most.
    fn is_like(&self, other: &Image) -> bool {
        let callbacks = match (&self.callback, &other.callback) {
            (None, None) => true,
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            _ => false,
        };
        callbacks
            && self.name == other.name
            && same(&self.empty, &other.empty)
            && same(&self.touches, &other.touches)
    }
}

fn same<T>(one: &Arc<Vec<T>>, two: &Arc<Vec<T>>) -> bool {
    Arc::ptr_eq(one, two) || one.is_empty() && two.is_empty()
}

/// What is other in an image than in one before it.
fn changes(before: &Image, image: &Image) -> Box<[Change]> {
    let nothing = SectionMap::default();
    let keys: Vec<AsidKey> = before.spaces.keys().chain(image.spaces.keys()).copied().collect();
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for key in keys.into_iter().filter(|key| seen.insert(*key)) {
        let (one, two) = (before.spaces.get(&key), image.spaces.get(&key));
        if let (Some(one), Some(two)) = (one, two) {
            if Arc::ptr_eq(one, two) {
                continue;
            }
        }
        let one = one.map_or(&nothing, |space| space);
        let two = two.map_or(&nothing, |space| space);
        let (one, two) = one.unshared(two);
        let has = |parts: &[&Arc<Part>], part: &Part| {
            let at = parts.partition_point(|other| other.first < part.first);
            parts.get(at).is_some_and(|other| is_same(other, part))
        };
        let gone: Box<[_]> =
            one.iter().filter(|part| !has(&two, part)).map(|part| (part.first, part.last)).collect();
        let new: Box<[_]> = two.iter().filter(|part| !has(&one, part)).map(|part| Arc::clone(part)).collect();
        if !gone.is_empty() || !new.is_empty() {
            found.push(Change { key, gone, new });
        }
    }
    found.into()
}

fn is_same(one: &Part, two: &Part) -> bool {
    // What a section holds never changes.
    (one.first, one.last, one.section, one.offset) == (two.first, two.last, two.section, two.offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asid::Asid;

    /// Images after each of some seeded changes, in two address spaces.
    fn images(count: usize, seed: u64) -> Vec<Image> {
        let mut state = seed;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let mut image = Image::default();
        let mut made = Vec::new();
        for _ in 0..count {
            let asid = Asid { cr3: Some(next(2)).filter(|&cr3| cr3 > 0), vmcs: None };
            let (at, size) = (next(5000), 1 + next(60));
            match next(10) {
                0 => image.clear(at, at + 500),
                1 => image.clear(0, u64::MAX),
                2 => _ = image.add_bytes(vec![], at, &asid, None),
                3 => _ = image.invalidate(at, size, &asid),
                _ => image.add_bytes(vec![next(256) as u8; size as usize], at, &asid, None).unwrap(),
            }
            made.push(image.clone());
        }
        made
    }

    fn logged(images: &[Image]) -> ImageLog {
        let mut log = ImageLog::default();
        images.iter().enumerate().for_each(|(at, image)| log.push(10 * at as u64, image));
        log
    }

    fn assert_same(one: &Image, two: &Image) {
        assert_eq!((one.version(), one.sections()), (two.version(), two.sections()));
        assert!(one.changed_ranges(two).is_empty());
        for at in (0..5060).step_by(7) {
            let read = |image: &Image| image.read_to_vec(&Asid::default(), at, 9).ok();
            assert_eq!(read(one), read(two));
        }
    }

    #[test]
    fn images_come_out_as_they_were_put_in() {
        let images = images(300, 5);
        let log = logged(&images);
        for (at, image) in images.iter().enumerate() {
            assert_same(&log.get(at).unwrap(), image);
            assert_eq!((log.version(at), log.tsc(at)), (Some(image.version()), Some(10 * at as u64)));
            assert_eq!((log.before(10 * at as u64), log.before(10 * at as u64 + 1)), (at, at + 1));
        }
        assert!(log.get(images.len()).is_none());
    }

    #[test]
    fn an_image_is_made_from_one_before_it() {
        let images = images(200, 6);
        let log = logged(&images);
        for (from, to) in (0..200).flat_map(|from| [0, 1, 3, 80].map(|by| (from, (from + by).min(199)))) {
            assert_same(&log.after(&images[from], from, to).unwrap(), &images[to]);
        }
        // Another image than the one at that place does not mislead.
        assert_same(&log.after(&images[9], 3, 5).unwrap(), &images[5]);
    }

    #[test]
    fn a_later_image_of_one_time_takes_the_place_of_the_former() {
        let images = images(3, 7);
        let mut log = logged(&images[..2]);
        log.push(10, &images[2]);
        assert_eq!(log.len(), 2);
        assert_same(&log.get(1).unwrap(), &images[2]);
    }

    #[test]
    fn one_changed_section_among_many_takes_room_for_one() {
        let mut image = Image::default();
        let mut log = ImageLog::default();
        for at in 0..2000_u64 {
            image.add_bytes(vec![1], at * 16, &Asid::default(), None).unwrap();
            log.push(at, &image);
        }
        let parts = |change: &Change| change.new.len() + change.gone.len();
        let kept: usize =
            log.entries[1..].iter().flat_map(|entry| entry.changes.iter().flatten()).map(parts).sum();
        let whole = log.entries.iter().filter(|entry| entry.whole.is_some()).count();
        assert_eq!((kept, whole), (1999, 2000 / WHOLE + 1));
    }
}
