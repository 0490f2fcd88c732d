//! Pieces put together.

use crate::flow::{Checkpoint, Engine, Gap, Sink};
use crate::history::decode::builder::Builder;
use crate::history::decode::decoded_trace::DecodeError;
use crate::history::decode::piece::{Job, Piece};

/// What is put together so far.
pub(in crate::history) struct Joining {
    pub(in crate::history) built: Builder,
    pub(in crate::history) steps: u64,
    pub(in crate::history) last_tsc: Option<u64>,
    /// The piece that comes next.
    pub(in crate::history) next: usize,
    /// What it begins with.
    pub(in crate::history) here: Option<Checkpoint>,
    /// What `here` says of the calibration of cycles is right.
    pub(in crate::history) calibrated: bool,
    /// A checkpoint for which that holds.
    pub(in crate::history) exact: Option<Checkpoint>,
}

impl Joining {
    /// The first piece, which began with the truth.
    pub(in crate::history) fn begun(mut first: Piece) -> Self {
        let here = first.built.reached.take();
        Joining {
            steps: first.steps,
            last_tsc: first.last_tsc,
            next: first.next,
            exact: here.clone(),
            here,
            calibrated: true,
            built: first.built,
        }
    }

    /// What there is where nothing could be decoded.
    pub(in crate::history) fn nothing(built: Builder) -> Self {
        Joining { built, steps: 0, last_tsc: None, next: 0, here: None, calibrated: true, exact: None }
    }

    /// The trace offset up to which everything is put together.
    pub(in crate::history) fn reached(&self) -> u64 {
        self.here.as_ref().map_or(0, |here| here.offset)
    }

    /// Whether a piece that began with a guess began with the truth.
    pub(in crate::history) fn fits(&self, piece: &Piece) -> bool {
        let (Some(here), Some(began)) = (&self.here, &piece.began) else { return false };
        let exact = piece.met_cyc;
        (!exact || self.calibrated) && here.agrees(began, exact) && !(piece.ran_out && here.stack_depth() > 0)
    }

    /// Makes what is known of the calibration right: reads the packets since it was.
    pub(in crate::history) fn calibrate(&mut self, trace: &[u8]) {
        if self.calibrated {
            return;
        }
        self.calibrated = true;
        let Some(exact) = &self.exact else { return };
        let from = exact.offset;
        let mut clock = exact.clone();
        // The piece that begins there has left its guess.
        let after = self.built.checkpoints.iter_mut().filter(|checkpoint| checkpoint.offset >= from);
        for checkpoint in after.chain(&mut self.here) {
            clock.read_to(trace, checkpoint);
            checkpoint.take_calibration(&clock);
        }
    }

    /// Decodes the next piece with what is true.
    pub(in crate::history) fn decode_next(
        &mut self,
        job: &Job<'_>,
        engine: &mut Engine,
        stop: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), DecodeError> {
        self.calibrate(job.trace);
        let Some(here) = self.here.take() else { return Ok(()) };
        engine.restore(&here);
        // It goes on with what is there already.
        let mut built = std::mem::take(&mut self.built);
        built.until = None;
        built.checkpoint(engine);
        *self = Joining::begun(job.run(engine, built, self.next + 1, job.raise, stop)?);
        Ok(())
    }

    /// Takes in a piece that fits.
    pub(in crate::history) fn add(&mut self, piece: Piece) {
        let Some(here) = self.here.take() else { return };
        self.next = piece.next;
        let agreed = piece.began.as_ref().is_some_and(|began| here.agrees(began, true));
        self.calibrated &= agreed;
        let base = here.step;
        let mut built = piece.built;
        let far = std::mem::take(&mut self.built.far);
        let first = built.checkpoints.first().map(|first| first.offset);
        if first.is_some_and(|first| !self.built.is_due(first, true, far)) {
            built.checkpoints.remove(0);
        }
        self.built.cell = built.cell.or(self.built.cell);
        self.built.near = built.near.or(self.built.near);
        self.built.far = built.far;
        self.built
            .checkpoints
            .extend(built.checkpoints.into_iter().map(|checkpoint| checkpoint.behind(&here)));
        let behind = |gap: Gap| Gap { step: gap.step + base, ..gap };
        self.built.gaps.extend(built.gaps.iter().map(behind));
        self.built.notes.extend(built.notes.iter().map(behind));
        self.built
            .moments
            .extend(built.moments.into_iter().map(|(step, moment, offset)| (step + base, moment, offset)));
        self.built.events += built.events;
        self.steps = base + piece.steps;
        self.last_tsc = piece.last_tsc;
        self.here = built.reached.map(|reached| reached.behind(&here));
        if self.calibrated {
            self.exact = self.here.clone();
        }
    }
}
