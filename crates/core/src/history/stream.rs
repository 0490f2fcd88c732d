//! One decoded trace.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use crate::asid::Asid;
use crate::config::TraceConfig;
use crate::error::PtError;
use crate::flow::{
    Checkpoint, Code, Engine, EngineOptions, FlowError, Gap, GapCause, Graph, Progress, RunState, Sink,
    Timeline,
};

/// The bytes of a trace, shared and never changed.
pub type TraceBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// What to do about damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Record a gap and go on.
    #[default]
    Gap,
    /// Stop at the first gap.
    Raise,
}

/// Where decoding goes on after damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resync {
    /// At the next packet that gives an IP.
    #[default]
    Ip,
    /// At the next PSB.
    Psb,
}

/// How to decode.
#[derive(Clone, Debug)]
pub struct DecodeOptions {
    /// What to do about damage.
    pub on_error: OnError,
    /// Where to go on after it.
    pub resync: Resync,
    /// Bytes of trace between two checkpoints, at least. Smaller is faster to look into and larger to keep.
    pub checkpoint_distance: u64,
    /// Most decision points and instructions that a walk keeps learned; None for the usual bounds.
    pub graph_limits: Option<(usize, usize)>,
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
            engine: EngineOptions::default(),
        }
    }
}

impl DecodeOptions {
    fn graph(&self, code: &Arc<Code>, timeline: &Timeline) -> Graph {
        let mode = self.engine.initial_mode;
        let mut graph = Graph::new(code.clone(), &timeline.first_image(), Asid::default(), mode);
        if let Some((nodes, instructions)) = self.graph_limits {
            graph.set_limits(nodes, instructions);
        }
        graph
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

/// Packets between two looks at whether to stop.
const BUDGET: u32 = 1 << 14;

/// Instructions without a look at whether to stop.
const STEPS_UNASKED: u64 = 1 << 22;

/// A decoded trace: steps 0 to [`Stream::steps`].
pub struct Stream {
    trace: TraceBytes,
    config: TraceConfig,
    options: DecodeOptions,
    timeline: Timeline,
    code: Arc<Code>,
    checkpoints: Vec<Checkpoint>,
    gaps: Vec<Gap>,
    moments: Vec<(u64, usize, u64)>,
    steps: u64,
    events: u64,
    first_tsc: Option<u64>,
    last_tsc: Option<u64>,
    /// Graphs that know the code already, for the next walk.
    graphs: Mutex<Vec<Graph>>,
}

/// Collects what a stream keeps.
#[derive(Default)]
struct Builder {
    distance: u64,
    checkpoints: Vec<Checkpoint>,
    gaps: Vec<Gap>,
    moments: Vec<(u64, usize, u64)>,
    events: u64,
    last_offset: u64,
}

impl Sink for Builder {
    const RUNS: bool = false;

    fn event(&mut self, _: &crate::event::Event, _: crate::flow::Where, _: &Engine) {
        self.events += 1;
    }

    fn gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
    }

    fn moment(&mut self, moment: usize, step: u64, offset: u64) {
        self.moments.push((step, moment, offset));
    }

    fn checkpoint(&mut self, engine: &Engine) {
        let offset = engine.events().offset();
        if self.checkpoints.is_empty() || offset.saturating_sub(self.last_offset) >= self.distance {
            self.last_offset = offset;
            self.checkpoints.push(engine.checkpoint());
        }
    }
}

/// Decodes a whole trace.
///
/// `interrupted` is asked every few milliseconds, with the trace offset reached; true stops.
/// What stands before the first PSB is skipped, as every decoder does: the end of something longer
/// whose start is gone. A trace without a PSB is one gap.
pub fn decode(
    trace: TraceBytes,
    config: &TraceConfig,
    timeline: Timeline,
    options: DecodeOptions,
    mut interrupted: impl FnMut(u64) -> bool,
) -> Result<Stream, DecodeError> {
    let code = Arc::new(Code::default());
    let graph = options.graph(&code, &timeline);
    let mut engine = Engine::new(config, options.engine.clone(), timeline.clone(), graph);
    let mut builder = Builder { distance: options.checkpoint_distance, ..Builder::default() };
    let bytes = (*trace).as_ref();
    let mut first_tsc = None;
    let synced = engine.start(bytes);
    if !synced {
        if bytes.iter().any(|&byte| byte != 0) {
            builder.gaps.push(Gap {
                step: 0,
                cause: GapCause::Lost,
                code: Some(PtError::Nosync),
                offset: 0,
                bytes_lost: bytes.len() as u64,
                ip: None,
                asid: Asid::default(),
                tsc: None,
            });
        }
    } else {
        first_tsc = engine.tsc();
        // Before anything happens: not every first PSB+ tells whether tracing is on.
        builder.checkpoint(&engine);
        drive(&mut engine, bytes, &mut builder, options.resync, BUDGET, |engine, builder| {
            if options.on_error == OnError::Raise && !builder.gaps.is_empty() {
                return true;
            }
            interrupted(engine.events().offset())
        })
        .map_err(|error| match error {
            DecodeError::Interrupted if options.on_error == OnError::Raise => match builder.gaps.first() {
                Some(&gap) => DecodeError::Gap(gap),
                None => DecodeError::Interrupted,
            },
            error => error,
        })?;
    }
    if let (OnError::Raise, Some(&gap)) = (options.on_error, builder.gaps.first()) {
        return Err(DecodeError::Gap(gap));
    }
    builder.checkpoints.shrink_to_fit();
    Ok(Stream {
        trace: trace.clone(),
        config: config.clone(),
        options,
        timeline,
        code,
        checkpoints: builder.checkpoints,
        gaps: builder.gaps,
        moments: builder.moments,
        steps: engine.step(),
        events: builder.events,
        first_tsc,
        last_tsc: engine.tsc(),
        graphs: Mutex::new(vec![engine.into_graph()]),
    })
}

/// Walks to the end of the trace, or until `stop`; damage becomes gaps.
fn drive<S: Sink>(
    engine: &mut Engine,
    trace: &[u8],
    sink: &mut S,
    resync: Resync,
    budget: u32,
    mut stop: impl FnMut(&Engine, &S) -> bool,
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
        rounds = rounds.wrapping_add(1);
        // Rare events advance by one packet only; asking after each would cost more than they do.
        if budget < BUDGET || rounds % 64 == 0 || engine.step() - asked >= STEPS_UNASKED {
            asked = engine.step();
            if stop(engine, sink) {
                return Err(DecodeError::Interrupted);
            }
        }
    }
}

