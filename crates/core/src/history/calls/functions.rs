//! What functions cost: calls, instructions and time, their own and with those they call.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::history::stack::{Entry, Ledger, Settled, Spent, STUB_STEPS};

/// What the calls of an address cost together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCost {
    /// The address that was called, of a handler that interrupted another function, or of what a stack began with; 0 for
    /// what ran outside any call that was seen.
    pub ip: u64,
    /// How often.
    pub calls: u64,
    /// Instructions executed there, callees not counted.
    pub own: u64,
    /// Instructions executed on its stack from the call to its end, which are all that ran while it lay on the stack; those
    /// of a call inside another one of the same address count once.
    pub inclusive: u64,
    /// Ticks likewise. What was not traced meanwhile (system calls, other threads) counts.
    pub own_ticks: i64,
    /// Ticks from the call to its end.
    pub inclusive_ticks: i64,
}

impl FunctionCost {
    fn add(&mut self, other: &FunctionCost) {
        self.calls += other.calls;
        self.own = self.own.wrapping_add(other.own);
        self.own_ticks = self.own_ticks.wrapping_add(other.own_ticks);
    }

    fn add_inclusive(&mut self, spent: Spent) {
        self.inclusive = self.inclusive.wrapping_add(spent.steps);
        self.inclusive_ticks = self.inclusive_ticks.wrapping_add(spent.ticks);
    }
}

/// Costs by address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Functions {
    /// Number 0 is what was open before.
    costs: Vec<FunctionCost>,
    by_ip: HashMap<u64, u32, foldhash::fast::RandomState>,
    /// Numbers that were looked up last, by some bits of the address: most functions are called again soon.
    #[serde(skip)]
    recent: Vec<u32>,
}

/// How many numbers are kept at hand.
const RECENT: usize = 256;

impl Default for Functions {
    fn default() -> Self {
        Functions { costs: vec![FunctionCost::default()], by_ip: HashMap::default(), recent: Vec::new() }
    }
}

/// An open call: the number of its address, and when it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFunction {
    number: u32,
    begin: Spent,
}

/// How many calls of each address are open on a stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum OpenCounts {
    /// By number.
    Dense(Vec<u32>),
    /// Those that are.
    Sparse(HashMap<u32, u32, foldhash::fast::RandomState>),
}

impl Default for OpenCounts {
    fn default() -> Self {
        OpenCounts::Dense(Vec::new())
    }
}

impl OpenCounts {
    fn of(&self, number: u32) -> u32 {
        match self {
            OpenCounts::Dense(all) => all.get(number as usize),
            OpenCounts::Sparse(open) => open.get(&number),
        }
        .copied()
        .unwrap_or(0)
    }

    fn up(&mut self, number: u32) {
        match self {
            OpenCounts::Dense(all) => {
                let at = number as usize;
                if at >= all.len() {
                    all.resize((at + 1).next_power_of_two(), 0);
                }
                if let Some(count) = all.get_mut(at) {
                    *count += 1;
                }
            }
            OpenCounts::Sparse(open) => *open.entry(number).or_default() += 1,
        }
    }

    /// One less; true if it was the last.
    fn down(&mut self, number: u32) -> bool {
        let count = match self {
            OpenCounts::Dense(all) => all.get_mut(number as usize),
            OpenCounts::Sparse(open) => open.get_mut(&number),
        };
        let Some(count) = count else { return false };
        *count = count.saturating_sub(1);
        let last = *count == 0;
        if let (true, OpenCounts::Sparse(open)) = (last, self) {
            open.remove(&number);
        }
        last
    }
}

impl Functions {
    #[inline]
    fn number(&mut self, ip: u64) -> u32 {
        let place = (ip >> 4 ^ ip >> 12) as usize % RECENT;
        let known = self.recent.get(place).copied().unwrap_or(0);
        if known != 0 && self.costs.get(known as usize).is_some_and(|cost| cost.ip == ip) {
            return known;
        }
        let number = self.look_up(ip);
        if self.recent.is_empty() {
            self.recent = vec![0; RECENT];
        }
        if let Some(recent) = self.recent.get_mut(place) {
            *recent = number;
        }
        number
    }

    fn look_up(&mut self, ip: u64) -> u32 {
        let next = self.costs.len() as u32;
        let number = *self.by_ip.entry(ip).or_insert(next);
        if number == next {
            self.costs.push(FunctionCost { ip, ..FunctionCost::default() });
        }
        number
    }

