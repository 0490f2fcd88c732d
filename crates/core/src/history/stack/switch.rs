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

use std::sync::Arc;

use super::below::Revealed;
use super::chain::{Chains, Item, Kind, Link};
use super::code::Loaded;
use super::ledger::Ledger;
use super::lines::{has_likely_landmark, Line, MOST_CONSIDERED};
use super::ops::Leap;
use super::tracker::{Tracker, MOST_FLOATING};

/// A stack that may be the one that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// None: one that was not looked at, or left before the history began.
    number: Option<u32>,
    /// What is left of it.
    pub left: Link,
    /// That was in doubt before.
    is_doubtful: bool,
}

/// Which of several stacks that waited for the same address went on there: known only later, so another walk helps.
#[derive(Clone, Debug, Default)]
pub(super) struct Choices {
    /// Numbers of the stacks, by number of the choice, from an earlier walk.
    pub known: Arc<Vec<u32>>,
    /// Those of this walk.
    pub made: Vec<u32>,
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
    /// The last choice was wrong.
    fn revise(&mut self, number: u32) {
        if let Some(last) = self.made.last_mut() {
            *last = number;
        }
    }
}

impl<L: Ledger> Tracker<L> {
    /// The running stack is left.
    fn leave(&mut self) {
        self.drop_candidates();
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
    pub fn drop_candidates(&mut self) {
        let (_, was) = self.state.chosen;
        for candidate in std::mem::take(&mut self.state.candidates).iter() {
            if let Some(number) = candidate.number {
                self.doubt_line(number, (candidate.left, was));
            }
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

    /// A stack that waits for an address goes on; false if there is none. `landmark`: where the running one may go on.
    pub fn switch(&mut self, to: u64, landmark: Option<Link>) -> bool {
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
        found.extend(landmark.or_else(call).map(|left| (own, left)));
        let is_likely = |chains: &Chains<L::Note>, (line, left): &(Line, Link)| {
            chains.edge(line.top) != chains.edge(*left)
        };
        let tops = found.iter().map(|(line, _)| line.top).chain([own.top]);
        let floats = self.may_float(to)
            || found.iter().any(|found| is_likely(&self.chains, found))
            || tops.into_iter().any(|top| has_likely_landmark(&self.chains, top, to));
        let unseen = self.state.open || is_overfull || floats || self.state.lines.has_unsure();
        if found.len() > 1 || unseen {
            let known = self.choices.known.get(self.state.choices as usize);
            let right = found.iter().position(|(line, _)| Some(&line.number) == known);
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
                number: Some(found.0.number),
                left: found.1,
                is_doubtful: is_likely(&self.chains, found),
            })
            .collect();
        if unseen {
            candidates.push(Candidate { number: None, left: 0, is_doubtful: true });
        }
        if !candidates.is_empty() {
            self.state.is_doubtful =
                first_is_likely || self.top().is_some_and(|(item, _)| item.kind == Kind::Doubt);
            self.doubt();
            self.state.chosen = (self.state.line.top, line.top);
            self.state.candidates = Arc::new(candidates);
            self.state.choices += 1;
            self.choices.made.push(line.number);
        }
        true
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
    pub fn settle_candidates(&mut self, to: u64, leap: &Leap) -> bool {
        let (edge_link, was) = self.state.chosen;
        let is_end = |(_, item): &(Link, Item)| item.is_edge() || item.is_frame();
        let first = self.chains.walk(self.state.line.top).find(is_end);
        // What was called since comes first.
        if leap.manner.loaded != Loaded::No
            || leap.is_jump()
            || first.is_some_and(|(link, _)| link != edge_link)
        {
            return false;
        }
        let Some((edge, mine)) = first.and_then(|_| self.chains.get(edge_link)) else {
            self.drop_candidates();
            return false;
        };
        let mine = (mine, self.state.is_doubtful);
        let returned = |left: (Link, bool)| Return::of(&self.chains, left, to);
        let seen = self.state.candidates.iter().filter(|candidate| candidate.number.is_some());
        let lefts = seen.map(|candidate| (candidate.left, candidate.is_doubtful));
        let is_known = lefts.chain([mine]).any(|left| matches!(returned(left), Return::Behind(..)));
        // Stacks that were begun may return anywhere in the end, but not where calls do.
        let next = |left: (Link, bool)| match returned(left) {
            Return::Behind(below, doubtful) => Some((below, doubtful)),
            Return::Unknown => Some((0, true)),
            Return::End if !is_known => Some((0, false)),
            Return::End | Return::Elsewhere => None,
        };
        // The stack that nobody saw fits always.
        let fits =
            |candidate: &Candidate| match candidate.number {
                Some(_) => next((candidate.left, candidate.is_doubtful))
                    .map(|(left, is_doubtful)| Candidate { left, is_doubtful, ..*candidate }),
                None => Some(*candidate),
            };
        let mut fitting: Vec<Candidate> = self.state.candidates.iter().filter_map(fits).collect();
        let first = next(mine);
        let (left, doubtful) = match first {
            Some(fits) => fits,
            None if fitting.is_empty() => {
                self.doubt();
                return false;
            }
            None => {
                let first = fitting.remove(0);
                // It was another one: this one still waits as it did.
                let resumer = self.state.line.resumer;
                self.choices.revised += 1;
                let waiting = Line { top: self.put_back(was, mine.0), ..self.state.line };
                let lines = Arc::make_mut(&mut self.state.lines);
                let forgotten = lines.add(&self.chains, waiting);
                let found = first.number.map(|number| lines.take(&self.chains, number));
                self.books.leave(waiting.number);
                self.forget_lines(forgotten);
                match found {
                    Some(Some(line)) => {
                        self.state.chosen.1 = line.top;
                        self.books.resume(line.number);
                        self.state.line = Line { resumer, ..line };
                    }
                    // That does not happen: candidates wait.
                    Some(None) => {
                        self.new_line();
                        self.books.begin_unseen(self.state.line.number);
                        return false;
                    }
                    None => {
                        self.new_line();
                        self.state.line.resumer = resumer;
                        self.books.begin_unseen(self.state.line.number);
                    }
                }
                self.choices.revise(self.state.line.number);
                (first.left, first.is_doubtful)
            }
        };
        self.kept = self.kept.max(self.chains.len());
        if left == 0 && doubtful {
            let lost: Vec<u64> = self
                .chains
                .walk(self.state.line.top)
                .filter(|(_, item)| item.kind == Kind::Landmark)
                .map(|(_, item)| item.ip)
                .collect();
            lost.into_iter().for_each(|ip| self.float(ip));
        }
        self.cut_to(left);
        let resolves = fitting.is_empty() && !doubtful;
        let is_end = left == 0 && resolves && !is_known;
        self.reveal_at(edge.ip, Revealed { ip: to, step: leap.step, is_return: true, resolves, is_end });
        if is_end {
            self.books.reveal();
        }
        if !resolves {
            self.state.is_doubtful = doubtful || self.top().is_some_and(|(item, _)| item.kind == Kind::Doubt);
            self.push_doubt(edge);
            self.state.chosen.0 = self.state.line.top;
        }
        self.state.candidates = Arc::new(fitting);
        true
    }
}
