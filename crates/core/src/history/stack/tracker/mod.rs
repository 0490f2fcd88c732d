//! The stacks of a thread, as far as they are known, and what operations do to them.
//!
//! A return that goes behind the innermost call ends it. Any other is, in this order: a way out of several calls of this
//! stack, if one of them comes back to that address; the going on of a stack that was left; an exception that
//! lands; the beginning of another stack, if the stack pointer was loaded; or the end of a call whose return address was changed.
//! Where the stack pointer was loaded, going on with a stack that was left comes first.
//!
//! What is not known has an *edge* on the stack: frames above it are right, and what lies below it is likely at best. A
//! return that goes below the nearest edge reveals what lay there: see [`below`](super::below). A history that does not begin
//! where its thread did is *open*: stacks that were not seen may wait at any address, so each switch makes an edge.

mod entering;
mod leaps;
mod search;
mod stage;

use std::collections::HashMap;
use std::sync::Arc;

use crate::history::stack::below::{Below, Revealed};
use crate::history::stack::books::Books;
use crate::history::stack::called::{Begins, Met};
use crate::history::stack::chain::{Chains, Item, Kind, Link, MOST_MARKS, MOST_OPEN};
use crate::history::stack::code::Loaded;
use crate::history::stack::ledger::{EntryKind, Ledger, Spent, Timer};
use crate::history::stack::lines::{has_likely_landmark, Line, Lines};
use crate::history::stack::names::Names;
use crate::history::stack::ops::{goes_on, Jump, Leap, Off, Op, Ops, Pending, Stage, MOST_TAILS};
use crate::history::stack::switch::{Choice, Choices, Chosen};

/// A search that is longer than this many items is worth an index.
const SHORT: usize = 64;
/// Items that searches may look at for each operation, and besides, before they look only at so many.
const WORK: u64 = 256;
const FREE_WORK: u64 = 1 << 26;
const HURRIED: usize = 1 << 10;
/// Most addresses that are remembered because nothing explained going there.
const MOST_UNEXPLAINED: usize = 1 << 12;

/// Most landmarks that may lie on any stack with an edge: of more, any address may be one.
pub(super) const MOST_FLOATING: usize = 64;

/// How many items of a stack stand for an address; kept once a search was long.
type Index = HashMap<(bool, u64), u32, foldhash::fast::RandomState>;

/// What an item is found by in an index: landmarks are no calls.
fn key(item: &Item) -> (bool, u64) {
    (item.kind == Kind::Landmark, item.ip)
}

/// What the stacks of a thread are at some place.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub line: Line,
    pub lines: Arc<Lines>,
    /// What may run instead of `line`, until returns tell; the nearest edge is that of the last choice.
    pub choices: Arc<Vec<Choice>>,
    pub next_number: u32,
    /// Landmarks that were taken off a stack which may have been another one: that one still has them.
    pub floating: Arc<Vec<u64>>,
    /// Number of the next edge.
    next_edge: u64,
    pending: Option<Pending>,
    off: Option<Off>,
    /// The stack pointer was loaded since the last call or return; None if that is not known.
    loaded: Option<bool>,
    /// What it means if nothing is traced from here on.
    left: Off,
    /// Operations, and items that searches have looked at.
    ops: u64,
    work: u64,
    /// Programs that have begun.
    programs: usize,
    /// Execution was lost since tracing went on last: another program may have begun there.
    lost: bool,
    /// There may be stacks that were left before the history began, or by another thread.
    pub open: bool,
    /// The jump that the part before ended with.
    jump: Option<Jump>,
    /// Which stack ran is not known any more, and so where another one waits that was seen.
    pub strays: bool,
    /// That does not end where another program begins.
    stays_open: bool,
}

impl State {
    /// All links into chains that this state holds, those of the stacks that wait included.
    fn links(&mut self) -> Vec<&mut Link> {
        let State { line, lines, choices, .. } = self;
        let mut links = vec![&mut line.top];
        links.extend(Arc::make_mut(choices).iter_mut().flat_map(Choice::links));
        links.extend(Arc::make_mut(lines).tops());
        links
    }
}

/// How a history begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Beginning {
    /// Its first step is the first one of its thread, so nothing lies below.
    pub is_first: bool,
    /// There may be stacks that come from elsewhere, also those that the first step does not tell of.
    pub stays_open: bool,
    /// Which stacks went on where several waited, as far as an earlier walk knows: see [`Choices`].
    pub choices: Arc<Vec<(u64, Chosen)>>,
}

