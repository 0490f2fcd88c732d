//! Places to go on from.

use super::{Engine, Held, Position};
use crate::asid::Asid;
use crate::event::{Event, EventDecoder, EventKind, FlowItem};
use crate::flow::return_stack::{ReturnStack, DEPTH};
use crate::flow::sink::Gap;
use crate::flow::visited::Passed;
use crate::instruction::ExecMode;
use serde::{Deserialize, Serialize};

/// What an engine looked like at a PSB or between two packets; an engine made from it goes on there.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// How many return sites of an earlier stack may lie below these.
    pub(super) room_below: usize,
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

impl Checkpoint {
    /// Decoding goes on from both in the same way but for the return stack and the number of steps; see
    /// [`crate::time::Time::agrees`] for `calibration`.
    pub fn agrees(&self, other: &Checkpoint, calibration: bool) -> bool {
        (self.position, self.ip, self.at_decision) == (other.position, other.ip, other.at_decision)
            && (self.held, self.bits_left) == (other.held, other.bits_left)
            && (self.state_known, self.mode_known) == (other.state_known, other.mode_known)
            && (self.asid, self.mode, self.speculative) == (other.asid, other.mode, other.speculative)
            && (self.moment, self.resume_ip) == (other.moment, other.resume_ip)
            && self.pending == other.pending
            && self.damage == other.damage
            && (self.bits_left == 0 || self.bits == other.bits)
            && self.events.agrees(&other.events, calibration)
    }

    /// What this is if decoding did not begin with nothing but came from `before`.
    pub fn behind(mut self, before: &Checkpoint) -> Checkpoint {
        // What rose too high in between pushed the oldest out.
        let gone = before.stack.len().saturating_sub(self.room_below);
        let below = before.stack.get(gone..).unwrap_or(&[]);
        self.stack = below.iter().chain(&self.stack).copied().collect();
        self.room_below = self.room_below.min(before.room_below);
        self.step += before.step;
        self.anchor = self.anchor.map(|anchor| anchor + before.step);
        self.damage = self.damage.map(|gap| Gap { step: gap.step + before.step, ..gap });
        self
    }

    /// What this is, at a PSB, if the steps before it do not count.
    pub fn as_first(mut self) -> Checkpoint {
        // PSB+ says anew what TRIG counts from, and has closed every gap.
        self.anchor = self.anchor.and_then(|anchor| anchor.checked_sub(self.step));
        self.step = 0;
        self
    }

    /// The same place of the same trace, if that has `by` more bytes in front (fewer, if negative).
    pub fn move_by(&mut self, by: i64) {
        self.events.move_by(by);
        self.offset = self.offset.wrapping_add_signed(by);
        if let Some(event) = &mut self.pending {
            event.offset = event.offset.wrapping_add_signed(by);
        }
        if let Some(gap) = &mut self.damage {
            gap.offset = gap.offset.wrapping_add_signed(by);
        }
    }

    /// Reads the packets up to those of a later checkpoint. Only the packets' side of this one is right then.
    pub fn read_to(&mut self, trace: &[u8], later: &Checkpoint) {
        self.events.read_to(trace, &later.events);
    }

    /// Takes over what another one at the same place knows of the calibration of cycles.
    pub fn take_calibration(&mut self, other: &Checkpoint) {
        self.events.take_calibration(&other.events);
    }

    /// The PSB it stands at, if it stands at one.
    pub fn psb(&self) -> Option<u64> {
        self.pending.as_ref().filter(|event| event.status_update).map(|event| event.offset)
    }

