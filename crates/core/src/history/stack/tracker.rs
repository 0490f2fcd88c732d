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

use std::collections::HashMap;
use std::sync::Arc;

use super::below::{Below, Revealed};
use super::books::Books;
use super::called::{Begins, Met};
use super::chain::{Chains, Item, Kind, Link, MOST_MARKS, MOST_OPEN};
use super::code::Loaded;
use super::ledger::{EntryKind, Ledger, Spent, Timer};
use super::lines::{has_likely_landmark, Line, Lines};
use super::names::Names;
use super::ops::{goes_on, Jump, Leap, Off, Op, Ops, Pending, Stage, MOST_TAILS};
use super::switch::{Choice, Choices, Chosen};

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

    /// Whether this stack may hold an item.
    fn may_hold(&mut self, wanted: (bool, u64)) -> bool {
        let top = self.state.line.top;
        if self.index.is_none() {
            let near = self.chains.walk(top).take(SHORT).any(|(_, item)| key(&item) == wanted);
            let depth = self.chains.depth(top) as usize;
            if near || depth <= SHORT || self.is_hurried() {
                return true;
            }
            self.state.work += depth as u64;
            let mut index = Index::default();
            for (_, item) in self.chains.walk(top) {
                *index.entry(key(&item)).or_default() += 1;
            }
            self.index = Some(index);
        }
        self.index.as_ref().is_some_and(|index| index.get(&wanted).is_some_and(|&count| count > 0))
    }

    /// Searches have cost so much that they are to look no further than near the top.
    fn is_hurried(&self) -> bool {
        self.state.work > FREE_WORK + self.state.ops * WORK
    }

    /// The innermost item that fits.
    fn search(&mut self, fit: impl Fn(&Item) -> bool) -> Option<Link> {
        let most = if self.is_hurried() { HURRIED } else { usize::MAX };
        let mut looked = 0;
        let mut items = self.chains.walk(self.state.line.top).take(most);
        let found = items.find(|(_, item)| {
            looked += 1;
            fit(item)
        });
        let link = found.map(|(link, _)| link);
        drop(items);
        self.state.work += looked as u64;
        if link.is_none() && looked == most {
            // It may lie deeper.
            self.doubt();
        }
        link
    }

    /// The innermost call that comes back to an address, or landmark there.
    fn find(&mut self, ip: u64, landmark: bool) -> Option<Link> {
        let fit = |item: &Item| {
            item.ip == ip && if landmark { item.kind == Kind::Landmark } else { item.is_call() }
        };
        self.may_hold((landmark, ip)).then(|| self.search(fit)).flatten()
    }

    /// What was interrupted and goes on at an address.
    fn interrupted_at(&mut self, to: u64) -> Option<Link> {
        self.search(|item| item.kind == Kind::Interrupted && goes_on(item, to))
    }

    /// A call that comes back to an address ends, or what was interrupted goes on; `step`: that of the ordinary return, or the
    /// last one of the handler.
    fn go_back(&mut self, link: Link, step: Option<u64>) {
        let item = self.chains.get(link).map(|(item, _)| item);
        // A frame that it passed by would have been right: it is no ordinary return, then.
        let direct = self.chains.walk(self.state.line.top).find(|(_, item)| item.is_frame());
        let step = step.filter(|_| direct.is_some_and(|(direct, _)| direct == link));
        // Nothing but one edge lies above it.
        let is_next = self.chains.edge(self.state.line.top) != 0
            && self.chains.get(self.chains.edge(self.state.line.top)).is_some_and(|(_, below)| below == link);
        let passed = self.pop_edges(link, true);
        if let Some(Item { kind: Kind::CallTwice, ip, step, .. }) = item {
            self.come_back(Item::new(Kind::Landmark, ip, step));
        }
        // That frame is the right one, but who called it?
        match (passed, item, step) {
            (Some((edge, doubtful)), Some(item), Some(step)) => {
                let (ip, is_return) = (item.ip, item.is_call());
                let as_thought = is_next && !doubtful && !self.below.has(edge);
                self.reveal_at(
                    edge,
                    Revealed { ip, step, is_return, resolves: !doubtful, as_thought, is_end: false },
                );
                if doubtful {
                    self.push_doubt(Item::edge(Kind::Doubt, edge));
                }
            }
            (Some((_, true)), ..) => self.doubt(),
            _ => {}
        }
    }

    /// Notes a frame below an edge, on top of what is on the stack now.
    pub fn reveal_at(&mut self, edge: u64, revealed: Revealed) {
        let link = self.state.line.top;
        self.kept = self.kept.max(link as usize);
        self.below.add(&self.chains, edge, link, revealed);
    }

    /// A return, or the end of a handler, from right above an edge: there was a frame below. False if there is no edge.
    fn reveal(&mut self, ip: u64, step: u64, is_return: bool) -> bool {
        let Some((link, edge)) = self.top_frame().filter(|(_, item)| item.is_edge()) else { return false };
        self.pop_edges(link, true);
        self.reveal_at(
            edge.ip,
            Revealed { ip, step, is_return, resolves: false, as_thought: false, is_end: false },
        );
        self.push(edge);
        true
    }

    /// A leap that may depend on what was before its part.
    fn leap_known(&mut self, leap: Leap) {
        let mut leap = leap;
        if leap.manner.loaded == Loaded::Before {
            leap.manner.loaded = match self.state.loaded.replace(false) {
                Some(true) => Loaded::Yes,
                Some(false) => Loaded::No,
                None => {
                    // It may go on another stack.
                    self.doubt();
                    Loaded::No
                }
            };
            if !leap.is_return && !leap.manner.popped && leap.manner.loaded == Loaded::No {
                if leap.enters {
                    self.tail(leap.from, leap.to, leap.step, false);
                }
                return;
            }
        }
        self.leap(leap);
    }

    fn leap(&mut self, leap: Leap) {
        let Leap { from, to, step, manner, .. } = leap;
        if !self.state.choices.is_empty() && self.settle_choice(to, &leap) {
            return;
        }
        if manner.loaded == Loaded::Yes {
            self.leap_loaded(&leap);
            return;
        }
        let top = self.top_frame();
        if let Some((link, _)) = top.filter(|(_, item)| item.is_call() && item.ip == to) {
            self.go_back(link, Some(step));
            return;
        }
        if leap.is_jump() {
            if let Some((link, item)) = top.filter(|_| leap.changes_top()) {
                if item.is_call() {
                    self.pop_to(link, true);
                } else if item.is_edge() {
                    // The call that is over is not known.
                    self.doubt();
                }
            }
            let is_thunk = manner.thunk && self.top().is_some_and(|(item, _)| item.is_thunk_before(step));
            if leap.enters && is_thunk {
                self.redirect(to, step);
            } else if leap.enters {
                self.tail(from, to, step, false);
            }
            return;
        }
        if let Some(link) = self.find(to, false) {
            self.go_back(link, Some(step));
            return;
        }
        // The end of a handler: what was interrupted goes on behind its system call.
        let handler = top.filter(|(_, item)| item.kind == Kind::Interrupted);
        if let Some((link, _)) = handler {
            // What the handler jumped to returned for it.
            self.pop_to(link, false);
        }
        // What is not known of this stack comes before other stacks.
        let is_below = self.top_frame().is_some_and(|(_, item)| item.is_edge());
        let goes = handler.is_some()
            || !is_below && self.switch(to, step, false)
            || self.land(to)
            || self.land_in_function(from, to)
            || self.reveal(to, step, true);
        if !goes {
            match top {
                // Its return address was changed, or it went back further than is known.
                Some((link, item)) if item.is_call() => {
                    self.pop_to(link, true);
                    if self.has_edge() {
                        self.doubt();
                    }
                }
                _ => {
                    self.cut_to(0);
                    self.books.reveal();
                }
            }
        }
    }

    /// The innermost call went to another address, by way of a stub that jumped there at a step.
    fn redirect(&mut self, callee: u64, step: u64) {
        let Some((item, _)) = self.top().filter(|(item, _)| item.is_open()) else { return };
        let note = self.books.redirect(self.top_note(), callee);
        self.drop_top();
        self.put(item.by_stub(step), note);
    }

    /// A jump goes to the entry of another function, or to a stub that leads to one.
    fn tail(&mut self, from: u64, to: u64, step: u64, is_stub: bool) {
        if self.top().is_some_and(|(item, _)| item.is_stub) {
            self.redirect(to, step);
            return;
        }
        let items = self.chains.walk(self.state.line.top).take(MOST_TAILS);
        if items.take_while(|(_, item)| item.kind == Kind::Tail).count() == MOST_TAILS {
            self.pop();
        }
        self.open(Item { is_stub, ..Item::new(Kind::Tail, from, step) }, from, to);
    }

    /// Something is not known of this stack.
    fn has_edge(&self) -> bool {
        self.chains.edge(self.state.line.top) != 0
    }

    /// A return or jump behind which the stack pointer is another one.
    fn leap_loaded(&mut self, leap: &Leap) {
        let (from, to) = (leap.from, leap.to);
        let here = self.names.function(from);
        if !leap.is_return && here.is_some() && here == self.names.function(to) {
            return;
        }
        let lands = self.find(to, true).is_some();
        if !lands || !self.chooses_in_one() {
            self.drop_choices();
        }
        if self.switch(to, leap.step, lands) {
            return;
        }
        let is_alone = !(self.may_be_unseen() || self.state.lines.is_overfull());
        if lands {
            if self.may_float(to) || has_likely_landmark(&self.chains, self.state.line.top, to) {
                self.doubt_edged();
            }
            self.land_on(to, leap.step);
            if !is_alone {
                self.doubt();
            }
            return;
        }
        if let Some(link) = self.find(to, false) {
            self.go_back(link, None);
            if !is_alone {
                self.doubt();
            }
            return;
        }
        if self.land(to) {
            return;
        }
        // In an open history it may well be another stack.
        if !self.state.open && self.land_in_function(from, to) {
            self.foreign = true;
            return;
        }
        if self.names.is_pad(to) && self.has_edge() {
            // In a frame that is not known; nor are those between.
            self.forget();
            return;
        }
        self.unexplained(to);
        self.begin(from, to);
    }

    fn unexplained(&mut self, to: u64) {
        if self.unexplained.len() < MOST_UNEXPLAINED && !self.unexplained.contains(&to) {
            self.unexplained.push(to);
        }
    }

    /// An exception lands.
    fn land(&mut self, to: u64) -> bool {
        let names = self.names.clone();
        if !names.is_pad(to) {
            return false;
        }
        let fit = |item: &Item| match item.kind {
            Kind::Call | Kind::CallTwice => names.lands(to, item.ip),
            Kind::Interrupted => names.lands(to, item.ip.wrapping_add(1)),
            _ => false,
        };
        let found = self.search(fit);
        if let Some(link) = found {
            self.pop_to(link, true);
        }
        found.is_some()
    }

    /// A jump goes to a frame whose function is known.
    fn land_in_function(&mut self, from: u64, to: u64) -> bool {
        let names = self.names.clone();
        let function = names.function(to);
        if function.is_none() || names.is_start(to) || function == names.function(from) {
            return false;
        }
        let same = |item: &Item| item.is_frame() && names.function(item.ip.wrapping_sub(1)) == function;
        let found = self.search(same);
        if let Some(link) = found {
            self.pop_to(link, true);
            self.doubt();
        }
        found.is_some()
    }

    fn far_return(&mut self, to: u64, step: u64) {
        if let Some(link) = self.interrupted_at(to) {
            self.pop_to(link, true);
            return;
        }
        let found = self.search(|item| matches!(item.kind, Kind::Interrupted | Kind::HandlerEnd));
        match found.and_then(|link| self.chains.get(link).map(|(item, _)| (link, item))) {
            Some((link, Item { kind: Kind::HandlerEnd, ip, .. })) => {
                self.pop_to(link, true);
                // The instruction that sets the number, and the system call.
                self.end_handler(to, step, &[ip.wrapping_sub(9), ip.wrapping_sub(7)]);
            }
            // To a handler: what was interrupted waits for that.
            Some((link, _)) => self.pop_to(link, false),
            None => {
                self.resume(to, step, &[]);
            }
        }
    }

    /// What was interrupted before anything is known of it goes on, or the handler of another signal begins; false if
    /// everything is known. `restorers`: see [`end_handler`](Self::end_handler).
    fn resume(&mut self, to: u64, step: u64, restorers: &[u64]) -> bool {
        let link = self.chains.edge(self.state.line.top);
        if link == 0 {
            return false;
        }
        self.unexplained(to);
        let start = self.names.is_start(to);
        self.pop_to(link, false);
        self.forget_restorers(restorers);
        // A handler may change where what it interrupted goes on.
        self.doubt();
        if !start {
            self.reveal(to, step, false);
        }
        true
    }

    fn enter(&mut self, to: u64, step: u64, off: Off, tsc: u64) {
        let begun = self.programs.partition_point(|&begins| begins <= tsc);
        let lost = std::mem::take(&mut self.state.lost);
        if begun > self.state.programs {
            self.state.programs = begun;
            if !off.resumes(to) {
                self.begin_program(lost);
                return;
            }
        }
        // The last step before it.
        let last = step.saturating_sub(1);
        let interrupted = |ip| Item::new(Kind::Interrupted, ip, last);
        match off {
            _ if off.resumes(to) => {}
            Off::Interrupted(at) => self.open(interrupted(at), at, to),
            Off::HandlerEnd(restorer) => self.end_handler(to, last, &[restorer]),
            Off::Syscall(_, behind) => {
                if let Some(link) = self.interrupted_at(to) {
                    self.pop_to(link, true);
                    return;
                }
                match self.top_frame().filter(|(_, item)| item.kind == Kind::Interrupted) {
                    // The handler is over.
                    Some((link, item)) => {
                        self.pop_to(link, true);
                        self.go_on(item.ip, to, step);
                    }
                    None => self.open(interrupted(behind), behind, to),
                }
            }
            Off::Away => {
                if let Some(link) = self.find(to, false) {
                    self.go_back(link, None);
                } else if self.top_frame().is_some_and(|(_, item)| item.is_frame()) {
                    let edge = self.edge(Kind::Hidden);
                    self.push(edge);
                } else {
                    // It may have returned from here, and been called again.
                    self.doubt();
                }
            }
            Off::Unknown | Off::Before => {}
        }
    }

    /// The system call that ends a handler was the step `last`. `restorers`: where the code may begin that makes it.
    fn end_handler(&mut self, to: u64, last: u64, restorers: &[u64]) {
        if let Some(link) = self.interrupted_at(to) {
            self.forget_restorers(restorers);
            self.go_back(link, Some(last));
        } else if let Some((link, item)) = self.top_frame().filter(|(_, item)| item.kind == Kind::Interrupted)
        {
            self.pop_to(link, true);
            self.go_on(item.ip, to, last + 1);
        } else if !self.resume(to, last, restorers) {
            let from = restorers.first().copied().unwrap_or(0);
            self.leap_loaded(&Leap::elsewhere(from, to, last + 1));
        }
    }

    /// No call went to the code that a handler returned to.
    fn forget_restorers(&mut self, restorers: &[u64]) {
        let edge = self.chains.edge(self.state.line.top);
        if let Some((edge, _)) = self.chains.get(edge) {
            for &restorer in restorers {
                self.below.forget(edge.ip, restorer);
            }
        }
    }

    /// A handler is over that interrupted `from`; it goes on elsewhere or at the handler of another signal.
    fn go_on(&mut self, from: u64, to: u64, step: u64) {
        let is_known = self.names.function(to).is_some();
        if is_known && !self.names.is_start(to) {
            self.leap_loaded(&Leap::elsewhere(from, to, step));
            return;
        }
        if !is_known {
            self.unexplained(to);
        }
        // If the handler changed where it goes on, what was interrupted does not wait.
        self.open(Item::new(Kind::Interrupted, from, step.saturating_sub(1)), from, to);
        let edge = self.edge(Kind::Hidden);
        self.push(edge);
    }

    /// Another program runs from now on, with a new stack; `lost`: it may have begun where trace was lost.
    fn begin_program(&mut self, lost: bool) {
        self.cut_to(0);
        self.books.reveal();
        let waiting = std::mem::take(&mut self.state.lines);
        self.forget_lines(waiting.iter().copied());
        self.state.choices = Arc::default();
        let number = self.state.next_number;
        self.state.next_number = number.wrapping_add(1);
        self.state.line = Line { number, top: 0, resumer: None };
        self.state.strays = false;
        (self.state.open, self.state.loaded) = (self.state.stays_open || lost, (!lost).then_some(false));
        self.books.begin_unseen(number);
        if lost {
            let edge = self.edge(Kind::Doubt);
            self.push(edge);
        }
    }

    /// Where the history ends: tells what is still open. Nothing can be added any more.
    pub fn finish(&mut self) {
        if L::KEEPS {
            self.leave_all_open(self.state.line.top);
            self.books.leave(self.state.line.number);
            let waiting = std::mem::take(&mut self.state.lines);
            for &Line { number, top, .. } in waiting.iter() {
                self.books.recall(number);
                self.leave_all_open(top);
            }
        }
    }

    fn leave_open(&mut self, top: Link) {
        let Tracker { chains, books, .. } = self;
        if !L::KEEPS {
            return;
        }
        for (link, _) in chains.walk(top).filter(|(_, item)| item.is_open()) {
            books.leave_open(chains.note(link).unwrap_or_default());
        }
    }

    fn leave_all_open(&mut self, top: Link) {
        self.leave_open(top);
        let books = &mut self.books;
        let bottom = books.bottom();
        books.leave_open(bottom);
    }

    /// It is known from elsewhere where the last branch went.
    pub fn go_on_at(&mut self, to: u64) {
        if let Some(Pending::Call { .. } | Pending::Leap(_)) = self.state.pending {
            self.arrive(Some(to), Begins::Nothing);
        }
    }

    fn arrive(&mut self, to: Option<u64>, begins: Begins) {
        let jump = self.state.jump.take();
        let enters = match (jump, to, begins.function()) {
            (Some(jump), Some(to), Some(entry)) if jump.enters(to, entry) => Some((jump.from, to)),
            _ => None,
        };
        if let (None, Some((from, to))) = (self.state.pending, enters) {
            self.tail(from, to, self.books.step().saturating_sub(1), false);
        }
        let (Some(pending), Some(to)) = (self.state.pending.take(), to) else { return };
        match pending {
            Pending::Call { caller, back, step } => {
                self.met.call(to, begins);
                let is_stub = begins == Begins::Stub;
                self.open(Item { is_stub, ..Item::new(Kind::Call, back, step) }, caller, to);
            }
            Pending::Leap(leap) => self.leap_known(Leap { to, enters: enters.is_some(), ..leap }),
            Pending::FarCall { back, step, kind } => {
                self.open(Item::new(kind, back, step), back, to);
            }
            Pending::FarReturn { step } => self.far_return(to, step),
        }
    }
}

impl<L: Ledger> Stage<L> for Tracker<L> {
    fn begin(&mut self, timer: &Timer) {
        self.books.begin(timer.begin, self.top_note(), self.state.line.number);
    }

    fn absorb(&mut self, ledger: L) -> L::Translation {
        self.books.absorb(ledger, self.top_note(), self.state.line.number)
    }

    fn put_noted(&mut self, item: Item, note: L::Note, translation: &L::Translation) {
        let note = self.books.take_over(note, translation, item.is_open());
        self.apply(Op::Push(item, note));
    }

    fn settle_at(&mut self, op: Op<L::Note>, at: Spent) {
        if !matches!(op, Op::Arrive { .. } | Op::Leave(_)) {
            self.books.go(at);
        }
        self.apply(op);
    }

    fn end(&mut self, timer: &Timer, known: bool, met: Met) {
        self.met.add(met);
        self.books.end(timer, known);
    }

    fn knows_time(&self) -> bool {
        self.books.knows_time()
    }
}