/// Follows the stacks of a thread, and keeps of its calls what a ledger keeps.
#[derive(Debug)]
pub(super) struct Tracker<L: Ledger> {
    pub chains: Chains<L::Note>,
    pub state: State,
    pub books: Books<L>,
    pub index: Option<Index>,
    /// Items that something else may lead to.
    pub kept: usize,
    pub names: Arc<Names>,
    /// When programs begin (TSC), the first left out.
    pub programs: Arc<Vec<u64>>,
    /// What was revealed of the frames below edges.
    pub below: Below,
    /// Addresses that leaps went to that nothing explains without names.
    pub unexplained: Vec<u64>,
    /// Calls of code that no file knows, and jumps there.
    pub met: Met,
    /// Where execution stands, if it was asked for.
    pub ip: Option<u64>,
    /// A stack was run that began elsewhere, though all were thought to begin here.
    pub foreign: bool,
    pub choices: Choices,
}

impl<L: Ledger> Default for Tracker<L> {
    fn default() -> Self {
        Tracker {
            chains: Chains::default(),
            state: State::default(),
            books: Books::default(),
            index: None,
            kept: 0,
            names: Arc::default(),
            programs: Arc::default(),
            below: Below::default(),
            unexplained: Vec::new(),
            met: Met::default(),
            ip: None,
            foreign: false,
            choices: Choices::default(),
        }
    }
}

impl<L: Ledger> Tracker<L> {
    pub fn new(names: Arc<Names>, programs: Arc<Vec<u64>>, beginning: &Beginning) -> Self {
        let Beginning { is_first, stays_open, choices } = beginning.clone();
        let (open, loaded) = (!is_first || stays_open, is_first.then_some(false));
        let state = State { next_number: 1, open, stays_open, loaded, ..State::default() };
        let choices = Choices { known: choices, ..Choices::default() };
        let mut tracker = Tracker { state, names, programs, choices, ..Tracker::default() };
        // The edge at the bottom of the first stack is number 0.
        let edge = tracker.edge(Kind::Doubt);
        if !is_first {
            tracker.push(edge);
        }
        tracker
    }

    /// One that goes on from a state.
    pub fn at(chains: Chains<L::Note>, state: State, names: Arc<Names>, programs: Arc<Vec<u64>>) -> Self {
        let kept = chains.len();
        Tracker { chains, state, kept, names, programs, ..Tracker::default() }
    }

    /// One that goes on from here and keeps something else of the calls from now on.
    pub fn reopened<M: Ledger>(mut self) -> Tracker<M> {
        let chains = self.chains.copied(self.state.links());
        let choices = Choices { known: self.choices.known, ..Choices::default() };
        Tracker { choices, ..Tracker::at(chains, self.state, self.names, self.programs) }
    }

    /// What another walk is to begin with, to know more; None if there is no more to know.
    pub fn again(&self, beginning: &Beginning) -> Option<Beginning> {
        if self.foreign && !beginning.stays_open {
            // Stacks come from elsewhere, another thread for example: so more of them may.
            return Some(Beginning { stays_open: true, choices: Arc::default(), ..beginning.clone() });
        }
        let is_news = self.choices.revised > 0 && beginning.choices.is_empty();
        is_news.then(|| Beginning { choices: Arc::new(self.choices.made.clone()), ..beginning.clone() })
    }

    /// Does what happened in the part that follows.
    pub fn add(&mut self, part: Ops<L>) {
        part.play(self);
        if self.chains.depth(self.state.line.top) > MOST_OPEN {
            self.forget_oldest();
        }
    }

    /// Does an operation.
    fn apply(&mut self, op: Op<L::Note>) {
        self.state.ops += 1;
        match op {
            Op::Push(item, _) if item.is_edge() => {
                let edge = self.edge(item.kind);
                self.push(edge);
            }
            Op::Push(item, _) if item.kind == Kind::Landmark => self.come_back(item),
            Op::Push(item, note) => self.put(item, note),
            Op::Twice => self.twice(),
            Op::Leap(leap) => self.leap_known(leap),
            Op::FarReturn { to, step } => self.far_return(to, step),
            Op::Enter { to, step, off, tsc } => {
                let before = self.state.off.take().unwrap_or(Off::Unknown);
                let off = if off == Off::Unknown { before } else { off };
                self.enter(to, step, self.off(off), tsc);
            }
            Op::Lost(_) => self.lose(),
            Op::Arrive { to, begins } => self.arrive(to, begins),
            Op::Tail { from, to, step, is_stub } => self.tail(from, to, step, is_stub),
            Op::Leave(to) => {
                if matches!(self.state.pending, Some(Pending::FarCall { .. } | Pending::FarReturn { .. })) {
                    self.state.pending = None;
                }
                self.arrive(to, Begins::Nothing);
            }
            Op::Wait(pending) => self.state.pending = Some(pending),
            Op::Off(off) => self.state.off = Some(self.off(off)),
            Op::End { loaded, left, jump } => {
                self.state.jump = jump;
                self.state.loaded = loaded.or(self.state.loaded);
                self.state.left = left.unwrap_or(self.state.left);
            }
        }
        if !self.state.choices.is_empty() {
            self.drop_left();
        }
    }

