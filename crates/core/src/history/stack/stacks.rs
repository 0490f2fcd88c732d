//! The call stacks of a thread, at any step of its history.
//!
//! This file is long because it holds one structure, the stacks at checkpoints, and the questions that are asked of it.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use super::below::Below;
use super::called::Found;
use super::chain::{Chains, Item, Kind};
use super::entries::Entries;
use super::folding::{again_and_again, begins_thread, cut, fold_from, sorted, Settled};
use super::ledger::Ledger;
use super::names::Names;
use super::ops::Ops;
use super::switch::Chosen;
use super::tracker::{Beginning, State, Tracker};
use super::walk::{Following, Keeping};
use crate::history::decode::decoded_trace::DecodedTrace;
use crate::history::passes::executions::Executions;
use crate::history::passes::parallel::{Ask, Interrupted, Piece};
use crate::history::passes::question::Asked;

/// Bytes of trace in a piece: a question walks through one of them.
const PIECE: u64 = 32 << 10;
/// Most items that are kept; with more of them, fewer places are remembered.
const MOST_ITEMS: usize = 1 << 22;

/// Steps of a stream as steps of a history.
#[derive(Clone)]
pub struct StackPart {
    /// The stream.
    pub stream: Arc<DecodedTrace>,
    /// The first step in the stream.
    pub first: u64,
    /// The step behind the last one.
    pub end: u64,
    /// Trace offsets of the events that belong to it.
    pub within: Range<u64>,
    /// What is added to a step of the stream to get one of the history.
    pub base: i64,
    /// Trace bytes are missing before it.
    pub lost: bool,
    /// Only what happens before steps from `first` on counts, and before those in front of `end`.
    pub only: (bool, bool),
    /// Where functions begin.
    pub functions: Arc<Entries>,
}

impl StackPart {
    /// All of a stream.
    pub fn whole(stream: Arc<DecodedTrace>) -> StackPart {
        let end = stream.steps();
        let functions = Arc::default();
        let (within, only) = (0..u64::MAX, (false, false));
        StackPart { stream, first: 0, end, within, base: 0, lost: false, only, functions }
    }

    /// Some steps of a stream, with what happens before each.
    pub fn some(stream: Arc<DecodedTrace>, steps: Range<u64>) -> StackPart {
        let whole = StackPart::whole(stream);
        let only = (steps.start > 0, steps.end < whole.end);
        StackPart { first: steps.start, end: steps.end, only, ..whole }
    }

    /// The step behind its last, as the history counts.
    pub fn end(&self) -> u64 {
        self.span().1
    }

    /// How it is followed; `limit` as the history counts.
    fn following(&self, limit: u64) -> Following {
        let step = |step: u64| step.wrapping_add_signed(self.base);
        let from = if self.only.0 { step(self.first) } else { 0 };
        let to = if self.only.1 { step(self.end) } else { u64::MAX };
        Following {
            functions: self.functions.clone(),
            base: self.base,
            within: self.within.clone(),
            steps: from..to,
            limit,
        }
    }

    /// Its first step, and the one behind its last, as the history counts.
    pub(super) fn span(&self) -> (u64, u64) {
        (self.first.wrapping_add_signed(self.base), self.end.wrapping_add_signed(self.base))
    }

    /// What of it lies in front of a step of the history, what happens before that step left out; None if nothing does.
    pub(super) fn before(&self, step: u64) -> Option<StackPart> {
        let (begin, end) = self.span();
        match step {
            _ if step <= begin => None,
            _ if step >= end => Some(self.clone()),
            _ => {
                let end = step.wrapping_add_signed(-self.base);
                Some(StackPart { end, only: (self.only.0, true), ..self.clone() })
            }
        }
    }

    /// What of it lies behind a step of the history, what happens before that step included; None if nothing does.
    pub(super) fn behind(&self, step: u64) -> Option<StackPart> {
        let (begin, end) = self.span();
        match step {
            _ if step <= begin => Some(self.clone()),
            _ if step >= end => None,
            _ => {
                let first = step.wrapping_add_signed(-self.base);
                Some(StackPart { first, only: (true, self.only.1), lost: false, ..self.clone() })
            }
        }
    }

    /// Pieces of `size` bytes of trace or little more.
    pub(super) fn pieces(&self, size: u64) -> Vec<Piece> {
        // Events before the first step may be its own and lie before a checkpoint at that step.
        let all = self.only.0 || self.within.start > 0;
        self.stream.cut_to((self.first, self.end), all, size)
    }

