//! Switches from one stack of a thread to another, as those of coroutines.
//!
//! Several stacks may wait where execution goes on. Then one of them is chosen, and which of them each one is stays open:
//! that which runs, and those that go on waiting. The rule: *what lies above the uppermost edge of a stack is right, whichever
//! was chosen.* So
//!
//! - the stack that runs gets an edge below what is called from then on, and is a [candidate](Candidate) among the others;
//! - a return below that edge leaves only candidates that wait for that address, or may: it is their common evidence. A
//!   candidate that does not fit waits as it did, and has no doubt. If one is left that is known, the edge is gone;
//! - when the stack is left before that, each candidate that is left may hold what the chosen one held. So it gets an edge below
//!   what both have in common from the top down, often no more than the call behind which they wait. That edge is a new one even
//!   where another one lay, because an edge stands for one stack only;
//! - a candidate that has nothing in common with the chosen one has an edge on top: where it goes on is not known, and while it
//!   waits each switch may be to it;
//! - a landmark below an edge may lie on any stack that has an edge: if a jump goes to such a one, it is not known of any of these
//!   where it waits;
//! - a stack that has an edge anywhere on the way down to where it goes on is in doubt from the beginning.
//!
//! What stacks have in common below the edge is not made out: the frames there are guesses, even if all candidates have them.
//!
//! This file is long because it holds one decision, which stack goes on, with all that is weighed for it.

use std::sync::Arc;

use super::below::Revealed;
use super::chain::{Chains, Item, Kind, Link};
use super::code::Loaded;
use super::ledger::Ledger;
use super::lines::{has_likely_landmark, Line, Lines, MOST_CONSIDERED};
use super::ops::Leap;
use super::tracker::{Tracker, MOST_FLOATING};

/// Most candidates that earlier choices make of those of the last one.
const MOST_SPREAD: usize = 64;
/// Most landmarks that are looked at for those with the same address.
const MOST_LANDMARKS: usize = 256;

/// Which stack a candidate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// One that waits, by its number.
    Waiting(u32),
    /// One that was not looked at, or left before the history began.
    Unseen,
    /// The running one further down.
    Deeper,
}

impl Which {
    /// The stack with a number, if another one runs or itself.
    fn of(number: u32, running: u32) -> Which {
        if number == running {
            Which::Deeper
        } else {
            Which::Waiting(number)
        }
    }
}

/// A stack that may be the one that runs.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    which: Which,
    /// What is left of it.
    left: Link,
    /// That was in doubt before.
    is_doubtful: bool,
    /// What another walk is to choose if this proves right: steps of branches, and how many landmarks each passed by.
    ranks: Vec<(u64, Chosen)>,
}

impl Candidate {
    /// The same with what is left now.
    fn with(&self, (left, is_doubtful): (Link, bool)) -> Candidate {
        Candidate { left, is_doubtful, ..self.clone() }
    }
}

/// Execution went on where several stacks may have waited, or one stack at several places; returns tell later which it was.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// The step of the branch that went there.
    step: u64,
    /// The edge on top of what the candidates are candidates for.
    edge: Link,
    /// What the running stack was when it was left.
    was: Link,
    /// What lies below the edge was in doubt before.
    is_doubtful: bool,
    /// What was chosen at first was wrong, or cannot be told from another candidate any more.
    is_revised: bool,
    /// Edges of earlier choices that what was chosen passed, and that were right if it is.
    passed: Vec<u64>,
    /// What it may have been instead.
    candidates: Vec<Candidate>,
}

impl Choice {
    /// All links.
    pub fn links(&mut self) -> impl Iterator<Item = &mut Link> + '_ {
        let lefts = self.candidates.iter_mut().map(|candidate| &mut candidate.left);
        [&mut self.edge, &mut self.was].into_iter().chain(lefts)
    }

    /// It is between places of the running stack.
    fn is_of_one(&self) -> bool {
        self.candidates.iter().all(|candidate| matches!(candidate.which, Which::Deeper))
    }
}

/// What was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// The stack with a number.
    Stack(u32),
    /// The running stack, at a landmark that lies below so many with the same address; and how many there were in all.
    Landmark { rank: u32, of: u32 },
}

