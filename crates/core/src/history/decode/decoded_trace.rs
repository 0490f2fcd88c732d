//! One decoded trace.

use serde::{Deserialize, Serialize};
use std::any::Any;
use std::sync::Arc;

use crate::config::TraceConfig;
use crate::flow::{Checkpoint, Code, EngineOptions, Gap, Gaps, RunState, Sink, Timeline};
use crate::history::decode::learned_code::LearnedCode;

/// The bytes of a trace, shared and never changed.
pub type TraceBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// What to do about damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnError {
    /// Record a gap and go on.
    #[default]
    Gap,
    /// Stop at the first gap.
    Raise,
}

/// Where decoding goes on after damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resync {
    /// At the next packet that gives an IP.
    #[default]
    Ip,
    /// At the next PSB.
    Psb,
}

/// How to decode.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DecodeOptions {
    /// What to do about damage.
    pub on_error: OnError,
    /// Where to go on after it.
    pub resync: Resync,
    /// Bytes of trace between two checkpoints, at least. Smaller is faster to look into and larger to keep.
    pub checkpoint_distance: u64,
    /// Most decision points and instructions that a walk keeps learned; None for the usual bounds.
    pub graph_limits: Option<(usize, usize)>,
    /// How many threads may decode; 0 counts as 1.
    pub threads: usize,
    /// Bytes of trace that a thread decodes at once; None for what is usual.
    pub piece: Option<u64>,
    /// How the flow is decoded.
    pub engine: EngineOptions,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        DecodeOptions {
            on_error: OnError::default(),
            resync: Resync::default(),
            checkpoint_distance: CHECKPOINT_DISTANCE,
            graph_limits: None,
            threads: 1,
            piece: None,
            engine: EngineOptions::default(),
        }
    }
}

/// Why there is no history.
pub enum DecodeError {
    /// Damage, where the caller asked to stop at it.
    Gap(Gap),
    /// An exception from a read-memory callback.
    Foreign(Arc<dyn Any + Send + Sync>),
    /// The caller's check asked to stop.
    Interrupted,
}

/// Bytes of trace between two checkpoints, at least.
const CHECKPOINT_DISTANCE: u64 = 32 << 10;

/// A decoded trace: steps 0 to [`DecodedTrace::steps`].
pub struct DecodedTrace {
    pub(in crate::history) trace: TraceBytes,
    pub(in crate::history) config: TraceConfig,
    pub(in crate::history) options: DecodeOptions,
    pub(in crate::history) timeline: Timeline,
    pub(in crate::history) knowledge: Arc<LearnedCode>,
    pub(in crate::history) checkpoints: Vec<Checkpoint>,
    pub(in crate::history) gaps: Gaps,
    pub(in crate::history) notes: Gaps,
    pub(in crate::history) moments: Vec<(u64, usize, u64)>,
    pub(in crate::history) steps: u64,
    pub(in crate::history) events: u64,
    pub(in crate::history) first_tsc: Option<u64>,
    pub(in crate::history) last_tsc: Option<u64>,
    /// The PSB that it ends at, if the trace goes on behind.
    pub(in crate::history) ends: Option<u64>,
    /// Parts of it were decoded elsewhere: `knowledge` may lack code that was read there.
    pub(in crate::history) from_elsewhere: bool,
}

/// A pass over some steps of a stream.
pub(in crate::history) trait Pass: Sink {
    /// True when nothing later can matter.
    fn done(&self) -> bool {
        false
    }
}

impl DecodedTrace {
    /// Number of executed instructions.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Number of events.
    pub fn event_count(&self) -> u64 {
        self.events
    }

    /// Lost execution, in order.
    pub fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// Where nothing was lost, but the trace leaves something open; in order.
    pub fn notes(&self) -> &Gaps {
        &self.notes
    }

    /// (step, moment, trace offset): from which step which image of the timeline held, and from where on events
    /// and gaps belong to it; before the first, moment 0.
    pub fn moments(&self) -> &[(u64, usize, u64)] {
        &self.moments
    }

    /// The code bytes that were read.
    pub fn code(&self) -> &Arc<Code> {
        self.knowledge.code()
    }

    /// The bytes that were decoded.
    pub fn trace(&self) -> &TraceBytes {
        &self.trace
    }

    /// TSC at the first synchronisation and at the end, where known.
    pub fn tsc_range(&self) -> (Option<u64>, Option<u64>) {
        (self.first_tsc, self.last_tsc)
    }

    /// Steps and TSCs at the checkpoints, in order.
    pub fn checkpoints(&self) -> impl Iterator<Item = (u64, Option<u64>, u64)> + '_ {
        self.checkpoints.iter().map(|checkpoint| (checkpoint.step, checkpoint.tsc, checkpoint.offset))
    }

    /// Checkpoint to begin at for a time: the last one before `tsc`. (What ran up to a PSB has the time in its
    /// PSB+, so the first step at that time may lie before the checkpoint.)
    pub(in crate::history) fn checkpoint_before(&self, tsc: u64) -> usize {
        self.checkpoints
            .partition_point(|checkpoint| checkpoint.tsc.is_none_or(|at| at < tsc))
            .saturating_sub(1)
    }

    /// Checkpoint to begin at for the events from a trace offset on: the last one before it. (At a checkpoint an
    /// event of the very same packet may have been delivered.)
    pub(in crate::history) fn checkpoint_before_offset(&self, offset: u64) -> usize {
        self.checkpoints.partition_point(|checkpoint| checkpoint.offset < offset).saturating_sub(1)
    }
}

/// Cuts a run to the steps from `start` to `stop` (exclusive): the part of `from..to` that lies inside.
pub(in crate::history) fn clip(
    state: &RunState,
    from: u16,
    to: u16,
    start: u64,
    stop: u64,
) -> Option<(u16, u16, u64)> {
    let end = state.step + u64::from(to - from);
    if end <= start || state.step >= stop {
        return None;
    }
    let skip = start.saturating_sub(state.step) as u16;
    let drop = end.saturating_sub(stop) as u16;
    Some((from + skip, to - drop, state.step + u64::from(skip)))
}

/// A run as the passes like to see it.
pub(in crate::history) fn slice<T>(all: &[T], from: u16, to: u16) -> &[T] {
    all.get(from as usize..to as usize).unwrap_or(&[])
}
