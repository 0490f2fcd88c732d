//! The call stacks of a thread, at any step of its history.

use std::ops::Range;
use std::sync::Arc;

use super::super::parallel::{Ask, Interrupted, Piece};
use super::super::stream::Stream;
use super::chain::{Chains, Kind};
use super::names::Names;
use super::tracker::{Revealed, State, Tracker};
use super::walk::Following;

/// Bytes of trace in a piece: a question walks through one of them.
const PIECE: u64 = 32 << 10;
/// Most items that are kept; with more of them, fewer places are remembered.
const MOST_ITEMS: usize = 1 << 22;

/// Steps of a stream as steps of a history.
#[derive(Clone)]
pub struct StackPart {
    /// The stream.
    pub stream: Arc<Stream>,
    /// The first step in the stream.
    pub first: u64,
    /// The step behind the last one.
    pub last: u64,
    /// Trace offsets of the events that belong to it.
    pub within: Range<u64>,
    /// What is added to a step of the stream to get one of the history.
    pub base: i64,
    /// Trace bytes are missing before it.
    pub lost: bool,
}

/// How a frame was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// It made a call.
    Call,
    /// It was interrupted, by a signal or otherwise.
    Interrupted,
    /// A later return went there.
    Revealed,
}

/// A frame around the innermost one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackFrame {
    /// Where it goes on.
    pub ip: u64,
    /// The step of the call; of what was interrupted, the last step before; of a frame that was revealed, the step of the
    /// return to it.
    pub step: u64,
    /// How it was found.
    pub kind: FrameKind,
    /// It may not be there.
    pub is_guess: bool,
}

/// A call stack without its innermost frame, which is where execution goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallStack {
    /// The innermost frame first.
    pub frames: Vec<StackFrame>,
    /// The stack was begun while it was watched, so there are no more frames.
    pub is_complete: bool,
    /// How many more frames are known than are listed.
    pub left_out: u64,
    /// Frames may be missing below the last one, besides those that nothing is known of.
    pub ends_in_doubt: bool,
    /// Where execution goes on, if that is a step.
    pub ip: Option<u64>,
}

/// What the stacks were before a piece.
struct Place {
    /// The first step, as the history counts.
    step: u64,
    part: usize,
    /// Which piece of the part.
    number: usize,
    state: State,
}

/// The call stacks of a history, ready to be asked for.
pub struct Stacks {
    parts: Vec<(StackPart, Vec<Piece>)>,
    places: Vec<Place>,
    chains: Chains,
    names: Arc<Names>,
    programs: Arc<Vec<u64>>,
    revealed: Vec<Revealed>,
    losses: Vec<u64>,
    unexplained: Vec<u64>,
}

impl Stacks {
    /// Follows all calls and returns of a history. `programs` are the times (TSC) at which it goes on with another program
    /// and so with a new stack; `names` help where return addresses do not suffice.
    pub fn new(
        parts: Vec<StackPart>,
        names: Names,
        mut programs: Vec<u64>,
        ask: Ask<'_>,
    ) -> Result<Stacks, Interrupted> {
        programs.sort_unstable();
        let (names, programs) = (Arc::new(names), Arc::new(programs));
        let mut tracker = Tracker::new(names.clone(), programs.clone());
        let mut places: Vec<Place> = Vec::new();
        // Every so many pieces are remembered.
        let mut every = 1;
        let mut followed = Vec::with_capacity(parts.len());
        for (number, part) in parts.into_iter().enumerate() {
            if part.lost {
                tracker.lose(part.first.wrapping_add_signed(part.base));
            }
            let pieces = part.stream.cut_to(part.first, part.last, PIECE);
            let following = Following { base: part.base, within: part.within.clone(), limit: u64::MAX };
            let mut at = 0;
            part.stream.in_pieces(&following, &pieces, ask, |(ops, _)| {
                if let Some(&piece) = pieces.get(at).filter(|_| at % every == 0) {
                    let step = piece.start.wrapping_add_signed(part.base);
                    places.push(Place { step, part: number, number: at, state: tracker.remember() });
                }
                at += 1;
                for op in ops {
                    tracker.apply(op);
                }
                while tracker.weight() + waiting(&places) > MOST_ITEMS && places.len() > 1 {
                    every *= 2;
                    let mut nth = 0;
                    places.retain(|_| {
                        nth += 1;
                        nth % 2 == 1
                    });
                    tracker.compact(places.iter_mut().map(|place| &mut place.state));
                    if places.len() < 8 {
                        break;
                    }
                }
                true
            })?;
            followed.push((part, pieces));
        }
        let (revealed, losses) = (tracker.revealed, tracker.losses);
        let (mut chains, unexplained) = (tracker.chains, tracker.unexplained);
        chains.share();
        Ok(Stacks { parts: followed, places, chains, names, programs, revealed, losses, unexplained })
    }

