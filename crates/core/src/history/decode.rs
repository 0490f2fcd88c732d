//! Decoding: from a trace to a stream, on one core or several.
//!
//! The trace is cut into pieces at PSBs. Decoding one after the other defines the result. With several threads each
//! piece begins with a guess at what decoding up to there would have come to, made from the packets shortly before it;
//! where the pieces are put together the guess is compared with the truth, and a piece that guessed wrong is decoded
//! again. RET compression does not reach over a PSB, so a piece begins without return sites, and is decoded again if it
//! asked for one that an earlier piece had pushed.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::knowledge::Knowledge;
use super::stream::{DecodeError, DecodeOptions, OnError, Resync, Stream, TraceBytes};
use crate::asid::Asid;
use crate::config::TraceConfig;
use crate::error::PtError;
use crate::event::{Event, EventDecoder, EventKind};
use crate::flow::{Checkpoint, Engine, FlowError, Gap, GapCause, Graph, Progress, Sink, Timeline, Where};
use crate::packet::sync;

/// Packets between two looks at whether to stop.
const BUDGET: u32 = 1 << 14;
/// Instructions without a look at whether to stop.
const STEPS_UNASKED: u64 = 1 << 22;
/// Bytes of trace in a piece, at least and at most.
const PIECE: std::ops::RangeInclusive<u64> = 256 << 10..=4 << 20;
/// Bytes of trace before a piece that its guess is made from.
const BEFORE: u64 = 64 << 10;
/// How often a decode on several threads asks whether to stop.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Collects what a stream keeps.
#[derive(Default)]
pub(super) struct Builder {
    pub distance: u64,
    pub checkpoints: Vec<Checkpoint>,
    pub gaps: Vec<Gap>,
    pub moments: Vec<(u64, usize, u64)>,
    pub events: u64,
    /// The PSB to stop at.
    until: Option<u64>,
    /// What it looked like there.
    reached: Option<Checkpoint>,
    /// At which multiple of the distance the last checkpoint lies.
    cell: Option<u64>,
}

impl Builder {
    pub fn new(distance: u64) -> Self {
        Builder { distance: distance.max(1), ..Builder::default() }
    }

    fn done(&self) -> bool {
        self.reached.is_some()
    }
}

impl Sink for Builder {
    const RUNS: bool = false;

    fn event(&mut self, _: &Event, _: Where, _: &Engine) {
        self.events += u64::from(!self.done());
    }

    fn gap(&mut self, gap: Gap) {
        if !self.done() {
            self.gaps.push(gap);
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
            return;
        }
        let cell = engine.events().offset() / self.distance;
        if self.cell != Some(cell) {
            self.cell = Some(cell);
            self.checkpoints.push(engine.checkpoint());
        }
    }
}

/// Walks to the end of the trace, or until the sink is `done`; damage becomes gaps. `stop` is asked now and then.
pub(super) fn drive<S: Sink>(
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
        if rounds % 64 == 0 || engine.step() - asked >= STEPS_UNASKED {
            asked = engine.step();
            if stop(engine) {
                return Err(DecodeError::Interrupted);
            }
        }
    }
}

/// Everything that all pieces of a decode share.
struct Job<'a> {
    trace: &'a [u8],
    config: &'a TraceConfig,
    timeline: &'a Timeline,
    options: &'a DecodeOptions,
    knowledge: &'a Knowledge,
    /// Offsets of the PSBs that pieces begin at; the first piece begins at the first PSB, wherever that is.
    starts: Vec<u64>,
    /// The address space at the first PSB.
    asid: Asid,
    /// Nothing behind the first gap matters.
    raise: bool,
}

/// A decoded piece.
struct Piece {
    built: Builder,
    /// What the piece began with.
    began: Option<Checkpoint>,
    /// The piece that comes next: beyond the last one at the end of the trace.
    next: usize,
    /// There were CYC packets.
    met_cyc: bool,
    /// A return site was asked for that an earlier piece may have pushed.
    ran_out: bool,
    steps: u64,
    last_tsc: Option<u64>,
}