/// Which of several stacks that waited for the same address went on there, or at which of several places: known only later,
/// so another walk helps.
#[derive(Clone, Debug, Default)]
pub(super) struct Choices {
    /// From an earlier walk, by step of the branch.
    pub known: Arc<Vec<(u64, Chosen)>>,
    /// Those of this walk.
    pub made: Vec<(u64, Chosen)>,
    /// Choices that proved wrong.
    pub revised: u64,
}

/// How a return goes with what is thought to lie on a stack.
enum Return {
    /// Behind a call: what is left below, and whether that is in doubt.
    Behind(Link, bool),
    /// What lies on the stack is not known.
    Unknown,
    /// The outermost function returns.
    End,
    /// It is not this stack.
    Elsewhere,
}

impl Return {
    fn of<N: Copy + Default>(chains: &Chains<N>, (left, doubtful): (Link, bool), to: u64) -> Return {
        let mut doubtful = doubtful;
        let found = chains.walk(left).find(|(_, item)| {
            doubtful |= item.is_edge();
            !item.is_passed_by() && !item.is_edge()
        });
        match found {
            Some((link, item)) if item.is_call() && item.ip == to => {
                Return::Behind(chains.get(link).map_or(0, |(_, below)| below), doubtful)
            }
            _ if doubtful => Return::Unknown,
            None => Return::End,
            Some(_) => Return::Elsewhere,
        }
    }
}

impl Choices {
    /// What an earlier walk chose.
    fn known_at(&self, step: u64) -> Option<Chosen> {
        let at = self.known.partition_point(|&(one, _)| one < step);
        self.known.get(at).filter(|&&(one, _)| one == step).map(|&(_, choice)| choice)
    }

    /// The choice of a step was wrong.
    fn revise(&mut self, step: u64, choice: Chosen) {
        self.revised += 1;
        let at = self.made.partition_point(|&(one, _)| one < step);
        if let Some(made) = self.made.get_mut(at).filter(|made| made.0 == step) {
            made.1 = choice;
        }
    }
}

impl<L: Ledger> Tracker<L> {
    /// The running stack is left.
    fn leave(&mut self) {
        self.drop_choices();
        self.kept = self.kept.max(self.chains.len());
        let line = self.state.line;
        let forgotten = Arc::make_mut(&mut self.state.lines).add(&self.chains, line);
        self.books.leave(line.number);
        self.forget_lines(forgotten);
        self.index = None;
    }

    /// Stacks that were left will never run again; that which runs is not at hand.
    pub fn forget_lines(&mut self, lines: impl IntoIterator<Item = Line>) {
        if L::KEEPS {
            for Line { number, top, .. } in lines {
                self.books.recall(number);
                self.close_frames(top, 0);
                self.books.reveal();
            }
        }
    }

    /// Which stack runs stays open: edges say so, in it and in those that may run instead.
    pub fn drop_choices(&mut self) {
        for choice in std::mem::take(&mut self.state.choices).iter() {
            self.drop_choice(choice);
        }
    }

    fn drop_choice(&mut self, choice: &Choice) {
        for candidate in &choice.candidates {
            match candidate.which {
                Which::Waiting(number) => self.doubt_line(number, (candidate.left, choice.was)),
                // If it ran, the chosen one still waits as it did.
                Which::Unseen => self.state.strays = true,
                Which::Deeper => {}
            }
        }
    }

    /// Choices that were left with what all candidates have in common stay open.
    pub fn drop_left(&mut self) {
        let depth = self.chains.depth(self.state.line.top);
        while let Some(last) = self.state.choices.last().filter(|last| depth < self.chains.depth(last.edge)) {
            let last = last.clone();
            Arc::make_mut(&mut self.state.choices).pop();
            self.drop_choice(&last);
        }
    }

    fn doubt_line(&mut self, number: u32, places: (Link, Link)) {
        let edge = (self.edge(Kind::Doubt), self.books.bottom_of(number));
        Arc::make_mut(&mut self.state.lines).doubt(&mut self.chains, number, places, edge);
        self.kept = self.kept.max(self.chains.len());
    }

    /// Any stack that waits and has an edge may have gone on: where it waits is not known any more.
    pub fn doubt_edged(&mut self) {
        for number in self.state.lines.with_edges() {
            self.doubt_line(number, (0, 0));
        }
    }

