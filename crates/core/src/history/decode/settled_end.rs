//! Where a live stream is cut.

use crate::event::Event;
use crate::flow::{Checkpoint, Engine, Gap, Runs, Sink, Where};
use crate::history::decode::builder::Builder;
use crate::history::decode::part::is_settled;
use crate::packet::sync;

/// The last PSB in the trace, behind `after`, before which nothing can change any more; it may prove to be none.
pub(in crate::history) fn last_settled(trace: &[u8], after: Option<u64>) -> Option<u64> {
    let mut limit = trace.len();
    loop {
        let psb = sync::backward(trace, limit).filter(|&psb| after.is_none_or(|after| psb as u64 > after))?;
        // What could settle it behind a later one has not settled that: bytes are looked at once.
        if is_settled(trace.get(..limit).unwrap_or(&[]), psb as u64) {
            return Some(psb as u64);
        }
        limit = psb;
    }
}

/// Collects what a stream keeps up to a PSB. If that proves to be none, then up to one before it.
pub(in crate::history) struct SettledEnd<'a> {
    built: Builder,
    trace: &'a [u8],
    until: u64,
    cut: Option<Cut>,
    done: bool,
}

/// What there was at a PSB.
struct Cut {
    psb: u64,
    reached: Checkpoint,
    checkpoints: usize,
    gaps: usize,
    notes: usize,
    moments: usize,
    events: u64,
}

impl<'a> SettledEnd<'a> {
    /// `trace` begins with a PSB; at `until` stands a later one, or something that looks like one.
    pub fn new(built: Builder, trace: &'a [u8], until: u64) -> Self {
        SettledEnd { built, trace, until, cut: None, done: false }
    }

    /// The PSB at `until` has been reached.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// What there is up to the last PSB that can be relied on, what it looked like there, and where that is.
    pub fn cut(self) -> Option<(Builder, Checkpoint, u64)> {
        let cut = self.cut?;
        let mut built = self.built;
        built.checkpoints.truncate(cut.checkpoints);
        built.gaps.truncate(cut.gaps);
        built.notes.truncate(cut.notes);
        built.moments.truncate(cut.moments);
        built.events = cut.events;
        Some((built, cut.reached, cut.psb))
    }

    fn cut_at(&mut self, psb: u64, engine: &Engine) {
        self.cut = Some(Cut {
            psb,
            reached: engine.checkpoint(),
            checkpoints: self.built.checkpoints.len(),
            gaps: self.built.gaps.len(),
            notes: self.built.notes.len(),
            moments: self.built.moments.len(),
            events: self.built.events,
        });
    }
}

impl Sink for SettledEnd<'_> {
    const RUNS: Runs = Runs::Any;

    fn event(&mut self, event: &Event, place: Where, engine: &Engine) {
        self.built.event(event, place, engine);
    }

    fn gap(&mut self, gap: Gap) {
        self.built.gap(gap);
    }

    fn note(&mut self, note: Gap) {
        self.built.note(note);
    }

    fn moment(&mut self, moment: usize, step: u64, offset: u64) {
        self.built.moment(moment, step, offset);
    }

    fn checkpoint(&mut self, engine: &Engine) {
        if self.done {
            return;
        }
        if let Some(psb) = engine.psb_at_hand().filter(|&psb| psb > 0) {
            self.done = psb == self.until;
            // Looking at each PSB would cost more than it could save.
            let last = self.cut.as_ref().map(|cut| cut.psb);
            let far = last.is_none_or(|last| psb.saturating_sub(last) >= self.until / 8);
            if self.done || (far && psb < self.until && is_settled(self.trace, psb)) {
                self.cut_at(psb, engine);
                if self.done {
                    return;
                }
            }
        }
        self.built.checkpoint(engine);
    }
}
