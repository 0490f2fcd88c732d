//! Places to go on from.

use super::{Engine, Held, Position};
use crate::asid::Asid;
use crate::event::{Event, EventDecoder};
use crate::flow::passed::Passed;
use crate::flow::return_stack::ReturnStack;
use crate::flow::sink::Gap;
use crate::instruction::ExecMode;

/// What an engine looked like at a PSB or between two packets; an engine made from it goes on there.
#[derive(Clone)]
pub struct Checkpoint {
    pub(super) events: Box<EventDecoder>,
    pub(super) position: Position,
    /// Address of the next instruction or, `at_decision`, of the branch that has been reported already.
    pub(super) ip: u64,
    pub(super) at_decision: bool,
    pub(super) held: Option<Held>,
    pub(super) bits: u64,
    pub(super) bits_left: u8,
    pub(super) state_known: bool,
    pub(super) mode_known: bool,
    pub(super) asid: Asid,
    pub(super) mode: ExecMode,
    pub(super) speculative: bool,
    pub(super) moment: usize,
    pub(super) stack: Box<[u64]>,
    pub(super) resume_ip: Option<u64>,
    pub(super) pending: Option<Box<Event>>,
    pub(super) damage: Option<Gap>,
    pub(super) anchor: Option<u64>,
    /// Instructions executed before it.
    pub step: u64,
    /// Trace offset at which decoding goes on.
    pub offset: u64,
    /// TSC estimate there, if there is one.
    pub tsc: Option<u64>,
}

impl Engine {
    /// Everything needed to go on from here with another engine over the same trace.
    pub fn checkpoint(&self) -> Checkpoint {
        let here = self.ip_here();
        Checkpoint {
            events: Box::new(self.events.clone()),
            position: self.position,
            ip: here.or_else(|| self.graph.ips(self.node).last().copied()).unwrap_or(0),
            at_decision: here.is_none() && self.position == Position::Enabled,
            held: self.held,
            bits: self.bits,
            bits_left: self.bits_left,
            state_known: self.state_known,
            mode_known: self.mode_known,
            asid: self.asid,
            mode: self.mode,
            speculative: self.speculative,
            moment: self.moment,
            stack: self.stack.addresses(&self.graph).into_boxed_slice(),
            resume_ip: self.resume_ip,
            pending: self.pending.map(Box::new),
            damage: self.damage,
            anchor: self.anchor_here(),
            step: self.step,
            offset: self.events.offset(),
            tsc: self.tsc(),
        }
    }

    /// Goes back (or on) to a checkpoint of the same trace.
    pub fn restore(&mut self, checkpoint: &Checkpoint) {
        self.events = (*checkpoint.events).clone();
        self.node = 0;
        self.asid = checkpoint.asid;
        self.mode = checkpoint.mode;
        self.stack = ReturnStack::from_addresses(&checkpoint.stack);
        self.set_moment(checkpoint.moment);
        match checkpoint.position {
            Position::Enabled => self.stand_at(checkpoint.ip),
            position => {
                self.stand_nowhere();
                self.position = position;
            }
        }
        self.speculative = checkpoint.speculative;
        self.resume_ip = checkpoint.resume_ip;
        self.pending = checkpoint.pending.as_deref().cloned();
        self.damage = checkpoint.damage;
        self.step = checkpoint.step;
        self.anchor = checkpoint.anchor;
        self.decided = false;
        self.last_checkpoint = checkpoint.offset;
        self.state_known = checkpoint.state_known;
        self.mode_known = checkpoint.mode_known;
        self.bits = checkpoint.bits;
        self.bits_left = checkpoint.bits_left;
        // The code is known to whoever made the checkpoint; learning it again asks nobody.
        if checkpoint.at_decision && self.learned(&mut Passed::default()).is_ok() {
            self.emitted = self.graph.count(self.node);
        }
        self.held = checkpoint.held;
    }
}
