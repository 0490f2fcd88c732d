//! Pieces of a trace, decoded by themselves.

use serde::{Deserialize, Serialize};

use crate::asid::Asid;
use crate::config::TraceConfig;
use crate::error::PtError;
use crate::flow::{Checkpoint, Engine, Graph, Timeline};
use crate::history::decode::builder::{drive, Builder};
use crate::history::decode::decoded_trace::{DecodeError, DecodeOptions};
use crate::history::decode::learned_code::LearnedCode;
use crate::packet::sync;

/// Packets between two looks at whether to stop.
const BUDGET: u32 = 1 << 14;
/// Bytes of trace before a piece that its guess is made from.
pub(in crate::history) const BEFORE: u64 = 32 << 10;

/// Everything that all pieces of a decode share.
pub(in crate::history) struct Job<'a> {
    pub(in crate::history) trace: &'a [u8],
    pub(in crate::history) config: &'a TraceConfig,
    pub(in crate::history) timeline: &'a Timeline,
    pub(in crate::history) options: &'a DecodeOptions,
    pub(in crate::history) knowledge: &'a LearnedCode,
    /// Offset of the first byte of the trace in a longer one.
    pub(in crate::history) base: u64,
    /// Offsets of the PSBs that pieces begin at; the first piece begins at the first PSB, wherever that is.
    pub(in crate::history) starts: Vec<u64>,
    /// For each of them a TSC of about that time, if one is known.
    pub(in crate::history) nears: Vec<Option<u64>>,
    /// The address space at the first PSB.
    pub(in crate::history) asid: Asid,
    /// Nothing behind the first gap matters.
    pub(in crate::history) raise: bool,
}

/// A decoded piece.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::history) struct Piece {
    pub(in crate::history) built: Builder,
    /// What the piece began with.
    pub(in crate::history) began: Option<Checkpoint>,
    /// The piece that comes next: beyond the last one at the end of the trace.
    pub(in crate::history) next: usize,
    /// There were CYC packets.
    pub(in crate::history) met_cyc: bool,
    /// A return site was asked for that an earlier piece may have pushed.
    pub(in crate::history) ran_out: bool,
    pub(in crate::history) steps: u64,
    pub(in crate::history) last_tsc: Option<u64>,
}

impl Piece {
    /// The same for a trace with `by` more bytes in front (fewer, if negative).
    pub(in crate::history) fn move_by(&mut self, by: i64) {
        self.built.move_by(by);
        if let Some(began) = &mut self.began {
            began.move_by(by);
        }
    }
}

impl Job<'_> {
    pub(in crate::history) fn engine(&self, graph: Graph) -> Engine {
        Engine::new(self.config, self.options.engine.clone(), self.timeline.clone(), graph)
    }

    pub(in crate::history) fn graph(&self) -> Graph {
        self.knowledge.graph(self.timeline, self.options)
    }

    /// Decodes from where the engine stands to the start of piece `next` or a later one; with `halt` no further than
    /// to a gap. `stop` is asked now and then, with the trace offset.
    pub(in crate::history) fn run(
        &self,
        engine: &mut Engine,
        mut built: Builder,
        next: usize,
        halt: bool,
        mut stop: impl FnMut(u64) -> bool,
    ) -> Result<Piece, DecodeError> {
        let mut next = next;
        engine.take_met_cyc();
        let halted = |built: &Builder| halt && !built.gaps.is_empty();
        loop {
            let until = self.starts.get(next).copied();
            built.until = until;
            let passed = |engine: &Engine, built: &Builder| {
                built.done()
                    || halted(built)
                    || until.is_some_and(|until| engine.events().sync_offset() > until)
            };
            let stop = |engine: &Engine| stop(engine.events().offset());
            drive(engine, self.trace, &mut built, self.options.resync, BUDGET, passed, stop)?;
            // What only looks like a PSB, or is broken, is passed over.
            if built.done()
                || halted(&built)
                || until.is_none()
                || engine.events().error() == Some(PtError::Eos)
            {
                break;
            }
            next += 1;
        }
        if !built.done() {
            next = self.starts.len();
        }
        Ok(Piece {
            began: None,
            next,
            met_cyc: engine.take_met_cyc(),
            ran_out: engine.ran_out_of_sites(),
            steps: built.reached.as_ref().map_or(engine.step(), |reached| reached.step),
            last_tsc: engine.tsc(),
            built,
        })
    }

    /// Decodes a piece by a guess; None if there is none.
    pub(in crate::history) fn guess(
        &self,
        at: usize,
        graph: Graph,
        stop: impl FnMut(u64) -> bool,
    ) -> (Option<Piece>, Graph) {
        let mut engine = self.engine(graph);
        let Some(&psb) = self.starts.get(at) else { return (None, engine.into_graph()) };
        let from =
            sync::forward(self.trace, psb.saturating_sub(BEFORE) as usize).map_or(psb, |from| from as u64);
        let near = self.nears.get(at).copied().flatten();
        if !engine.guess(self.trace, from.min(psb), psb, self.asid, near) {
            return (None, engine.into_graph());
        }
        let built = Builder { base: self.base, ..Builder::new(self.options.checkpoint_distance) };
        // A gap may come of the guess.
        let mut piece = self.run(&mut engine, built, at + 1, false, stop).ok();
        if let Some(piece) = &mut piece {
            // The first thing a piece meets is the checkpoint at its PSB.
            piece.began = piece.built.checkpoints.first().cloned();
        }
        (piece, engine.into_graph())
    }
}