/// A pass over some steps of a stream.
pub(super) trait Pass: Sink {
    /// True when nothing later can matter.
    fn done(&self) -> bool {
        false
    }
}

impl Stream {
    /// Number of executed instructions.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Number of events.
    pub fn event_count(&self) -> u64 {
        self.events
    }

    /// Lost execution, in order.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// (step, moment, trace offset): from which step which image of the timeline held, and from where on events
    /// and gaps belong to it; before the first, moment 0.
    pub fn moments(&self) -> &[(u64, usize, u64)] {
        &self.moments
    }

    /// The code bytes that were read.
    pub fn code(&self) -> &Arc<Code> {
        &self.code
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

    /// Walks from the last checkpoint at or before `step` until the pass is done or the trace ends.
    pub(super) fn walk<P: Pass>(&self, step: u64, pass: &mut P) {
        let after = self.checkpoints.partition_point(|checkpoint| checkpoint.step <= step);
        self.walk_from(after.saturating_sub(1), pass);
    }

    /// Walks from checkpoint number `at`.
    pub(super) fn walk_from<P: Pass>(&self, at: usize, pass: &mut P) {
        let Some(checkpoint) = self.checkpoints.get(at) else { return };
        let graph = self.borrow_graph();
        let options = self.options.engine.clone();
        let mut engine = Engine::new(&self.config, options, self.timeline.clone(), graph);
        engine.restore(checkpoint);
        let trace = (*self.trace).as_ref();
        // Everything was seen when the stream was made, so no error can come that did not come then.
        let _ = drive(&mut engine, trace, pass, self.options.resync, 256, |_, pass| pass.done());
        let graph = engine.into_graph();
        self.graphs.lock().unwrap_or_else(PoisonError::into_inner).push(graph);
    }

    /// Checkpoint to begin at for a time: the last one before `tsc`. (What ran up to a PSB has the time in its
    /// PSB+, so the first step at that time may lie before the checkpoint.)
    pub(super) fn checkpoint_before(&self, tsc: u64) -> usize {
        self.checkpoints
            .partition_point(|checkpoint| checkpoint.tsc.is_none_or(|at| at < tsc))
            .saturating_sub(1)
    }

    /// Checkpoint to begin at for the events from a trace offset on: the last one before it. (At a checkpoint an
    /// event of the very same packet may have been delivered.)
    pub(super) fn checkpoint_before_offset(&self, offset: u64) -> usize {
        self.checkpoints.partition_point(|checkpoint| checkpoint.offset < offset).saturating_sub(1)
    }

    fn borrow_graph(&self) -> Graph {
        let kept = self.graphs.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| self.options.graph(&self.code, &self.timeline))
    }
}

/// Cuts a run to the steps from `start` to `stop` (exclusive): the part of `from..to` that lies inside.
pub(super) fn clip(state: &RunState, from: u16, to: u16, start: u64, stop: u64) -> Option<(u16, u16, u64)> {
    let end = state.step + u64::from(to - from);
    if end <= start || state.step >= stop {
        return None;
    }
    let skip = start.saturating_sub(state.step) as u16;
    let drop = end.saturating_sub(stop) as u16;
    Some((from + skip, to - drop, state.step + u64::from(skip)))
}

/// A run as the passes like to see it.
pub(super) fn slice<T>(all: &[T], from: u16, to: u16) -> &[T] {
    all.get(from as usize..to as usize).unwrap_or(&[])
}
