//! A pass over some steps, on one core or several.
//!
//! The steps are cut into pieces at PSBs, of about equal trace bytes. What a piece gives does not depend on the pieces
//! before it; results are taken in order. A PSB is always followed by an event, so no block crosses from one piece to
//! the next.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::event::Event;
use crate::flow::{Engine, Gap, Graph, NodeId, RunState, Runs, Sink, Where};
use crate::history::decode::builder::drive;
use crate::history::decode::decoded_trace::{clip, DecodedTrace, Pass};

/// The caller asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

/// Asked every few milliseconds whether to stop, on the thread that called.
pub type Ask<'a> = &'a mut dyn FnMut() -> bool;

/// Bytes of trace in a piece, at least and at most.
const PIECE: std::ops::RangeInclusive<u64> = 128 << 10..=4 << 20;
/// How often a thread that waits asks whether to stop.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Steps `start..stop` of a stream, walked at once, and what happens before them and before the step behind them.
#[derive(Clone, Copy, Debug)]
pub(in crate::history) struct Piece {
    pub start: u64,
    pub stop: u64,
    /// Number of the checkpoint to begin at.
    checkpoint: usize,
    /// The PSB at which the next piece begins, or that the stream ends at.
    until: Option<u64>,
}

impl Piece {
    /// The same up to an earlier step.
    pub fn up_to(self, stop: u64) -> Piece {
        Piece { stop, until: None, ..self }
    }
}

/// A question that is asked of pieces.
pub(in crate::history) trait Verb: Sync {
    /// What a thread keeps from piece to piece.
    type Worker: Send;
    /// What a piece gives, taken in order.
    type Part: Send;
    /// What a thread gives in the end, taken in any order.
    type Sum: Send;

    fn worker(&self) -> Self::Worker;

    /// Walks piece number `at`.
    fn piece(
        &self,
        worker: &mut Self::Worker,
        walker: &mut Walker<'_>,
        at: usize,
        piece: Piece,
    ) -> Self::Part;

    /// What is in `worker`, after the last piece; `graph` is the one it was told of.
    fn sum(&self, worker: Self::Worker, graph: &Graph) -> Self::Sum;
}

/// Walks pieces of a stream, with one graph of its code.
pub(in crate::history) struct Walker<'a> {
    stream: &'a DecodedTrace,
    engine: Option<Engine>,
    stop: &'a mut dyn FnMut() -> bool,
    stopped: bool,
    /// The windows are those of a question.
    forgets: bool,
}

impl Walker<'_> {
    /// The graph of the code.
    pub fn graph_mut(&mut self) -> Option<&mut Graph> {
        self.engine.as_mut().map(Engine::graph_mut)
    }

    /// Tells a pass everything in a piece: runs cut to its steps, and what else there is up to the next piece.
    pub fn walk<P: Pass>(&mut self, piece: Piece, pass: &mut P) {
        let stream = self.stream;
        let (Some(checkpoint), Some(engine)) =
            (stream.checkpoints.get(piece.checkpoint), self.engine.as_mut())
        else {
            return;
        };
        engine.restore(checkpoint);
        if P::RUNS == Runs::Wanted && !std::mem::replace(&mut self.forgets, true) {
            // What is remembered may pass by what is wanted.
            engine.forget_windows();
        }
        let mut within = Within { pass, piece, over: false };
        let trace = (*stream.trace).as_ref();
        let resync = stream.options.resync;
        let past = |engine: &Engine| piece.until.is_none() && engine.step() > piece.stop;
        let done =
            |engine: &Engine, within: &Within<'_, P>| within.over || past(engine) || within.pass.done();
        // Everything was seen when the stream was made, so no error can come that did not come then.
        let walked = drive(engine, trace, &mut within, resync, 256, done, |_| (self.stop)());
        self.stopped |= walked.is_err();
    }
}

/// A pass, told of one piece only.
struct Within<'a, P> {
    pass: &'a mut P,
    piece: Piece,
    /// The next piece has been reached.
    over: bool,
}

impl<P> Within<'_, P> {
    /// Nothing belongs to the piece any more.
    fn leave(&mut self) {
        self.over = true;
        self.piece.start = u64::MAX;
    }
}

