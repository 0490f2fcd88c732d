//! Threads of a live process, stopped while they are looked at.
//!
//! A thread is seized and interrupted, which no program can notice but by the time that passes. The kernel lets it go when
//! the holder ends, whatever ends it. All requests must come from the thread that holds (ptrace(2)).

use std::ffi::c_void;
use std::io;
use std::ptr;
use std::time::{Duration, Instant};

use crate::system::last_error;

/// A thread that waits for a device longer than this is given up.
const PATIENCE: Duration = Duration::from_secs(5);
/// `NT_PRSTATUS`: the general registers.
const GENERAL: usize = 1;

/// A thread that is held.
#[derive(Clone, Copy, Debug)]
pub struct StoppedThread {
    tid: i32,
    /// A signal that was on its way to it.
    signal: i32,
}

fn request(kind: libc::c_uint, tid: i32, data: usize) -> io::Result<()> {
    // SAFETY: none of the requests made through here lets the kernel write to our memory.
    let result = unsafe { libc::ptrace(kind, tid, ptr::null_mut::<c_void>(), data as *mut c_void) };
    if result < 0 {
        return Err(last_error());
    }
    Ok(())
}

/// Stops a thread where it is. Fails if it is gone, may not be traced, or is traced already.
pub fn stop(tid: i32) -> io::Result<StoppedThread> {
    request(libc::PTRACE_SEIZE, tid, 0)?;
    request(libc::PTRACE_INTERRUPT, tid, 0)?;
    let start = Instant::now();
    loop {
        let mut status = 0;
        // SAFETY: a place for the status of a thread that we trace.
        let found = unsafe { libc::waitpid(tid, &mut status, libc::__WALL | libc::WNOHANG) };
        if found < 0 {
            return Err(last_error());
        }
        if found == tid {
            if !libc::WIFSTOPPED(status) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            let event = status >> 16 & 0xff;
            let signal = if event == 0 { libc::WSTOPSIG(status) } else { 0 };
            return Ok(StoppedThread { tid, signal });
        }
        if start.elapsed() > PATIENCE {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the thread did not stop within 5 s"));
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

impl StoppedThread {
    /// Its general registers, in the order of the kernel's `struct user_regs_struct`.
    pub fn registers(&self) -> io::Result<Vec<u64>> {
        let mut words = vec![0u64; 64];
        let mut place = libc::iovec { iov_base: words.as_mut_ptr().cast(), iov_len: words.len() * 8 };
        // SAFETY: the kernel writes at most `iov_len` bytes to `words`, and the length it wrote to `place`.
        let result = unsafe {
            libc::ptrace(libc::PTRACE_GETREGSET, self.tid, GENERAL as *mut c_void, ptr::from_mut(&mut place))
        };
        if result < 0 {
            return Err(last_error());
        }
        words.truncate(place.iov_len / 8);
        Ok(words)
    }

    /// Lets the thread go on.
    pub fn release(self) -> io::Result<()> {
        request(libc::PTRACE_DETACH, self.tid, self.signal as usize)
    }
}
