//! Opens files, and reads no more of them than is sensible.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use object::read::ReadCacheOps;
use object::{ReadCache, ReadRef};
use odograph_files::Named;

/// The parts of a file that are read may overlap, but only so many bytes are read for one question.
const SMALLEST_BUDGET: u64 = 1 << 24;
/// Parts overlap at most so often on average.
const OVERLAP: u64 = 4;

/// A file that gives a limited number of bytes.
#[derive(Debug)]
pub struct Limited {
    file: File,
    length: u64,
    left: u64,
}

impl Limited {
    fn spend(&mut self, size: usize) -> Result<(), ()> {
        self.left = self.left.checked_sub(size as u64).ok_or(())?;
        Ok(())
    }
}

impl ReadCacheOps for Limited {
    fn len(&mut self) -> Result<u64, ()> {
        Ok(self.length)
    }

    fn seek(&mut self, pos: u64) -> Result<u64, ()> {
        Seek::seek(&mut self.file, SeekFrom::Start(pos)).map_err(|_| ())
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ()> {
        self.spend(buf.len())?;
        Read::read(&mut self.file, buf).map_err(|_| ())
    }

    fn read_exact(&mut self, buf: &mut [u8]) -> Result<(), ()> {
        self.spend(buf.len())?;
        Read::read_exact(&mut self.file, buf).map_err(|_| ())
    }
}

/// A file, read part by part; parts that were read are kept.
pub type Cached = ReadCache<Limited>;

/// Opens a file to be read part by part.
///
/// A recording, a core or another ELF file named it, unless the user did. Errors are those of
/// [`odograph_files::open`].
pub fn open(path: &Path, named: Named) -> std::io::Result<Cached> {
    limited(odograph_files::open(path, named)?)
}

/// An open file, to be read part by part.
pub fn limited(file: File) -> std::io::Result<Cached> {
    let length = file.metadata()?.len();
    let left = length.saturating_mul(OVERLAP).max(SMALLEST_BUDGET);
    Ok(ReadCache::new(Limited { file, length, left }))
}

/// What `ask` makes of a file; None if it cannot be read or is no object file.
pub fn with_file<T>(path: &Path, ask: impl FnOnce(&object::File<'_, &Cached>) -> T) -> Option<T> {
    let cache = open(path, Named::ByRecording).ok()?;
    with_data(&cache, ask)
}

/// What `ask` makes of the bytes of a file; None if they are no object file.
pub fn with_data<'data, R: ReadRef<'data>, T>(
    data: R,
    ask: impl FnOnce(&object::File<'data, R>) -> T,
) -> Option<T> {
    object::File::parse(data).ok().map(|file| ask(&file))
}
