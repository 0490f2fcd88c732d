//! Recording by single steps: nothing has to be installed, and everything is slow.
//!
//! Each instruction is a block of its own. A stop of a thread says that the block that was running
//! has led to the address where it stopped, exactly as the start of the next block does under QEMU.

mod kind;
mod memory;
mod pointers;
mod relay;
mod thread;
mod trace;
mod tracer;
mod trap;

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tracer::Tracer;

/// Runs an ELF file with these arguments (the zeroth included) and environment, records it and its
/// children into the directory `spool`, and returns its exit status, or 128 + the signal that killed it.
///
/// The calling process must have no other children: this function waits for all of them. The program starts with
/// the signals `blocked` blocked, or with those that are blocked now. SIGINT, SIGQUIT, SIGTERM and SIGHUP no longer end
/// the calling process: see [`relay`]. The caller may block them until then, so that none is lost.
pub fn run(
    spool: &Path,
    program: &Path,
    arguments: &[Vec<u8>],
    environment: &[Vec<u8>],
    blocked: Option<&[i32]>,
) -> io::Result<i32> {
    let invalid = |_| io::Error::from_raw_os_error(libc::EINVAL);
    let path = CString::new(program.as_os_str().as_bytes()).map_err(invalid)?;
    let strings = |words: &[Vec<u8>]| {
        words.iter().map(|word| CString::new(word.as_slice())).collect::<Result<Vec<_>, _>>().map_err(invalid)
    };
    let blocked = blocked.map(relay::set);
    let first = trace::start(&path, &strings(arguments)?, &strings(environment)?, blocked.as_ref())?;
    relay::begin(first)?;
    Tracer::new(spool, first).run()
}
