//! Programs that have no path: executed by a descriptor (fexecve), in memory (memfd), or deleted.
//!
//! QEMU opens the program it is to run by a path, after the exec that starts QEMU has closed descriptors
//! that are to be closed. So such a program gets a descriptor with a high number that stays open over
//! the exec, and QEMU finds it below `/proc/self/fd`. It stays open for as long as the program
//! runs, which may want to open its own `/proc/self/exe`, and is not inherited by what that executes.

use std::ffi::{c_int, CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::mapped::ReadOnly;
use crate::system::{last_error, pid};

/// How far below the limit of descriptors ours are.
const BELOW_LIMIT: u64 = 64;

/// A path to a program, and the descriptor that it needs.
#[derive(Debug)]
pub struct Reachable {
    /// Leads to the program, also after an exec.
    pub path: PathBuf,
    /// Closes the descriptor where there was no exec.
    _kept: Option<OwnedFd>,
}

impl Reachable {
    /// A program that is found by its path.
    pub fn plain(path: PathBuf) -> Reachable {
        Reachable { path, _kept: None }
    }
}

/// The descriptor that a path names by its number, if that is all it does.
pub fn number(path: &Path) -> Option<c_int> {
    let text = path.to_str()?;
    let own = format!("/proc/{}/fd/", pid());
    let prefixes = ["/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/", own.as_str()];
    prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)?.parse().ok())
}

/// True if an exec closes the descriptor.
pub fn closes_on_exec(descriptor: c_int) -> bool {
    // SAFETY: asks for flags of a descriptor, which need not exist.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC != 0
}

/// A path that still leads to the program at `path` after an exec.
pub fn reach(path: &Path) -> io::Result<Reachable> {
    let Some(descriptor) = number(path) else { return Ok(Reachable::plain(path.to_owned())) };
    if let (Ok(link), Ok(file)) = (fs::read_link(path), fs::metadata(path)) {
        if fs::metadata(&link).is_ok_and(|found| (found.dev(), found.ino()) == (file.dev(), file.ino())) {
            return Ok(Reachable::plain(link));
        }
    }
    keep(descriptor)
}

/// The program whose file was `path` when it started, and of which `content` is a mapping.
pub fn reach_again(path: &Path, content: Option<&ReadOnly>) -> io::Result<Reachable> {
    let Some(content) = content else { return reach(path) };
    if fs::metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == content.file) {
        return reach(path);
    }
    // SAFETY: a C string and a flag; the result is checked.
    let descriptor = unsafe { libc::memfd_create(short_name(path).as_ptr(), libc::MFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(last_error());
    }
    // SAFETY: it is new and only this code knows it.
    let file = unsafe { File::from_raw_fd(descriptor) };
    content.copy_to(|bytes, at| file.write_all_at(bytes, at))?;
    keep(file.as_raw_fd())
}

fn short_name(path: &Path) -> CString {
    let name = path.file_name().unwrap_or(OsStr::new("program")).as_bytes();
    CString::new(name.get(..200).unwrap_or(name)).unwrap_or_default()
}

/// A copy of a descriptor with a high number that an exec does not close.
fn keep(descriptor: c_int) -> io::Result<Reachable> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a place for the answer.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    let high = c_int::try_from(limit.rlim_cur.saturating_sub(BELOW_LIMIT).min(1 << 16)).unwrap_or(0);
    for least in [high, 3] {
        // SAFETY: makes a new descriptor or fails.
        let kept = unsafe { libc::fcntl(descriptor, libc::F_DUPFD, least) };
        if kept >= 0 {
            // SAFETY: it is new and only this code knows it.
            let owned = unsafe { OwnedFd::from_raw_fd(kept) };
            return Ok(Reachable { path: format!("/proc/self/fd/{kept}").into(), _kept: Some(owned) });
        }
    }
    Err(last_error())
}

/// The program at `path` has been found by the one who runs it now: what it executes does not inherit its descriptor.
pub fn found(path: &Path) {
    if let Some(descriptor) = number(path) {
        // SAFETY: sets a flag of a descriptor that was made for this process.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// The name of a program in the file `path`, as far as there is one.
pub fn name(path: &Path) -> Vec<u8> {
    let link = number(path).and_then(|_| fs::read_link(path).ok());
    let path = link.as_deref().unwrap_or(path);
    let name = path.file_name().unwrap_or(OsStr::new("?")).as_bytes();
    name.strip_suffix(b" (deleted)").unwrap_or(name).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_in_memory_gets_a_descriptor_that_stays() {
        // SAFETY: a C string and a flag.
        let memory = unsafe { File::from_raw_fd(libc::memfd_create(c"stays".as_ptr(), libc::MFD_CLOEXEC)) };
        let path = PathBuf::from(format!("/proc/self/fd/{}", memory.as_raw_fd()));
        assert_eq!(name(&path), b"memfd:stays");
        let reached = reach(&path).unwrap();
        let kept = number(&reached.path).unwrap();
        assert!(kept > memory.as_raw_fd() && !closes_on_exec(kept) && closes_on_exec(memory.as_raw_fd()));
        found(&reached.path);
        assert!(closes_on_exec(kept));
        drop(reached);
        // Another test may have been given the number since.
        let now = fs::read_link(format!("/proc/self/fd/{kept}"));
        assert!(!now.is_ok_and(|file| file.to_string_lossy().contains("memfd:stays")));
    }

    #[test]
    fn a_program_with_a_path_is_reached_by_it() {
        let file = File::open("/bin/sh").unwrap();
        let path = PathBuf::from(format!("/dev/fd/{}", file.as_raw_fd()));
        assert_eq!(reach(&path).unwrap().path, fs::canonicalize("/bin/sh").unwrap());
        assert_eq!(reach(Path::new("/bin/sh")).unwrap().path, Path::new("/bin/sh"));
    }

    #[test]
    fn a_program_that_was_deleted_is_made_again() {
        let path = std::env::temp_dir().join(format!("odograph-deleted-{}", pid()));
        fs::write(&path, b"content").unwrap();
        let content = ReadOnly::map(&path).unwrap();
        assert_eq!(reach_again(&path, Some(&content)).unwrap().path, path);
        fs::remove_file(&path).unwrap();
        let reached = reach_again(&path, Some(&content)).unwrap();
        assert_eq!(fs::read(&reached.path).unwrap(), b"content");
    }

    #[test]
    fn only_paths_of_descriptors_have_a_number() {
        assert_eq!(number(Path::new("/dev/fd/7")), Some(7));
        assert_eq!(number(Path::new(&format!("/proc/{}/fd/12", pid()))), Some(12));
        assert_eq!(number(Path::new("/proc/self/fd/7/x")), None);
        assert_eq!(number(Path::new("/proc/self/exe")), None);
    }
}
