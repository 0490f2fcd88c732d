//! What passes give for parts of a history, sent as bytes and put together in order.

use serde::{Deserialize, Serialize};

use crate::history::calls::call_tree::CallTree;
use crate::history::calls::functions::Functions;
use crate::history::calls::pairs::Pairs;
use crate::history::passes::count::Counts;
use crate::history::passes::coverage::Coverage;
use crate::history::passes::parallel::{Ask, Interrupted};
use crate::history::stack::{Calls, StackPart};

/// What some consecutive steps came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Sum {
    /// Executions of instructions.
    Counts(Counts),
    /// Executions of blocks and edges.
    Coverage(Coverage),
    /// What functions cost.
    Functions(Calls<Functions>),
    /// Paths by which functions were called.
    Paths(Calls<CallTree>),
    /// Calls and the returns that end them.
    Pairs(Calls<Pairs>),
}

impl Sum {
    /// That of no steps: of `counts`, `coverage`, `functions`, `paths` or `pairs`; None for any other name.
    pub fn named(name: &str) -> Option<Sum> {
        match name {
            "counts" => Some(Sum::Counts(Counts::default())),
            "coverage" => Some(Sum::Coverage(Coverage::default())),
            "functions" => Some(Sum::Functions(Calls::default())),
            "paths" => Some(Sum::Paths(Calls::default())),
            "pairs" => Some(Sum::Pairs(Calls::default())),
            _ => None,
        }
    }

    /// Adds a part of a history, which follows.
    pub fn ask(&mut self, part: &StackPart, ask: Ask<'_>) -> Result<(), Interrupted> {
        let StackPart { stream, first, end, .. } = part;
        match self {
            Sum::Counts(counts) => stream.count(*first, *end, counts, ask),
            Sum::Coverage(coverage) => stream.coverage(*first, *end, coverage, ask),
            Sum::Functions(calls) => calls.follow(part, ask),
            Sum::Paths(calls) => calls.follow(part, ask),
            Sum::Pairs(calls) => calls.follow(part, ask),
        }
    }

    /// The same with other numbers of steps: those of a part count from its own first one.
    pub fn move_by(&mut self, steps: i64) {
        match self {
            Sum::Counts(_) | Sum::Coverage(_) => {}
            Sum::Functions(calls) => calls.move_by(steps),
            Sum::Paths(calls) => calls.move_by(steps),
            Sum::Pairs(calls) => calls.move_by(steps),
        }
    }

    /// Adds what follows; false if it is a sum of something else.
    pub fn merge(&mut self, next: Sum) -> bool {
        match (self, next) {
            (Sum::Counts(counts), Sum::Counts(next)) => counts.merge(next),
            (Sum::Coverage(coverage), Sum::Coverage(next)) => coverage.merge(next),
            (Sum::Functions(calls), Sum::Functions(next)) => calls.merge(next),
            (Sum::Paths(calls), Sum::Paths(next)) => calls.merge(next),
            (Sum::Pairs(calls), Sum::Pairs(next)) => calls.merge(next),
            _ => return false,
        }
        true
    }

    /// What is merged next belongs to another piece of a history: no edge leads there. Calls go on, unless trace bytes
    /// are missing in between.
    pub fn break_off(&mut self, lost: bool) {
        match self {
            Sum::Coverage(coverage) => coverage.break_off(),
            Sum::Functions(calls) if lost => calls.lose(),
            Sum::Paths(calls) if lost => calls.lose(),
            Sum::Pairs(calls) if lost => calls.lose(),
            _ => {}
        }
    }

    /// The sum as bytes, for the same version of this crate.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing to memory does not fail.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// A sum from [`Sum::to_bytes`]; None for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Sum> {
        postcard::from_bytes(bytes).ok()
    }
}