    /// Follows some pieces; `take` gets the operations of each, and the address at the step `limit` if it is there.
    pub(super) fn follow<L>(
        &self,
        pieces: &[Piece],
        limit: u64,
        ask: Ask<'_>,
        mut take: impl FnMut(Ops<L>, Option<u64>),
    ) -> Result<(), Interrupted>
    where
        L: Ledger<Note: Send, Line: Send> + Send,
    {
        self.stream.in_pieces(&Asked(self.keeping(limit)), pieces, ask, |(ops, ip)| {
            take(ops, ip);
            true
        })?;
        Ok(())
    }

    /// The same, and counts executions on the way.
    pub(super) fn follow_and_count<L>(
        &self,
        pieces: &[Piece],
        executions: &mut Executions,
        ask: Ask<'_>,
        mut take: impl FnMut(Ops<L>),
    ) -> Result<(), Interrupted>
    where
        L: Ledger<Note: Send, Line: Send> + Send,
    {
        let both = Asked((self.keeping(u64::MAX), executions.question()));
        let sums = self.stream.in_pieces(&both, pieces, ask, |((ops, _), seam)| {
            take(ops);
            executions.take(seam);
            true
        })?;
        for ((), sum) in sums {
            executions.add(sum);
        }
        executions.break_off();
        Ok(())
    }

    fn keeping<L>(&self, limit: u64) -> Keeping<L> {
        Keeping { following: self.following(limit), ledger: PhantomData }
    }
}

/// How a frame was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// It made a call.
    Call,
    /// It left by a jump to the entry of another function, which returns for it.
    Tail,
    /// It was interrupted, by a signal or otherwise.
    Interrupted,
}

/// A frame around the innermost one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackFrame {
    /// Where it goes on; of one that left by a jump, the address of the jump.
    pub ip: u64,
    /// The step of the call or jump; of what was interrupted, the last step before. None: only a later return tells of this
    /// frame, or several stacks have it, each by a call of its own, and which of them it is, is not known.
    pub step: Option<u64>,
    /// The first step of the function that it called or jumped to, behind stubs and thunks, if it did.
    pub entered: Option<u64>,
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
    /// The last frame is the first one of its stack.
    pub is_complete: bool,
    /// How many more frames are known than are listed.
    pub left_out: u64,
    /// Number of the edge that the frames end at which are no guesses: at all steps with the same edge the same frames
    /// lie below it.
    pub edge: Option<u64>,
    /// Number of the edge at the bottom of what is known; 0 where the history begins.
    pub bottom: Option<u64>,
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
    chains: Chains<()>,
    names: Arc<Names>,
    programs: Arc<Vec<u64>>,
    choices: Arc<Vec<(u64, Chosen)>>,
    below: Below,
    unexplained: Vec<u64>,
    found: Found,
}

impl Stacks {
    /// Follows all calls and returns of a history. `is_first`: its first step is the first one of its thread. `programs` are
    /// the times (TSC) at which it goes on with another program and so with a new stack; `names` help where return addresses
    /// do not suffice.
    pub fn new(
        parts: Vec<StackPart>,
        is_first: bool,
        names: Arc<Names>,
        programs: Vec<u64>,
        ask: Ask<'_>,
    ) -> Result<Stacks, Interrupted> {
        let programs = sorted(programs);
        let is_first = begins_thread(is_first, parts.first().is_none_or(|part| part.lost));
        again_and_again(is_first, |beginning| {
            let tracker = Tracker::new(names.clone(), programs.clone(), beginning);
            Stacks::follow(parts.clone(), tracker, beginning, ask)
        })
    }

