//! Stacks that wait to be run again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::chain::{Chains, Item, Kind, Link};

/// Most stacks that are kept while others run: the oldest of more are forgotten.
const MOST_WAITING: usize = 1 << 16;
/// Most stacks that are considered when one of them is to be run.
pub(super) const MOST_CONSIDERED: usize = 16;
/// Items on top of a stack that are looked at for the innermost call.
const NEAR_TOP: usize = 8;
/// Most landmarks of a stack that it may go on at.
const MOST_LANDMARKS: usize = 16;

/// A stack and how it came to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, in order of their beginnings; that of the first is 0.
    pub number: u32,
    pub top: Link,
    /// The stack that ran when this one was begun or resumed by one that was not waiting for it.
    pub resumer: Option<u32>,
}

/// Stacks that were left.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    /// In the order in which they were left.
    all: BTreeMap<u64, Line>,
    /// When they were left, by number.
    left: HashMap<u32, u64, foldhash::fast::RandomState>,
    /// Those that wait for an address.
    waiting: HashMap<u64, BTreeSet<u64>, foldhash::fast::RandomState>,
    /// Stacks that may go on at more places than are known.
    overfull: usize,
    /// Those with an edge on top: where they go on is not known.
    unsure: usize,
    /// When those were left that have an edge below what is known.
    edged: BTreeSet<u64>,
    /// When the next one is left.
    next: u64,
}

impl Lines {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn tops(&mut self) -> impl Iterator<Item = &mut Link> + '_ {
        self.all.values_mut().map(|line| &mut line.top)
    }

    /// There may be more stacks that wait for an address than those that are known to.
    pub fn is_overfull(&self) -> bool {
        self.overfull > 0
    }

    /// The addresses at which a stack may go on: behind its innermost call, or at any landmark; each with what is left of the
    /// stack then.
    fn places<N: Copy + Default>(chains: &Chains<N>, top: Link) -> impl Iterator<Item = (u64, Link)> + '_ {
        let mut near = chains.walk(top).take(NEAR_TOP);
        let innermost = near.find(|(_, item)| item.is_frame()).filter(|(_, item)| item.is_call());
        let call = innermost.and_then(|(link, item)| Some((item.ip, chains.get(link)?.1)));
        call.into_iter().chain(Lines::landmarks(chains, top).take(MOST_LANDMARKS))
    }

    /// The addresses of landmarks from the top down, each with what is left of the stack if it goes on there: the frame with
    /// all its landmarks.
    pub fn landmarks<N: Copy + Default>(
        chains: &Chains<N>,
        top: Link,
    ) -> impl Iterator<Item = (u64, Link)> + '_ {
        let mut at = top;
        let mut left = top;
        std::iter::from_fn(move || {
            let link = chains.landmark(at);
            let (item, below) = chains.get(link)?;
            if link != at || at == top {
                left = link;
            }
            at = below;
            Some((item.ip, left))
        })
    }

    fn overfills<N: Copy + Default>(chains: &Chains<N>, top: Link) -> bool {
        Lines::landmarks(chains, top).nth(MOST_LANDMARKS).is_some()
    }

    /// The first thing on a stack that is no landmark is an edge.
    fn is_unsure<N: Copy + Default>(chains: &Chains<N>, top: Link) -> bool {
        let first = chains.walk(top).find(|(_, item)| !item.is_passed_by());
        first.is_some_and(|(_, item)| item.is_edge())
    }

    /// It is not known at which place some stack goes on.
    pub fn has_unsure(&self) -> bool {
        self.unsure > 0
    }

    /// What lies on a stack that waits from a link down may not be what is there: nor is anything that another stack has
    /// otherwise, which ends at `other` and may be this one. The edge has the note of what lies below all frames.
    pub fn doubt<N: Copy + Default>(
        &mut self,
        chains: &mut Chains<N>,
        number: u32,
        (left, other): (Link, Link),
        edge: (Item, N),
    ) {
        let Some(at) = self.left.get(&number).copied() else { return };
        let Some(line) = self.all.get(&at).copied() else { return };
        // What both have, and whether other calls made it.
        let both = chains.walk(line.top).zip(chains.walk(other));
        let shared = both.take_while(|((link, item), (_, other))| {
            *link != left && (other.kind, other.ip) == (item.kind, item.ip)
        });
        let above: Vec<(Link, bool)> =
            shared.map(|((link, item), (_, other))| (link, item.step != other.step)).collect();
        let rest = above.last().map_or(line.top, |&(last, _)| chains.get(last).map_or(0, |(_, below)| below));
        // A doubt that lies there belongs to what may be another stack now; the one at the bottom says that more lies below.
        let rest = match chains.get(rest) {
            Some((item, below)) if item.kind == Kind::Doubt && below != 0 => below,
            _ => rest,
        };
        self.uncount(chains, at, line.top);
        let below = chains.push(rest, edge.0, chains.note(rest).unwrap_or(edge.1));
        let again = |below, (link, other)| chains.push_common(below, link, other);
        let top = above.into_iter().rev().fold(below, again);
        self.all.insert(at, Line { top, ..line });
        self.count(chains, at, top);
    }

    /// The numbers of stacks that have an edge below what is known of them.
    pub fn with_edges(&self) -> Vec<u32> {
        self.edged.iter().filter_map(|at| self.all.get(at)).map(|line| line.number).collect()
    }

    fn count<N: Copy + Default>(&mut self, chains: &Chains<N>, at: u64, top: Link) {
        for (ip, _) in Lines::places(chains, top) {
            self.waiting.entry(ip).or_default().insert(at);
        }
        self.overfull += usize::from(Lines::overfills(chains, top));
        if Lines::is_unsure(chains, top) {
            self.unsure += 1;
        } else if chains.edge(top) != 0 {
            self.edged.insert(at);
        }
    }

    fn uncount<N: Copy + Default>(&mut self, chains: &Chains<N>, at: u64, top: Link) {
        self.overfull -= usize::from(Lines::overfills(chains, top));
        if !self.edged.remove(&at) && Lines::is_unsure(chains, top) {
            self.unsure -= 1;
        }
        for (ip, _) in Lines::places(chains, top) {
            if let Some(waiting) = self.waiting.get_mut(&ip) {
                waiting.remove(&at);
                if waiting.is_empty() {
                    self.waiting.remove(&ip);
                }
            }
        }
    }

    /// A stack is left; the one that is forgotten for that, if one is.
    pub fn add<N: Copy + Default>(&mut self, chains: &Chains<N>, line: Line) -> Option<Line> {
        let forgotten = if self.all.len() >= MOST_WAITING { self.forget_one(chains) } else { None };
        let at = self.next;
        self.next += 1;
        self.count(chains, at, line.top);
        self.left.insert(line.number, at);
        self.all.insert(at, line);
        forgotten
    }

    /// Forgets the stack that was left first.
    pub fn forget_one<N: Copy + Default>(&mut self, chains: &Chains<N>) -> Option<Line> {
        let number = self.all.first_key_value().map(|(_, line)| line.number)?;
        self.take(chains, number)
    }

    /// All of them, the one left first in front.
    pub fn iter(&self) -> impl Iterator<Item = &Line> + '_ {
        self.all.values()
    }

    /// Stacks wait for an address, besides one.
    pub fn is_waited_for(&self, ip: u64, but: u32) -> bool {
        let but = self.left.get(&but);
        self.waiting.get(&ip).is_some_and(|waiting| waiting.iter().any(|at| Some(at) != but))
    }

    /// Stacks that wait for an address, the one left first in front and `preferred` before it, with what is left of them: once
    /// for each place where they may go on.
    pub fn waiting_for<N: Copy + Default>(
        &self,
        chains: &Chains<N>,
        ip: u64,
        preferred: Option<u32>,
    ) -> Vec<(Line, Link)> {
        let Some(waiting) = self.waiting.get(&ip) else { return Vec::new() };
        let first = preferred.and_then(|number| self.left.get(&number)).filter(|at| waiting.contains(at));
        let others = waiting.iter().filter(|&at| Some(at) != first);
        let places = |line: &Line| {
            let line = *line;
            let here = Lines::places(chains, line.top).filter(move |&(place, _)| place == ip);
            here.map(move |(_, link)| (line, link))
        };
        let all = first.into_iter().chain(others).filter_map(|at| self.all.get(at));
        all.flat_map(places).take(MOST_CONSIDERED).collect()
    }

    /// A stack runs again.
    pub fn take<N: Copy + Default>(&mut self, chains: &Chains<N>, number: u32) -> Option<Line> {
        let at = self.left.remove(&number)?;
        let line = self.all.remove(&at)?;
        self.uncount(chains, at, line.top);
        Some(line)
    }
}

