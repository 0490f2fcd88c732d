//! What is kept of calls.
//!
//! A ledger is told of calls, what is executed in them, and their ends. It may be told of them on top of a stack that is
//! not known yet, and be taken into another ledger, that of the stack below, later.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::chain::{Item, Kind};

/// A place in a history: before a step, at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instant {
    /// The step.
    pub step: u64,
    /// The TSC estimate, if there is one.
    pub tsc: Option<u64>,
}

/// Steps and ticks that have passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Executed instructions.
    pub steps: u64,
    /// TSC ticks, as far as the time was known.
    pub ticks: i64,
}

impl Spent {
    /// What has passed since an earlier place.
    pub fn since(self, earlier: Spent) -> Spent {
        Spent { steps: self.steps.wrapping_sub(earlier.steps), ticks: self.ticks.wrapping_sub(earlier.ticks) }
    }

    /// Both together.
    pub fn plus(self, other: Spent) -> Spent {
        Spent { steps: self.steps.wrapping_add(other.steps), ticks: self.ticks.wrapping_add(other.ticks) }
    }
}

/// How execution came to where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// By a near call.
    #[default]
    Call,
    /// By a signal, an interrupt, a system call or another far call.
    Interrupt,
    /// Another stack begins here, that of a coroutine for example: nothing called it.
    Stack,
    /// By a jump from one function to the entry of another, a tail call.
    Tail,
}

impl EntryKind {
    /// The kind of a number.
    pub fn from_number(number: u32) -> EntryKind {
        match number {
            1 => EntryKind::Interrupt,
            2 => EntryKind::Stack,
            3 => EntryKind::Tail,
            _ => EntryKind::Call,
        }
    }

    /// That of a frame.
    pub(super) fn of(item: &Item) -> EntryKind {
        match item.kind {
            Kind::Call | Kind::CallTwice => EntryKind::Call,
            Kind::Tail => EntryKind::Tail,
            _ => EntryKind::Interrupt,
        }
    }
}

/// The beginning of a call, or of what is like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Address of the call; of an interrupt, the address at which execution is to go on; where a stack begins, the address of
    /// the branch to it.
    pub caller: u64,
    /// Where execution went on.
    pub callee: u64,
    /// The step behind the call.
    pub step: u64,
    /// Number of the stack that it lies on, where it is known.
    pub stack: u32,
}

/// A stub that has executed no more than this has called nothing.
pub(crate) const STUB_STEPS: u64 = 4;

/// What is kept of calls, on top of what was open before.
///
/// Notes stand for open calls; the default one for what was open before. Instants of calls are those of their stack:
/// what passes while other stacks run is not in them.
pub trait Ledger: Default + Clone + Debug {
    /// Anything is kept.
    const KEEPS: bool = true;
    /// What is known of an open call.
    type Note: Copy + Default + Debug;
    /// What is known of the calls of a stack that are open.
    type Line: Default + Clone + Debug;
    /// From notes of a ledger that was absorbed to own ones.
    type Translation;

    /// The same as `Line::default()`, where there may be many of them.
    fn thin_line() -> Self::Line {
        Self::Line::default()
    }

    /// A call; the innermost open one is `top`.
    fn open(&mut self, entry: &Entry, top: Self::Note, at: Spent, line: &mut Self::Line) -> Self::Note;

    /// A call that was opened before lies on this stack (again).
    fn reopen(&mut self, note: Self::Note, line: &mut Self::Line);

    /// Instructions and ticks of the innermost call, or of what was open before.
    fn spend(&mut self, top: Self::Note, spent: Spent);

    /// The innermost call ends, before this step.
    fn close(&mut self, note: Self::Note, at: Spent, step: u64, line: &mut Self::Line);

    /// The innermost call turns out to be one of another address: it went there by way of a stub.
    fn redirect(&mut self, note: Self::Note, callee: u64, at: Spent, line: &mut Self::Line) -> Self::Note;

    /// A call is still open in the end.
    fn leave_open(&mut self, _note: Self::Note, _at: Spent, _line: &mut Self::Line) {}

    /// Takes in what happened on top of `top`, on the stack of this number.
    fn absorb(&mut self, above: Self, top: Self::Note, line: &Self::Line, stack: u32) -> Self::Translation;

    /// The own note of a call that the absorbed ledger left open; `top` for the default one.
    fn translate(&self, translation: &Self::Translation, note: Self::Note) -> Self::Note;

    /// The note of a call that began so much later.
    fn shift(note: Self::Note, _by: Spent) -> Self::Note {
        note
    }

    /// The note of a call that is open again, from now on.
    fn restart(note: Self::Note, _at: Spent) -> Self::Note {
        note
    }

    /// From this step on the stack of this number runs.
    fn runs(&mut self, _stack: u32, _step: u64) {}

    /// Adds to steps.
    fn move_by(&mut self, _steps: i64) {}
}

/// Nothing is kept.
impl Ledger for () {
    const KEEPS: bool = false;
    type Note = ();
    type Line = ();
    type Translation = ();

    fn open(&mut self, _: &Entry, _: (), _: Spent, _: &mut ()) {}
    fn reopen(&mut self, _: (), _: &mut ()) {}
    fn spend(&mut self, _: (), _: Spent) {}
    fn redirect(&mut self, _: (), _: u64, _: Spent, _: &mut ()) {}
    fn close(&mut self, _: (), _: Spent, _: u64, _: &mut ()) {}
    fn absorb(&mut self, _: (), _: (), _: &(), _: u32) {}
    fn translate(&self, _: &(), _: ()) {}
}