    fn end(&mut self, note: OpenFunction, at: Spent, line: &mut OpenCounts) {
        if note.number != 0 && line.down(note.number) {
            if let Some(cost) = self.costs.get_mut(note.number as usize) {
                cost.add_inclusive(at.since(note.begin));
            }
        }
    }

    /// The costs of the calls in some steps: first what ran outside any call that was seen, then by address. Calls that
    /// are still open end with them.
    pub fn costs(settled: Settled<Functions>) -> Vec<FunctionCost> {
        let mut costs = settled.ledger.costs;
        if let Some(outside) = costs.first_mut() {
            outside.add_inclusive(settled.spent);
        }
        // A stub that only led to another function is left out.
        let mut nth = 0;
        costs.retain(|cost| {
            nth += 1;
            nth == 1 || cost.calls > 0 || cost.own > 0 || cost.own_ticks != 0
        });
        if let Some(called) = costs.get_mut(1..) {
            called.sort_unstable_by_key(|cost| cost.ip);
        }
        costs
    }
}

impl Ledger for Functions {
    type Note = OpenFunction;
    type Line = OpenCounts;
    /// Own numbers by those of the other.
    type Translation = Vec<u32>;

    fn thin_line() -> OpenCounts {
        OpenCounts::Sparse(HashMap::default())
    }

    fn open(&mut self, entry: &Entry, _: OpenFunction, at: Spent, line: &mut OpenCounts) -> OpenFunction {
        let number = self.number(entry.callee);
        if let Some(cost) = self.costs.get_mut(number as usize) {
            cost.calls += 1;
        }
        line.up(number);
        OpenFunction { number, begin: at }
    }

    fn reopen(&mut self, note: OpenFunction, line: &mut OpenCounts) {
        if note.number != 0 {
            line.up(note.number);
        }
    }

    fn redirect(
        &mut self,
        note: OpenFunction,
        callee: u64,
        at: Spent,
        line: &mut OpenCounts,
    ) -> OpenFunction {
        let number = self.number(callee);
        if note.number == 0 || number == note.number {
            return note;
        }
        line.down(note.number);
        line.up(number);
        let mut moved = FunctionCost { calls: 1, ..FunctionCost::default() };
        if let Some(stub) = self.costs.get_mut(note.number as usize) {
            stub.calls -= 1;
            let spent = at.since(note.begin);
            if spent.steps <= STUB_STEPS {
                (moved.own, moved.own_ticks) = (spent.steps, spent.ticks);
                stub.own = stub.own.wrapping_sub(spent.steps);
                stub.own_ticks = stub.own_ticks.wrapping_sub(spent.ticks);
            } else if stub.calls == 0 {
                // Nothing else called the stub and is still on its way.
                moved.own = std::mem::take(&mut stub.own);
                moved.own_ticks = std::mem::take(&mut stub.own_ticks);
            }
        }
        if let Some(cost) = self.costs.get_mut(number as usize) {
            cost.add(&moved);
        }
        OpenFunction { number, ..note }
    }

    fn spend(&mut self, top: OpenFunction, spent: Spent) {
        if let Some(cost) = self.costs.get_mut(top.number as usize) {
            cost.own = cost.own.wrapping_add(spent.steps);
            cost.own_ticks = cost.own_ticks.wrapping_add(spent.ticks);
        }
    }

    fn close(&mut self, note: OpenFunction, at: Spent, _: u64, line: &mut OpenCounts) {
        self.end(note, at, line);
    }

    fn leave_open(&mut self, note: OpenFunction, at: Spent, line: &mut OpenCounts) {
        self.end(note, at, line);
    }

    fn absorb(&mut self, above: Functions, top: OpenFunction, line: &OpenCounts, _: u32) -> Vec<u32> {
        let mut own = Vec::with_capacity(above.costs.len());
        for (nth, cost) in above.costs.iter().enumerate() {
            let number = if nth == 0 { top.number } else { self.number(cost.ip) };
            own.push(number);
            let Some(here) = self.costs.get_mut(number as usize) else { continue };
            here.add(cost);
            if nth > 0 && line.of(number) == 0 {
                here.add_inclusive(Spent { steps: cost.inclusive, ticks: cost.inclusive_ticks });
            }
        }
        own
    }

    fn translate(&self, own: &Vec<u32>, note: OpenFunction) -> OpenFunction {
        OpenFunction { number: own.get(note.number as usize).copied().unwrap_or(0), ..note }
    }

    fn shift(note: OpenFunction, by: Spent) -> OpenFunction {
        OpenFunction { begin: note.begin.plus(by), ..note }
    }

    fn restart(note: OpenFunction, at: Spent) -> OpenFunction {
        OpenFunction { begin: at, ..note }
    }
}
