//! The loop that steps every thread of a program and follows its forks, threads and execs.
//!
//! This file is long because it holds one loop over the stops of traced threads, and a case for each kind of stop.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::kind::Kind;
use super::memory::{Memory, Next};
use super::pointers::Pointers;
use super::thread::Thread;
use super::trace;
use super::trap::Disposition;
use crate::block::{Block, Leave};
use crate::mappings;
use crate::process::{mark_lost, Origin, Process};
use crate::stream::Stream;
use crate::system::last_error;

/// How long processes may go on that the program leaves behind.
const GRACE: Duration = Duration::from_millis(500);
/// `si_code` of a completed single step.
const TRAP_TRACE: i32 = 2;
/// `si_code` where stepping comes out of a system call.
const TRAP_BRKPT: i32 = 1;
/// The trap flag of the processor.
const TRAP_FLAG: u64 = 1 << 8;
/// Where a signal's frame keeps the flags, from the stack pointer of the handler's start.
const FRAME_FLAGS: u64 = 8 + 40 + 17 * 8;
/// How a stop at the begin or end of a system call differs from other traps.
const SYSCALL_STOP: i32 = libc::SIGTRAP | 0x80;
/// Results of a system call that a signal has interrupted and that is made again unless a handler runs.
const RESTARTS: std::ops::RangeInclusive<i64> = -516..=-512;

struct Stepped {
    process: Process,
    memory: Memory,
    trap: Disposition,
    epoch: u64,
}

/// Everything that is being traced.
pub struct Tracer {
    spool: PathBuf,
    first: i32,
    off: &'static Block,
    processes: HashMap<i32, Stepped>,
    threads: HashMap<i32, Thread>,
    /// Who made a thread, by its number.
    parents: HashMap<i32, i32>,
    /// Count and hash of threads that ended, for one with the same number.
    ended: HashMap<i32, (u64, u64)>,
    /// New threads that are stopped until the one that made them tells of it.
    early: Vec<i32>,
    complained: bool,
    pointers: Option<Pointers>,
    /// Some processes share their memory.
    sharing: bool,
}

impl Tracer {
    /// Traces `first`, which has not yet executed its program, and what it starts.
    pub fn new(spool: &Path, first: i32) -> Tracer {
        Tracer {
            spool: spool.to_owned(),
            first,
            off: Box::leak(Box::new(Block::off())),
            processes: HashMap::new(),
            threads: HashMap::new(),
            parents: HashMap::new(),
            ended: HashMap::new(),
            early: Vec::new(),
            complained: false,
            pointers: Pointers::wanted(),
            sharing: false,
        }
    }

