//! Decoding on several threads.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::flow::{Engine, Graph};
use crate::history::decode::builder::Builder;
use crate::history::decode::decoded_trace::DecodeError;
use crate::history::decode::joining::Joining;
use crate::history::decode::piece::{Job, Piece};

/// How often a decode on several threads asks whether to stop.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Decodes the pieces of a job; `engine` stands at the first PSB, and `first` holds what is there.
pub(in crate::history) fn in_pieces(
    job: &Job<'_>,
    engine: Engine,
    first: Builder,
    interrupted: &mut dyn FnMut(u64) -> bool,
) -> Result<Joining, DecodeError> {
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
        // The caller has asked to stop: no need to ask again.
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
) -> (Result<Joining, DecodeError>, Graph) {
    let count = job.starts.len();
    let mut whole = match job.run(&mut engine, first, 0, job.raise, &mut *stop) {
        Ok(first) => Joining::begun(first),
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
            // There was no prediction or a wrong one, or no thread has begun with it and no prediction is needed.
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

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half-done under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
