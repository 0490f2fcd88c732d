//! A file that sections lie in: checked when it is added, read piece by piece when bytes are needed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use odograph_files::Named;

use super::pages::{PieceStore, PIECE};
use crate::error::PtError;

/// A longer file name is `invalid` (C's FILENAME_MAX).
const LONGEST_NAME: usize = 4096;

/// What may be kept of files that were added without a section cache, in the whole process.
const KEPT_WITHOUT_CACHE: u64 = 64 << 20;

/// Modification times may be as coarse as this (2 seconds on FAT).
const COARSEST_TIME: Duration = Duration::from_secs(3);

/// How a file looked when it was added. A file that looks different later is another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Looks {
    size: u64,
    modified: Option<SystemTime>,
}

impl Looks {
    fn of(metadata: &Metadata) -> Looks {
        Looks { size: metadata.len(), modified: metadata.modified().ok() }
    }

    /// False if the file might change once more without looking different, because it was modified
    /// just now and modification times are coarse.
    fn settled(&self) -> bool {
        let age = self.modified.and_then(|modified| modified.elapsed().ok());
        age.is_some_and(|age| age > COARSEST_TIME)
    }
}

/// What makes two files the same: name as given, path, looks, and who named it.
pub(super) type FileKey = (OsString, PathBuf, Looks, Named);

/// A file on disk, as it was when it was added.
///
/// No handle is kept open, so any number of files can be in use; every read looks at the file again
/// and fails with `bad_image` if it has another size or modification time or is gone.
#[derive(Debug)]
pub(super) struct SectionFile {
    /// Unique in the process.
    id: u64,
    name: OsString,
    path: PathBuf,
    looks: Looks,
    named: Named,
    pieces: Arc<PieceStore>,
}

impl SectionFile {
    /// Looks at a file without reading it. `bad_file`: missing, unreadable or not a regular file, or one that who
    /// named it may not name; `invalid`: the name cannot be one.
    ///
    /// A relative name is resolved now; the name as given is kept for comparing.
    pub fn open(name: &OsStr, named: Named, pieces: Arc<PieceStore>) -> Result<SectionFile, PtError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        if name.len() >= LONGEST_NAME || name.as_encoded_bytes().contains(&0) {
            return Err(PtError::Invalid);
        }
        let path = std::path::absolute(name).map_err(|_| PtError::BadFile)?;
        let opened = odograph_files::open(&path, named);
        let metadata = opened.and_then(|file| file.metadata()).map_err(|_| PtError::BadFile)?;
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let looks = Looks::of(&metadata);
        Ok(SectionFile { id, name: name.to_owned(), path, looks, named, pieces })
    }

    /// The same for a file that is used without a section cache. Sections of a file that looks the
    /// same share what was read of it.
    pub fn open_uncached(name: &OsStr, named: Named) -> Result<Arc<SectionFile>, PtError> {
        static STORE: OnceLock<Arc<PieceStore>> = OnceLock::new();
        static IN_USE: Mutex<BTreeMap<FileKey, Weak<SectionFile>>> = Mutex::new(BTreeMap::new());
        let store = STORE.get_or_init(|| Arc::new(PieceStore::new(Some(KEPT_WITHOUT_CACHE))));
        let file = Arc::new(SectionFile::open(name, named, store.clone())?);
        if !file.looks.settled() {
            return Ok(file);
        }
        // Nothing under the lock can panic halfway through a change.
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = in_use.get(&file.key()).and_then(Weak::upgrade) {
            return Ok(same);
        }
        if in_use.len().is_power_of_two() {
            in_use.retain(|_, file| file.strong_count() > 0);
        }
        in_use.insert(file.key(), Arc::downgrade(&file));
        Ok(file)
    }

    /// What makes it the same file: its name as given, where that leads, how it looks, and who named it.
    pub fn key(&self) -> FileKey {
        (self.name.clone(), self.path.clone(), self.looks, self.named)
    }

    /// The name as it was given.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Unique in the process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The size of a section of this file: cut at the end of the file. `invalid` if it would start
    /// at or past the end.
    pub fn cut(&self, offset: u64, size: u64) -> Result<u64, PtError> {
        match self.looks.size.checked_sub(offset) {
            None | Some(0) => Err(PtError::Invalid),
            Some(rest) => Ok(size.min(rest)),
        }
    }

    /// Fills `buffer` from the bytes at `offset`; `bad_image` if the file is no longer what it was.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), PtError> {
        let mut opened = None;
        let mut offset = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let number = offset / PIECE;
            let skip = usize::try_from(offset % PIECE).map_err(|_| PtError::Internal)?;
            let piece = match self.pieces.get(self.id, number) {
                Some(piece) => piece,
                None => {
                    let file = match &opened {
                        Some(file) => file,
                        None => {
                            let file = odograph_files::open(&self.path, self.named);
                            &*opened.insert(file.map_err(|_| PtError::BadImage)?)
                        }
                    };
                    let piece = self.fetch(file, number)?;
                    self.pieces.put(self.id, number, piece.clone());
                    piece
                }
            };
            let bytes = piece.get(skip..).filter(|bytes| !bytes.is_empty()).ok_or(PtError::BadImage)?;
            let count = bytes.len().min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&bytes[..count]);
            rest = later;
            offset += count as u64;
        }
        if self.is_unchanged() {
            Ok(())
        } else {
            Err(PtError::BadImage)
        }
    }

    /// It has the size and modification time it had when it was added.
    pub fn is_unchanged(&self) -> bool {
        // The path is asked, not a handle: a file that was replaced or removed must be noticed.
        std::fs::metadata(&self.path).is_ok_and(|metadata| Looks::of(&metadata) == self.looks)
    }

    /// Reads one piece from disk. The file is looked at after reading, so that a change before or
    /// during it cannot put wrong bytes into the store.
    fn fetch(&self, file: &File, number: u64) -> Result<Arc<[u8]>, PtError> {
        let start = number.checked_mul(PIECE).ok_or(PtError::Internal)?;
        let size = self.looks.size.saturating_sub(start).min(PIECE);
        let mut data = vec![0; usize::try_from(size).map_err(|_| PtError::Internal)?];
        read_exact_at(file, &mut data, start).map_err(|_| PtError::BadImage)?;
        let now = file.metadata().map_err(|_| PtError::BadImage)?;
        if Looks::of(&now) != self.looks {
            return Err(PtError::BadImage);
        }
        Ok(data.into())
    }
}

impl Drop for SectionFile {
    fn drop(&mut self) {
        self.pieces.forget(self.id);
    }
}

/// Fills `buffer` from `offset` without moving a cursor; a short file is `UnexpectedEof`.
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match read_at(file, buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                buffer = buffer.get_mut(count..).unwrap_or_default();
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}