    /// Why nothing is traced, if the part that says so knew it or not.
    fn off(&self, off: Off) -> Off {
        if off == Off::Before {
            self.state.left
        } else {
            off
        }
    }

    /// Execution was lost.
    pub fn lose(&mut self) {
        (self.state.pending, self.state.off, self.state.jump) = (None, None, None);
        (self.state.loaded, self.state.left, self.state.lost) = (None, Off::Unknown, true);
        self.doubt();
    }

    /// The present state, which links to items that stay.
    pub fn remember(&mut self) -> State {
        self.kept = self.chains.len();
        self.state.clone()
    }

    /// Items that are kept.
    pub fn weight(&self) -> usize {
        self.chains.len()
    }

    /// Forgets what neither the present state nor the remembered ones lead to.
    pub fn compact<'a>(&'a mut self, remembered: impl Iterator<Item = &'a mut State>) {
        let mut states: Vec<&mut State> = remembered.collect();
        states.push(&mut self.state);
        // States that share what they hold go on sharing it.
        let mut shared: Vec<(*const Lines, Arc<Lines>)> = Vec::new();
        for state in &states {
            let known = shared.last().is_some_and(|(one, _)| *one == Arc::as_ptr(&state.lines));
            if !known {
                shared.push((Arc::as_ptr(&state.lines), Arc::new((*state.lines).clone())));
            }
        }
        let mut links: Vec<&mut Link> = Vec::new();
        for (_, lines) in &mut shared {
            links.extend(Arc::get_mut(lines).into_iter().flat_map(Lines::tops));
        }
        for state in &mut states {
            let State { line, choices, .. } = &mut **state;
            links.push(&mut line.top);
            links.extend(Arc::make_mut(choices).iter_mut().flat_map(Choice::links));
        }
        links.extend(self.below.links());
        self.chains.compact(links);
        let mut at = 0;
        for state in &mut states {
            while shared.get(at).is_some_and(|(one, _)| *one != Arc::as_ptr(&state.lines)) {
                at += 1;
            }
            if let Some((_, lines)) = shared.get(at) {
                state.lines = lines.clone();
            }
        }
        self.kept = self.chains.len();
        self.index = None;
    }

    /// The innermost call is one of a function that returns twice.
    fn twice(&mut self) {
        let Some((link, item)) = self.top_frame().filter(|(_, item)| item.is_call()) else { return };
        let above = self.chains.walk(self.state.line.top).take_while(|&(above, _)| above != link);
        let above: Vec<(Item, L::Note)> =
            above.map(|(link, item)| (item, self.chains.note(link).unwrap_or_default())).collect();
        let note = self.chains.note(link).unwrap_or_default();
        while self.state.line.top != link && self.state.line.top != 0 {
            self.drop_top();
        }
        self.drop_top();
        self.put(Item { kind: Kind::CallTwice, ..item }, note);
        for &(item, note) in above.iter().rev() {
            self.put(item, note);
        }
    }

    /// The note of the innermost frame of the running stack.
    fn top_note(&self) -> L::Note {
        self.chains.note(self.state.line.top).unwrap_or_else(|| self.books.bottom())
    }

    pub fn top(&self) -> Option<(Item, Link)> {
        self.chains.get(self.state.line.top)
    }

    /// The innermost frame or marker that is no landmark.
    pub fn top_frame(&self) -> Option<(Link, Item)> {
        self.chains.walk(self.state.line.top).find(|(_, item)| !item.is_passed_by())
    }

    /// There are frames from a link down to the bottom, or there may be.
    pub fn has_frames(&self, link: Link) -> bool {
        self.chains.walk(link).any(|(_, item)| item.is_frame() || item.is_edge())
    }

    /// A frame is put on the stack; what it is of, and where execution went on.
    fn open(&mut self, item: Item, caller: u64, callee: u64) {
        let kind = EntryKind::of(&item);
        let note = self.books.open(kind, (caller, callee), self.top_note(), self.state.line.number);
        self.put(item, note);
    }

    /// Something that is no frame is put on the stack.
    pub fn push(&mut self, item: Item) {
        self.put(item, self.top_note());
    }

    fn put(&mut self, item: Item, note: L::Note) {
        if let Some(index) = &mut self.index {
            *index.entry(key(&item)).or_default() += 1;
        }
        self.state.line.top = self.chains.push(self.state.line.top, item, note);
    }

    /// Forgets the oldest half of very many calls. They go on, but nothing tells when they end.
    fn forget_oldest(&mut self) {
        let edge = self.edge(Kind::Doubt);
        let (half, left_out) = self.chains.halve(self.state.line.top, edge, self.books.bottom());
        self.leave_open(left_out);
        self.state.line.top = half;
        self.drop_choices();
        self.index = None;
    }

    /// The frames of the running stack from one link down to another one, which is left out, are over.
    pub fn close_frames(&mut self, from: Link, to: Link) {
        if L::KEEPS {
            let Tracker { chains, books, .. } = self;
            let over = chains.walk(from).take_while(|&(link, _)| link != to);
            for (link, _) in over.filter(|(_, item)| item.is_open()) {
                books.close(chains.note(link).unwrap_or_default());
            }
        }
    }

    /// The running stack is nothing but what lies at a link.
    pub fn cut_to(&mut self, link: Link) {
        self.close_frames(self.state.line.top, link);
        self.state.line.top = link;
        self.index = None;
    }

    /// A function that returns twice comes back to the frame on top, unless it did before.
    fn come_back(&mut self, landmark: Item) {
        let near = self.chains.walk(self.state.line.top).take_while(|(_, item)| item.kind == Kind::Landmark);
        let near: Vec<u64> = near.take(MOST_MARKS).map(|(_, item)| item.ip).collect();
        if near.contains(&landmark.ip) {
            return;
        }
        if near.len() == MOST_MARKS {
            self.doubt();
        }
        self.push(landmark);
    }

    fn pop(&mut self) {
        if L::KEEPS && self.top().is_some_and(|(item, _)| item.is_open()) {
            self.books.close(self.top_note());
        }
        self.drop_top();
    }

    fn drop_top(&mut self) {
        let Some((item, below)) = self.top() else { return };
        if let Some(count) = self.index.as_mut().and_then(|index| index.get_mut(&key(&item))) {
            *count = count.saturating_sub(1);
        }
        let kept = if self.state.choices.is_empty() { self.kept } else { self.chains.len() };
        self.chains.drop_last(self.state.line.top, kept);
        self.state.line.top = below;
    }

    /// Ends everything above an item, and that, too, if it is to be `included`. What lies below stays in doubt if it was.
    fn pop_to(&mut self, link: Link, included: bool) {
        if self.pop_edges(link, included).is_some_and(|(_, doubtful)| doubtful) {
            self.doubt();
        }
    }

    /// The same; gives the number of the uppermost edge that was passed, and whether one of those was a doubt.
    pub fn pop_edges(&mut self, link: Link, included: bool) -> Option<(u64, bool)> {
        let mut passed: Option<(u64, bool)> = None;
        while self.state.line.top != link {
            let Some((item, _)) = self.top() else { break };
            if item.is_edge() {
                let (number, doubtful) = passed.unwrap_or((item.ip, false));
                passed = Some((number, doubtful || item.kind == Kind::Doubt));
            } else if passed.is_some() && item.kind == Kind::Landmark {
                self.float(item.ip);
            }
            self.pop();
        }
        if included {
            self.pop();
        }
        passed
    }

    /// A landmark may lie on any stack that has an edge.
    pub fn float(&mut self, ip: u64) {
        if self.state.floating.len() < MOST_FLOATING && !self.state.floating.contains(&ip) {
            Arc::make_mut(&mut self.state.floating).push(ip);
        }
    }

    /// A new edge.
    pub fn edge(&mut self, kind: Kind) -> Item {
        let number = self.state.next_edge;
        self.state.next_edge += 1;
        Item::edge(kind, number)
    }

    /// What lies on the stack now may not be what there is.
    pub fn doubt(&mut self) {
        self.drop_choices();
        let edge = self.edge(Kind::Doubt);
        self.push_doubt(edge);
    }

    /// Puts a doubt on top, in place of those that are there.
    pub fn push_doubt(&mut self, edge: Item) {
        // The one at the bottom stays: it says that more lies below.
        while self.top().is_some_and(|(item, below)| item.kind == Kind::Doubt && below != 0) {
            self.pop();
        }
        self.push(edge);
    }

    /// Nothing is left of what was known of this stack.
    fn forget(&mut self) {
        let bottom = self.chains.get(self.chains.bottom(self.state.line.top)).map(|(item, _)| item);
        self.cut_to(0);
        if let Some(edge) = bottom.filter(|item| item.kind == Kind::Doubt) {
            self.push(edge);
        }
        self.doubt();
    }
}
