//! The ptrace requests that are used.

use std::ffi::{c_void, CString};
use std::io;
use std::ptr;

use crate::system::last_error;

/// Starts `path` as a child that is traced from its exec on.
pub fn start(path: &CString, arguments: &[CString], environment: &[CString]) -> io::Result<i32> {
    let pointers = |words: &[CString]| {
        words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect::<Vec<*const libc::c_char>>()
    };
    let (argv, envp) = (pointers(arguments), pointers(environment));
    // SAFETY: the child makes nothing but async-signal-safe calls before it execs or exits.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: plain system calls; the arrays of C strings end in null pointers and were copied by fork.
        unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
            libc::raise(libc::SIGSTOP);
            libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr());
            libc::_exit(126);
        }
    }
    if child < 0 {
        return Err(last_error());
    }
    let mut status = 0;
    // SAFETY: our child and a place for its status.
    if unsafe { libc::waitpid(child, &mut status, libc::WUNTRACED) } != child || !libc::WIFSTOPPED(status) {
        return Err(io::Error::other("the child did not stop"));
    }
    let options = libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC;
    let seized = request(libc::PTRACE_SEIZE, child, options as u64);
    // SAFETY: signals for our own child.
    unsafe {
        match seized {
            Ok(()) => libc::kill(child, libc::SIGCONT),
            Err(_) => libc::kill(child, libc::SIGKILL),
        };
    }
    seized.map(|()| child)
}

fn request(kind: libc::c_uint, tid: i32, data: u64) -> io::Result<()> {
    // SAFETY: none of the requests made through here lets the kernel write to our memory.
    let result = unsafe { libc::ptrace(kind, tid, ptr::null_mut::<c_void>(), data as *mut c_void) };
    if result < 0 {
        return Err(last_error());
    }
    Ok(())
}

/// Lets a thread run one instruction, with a signal or 0.
pub fn step(tid: i32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_SINGLESTEP, tid, signal as u64)
}

/// Lets a thread run until something happens to it.
pub fn resume(tid: i32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_CONT, tid, signal as u64)
}

/// Leaves a thread stopped as job control wants it.
pub fn listen(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_LISTEN, tid, 0)
}

/// Lets a thread go untraced.
pub fn detach(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_DETACH, tid, 0)
}

/// The number that comes with an event: the new thread's, or who called exec.
pub fn message(tid: i32) -> io::Result<u64> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the kernel writes one long to `message`.
    let result =
        unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, tid, ptr::null_mut::<c_void>(), &mut message) };
    if result < 0 {
        return Err(last_error());
    }
    Ok(message)
}

/// Number and code of the signal a thread is stopped by.
pub fn signal(tid: i32) -> io::Result<(i32, i32)> {
    // SAFETY: zero bytes are a valid siginfo.
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one siginfo.
    let result =
        unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, tid, ptr::null_mut::<c_void>(), &mut information) };
    if result < 0 {
        return Err(last_error());
    }
    Ok((information.si_signo, information.si_code))
}

fn register(tid: i32, offset: usize) -> io::Result<u64> {
    // SAFETY: errno of this thread.
    unsafe { *libc::__errno_location() = 0 };
    // SAFETY: reads one word of the traced thread's registers.
    let value =
        unsafe { libc::ptrace(libc::PTRACE_PEEKUSER, tid, offset as *mut c_void, ptr::null_mut::<c_void>()) };
    let error = last_error();
    if value == -1 && error.raw_os_error() != Some(0) {
        return Err(error);
    }
    Ok(value as u64)
}

/// Instruction pointer.
pub fn ip(tid: i32) -> io::Result<u64> {
    register(tid, 16 * 8)
}

/// Stack pointer.
pub fn stack_pointer(tid: i32) -> io::Result<u64> {
    register(tid, 19 * 8)
}

/// Number of the system call that was made last.
pub fn syscall(tid: i32) -> io::Result<i64> {
    register(tid, 15 * 8).map(|number| number as i64)
}