impl<P: Pass> Sink for Within<'_, P> {
    const RUNS: Runs = P::RUNS;

    fn wants(&mut self, graph: &Graph, node: NodeId) -> bool {
        self.pass.wants(graph, node)
    }

    #[inline(always)]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        let reached = state.step + u64::from(to - from);
        if state.step >= self.piece.start && reached <= self.piece.stop {
            self.pass.run(graph, node, from, to, state);
            return;
        }
        if self.over {
            return;
        }
        if let Some((from, to, step)) = clip(state, from, to, self.piece.start, self.piece.stop) {
            self.pass.run(graph, node, from, to, &RunState { step, ..*state });
        }
        if self.piece.until.is_none() && reached > self.piece.stop {
            self.leave();
        }
    }

    fn rounds(&mut self, graph: &Graph, node: NodeId, rounds: u64, state: &RunState) {
        let count = graph.count(node);
        let length = u64::from(count);
        let inside = state.step >= self.piece.start && state.step + rounds * length <= self.piece.stop;
        if inside && !self.over {
            self.pass.rounds(graph, node, rounds, state);
            return;
        }
        // Rounds before the piece need not be told one by one, nor those behind it.
        let skipped = (self.piece.start.saturating_sub(state.step) / length.max(1)).min(rounds);
        for round in skipped..rounds {
            if self.over {
                return;
            }
            self.run(graph, node, 0, count, &RunState { step: state.step + round * length, ..*state });
        }
    }

    fn event(&mut self, event: &Event, place: Where, engine: &Engine) {
        if !self.over && place.step >= self.piece.start {
            self.pass.event(event, place, engine);
        }
    }

    fn gap(&mut self, gap: Gap) {
        if !self.over && gap.step >= self.piece.start {
            self.pass.gap(gap);
        }
    }

    fn checkpoint(&mut self, engine: &Engine) {
        if self.piece.until.is_some() && engine.psb_at_hand() == self.piece.until {
            self.leave();
        }
    }
}

impl DecodedTrace {
    /// Cuts steps into pieces for the threads of this stream. `first_only`: probably only the first results are wanted.
    pub(in crate::history) fn cut(&self, start: u64, stop: u64, first_only: bool) -> Vec<Piece> {
        let (first, end) = self.around(start, stop);
        self.cut_from(first, (start, stop), end, first_only)
    }

    /// The same from a checkpoint on, up to a trace offset or the last step, the nearer of the two.
    pub(in crate::history) fn cut_from(
        &self,
        first: usize,
        steps: (u64, u64),
        end: u64,
        first_only: bool,
    ) -> Vec<Piece> {
        let begun = self.checkpoints.get(first).map_or(0, |checkpoint| checkpoint.offset);
        let bytes = end.min((*self.trace).as_ref().len() as u64).saturating_sub(begun);
        let size = match self.options.threads {
            _ if first_only => *PIECE.start(),
            0 | 1 => *PIECE.end(),
            threads => (bytes / (4 * threads as u64)).clamp(*PIECE.start(), *PIECE.end()),
        };
        self.cut_at(first, steps, end, size)
    }

    /// Cuts steps into pieces of `size` bytes of trace or little more. With `all`, the first piece also
    /// includes the events before the first step.
    pub(in crate::history) fn cut_to(&self, (start, stop): (u64, u64), all: bool, size: u64) -> Vec<Piece> {
        let (mut first, end) = self.around(start, stop);
        if all {
            // Some of it may lie before a checkpoint that stands at this step.
            let before = self.checkpoints.partition_point(|checkpoint| checkpoint.step < start);
            first = before.saturating_sub(1);
        }
        if start == stop && first < self.checkpoints.len() {
            // What happens before a step may be all there is.
            return vec![Piece { start, stop, checkpoint: first, until: self.end_of(stop) }];
        }
        self.cut_at(first, (start, stop), end, size)
    }

    /// The checkpoint before some steps, and the trace offset of the one behind them.
    fn around(&self, start: u64, stop: u64) -> (usize, u64) {
        let after = |step| self.checkpoints.partition_point(|checkpoint| checkpoint.step <= step);
        let end = self.checkpoints.get(after(stop)).map_or(u64::MAX, |checkpoint| checkpoint.offset);
        (self.begin_of(start), end)
    }

    /// The checkpoint to begin at for a step: the last one before it, or the first of all if that is where it begins, for
    /// what happened before the first step counts.
    fn begin_of(&self, start: u64) -> usize {
        let begins = self.checkpoints.first().is_some_and(|first| first.step == start);
        let after = self.checkpoints.partition_point(|checkpoint| checkpoint.step <= start);
        if begins {
            0
        } else {
            after.saturating_sub(1)
        }
    }

    fn cut_at(&self, first: usize, (start, stop): (u64, u64), end: u64, size: u64) -> Vec<Piece> {
        let size = self.options.piece.unwrap_or(size);
        // A part without steps is asked, too: what happened in it counts for those around it.
        if start > stop || start == stop && self.end_of(stop).is_none() {
            return Vec::new();
        }
        let Some(mut begun) = self.checkpoints.get(first).map(|checkpoint| checkpoint.offset) else {
            return Vec::new();
        };
        let mut pieces = vec![Piece { start, stop, checkpoint: first, until: None }];
        for (at, checkpoint) in self.checkpoints.iter().enumerate().skip(first + 1) {
            if checkpoint.step >= stop || checkpoint.offset >= end {
                break;
            }
            let far = checkpoint.step > start && checkpoint.offset - begun >= size;
            let Some(psb) = checkpoint.psb().filter(|_| far) else { continue };
            if let Some(last) = pieces.last_mut() {
                (last.stop, last.until) = (checkpoint.step, Some(psb));
            }
            begun = checkpoint.offset;
            pieces.push(Piece { start: checkpoint.step, stop, checkpoint: at, until: None });
        }
        if let Some(last) = pieces.last_mut() {
            last.until = self.end_of(stop);
        }
        pieces
    }

