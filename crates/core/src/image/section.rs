//! Sections: where bytes of the traced program come from, and which part of them is visible.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use super::file::SectionFile;
use crate::asid::Asid;
use crate::error::PtError;

/// Where the bytes of a section come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A file on disk.
    File(Arc<SectionFile>),
    /// Bytes that were handed over.
    Bytes(Arc<BytesSource>),
}

/// Bytes that were handed over, with an optional name.
#[derive(Debug)]
pub(super) struct BytesSource {
    pub name: Option<OsString>,
    pub data: Box<[u8]>,
}

impl Source {
    pub fn name(&self) -> Option<&OsStr> {
        match self {
            Source::File(file) => Some(file.name()),
            Source::Bytes(bytes) => bytes.name.as_deref(),
        }
    }

    pub fn file(&self) -> Option<&SectionFile> {
        match self {
            Source::File(file) => Some(file),
            Source::Bytes(_) => None,
        }
    }

    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), PtError> {
        match self {
            Source::File(file) => file.read(offset, buffer),
            Source::Bytes(bytes) => {
                let start = usize::try_from(offset).map_err(|_| PtError::Internal)?;
                let end = start.checked_add(buffer.len()).ok_or(PtError::Internal)?;
                buffer.copy_from_slice(bytes.data.get(start..end).ok_or(PtError::Internal)?);
                Ok(())
            }
        }
    }
}

/// A contiguous visible part of a section, never empty.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// First address.
    pub first: u64,
    /// Last address, included, so that a part may end at 2^64.
    pub last: u64,
    /// When the section was added: larger is later, unique in the process. Parts of a split
    /// section share it.
    pub section: u64,
    /// The section's identifier in its cache; 0 = not from a cache.
    pub isid: i32,
    /// Where in the source the byte at `first` lies.
    pub offset: u64,
    /// The bytes.
    pub source: Source,
}

impl Part {
    /// What is left of the part in front of `first`.
    pub fn before(&self, first: u64) -> Option<Part> {
        let last = first.checked_sub(1).filter(|last| *last >= self.first)?;
        Some(Part { last: last.min(self.last), ..self.clone() })
    }

    /// What is left of the part behind `last`.
    pub fn behind(&self, last: u64) -> Option<Part> {
        let first = last.checked_add(1).filter(|first| *first <= self.last)?;
        let first = first.max(self.first);
        Some(Part { first, offset: self.offset + (first - self.first), ..self.clone() })
    }
}

/// An empty section: it can be listed and removed, but holds no byte and overlaps nothing.
#[derive(Clone, Debug)]
pub(super) struct EmptySection {
    pub asid: Asid,
    pub vaddr: u64,
    pub section: u64,
    pub isid: i32,
    pub offset: u64,
    pub source: Source,
}

/// A visible section or part of one, as a list of an image's sections shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The file's name as it was given, or the name given to bytes.
    pub name: Option<OsString>,
    /// Where the visible part begins in the file or in the bytes.
    pub offset: u64,
    /// Size of the visible part in bytes.
    pub size: u64,
    /// First address.
    pub vaddr: u64,
    /// The address space it was added for.
    pub asid: Asid,
    /// Identifier in its section cache; 0 = not from a cache.
    pub isid: i32,
    /// Identifier of the section object, unique in the process and larger for one added later;
    /// parts of a split section share it.
    pub section: u64,
}
