//! The stacks of a thread, as far as they are known, and what operations do to them.
//!
//! A return that goes behind the innermost call ends it. Any other is, in this order: a way out of several calls of this
//! stack, if one of them comes back to that address; the going on of a stack that was left; an exception that
//! lands; the beginning of another stack, if the stack pointer was loaded; or the end of a call whose return address was changed.
//! Where the stack pointer was loaded, going on with a stack that was left comes first.

use std::collections::HashMap;
use std::sync::Arc;

use super::chain::{Chains, Item, Kind, Link, MOST_OPEN};
use super::code::Manner;
use super::lines::{Line, Lines};
use super::names::Names;
use super::ops::{goes_on, Leap, Off, Op, Pending};

/// A search that is longer than this many items is worth an index.
const SHORT: usize = 64;
/// Items that searches may look at for each operation, and besides, before they look only at so many.
const WORK: u64 = 256;
const FREE_WORK: u64 = 1 << 26;
const HURRIED: usize = 1 << 10;
/// Most returns beyond the bottom that are remembered.
const MOST_REVEALED: usize = 1 << 16;
/// Most addresses that are remembered because nothing explained going there.
const MOST_UNEXPLAINED: usize = 1 << 12;

/// How many items of a stack stand for an address; kept once a search was long.
type Index = HashMap<(bool, u64), u32, foldhash::fast::RandomState>;

/// What an item is found by in an index: landmarks are no calls.
fn key(item: &Item) -> (bool, u64) {
    (item.kind == Kind::Landmark, item.ip)
}

/// A stack that may be the one that runs.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    number: u32,
    /// What is left of it.
    left: Link,
}

/// A frame that was there from the beginning, known by the return to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Revealed {
    pub ip: u64,
    /// The step of the return.
    pub step: u64,
}

/// What the stacks of a thread are at some place.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub line: Line,
    pub lines: Arc<Lines>,
    /// Other stacks that may run instead of `line`, what is left of `line` included; until returns tell.
    candidates: Arc<Vec<Candidate>>,
    /// The top of what the candidates are candidates for, and what `line` was when it was left.
    chosen: (Link, Link),
    next_number: u32,
    pending: Option<Pending>,
    off: Option<Off>,
    /// Operations, and items that searches have looked at.
    ops: u64,
    work: u64,
    /// Programs that have begun.
    programs: usize,
    /// Number of the stack that the recording began with, of the present program; what lies below is `revealed`.
    pub first: u32,
}

/// Follows the stacks of a thread.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    pub chains: Chains,
    pub state: State,
    index: Option<Index>,
    /// Items that something else may lead to.
    pub kept: usize,
    names: Arc<Names>,
    /// When programs begin (TSC), the first left out.
    programs: Arc<Vec<u64>>,
    pub revealed: Vec<Revealed>,
    /// The steps before which execution was lost, or frames that are not known.
    pub losses: Vec<u64>,
    /// Addresses that leaps went to that nothing explains without names.
    pub unexplained: Vec<u64>,
}

impl Tracker {
    pub fn new(names: Arc<Names>, programs: Arc<Vec<u64>>) -> Tracker {
        Tracker { state: State { next_number: 1, ..State::default() }, names, programs, ..Tracker::default() }
    }

    /// One that goes on from a state.
    pub fn at(chains: Chains, state: State, names: Arc<Names>, programs: Arc<Vec<u64>>) -> Tracker {
        let kept = chains.len();
        Tracker { chains, state, kept, names, programs, ..Tracker::default() }
    }

    /// Does an operation.
    pub fn apply(&mut self, op: Op) {
        self.state.ops += 1;
        match op {
            Op::Push(item) => self.push(item),
            Op::Twice => self.twice(),
            Op::Leap(leap) => self.leap(leap),
            Op::FarReturn(to) => self.far_return(to),
            Op::Enter { to, step, off, tsc } => {
                let before = self.state.off.take().unwrap_or(Off::Unknown);
                let off = if off == Off::Unknown { before } else { off };
                self.enter(to, step, off, tsc);
            }
            Op::Lost(step) => self.lose(step),
            Op::Arrive(to) => self.arrive(to),
            Op::Wait(pending) => self.state.pending = Some(pending),
            Op::Off(off) => self.state.off = Some(off),
        }
        let below = |tracker: &Tracker, link| {
            tracker.chains.depth(tracker.state.line.top) < tracker.chains.depth(link)
        };
        if !self.state.candidates.is_empty() && below(self, self.state.chosen.0) {
            // It was left with what several stacks have in common.
            self.state.candidates = Arc::default();
            self.doubt();
        }
    }

