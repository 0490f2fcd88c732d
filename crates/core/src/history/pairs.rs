//! Calls and the returns that end them, one row a call.

use serde::{Deserialize, Serialize};

use super::stack::{Entry, EntryKind, Ledger, Spent};

/// Bits for the kind of a call.
const KIND_BITS: u32 = 2;

/// A call, or what is like one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallPair {
    /// The step of the call; of an interrupt, the last one before it; -1 before the first step.
    pub call: i64,
    /// The last step before it was over: that of the return; [`CallPair::OPEN`] if it is still open.
    pub end: i64,
    /// Address of the call: see [`Entry`].
    pub caller: u64,
    /// The address that was called.
    pub callee: u64,
    /// Calls that were open on its stack then.
    pub depth: u32,
    /// Number of its stack, and what it is: there may be very many of these.
    place: u32,
}

impl CallPair {
    /// The end of what has none.
    pub const OPEN: i64 = i64::MIN;

    /// Number of its stack.
    pub fn stack(&self) -> u32 {
        self.place >> KIND_BITS
    }

    /// What it is.
    pub fn kind(&self) -> EntryKind {
        EntryKind::from_number(self.place & ((1 << KIND_BITS) - 1))
    }

    fn place(stack: u32, kind: EntryKind) -> u32 {
        stack << KIND_BITS | kind as u32
    }

    /// It lies on its stack before the instruction of a step is executed.
    pub fn is_open_at(&self, step: i64) -> bool {
        self.call < step && (self.end == CallPair::OPEN || step <= self.end)
    }
}

/// Calls in order, and which stack ran when.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pairs {
    /// One row each.
    pub rows: Vec<CallPair>,
    /// From which step on the stack of a number ran; none in parts of which the stacks are not known.
    pub runs: Vec<(u64, u32)>,
    /// Calls that were taken for over and were not.
    pub revised: u64,
}

impl Pairs {
    fn depth(&self, top: u64) -> u32 {
        let row = top.checked_sub(1).and_then(|row| self.rows.get(row as usize));
        row.map_or(0, |row| row.depth + u32::from(row.kind() != EntryKind::Stack))
    }
}

/// The note of a call is its row, counted from 1.
impl Ledger for Pairs {
    type Note = u64;
    type Line = ();
    /// What is added to notes, and the note of what the others lie on.
    type Translation = (u64, u64);

    fn open(&mut self, entry: &Entry, top: u64, _: Spent, (): &mut ()) -> u64 {
        self.rows.push(CallPair {
            call: entry.step.wrapping_sub(1) as i64,
            end: CallPair::OPEN,
            caller: entry.caller,
            callee: entry.callee,
            depth: self.depth(top),
            place: CallPair::place(entry.stack, entry.kind),
        });
        self.rows.len() as u64
    }

    fn reopen(&mut self, note: u64, (): &mut ()) {
        if let Some(row) = note.checked_sub(1).and_then(|row| self.rows.get_mut(row as usize)) {
            self.revised += u64::from(row.end != CallPair::OPEN);
            row.end = CallPair::OPEN;
        }
    }

    fn redirect(&mut self, note: u64, callee: u64, _: Spent, (): &mut ()) -> u64 {
        if let Some(row) = note.checked_sub(1).and_then(|row| self.rows.get_mut(row as usize)) {
            row.callee = callee;
        }
        note
    }

    fn cancel(&mut self, note: u64, _: u64, _: Spent, (): &mut ()) {
        if note > 0 && note == self.rows.len() as u64 {
            self.rows.pop();
        }
    }

    fn spend(&mut self, _: u64, _: Spent) {}

    fn close(&mut self, note: u64, _: Spent, step: u64, (): &mut ()) {
        if let Some(row) = note.checked_sub(1).and_then(|row| self.rows.get_mut(row as usize)) {
            row.end = step.wrapping_sub(1) as i64;
        }
    }

    fn absorb(&mut self, mut above: Pairs, top: u64, (): &(), stack: u32) -> (u64, u64) {
        let (before, depth) = (self.rows.len() as u64, self.depth(top));
        if (depth, stack) != (0, 0) {
            for row in &mut above.rows {
                row.depth += depth;
                row.place = CallPair::place(stack, row.kind());
            }
        }
        if self.rows.is_empty() {
            self.rows = above.rows;
        } else {
            if self.rows.capacity() - self.rows.len() < above.rows.len() {
                // Twice as many would be much memory for nothing: there may be very many.
                self.rows.reserve_exact(above.rows.len() + self.rows.len() / 4);
            }
            self.rows.append(&mut above.rows);
        }
        self.revised += above.revised;
        (before, top)
    }

    fn translate(&self, &(before, top): &(u64, u64), note: u64) -> u64 {
        if note == 0 {
            top
        } else {
            before + note
        }
    }

    fn runs(&mut self, stack: u32, step: u64) {
        self.runs.push((step, stack));
    }

    fn move_by(&mut self, steps: i64) {
        for run in &mut self.runs {
            run.0 = run.0.wrapping_add_signed(steps);
        }
        for row in &mut self.rows {
            row.call = row.call.wrapping_add(steps);
            if row.end != CallPair::OPEN {
                row.end = row.end.wrapping_add(steps);
            }
        }
    }
}
