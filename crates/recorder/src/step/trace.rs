//! The ptrace requests that are used.

use std::ffi::{c_void, CString};
use std::io;
use std::ptr;

use super::relay;
use crate::system::last_error;

/// Starts `path` as a child that is traced from its exec on, with the signals `blocked` blocked.
pub fn start(
    path: &CString,
    arguments: &[CString],
    environment: &[CString],
    blocked: Option<&libc::sigset_t>,
) -> io::Result<i32> {
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
            relay::begin_program(blocked);
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
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_TRACESYSGOOD;
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

/// Lets a thread run up to the begin or the end of a system call, or a signal.
pub fn run_syscall(tid: i32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_SYSCALL, tid, signal as u64)
}

/// Lets a thread run until something happens to it.
pub fn resume(tid: i32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_CONT, tid, signal as u64)
}

/// Has a thread stop again as soon as it is let go, before it runs an instruction.
pub fn interrupt(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT, tid, 0)
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

/// What a thread is stopped by.
pub fn information(tid: i32) -> io::Result<libc::siginfo_t> {
    // SAFETY: zero bytes are a valid siginfo.
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one siginfo.
    let result =
        unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, tid, ptr::null_mut::<c_void>(), &mut information) };
    if result < 0 {
        return Err(last_error());
    }
    Ok(information)
}

/// Changes what a handler is told of the signal that a thread is stopped by.
pub fn set_information(tid: i32, information: &libc::siginfo_t) -> io::Result<()> {
    request(libc::PTRACE_SETSIGINFO, tid, ptr::from_ref(information) as u64)
}

/// True if a system call has ended, false if it begins, `None` if the kernel does not tell.
pub fn syscall_has_ended(tid: i32) -> Option<bool> {
    const GET_SYSCALL_INFO: libc::c_uint = 0x420e;
    let mut first = [0u8; 8];
    // SAFETY: the kernel writes at most as many bytes as it is told there are.
    let size = unsafe { libc::ptrace(GET_SYSCALL_INFO, tid, first.len(), first.as_mut_ptr()) };
    match first[0] {
        1 if size > 0 => Some(false),
        2 if size > 0 => Some(true),
        _ => None,
    }
}

/// The signals that a thread blocks, one bit each, the lowest for signal 1.
pub fn mask(tid: i32) -> io::Result<u64> {
    let mut mask = 0u64;
    // SAFETY: the kernel writes eight bytes.
    let result = unsafe { libc::ptrace(libc::PTRACE_GETSIGMASK, tid, 8usize, &mut mask) };
    if result < 0 {
        return Err(last_error());
    }
    Ok(mask)
}

/// Changes the signals that a thread blocks.
pub fn set_mask(tid: i32, mask: u64) -> io::Result<()> {
    // SAFETY: the kernel reads eight bytes.
    let result = unsafe { libc::ptrace(libc::PTRACE_SETSIGMASK, tid, 8usize, &mask) };
    if result < 0 {
        return Err(last_error());
    }
    Ok(())
}

/// A set of signals of a process, by its name in the proc file, as in [`mask`].
pub fn signals(tid: i32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}

/// Up to `size` bytes of a process: fewer or none where memory cannot be read.
pub fn read(pid: i32, address: u64, size: usize) -> Vec<u8> {
    const PAGE: u64 = 4096;
    let one = |address: u64, size: usize| {
        let mut bytes = vec![0u8; size];
        let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: size };
        let remote = libc::iovec { iov_base: address as *mut c_void, iov_len: size };
        // SAFETY: `local` describes `bytes`; the other side is the traced process's memory, which the kernel checks.
        let got = unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) };
        bytes.truncate(usize::try_from(got).unwrap_or(0));
        bytes
    };
    let whole = one(address, size);
    if whole.len() == size {
        return whole;
    }
    let room = (PAGE - address % PAGE) as usize;
    one(address, size.min(room))
}

/// The word at an address of a process.
pub fn word(pid: i32, address: u64) -> Option<u64> {
    read(pid, address, 8).try_into().ok().map(u64::from_le_bytes)
}

/// Changes memory of a process that the process itself could change.
pub fn write(pid: i32, address: u64, bytes: &[u8]) {
    let local = libc::iovec { iov_base: bytes.as_ptr() as *mut c_void, iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut c_void, iov_len: bytes.len() };
    // SAFETY: the bytes are only read; the other side is the traced process's memory, which the kernel checks.
    unsafe { libc::process_vm_writev(pid, &local, 1, &remote, 1, 0) };
}

/// Sends a signal to a thread with this information about it.
pub fn queue(pid: i32, tid: i32, signal: i32, information: &libc::siginfo_t) {
    // SAFETY: the kernel reads one siginfo. A thread that is gone needs no signal.
    unsafe { libc::syscall(libc::SYS_rt_tgsigqueueinfo, pid, tid, signal, ptr::from_ref(information)) };
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

/// Flags of the processor. The trap flag is only seen where the program itself has set it.
pub fn flags(tid: i32) -> io::Result<u64> {
    register(tid, 18 * 8)
}

/// A system call that begins or has ended.
#[derive(Clone, Copy, Debug)]
pub struct Syscall {
    /// Its number.
    pub number: i64,
    /// The first three arguments.
    pub arguments: [u64; 3],
    /// What it has returned.
    pub result: i64,
}

/// The system call that a thread has begun or ended.
pub fn syscall(tid: i32) -> io::Result<Syscall> {
    Ok(Syscall {
        number: register(tid, 15 * 8)? as i64,
        arguments: [register(tid, 14 * 8)?, register(tid, 13 * 8)?, register(tid, 12 * 8)?],
        result: register(tid, 10 * 8)? as i64,
    })
}