    /// Follows all; and what another walk is to begin with, to know more.
    fn follow(
        parts: Vec<StackPart>,
        mut tracker: Tracker<()>,
        beginning: &Beginning,
        ask: Ask<'_>,
    ) -> Result<(Stacks, Option<Beginning>), Interrupted> {
        let mut places: Vec<Place> = Vec::new();
        // Every so many pieces are remembered.
        let mut every = 1;
        // At more items it is time to look what can be forgotten; and how many stacks wait, at most.
        let (mut many, mut waits) = (MOST_ITEMS, 0);
        let mut followed = Vec::with_capacity(parts.len());
        for (number, part) in parts.into_iter().enumerate() {
            if part.lost {
                tracker.lose();
            }
            let pieces = part.pieces(PIECE);
            let mut at = 0;
            part.follow(&pieces, u64::MAX, ask, |ops, _| {
                if let Some(&piece) = pieces.get(at).filter(|_| at % every == 0) {
                    let step = piece.start.wrapping_add_signed(part.base);
                    places.push(Place { step, part: number, number: at, state: tracker.remember() });
                    waits += tracker.state.lines.len();
                }
                at += 1;
                tracker.add(ops);
                if tracker.weight() + waits <= many {
                    return;
                }
                // Most of it may be what nothing leads to any more; only if it is not, fewer places are remembered.
                tracker.compact(places.iter_mut().map(|place| &mut place.state));
                while tracker.weight() + waiting(&places) > MOST_ITEMS && places.len() > 8 {
                    every *= 2;
                    let mut nth = 0;
                    places.retain(|_| {
                        nth += 1;
                        nth % 2 == 1
                    });
                    tracker.compact(places.iter_mut().map(|place| &mut place.state));
                }
                waits = waiting(&places);
                many = (2 * (tracker.weight() + waits)).max(MOST_ITEMS);
            })?;
            followed.push((part, pieces));
        }
        let again = tracker.again(beginning);
        let Tracker { mut chains, below, unexplained, met, names, programs, .. } = tracker;
        let found = met.found();
        chains.share();
        let choices = beginning.choices.clone();
        let stacks =
            Stacks { parts: followed, places, chains, names, programs, choices, below, unexplained, found };
        Ok((stacks, again))
    }

    /// Addresses that execution went to with another stack pointer, where nothing says which frame that is. With names
    /// of what lies there more may be known.
    pub fn unexplained(&self) -> &[u64] {
        &self.unexplained
    }

    /// Functions that are known only because they were called.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Bytes that it occupies, roughly.
    pub fn size(&self) -> usize {
        self.chains.len() * 32
            + self.below.size()
            + self.places.len() * std::mem::size_of::<Place>()
            + waiting(&self.places) * 96
    }

    /// The stack before the instruction of a step is executed; behind the last step, the one at the end. At most so many
    /// frames are listed.
    pub fn at(&self, step: u64, most: usize, ask: Ask<'_>) -> Result<CallStack, Interrupted> {
        Ok(CallStack::of(&self.tracker(step, ask)?, &self.below, step, most))
    }

    /// The stack behind the last step where it is known from elsewhere that execution goes on at `ip`, and the frames that
    /// going there reveals below the edge.
    pub fn at_end(
        &self,
        step: u64,
        ip: u64,
        ask: Ask<'_>,
    ) -> Result<(CallStack, Vec<StackFrame>), Interrupted> {
        let mut tracker = self.tracker(step, ask)?;
        tracker.below = Below::default();
        tracker.go_on_at(ip);
        let stack = CallStack::of(&tracker, &self.below, step, usize::MAX);
        let revealed = stack.edge.map(|edge| {
            tracker.below.of(edge, 0).0.filter(|one| !one.is_end).map(|one| one.frame(false)).collect()
        });
        Ok((stack, revealed.unwrap_or_default()))
    }

    /// The calls in some steps, on top of the stacks that are there when they begin, and what is kept of them.
    /// `executions` in them are counted on the way.
    pub fn fold<L>(
        &self,
        steps: Range<u64>,
        executions: &mut Executions,
        ask: Ask<'_>,
    ) -> Result<Settled<L>, Interrupted>
    where
        L: Ledger<Note: Send, Line: Send> + Send,
    {
        let after = self.places.partition_point(|place| place.step < steps.start);
        let tracker = match after.checked_sub(1).or((!self.places.is_empty()).then_some(0)) {
            Some(at) => self.follow_to(at, steps.start, false, ask)?.reopened(),
            None => Tracker::default(),
        };
        let parts = self.parts.iter().map(|(part, _)| part.clone()).collect();
        fold_from(tracker, cut(parts, steps), executions, ask)
    }

    fn tracker(&self, step: u64, ask: Ask<'_>) -> Result<Tracker<()>, Interrupted> {
        let after = self.places.partition_point(|place| place.step <= step);
        match after.checked_sub(1) {
            Some(at) => self.follow_to(at, step, true, ask),
            None => Ok(Tracker::default()),
        }
    }