/// Below an edge of a stack may be a landmark at an address.
pub(super) fn has_likely_landmark<N: Copy + Default>(chains: &Chains<N>, top: Link, ip: u64) -> bool {
    let below = chains.edge(top);
    Lines::landmarks(chains, below).take(MOST_LANDMARKS).any(|(place, _)| place == ip)
        || Lines::overfills(chains, below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_left_first_is_run_first() {
        let mut chains = Chains::default();
        let mut lines = Lines::default();
        for number in 0..4 {
            let bottom = chains.push(0, Item::new(Kind::Call, 5, 0), ());
            let top = chains.push(bottom, Item::new(Kind::Call, 6 + u64::from(number == 1), 0), ());
            lines.add(&chains, Line { number, top, resumer: None });
        }
        let numbers = |lines: &Lines, preferred| {
            let waiting = lines.waiting_for(&chains, 6, preferred);
            waiting.iter().map(|(line, _)| line.number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&lines, None), [0, 2, 3]);
        assert_eq!(numbers(&lines, Some(2)), [2, 0, 3]);
        assert_eq!(numbers(&lines, Some(1)), [0, 2, 3]);
        assert!(lines.waiting_for(&chains, 5, None).is_empty(), "only what is on top counts");
        assert_eq!(lines.take(&chains, 0).map(|line| line.number), Some(0));
        assert_eq!(numbers(&lines, Some(0)), [2, 3]);
    }
}
