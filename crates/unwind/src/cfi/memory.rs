//! The memory of another program: one question, asked in pieces as large as a page, and what was answered.

use std::collections::BTreeMap;

/// Memory that can be read.
pub trait Memory {
    /// What reading may fail with; it comes out of unwinding as it is.
    type Error;

    /// At most `size` bytes from an address: fewer at the end of a mapping, none where nothing is mapped.
    fn read(&mut self, address: u64, size: usize) -> Result<Vec<u8>, Self::Error>;
}

const PAGE: u64 = 4096;
/// Pieces that are kept; a stack is read from the bottom up, so few are needed at a time.
const KEPT: usize = 64;

/// Reads a memory in few questions: a piece reaches from an asked address up to the end of its page.
pub struct Pages<'m, M: Memory> {
    memory: &'m mut M,
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl<'m, M: Memory> Pages<'m, M> {
    /// Nothing is read yet.
    pub fn new(memory: &'m mut M) -> Self {
        Pages { memory, pieces: BTreeMap::new() }
    }

    /// Fills `out` from an address; gives how many bytes there were.
    pub fn read(&mut self, address: u64, out: &mut [u8]) -> Result<usize, M::Error> {
        let mut done = 0;
        while done < out.len() {
            let Some(at) = address.checked_add(done as u64) else { break };
            let rest = out.get_mut(done..).unwrap_or_default();
            let count = self.piece(at, rest)?;
            if count == 0 {
                break;
            }
            done += count;
        }
        Ok(done)
    }

    fn piece(&mut self, address: u64, out: &mut [u8]) -> Result<usize, M::Error> {
        let have = self.pieces.range(..=address).next_back().and_then(|(start, bytes)| {
            let skip = usize::try_from(address - start).ok()?;
            bytes.get(skip..).filter(|bytes| !bytes.is_empty())
        });
        if let Some(bytes) = have {
            return Ok(copy(bytes, out));
        }
        let size = (PAGE - address % PAGE) as usize;
        let mut bytes = self.memory.read(address, size)?;
        bytes.truncate(size);
        let count = copy(&bytes, out);
        if self.pieces.len() >= KEPT {
            self.pieces.clear();
        }
        self.pieces.insert(address, bytes);
        Ok(count)
    }

    /// The little-endian number of `size` bytes (at most 8) at an address; None if any of them is not there.
    pub fn number(&mut self, address: u64, size: usize) -> Result<Option<u64>, M::Error> {
        let mut bytes = [0; 8];
        let Some(wanted) = bytes.get_mut(..size) else { return Ok(None) };
        if self.read(address, wanted)? < size {
            return Ok(None);
        }
        Ok(Some(u64::from_le_bytes(bytes)))
    }

    /// The word at an address.
    pub fn word(&mut self, address: u64) -> Result<Option<u64>, M::Error> {
        self.number(address, 8)
    }
}

fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let count = from.len().min(to.len());
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counted {
        start: u64,
        bytes: Vec<u8>,
        asked: Vec<(u64, usize)>,
    }

    impl Memory for Counted {
        type Error = ();

        fn read(&mut self, address: u64, size: usize) -> Result<Vec<u8>, ()> {
            self.asked.push((address, size));
            let skip = address.checked_sub(self.start).map_or(usize::MAX, |skip| skip as usize);
            let bytes = self.bytes.get(skip..).unwrap_or_default();
            Ok(bytes.iter().copied().take(size).collect())
        }
    }

    #[test]
    fn a_page_is_asked_for_once_and_words_may_lie_across_pages() {
        let bytes = (0..64).collect();
        let mut memory = Counted { start: 0x1fe0, bytes, asked: Vec::new() };
        let mut pages = Pages::new(&mut memory);
        assert_eq!(pages.word(0x1ffc), Ok(Some(0x2322_2120_1f1e_1d1c)));
        assert_eq!(pages.number(0x2004, 2), Ok(Some(0x2524)));
        assert_eq!(pages.word(0x201c), Ok(None), "it ends before the word does");
        assert_eq!(pages.word(0x1000), Ok(None), "nothing is there");
        assert_eq!(pages.word(u64::MAX - 3), Ok(None), "memory does not go round");
        let asked: Vec<u64> = memory.asked.iter().map(|(address, _)| *address).collect();
        assert_eq!(asked, [0x1ffc, 0x2000, 0x2020, 0x1000, u64::MAX - 3]);
    }
}
