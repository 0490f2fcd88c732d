//! The few questions asked of the operating system.

use std::io;

/// Time of the monotonic clock in ns. This is what TSC packets hold: the emulated time stamp counter
/// runs at 1 GHz and perf's time is the same number.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Process id.
pub fn pid() -> i32 {
    // SAFETY: has no preconditions.
    unsafe { libc::getpid() }
}

/// Thread id.
pub fn tid() -> i32 {
    // SAFETY: has no preconditions.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// Number of the file behind a descriptor; `None` if there is none.
pub fn inode(descriptor: libc::c_int) -> Option<u64> {
    // SAFETY: zero bytes are a valid stat.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: a place for the answer.
    (unsafe { libc::fstat(descriptor, &mut stat) } == 0).then_some(stat.st_ino)
}

/// True if a descriptor is the memory of a process as a file: `/proc/PID/mem`, opened by any name.
pub fn is_memory_file(descriptor: libc::c_int) -> bool {
    // SAFETY: zero bytes are a valid statfs.
    let mut system: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: a place for the answer.
    let known = unsafe { libc::fstatfs(descriptor, &mut system) } == 0;
    known
        && system.f_type == libc::PROC_SUPER_MAGIC
        && std::fs::read_link(format!("/proc/self/fd/{descriptor}")).is_ok_and(|path| path.ends_with("mem"))
}

/// Up to `size` bytes of this process at `address`: fewer or none where memory is not mapped, and never a fault.
pub fn peek(address: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; size];
    let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: size };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: size };
    // SAFETY: `local` describes `bytes`; the kernel checks the other side and answers with an error or a short count.
    let got = unsafe { libc::process_vm_readv(pid(), &local, 1, &remote, 1, 0) };
    bytes.truncate(usize::try_from(got).unwrap_or(0));
    bytes
}

/// The u64 at `address` of this process, if it is mapped.
pub fn peek_word(address: u64) -> Option<u64> {
    peek(address, 8).try_into().ok().map(u64::from_le_bytes)
}

/// The string that ends with a zero byte at `address` of this process. `None` if it runs into
/// unmapped memory or is longer than `limit`.
pub fn peek_string(address: u64, limit: usize) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let mut at = address;
    while text.len() <= limit {
        let room = 0x1000 - (at & 0xfff) as usize;
        let part = peek(at, room);
        if part.is_empty() {
            return None;
        }
        if let Some(end) = part.iter().position(|byte| *byte == 0) {
            text.extend_from_slice(part.get(..end)?);
            return (text.len() <= limit).then_some(text);
        }
        if part.len() < room {
            return None;
        }
        text.extend_from_slice(&part);
        at = at.checked_add(room as u64)?;
    }
    None
}

/// The last error of the C library.
pub fn last_error() -> io::Error {
    io::Error::last_os_error()
}
