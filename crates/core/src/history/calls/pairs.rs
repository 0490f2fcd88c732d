//! Calls and the returns that end them, one row a call.

use serde::{Deserialize, Serialize};

use crate::history::stack::{Entry, EntryKind, Ledger, Spent};

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
    /// Instructions executed while it lay on the stack that ran.
    pub inclusive: u64,
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
    fn depth(&self, top: OpenPair) -> u32 {
        let row = top.row.checked_sub(1).and_then(|row| self.rows.get(row as usize));
        row.map_or(0, |row| row.depth + u32::from(row.kind() != EntryKind::Stack))
    }

    fn row_mut(&mut self, note: OpenPair) -> Option<&mut CallPair> {
        note.row.checked_sub(1).and_then(|row| self.rows.get_mut(row as usize))
    }
}

/// An open call: its row, counted from 1, and when it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPair {
    row: u64,
    begin: u64,
}

impl Ledger for Pairs {
    type Note = OpenPair;
    type Line = ();
    /// What is added to notes, and the note of what the others lie on.
    type Translation = (u64, OpenPair);

    fn open(&mut self, entry: &Entry, top: OpenPair, at: Spent, (): &mut ()) -> OpenPair {
        self.rows.push(CallPair {
            call: entry.step.wrapping_sub(1) as i64,
            end: CallPair::OPEN,
            caller: entry.caller,
            callee: entry.callee,
            depth: self.depth(top),
            place: CallPair::place(entry.stack, entry.kind),
            inclusive: 0,
        });
        OpenPair { row: self.rows.len() as u64, begin: at.steps }
    }

    fn reopen(&mut self, note: OpenPair, (): &mut ()) {
        let mut revised = 0;
        if let Some(row) = self.row_mut(note) {
            revised = u64::from(row.end != CallPair::OPEN);
            row.end = CallPair::OPEN;
        }
        self.revised += revised;
    }

    fn redirect(&mut self, note: OpenPair, callee: u64, _: Spent, (): &mut ()) -> OpenPair {
        if let Some(row) = self.row_mut(note) {
            row.callee = callee;
        }
        note
    }

    fn spend(&mut self, _: OpenPair, _: Spent) {}

    fn close(&mut self, note: OpenPair, at: Spent, step: u64, (): &mut ()) {
        if let Some(row) = self.row_mut(note) {
            row.end = step.wrapping_sub(1) as i64;
            row.inclusive = row.inclusive.wrapping_add(at.steps.wrapping_sub(note.begin));
        }
    }

    fn leave_open(&mut self, note: OpenPair, at: Spent, (): &mut ()) {
        if let Some(row) = self.row_mut(note) {
            row.inclusive = row.inclusive.wrapping_add(at.steps.wrapping_sub(note.begin));
        }
    }

    fn absorb(&mut self, mut above: Pairs, top: OpenPair, (): &(), stack: u32) -> (u64, OpenPair) {
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

    fn translate(&self, &(before, top): &(u64, OpenPair), note: OpenPair) -> OpenPair {
        if note.row == 0 {
            top
        } else {
            OpenPair { row: before + note.row, ..note }
        }
    }

    fn shift(note: OpenPair, by: Spent) -> OpenPair {
        OpenPair { begin: note.begin.wrapping_add(by.steps), ..note }
    }

    fn restart(note: OpenPair, at: Spent) -> OpenPair {
        OpenPair { begin: at.steps, ..note }
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
