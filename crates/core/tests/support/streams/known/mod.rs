//! Where libipt 2.0.5 and the decoders here are known to differ, and why.
//!
//! The decoders here follow later versions of libipt, whose event layer was written anew: it orders, times and checks
//! events otherwise. Every rule knows one such difference by what both sides say, and where the comparison goes on.

mod damage;
mod events;
mod walk;

use odograph_core::cpu::Errata;

use super::case::{Case, Layer};
use super::line::Line;

/// Where two listings part.
pub struct Meeting<'a> {
    pub case: &'a Case,
    /// What the judge said before.
    pub past: &'a [String],
    /// The rest of both listings.
    pub judge: &'a [String],
    pub ours: &'a [String],
    /// The first lines of the rest.
    pub theirs: Line<'a>,
    pub own: Line<'a>,
}

impl Meeting<'_> {
    /// Both are the same kind of line.
    pub fn same_name(&self) -> bool {
        self.theirs.is(self.own.name())
    }

    /// Both are the same but for the time.
    pub fn same_event(&self) -> bool {
        self.theirs.event() == self.own.event() && self.theirs.error == self.own.error
    }

    /// Both synchronised, at different PSBs.
    pub fn places_part(&self) -> bool {
        let synced = self.theirs.is("sync") && self.own.is("sync");
        synced
            && self.theirs.error.is_empty()
            && self.own.error.is_empty()
            && self.theirs.offset != self.own.offset
    }

    /// The errata of the case's processor.
    pub fn errata(&self) -> Errata {
        self.case.cpu.and_then(Errata::of).unwrap_or_default()
    }

    pub fn is_query(&self) -> bool {
        self.case.layer == Layer::Query
    }

    /// Up to where the trace was read.
    pub fn place(&self) -> usize {
        self.theirs.offset.max(self.own.offset).max(self.ago(0).offset)
    }

    /// What the judge said `back` lines ago: 0 is the line before.
    pub fn ago(&self, back: usize) -> Line<'_> {
        let nth = self.past.len().checked_sub(back + 1);
        nth.map_or(Line::default(), |nth| Line::at(self.past, nth))
    }

    /// What the judge said last that fulfils a condition.
    pub fn last(&self, what: impl Fn(&Line) -> bool) -> Line<'_> {
        self.past.iter().rev().map(|line| Line::of(line)).find(what).unwrap_or_default()
    }
}

/// Where the comparison goes on.
#[derive(Clone, Copy)]
pub enum GoOn {
    /// Behind so many lines of the judge and of ours.
    Behind(usize, usize),
    /// The rest cannot be compared.
    Nowhere,
}

/// One known difference.
pub struct Rule {
    pub reason: &'static str,
    pub applies: fn(&Meeting) -> Option<GoOn>,
}

/// The reason why two listings part, if it is known.
pub fn of(meeting: &Meeting) -> Option<(&'static str, GoOn)> {
    let tables = [events::RULES, walk::RULES, damage::RULES];
    let mut rules = tables.into_iter().flatten();
    rules.find_map(|rule| (rule.applies)(meeting).map(|go_on| (rule.reason, go_on)))
}

/// A rule that passes over so many lines if its condition holds.
pub fn skip(condition: bool, judges: usize, own: usize) -> Option<GoOn> {
    condition.then_some(GoOn::Behind(judges, own))
}

/// A rule that ends the comparison if its condition holds.
pub fn end(condition: bool) -> Option<GoOn> {
    condition.then_some(GoOn::Nowhere)
}