    /// Until the program has ended; its status as a shell gives it.
    pub fn run(mut self) -> io::Result<i32> {
        let mut result = None;
        let mut deadline = None;
        loop {
            let mut status = 0;
            let flags = libc::__WALL | if result.is_some() { libc::WNOHANG } else { 0 };
            // SAFETY: a place for the status.
            let tid = unsafe { libc::waitpid(-1, &mut status, flags) };
            if tid < 0 {
                match last_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => continue,
                    error => return result.ok_or(error),
                }
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.leave_behind(tid);
                return result.ok_or_else(|| io::ErrorKind::TimedOut.into());
            }
            if tid == 0 {
                std::thread::sleep(Duration::from_millis(1));
            } else if libc::WIFSTOPPED(status) {
                // A thread that was killed meanwhile cannot be asked; its end is reported next.
                match self.stopped(tid, status) {
                    Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(error),
                    _ => {}
                }
            } else {
                // A thread that ends reports no new threads any more.
                self.begin_early()?;
                self.ended(tid, status);
                if tid == self.first {
                    result = Some(if libc::WIFSIGNALED(status) {
                        128 + libc::WTERMSIG(status)
                    } else {
                        libc::WEXITSTATUS(status)
                    });
                    deadline = Some(Instant::now() + GRACE);
                }
            }
        }
    }

    fn leave_behind(&mut self, stopped: i32) {
        for (tid, thread) in &mut self.threads {
            if let Some(stepped) = self.processes.get_mut(&thread.pid) {
                let text = format!("process {} was still running when the recording ended", thread.pid);
                // The recording ends here; a full disk cannot make it worse.
                drop(stepped.process.gap(*tid, "running", &text));
            }
        }
        if stopped > 0 {
            drop(trace::detach(stopped));
        }
    }

    fn stopped(&mut self, tid: i32, status: i32) -> io::Result<()> {
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            libc::PTRACE_EVENT_EXEC => {
                self.begin_early()?;
                self.exec(tid);
                self.arrive(tid, trace::ip(tid)?)?;
                // Comes out of the call first; nothing runs yet.
                self.hide_mask(tid)?;
                trace::step(tid, 0)
            }
            event @ (libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE) => {
                let child = trace::message(tid)? as i32;
                self.parents.insert(child, tid);
                self.sharing |= event == libc::PTRACE_EVENT_VFORK;
                if self.processes.contains_key(&self.pid_of(tid)) {
                    self.begin_thread(child);
                }
                if let Some(at) = self.early.iter().position(|early| *early == child) {
                    self.early.swap_remove(at);
                    match self.resume_stopped(child) {
                        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(error),
                        _ => {}
                    }
                }
                self.go(tid, 0)
            }
            libc::PTRACE_EVENT_STOP if signal != libc::SIGTRAP => trace::listen(tid),
            libc::PTRACE_EVENT_STOP => {
                if self.is_early(tid) {
                    self.early.push(tid);
                    Ok(())
                } else if self.threads.contains_key(&tid) || !self.processes.is_empty() {
                    self.begin_thread(tid);
                    self.resume_stopped(tid)
                } else {
                    trace::resume(tid, 0)
                }
            }
            _ if !self.threads.contains_key(&tid) => {
                trace::resume(tid, if signal == libc::SIGSTOP { 0 } else { signal })
            }
            _ if signal == SYSCALL_STOP => self.at_syscall(tid),
            _ if signal == libc::SIGTRAP => self.trapped(tid),
            _ => self.signalled(tid, signal),
        }
    }

    /// A new thread, or one that job control lets go on.
    fn resume_stopped(&mut self, tid: i32) -> io::Result<()> {
        if self
            .threads
            .get(&tid)
            .is_some_and(|thread| thread.block().leave == Leave::Off && thread.signal.is_none())
        {
            // A thread of which nothing ran yet is at its first instruction.
            self.arrive(tid, trace::ip(tid)?)?;
        }
        self.go(tid, 0)
    }

    /// Lets a thread run the next instruction, with a signal or 0.
    fn go(&mut self, tid: i32, signal: i32) -> io::Result<()> {
        let Some(thread) = self.threads.get_mut(&tid) else { return trace::resume(tid, signal) };
        if signal != 0 && trace::signals(tid, "SigCgt") >> (signal - 1) & 1 != 0 {
            // The frame of the handler keeps the mask, and stepping stops where the handler begins.
            thread.trap.show(tid)?;
            return trace::step(tid, signal);
        }
        if thread.syscall.is_some() || thread.kind == Kind::Syscall {
            thread.trap.show(tid)?;
            thread.trap.send_again(thread.pid, tid);
            return trace::run_syscall(tid, signal);
        }
        if thread.kind == Kind::Trap || thread.trap.flag {
            thread.trap.show(tid)?;
        } else {
            thread.trap.hide(tid)?;
        }
        trace::step(tid, signal)
    }

    fn hide_mask(&mut self, tid: i32) -> io::Result<()> {
        self.threads.get_mut(&tid).map_or(Ok(()), |thread| thread.trap.hide(tid))
    }

    fn trapped(&mut self, tid: i32) -> io::Result<()> {
        let ip = trace::ip(tid)?;
        let information = trace::information(tid)?;
        let Some(thread) = self.threads.get_mut(&tid) else { return trace::resume(tid, 0) };
        let (before, kind) = (thread.block(), thread.kind);
        let interrupted = thread.signal.take();
        match information.si_code {
            // The kernel reports the start of a handler with the signal's number as code.
            libc::SIGTRAP if interrupted.is_some() => {
                thread.trap.mask_is_new();
                let traps = std::mem::take(&mut thread.trap.flag);
                keep_trap_flag(tid, trace::stack_pointer(tid)?.wrapping_add(FRAME_FLAGS), traps);
                self.handle(tid, interrupted.unwrap_or(ip), ip)
            }
            // A new thread or program comes out of the call that made it; nothing has run yet.
            TRAP_BRKPT if ip == before.start && kind != Kind::Trap => self.go(tid, 0),
            TRAP_TRACE | TRAP_BRKPT if kind != Kind::Trap => {
                let traps = thread.trap.flag;
                match kind {
                    Kind::SetFlags => thread.trap.flag = trace::flags(tid)? & TRAP_FLAG != 0,
                    Kind::PushFlags => keep_trap_flag(tid, trace::stack_pointer(tid)?, traps),
                    _ => {}
                }
                if traps {
                    return self.signalled(tid, libc::SIGTRAP);
                }
                self.arrive(tid, ip)?;
                if kind == Kind::SetFlags {
                    // The kernel now takes the flag of the next step for the program's, unless stepping begins anew.
                    trace::interrupt(tid)?;
                    return trace::resume(tid, 0);
                }
                self.go(tid, 0)
            }
            // Forced by what the program did: no mask and no disregard keeps it off.
            code if code > 0 => self.signalled(tid, libc::SIGTRAP),
            _ => self.sent_trap(tid, ip, &information),
        }
    }

    /// Another process sent SIGTRAP to a thread, which may have run its instruction as well.
    fn sent_trap(&mut self, tid: i32, ip: u64, information: &libc::siginfo_t) -> io::Result<()> {
        let Some(thread) = self.threads.get_mut(&tid) else { return trace::resume(tid, 0) };
        let ignored = self.processes.get(&thread.pid).is_some_and(|stepped| stepped.trap.ignored);
        if !thread.trap.hold(information) && !ignored {
            if let Some(original) = thread.trap.original(information) {
                trace::set_information(tid, &original)?;
            }
            return self.signalled(tid, libc::SIGTRAP);
        }
        if ip != thread.block().start && thread.kind != Kind::Syscall {
            self.arrive(tid, ip)?;
        }
        self.go(tid, 0)
    }

    /// A thread begins or ends a system call.
    fn at_syscall(&mut self, tid: i32) -> io::Result<()> {
        let call = trace::syscall(tid)?;
        let Some(thread) = self.threads.get_mut(&tid) else { return trace::resume(tid, 0) };
        let pid = thread.pid;
        thread.signal = None;
        if !trace::syscall_has_ended(tid).unwrap_or(thread.syscall.is_some()) {
            thread.syscall = Some(call);
            self.begin_syscall(pid, tid, &call);
            return trace::run_syscall(tid, 0);
        }
        thread.trap.mask_is_new();
        let Some(begun) = thread.syscall.take() else {
            // Out of the call that made this thread.
            return self.go(tid, 0);
        };
        let call = trace::Syscall { result: call.result, ..begun };
        if call.number == libc::SYS_rt_sigreturn {
            thread.trap.flag = trace::flags(tid)? & TRAP_FLAG != 0;
        }
        self.end_syscall(pid, tid, &call);
        if RESTARTS.contains(&call.result) && call.number != libc::SYS_rt_sigreturn {
            // A signal comes next, or the call again.
            return trace::run_syscall(tid, 0);
        }
        self.arrive(tid, trace::ip(tid)?)?;
        self.go(tid, 0)
    }

    fn begin_syscall(&mut self, pid: i32, tid: i32, call: &trace::Syscall) {
        if let Some(stepped) = self.processes.get_mut(&pid) {
            stepped.trap.begin(pid, call);
        }
        if mappings::changes(call.number) {
            for (other, stepped) in &mut self.processes {
                if *other == pid || self.sharing {
                    stepped.process.mappings_change(tid);
                }
            }
        }
    }

    fn end_syscall(&mut self, pid: i32, tid: i32, call: &trace::Syscall) {
        if let Some(stepped) = self.processes.get_mut(&pid) {
            stepped.trap.end(pid, call);
        }
        self.settle_mappings(tid);
    }

    /// What thread `tid` did to mappings is done.
    fn settle_mappings(&mut self, tid: i32) {
        for stepped in self.processes.values_mut() {
            stepped.process.mappings_changed(tid);
        }
    }

    /// A signal is about to be delivered to a stopped thread.
    fn signalled(&mut self, tid: i32, signal: i32) -> io::Result<()> {
        let ip = trace::ip(tid)?;
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.signal = Some(ip);
        }
        self.go(tid, signal)
    }

    fn handle(&mut self, tid: i32, interrupted: u64, ip: u64) -> io::Result<()> {
        if let Some(pointers) = &mut self.pointers {
            pointers.handle(tid, interrupted, ip)?;
        }
        let next = self.instruction(tid, ip);
        if let (Some(thread), Some(next)) = (self.threads.get_mut(&tid), next) {
            let epoch = self.processes.get(&thread.pid).map_or(0, |stepped| stepped.epoch);
            let result = thread.handle(interrupted, next.block, epoch);
            thread.kind = next.kind;
            self.survive(tid, result);
        }
        self.go(tid, 0)
    }

    /// `tid` is at `ip`, after the instruction that it was let run.
    fn arrive(&mut self, tid: i32, ip: u64) -> io::Result<()> {
        if let Some(pointers) = &mut self.pointers {
            pointers.arrive(tid, ip)?;
        }
        let next = self.instruction(tid, ip);
        let Some(thread) = self.threads.get_mut(&tid) else { return Ok(()) };
        let Some(next) = next else {
            // Nothing can be read here: the attempt to run it ends in a signal.
            thread.stop(ip);
            return Ok(());
        };
        let before = thread.block().start;
        let epoch = self.processes.get(&thread.pid).map_or(0, |stepped| stepped.epoch);
        thread.kind = next.kind;
        match thread.arrive(next.block, epoch) {
            Ok(true) => {}
            Ok(false) => self.gap(
                tid,
                "unexplained",
                &format!("control went from {before:#x} to {ip:#x} in an unknown way"),
            ),
            Err(error) => self.survive(tid, Err(error)),
        }
        Ok(())
    }

    /// A full disk ends the recording of a thread, not the thread, and not that it is counted.
    fn survive(&mut self, tid: i32, result: io::Result<()>) {
        let Err(error) = result else { return };
        if let Some(thread) = self.threads.get_mut(&tid) {
            let ip = thread.block().start;
            thread.stream.lose(ip);
            thread.stream.set_busy(false);
            self.complain(&error);
        }
    }

    /// Says once that a part of the recording is lost.
    fn complain(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.complained, true) {
            eprintln!("odograph: the program goes on, but is no longer recorded in full: {error}");
        }
    }

    fn gap(&mut self, tid: i32, reason: &str, text: &str) {
        if let Some(stepped) = self.processes.get_mut(&self.pid_of(tid)) {
            if stepped.process.gap(tid, reason, text).is_err() {
                stepped.process.mark_lost();
            }
        }
    }

    fn instruction(&mut self, tid: i32, ip: u64) -> Option<Next> {
        let pid = self.pid_of(tid);
        let stepped = self.processes.get_mut(&pid)?;
        let found = stepped.memory.instruction(&mut stepped.process, ip);
        if found.is_some_and(|next| next.changed) {
            stepped.epoch += 1;
        }
        found
    }

    fn pid_of(&self, tid: i32) -> i32 {
        self.threads.get(&tid).map_or(tid, |thread| thread.pid)
    }

    /// A thread exists; it may be the first of a forked process.
    fn begin_thread(&mut self, tid: i32) {
        if self.threads.contains_key(&tid) {
            return;
        }
        let pid = status(tid, "Tgid").unwrap_or(tid);
        let parent = self.parents.get(&tid).copied().unwrap_or_else(|| status(tid, "PPid").unwrap_or(pid));
        if !self.processes.contains_key(&pid) {
            let made = match self.processes.get(&self.pid_of(parent)) {
                Some(from) => from.process.child(pid, &comm(pid)).map(|process| Stepped {
                    process,
                    memory: from.memory.clone(),
                    trap: from.trap,
                    epoch: from.epoch,
                }),
                // Its parent was gone before it could tell of the child: all that is known of it is its own.
                None => Process::start(&self.spool, pid, parent, Origin::Exec, &comm(pid)).map(|process| {
                    Stepped {
                        process,
                        memory: Memory::default(),
                        trap: Disposition::inherited(pid),
                        epoch: 0,
                    }
                }),
            };
            match made {
                Ok(stepped) => drop(self.processes.insert(pid, stepped)),
                Err(error) => {
                    mark_lost(&self.spool, pid);
                    return self.complain(&error);
                }
            }
        }
        self.new_stream(pid, tid, if self.parents.contains_key(&tid) { parent } else { pid });
    }

    /// Threads that stopped before the one that made them told of it: they wait for that, so that it is known whose
    /// memory they have.
    fn begin_early(&mut self) -> io::Result<()> {
        for tid in std::mem::take(&mut self.early) {
            self.begin_thread(tid);
            match self.resume_stopped(tid) {
                Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// True if a new thread has to wait for the one that made it, which is still there to tell of it.
    fn is_early(&self, tid: i32) -> bool {
        if self.parents.contains_key(&tid) || self.threads.contains_key(&tid) {
            return false;
        }
        let pid = status(tid, "Tgid").unwrap_or(tid);
        let parent = if pid == tid { status(tid, "PPid") } else { Some(pid) };
        parent.is_some_and(|parent| self.processes.contains_key(&parent))
    }

    fn new_stream(&mut self, pid: i32, tid: i32, parent: i32) {
        let Some(stepped) = self.processes.get_mut(&pid) else { return };
        let (count, hash) = self.ended.remove(&tid).unwrap_or((0, 0));
        let path = stepped.process.thread(tid, parent);
        let stream = match path.and_then(|path| Stream::create(&path, tid, self.off, count, hash)) {
            Ok(stream) => stream,
            Err(error) => {
                mark_lost(&self.spool, tid);
                self.complain(&error);
                Stream::discard(tid, self.off)
            }
        };
        stream.epoch = self.processes.get(&pid).map_or(0, |stepped| stepped.epoch);
        self.threads.insert(tid, Thread::new(pid, stream, self.off));
    }

    /// Process `pid` runs another program now, in its only thread.
    fn exec(&mut self, pid: i32) {
        let gone: Vec<i32> =
            self.threads.iter().filter(|(_, one)| one.pid == pid).map(|(tid, _)| *tid).collect();
        for tid in gone {
            self.end_thread(tid);
        }
        let origin = if self.processes.is_empty() { Origin::First } else { Origin::Exec };
        let mut trap = Disposition::inherited(pid);
        trap.ignored |= self.processes.remove(&pid).is_some_and(|before| before.trap.ignored);
        match Process::start(&self.spool, pid, pid, origin, &comm(pid)) {
            Ok(process) => {
                self.processes.insert(pid, Stepped { process, memory: Memory::default(), trap, epoch: 0 });
                self.new_stream(pid, pid, pid);
            }
            Err(error) => {
                mark_lost(&self.spool, pid);
                self.complain(&error);
            }
        }
    }

    fn end_thread(&mut self, tid: i32) {
        let Some(mut thread) = self.threads.remove(&tid) else { return };
        self.settle_mappings(tid);
        thread.end();
        self.ended.insert(tid, (thread.stream.count, thread.stream.hash));
    }

    fn ended(&mut self, tid: i32, status: i32) {
        let Some(thread) = self.threads.get(&tid) else { return };
        let pid = thread.pid;
        let ip = thread.signal.unwrap_or(thread.block().start);
        self.end_thread(tid);
        if let Some(stepped) = self.processes.get_mut(&pid) {
            let killed = libc::WIFSIGNALED(status);
            let text = format!("{tid}\t{}\t{ip}", libc::WTERMSIG(status));
            let told = if killed { stepped.process.event("killed", &text) } else { Ok(()) };
            if told.and_then(|()| stepped.process.event("exit", &format!("{tid}"))).is_err() {
                stepped.process.mark_lost();
            }
        }
        if tid == pid {
            self.processes.remove(&pid);
        }
    }
}

/// The trap flag in the flags that were stored at `address` is the program's, not the one by which it is stepped.
fn keep_trap_flag(tid: i32, address: u64, traps: bool) {
    if let Ok(stored) = <[u8; 2]>::try_from(trace::read(tid, address, 2)) {
        let flags =
            u16::from_le_bytes(stored) & !(TRAP_FLAG as u16) | u16::from(traps) << TRAP_FLAG.trailing_zeros();
        if flags.to_le_bytes() != stored {
            trace::write(tid, address, &flags.to_le_bytes());
        }
    }
}

fn comm(pid: i32) -> Vec<u8> {
    let mut name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.retain(|byte| *byte != b'\n');
    name
}

/// A number in what the system tells of a thread: `Tgid` is its process, `PPid` the parent of that.
fn status(tid: i32, name: &str) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
}
