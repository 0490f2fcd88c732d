//! Signals for the recorder itself.
//!
//! What a terminal or a shell sends to a process group reaches the program, the process that steps it, and the
//! process that started both. The stepping process ignores it and goes on: the program decides what it means.
//! The process that started both passes on what was sent to it alone. The stepping process gives that to the
//! program.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::system::last_error;

/// Signals that are meant for the program.
const ALL: [i32; 4] = [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP];
/// Those that may have been sent to one process instead of a group.
const PASSED_ON: [i32; 2] = [libc::SIGTERM, libc::SIGHUP];

/// Where they go, and who passes them on.
static PROGRAM: AtomicI32 = AtomicI32::new(0);
static STARTER: AtomicI32 = AtomicI32::new(0);

/// A set of signals. Numbers that are no signals are left out.
pub fn set(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset makes it a set; sigaddset only changes that.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

/// Gives a forked child the dispositions that its program has when a shell starts it, and then the mask
/// `blocked` (`None`: the one it has). Calls async-signal-safe functions only.
pub fn begin_program(blocked: Option<&libc::sigset_t>) {
    for signal in ALL {
        if !is_ignored(signal) {
            dispose(signal, libc::SIG_DFL);
        }
    }
    if let Some(blocked) = blocked {
        // SAFETY: a valid set, and no place for the old one.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, blocked, ptr::null_mut()) };
    }
}

/// From now on signals of the group leave this process alone, and those that are passed on go to `program`.
/// What came while it was started, and was blocked, goes there first. So does what this process was started to
/// ignore: the program ignores it as well until it installs a handler, and must not miss it after that.
pub fn begin(program: i32) -> io::Result<()> {
    // SAFETY: has no preconditions.
    STARTER.store(unsafe { libc::getppid() }, Ordering::Relaxed);
    PROGRAM.store(program, Ordering::Relaxed);
    let mut pending = set(&[]);
    // SAFETY: a place for the answer.
    if unsafe { libc::sigpending(&mut pending) } != 0 {
        return Err(last_error());
    }
    for signal in ALL {
        // This drops the one that waits.
        dispose(signal, libc::SIG_IGN);
        // SAFETY: a valid set.
        if unsafe { libc::sigismember(&pending, signal) } == 1 {
            // SAFETY: a signal for our own child.
            unsafe { libc::kill(program, signal) };
        }
        if PASSED_ON.contains(&signal) {
            pass_on(signal);
        }
    }
    // SAFETY: a valid set, and no place for the old one.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &set(&ALL), ptr::null_mut()) };
    Ok(())
}

fn is_ignored(signal: i32) -> bool {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a place for the answer; zero bytes are a valid sigaction.
    unsafe {
        libc::sigaction(signal, ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

fn dispose(signal: i32, what: libc::sighandler_t) {
    // SAFETY: either of the two dispositions that are not functions.
    unsafe { libc::signal(signal, what) };
}

fn pass_on(signal: i32) {
    // SAFETY: zero bytes are a valid sigaction; the handler makes only calls that are async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = passed as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigaction(signal, &action, ptr::null_mut());
    }
}

unsafe extern "C" fn passed(signal: i32, information: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel hands a handler of this kind a valid siginfo.
    let (code, sender) = unsafe { ((*information).si_code, (*information).si_pid()) };
    if code == libc::SI_USER && sender == STARTER.load(Ordering::Relaxed) {
        // SAFETY: a signal for our own child, which is there or waits to be asked for its status.
        unsafe { libc::kill(PROGRAM.load(Ordering::Relaxed), signal) };
    }
}
