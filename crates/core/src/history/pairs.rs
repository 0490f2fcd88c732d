//! Calls and the returns that end them, one row a call.

use serde::{Deserialize, Serialize};

use super::callstack::{Call, Instant, Ledger};

/// A call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallPair {
    /// The step of the call.
    pub call: i64,
    /// The step of the return that ended it, perhaps with others above it; -1 if it is still open.
    pub end: i64,
    /// Address of the call.
    pub caller: u64,
    /// The address that was called.
    pub callee: u64,
    /// Calls that were open then.
    pub depth: u64,
}

/// Calls in order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pairs {
    /// One row each.
    pub rows: Vec<CallPair>,
}

/// The note of a call is its row.
impl Ledger for Pairs {
    type Note = u64;
    type Translation = u64;

    fn open(&mut self, call: &Call, height: u64, _: Option<u64>) -> u64 {
        let row = self.rows.len() as u64;
        self.rows.push(CallPair {
            call: call.at.step.wrapping_sub(1) as i64,
            end: -1,
            caller: call.caller,
            callee: call.callee,
            depth: height,
        });
        row
    }

    fn spend(&mut self, _: Option<u64>, _: u64, _: i64) {}

    fn close(&mut self, row: u64, _: Instant, end: Instant) {
        if let Some(row) = self.rows.get_mut(row as usize) {
            row.end = end.step.wrapping_sub(1) as i64;
        }
    }

    fn absorb(&mut self, mut above: Pairs, height: u64, _: Option<u64>) -> u64 {
        let before = self.rows.len() as u64;
        for row in &mut above.rows {
            row.depth += height;
        }
        self.rows.append(&mut above.rows);
        before
    }

    fn move_by(&mut self, steps: i64) {
        for row in &mut self.rows {
            row.call = row.call.wrapping_add(steps);
            if row.end >= 0 {
                row.end = row.end.wrapping_add(steps);
            }
        }
    }

    fn translate(&self, before: &u64, row: u64) -> u64 {
        before + row
    }
}