    /// There may be a landmark at an address on any stack that has an edge.
    pub fn may_float(&self, to: u64) -> bool {
        self.state.floating.len() >= MOST_FLOATING || self.state.floating.contains(&to)
    }

    /// Another stack runs, with nothing on it that is known; it begins if it is run from the start of a function.
    pub fn begin(&mut self, from: u64, to: u64) {
        self.leave();
        self.new_line();
        let number = self.state.line.number;
        let (function, is_start) = (self.names.function(to), self.names.is_start(to));
        let begins = is_start || (!self.state.open && function.is_none());
        if begins {
            self.books.begin_stack(number, from, to);
        } else {
            self.books.begin_unseen(number);
            self.foreign |= !self.state.open && !self.state.lines.has_unsure();
            let edge = self.edge(Kind::Doubt);
            self.push(edge);
        }
    }

    fn new_line(&mut self) {
        let number = self.state.next_number;
        self.state.next_number = number.wrapping_add(1);
        self.state.line = Line { number, top: 0, resumer: Some(self.state.line.number) };
    }

    /// A stack that waits for an address goes on since a step; false if there is none. `lands`: a landmark may be meant.
    pub fn switch(&mut self, to: u64, step: u64, lands: bool) -> bool {
        let own = self.state.line;
        if !self.state.lines.is_waited_for(to, own.number) {
            return false;
        }
        self.leave();
        let mut found = self.state.lines.waiting_for(&self.chains, to, own.resumer);
        let is_overfull = found.len() >= MOST_CONSIDERED || self.state.lines.is_overfull();
        found.retain(|(line, _)| line.number != own.number);
        // A switch from a stack to itself is possible, too.
        let call = || self.top_call_of(own.top).filter(|(item, _)| item.ip == to).map(|(_, below)| below);
        let landmarks = Lines::landmarks(&self.chains, own.top).take(MOST_LANDMARKS);
        let landmarks = landmarks.filter(|&(place, _)| lands && place == to).take(MOST_CONSIDERED);
        let mut places: Vec<Link> = landmarks.map(|(_, left)| left).collect();
        if places.is_empty() {
            places.extend(call());
        }
        let is_overfull = is_overfull || places.len() >= MOST_CONSIDERED;
        found.extend(places.into_iter().map(|left| (own, left)));
        let is_likely = |chains: &Chains<L::Note>, (line, left): &(Line, Link)| {
            chains.edge(line.top) != chains.edge(*left)
        };
        let tops = found.iter().map(|(line, _)| line.top).chain([own.top]);
        let floats = self.may_float(to)
            || found.iter().any(|found| is_likely(&self.chains, found))
            || tops.into_iter().any(|top| has_likely_landmark(&self.chains, top, to));
        let unseen = is_overfull || floats || self.may_be_unseen();
        if found.len() > 1 || unseen {
            let known = self.choices.known_at(step);
            let right = found.iter().position(|(line, _)| Some(Chosen::Stack(line.number)) == known);
            found.swap(0, right.unwrap_or(0));
        }
        let Some(&(line, left)) = found.first() else { return true };
        let first_is_likely = is_likely(&self.chains, &(line, left));
        self.run(line, left);
        if floats {
            self.doubt_edged();
        }
        if own.resumer != Some(line.number) {
            self.state.line.resumer = Some(own.number);
        }
        let others = found.iter().skip(1);
        let mut candidates: Vec<Candidate> = others
            .map(|found| Candidate {
                which: Which::of(found.0.number, line.number),
                left: found.1,
                is_doubtful: is_likely(&self.chains, found),
                ranks: Vec::new(),
            })
            .collect();
        if unseen {
            candidates.push(Candidate {
                which: Which::Unseen,
                left: 0,
                is_doubtful: true,
                ranks: Vec::new(),
            });
        }
        if !candidates.is_empty() {
            let is_doubtful = first_is_likely || self.top().is_some_and(|(item, _)| item.kind == Kind::Doubt);
            self.doubt();
            self.choose(step, (Chosen::Stack(line.number), line.top), is_doubtful, candidates);
        }
        true
    }

