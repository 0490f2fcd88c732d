//! What is kept of the calls of a history, or of some of its steps.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::called::Found;
use super::ledger::{Ledger, Spent};
use super::names::Names;
use super::ops::Ops;
use super::stacks::StackPart;
use super::tracker::{Beginning, Tracker};
use crate::history::passes::executions::Executions;
use crate::history::passes::parallel::{Ask, Interrupted};

/// Bytes of trace in a piece. It does not depend on the number of threads: a path or call too many must be the same one.
const PIECE: u64 = 1 << 20;
/// More items than this are looked through for those that nothing leads to any more.
const MANY_ITEMS: usize = 1 << 20;

/// The calls of a part of a history, and what a [`Ledger`] keeps of them, on top of stacks that are not known yet; those of
/// consecutive parts can be merged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(
    serialize = "L: Serialize, L::Note: Serialize, L::Line: Serialize",
    deserialize = "L: Deserialize<'de>, L::Note: Deserialize<'de>, L::Line: Deserialize<'de>"
))]
pub struct Calls<L: Ledger>(Vec<Ops<L>>);

impl<L: Ledger> Default for Calls<L> {
    fn default() -> Self {
        Calls(Vec::new())
    }
}

impl<L: Ledger> Calls<L> {
    #[cfg(test)]
    pub(super) fn of(parts: Vec<Ops<L>>) -> Self {
        Calls(parts)
    }

