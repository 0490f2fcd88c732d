//! A stepped thread and its stream.

use std::io;

use super::kind::Kind;
use super::trace::Syscall;
use super::trap::Trap;
use crate::block::{Block, Leave};
use crate::stream::Stream;

/// One thread.
#[derive(Debug)]
pub struct Thread {
    /// Process it belongs to.
    pub pid: i32,
    /// Its packets.
    pub stream: &'static mut Stream,
    /// A signal is being delivered that found the thread at this address.
    pub signal: Option<u64>,
    /// Of the instruction that is about to run.
    pub kind: Kind,
    /// SIGTRAP as the program sees it.
    pub trap: Trap,
    /// The system call that the thread is in.
    pub syscall: Option<Syscall>,
    off: &'static Block,
}

impl Thread {
    /// A thread of process `pid` that has not run yet.
    pub fn new(pid: i32, stream: &'static mut Stream, off: &'static Block) -> Thread {
        Thread { pid, stream, signal: None, kind: Kind::Plain, trap: Trap::new(), syscall: None, off }
    }

    /// What the thread was about to run when it was let go.
    pub fn block(&self) -> &'static Block {
        self.stream.block()
    }

    /// The thread has run its instruction and is now at `block`. False if that cannot be.
    pub fn arrive(&mut self, block: &'static Block, epoch: u64) -> io::Result<bool> {
        self.stream.set_busy(true);
        let before = self.block();
        let explained = self.stream.leave_to(before, block.start);
        if !explained {
            self.stream.overflow(block.start);
        }
        self.begin(block, epoch).map(|()| explained)
    }

    /// A signal's handler is about to run `block`.
    pub fn handle(&mut self, interrupted: u64, block: &'static Block, epoch: u64) -> io::Result<()> {
        self.stop(interrupted);
        self.stream.set_busy(true);
        self.stream.enable(block.start);
        self.begin(block, epoch)
    }

    fn begin(&mut self, block: &'static Block, epoch: u64) -> io::Result<()> {
        self.stream.begin(block);
        let force = self.stream.epoch != epoch;
        if force || self.stream.is_due() {
            self.stream.epoch = epoch;
            self.stream.settle(block.start, force)?;
        }
        self.stream.set_busy(false);
        Ok(())
    }

    /// The kernel took over at `ip`: before the instruction there, or after the one that was running.
    pub fn stop(&mut self, ip: u64) {
        self.stream.set_busy(true);
        let before = self.block();
        match before.leave {
            Leave::Off => {}
            Leave::Syscall | Leave::Interrupt if ip != before.start => self.stream.leave_user(before),
            _ if ip == before.start => self.stream.interrupt(ip),
            _ => {
                if !self.stream.leave_to(before, ip) {
                    self.stream.overflow(ip);
                }
                self.stream.interrupt(ip);
            }
        }
        self.stream.begin(self.off);
        self.stream.set_busy(false);
        self.kind = Kind::Plain;
    }

    /// The thread is gone. Only a system call can have been its last instruction, unless it was killed.
    pub fn end(&mut self) {
        let before = self.block();
        let ip = self.signal.take();
        match (before.leave, ip) {
            (Leave::Syscall, None) => self.stop(before.next),
            (_, Some(ip)) => self.stop(ip),
            _ => self.stop(before.start),
        }
    }
}
