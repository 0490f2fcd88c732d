//! Reading another program's memory: one small question, asked by the code that needs the bytes and
//! answered by the one that holds them.
//!
//! The caller brings an address, a size and an address space; back come bytes, fewer at the end of a
//! mapping, or a [`MemoryError`]. Where the bytes come from (files, a core, a debugger, a simulator)
//! is up to the implementation of [`ReadMemory`].

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::asid::Asid;
use crate::error::PtError;

/// The size of the pages a callback is asked for: one question never crosses a multiple of it.
pub const CALLBACK_PAGE: u64 = 4096;

/// The memory of another program.
pub trait ReadMemory: Send + Sync {
    /// The bytes at `address` in the address space `asid`, at most `size` of them.
    ///
    /// May be short at the end of a mapping; empty means that nothing is mapped there. An answer
    /// longer than `size` is an error of the implementation and is reported as
    /// [`PtError::Invalid`]. The address range asked for never wraps around 2^64.
    fn read(&self, address: u64, size: usize, asid: &Asid) -> Result<Vec<u8>, MemoryError>;
}

/// Why memory could not be read.
#[derive(Clone, Debug)]
pub enum MemoryError {
    /// An error libipt has a name for, above all `nomap`, `bad_image` and `invalid`.
    Pt(PtError),
    /// An error object of the embedding language. It is carried through untouched, so that it comes
    /// out of the operation that needed the memory as the same object.
    Foreign(Arc<dyn Any + Send + Sync>),
}

impl MemoryError {
    /// The libipt error, unless this is a foreign one.
    pub fn pt(&self) -> Option<PtError> {
        match self {
            MemoryError::Pt(error) => Some(*error),
            MemoryError::Foreign(_) => None,
        }
    }
}

impl From<PtError> for MemoryError {
    fn from(error: PtError) -> Self {
        MemoryError::Pt(error)
    }
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemoryError::Pt(error) => error.fmt(f),
            MemoryError::Foreign(_) => f.write_str("the read-memory callback failed"),
        }
    }
}

impl std::error::Error for MemoryError {}