    /// Whether it can be one of a trace of `length` bytes with so many images and `steps`, as an engine that began as
    /// `fresh` makes them. Checkpoints that were written down and read again may be anything.
    pub fn is_sound(&self, fresh: &EventDecoder, length: u64, images: usize, steps: u64) -> bool {
        let inside = |offset: u64| offset <= length;
        self.step <= steps
            && inside(self.offset)
            && self.offset == self.events.offset()
            && self.events.is_sound(fresh, length)
            && self.moment < images
            && self.bits_left <= 64
            && self.stack.len() <= DEPTH
            && self.room_below <= DEPTH
            && self.pending.as_ref().is_none_or(|event| inside(event.offset))
            && self.damage.is_none_or(|gap| gap.step <= self.step && inside(gap.offset))
            && self.anchor.is_none_or(|anchor| anchor <= self.step)
    }

    /// Puts other return sites, oldest first, in the place of those held, which come back.
    pub fn replace_stack(&mut self, stack: Box<[u64]>) -> Box<[u64]> {
        std::mem::replace(&mut self.stack, stack)
    }

    /// The number of return sites held.
    pub fn stack_depth(&self) -> usize {
        self.stack.len()
    }
}

impl Engine {
    /// Stands before the PSB at `psb` with what the trace from the PSB at `from` on says: a guess at what decoding
    /// from the start would have come to, but for the return stack, which is empty; `near` is a TSC of about that time.
    /// False if there is no guess.
    pub fn guess(&mut self, trace: &[u8], from: u64, psb: u64, asid: Asid, near: Option<u64>) -> bool {
        let mut scout = self.events.clone();
        scout.set_tsc_near(near);
        if scout.sync_set(trace, from).is_err() {
            return false;
        }
        self.asid = asid;
        while scout.sync_offset() < psb {
            if matches!(scout.next_flow(trace), FlowItem::Tnt { .. } | FlowItem::Tip { .. }) {
                continue;
            }
            let Ok(event) = scout.next(trace) else { return false };
            match event.kind {
                _ if scout.sync_offset() >= psb => {}
                EventKind::Paging { cr3, .. } | EventKind::AsyncPaging { cr3, .. } => {
                    self.asid.cr3 = Some(cr3)
                }
                EventKind::Vmcs { base } | EventKind::AsyncVmcs { base, .. } => self.asid.vmcs = Some(base),
                EventKind::Tsx { speculative, .. } => self.speculative = speculative,
                EventKind::Overflow { .. } => {
                    self.speculative = false;
                    self.mode_known = false;
                }
                EventKind::ExecMode { mode, .. } => {
                    self.mode_known = true;
                    self.mode = mode;
                }
                _ => {}
            }
        }
        let carry = scout.psb_carry();
        if scout.sync_offset() != psb || self.events.resume(trace, psb, &carry).is_err() {
            return false;
        }
        self.events.take_met_cyc();
        if self.events.has_tsc() {
            self.set_moment(self.timeline.at(self.events.tsc()));
        } else {
            self.enter();
        }
        self.position = Position::Disabled;
        true
    }

    /// Whether a return site was asked for where there was none.
    pub fn ran_out_of_sites(&self) -> bool {
        self.stack.ran_out()
    }

    /// Whether a CYC packet was met since the last call.
    pub fn take_met_cyc(&mut self) -> bool {
        self.events.take_met_cyc()
    }

    /// The PSB whose first event is at hand.
    pub fn psb_at_hand(&self) -> Option<u64> {
        self.pending.filter(|event| event.status_update).map(|event| event.offset)
    }

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
            room_below: self.stack.room_below(),
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
        self.mark = None;
        // What was open on the way to a PSB has been told.
        self.noted = checkpoint.psb().map(|_| checkpoint.step);
        self.last_checkpoint = checkpoint.offset;
        self.state_known = checkpoint.state_known;
        self.mode_known = checkpoint.mode_known;
        self.bits = checkpoint.bits;
        self.bits_left = checkpoint.bits_left;
        // The code was known when the checkpoint was made; learning it again calls no callback.
        if checkpoint.at_decision && self.learned(&mut Passed::default()).is_ok() {
            self.emitted = self.graph.count(self.node);
        }
        self.held = checkpoint.held;
    }
}