    /// Something was chosen; the edge is on top. `chosen`: what another walk is to know, and what lay on that stack.
    fn choose(&mut self, step: u64, chosen: (Chosen, Link), is_doubtful: bool, candidates: Vec<Candidate>) {
        let (edge, was) = (self.state.line.top, chosen.1);
        let choice =
            Choice { step, edge, was, is_doubtful, is_revised: false, passed: Vec::new(), candidates };
        Arc::make_mut(&mut self.state.choices).push(choice);
        self.choices.made.push((step, chosen.0));
    }

    /// The running stack goes on at a landmark with an address since a step: it may be any one that lies on it.
    pub fn land_on(&mut self, ip: u64, step: u64) {
        let was = self.state.line.top;
        let mut landmarks = Lines::landmarks(&self.chains, was);
        let near = landmarks.by_ref().take(MOST_LANDMARKS).filter(|&(place, _)| place == ip);
        let all: Vec<Link> = near.map(|(_, left)| left).collect();
        let is_known = landmarks.next().is_none() && all.len() <= MOST_CONSIDERED;
        drop(landmarks);
        let of = all.len() as u32;
        let rank = match self.choices.known_at(step) {
            Some(Chosen::Landmark { rank, of: then }) if is_known && then == of => rank as usize,
            _ => 0,
        };
        let Some(&first) = all.get(rank) else {
            // It lies deeper.
            self.doubt();
            return;
        };
        self.kept = self.kept.max(self.chains.len());
        // What a choice was between are landmarks further down, and so are the candidates now.
        let is_sure = !self.is_doubtful_between(was, first, Kind::Doubt);
        // What is not known of this stack may have such a landmark, too.
        let floats = self.may_float(ip) && self.chains.edge(first) != 0;
        self.pop_edges(first, false);
        self.drop_left();
        if !is_sure || !is_known || floats {
            self.doubt();
            return;
        }
        let deeper = all.iter().enumerate().skip(rank + 1);
        let candidates: Vec<Candidate> = deeper
            .map(|(rank, &left)| Candidate {
                which: Which::Deeper,
                left,
                is_doubtful: self.is_doubtful_between(first, left, Kind::Hidden),
                ranks: vec![(step, Chosen::Landmark { rank: rank as u32, of })],
            })
            .collect();
        if !candidates.is_empty() {
            let edge = self.edge(Kind::Doubt);
            self.push(edge);
            self.choose(step, (Chosen::Landmark { rank: rank as u32, of }, was), false, candidates);
        }
    }

    /// Edges lie between two links of the running stack, besides those of choices between its own places; `least`: of which
    /// kind.
    fn is_doubtful_between(&self, from: Link, to: Link, least: Kind) -> bool {
        let counts = |item: &Item| item.kind == Kind::Doubt || item.kind == least;
        let mut edges = self.chains.walk(from).take_while(|&(link, _)| link != to);
        edges.any(|(link, item)| counts(&item) && self.own_choice(link).is_none())
    }

    /// The choice between places of the running stack that an edge belongs to.
    fn own_choice(&self, edge: Link) -> Option<&Choice> {
        self.state.choices.iter().find(|choice| choice.edge == edge).filter(|choice| choice.is_of_one())
    }

    /// What a stack may be if the next thing on it is the edge of another choice: all that may lie below.
    fn spread(&self, candidate: Candidate, out: &mut Vec<Candidate>) {
        let next = self.chains.walk(candidate.left).find(|(_, item)| !item.is_passed_by());
        let choice = next.and_then(|(link, _)| self.own_choice(link)).filter(|_| out.len() < MOST_SPREAD);
        let Some(choice) = choice else {
            out.push(candidate);
            return;
        };
        let below = self.chains.get(choice.edge).map_or(0, |(_, below)| below);
        let is_doubtful = candidate.is_doubtful || choice.is_doubtful;
        self.spread(candidate.with((below, is_doubtful)), out);
        for other in &choice.candidates {
            let is_doubtful = candidate.is_doubtful || other.is_doubtful;
            let mut other = Candidate { which: candidate.which, ..other.with((other.left, is_doubtful)) };
            other.ranks.extend(&candidate.ranks);
            self.spread(other, out);
        }
    }