/// Both are kept.
impl<A: Ledger, B: Ledger> Ledger for (A, B) {
    const KEEPS: bool = A::KEEPS || B::KEEPS;
    type Note = (A::Note, B::Note);
    type Line = (A::Line, B::Line);
    type Translation = (A::Translation, B::Translation);

    fn thin_line() -> Self::Line {
        (A::thin_line(), B::thin_line())
    }

    fn open(&mut self, entry: &Entry, top: Self::Note, at: Spent, line: &mut Self::Line) -> Self::Note {
        (self.0.open(entry, top.0, at, &mut line.0), self.1.open(entry, top.1, at, &mut line.1))
    }

    fn reopen(&mut self, note: Self::Note, line: &mut Self::Line) {
        self.0.reopen(note.0, &mut line.0);
        self.1.reopen(note.1, &mut line.1);
    }

    fn spend(&mut self, top: Self::Note, spent: Spent) {
        self.0.spend(top.0, spent);
        self.1.spend(top.1, spent);
    }

    fn close(&mut self, note: Self::Note, at: Spent, step: u64, line: &mut Self::Line) {
        self.0.close(note.0, at, step, &mut line.0);
        self.1.close(note.1, at, step, &mut line.1);
    }

    fn redirect(&mut self, note: Self::Note, callee: u64, at: Spent, line: &mut Self::Line) -> Self::Note {
        (self.0.redirect(note.0, callee, at, &mut line.0), self.1.redirect(note.1, callee, at, &mut line.1))
    }

    fn leave_open(&mut self, note: Self::Note, at: Spent, line: &mut Self::Line) {
        self.0.leave_open(note.0, at, &mut line.0);
        self.1.leave_open(note.1, at, &mut line.1);
    }

    fn absorb(&mut self, above: Self, top: Self::Note, line: &Self::Line, stack: u32) -> Self::Translation {
        (self.0.absorb(above.0, top.0, &line.0, stack), self.1.absorb(above.1, top.1, &line.1, stack))
    }

    fn translate(&self, translation: &Self::Translation, note: Self::Note) -> Self::Note {
        (self.0.translate(&translation.0, note.0), self.1.translate(&translation.1, note.1))
    }

    fn shift(note: Self::Note, by: Spent) -> Self::Note {
        (A::shift(note.0, by), B::shift(note.1, by))
    }

    fn restart(note: Self::Note, at: Spent) -> Self::Note {
        (A::restart(note.0, at), B::restart(note.1, at))
    }

    fn runs(&mut self, stack: u32, step: u64) {
        self.0.runs(stack, step);
        self.1.runs(stack, step);
    }

    fn move_by(&mut self, steps: i64) {
        self.0.move_by(steps);
        self.1.move_by(steps);
    }
}

/// How far a part of a history is accounted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timer {
    /// Where the part begins; the time only if it was known there.
    pub begin: Instant,
    /// The time is the last one that was known.
    at: Instant,
    /// That time is known there: what passes while none is known counts for no call.
    known: bool,
    /// Ticks since it began.
    ticks: i64,
}

impl Timer {
    pub fn start(step: u64) -> Timer {
        let begin = Instant { step, tsc: None };
        Timer { begin, at: begin, known: false, ticks: 0 }
    }

    /// Steps and time pass up to an instant; what has passed.
    #[inline]
    pub fn reach(&mut self, to: Instant) -> Spent {
        if to.step == self.begin.step && self.begin.tsc.is_none() {
            self.begin.tsc = to.tsc;
        }
        let known = self.at.tsc.filter(|_| self.known);
        let ticks = to.tsc.zip(known).map_or(0, |(now, then)| now.wrapping_sub(then) as i64);
        let steps = to.step.wrapping_sub(self.at.step);
        self.at = Instant { step: to.step, tsc: to.tsc.or(self.at.tsc) };
        self.known = to.tsc.is_some();
        self.ticks = self.ticks.wrapping_add(ticks);
        Spent { steps, ticks }
    }

    /// How much has passed: the step, and ticks since the part began.
    #[inline]
    pub fn now(&self) -> Spent {
        Spent { steps: self.at.step, ticks: self.ticks }
    }

    /// Goes to a place in a part that follows, which began when `base` ticks had passed.
    pub fn go(&mut self, to: Spent, base: i64) {
        self.at.step = to.steps;
        self.ticks = base.wrapping_add(to.ticks);
    }

    /// Goes to the end of a part that follows, which began when `base` ticks had passed.
    pub fn end(&mut self, next: &Timer, base: i64, known: bool) {
        self.go(next.now(), base);
        self.at.tsc = next.at.tsc.or(self.at.tsc);
        // Where nothing was executed, time is what it was.
        let nothing = next.at.step == next.begin.step && next.begin.tsc.is_none();
        self.known = if nothing { known } else { next.known };
    }

    pub fn is_known(&self) -> bool {
        self.known
    }

    pub fn move_by(&mut self, steps: i64) {
        for at in [&mut self.begin, &mut self.at] {
            at.step = at.step.wrapping_add_signed(steps);
        }
    }
}
