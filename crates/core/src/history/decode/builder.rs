//! A walk that makes a stream.

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::flow::{Checkpoint, Engine, FlowError, Gap, Gaps, Progress, Runs, Sink, Where};
use crate::history::decode::decoded_trace::{DecodeError, Resync};

/// Instructions without a look at whether to stop.
const STEPS_UNASKED: u64 = 1 << 22;

/// The distance of checkpoints at PSBs that are far from the last decision is by this much smaller.
const FINER: u64 = 128;

/// Collects what a stream keeps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::history) struct Builder {
    /// Offset of the first byte of the trace in a longer one.
    pub base: u64,
    pub distance: u64,
    pub checkpoints: Vec<Checkpoint>,
    pub gaps: Gaps,
    /// Where nothing was lost but something is open.
    pub notes: Gaps,
    pub moments: Vec<(u64, usize, u64)>,
    pub events: u64,
    /// The PSB to stop at.
    pub until: Option<u64>,
    /// What it looked like there.
    pub reached: Option<Checkpoint>,
    /// At which multiple of the distance the last checkpoint lies.
    pub cell: Option<u64>,
    /// At which multiple of a small distance the last PSB lies.
    pub near: Option<u64>,
    /// The PSB to stop at was far from the last decision.
    pub far: bool,
}

impl Builder {
    pub fn new(distance: u64) -> Self {
        Builder { distance: distance.max(1), ..Builder::default() }
    }

    /// The same for a trace with `by` more bytes in front (fewer, if negative).
    pub fn move_by(&mut self, by: i64) {
        for checkpoint in self.checkpoints.iter_mut().chain(&mut self.reached) {
            checkpoint.move_by(by);
        }
        self.gaps.move_by(by);
        self.notes.move_by(by);
        for (_, _, offset) in &mut self.moments {
            *offset = offset.wrapping_add_signed(by);
        }
        self.base = self.base.wrapping_add_signed(-by);
        self.until = None;
    }

    /// Whether a checkpoint at `offset` is the first in its part of the trace. At a PSB that is `far` from the last
    /// decision the parts are small, so that long loops without packets can be entered in many places.
    pub fn is_due(&mut self, offset: u64, at_psb: bool, far: bool) -> bool {
        let at = self.base + offset;
        let (cell, near) = (Some(at / self.distance.max(1)), Some(at / (self.distance / FINER).max(1)));
        let due = self.cell != cell || at_psb && far && self.near != near;
        self.cell = cell;
        if at_psb {
            self.near = near;
        }
        due
    }

    pub fn done(&self) -> bool {
        self.reached.is_some()
    }
}

impl Sink for Builder {
    const RUNS: Runs = Runs::Any;

    fn event(&mut self, _: &Event, _: Where, _: &Engine) {
        self.events += u64::from(!self.done());
    }

    fn gap(&mut self, gap: Gap) {
        if !self.done() {
            self.gaps.push(gap);
        }
    }

    fn note(&mut self, note: Gap) {
        if !self.done() {
            self.notes.push(note);
        }
    }

    fn moment(&mut self, moment: usize, step: u64, offset: u64) {
        if !self.done() {
            self.moments.push((step, moment, offset));
        }
    }

    fn checkpoint(&mut self, engine: &Engine) {
        if self.done() {
            return;
        }
        if self.until.is_some() && self.until == engine.psb_at_hand() {
            self.reached = Some(engine.checkpoint());
            self.far = engine.has_come_far();
            return;
        }
        let far = std::mem::take(&mut self.far) || engine.has_come_far();
        if self.is_due(engine.events().offset(), engine.psb_at_hand().is_some(), far) {
            self.checkpoints.push(engine.checkpoint());
        }
    }
}

/// Walks to the end of the trace, or until the sink is `done`; damage becomes gaps. `stop` is asked now and then.
pub(in crate::history) fn drive<S: Sink>(
    engine: &mut Engine,
    trace: &[u8],
    sink: &mut S,
    resync: Resync,
    budget: u32,
    done: impl Fn(&Engine, &S) -> bool,
    mut stop: impl FnMut(&Engine) -> bool,
) -> Result<(), DecodeError> {
    let mut rounds = 0u32;
    let mut asked = engine.step();
    loop {
        match engine.advance(trace, sink, budget) {
            Ok(Progress::More) => {}
            Ok(Progress::End) => return Ok(()),
            Err(FlowError::Foreign(object)) => return Err(DecodeError::Foreign(object)),
            Err(error) => engine.lose(trace, &error, resync == Resync::Psb, sink),
        }
        if done(engine, sink) {
            return Ok(());
        }
        rounds = rounds.wrapping_add(1);
        // Rare events advance by one packet only; asking after each would cost more than they do.
        if rounds.is_multiple_of(64) || engine.step() - asked >= STEPS_UNASKED {
            asked = engine.step();
            if stop(engine) {
                return Err(DecodeError::Interrupted);
            }
        }
    }
}
