//! A growing file that is written through memory, so that its bytes outlive the process that wrote them.
//!
//! No descriptor stays open: the traced program sees this process's descriptors and may close them all.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr;

use crate::system::{last_error, peek};

/// Granularity of mappings.
pub const PAGE: u64 = 4096;
const LARGEST_WINDOW: u64 = 16 << 20;

/// A shared mapping of part of a file.
#[derive(Debug)]
#[repr(C)]
pub struct Window {
    /// First byte.
    pub address: *mut u8,
    /// Where in the file it lies.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
}

impl Window {
    /// Maps `size` bytes of the file at `offset`; the file is made or made longer as needed, and the
    /// room is reserved on the disk, because a full disk would otherwise kill the writer later.
    pub fn map(path: &CString, offset: u64, size: u64) -> io::Result<Window> {
        // SAFETY: `path` is a C string; the result is checked.
        let descriptor = unsafe {
            libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_CLOEXEC, 0o600 as libc::c_uint)
        };
        if descriptor < 0 {
            return Err(last_error());
        }
        let result = Self::map_open(descriptor, offset, size);
        // SAFETY: we opened it above and only this code knows it.
        unsafe { libc::close(descriptor) };
        result
    }

    fn map_open(descriptor: libc::c_int, offset: u64, size: u64) -> io::Result<Window> {
        let too_large = || io::Error::from_raw_os_error(libc::EFBIG);
        let start = libc::off_t::try_from(offset).map_err(|_| too_large())?;
        let length = libc::off_t::try_from(size).map_err(|_| too_large())?;
        // More than the process may write would be a signal to the program.
        if offset.saturating_add(size) > largest_file() {
            return Err(too_large());
        }
        // SAFETY: a descriptor we own and plain numbers; the result is checked.
        let error = unsafe { libc::posix_fallocate(descriptor, start, length) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        let length = usize::try_from(size).map_err(|_| too_large())?;
        // SAFETY: a new mapping at an address the kernel chooses cannot disturb existing memory.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                descriptor,
                start,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(last_error());
        }
        Ok(Window { address: address.cast(), offset, size })
    }

    /// Removes the mapping. Its addresses may not be used afterwards.
    pub fn unmap(&mut self) {
        if !self.address.is_null() {
            // SAFETY: exactly the mapping made by `map_open`; the address is forgotten at once.
            unsafe { libc::munmap(self.address.cast(), self.size as usize) };
            self.address = ptr::null_mut();
            self.size = 0;
        }
    }
}

/// The content of a file, which stays when the file is deleted.
#[derive(Debug)]
pub struct ReadOnly {
    address: *const u8,
    size: usize,
    /// Device and inode of the file.
    pub file: (u64, u64),
}

// SAFETY: the mapping is only read, and by system calls.
unsafe impl Send for ReadOnly {}
// SAFETY: as above.
unsafe impl Sync for ReadOnly {}

impl ReadOnly {
    /// Maps the file at `path`.
    pub fn map(path: &Path) -> io::Result<ReadOnly> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let size = usize::try_from(metadata.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // SAFETY: a new mapping at an address the kernel chooses cannot disturb existing memory.
        let address = unsafe {
            libc::mmap(ptr::null_mut(), size, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
        };
        if address == libc::MAP_FAILED {
            return Err(last_error());
        }
        Ok(ReadOnly { address: address.cast(), size, file: (metadata.dev(), metadata.ino()) })
    }

    /// Gives all bytes to `write`, each time with their place in the file.
    pub fn copy_to(&self, write: impl Fn(&[u8], u64) -> io::Result<()>) -> io::Result<()> {
        const PIECE: usize = 1 << 20;
        for at in (0..self.size).step_by(PIECE) {
            // The file may be shorter by now: what is gone cannot be read, and must not be touched.
            let bytes = peek(self.address as u64 + at as u64, PIECE.min(self.size - at));
            write(&bytes, at as u64)?;
        }
        Ok(())
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made by `map`, to which there is no reference.
        unsafe { libc::munmap(self.address as *mut libc::c_void, self.size) };
    }
}

/// How large this process may make a file.
fn largest_file() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a place for the answer.
    unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) };
    limit.rlim_cur
}

/// `path` for system calls.
pub fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// The size of the window that follows one of `size` bytes.
pub fn next_size(size: u64) -> u64 {
    size.saturating_mul(4).clamp(64 << 10, LARGEST_WINDOW)
}

/// A file that only grows at its end. Its first eight bytes are the number of bytes that follow.
#[derive(Debug)]
pub struct AppendFile {
    path: CString,
    head: Window,
    window: Window,
    length: u64,
}

// SAFETY: the windows belong to this value alone; moving it to another thread moves the right to use them.
unsafe impl Send for AppendFile {}

impl AppendFile {
    /// Makes the file.
    pub fn create(path: &Path) -> io::Result<AppendFile> {
        let path = c_path(path)?;
        let head = Window::map(&path, 0, 4 * PAGE)?;
        Ok(AppendFile {
            path,
            head,
            window: Window { address: ptr::null_mut(), offset: 0, size: 0 },
            length: 0,
        })
    }

    /// A file that takes nothing.
    pub fn none() -> AppendFile {
        let nowhere = || Window { address: ptr::null_mut(), offset: 0, size: 0 };
        AppendFile { path: CString::default(), head: nowhere(), window: nowhere(), length: 0 }
    }

    /// Appends all of `bytes`, or nothing if there is no room on the disk.
    pub fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if self.head.address.is_null() {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        let mut length = self.length;
        while !bytes.is_empty() {
            let at = length + 8;
            let window = if at < self.head.size {
                &self.head
            } else {
                if at >= self.window.offset + self.window.size {
                    let fresh = Window::map(&self.path, at / PAGE * PAGE, next_size(self.window.size))?;
                    self.window.unmap();
                    self.window = fresh;
                }
                &self.window
            };
            let skip = at - window.offset;
            let count = bytes.len().min((window.size - skip) as usize);
            // SAFETY: `skip + count` lies within the window, which is mapped for writing; the source is
            // ordinary memory and cannot overlap it.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), window.address.add(skip as usize), count) };
            bytes = bytes.get(count..).unwrap_or(&[]);
            length += count as u64;
        }
        self.length = length;
        // SAFETY: the head window is at least a page, aligned to one, and mapped for writing.
        unsafe { ptr::write_volatile(self.head.address.cast::<u64>(), length) };
        Ok(())
    }

    /// Bytes appended so far.
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl Drop for AppendFile {
    fn drop(&mut self) {
        self.head.unmap();
        self.window.unmap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_appended_is_in_the_file() {
        let path = std::env::temp_dir().join(format!("odograph-append-{}", std::process::id()));
        let mut file = AppendFile::create(&path).unwrap();
        let mut expected = Vec::new();
        for round in 0u32..9000 {
            let piece: Vec<u8> = (0..round % 97).map(|at| (at + round) as u8).collect();
            file.append(&piece).unwrap();
            expected.extend_from_slice(&piece);
        }
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert_eq!(length, expected.len() as u64);
        assert_eq!(length, file.length());
        assert!(bytes[8..8 + expected.len()] == expected[..]);
    }
}