    /// Execution was lost before a step.
    pub fn lose(&mut self, step: u64) {
        self.note_loss(step);
        (self.state.pending, self.state.off) = (None, None);
        self.doubt();
    }

    fn note_loss(&mut self, step: u64) {
        if self.losses.len() < MOST_REVEALED {
            self.losses.push(step);
        }
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
            let State { line, candidates, chosen, .. } = &mut **state;
            links.extend([&mut line.top, &mut chosen.0, &mut chosen.1]);
            links.extend(Arc::make_mut(candidates).iter_mut().map(|candidate| &mut candidate.left));
        }
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
        let landmarks: Vec<Item> = above.map(|(_, item)| item).collect();
        self.pop_to(link, true);
        self.push(Item { kind: Kind::CallTwice, ..item });
        for &landmark in landmarks.iter().rev() {
            self.push(landmark);
        }
    }

    fn top(&self) -> Option<(Item, Link)> {
        self.chains.get(self.state.line.top)
    }

    /// The innermost frame or marker that is no landmark.
    fn top_frame(&self) -> Option<(Link, Item)> {
        self.chains.walk(self.state.line.top).find(|(_, item)| item.kind != Kind::Landmark)
    }

    fn push(&mut self, item: Item) {
        if let Some(index) = &mut self.index {
            *index.entry(key(&item)).or_default() += 1;
        }
        self.state.line.top = self.chains.push(self.state.line.top, item);
        if self.chains.depth(self.state.line.top) > MOST_OPEN {
            self.state.line.top = self.chains.halve(self.state.line.top);
            self.index = None;
        }
    }

    fn pop(&mut self) {
        let Some((item, below)) = self.top() else { return };
        if let Some(count) = self.index.as_mut().and_then(|index| index.get_mut(&key(&item))) {
            *count = count.saturating_sub(1);
        }
        let kept = if self.state.candidates.is_empty() { self.kept } else { self.chains.len() };
        self.chains.drop_last(self.state.line.top, kept);
        self.state.line.top = below;
    }

    /// Ends everything above an item, and that, too, if it is to be `included`.
    fn pop_to(&mut self, link: Link, included: bool) {
        while self.state.line.top != link && self.state.line.top != 0 {
            self.pop();
        }
        if included {
            self.pop();
        }
    }

    /// What lies on the stack now may not be what there is.
    fn doubt(&mut self) {
        if self.state.line.top != 0 && self.top().is_none_or(|(item, _)| item.kind != Kind::Doubt) {
            self.push(Item::marker(Kind::Doubt));
        }
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
        self.state.work += looked;
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

    /// The innermost call that comes back to an address ends, and those above it.
    fn go_back(&mut self, link: Link) {
        let item = self.chains.get(link).map(|(item, _)| item);
        let mut doubtful = false;
        while self.state.line.top != link && self.state.line.top != 0 {
            doubtful |= self.top().is_some_and(|(item, _)| item.kind == Kind::Doubt);
            self.pop();
        }
        self.pop();
        if let Some(Item { kind: Kind::CallTwice, ip, step }) = item {
            let near =
                self.chains.walk(self.state.line.top).take_while(|(_, item)| item.kind == Kind::Landmark);
            if !near.into_iter().any(|(_, item)| item.ip == ip) {
                self.push(Item { kind: Kind::Landmark, ip, step });
            }
        }
        // That frame is the right one, but who called it?
        if doubtful {
            self.doubt();
        }
    }

    fn leap(&mut self, leap: Leap) {
        let Leap { from, to, manner, .. } = leap;
        if !self.state.candidates.is_empty() && self.settle_candidates(to, &leap) {
            return;
        }
        if manner.loaded {
            self.leap_loaded(&leap);
            return;
        }
        let top = self.top_frame();
        if let Some((link, _)) = top.filter(|(_, item)| item.is_call() && item.ip == to) {
            self.go_back(link);
            return;
        }
        if leap.is_jump() {
            if let Some((link, _)) = top.filter(|(_, item)| leap.changes_top() && item.is_call()) {
                self.pop_to(link, true);
            }
            return;
        }
        if let Some(link) = self.find(to, false) {
            self.go_back(link);
            return;
        }
        // The end of a handler: what was interrupted goes on behind its system call.
        let handles = top.is_some_and(|(_, item)| item.kind == Kind::Interrupted);
        if !handles && !self.switch(to) && !self.land(from, to) {
            match top {
                // Its return address was changed.
                Some((link, item)) if item.is_call() => self.pop_to(link, true),
                // Calls that were not seen.
                Some(_) => {}
                None => self.reveal(&leap),
            }
        }
    }

    /// A return from the bottom: there was a frame below.
    fn reveal(&mut self, leap: &Leap) {
        self.state.line.top = 0;
        self.index = None;
        if self.state.line.number == self.state.first && self.revealed.len() < MOST_REVEALED {
            self.revealed.push(Revealed { ip: leap.to, step: leap.step });
        }
    }

    /// A return or jump behind which the stack pointer is another one.
    fn leap_loaded(&mut self, leap: &Leap) {
        let (from, to) = (leap.from, leap.to);
        let here = self.names.function(from);
        if !leap.is_return && here.is_some() && here == self.names.function(to) {
            return;
        }
        if let Some(link) = self.find(to, true) {
            let rival = self
                .chains
                .walk(link)
                .take(HURRIED)
                .skip(1)
                .any(|(_, item)| item.kind == Kind::Landmark && item.ip == to);
            let others = !self.state.lines.waiting_for(&self.chains, to, None).is_empty();
            self.pop_to(link, false);
            if rival || others {
                self.doubt();
            }
            return;
        }
        if self.switch(to) {
            return;
        }
        if let Some(link) = self.find(to, false) {
            self.go_back(link);
            return;
        }
        if self.land(from, to) {
            return;
        }
        let top = self.top_frame();
        if leap.is_return
            && top.is_none()
            && self.state.line.number == self.state.first
            && self.revealed.is_empty()
        {
            // Nothing is known of this stack, so it need not be another one.
            self.reveal(leap);
            return;
        }
        if self.names.is_pad(to) {
            // In a frame from before the recording; those between are not known.
            self.state.line.top = 0;
            self.index = None;
            self.note_loss(leap.step);
            return;
        }
        self.unexplained(to);
        self.begin();
    }

    fn unexplained(&mut self, to: u64) {
        if self.unexplained.len() < MOST_UNEXPLAINED && !self.unexplained.contains(&to) {
            self.unexplained.push(to);
        }
    }

    /// An exception lands, or a jump goes to a frame whose function is known.
    fn land(&mut self, from: u64, to: u64) -> bool {
        let names = self.names.clone();
        if names.is_pad(to) {
            let fit = |item: &Item| match item.kind {
                Kind::Call | Kind::CallTwice => names.lands(to, item.ip),
                Kind::Interrupted => names.lands(to, item.ip.wrapping_add(1)),
                _ => false,
            };
            if let Some(link) = self.search(fit) {
                self.pop_to(link, true);
                return true;
            }
        }
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

    /// The running stack is left.
    fn leave(&mut self) {
        if !self.state.candidates.is_empty() {
            // It stays open which one it was.
            self.state.candidates = Arc::default();
        }
        self.kept = self.kept.max(self.chains.len());
        let line = self.state.line;
        Arc::make_mut(&mut self.state.lines).add(&self.chains, line);
        self.index = None;
    }

    /// Another stack begins.
    fn begin(&mut self) {
        self.leave();
        let number = self.state.next_number;
        self.state.next_number = number.wrapping_add(1);
        self.state.line = Line { number, top: 0, resumer: Some(self.state.line.number) };
    }

    /// A stack that waits for an address goes on; false if there is none.
    fn switch(&mut self, to: u64) -> bool {
        let mut found = self.state.lines.waiting_for(&self.chains, to, self.state.line.resumer);
        let Some(&(line, left)) = found.first() else { return false };
        let own = self.state.line;
        self.leave();
        // A switch from a stack to itself is possible, too.
        let itself =
            self.top_call_of(own.top).filter(|(item, _)| item.ip == to).map(|(_, below)| (own, below));
        found.extend(itself);
        self.run(line, left);
        if own.resumer != Some(line.number) {
            self.state.line.resumer = Some(own.number);
        }
        let others = found.iter().skip(1);
        let candidates: Vec<Candidate> =
            others.map(|&(line, left)| Candidate { number: line.number, left }).collect();
        if !candidates.is_empty() {
            self.state.chosen = (left, line.top);
            self.state.candidates = Arc::new(candidates);
        }
        true
    }

    fn top_call_of(&self, top: Link) -> Option<(Item, Link)> {
        let (link, item) = self.chains.walk(top).find(|(_, item)| item.kind != Kind::Landmark)?;
        item.is_call().then(|| self.chains.get(link)).flatten()
    }

    fn run(&mut self, line: Line, left: Link) {
        Arc::make_mut(&mut self.state.lines).take(&self.chains, line.number);
        self.state.line = Line { top: left, ..line };
        self.index = None;
    }

    /// A return from where other stacks may have run instead: only those that wait for this address are left. True if that
    /// settled where the return went.
    fn settle_candidates(&mut self, to: u64, leap: &Leap) -> bool {
        let mine = self.state.line.top;
        let above = self.chains.walk(mine).take_while(|&(link, _)| link != self.state.chosen.0);
        // What was called since comes first.
        if leap.manner.loaded || leap.is_jump() || above.into_iter().any(|(_, item)| item.is_frame()) {
            return false;
        }
        let next = |chains: &Chains, left: Link| {
            let (link, item) =
                chains.walk(left).find(|(_, item)| !matches!(item.kind, Kind::Landmark | Kind::Doubt))?;
            (item.is_call() && item.ip == to).then(|| chains.get(link).map(|(_, below)| below)).flatten()
        };
        let fitting: Vec<Candidate> = self
            .state
            .candidates
            .iter()
            .filter_map(|candidate| {
                next(&self.chains, candidate.left).map(|left| Candidate { left, ..*candidate })
            })
            .collect();
        match next(&self.chains, mine) {
            Some(left) => {
                self.state.line.top = left;
                self.index = None;
                self.state.chosen.0 = left;
                self.state.candidates = Arc::new(fitting);
                true
            }
            None => {
                let Some(&first) = fitting.first() else {
                    self.state.candidates = Arc::default();
                    self.doubt();
                    return false;
                };
                // It was another one: this one still waits as it did.
                let resumer = self.state.line.resumer;
                let waiting = Line { top: self.state.chosen.1, ..self.state.line };
                let lines = Arc::make_mut(&mut self.state.lines);
                lines.add(&self.chains, waiting);
                let Some(line) = lines.take(&self.chains, first.number) else { return false };
                self.state.line = Line { top: first.left, resumer, ..line };
                self.index = None;
                self.state.chosen = (first.left, line.top);
                self.state.candidates = Arc::new(fitting.into_iter().skip(1).collect());
                true
            }
        }
    }

    /// The top of frames that may be those of another stack, if there is doubt.
    pub fn guessed(&self) -> Option<Link> {
        (!self.state.candidates.is_empty()).then_some(self.state.chosen.0)
    }

    fn far_return(&mut self, to: u64) {
        if let Some(link) = self.interrupted_at(to) {
            self.pop_to(link, true);
        } else if let Some(link) = self.search(|item| item.kind == Kind::Interrupted) {
            // To a handler: what was interrupted waits for that.
            self.pop_to(link, false);
        }
    }

    fn enter(&mut self, to: u64, step: u64, off: Off, tsc: u64) {
        let begun = self.programs.partition_point(|&begins| begins <= tsc);
        if begun > self.state.programs {
            self.state.programs = begun;
            if !off.resumes(to) {
                self.begin_program();
                return;
            }
        }
        let interrupted = |ip| Item { kind: Kind::Interrupted, ip, step: step.saturating_sub(1) };
        match off {
            _ if off.resumes(to) => {}
            Off::Interrupted(at) => self.push(interrupted(at)),
            Off::Syscall(_, behind) => {
                if let Some(link) = self.interrupted_at(to) {
                    self.pop_to(link, true);
                    return;
                }
                match self.top_frame().filter(|(_, item)| item.kind == Kind::Interrupted) {
                    // The handler is over, and goes on elsewhere or at the handler of another signal.
                    Some((link, item)) => {
                        self.pop_to(link, true);
                        if self.names.is_start(to) {
                            self.push(interrupted(item.ip));
                        } else {
                            self.leap_loaded(&Leap {
                                from: item.ip,
                                to,
                                step,
                                is_return: false,
                                manner: Manner::default(),
                            });
                        }
                    }
                    None => self.push(interrupted(behind)),
                }
            }
            Off::Away => {
                if let Some(link) = self.find(to, false) {
                    self.go_back(link);
                } else if self.top_frame().is_some_and(|(_, item)| item.is_frame()) {
                    self.push(Item::marker(Kind::Hidden));
                }
            }
            Off::Unknown => {}
        }
    }

    /// Another program runs from now on, with a new stack.
    fn begin_program(&mut self) {
        self.state.lines = Arc::default();
        self.state.candidates = Arc::default();
        self.index = None;
        let number = self.state.next_number;
        self.state.next_number = number.wrapping_add(1);
        self.state.line = Line { number, top: 0, resumer: None };
    }

    /// The present stack is one that began while it was watched.
    pub fn begun_here(&self) -> bool {
        self.state.line.number != self.state.first
    }

    fn arrive(&mut self, to: Option<u64>) {
        let (Some(pending), Some(to)) = (self.state.pending.take(), to) else { return };
        match pending {
            Pending::Call { back, step } => self.push(Item { kind: Kind::Call, ip: back, step }),
            Pending::Leap(leap) => self.leap(Leap { to, ..leap }),
            Pending::FarCall { back, step } => self.push(Item { kind: Kind::Interrupted, ip: back, step }),
            Pending::FarReturn { .. } => self.far_return(to),
        }
    }
}