    /// The PSB at which the steps before `stop` end, where it is known: what lies between belongs to them.
    fn end_of(&self, stop: u64) -> Option<u64> {
        self.ends.filter(|_| stop >= self.steps)
    }

    /// Asks `verb` of pieces; `take` gets what they give, in order, until it returns false.
    pub(in crate::history) fn in_pieces<V: Verb>(
        &self,
        verb: &V,
        pieces: &[Piece],
        ask: Ask<'_>,
        mut take: impl FnMut(V::Part) -> bool,
    ) -> Result<Vec<V::Sum>, Interrupted> {
        let threads = self.options.threads.min(pieces.len());
        let shared = Shared::new(pieces.len());
        let mut sums = Vec::new();
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let mut stop = || shared.stopped.load(Ordering::Relaxed);
                        let mut walker = self.walker(&mut stop);
                        let mut worker = verb.worker();
                        while let Some((at, piece)) = shared.next(pieces) {
                            shared.put(at, verb.piece(&mut worker, &mut walker, at, piece));
                        }
                        walker.end(|graph| verb.sum(worker, graph))
                    })
                })
                .collect();
            let mut walker = self.walker(ask);
            let mut worker = verb.worker();
            let mut taken = 0;
            while taken < pieces.len() && !walker.stopped {
                if let Some(part) = shared.take(taken) {
                    taken += 1;
                    if !take(part) {
                        break;
                    }
                } else if let Some((at, piece)) = shared.next(pieces) {
                    shared.put(at, verb.piece(&mut worker, &mut walker, at, piece));
                } else {
                    shared.wait_for(taken);
                    walker.stopped = (walker.stop)();
                }
            }
            shared.stopped.store(true, Ordering::Relaxed);
            let stopped = walker.stopped;
            sums.extend(walker.end(|graph| verb.sum(worker, graph)));
            sums.extend(others.into_iter().filter_map(|other| other.join().ok().flatten()));
            if stopped {
                Err(Interrupted)
            } else {
                Ok(sums)
            }
        })
    }

    /// Tells a pass all of steps `start..stop`, on one thread.
    pub(in crate::history) fn serially<P: Pass>(
        &self,
        start: u64,
        stop: u64,
        pass: &mut P,
        ask: Ask<'_>,
    ) -> Result<(), Interrupted> {
        if start >= stop {
            return Ok(());
        }
        let mut walker = self.walker(ask);
        let piece = Piece { start, stop, checkpoint: self.begin_of(start), until: self.end_of(stop) };
        walker.walk(piece, pass);
        let stopped = walker.stopped;
        walker.end(|_| ());
        if stopped {
            Err(Interrupted)
        } else {
            Ok(())
        }
    }

    /// Tells a pass everything from a checkpoint on, until it is done.
    pub(in crate::history) fn walk_from<P: Pass>(&self, checkpoint: usize, pass: &mut P) {
        let mut stop = || false;
        let mut walker = self.walker(&mut stop);
        walker.walk(Piece { start: 0, stop: u64::MAX, checkpoint, until: self.ends }, pass);
        walker.end(|_| ());
    }

    fn walker<'a>(&'a self, stop: &'a mut dyn FnMut() -> bool) -> Walker<'a> {
        let graph = self.knowledge.graph(&self.timeline, &self.options);
        let options = self.options.engine.clone();
        let engine = Some(Engine::new(&self.config, options, self.timeline.clone(), graph));
        Walker { stream: self, engine, stop, stopped: false, forgets: false }
    }
}

impl Walker<'_> {
    /// Keeps what was learned of the code.
    fn end<T>(mut self, sum: impl FnOnce(&Graph) -> T) -> Option<T> {
        let mut engine = self.engine.take()?;
        if self.forgets {
            engine.forget_windows();
        }
        let graph = engine.into_graph();
        let sum = sum(&graph);
        self.stream.knowledge.give_back(graph);
        Some(sum)
    }
}

/// What the threads of a pass share.
struct Shared<P> {
    parts: Mutex<Vec<Option<P>>>,
    ready: Condvar,
    next: AtomicUsize,
    stopped: AtomicBool,
}

impl<P> Shared<P> {
    fn new(count: usize) -> Self {
        Shared {
            parts: Mutex::new((0..count).map(|_| None).collect()),
            ready: Condvar::new(),
            next: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// The piece to begin with next, and its number.
    fn next(&self, pieces: &[Piece]) -> Option<(usize, Piece)> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        Some((at, *pieces.get(at)?))
    }

    fn parts(&self) -> MutexGuard<'_, Vec<Option<P>>> {
        // Nothing is left half-done under this lock.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, at: usize, part: P) {
        if let Some(slot) = self.parts().get_mut(at) {
            *slot = Some(part);
        }
        self.ready.notify_all();
    }

    fn take(&self, at: usize) -> Option<P> {
        self.parts().get_mut(at).and_then(Option::take)
    }

    /// Waits until part `at` may be ready.
    fn wait_for(&self, at: usize) {
        let parts = self.parts();
        if parts.get(at).is_some_and(Option::is_none) {
            let _ = self.ready.wait_timeout(parts, ASK_EVERY);
        }
    }
}