    /// Some stack may wait at a place that is not known.
    pub fn may_be_unseen(&self) -> bool {
        self.state.open || self.state.strays || self.state.lines.has_unsure()
    }

    /// No choice is between several stacks.
    pub fn chooses_in_one(&self) -> bool {
        self.state.choices.iter().all(Choice::is_of_one)
    }

    /// The frames of the running stack from one link down to another one, which were taken for over, are open again.
    fn put_back(&mut self, from: Link, to: Link) -> Link {
        if !L::KEEPS {
            return from;
        }
        let back: Vec<(Link, Item)> = self.chains.walk(from).take_while(|&(link, _)| link != to).collect();
        let mut top = to;
        for &(link, item) in back.iter().rev() {
            let mut note = self.chains.note(link).unwrap_or_default();
            if item.is_open() {
                note = self.books.reopen(note);
            }
            top = self.chains.push(top, item, note);
        }
        self.kept = self.chains.len();
        top
    }

    fn top_call_of(&self, top: Link) -> Option<(Item, Link)> {
        let (link, item) = self.chains.walk(top).find(|(_, item)| !item.is_passed_by())?;
        item.is_call().then(|| self.chains.get(link)).flatten()
    }

    fn run(&mut self, line: Line, left: Link) {
        Arc::make_mut(&mut self.state.lines).take(&self.chains, line.number);
        self.state.line = line;
        self.books.resume(line.number);
        self.cut_to(left);
    }

    /// A return from where other stacks may have run instead: only those that wait for this address are left. True if that
    /// settled where the return went.
    pub fn settle_choice(&mut self, to: u64, leap: &Leap) -> bool {
        let Some(mut choice) = self.state.choices.last().cloned() else { return false };
        let is_end = |(_, item): &(Link, Item)| item.is_edge() || item.is_frame();
        let first = self.chains.walk(self.state.line.top).find(is_end);
        // What was called since comes first.
        if leap.manner.loaded != Loaded::No
            || leap.is_jump()
            || first.is_some_and(|(link, _)| link != choice.edge)
        {
            return false;
        }
        let Some((edge, mine)) = first.and_then(|_| self.chains.get(choice.edge)) else {
            self.drop_choices();
            return false;
        };
        Arc::make_mut(&mut self.state.choices).pop();
        let mine = self.spread_all(&mut choice, mine);
        let returned = |left: (Link, bool)| Return::of(&self.chains, left, to);
        let seen = choice.candidates.iter().filter(|candidate| candidate.which != Which::Unseen);
        let lefts = seen.map(|candidate| (candidate.left, candidate.is_doubtful));
        let is_known = lefts.chain([mine]).any(|left| matches!(returned(left), Return::Behind(..)));
        // Stacks that were begun may return anywhere in the end, but not where calls do.
        let next = |left: (Link, bool)| match returned(left) {
            Return::Behind(below, doubtful) => Some((below, doubtful)),
            Return::Unknown => Some((0, true)),
            Return::End if !is_known => Some((0, false)),
            Return::End | Return::Elsewhere => None,
        };
        // A stack that was not seen always fits.
        let fits = |candidate: &Candidate| match candidate.which {
            Which::Unseen => Some(candidate.clone()),
            _ => next((candidate.left, candidate.is_doubtful)).map(|left| candidate.with(left)),
        };
        let mut fitting: Vec<Candidate> = choice.candidates.iter().filter_map(fits).collect();
        let (left, doubtful) = match next(mine) {
            Some((0, true)) if choice.is_of_one() => {
                // It may be something that it was not chosen from.
                self.drop_choices();
                return false;
            }
            Some(fits) => fits,
            None if fitting.is_empty() => {
                self.drop_choice(&choice);
                self.doubt();
                return false;
            }
            None => {
                let first = fitting.remove(0);
                choice.is_revised = true;
                if !self.revise(&mut choice, mine.0, &first) {
                    return false;
                }
                for candidate in &mut fitting {
                    if let Which::Waiting(number) = candidate.which {
                        candidate.which = Which::of(number, self.state.line.number);
                    }
                }
                (first.left, first.is_doubtful)
            }
        };
        let alike = fitting.len();
        fitting.retain(|candidate| candidate.which == Which::Unseen || candidate.left != left || left == 0);
        choice.is_revised |= fitting.len() < alike;
        self.kept = self.kept.max(self.chains.len());
        let resolves = fitting.is_empty() && !doubtful;
        if !resolves {
            // Another stack may have been meant, which still has them.
            let passed = self.chains.walk(self.state.line.top).take_while(|&(link, _)| link != left);
            let passed = passed.filter(|(_, item)| item.kind == Kind::Landmark);
            let lost: Vec<u64> = passed.map(|(_, item)| item.ip).collect();
            lost.into_iter().for_each(|ip| self.float(ip));
        }
        self.cut_to(left);
        self.drop_left();
        let is_end = left == 0 && resolves && !is_known;
        let as_thought = resolves && !choice.is_revised;
        let revealed = Revealed { ip: to, step: leap.step, is_return: true, resolves, as_thought, is_end };
        self.reveal_at(edge.ip, revealed);
        if as_thought {
            for &edge in &choice.passed {
                self.reveal_at(edge, revealed);
            }
        }
        if is_end {
            self.books.reveal();
        }
        if !resolves {
            choice.is_doubtful = doubtful || self.top().is_some_and(|(item, _)| item.kind == Kind::Doubt);
            self.push_doubt(edge);
            choice.edge = self.state.line.top;
            choice.candidates = fitting;
            if !choice.candidates.is_empty() {
                Arc::make_mut(&mut self.state.choices).push(choice);
            }
        }
        true
    }

