//! SIGTRAP as a stepped program sees it.
//!
//! Steps end in SIGTRAPs that the kernel forces on the thread: where the program blocks or ignores that
//! signal, the kernel gives it its default action and unblocks it, for good. So while a thread is stepped
//! the kernel must not know that the signal is blocked. The mask is the program's again for everything
//! that looks at it: system calls, the frames of signal handlers, and traps of the program's own, which
//! then kill it as they would without us.

use std::io;

use super::trace;

const BIT: u64 = 1 << (libc::SIGTRAP - 1);

/// What the program has done about SIGTRAP in one thread.
#[derive(Debug)]
pub struct Trap {
    /// The program blocks the signal; only valid while `shown` is false.
    blocked: bool,
    /// The kernel's mask is the program's.
    shown: bool,
    /// The program itself has set the trap flag: each instruction traps.
    pub flag: bool,
    /// A signal that waits until the program unblocks it.
    held: Option<libc::siginfo_t>,
    /// A signal that was sent again, as it was.
    sent: Option<libc::siginfo_t>,
}

impl Trap {
    /// Of a thread that the kernel has just started.
    pub fn new() -> Trap {
        Trap { blocked: false, shown: true, flag: false, held: None, sent: None }
    }

    /// The kernel may have changed the mask: system calls and the start of a handler do that.
    pub fn mask_is_new(&mut self) {
        self.shown = true;
    }

    /// Gives the kernel the program's mask.
    pub fn show(&mut self, tid: i32) -> io::Result<()> {
        if !self.shown && self.blocked {
            trace::set_mask(tid, trace::mask(tid)? | BIT)?;
        }
        self.shown = true;
        Ok(())
    }

    /// Lets steps through.
    pub fn hide(&mut self, tid: i32) -> io::Result<()> {
        if self.shown {
            let mask = trace::mask(tid)?;
            self.blocked = mask & BIT != 0;
            if self.blocked {
                trace::set_mask(tid, mask & !BIT)?;
            }
            self.shown = false;
        }
        Ok(())
    }

    /// True if a signal that was sent would not have been delivered now; keeps it.
    pub fn hold(&mut self, information: &libc::siginfo_t) -> bool {
        let hold = self.blocked && !self.shown;
        if hold && self.held.is_none() {
            self.held = Some(self.original(information).unwrap_or(*information));
        }
        hold
    }

    /// Sends a signal that was held, once the mask is shown: system calls may ask for it.
    pub fn send_again(&mut self, pid: i32, tid: i32) {
        if let Some(held) = self.held.take() {
            // A program may not claim that the kernel sends a signal.
            let mut again = held;
            again.si_code = libc::SI_QUEUE;
            trace::queue(pid, tid, libc::SIGTRAP, &again);
            self.sent = Some(held);
        }
    }

    /// What the signal was when it came first.
    pub fn original(&mut self, information: &libc::siginfo_t) -> Option<libc::siginfo_t> {
        let sent = self.sent?;
        // SAFETY: both were sent by a process, whose number and user stand there.
        let same = unsafe { sent.si_pid() == information.si_pid() && sent.si_uid() == information.si_uid() };
        if information.si_code != libc::SI_QUEUE || !same {
            return None;
        }
        self.sent = None;
        Some(sent)
    }
}

/// What a process has done about SIGTRAP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disposition {
    /// The signal is ignored, which the kernel has forgotten after the first step.
    pub ignored: bool,
    /// The action that a system call is about to set.
    next: Option<u64>,
}

impl Disposition {
    /// Of a process that has just started its program and ignores what it did before.
    pub fn inherited(pid: i32) -> Disposition {
        Disposition { ignored: trace::signals(pid, "SigIgn") & BIT != 0, next: None }
    }

    /// Process `pid` begins a system call.
    pub fn begin(&mut self, pid: i32, call: &trace::Syscall) {
        if is_about_trap(call) {
            let [_, action, _] = call.arguments;
            self.next = (action != 0).then(|| trace::word(pid, action)).flatten();
        }
    }

    /// The call that began with these arguments has ended.
    pub fn end(&mut self, pid: i32, call: &trace::Syscall) {
        if !is_about_trap(call) {
            return;
        }
        let next = self.next.take();
        if call.result != 0 {
            return;
        }
        let [_, _, old] = call.arguments;
        if old != 0 && self.ignored {
            trace::write(pid, old, &(libc::SIG_IGN as u64).to_le_bytes());
        }
        if let Some(handler) = next {
            self.ignored = handler == libc::SIG_IGN as u64;
        }
    }
}

fn is_about_trap(call: &trace::Syscall) -> bool {
    call.number == libc::SYS_rt_sigaction && call.arguments[0] == libc::SIGTRAP as u64
}
