//! Where execution goes on after it was not traced: signals, system calls, other programs, other pieces.

use super::*;

impl<L: Ledger> Tracker<L> {
    pub(super) fn enter(&mut self, to: u64, step: u64, off: Off, tsc: u64) {
        let begun = self.programs.partition_point(|&begins| begins <= tsc);
        let lost = std::mem::take(&mut self.state.lost);
        if begun > self.state.programs {
            self.state.programs = begun;
            if !off.resumes(to) {
                self.begin_program(lost);
                return;
            }
        }
        // The last step before it.
        let last = step.saturating_sub(1);
        let interrupted = |ip| Item::new(Kind::Interrupted, ip, last);
        match off {
            _ if off.resumes(to) => {}
            Off::Interrupted(at) => self.open(interrupted(at), at, to),
            Off::HandlerEnd(restorer) => self.end_handler(to, last, &[restorer]),
            Off::Syscall(_, behind) => {
                if let Some(link) = self.interrupted_at(to) {
                    self.pop_to(link, true);
                    return;
                }
                match self.top_frame().filter(|(_, item)| item.kind == Kind::Interrupted) {
                    // The handler is over.
                    Some((link, item)) => {
                        self.pop_to(link, true);
                        self.go_on(item.ip, to, step);
                    }
                    None => self.open(interrupted(behind), behind, to),
                }
            }
            Off::Away => {
                if let Some(link) = self.find(to, false) {
                    self.go_back(link, None);
                } else if self.top_frame().is_some_and(|(_, item)| item.is_frame()) {
                    let edge = self.edge(Kind::Hidden);
                    self.push(edge);
                } else {
                    // It may have returned from here, and been called again.
                    self.doubt();
                }
            }
            Off::Unknown | Off::Before => {}
        }
    }

    /// The system call that ends a handler was the step `last`. `restorers`: where the code may begin that makes it.
    pub(super) fn end_handler(&mut self, to: u64, last: u64, restorers: &[u64]) {
        if let Some(link) = self.interrupted_at(to) {
            self.forget_restorers(restorers);
            self.go_back(link, Some(last));
        } else if let Some((link, item)) = self.top_frame().filter(|(_, item)| item.kind == Kind::Interrupted)
        {
            self.pop_to(link, true);
            self.go_on(item.ip, to, last + 1);
        } else if !self.resume(to, last, restorers) {
            let from = restorers.first().copied().unwrap_or(0);
            self.leap_loaded(&Leap::elsewhere(from, to, last + 1));
        }
    }

    /// No call went to the code that a handler returned to.
    pub(super) fn forget_restorers(&mut self, restorers: &[u64]) {
        let edge = self.chains.edge(self.state.line.top);
        if let Some((edge, _)) = self.chains.get(edge) {
            for &restorer in restorers {
                self.below.forget(edge.ip, restorer);
            }
        }
    }

    /// A handler is over that interrupted `from`; it goes on elsewhere or at the handler of another signal.
    pub(super) fn go_on(&mut self, from: u64, to: u64, step: u64) {
        let is_known = self.names.function(to).is_some();
        if is_known && !self.names.is_start(to) {
            self.leap_loaded(&Leap::elsewhere(from, to, step));
            return;
        }
        if !is_known {
            self.unexplained(to);
        }
        // If the handler changed where it goes on, what was interrupted does not wait.
        self.open(Item::new(Kind::Interrupted, from, step.saturating_sub(1)), from, to);
        let edge = self.edge(Kind::Hidden);
        self.push(edge);
    }

    /// Another program runs from now on, with a new stack; `lost`: it may have begun where trace was lost.
    pub(super) fn begin_program(&mut self, lost: bool) {
        self.cut_to(0);
        self.books.reveal();
        let waiting = std::mem::take(&mut self.state.lines);
        self.forget_lines(waiting.iter().copied());
        self.state.choices = Arc::default();
        let number = self.state.next_number;
        self.state.next_number = number.wrapping_add(1);
        self.state.line = Line { number, top: 0, resumer: None };
        self.state.strays = false;
        (self.state.open, self.state.loaded) = (self.state.stays_open || lost, (!lost).then_some(false));
        self.books.begin_unseen(number);
        if lost {
            let edge = self.edge(Kind::Doubt);
            self.push(edge);
        }
    }

    /// Where the history ends: tells what is still open. Nothing can be added any more.
    pub fn finish(&mut self) {
        if L::KEEPS {
            self.leave_all_open(self.state.line.top);
            self.books.leave(self.state.line.number);
            let waiting = std::mem::take(&mut self.state.lines);
            for &Line { number, top, .. } in waiting.iter() {
                self.books.recall(number);
                self.leave_all_open(top);
            }
        }
    }

    pub(super) fn leave_open(&mut self, top: Link) {
        let Tracker { chains, books, .. } = self;
        if !L::KEEPS {
            return;
        }
        for (link, _) in chains.walk(top).filter(|(_, item)| item.is_open()) {
            books.leave_open(chains.note(link).unwrap_or_default());
        }
    }

    pub(super) fn leave_all_open(&mut self, top: Link) {
        self.leave_open(top);
        let books = &mut self.books;
        let bottom = books.bottom();
        books.leave_open(bottom);
    }

    /// It is known from elsewhere where the last branch went.
    pub fn go_on_at(&mut self, to: u64) {
        if let Some(Pending::Call { .. } | Pending::Leap(_)) = self.state.pending {
            self.arrive(Some(to), Begins::Nothing);
        }
    }

    pub(super) fn arrive(&mut self, to: Option<u64>, begins: Begins) {
        let jump = self.state.jump.take();
        let enters = match (jump, to, begins.function()) {
            (Some(jump), Some(to), Some(entry)) if jump.enters(to, entry) => Some((jump.from, to)),
            _ => None,
        };
        if let (None, Some((from, to))) = (self.state.pending, enters) {
            self.tail(from, to, self.books.step().saturating_sub(1), false);
        }
        let (Some(pending), Some(to)) = (self.state.pending.take(), to) else { return };
        match pending {
            Pending::Call { caller, back, step } => {
                self.met.call(to, begins);
                let is_stub = begins == Begins::Stub;
                self.open(Item { is_stub, ..Item::new(Kind::Call, back, step) }, caller, to);
            }
            Pending::Leap(leap) => self.leap_known(Leap { to, enters: enters.is_some(), ..leap }),
            Pending::FarCall { back, step, kind } => {
                self.open(Item::new(kind, back, step), back, to);
            }
            Pending::FarReturn { step } => self.far_return(to, step),
        }
    }
}