    /// Adds the calls of a part of a history that follows.
    pub fn follow(&mut self, part: &StackPart, ask: Ask<'_>) -> Result<(), Interrupted>
    where
        L: Ledger<Note: Send, Line: Send> + Send,
    {
        if part.lost {
            self.0.push(Ops::lost(part.span().0));
        }
        part.follow(&part.pieces(PIECE), u64::MAX, ask, |ops, _| self.0.push(ops))
    }

    /// Adds the calls of the part of the history that follows this one.
    pub fn merge(&mut self, mut next: Calls<L>) {
        self.0.append(&mut next.0);
    }

    /// The same with other numbers of steps: those of a part count from its own first one.
    pub fn move_by(&mut self, steps: i64) {
        for ops in &mut self.0 {
            ops.move_by(steps);
        }
    }

    /// Trace bytes are missing behind it.
    pub fn lose(&mut self) {
        let step = self.0.last().map_or(0, Ops::end_step);
        self.0.push(Ops::lost(step));
    }

    /// The calls of a whole history. For what else is needed see [`Stacks::new`](super::Stacks::new).
    pub fn settled(&self, is_first: bool, names: Arc<Names>, programs: Vec<u64>) -> Settled<L> {
        let programs = sorted(programs);
        let is_first = begins_thread(is_first, self.0.first().is_some_and(Ops::begin_lost));
        let settled = again_and_again(is_first, |beginning| {
            let mut settling = Settling::new(Tracker::new(names.clone(), programs.clone(), beginning));
            for ops in &self.0 {
                settling.add(ops.clone());
            }
            let again = settling.tracker.again(beginning);
            Ok((end(settling.tracker), again))
        });
        // No stop was asked for.
        settled.unwrap_or_else(|Interrupted| end(Tracker::default()))
    }
}

/// Whether the first step of a history is the first one of its thread: `is_first` says so, and nothing is missing before it.
pub(super) fn begins_thread(is_first: bool, is_lost: bool) -> bool {
    is_first && !is_lost
}

/// Walks a history until no other walk would know more. `walk` gives what it found, and what another one is to begin with.
pub(super) fn again_and_again<T>(
    is_first: bool,
    mut walk: impl FnMut(&Beginning) -> Result<(T, Option<Beginning>), Interrupted>,
) -> Result<T, Interrupted> {
    let mut beginning = Beginning { is_first, ..Beginning::default() };
    loop {
        let (found, again) = walk(&beginning)?;
        match again {
            Some(again) => beginning = again,
            None => return Ok(found),
        }
    }
}

/// What is kept of the calls in some steps, on top of stacks that are known.
pub struct Settled<L: Ledger> {
    /// What was kept.
    pub ledger: L,
    /// Steps and ticks from the first step to the last one.
    pub spent: Spent,
    /// See [`Stacks::unexplained`](super::Stacks::unexplained).
    pub unexplained: Vec<u64>,
    /// Functions that are known only because they were called.
    pub found: Found,
}

impl<A: Ledger, B: Ledger> Settled<(A, B)> {
    /// What either ledger kept.
    pub fn split(self) -> (Settled<A>, Settled<B>) {
        let Settled { ledger: (one, other), spent, unexplained, found } = self;
        (
            Settled { ledger: one, spent, unexplained: unexplained.clone(), found: found.clone() },
            Settled { ledger: other, spent, unexplained, found },
        )
    }
}

/// Follows all calls and returns of a history: see [`Stacks::new`](super::Stacks::new). `executions` are counted on the way.
pub fn fold<L>(
    parts: Vec<StackPart>,
    is_first: bool,
    names: Arc<Names>,
    programs: Vec<u64>,
    executions: &mut Executions,
    ask: Ask<'_>,
) -> Result<Settled<L>, Interrupted>
where
    L: Ledger<Note: Send, Line: Send> + Send,
{
    let programs = sorted(programs);
    let is_first = begins_thread(is_first, parts.first().is_none_or(|part| part.lost));
    let mut counted = false;
    again_and_again(is_first, |beginning| {
        let tracker = Tracker::new(names.clone(), programs.clone(), beginning);
        let mut nothing = Executions::default();
        let counting = if std::mem::replace(&mut counted, true) { &mut nothing } else { &mut *executions };
        let tracker = walk(tracker, parts.clone(), counting, ask)?;
        let again = tracker.again(beginning);
        Ok((end(tracker), again))
    })
}

pub(super) fn sorted(mut programs: Vec<u64>) -> Arc<Vec<u64>> {
    programs.sort_unstable();
    Arc::new(programs)
}

/// Follows parts that come behind what a tracker knows.
pub(super) fn fold_from<L>(
    tracker: Tracker<L>,
    parts: Vec<StackPart>,
    executions: &mut Executions,
    ask: Ask<'_>,
) -> Result<Settled<L>, Interrupted>
where
    L: Ledger<Note: Send, Line: Send> + Send,
{
    Ok(end(walk(tracker, parts, executions, ask)?))
}

fn walk<L>(
    tracker: Tracker<L>,
    parts: Vec<StackPart>,
    executions: &mut Executions,
    ask: Ask<'_>,
) -> Result<Tracker<L>, Interrupted>
where
    L: Ledger<Note: Send, Line: Send> + Send,
{
    let mut settling = Settling::new(tracker);
    for part in parts {
        if part.lost {
            settling.tracker.lose();
        }
        let pieces = part.pieces(PIECE);
        if executions.is_asked() {
            part.follow_and_count(&pieces, executions, ask, |ops| settling.add(ops))?;
        } else {
            part.follow(&pieces, u64::MAX, ask, |ops, _| settling.add(ops))?;
        }
    }
    Ok(settling.tracker)
}

/// What of the parts of a history lies in some of its steps.
pub(super) fn cut(parts: Vec<StackPart>, steps: Range<u64>) -> Vec<StackPart> {
    let total = parts.last().map_or(0, StackPart::end);
    let behind = parts.iter().filter_map(|part| part.behind(steps.start));
    if steps.end >= total {
        // What happens behind the last step belongs to it.
        return behind.collect();
    }
    behind.filter_map(|part| part.before(steps.end)).collect()
}

/// A tracker that forgets what nothing leads to.
struct Settling<L: Ledger> {
    tracker: Tracker<L>,
    many: usize,
}

impl<L: Ledger> Settling<L> {
    fn new(tracker: Tracker<L>) -> Self {
        Settling { tracker, many: MANY_ITEMS }
    }

    fn add(&mut self, ops: Ops<L>) {
        self.tracker.add(ops);
        if self.tracker.weight() > self.many {
            self.tracker.compact(std::iter::empty());
            self.many = (2 * self.tracker.weight()).max(MANY_ITEMS);
        }
    }
}

/// What is kept in the end.
pub(super) fn end<L: Ledger>(mut tracker: Tracker<L>) -> Settled<L> {
    tracker.finish();
    let Tracker { books, unexplained, met, .. } = tracker;
    let (begin, end) = books.span();
    let spent = Spent { steps: end.steps.wrapping_sub(begin), ticks: end.ticks };
    Settled { ledger: books.ledger, spent, unexplained, found: met.found() }
}
