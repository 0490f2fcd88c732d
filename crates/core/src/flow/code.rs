//! The code bytes a decode has read, by address space.
//!
//! Memory is read on first sight only, in pieces of at most a 4 KiB page, and kept: a history that
//! was decoded once can be walked again without asking a file or a callback. One [`Code`] is shared
//! by every walker of a history.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::asid::Asid;
use crate::error::PtError;
use crate::image::Image;
use crate::memory::MemoryError;

/// Index of a [`Space`] in its [`Code`].
pub type SpaceId = u32;

/// Why code bytes could not be had.
#[derive(Clone)]
pub enum CodeError {
    /// An error libipt has a number for; it becomes a gap.
    Pt(PtError),
    /// An exception of the embedding language; it ends the operation and comes out unchanged.
    Foreign(Arc<dyn Any + Send + Sync>),
}

impl From<MemoryError> for CodeError {
    fn from(error: MemoryError) -> Self {
        match error {
            MemoryError::Pt(code) => CodeError::Pt(code),
            MemoryError::Foreign(object) => CodeError::Foreign(object),
        }
    }
}

/// Bytes that were read in one piece from one section (or from the callback).
#[derive(Debug)]
pub struct Chunk {
    /// Address of the first byte.
    pub start: u64,
    /// The bytes; never empty.
    pub bytes: Box<[u8]>,
    /// Identifier in an image section cache, 0 if not from one.
    pub isid: i32,
    /// Identity of the section, 0 for the callback.
    pub section: u64,
    /// The callback gave less than it was asked for: its memory ends here.
    pub short: bool,
}

impl Chunk {
    /// The bytes from `address` to the end of the chunk; empty if the address lies outside.
    #[inline]
    pub fn from(&self, address: u64) -> &[u8] {
        usize::try_from(address.wrapping_sub(self.start))
            .ok()
            .and_then(|at| self.bytes.get(at..))
            .unwrap_or(&[])
    }
}

/// One address space at one version of its image, with the code bytes read so far.
pub struct Space {
    /// The image at that version.
    image: Image,
    /// Selects sections and is passed to the callback.
    asid: Asid,
    known: Mutex<Known>,
    /// What all spaces have read.
    read: Arc<Mutex<Read>>,
}

/// Chunks by section, first address and length: what a section holds never changes.
type Read = HashMap<(u64, u64, usize), Arc<Chunk>>;

/// What reading has come to.
#[derive(Default)]
pub(super) struct Known {
    /// By the address of their first byte.
    pub chunks: BTreeMap<u64, Arc<Chunk>>,
    /// Addresses at which nothing could be read.
    pub unreadable: BTreeMap<u64, PtError>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half-done under these locks, so the data of a poisoned one is good.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory is read in pieces of at most such a page.
pub(super) const PAGE: u64 = 4096;

impl Space {
    /// The address space this is.
    pub fn asid(&self) -> Asid {
        self.asid
    }

    /// The version of the image this is of.
    pub(super) fn version(&self) -> u64 {
        self.image.version()
    }

    /// What reading has come to so far.
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        locked(&self.known)
    }

    /// The chunk that holds the byte at `address`, read from the image if it is not yet known.
    pub fn chunk_at(&self, address: u64) -> Result<Arc<Chunk>, CodeError> {
        let room = {
            let known = self.known();
            let chunks = &known.chunks;
            if let Some((_, chunk)) = chunks.range(..=address).next_back() {
                if !chunk.from(address).is_empty() {
                    return Ok(chunk.clone());
                }
            }
            let page_rest = PAGE - address % PAGE;
            match chunks.range(address..).next() {
                Some((&next, _)) => page_rest.min(next - address),
                None => page_rest,
            }
        };
        // The lock is not held here: the callback may take long or decode something itself.
        let mut buffer = vec![0u8; room as usize];
        let unreadable = |error: PtError| {
            self.known().unreadable.insert(address, error);
            CodeError::Pt(error)
        };
        let read = match self.image.read(&self.asid, address, &mut buffer) {
            Ok(read) => read,
            Err(MemoryError::Pt(error)) => return Err(unreadable(error)),
            Err(foreign) => return Err(foreign.into()),
        };
        let length = read.length.min(buffer.len());
        if length == 0 {
            return Err(unreadable(PtError::Nomap));
        }
        buffer.truncate(length);
        let mut chunk = Arc::new(Chunk {
            start: address,
            bytes: buffer.into_boxed_slice(),
            isid: read.isid,
            section: read.section,
            short: read.section == 0 && (length as u64) < room,
        });
        if chunk.section != 0 {
            // Memory that changes elsewhere has many versions, and each is a space.
            let key = (chunk.section, address, length);
            chunk = locked(&self.read).entry(key).or_insert(chunk).clone();
        }
        Ok(self.known().chunks.entry(address).or_insert(chunk).clone())
    }

