//! The loop that steps every thread of a program and follows its forks, threads and execs.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::memory::Memory;
use super::pointers::Pointers;
use super::thread::Thread;
use super::trace;
use crate::block::{Block, Leave};
use crate::process::{Origin, Process};
use crate::stream::Stream;
use crate::system::last_error;

/// How long processes may go on that the program leaves behind.
const GRACE: Duration = Duration::from_millis(500);
/// `si_code` of a completed single step.
const TRAP_TRACE: i32 = 2;
/// `si_code` where stepping comes out of a system call.
const TRAP_BRKPT: i32 = 1;

struct Stepped {
    process: Process,
    memory: Memory,
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
    pointers: Option<Pointers>,
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
            pointers: Pointers::wanted(),
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
                self.ended(tid, status)?;
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
                self.exec(tid)?;
                self.step_over(tid)
            }
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                let child = trace::message(tid)? as i32;
                self.parents.insert(child, tid);
                if self.processes.contains_key(&self.pid_of(tid)) {
                    self.begin_thread(child)?;
                }
                trace::step(tid, 0)
            }
            libc::PTRACE_EVENT_STOP if signal != libc::SIGTRAP => trace::listen(tid),
            libc::PTRACE_EVENT_STOP => {
                if self.threads.contains_key(&tid) || !self.processes.is_empty() {
                    self.begin_thread(tid)?;
                    self.resume_stopped(tid)
                } else {
                    trace::resume(tid, 0)
                }
            }
            _ if !self.threads.contains_key(&tid) => {
                trace::resume(tid, if signal == libc::SIGSTOP { 0 } else { signal })
            }
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
            return self.step_over(tid);
        }
        trace::step(tid, 0)
    }

    /// A thread of which nothing ran yet is at its first instruction.
    fn step_over(&mut self, tid: i32) -> io::Result<()> {
        self.arrive(tid, trace::ip(tid)?)?;
        trace::step(tid, 0)
    }

    fn trapped(&mut self, tid: i32) -> io::Result<()> {
        let ip = trace::ip(tid)?;
        let Some(thread) = self.threads.get_mut(&tid) else { return trace::resume(tid, 0) };
        let before = thread.block();
        let unsure = thread.signal.is_some()
            || before.leave == Leave::Interrupt
            || (ip == before.start && before.leave != Leave::Repeat);
        if unsure {
            let (number, code) = trace::signal(tid)?;
            let interrupted = thread.signal.take();
            if code == TRAP_BRKPT && ip == before.start && before.leave != Leave::Syscall {
                // A new thread or program comes out of the call that made it; nothing has run yet.
                return trace::step(tid, 0);
            }
            if code != TRAP_TRACE && code != TRAP_BRKPT {
                // The kernel reports the start of a handler with the signal's number as code.
                if let (Some(interrupted), true) = (interrupted, code == libc::SIGTRAP) {
                    return self.handle(tid, interrupted, ip);
                }
                return self.signalled(tid, number);
            }
        }
        if before.leave == Leave::Syscall {
            self.after_syscall(tid)?;
        }
        self.arrive(tid, ip)?;
        trace::step(tid, 0)
    }

    /// A signal is about to be delivered to a stopped thread.
    fn signalled(&mut self, tid: i32, signal: i32) -> io::Result<()> {
        let ip = trace::ip(tid)?;
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.signal = Some(ip);
        }
        trace::step(tid, signal)
    }

    fn handle(&mut self, tid: i32, interrupted: u64, ip: u64) -> io::Result<()> {
        if let Some(pointers) = &mut self.pointers {
            pointers.handle(tid, interrupted, ip)?;
        }
        let block = self.instruction(tid, ip)?;
        if let (Some(thread), Some(block)) = (self.threads.get_mut(&tid), block) {
            let epoch = self.processes.get(&thread.pid).map_or(0, |stepped| stepped.epoch);
            let result = thread.handle(interrupted, block, epoch);
            self.survive(tid, result)?;
        }
        trace::step(tid, 0)
    }

    /// `tid` is at `ip`, after the instruction that it was let run.
    fn arrive(&mut self, tid: i32, ip: u64) -> io::Result<()> {
        if let Some(pointers) = &mut self.pointers {
            pointers.arrive(tid, ip)?;
        }
        let block = self.instruction(tid, ip)?;
        let Some(thread) = self.threads.get_mut(&tid) else { return Ok(()) };
        let Some(block) = block else {
            // Nothing can be read here: the attempt to run it ends in a signal.
            thread.stop(ip);
            return Ok(());
        };
        let before = thread.block().start;
        let epoch = self.processes.get(&thread.pid).map_or(0, |stepped| stepped.epoch);
        match thread.arrive(block, epoch) {
            Ok(true) => Ok(()),
            Ok(false) => self.gap(
                tid,
                "unexplained",
                &format!("control went from {before:#x} to {ip:#x} in an unknown way"),
            ),
            Err(error) => self.survive(tid, Err(error)),
        }
    }

    /// A full disk ends the recording of a thread, not the thread.
    fn survive(&mut self, tid: i32, result: io::Result<()>) -> io::Result<()> {
        let Err(error) = result else { return Ok(()) };
        if let Some(thread) = self.threads.get_mut(&tid) {
            let ip = thread.block().start;
            thread.stop(ip);
            thread.stream = Stream::discard(tid, self.off);
        }
        self.gap(tid, "lost", &error.to_string())
    }

    fn gap(&mut self, tid: i32, reason: &str, text: &str) -> io::Result<()> {
        match self.processes.get_mut(&self.pid_of(tid)) {
            Some(stepped) => stepped.process.gap(tid, reason, text),
            None => Ok(()),
        }
    }

    fn instruction(&mut self, tid: i32, ip: u64) -> io::Result<Option<&'static Block>> {
        let pid = self.pid_of(tid);
        let Some(stepped) = self.processes.get_mut(&pid) else { return Ok(None) };
        let found = stepped.memory.instruction(&mut stepped.process, ip)?;
        if matches!(found, Some((_, true))) {
            stepped.epoch += 1;
        }
        Ok(found.map(|(block, _)| block))
    }

    /// Some system calls change what can be executed.
    fn after_syscall(&mut self, tid: i32) -> io::Result<()> {
        let number = trace::syscall(tid)?;
        let changes = [
            libc::SYS_mmap,
            libc::SYS_munmap,
            libc::SYS_mremap,
            libc::SYS_mprotect,
            libc::SYS_shmat,
            libc::SYS_shmdt,
            libc::SYS_pkey_mprotect,
        ];
        if changes.contains(&number) {
            if let Some(stepped) = self.processes.get_mut(&self.pid_of(tid)) {
                stepped.memory.forget_mappings();
                stepped.process.mappings_changed();
            }
        }
        Ok(())
    }

    fn pid_of(&self, tid: i32) -> i32 {
        self.threads.get(&tid).map_or(tid, |thread| thread.pid)
    }

    /// A thread exists; it may be the first of a forked process.
    fn begin_thread(&mut self, tid: i32) -> io::Result<()> {
        if self.threads.contains_key(&tid) {
            return Ok(());
        }
        let pid = group(tid).unwrap_or(tid);
        let parent = self.parents.get(&tid).copied().unwrap_or(pid);
        if !self.processes.contains_key(&pid) {
            let Some(from) = self.processes.get(&self.pid_of(parent)) else { return Ok(()) };
            let process = from.process.child(pid, &comm(pid))?;
            let stepped = Stepped { process, memory: from.memory.clone(), epoch: from.epoch };
            self.processes.insert(pid, stepped);
        }
        self.new_stream(pid, tid, parent)
    }

    fn new_stream(&mut self, pid: i32, tid: i32, parent: i32) -> io::Result<()> {
        let Some(stepped) = self.processes.get_mut(&pid) else { return Ok(()) };
        let path = stepped.process.thread(tid, parent)?;
        let (count, hash) = self.ended.remove(&tid).unwrap_or((0, 0));
        let stream = Stream::create(&path, tid, self.off, count, hash)?;
        stream.epoch = stepped.epoch;
        self.threads.insert(tid, Thread::new(pid, stream, self.off));
        Ok(())
    }

    /// Process `pid` runs another program now, in its only thread.
    fn exec(&mut self, pid: i32) -> io::Result<()> {
        let gone: Vec<i32> =
            self.threads.iter().filter(|(_, one)| one.pid == pid).map(|(tid, _)| *tid).collect();
        for tid in gone {
            self.end_thread(tid)?;
        }
        let origin = if self.processes.is_empty() { Origin::First } else { Origin::Exec };
        let process = Process::start(&self.spool, pid, pid, origin, &comm(pid))?;
        self.processes.insert(pid, Stepped { process, memory: Memory::default(), epoch: 0 });
        self.new_stream(pid, pid, pid)
    }

    fn end_thread(&mut self, tid: i32) -> io::Result<()> {
        let Some(mut thread) = self.threads.remove(&tid) else { return Ok(()) };
        thread.end();
        self.ended.insert(tid, (thread.stream.count, thread.stream.hash));
        Ok(())
    }

    fn ended(&mut self, tid: i32, status: i32) -> io::Result<()> {
        let Some(thread) = self.threads.get(&tid) else { return Ok(()) };
        let pid = thread.pid;
        let ip = thread.signal.unwrap_or(thread.block().start);
        self.end_thread(tid)?;
        if let Some(stepped) = self.processes.get_mut(&pid) {
            if libc::WIFSIGNALED(status) {
                stepped.process.event("killed", &format!("{tid}\t{}\t{ip}", libc::WTERMSIG(status)))?;
            }
            stepped.process.event("exit", &format!("{tid}"))?;
        }
        if tid == pid {
            self.processes.remove(&pid);
        }
        Ok(())
    }
}

fn comm(pid: i32) -> Vec<u8> {
    let mut name = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.retain(|byte| *byte != b'\n');
    name
}

/// The process that a thread belongs to.
fn group(tid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}