    /// Puts all that may lie below earlier choices in place of those where these come next; what lies below the chosen one,
    /// and whether that is in doubt.
    fn spread_all(&self, choice: &mut Choice, mine: Link) -> (Link, bool) {
        if self.state.choices.is_empty() {
            return (mine, choice.is_doubtful);
        }
        let mut at = mine;
        while let Some((link, _)) = self.chains.walk(at).find(|(_, item)| !item.is_passed_by()) {
            let Some(own) = self.own_choice(link) else { break };
            let number = self.chains.get(link).map(|(item, below)| (item.ip, below));
            let Some((number, below)) = number else { break };
            if !own.is_revised {
                choice.passed.push(number);
                choice.passed.extend(&own.passed);
            }
            at = below;
        }
        let first = Candidate {
            which: Which::Deeper,
            left: mine,
            is_doubtful: choice.is_doubtful,
            ranks: Vec::new(),
        };
        let mut all = Vec::new();
        self.spread(first, &mut all);
        for candidate in std::mem::take(&mut choice.candidates) {
            self.spread(candidate, &mut all);
        }
        let mut all = all.into_iter();
        let first = all.next().map_or((mine, choice.is_doubtful), |first| (first.left, first.is_doubtful));
        choice.candidates = all.collect();
        first
    }

    /// Another candidate runs than `mine`, which lies below the edge; false if that is not at hand.
    fn revise(&mut self, choice: &mut Choice, mine: Link, right: &Candidate) -> bool {
        let which = right.which;
        if which == Which::Deeper {
            for &(step, rank) in &right.ranks {
                self.choices.revise(step, rank);
            }
            return true;
        }
        // This one still waits as it did.
        let resumer = self.state.line.resumer;
        let waiting = Line { top: self.put_back(choice.was, mine), ..self.state.line };
        let lines = Arc::make_mut(&mut self.state.lines);
        let forgotten = lines.add(&self.chains, waiting);
        let found = match which {
            Which::Waiting(number) => Some(lines.take(&self.chains, number)),
            _ => None,
        };
        self.books.leave(waiting.number);
        self.forget_lines(forgotten);
        let is_at_hand = match found {
            Some(Some(line)) => {
                choice.was = line.top;
                self.books.resume(line.number);
                self.state.line = Line { resumer, ..line };
                true
            }
            // That a candidate does not wait does not happen.
            lost => {
                self.new_line();
                if lost.is_none() {
                    self.state.line.resumer = resumer;
                }
                self.books.begin_unseen(self.state.line.number);
                lost.is_none()
            }
        };
        self.choices.revise(choice.step, Chosen::Stack(self.state.line.number));
        is_at_hand
    }
}
