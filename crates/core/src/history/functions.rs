//! What functions cost: calls, instructions and time, their own and with those they call.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::callstack::{Call, Calls, Instant, Ledger, Settled};

/// What the calls of an address cost together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionCost {
    /// The address that was called; 0 for what ran outside any call that was seen.
    pub ip: u64,
    /// How often.
    pub calls: u64,
    /// Instructions executed there, callees not counted.
    pub own: u64,
    /// Instructions executed from the call to its end; those of a call inside another one of the same address count once.
    pub inclusive: u64,
    /// Ticks likewise. What was not traced meanwhile (system calls, other threads) counts.
    pub own_ticks: i64,
    /// Ticks from the call to its end.
    pub inclusive_ticks: i64,
}

impl FunctionCost {
    fn add(&mut self, other: &FunctionCost) {
        self.calls += other.calls;
        self.own += other.own;
        self.own_ticks = self.own_ticks.wrapping_add(other.own_ticks);
    }

    fn add_inclusive(&mut self, steps: u64, ticks: i64) {
        self.inclusive = self.inclusive.wrapping_add(steps);
        self.inclusive_ticks = self.inclusive_ticks.wrapping_add(ticks);
    }
}

/// Costs by address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Functions {
    /// Number 0 is what was open before.
    costs: Vec<FunctionCost>,
    /// Open calls of each.
    open: Vec<u64>,
    by_ip: HashMap<u64, u32, foldhash::fast::RandomState>,
}

impl Default for Functions {
    fn default() -> Self {
        Functions { costs: vec![FunctionCost::default()], open: vec![0], by_ip: HashMap::default() }
    }
}

impl Functions {
    fn number(&mut self, ip: u64) -> u32 {
        let next = self.costs.len() as u32;
        let number = *self.by_ip.entry(ip).or_insert(next);
        if number == next {
            self.costs.push(FunctionCost { ip, ..FunctionCost::default() });
            self.open.push(0);
        }
        number
    }

    /// The costs in a whole history: first what ran outside any call that was seen, then by address. Calls that are still
    /// open end with it.
    pub fn costs(calls: Calls<Functions>) -> Vec<FunctionCost> {
        let Settled { ledger: mut functions, open, begin, end } = calls.settled();
        for (number, begin) in open {
            functions.close(number, begin, end);
        }
        if let Some(outside) = functions.costs.first_mut() {
            outside.add_inclusive(end.step.wrapping_sub(begin.step), end.ticks_since(begin));
        }
        if let Some(called) = functions.costs.get_mut(1..) {
            called.sort_unstable_by_key(|cost| cost.ip);
        }
        functions.costs
    }
}

/// The note of a call is the number of its address.
impl Ledger for Functions {
    type Note = u32;
    type Translation = Vec<u32>;

    fn open(&mut self, call: &Call, _: u64, _: Option<u32>) -> u32 {
        let number = self.number(call.callee);
        if let Some(cost) = self.costs.get_mut(number as usize) {
            cost.calls += 1;
        }
        if let Some(open) = self.open.get_mut(number as usize) {
            *open += 1;
        }
        number
    }

    fn spend(&mut self, top: Option<u32>, steps: u64, ticks: i64) {
        if let Some(cost) = self.costs.get_mut(top.unwrap_or(0) as usize) {
            cost.own += steps;
            cost.own_ticks = cost.own_ticks.wrapping_add(ticks);
        }
    }

    fn close(&mut self, number: u32, begin: Instant, end: Instant) {
        let Some(open) = self.open.get_mut(number as usize) else { return };
        *open = open.saturating_sub(1);
        if *open == 0 {
            if let Some(cost) = self.costs.get_mut(number as usize) {
                cost.add_inclusive(end.step.wrapping_sub(begin.step), end.ticks_since(begin));
            }
        }
    }

    fn absorb(&mut self, above: Functions, _: u64, top: Option<u32>) -> Vec<u32> {
        let mut own = Vec::with_capacity(above.costs.len());
        for (nth, (cost, open)) in above.costs.iter().zip(&above.open).enumerate() {
            let number = if nth == 0 { top.unwrap_or(0) } else { self.number(cost.ip) };
            own.push(number);
            let here = (self.costs.get_mut(number as usize), self.open.get_mut(number as usize));
            let (Some(here), Some(open_here)) = here else { continue };
            here.add(cost);
            if *open_here == 0 && nth > 0 {
                here.add_inclusive(cost.inclusive, cost.inclusive_ticks);
            }
            *open_here += open;
        }
        own
    }

    fn translate(&self, own: &Vec<u32>, number: u32) -> u32 {
        own.get(number as usize).copied().unwrap_or(0)
    }
}
