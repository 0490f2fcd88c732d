//! What is kept of the calls on all stacks of a thread.

use std::collections::HashMap;

use super::ledger::{Entry, EntryKind, Instant, Ledger, Spent, Timer};

/// What is kept of one stack.
struct Account<L: Ledger> {
    line: L::Line,
    /// What lies below all calls: how the stack began, where that was seen.
    bottom: L::Note,
    /// What has passed while it did not run.
    lag: Spent,
}

impl<L: Ledger> Default for Account<L> {
    fn default() -> Self {
        Account { line: L::thin_line(), bottom: L::Note::default(), lag: Spent::default() }
    }
}

/// The ledger of a thread, and what it needs of each stack. Does nothing where nothing is kept.
pub(super) struct Books<L: Ledger> {
    pub ledger: L,
    /// That of the stack that runs.
    here: Account<L>,
    /// Those of others, by number, and when they were left.
    away: HashMap<u32, (Account<L>, Spent), foldhash::fast::RandomState>,
    /// None before the first part.
    timer: Option<Timer>,
    /// Ticks when the present part began.
    base: i64,
}

impl<L: Ledger> Default for Books<L> {
    fn default() -> Self {
        Books {
            ledger: L::default(),
            here: Account::default(),
            away: HashMap::default(),
            timer: None,
            base: 0,
        }
    }
}

impl<L: Ledger> Books<L> {
    fn now(&self) -> Spent {
        self.timer.map_or_else(Spent::default, |timer| timer.now())
    }

    /// What the stack that runs has run.
    fn at(&self) -> Spent {
        self.now().since(self.here.lag)
    }

    pub fn bottom(&self) -> L::Note {
        self.here.bottom
    }

    /// What lies below all calls of a stack that was left.
    pub fn bottom_of(&self, stack: u32) -> L::Note {
        self.away.get(&stack).map_or_else(L::Note::default, |(account, _)| account.bottom)
    }

    /// Where the first part begins, and the last one ends, with the ticks between them.
    pub fn span(&self) -> (u64, Spent) {
        self.timer.map_or_else(Default::default, |timer| (timer.begin.step, timer.now()))
    }

    pub fn knows_time(&self) -> bool {
        self.timer.is_some_and(|timer| timer.is_known())
    }

    /// A part begins.
    pub fn begin(&mut self, begin: Instant, top: L::Note, stack: u32) {
        if !L::KEEPS {
            return;
        }
        if self.timer.is_none() {
            self.timer = Some(Timer::start(begin.step));
            self.ledger.runs(stack, begin.step);
        }
        if let Some(timer) = &mut self.timer {
            let spent = timer.reach(begin);
            self.ledger.spend(top, spent);
            self.base = timer.now().ticks;
        }
    }

    /// Goes to a place in the present part.
    pub fn go(&mut self, to: Spent) {
        if let Some(timer) = &mut self.timer {
            timer.go(to, self.base);
        }
    }

    /// The present part is over.
    pub fn end(&mut self, part: &Timer, known: bool) {
        if let Some(timer) = &mut self.timer {
            timer.end(part, self.base, known);
        }
    }

    /// Takes in what happened on top of the stack that runs.
    pub fn absorb(&mut self, above: L, top: L::Note, stack: u32) -> L::Translation {
        self.ledger.absorb(above, top, &self.here.line, stack)
    }

    /// A frame that the absorbed ledger left open, or a marker, is put on the stack that runs.
    pub fn take_over(&mut self, note: L::Note, translation: &L::Translation, is_frame: bool) -> L::Note {
        let by = Spent { steps: 0, ticks: self.base }.since(self.here.lag);
        let note = L::shift(self.ledger.translate(translation, note), by);
        if is_frame {
            self.ledger.reopen(note, &mut self.here.line);
        }
        note
    }

    /// A frame is put on the stack that runs.
    pub fn open(
        &mut self,
        kind: EntryKind,
        (caller, callee): (u64, u64),
        top: L::Note,
        stack: u32,
    ) -> L::Note {
        if self.timer.is_none() {
            // It is a call from before the first part.
            return L::Note::default();
        }
        let entry = Entry { kind, caller, callee, step: self.now().steps, stack };
        self.ledger.open(&entry, top, self.at(), &mut self.here.line)
    }

    /// The innermost frame of the stack that runs ends.
    pub fn close(&mut self, note: L::Note) {
        let (at, step) = (self.at(), self.now().steps);
        self.ledger.close(note, at, step, &mut self.here.line);
    }

    /// The innermost frame of the stack that runs went to another address.
    pub fn redirect(&mut self, note: L::Note, callee: u64) -> L::Note {
        let at = self.at();
        self.ledger.redirect(note, callee, at, &mut self.here.line)
    }

    /// The step that everything is accounted for up to.
    pub fn step(&self) -> u64 {
        self.now().steps
    }

    /// The same, where the history ends.
    pub fn leave_open(&mut self, note: L::Note) {
        let at = self.at();
        self.ledger.leave_open(note, at, &mut self.here.line);
    }

    /// A frame that was closed lies on the stack that runs after all.
    pub fn reopen(&mut self, note: L::Note) -> L::Note {
        let note = L::restart(note, self.at());
        self.ledger.reopen(note, &mut self.here.line);
        note
    }

    /// A function that nothing called goes on at the bottom of the stack that runs.
    pub fn reveal(&mut self) {
        if L::KEEPS {
            let bottom = std::mem::take(&mut self.here.bottom);
            self.close(bottom);
        }
    }

    fn runs(&mut self, stack: u32) {
        if let Some(timer) = self.timer {
            self.ledger.runs(stack, timer.now().steps);
        }
    }

    /// The stack that runs is left.
    pub fn leave(&mut self, stack: u32) {
        if L::KEEPS {
            let account = std::mem::take(&mut self.here);
            self.away.insert(stack, (account, self.now()));
        }
    }

    /// Another one begins, at an address; `from` is that of the branch.
    pub fn begin_stack(&mut self, stack: u32, from: u64, to: u64) {
        if L::KEEPS {
            self.here = Account::default();
            self.here.bottom = self.open(EntryKind::Stack, (from, to), L::Note::default(), stack);
            self.runs(stack);
        }
    }

    /// One that was left goes on.
    pub fn resume(&mut self, stack: u32) {
        if L::KEEPS {
            self.recall(stack);
            self.runs(stack);
        }
    }

    /// One that was left is looked at, no other one being at hand; it has not run meanwhile.
    pub fn recall(&mut self, stack: u32) {
        if L::KEEPS {
            let now = self.now();
            let (mut account, left) = self.away.remove(&stack).unwrap_or_else(|| (Account::default(), now));
            account.lag = account.lag.plus(now.since(left));
            self.here = account;
        }
    }

    /// A stack runs that nothing is known of, that of a program that begins for example.
    pub fn begin_unseen(&mut self, stack: u32) {
        if L::KEEPS {
            self.here = Account::default();
            self.runs(stack);
        }
    }
}

impl<L: Ledger> std::fmt::Debug for Books<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Books").field("timer", &self.timer).finish_non_exhaustive()
    }
}
