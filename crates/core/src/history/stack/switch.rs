//! Switches from one stack of a thread to another, as those of coroutines.

use std::sync::Arc;

use super::below::Revealed;
use super::chain::{Chains, Item, Kind, Link};
use super::code::Loaded;
use super::ledger::Ledger;
use super::lines::{Line, MOST_CONSIDERED};
use super::ops::Leap;
use super::tracker::Tracker;

/// A stack that may be the one that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// None: one that was not looked at, or left before the history began.
    number: Option<u32>,
    /// What is left of it.
    pub left: Link,
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
        for candidate in std::mem::take(&mut self.state.candidates).iter() {
            if let Some(number) = candidate.number {
                let edge = (self.edge(Kind::Doubt), self.books.bottom_of(number));
                Arc::make_mut(&mut self.state.lines).doubt(&mut self.chains, number, candidate.left, edge);
                self.kept = self.kept.max(self.chains.len());
            }
        }
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
            self.foreign |= !self.state.open;
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
        let mut found = self.state.lines.waiting_for(&self.chains, to, own.resumer);
        if found.is_empty() {
            return false;
        }
        let is_overfull = found.len() >= MOST_CONSIDERED || self.state.lines.is_overfull();
        self.leave();
        // A switch from a stack to itself is possible, too.
        let call = || self.top_call_of(own.top).filter(|(item, _)| item.ip == to).map(|(_, below)| below);
        found.extend(landmark.or_else(call).map(|left| (own, left)));
        let unseen = self.state.open || is_overfull;
        if found.len() > 1 || unseen {
            let known = self.choices.known.get(self.state.choices as usize);
            let right = found.iter().position(|(line, _)| Some(&line.number) == known);
            found.swap(0, right.unwrap_or(0));
        }
        let Some(&(line, left)) = found.first() else { return true };
        self.run(line, left);
        if own.resumer != Some(line.number) {
            self.state.line.resumer = Some(own.number);
        }
        let others = found.iter().skip(1);
        let mut candidates: Vec<Candidate> =
            others.map(|&(line, left)| Candidate { number: Some(line.number), left }).collect();
        if unseen {
            candidates.push(Candidate { number: None, left: 0 });
        }
        if !candidates.is_empty() {
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
        let is_end = |&(link, item): &(Link, Item)| link == edge_link || item.is_frame();
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
        // What is left of a stack behind this return, and whether that is in doubt. None: it is not this stack.
        let next = |chains: &Chains<L::Note>, left: Link| {
            let mut doubtful = false;
            let found = chains.walk(left).find(|(_, item)| {
                doubtful |= item.kind == Kind::Doubt;
                !item.is_passed_by() && item.kind != Kind::Doubt
            });
            match found.filter(|(_, item)| item.is_call() && item.ip == to) {
                Some((link, _)) => chains.get(link).map(|(_, below)| (below, doubtful)),
                None => doubtful.then_some((0, true)),
            }
        };
        // The stack that nobody saw fits always.
        let mut fitting: Vec<(Candidate, bool)> = self
            .state
            .candidates
            .iter()
            .filter_map(|candidate| match candidate.number {
                Some(_) => next(&self.chains, candidate.left)
                    .map(|(left, doubtful)| (Candidate { left, ..*candidate }, doubtful)),
                None => Some((*candidate, true)),
            })
            .collect();
        let (left, doubtful) = match next(&self.chains, mine) {
            Some(fits) => fits,
            None if fitting.is_empty() => {
                self.doubt();
                return false;
            }
            None => {
                let (first, doubtful) = fitting.remove(0);
                // It was another one: this one still waits as it did.
                let resumer = self.state.line.resumer;
                self.choices.revised += 1;
                let waiting = Line { top: self.put_back(was, mine), ..self.state.line };
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
                (first.left, doubtful)
            }
        };
        self.kept = self.kept.max(self.chains.len());
        self.cut_to(left);
        let resolves = fitting.is_empty() && !doubtful;
        self.reveal_at(edge.ip, Revealed { ip: to, step: leap.step, is_return: true, resolves });
        if !resolves {
            self.push_doubt(edge);
            self.state.chosen.0 = self.state.line.top;
        }
        self.state.candidates = Arc::new(fitting.into_iter().map(|(candidate, _)| candidate).collect());
        true
    }
}
