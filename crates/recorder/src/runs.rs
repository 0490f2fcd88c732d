//! Executed bytes that lie next to each other, as few pieces: a recorder learns them one instruction or block at a time.

use std::collections::BTreeMap;

/// Pieces are joined up to this size, so that taking in one more costs little, wherever it lies.
const JOINED: usize = 4096;

/// Process, time from which on the bytes were there, address.
pub type Place = (i32, u64, u64);

/// Bytes by their place. What is inserted later lies over what has the same process and time.
#[derive(Clone, Debug, Default)]
pub struct Runs {
    runs: BTreeMap<Place, Vec<u8>>,
    size: usize,
}

impl Runs {
    /// Takes in all of `entries`, each `(i32 pid, u32 size, u64 time, u64 address, bytes)`, as recordings have them.
    /// `allow` is asked after each, with the number of pieces and of their bytes so far. False if it said no; `None` if an entry is cut or does not fit into 64 bits.
    pub fn add_recorded(&mut self, mut entries: &[u8], allow: impl Fn(usize, usize) -> bool) -> Option<bool> {
        while let Some((head, rest)) = entries.split_first_chunk::<24>() {
            let (pid, size) = (word(head, 0) as i32, word(head, 4) as usize);
            let (time, address) = (long(head, 8), long(head, 16));
            let (bytes, rest) = rest.split_at_checked(size)?;
            entries = rest;
            self.insert((pid, time, address), bytes)?;
            if !allow(self.runs.len(), self.size) {
                return Some(false);
            }
        }
        Some(true)
    }

    /// Takes in the entries `(u64 time, u64 address, u64 size, bytes)` of a file of [`Code`](crate::code::Code). One
    /// that is cut ends them.
    pub fn add_learned(&mut self, mut entries: &[u8]) {
        while let Some((head, rest)) = entries.split_first_chunk::<24>() {
            let Ok(size) = usize::try_from(long(head, 16)) else { return };
            let Some((bytes, rest)) = rest.split_at_checked(size) else { return };
            entries = rest;
            if self.insert((0, long(head, 0), long(head, 8)), bytes).is_none() {
                return;
            }
        }
    }

    /// `None`, and nothing done, if the bytes do not fit into 64 bits of address.
    pub fn insert(&mut self, (pid, time, start): Place, mut bytes: &[u8]) -> Option<()> {
        let Some(more) = bytes.len().checked_sub(1) else { return Some(()) };
        let last = start.checked_add(more as u64)?;
        let before = self.runs.range_mut((pid, time, 0)..=(pid, time, start)).next_back();
        let mut behind = false;
        if let Some((place, run)) = before {
            let skip = usize::try_from(start - place.2).ok().filter(|skip| *skip <= run.len());
            if let Some(skip) = skip {
                let covered = bytes.len().min(run.len() - skip);
                let (over, rest) = bytes.split_at(covered);
                if let Some(slice) = run.get_mut(skip..skip + covered) {
                    slice.copy_from_slice(over);
                }
                bytes = rest;
                behind = true;
                if bytes.is_empty() {
                    return Some(());
                }
            }
        }
        let start = last - (bytes.len() as u64 - 1);
        // Pieces that begin in the new bytes, the last one first: it may reach beyond, the others go.
        while let Some(more) = bytes.len().checked_sub(1) {
            let places = (pid, time, start)..=(pid, time, start + more as u64);
            let Some((place, run)) = self.runs.range_mut(places).next_back() else { break };
            let (rest, over) = bytes.split_at_checked(usize::try_from(place.2 - start).ok()?)?;
            if over.len() < run.len() {
                if let Some(slice) = run.get_mut(..over.len()) {
                    slice.copy_from_slice(over);
                }
                bytes = rest;
                continue;
            }
            let place = *place;
            self.size -= run.len();
            self.runs.remove(&place);
        }
        if bytes.is_empty() {
            return Some(());
        }
        self.size += bytes.len();
        let mut piece = bytes.to_vec();
        let end = start.checked_add(bytes.len() as u64);
        let next = end.filter(|end| {
            self.runs.get(&(pid, time, *end)).is_some_and(|next| next.len() + piece.len() <= JOINED)
        });
        if let Some(next) = next.and_then(|end| self.runs.remove(&(pid, time, end))) {
            piece.extend(next);
        }
        if behind {
            let before = self.runs.range_mut((pid, time, 0)..(pid, time, start)).next_back();
            if let Some((_, run)) = before.filter(|(_, run)| run.len() + piece.len() <= JOINED) {
                run.extend(piece);
                return Some(());
            }
        }
        self.runs.insert((pid, time, start), piece);
        Some(())
    }

    /// All pieces, by process, time and address.
    pub fn into_pieces(self) -> impl Iterator<Item = (Place, Vec<u8>)> {
        self.runs.into_iter()
    }

    /// Number of pieces, and of their bytes.
    pub fn size(&self) -> (usize, usize) {
        (self.runs.len(), self.size)
    }
}

fn word(head: &[u8; 24], at: usize) -> u32 {
    head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn long(head: &[u8; 24], at: usize) -> u64 {
    head.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(runs: Runs) -> Vec<(u64, Vec<u8>)> {
        runs.into_pieces().map(|((_, _, address), bytes)| (address, bytes)).collect()
    }

    #[test]
    fn bytes_that_touch_are_one_piece() {
        let mut runs = Runs::default();
        for address in [0x10, 0x14, 0x12, 0x20] {
            runs.insert((1, 0, address), &[address as u8, 0]).unwrap();
        }
        assert_eq!(runs.size(), (2, 8));
        assert_eq!(pieces(runs), [(0x10, vec![0x10, 0, 0x12, 0, 0x14, 0]), (0x20, vec![0x20, 0])]);
    }

    #[test]
    fn other_processes_and_times_are_apart() {
        let mut runs = Runs::default();
        for place in [(1, 0, 0x10), (1, 5, 0x11), (2, 0, 0x11)] {
            runs.insert(place, &[7]).unwrap();
        }
        assert_eq!(runs.size(), (3, 3));
    }

    #[test]
    fn bytes_reach_to_the_end_of_memory_and_not_beyond() {
        let mut runs = Runs::default();
        assert_eq!(runs.insert((1, 0, u64::MAX), &[1]), Some(()));
        assert_eq!(runs.insert((1, 0, u64::MAX - 1), &[2, 3]), Some(()));
        assert_eq!(runs.insert((1, 0, u64::MAX), &[1, 1]), None);
        assert_eq!(runs.size().1, 2);
    }

    #[test]
    fn what_comes_later_lies_over_what_was_there() {
        // Against one byte of memory after the other.
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..200 {
            let mut runs = Runs::default();
            let mut memory: BTreeMap<u64, u8> = BTreeMap::new();
            for round in 0..60u8 {
                let (start, size) = (random(200), random(if round % 7 == 0 { 90 } else { 9 }));
                let bytes: Vec<u8> =
                    (0..size).map(|at| round.wrapping_mul(31).wrapping_add(at as u8)).collect();
                runs.insert((1, 0, start), &bytes).unwrap();
                memory.extend((start..).zip(bytes));
            }
            assert_eq!(runs.size().1, memory.len());
            let found = pieces(runs);
            let flat: Vec<(u64, u8)> =
                found.iter().flat_map(|(start, bytes)| (*start..).zip(bytes.iter().copied())).collect();
            assert_eq!(flat, memory.into_iter().collect::<Vec<_>>());
        }
    }
}