impl Job<'_> {
    fn engine(&self, graph: Graph) -> Engine {
        Engine::new(self.config, self.options.engine.clone(), self.timeline.clone(), graph)
    }

    fn graph(&self) -> Graph {
        self.knowledge.graph(self.timeline, self.options)
    }

    /// Decodes from where the engine stands to the start of piece `next` or a later one; with `halt` no further than
    /// to a gap. `stop` is asked now and then, with the trace offset.
    fn run(
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
            // A PSB that is none, or is broken, is passed.
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
    fn guess(&self, at: usize, graph: Graph, stop: impl FnMut(u64) -> bool) -> (Option<Piece>, Graph) {
        let mut engine = self.engine(graph);
        let Some(&psb) = self.starts.get(at) else { return (None, engine.into_graph()) };
        let from =
            sync::forward(self.trace, psb.saturating_sub(BEFORE) as usize).map_or(psb, |from| from as u64);
        if !engine.guess(self.trace, from.min(psb), psb, self.asid) {
            return (None, engine.into_graph());
        }
        let built = Builder::new(self.options.checkpoint_distance);
        // A gap may come of the guess.
        let mut piece = self.run(&mut engine, built, at + 1, false, stop).ok();
        if let Some(piece) = &mut piece {
            // The first thing a piece meets is the checkpoint at its PSB.
            piece.began = piece.built.checkpoints.first().cloned();
        }
        (piece, engine.into_graph())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half-done under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is put together so far.
struct Whole {
    built: Builder,
    steps: u64,
    last_tsc: Option<u64>,
    /// The piece that comes next.
    next: usize,
    /// What it begins with.
    here: Option<Checkpoint>,
    /// What `here` says of the calibration of cycles is right.
    calibrated: bool,
    /// A checkpoint for which that holds.
    exact: Option<Checkpoint>,
}

impl Whole {
    /// The first piece, which began with the truth.
    fn begun(mut first: Piece) -> Self {
        let here = first.built.reached.take();
        Whole {
            steps: first.steps,
            last_tsc: first.last_tsc,
            next: first.next,
            exact: here.clone(),
            here,
            calibrated: true,
            built: first.built,
        }
    }

    /// The trace offset up to which everything is put together.
    fn reached(&self) -> u64 {
        self.here.as_ref().map_or(0, |here| here.offset)
    }

    /// Whether a piece that began with a guess began with the truth.
    fn fits(&self, piece: &Piece) -> bool {
        let (Some(here), Some(began)) = (&self.here, &piece.began) else { return false };
        let exact = piece.met_cyc;
        (!exact || self.calibrated) && here.agrees(began, exact) && !(piece.ran_out && here.stack_depth() > 0)
    }

    /// Makes what is known of the calibration right: reads the packets since it was.
    fn calibrate(&mut self, trace: &[u8]) {
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
    fn decode_next(
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
        *self = Whole::begun(job.run(engine, built, self.next + 1, job.raise, stop)?);
        Ok(())
    }

    /// Takes in a piece that fits.
    fn add(&mut self, piece: Piece) {
        let Some(here) = self.here.take() else { return };
        self.next = piece.next;
        let agreed = piece.began.as_ref().is_some_and(|began| here.agrees(began, true));
        self.calibrated &= agreed;
        let base = here.step;
        let mut built = piece.built;
        let cell = built.checkpoints.first().map(|first| first.offset / self.built.distance);
        if cell == self.built.cell && cell.is_some() {
            built.checkpoints.remove(0);
        }
        self.built.cell = built.cell.or(self.built.cell);
        self.built
            .checkpoints
            .extend(built.checkpoints.into_iter().map(|checkpoint| checkpoint.behind(&here)));
        self.built.gaps.extend(built.gaps.into_iter().map(|gap| Gap { step: gap.step + base, ..gap }));
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

/// Decodes a whole trace.
///
/// `interrupted` is asked every few milliseconds, with the trace offset reached; true stops.
/// What stands before the first PSB is skipped, as every decoder does: the end of something longer
/// whose start is gone. A trace without a PSB is one gap.
///
/// The result does not depend on the number of threads. An image with a callback is decoded on one, in order.
pub fn decode(
    trace: TraceBytes,
    config: &TraceConfig,
    timeline: Timeline,
    options: DecodeOptions,
    mut interrupted: impl FnMut(u64) -> bool,
) -> Result<Stream, DecodeError> {
    let knowledge = Knowledge::of(&timeline, &options);
    let bytes = (*trace).as_ref();
    let mut job = Job {
        trace: bytes,
        config,
        timeline: &timeline,
        options: &options,
        knowledge: &knowledge,
        starts: Vec::new(),
        asid: Asid::default(),
        raise: options.on_error == OnError::Raise,
    };
    let mut engine = job.engine(job.graph());
    let mut built = Builder::new(options.checkpoint_distance);
    let mut first_tsc = None;
    let (built, steps, last_tsc) = if !engine.start(bytes) {
        if bytes.iter().any(|&byte| byte != 0) {
            built.gaps.push(no_psb(bytes));
        }
        knowledge.give_back(engine.into_graph());
        (built, 0, None)
    } else {
        first_tsc = engine.tsc();
        // Before anything happens: not every first PSB+ tells whether tracing is on.
        built.checkpoint(&engine);
        if options.threads > 1 && !timeline.has_callback() && config.unknown_packets.is_none() {
            job.starts = starts(bytes, engine.events().sync_offset(), &options);
            job.asid = first_asid(engine.events(), bytes);
        }
        if job.starts.is_empty() {
            let piece = job.run(&mut engine, built, 0, job.raise, interrupted);
            knowledge.give_back(engine.into_graph());
            let piece = piece?;
            (piece.built, piece.steps, piece.last_tsc)
        } else {
            let whole = in_pieces(&job, engine, built, &mut interrupted)?;
            (whole.built, whole.steps, whole.last_tsc)
        }
    };
    if let (true, Some(&gap)) = (job.raise, built.gaps.first()) {
        return Err(DecodeError::Gap(gap));
    }
    let mut checkpoints = built.checkpoints;
    checkpoints.shrink_to_fit();
    Ok(Stream {
        trace: trace.clone(),
        config: config.clone(),
        timeline: timeline.clone(),
        knowledge,
        checkpoints,
        gaps: built.gaps,
        moments: built.moments,
        steps,
        events: built.events,
        first_tsc,
        last_tsc,
        options,
    })
}

fn no_psb(trace: &[u8]) -> Gap {
    Gap {
        step: 0,
        cause: GapCause::Lost,
        code: Some(PtError::Nosync),
        offset: 0,
        bytes_lost: trace.len() as u64,
        ip: None,
        asid: Asid::default(),
        tsc: None,
    }
}

/// Where pieces begin, but for the first: the first PSB behind each multiple of the piece's size.
fn starts(trace: &[u8], first: u64, options: &DecodeOptions) -> Vec<u64> {
    let length = trace.len() as u64;
    let size = options
        .piece
        .unwrap_or_else(|| (length / (8 * options.threads as u64)).clamp(*PIECE.start(), *PIECE.end()));
    let size = size.max(1);
    let mut starts = Vec::new();
    let mut at = first + size;
    while at < length {
        let Some(psb) = sync::forward(trace, at as usize) else { break };
        starts.push(psb as u64);
        at = (psb as u64 + 1).max(at + size);
    }
    starts
}

/// The address space that the first PSB+ names.
fn first_asid(events: &EventDecoder, trace: &[u8]) -> Asid {
    let mut asid = Asid::default();
    let mut scout = events.clone();
    while let Ok(event) = scout.next(trace) {
        match event.kind {
            _ if !event.status_update => break,
            EventKind::AsyncPaging { cr3, .. } => asid.cr3 = Some(cr3),
            EventKind::AsyncVmcs { base, .. } => asid.vmcs = Some(base),
            _ => {}
        }
    }
    asid
}

fn in_pieces(
    job: &Job<'_>,
    engine: Engine,
    first: Builder,
    interrupted: &mut dyn FnMut(u64) -> bool,
) -> Result<Whole, DecodeError> {
    let count = job.starts.len();
    let shared = Shared::new(count);
    std::thread::scope(|scope| {
        for _ in 1..job.options.threads {
            scope.spawn(|| {
                let mut graph = job.graph();
                while let Some(at) = shared.next_to_begin(count) {
                    let (piece, used) = job.guess(at, graph, |offset| {
                        shared.reached.fetch_max(offset, Ordering::Relaxed);
                        shared.stopped.load(Ordering::Relaxed)
                    });
                    graph = used;
                    shared.put(at, piece);
                }
                job.knowledge.give_back(graph);
            });
        }
        // Whoever asked to stop need not be asked again.
        let mut stop = |here: u64| {
            let offset = shared.reached.fetch_max(here, Ordering::Relaxed).max(here);
            if !shared.stopped.load(Ordering::Relaxed) && interrupted(offset) {
                shared.stopped.store(true, Ordering::Relaxed);
            }
            shared.stopped.load(Ordering::Relaxed)
        };
        let (whole, graph) = put_together(job, engine, first, &shared, &mut stop);
        shared.stopped.store(true, Ordering::Relaxed);
        job.knowledge.give_back(graph);
        whole
    })
}

/// Decodes the first piece, then takes the others as they come; while one is not ready yet, decodes a later one.
fn put_together(
    job: &Job<'_>,
    mut engine: Engine,
    first: Builder,
    shared: &Shared,
    stop: &mut dyn FnMut(u64) -> bool,
) -> (Result<Whole, DecodeError>, Graph) {
    let count = job.starts.len();
    let mut whole = match job.run(&mut engine, first, 0, job.raise, &mut *stop) {
        Ok(first) => Whole::begun(first),
        Err(error) => return (Err(error), engine.into_graph()),
    };
    while whole.next < count && whole.here.is_some() && (!job.raise || whole.built.gaps.is_empty()) {
        shared.wanted.store(whole.next, Ordering::Relaxed);
        let ready = shared.take(whole.next);
        let begun_here = ready.is_none() && shared.begin(whole.next);
        match ready {
            Some(Some(piece)) if whole.fits(&piece) => whole.add(piece),
            None if !begun_here => {
                match shared.next_to_begin(count) {
                    Some(at) => {
                        let (piece, graph) = job.guess(at, engine.into_graph(), &mut *stop);
                        engine = job.engine(graph);
                        shared.put(at, piece);
                    }
                    None => shared.wait_for(whole.next),
                }
                if stop(whole.reached()) {
                    return (Err(DecodeError::Interrupted), engine.into_graph());
                }
            }
            // There was no guess or a wrong one, or nobody has begun with it and there is no need to guess.
            _ => {
                if let Err(error) = whole.decode_next(job, &mut engine, stop) {
                    return (Err(error), engine.into_graph());
                }
            }
        }
    }
    (Ok(whole), engine.into_graph())
}

/// What the threads of a decode share.
struct Shared {
    /// By number; the inner None says that there was no guess.
    pieces: Mutex<Vec<Option<Option<Piece>>>>,
    ready: Condvar,
    /// The piece that is begun with next.
    begun: AtomicUsize,
    /// The piece that is put together next: guesses at those before are in vain.
    wanted: AtomicUsize,
    stopped: AtomicBool,
    /// The largest trace offset reached.
    reached: AtomicU64,
}

impl Shared {
    fn new(count: usize) -> Self {
        Shared {
            pieces: Mutex::new((0..count).map(|_| None).collect()),
            ready: Condvar::new(),
            begun: AtomicUsize::new(0),
            wanted: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            reached: AtomicU64::new(0),
        }
    }

    /// Begins with piece `at`, if it is the next to begin with.
    fn begin(&self, at: usize) -> bool {
        self.begun.compare_exchange(at, at + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn next_to_begin(&self, count: usize) -> Option<usize> {
        loop {
            let at = self.begun.fetch_add(1, Ordering::Relaxed);
            if at >= count || self.stopped.load(Ordering::Relaxed) {
                return None;
            }
            if at >= self.wanted.load(Ordering::Relaxed) {
                return Some(at);
            }
        }
    }

    fn put(&self, at: usize, piece: Option<Piece>) {
        if let Some(slot) = locked(&self.pieces).get_mut(at) {
            *slot = Some(piece);
        }
        self.ready.notify_all();
    }

    fn take(&self, at: usize) -> Option<Option<Piece>> {
        locked(&self.pieces).get_mut(at).and_then(Option::take)
    }

    /// Waits until piece `at` may be ready.
    fn wait_for(&self, at: usize) {
        let pieces = locked(&self.pieces);
        if pieces.get(at).is_some_and(Option::is_none) {
            let _ = self.ready.wait_timeout(pieces, ASK_EVERY);
        }
    }
}