    /// Addresses that execution went to with another stack pointer, where nothing says which frame that is. With names
    /// of what lies there more may be known.
    pub fn unexplained(&self) -> &[u64] {
        &self.unexplained
    }

    /// Bytes that it occupies, roughly.
    pub fn size(&self) -> usize {
        self.chains.len() * 32 + self.places.len() * std::mem::size_of::<Place>() + waiting(&self.places) * 96
    }

    /// The stack before the instruction of a step is executed; behind the last step, the one at the end. At most so many
    /// frames are listed.
    pub fn at(&self, step: u64, most: usize, ask: Ask<'_>) -> Result<CallStack, Interrupted> {
        let after = self.places.partition_point(|place| place.step <= step);
        let Some(place) = after.checked_sub(1).and_then(|at| self.places.get(at)) else {
            return Ok(CallStack::default());
        };
        let Some((part, pieces)) = self.parts.get(place.part) else { return Ok(CallStack::default()) };
        let mut tracker =
            Tracker::at(self.chains.clone(), place.state.clone(), self.names.clone(), self.programs.clone());
        // Places may have been forgotten, so that there are more pieces on the way.
        let own = step.wrapping_add_signed(-part.base);
        let following = Following { base: part.base, within: part.within.clone(), limit: step };
        let last = pieces.partition_point(|piece| piece.start <= own);
        let mut ways = pieces.get(place.number..last).unwrap_or(&[]).to_vec();
        if let Some(piece) = ways.last_mut().filter(|piece| own + 1 < piece.stop) {
            *piece = piece.up_to(own + 1);
        }
        let mut ip = None;
        part.stream.in_pieces(&following, &ways, ask, |(ops, here)| {
            ip = here;
            for op in ops {
                tracker.apply(op);
            }
            true
        })?;
        Ok(CallStack { ip, ..self.frames(&tracker, step, most) })
    }

    fn frames(&self, tracker: &Tracker, step: u64, most: usize) -> CallStack {
        let mut stack = CallStack::default();
        let mut is_guess = false;
        for (link, item) in tracker.chains.walk(tracker.state.line.top) {
            is_guess |= tracker.guessed() == Some(link) || item.kind == Kind::Doubt;
            if !item.is_frame() {
                continue;
            }
            if stack.frames.len() >= most {
                stack.left_out += 1;
                continue;
            }
            let kind = if item.is_call() { FrameKind::Call } else { FrameKind::Interrupted };
            stack.frames.push(StackFrame { ip: item.ip, step: item.step, kind, is_guess });
        }
        if tracker.begun_here() {
            stack.is_complete = stack.left_out == 0;
            return stack;
        }
        let later = self.revealed.partition_point(|revealed| revealed.step < step);
        let lost = self.losses.partition_point(|&lost| lost <= step);
        for revealed in self.revealed.get(later..).unwrap_or(&[]) {
            if stack.frames.len() >= most {
                stack.left_out += 1;
                continue;
            }
            is_guess |= self.losses.get(lost).is_some_and(|&lost| lost <= revealed.step);
            let kind = FrameKind::Revealed;
            stack.frames.push(StackFrame { ip: revealed.ip, step: revealed.step, kind, is_guess });
        }
        stack.ends_in_doubt = is_guess || lost < self.losses.len();
        stack
    }
}

/// Stacks that wait, in all places together.
fn waiting(places: &[Place]) -> usize {
    let mut last: Option<&Place> = None;
    let mut sum = 0;
    for place in places {
        if last.is_none_or(|last| !Arc::ptr_eq(&last.state.lines, &place.state.lines)) {
            sum += place.state.lines.len();
        }
        last = Some(place);
    }
    sum
}