    /// Goes on from a place to a step, what happens before it `included` or not.
    fn follow_to(
        &self,
        at: usize,
        step: u64,
        included: bool,
        ask: Ask<'_>,
    ) -> Result<Tracker<()>, Interrupted> {
        let Some(place) = self.places.get(at) else { return Ok(Tracker::default()) };
        let mut tracker =
            Tracker::at(self.chains.clone(), place.state.clone(), self.names.clone(), self.programs.clone());
        tracker.choices.known = self.choices.clone();
        // Places may have been forgotten, so that there are more pieces on the way, and more parts.
        for (number, (part, pieces)) in self.parts.iter().enumerate().skip(place.part) {
            let (begin, _) = part.span();
            if number > place.part && (begin > step || begin == step && !included) {
                break;
            }
            if number > place.part && part.lost {
                tracker.lose();
            }
            let way = if included { Some(part.clone()) } else { part.before(step) };
            let Some(way) = way else { continue };
            let end = step.wrapping_add_signed(-part.base) + u64::from(included);
            let behind = pieces.partition_point(|piece| piece.start < end);
            let first = if number == place.part { place.number } else { 0 };
            let mut ways = pieces.get(first..behind).unwrap_or(&[]).to_vec();
            if let Some(piece) = ways.last_mut().filter(|piece| end < piece.stop) {
                *piece = piece.up_to(end);
            }
            let limit = if included { step } else { u64::MAX };
            way.follow(&ways, limit, ask, |ops, here| {
                tracker.ip = here;
                tracker.add(ops);
            })?;
        }
        Ok(tracker)
    }
}

impl CallStack {
    /// What a tracker says of the running stack before a step, and what was revealed of it later.
    pub(super) fn of(tracker: &Tracker<()>, below_edges: &Below, step: u64, most: usize) -> CallStack {
        let mut stack = CallStack { ip: tracker.ip, ..CallStack::default() };
        let mut is_guess = false;
        let mut at = tracker.state.line.top;
        let mut ends: Option<Item> = None;
        while let Some((item, below)) = tracker.chains.get(at) {
            at = below;
            let kind = match item.kind {
                Kind::Call | Kind::CallTwice => Some(FrameKind::Call),
                Kind::Interrupted | Kind::HandlerEnd => Some(FrameKind::Interrupted),
                // What nothing called is the program before, which is over.
                Kind::Tail => tracker.has_frames(below).then_some(FrameKind::Tail),
                Kind::Landmark | Kind::Hidden | Kind::Doubt => None,
            };
            if let Some(kind) = kind {
                let step = (!item.is_common).then_some(item.step);
                let entered = step.map(|step| step.wrapping_add(u64::from(item.way)));
                stack.list(StackFrame { ip: item.ip, step, entered, kind, is_guess }, most);
            }
            if item.is_frame() {
                ends = None;
            }
            if !item.is_edge() {
                continue;
            }
            ends = Some(item);
            if is_guess {
                continue;
            }
            let (revealed, left) = below_edges.of(item.ip, step);
            if below_edges.is_as_thought(item.ip, step) {
                ends = None;
                continue;
            }
            let mut resolved = false;
            for one in revealed {
                resolved = one.resolves;
                ends = Some(item).filter(|_| !resolved);
                if !one.is_end {
                    stack.list(one.frame(false), most);
                }
            }
            at = left.unwrap_or(at);
            if !resolved {
                (is_guess, stack.edge) = (true, Some(item.ip));
            }
        }
        stack.is_complete = ends.is_none() && stack.left_out == 0;
        // Of the edge at the bottom, at least this was revealed later, across other edges.
        stack.bottom = ends.filter(|item| item.kind == Kind::Doubt).map(|item| item.ip);
        if let Some(bottom) = stack.bottom {
            for one in below_edges.at_bottom(bottom, stack.edge, step).filter(|one| !one.is_end) {
                stack.list(one.frame(true), most);
            }
        }
        stack
    }

    /// Lists a frame, or counts it where there are enough.
    fn list(&mut self, frame: StackFrame, most: usize) {
        if self.frames.len() < most {
            self.frames.push(frame);
        } else {
            self.left_out += 1;
        }
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

impl Executions {
    /// Adds the executions in a part of a history that follows. No edge leads from one part to the next.
    pub fn ask(&mut self, part: &StackPart, ask: Ask<'_>) -> Result<(), Interrupted> {
        let pieces = part.stream.cut(part.first, part.end, false);
        let question = self.question();
        let sums = part.stream.in_pieces(&Asked(question), &pieces, ask, |seam| {
            self.take(seam);
            true
        })?;
        for sum in sums {
            self.add(sum);
        }
        self.break_off();
        Ok(())
    }
}