    /// Copies known or readable bytes from `address` on into `buffer`; returns how many.
    ///
    /// Crosses sections; stops short where nothing is mapped.
    pub fn copy(&self, address: u64, buffer: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buffer.len() {
            let at = address.wrapping_add(done as u64);
            let Ok(chunk) = self.chunk_at(at) else { break };
            let bytes = chunk.from(at);
            let take = bytes.len().min(buffer.len() - done);
            buffer[done..done + take].copy_from_slice(&bytes[..take]);
            done += take;
        }
        done
    }

    /// Copies bytes that were read before, and reads none; false if they do not fill `buffer`.
    pub fn copy_known(&self, address: u64, buffer: &mut [u8]) -> bool {
        let known = self.known();
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = address.wrapping_add(done as u64);
            let bytes = known.chunks.range(..=at).next_back().map_or(&[][..], |(_, chunk)| chunk.from(at));
            let take = bytes.len().min(rest.len());
            if take == 0 {
                return false;
            }
            for (to, from) in rest.iter_mut().zip(bytes) {
                *to = *from;
            }
            done += take;
        }
        true
    }
}

/// All spaces of a decode.
#[derive(Default)]
pub struct Code {
    inner: Mutex<Spaces>,
}

#[derive(Default)]
struct Spaces {
    spaces: Vec<Arc<Space>>,
    by_identity: HashMap<(u64, Asid), SpaceId>,
    read: Arc<Mutex<Read>>,
}

impl Code {
    /// The space for an image version and an address space, made on first use.
    pub fn space(&self, image: &Image, asid: Asid) -> (SpaceId, Arc<Space>) {
        let mut inner = locked(&self.inner);
        if let Some(&id) = inner.by_identity.get(&(image.version(), asid)) {
            if let Some(space) = inner.spaces.get(id as usize) {
                return (id, space.clone());
            }
        }
        let id = inner.spaces.len() as SpaceId;
        let (image_of, read) = (image.unlearned(), inner.read.clone());
        let space = Arc::new(Space { image: image_of, asid, known: Mutex::default(), read });
        inner.spaces.push(space.clone());
        inner.by_identity.insert((image.version(), asid), id);
        (id, space)
    }

    /// All spaces so far.
    pub(super) fn spaces(&self) -> Vec<Arc<Space>> {
        locked(&self.inner).spaces.clone()
    }

    /// The space with this index.
    pub fn get(&self, id: SpaceId) -> Option<Arc<Space>> {
        locked(&self.inner).spaces.get(id as usize).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_an_image_share_what_was_read_of_the_same_section() {
        let mut image = Image::default();
        image.add_bytes(vec![0x90; 100], 0x1000, &Asid::default(), None).unwrap();
        let code = Code::default();
        let mut chunks = Vec::new();
        for version in 0..3 {
            image.add_bytes(vec![version], 0x2000, &Asid::default(), None).unwrap();
            let (_, space) = code.space(&image, Asid::default());
            let read = |address| space.chunk_at(address).ok().unwrap();
            chunks.push((read(0x1000), read(0x2000)));
        }
        let (first, other) = &chunks[0];
        assert!(chunks.iter().all(|(same, _)| Arc::ptr_eq(first, same)));
        assert_eq!(chunks.iter().map(|(_, other)| other.bytes[0]).collect::<Vec<_>>(), [0, 1, 2]);
        // Another section with the same bytes at the same place is another one.
        image.add_bytes(vec![0], 0x2000, &Asid::default(), None).unwrap();
        let again = code.space(&image, Asid::default()).1.chunk_at(0x2000).ok().unwrap();
        assert!(again.bytes == other.bytes && again.section != other.section);
    }
}
