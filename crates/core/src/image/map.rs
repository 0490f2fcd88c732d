//! The sections of one address space, sorted by address, without overlaps.

use std::sync::Arc;

use super::section::Part;

/// A chunk that grows beyond this is split in two.
const LARGEST_CHUNK: usize = 128;

/// Disjoint parts in address order. Parts lie in shared chunks, so a copy costs little and a change
/// copies one chunk, in which parts are shared too. No chunk is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct SectionMap {
    chunks: Vec<Arc<Vec<Arc<Part>>>>,
}

fn first_of(chunk: &[Arc<Part>]) -> u64 {
    chunk.first().map_or(0, |part| part.first)
}

impl SectionMap {
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Part> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|part| &**part))
    }

    /// The chunk that holds `address` if any does; 0 if all lie behind it.
    fn chunk_at(&self, address: u64) -> usize {
        self.chunks.partition_point(|chunk| first_of(chunk) <= address).saturating_sub(1)
    }

    /// The part that contains `address`.
    pub fn find(&self, address: u64) -> Option<&Part> {
        let chunk = self.chunks.get(self.chunk_at(address))?;
        let part = chunk.get(chunk.partition_point(|part| part.last < address))?;
        (part.first <= address).then_some(part)
    }

    /// Where the next part at or behind `address` begins.
    pub fn next_start(&self, address: u64) -> Option<u64> {
        let index = self.chunk_at(address);
        let chunk = self.chunks.get(index)?;
        match chunk.get(chunk.partition_point(|part| part.first < address)) {
            Some(part) => Some(part.first),
            None => self.chunks.get(index + 1).map(|chunk| first_of(chunk)),
        }
    }

    /// The parts that have a byte in `first..=last`, by address.
    pub fn overlapping(&self, first: u64, last: u64) -> impl Iterator<Item = &Part> {
        let chunks = self.chunks.get(self.chunk_at(first)..).unwrap_or_default();
        let parts = chunks.iter().flat_map(|chunk| chunk.iter().map(|part| &**part));
        parts.skip_while(move |part| part.last < first).take_while(move |part| part.first <= last)
    }

    /// Makes `first..=last` free; what lay there is truncated or split.
    pub fn carve(&mut self, first: u64, last: u64) {
        let mut index = self.chunk_at(first);
        while let Some(chunk) = self.chunks.get_mut(index) {
            if first_of(chunk) > last {
                break;
            }
            let from = chunk.partition_point(|part| part.last < first);
            let to = chunk.partition_point(|part| part.first <= last);
            if from < to {
                let before = chunk[from].before(first);
                let behind = chunk[to - 1].behind(last);
                let parts = Arc::make_mut(chunk);
                parts.splice(from..to, before.into_iter().chain(behind).map(Arc::new));
                if parts.is_empty() {
                    self.chunks.remove(index);
                    continue;
                }
            }
            index += 1;
        }
    }

    /// Adds a part where nothing is.
    pub fn insert(&mut self, part: impl Into<Arc<Part>>) {
        let part = part.into();
        let index = self.chunk_at(part.first);
        let Some(chunk) = self.chunks.get_mut(index) else {
            self.chunks.push(Arc::new(vec![part]));
            return;
        };
        let at = chunk.partition_point(|other| other.first < part.first);
        if Arc::get_mut(chunk).is_none() {
            // A copy for one more.
            let mut parts = Vec::with_capacity(chunk.len() + 1);
            parts.extend_from_slice(chunk);
            *chunk = Arc::new(parts);
        }
        let parts = Arc::make_mut(chunk);
        parts.insert(at, part);
        if parts.len() > LARGEST_CHUNK {
            let tail = parts.split_off(parts.len() / 2);
            self.chunks.insert(index + 1, Arc::new(tail));
        }
    }

    /// Drops the parts `drop` says yes to and gives their number.
    pub fn remove(&mut self, drop: impl Fn(&Part) -> bool) -> usize {
        let mut removed = 0;
        self.chunks.retain_mut(|chunk| {
            let gone = chunk.iter().filter(|part| drop(part)).count();
            if gone > 0 {
                Arc::make_mut(chunk).retain(|part| !drop(part));
                removed += gone;
            }
            !chunk.is_empty()
        });
        removed
    }

    /// The parts of `self` and `other` without the chunks both share at their beginnings and ends.
    pub fn unshared<'a>(&'a self, other: &'a SectionMap) -> (Vec<&'a Arc<Part>>, Vec<&'a Arc<Part>>) {
        let (mut one, mut two) = (&self.chunks[..], &other.chunks[..]);
        while let ([a, rest_one @ ..], [b, rest_two @ ..]) = (one, two) {
            if !Arc::ptr_eq(a, b) {
                break;
            }
            (one, two) = (rest_one, rest_two);
        }
        while let ([rest_one @ .., a], [rest_two @ .., b]) = (one, two) {
            if !Arc::ptr_eq(a, b) {
                break;
            }
            (one, two) = (rest_one, rest_two);
        }
        let parts =
            |chunks: &'a [Arc<Vec<Arc<Part>>>]| chunks.iter().flat_map(|chunk| chunk.iter()).collect();
        (parts(one), parts(two))
    }
}
