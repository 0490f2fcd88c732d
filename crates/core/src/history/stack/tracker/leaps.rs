//! Returns and jumps: where they lead on a stack, or to which other one.

use super::*;

impl<L: Ledger> Tracker<L> {
    /// A call that comes back to an address ends, or what was interrupted goes on; `step`: that of the ordinary return, or the
    /// last one of the handler.
    pub(super) fn go_back(&mut self, link: Link, step: Option<u64>) {
        let item = self.chains.get(link).map(|(item, _)| item);
        // A frame that it passed by would have been right: it is no ordinary return, then.
        let direct = self.chains.walk(self.state.line.top).find(|(_, item)| item.is_frame());
        let step = step.filter(|_| direct.is_some_and(|(direct, _)| direct == link));
        // Nothing but one edge lies above it.
        let is_next = self.chains.edge(self.state.line.top) != 0
            && self.chains.get(self.chains.edge(self.state.line.top)).is_some_and(|(_, below)| below == link);
        let passed = self.pop_edges(link, true);
        if let Some(Item { kind: Kind::CallTwice, ip, step, .. }) = item {
            self.come_back(Item::new(Kind::Landmark, ip, step));
        }
        // That frame is the right one, but who called it?
        match (passed, item, step) {
            (Some((edge, doubtful)), Some(item), Some(step)) => {
                let (ip, is_return) = (item.ip, item.is_call());
                let as_thought = is_next && !doubtful && !self.below.has(edge);
                self.reveal_at(
                    edge,
                    Revealed { ip, step, is_return, resolves: !doubtful, as_thought, is_end: false },
                );
                if doubtful {
                    self.push_doubt(Item::edge(Kind::Doubt, edge));
                }
            }
            (Some((_, true)), ..) => self.doubt(),
            _ => {}
        }
    }

    /// Notes a frame below an edge, on top of what is on the stack now.
    pub fn reveal_at(&mut self, edge: u64, revealed: Revealed) {
        let link = self.state.line.top;
        self.kept = self.kept.max(link as usize);
        self.below.add(&self.chains, edge, link, revealed);
    }

    /// A return, or the end of a handler, from right above an edge: there was a frame below. False if there is no edge.
    pub(super) fn reveal(&mut self, ip: u64, step: u64, is_return: bool) -> bool {
        let Some((link, edge)) = self.top_frame().filter(|(_, item)| item.is_edge()) else { return false };
        self.pop_edges(link, true);
        self.reveal_at(
            edge.ip,
            Revealed { ip, step, is_return, resolves: false, as_thought: false, is_end: false },
        );
        self.push(edge);
        true
    }

    /// A leap that may depend on what was before its part.
    pub(super) fn leap_known(&mut self, leap: Leap) {
        let mut leap = leap;
        if leap.manner.loaded == Loaded::Before {
            leap.manner.loaded = match self.state.loaded.replace(false) {
                Some(true) => Loaded::Yes,
                Some(false) => Loaded::No,
                None => {
                    // It may go on another stack.
                    self.doubt();
                    Loaded::No
                }
            };
            if !leap.is_return && !leap.manner.popped && leap.manner.loaded == Loaded::No {
                if leap.enters {
                    self.tail(leap.from, leap.to, leap.step, false);
                }
                return;
            }
        }
        self.leap(leap);
    }

    pub(super) fn leap(&mut self, leap: Leap) {
        let Leap { from, to, step, manner, .. } = leap;
        if !self.state.choices.is_empty() && self.settle_choice(to, &leap) {
            return;
        }
        if manner.loaded == Loaded::Yes {
            self.leap_loaded(&leap);
            return;
        }
        let top = self.top_frame();
        if let Some((link, _)) = top.filter(|(_, item)| item.is_call() && item.ip == to) {
            self.go_back(link, Some(step));
            return;
        }
        if leap.is_jump() {
            if let Some((link, item)) = top.filter(|_| leap.changes_top()) {
                if item.is_call() {
                    self.pop_to(link, true);
                } else if item.is_edge() {
                    // The call that is over is not known.
                    self.doubt();
                }
            }
            let is_thunk = manner.thunk && self.top().is_some_and(|(item, _)| item.is_thunk_before(step));
            if leap.enters && is_thunk {
                self.redirect(to, step);
            } else if leap.enters {
                self.tail(from, to, step, false);
            }
            return;
        }
        if let Some(link) = self.find(to, false) {
            self.go_back(link, Some(step));
            return;
        }
        // The end of a handler: what was interrupted goes on behind its system call.
        let handler = top.filter(|(_, item)| item.kind == Kind::Interrupted);
        if let Some((link, _)) = handler {
            // What the handler jumped to returned for it.
            self.pop_to(link, false);
        }
        // What is not known of this stack comes before other stacks.
        let is_below = self.top_frame().is_some_and(|(_, item)| item.is_edge());
        let goes = handler.is_some()
            || !is_below && self.switch(to, step, false)
            || self.land(to)
            || self.land_in_function(from, to)
            || self.reveal(to, step, true);
        if !goes {
            match top {
                // Its return address was changed, or it went back further than is known.
                Some((link, item)) if item.is_call() => {
                    self.pop_to(link, true);
                    if self.has_edge() {
                        self.doubt();
                    }
                }
                _ => {
                    self.cut_to(0);
                    self.books.reveal();
                }
            }
        }
    }

    /// The innermost call went to another address, by way of a stub that jumped there at a step.
    pub(super) fn redirect(&mut self, callee: u64, step: u64) {
        let Some((item, _)) = self.top().filter(|(item, _)| item.is_open()) else { return };
        let note = self.books.redirect(self.top_note(), callee);
        self.drop_top();
        self.put(item.by_stub(step), note);
    }

    /// A jump goes to the entry of another function, or to a stub that leads to one.
    pub(super) fn tail(&mut self, from: u64, to: u64, step: u64, is_stub: bool) {
        if self.top().is_some_and(|(item, _)| item.is_stub) {
            self.redirect(to, step);
            return;
        }
        let items = self.chains.walk(self.state.line.top).take(MOST_TAILS);
        if items.take_while(|(_, item)| item.kind == Kind::Tail).count() == MOST_TAILS {
            self.pop();
        }
        self.open(Item { is_stub, ..Item::new(Kind::Tail, from, step) }, from, to);
    }

    /// Something is not known of this stack.
    pub(super) fn has_edge(&self) -> bool {
        self.chains.edge(self.state.line.top) != 0
    }

    /// A return or jump behind which the stack pointer is another one.
    pub(super) fn leap_loaded(&mut self, leap: &Leap) {
        let (from, to) = (leap.from, leap.to);
        let here = self.names.function(from);
        if !leap.is_return && here.is_some() && here == self.names.function(to) {
            return;
        }
        let lands = self.find(to, true).is_some();
        if !lands || !self.chooses_in_one() {
            self.drop_choices();
        }
        if self.switch(to, leap.step, lands) {
            return;
        }
        let is_alone = !(self.may_be_unseen() || self.state.lines.is_overfull());
        if lands {
            if self.may_float(to) || has_likely_landmark(&self.chains, self.state.line.top, to) {
                self.doubt_edged();
            }
            self.land_on(to, leap.step);
            if !is_alone {
                self.doubt();
            }
            return;
        }
        if let Some(link) = self.find(to, false) {
            self.go_back(link, None);
            if !is_alone {
                self.doubt();
            }
            return;
        }
        if self.land(to) {
            return;
        }
        // In an open history it may well be another stack.
        if !self.state.open && self.land_in_function(from, to) {
            self.foreign = true;
            return;
        }
        if self.names.is_pad(to) && self.has_edge() {
            // In a frame that is not known; nor are those between.
            self.forget();
            return;
        }
        self.unexplained(to);
        self.begin(from, to);
    }

    pub(super) fn unexplained(&mut self, to: u64) {
        if self.unexplained.len() < MOST_UNEXPLAINED && !self.unexplained.contains(&to) {
            self.unexplained.push(to);
        }
    }

    /// An exception lands.
    pub(super) fn land(&mut self, to: u64) -> bool {
        let names = self.names.clone();
        if !names.is_pad(to) {
            return false;
        }
        let fit = |item: &Item| match item.kind {
            Kind::Call | Kind::CallTwice => names.lands(to, item.ip),
            Kind::Interrupted => names.lands(to, item.ip.wrapping_add(1)),
            _ => false,
        };
        let found = self.search(fit);
        if let Some(link) = found {
            self.pop_to(link, true);
        }
        found.is_some()
    }

    /// A jump goes to a frame whose function is known.
    pub(super) fn land_in_function(&mut self, from: u64, to: u64) -> bool {
        let names = self.names.clone();
        let function = names.function(to);
        if function.is_none() || names.is_start(to) || function == names.function(from) {
            return false;
        }
        let same = |item: &Item| item.is_frame() && names.function(item.ip.wrapping_sub(1)) == function;
        let found = self.search(same);
        if let Some(link) = found {
            self.pop_to(link, true);
            self.doubt();
        }
        found.is_some()
    }

    pub(super) fn far_return(&mut self, to: u64, step: u64) {
        if let Some(link) = self.interrupted_at(to) {
            self.pop_to(link, true);
            return;
        }
        let found = self.search(|item| matches!(item.kind, Kind::Interrupted | Kind::HandlerEnd));
        match found.and_then(|link| self.chains.get(link).map(|(item, _)| (link, item))) {
            Some((link, Item { kind: Kind::HandlerEnd, ip, .. })) => {
                self.pop_to(link, true);
                // The instruction that sets the number, and the system call.
                self.end_handler(to, step, &[ip.wrapping_sub(9), ip.wrapping_sub(7)]);
            }
            // To a handler: what was interrupted waits for that.
            Some((link, _)) => self.pop_to(link, false),
            None => {
                self.resume(to, step, &[]);
            }
        }
    }

    /// What was interrupted before anything is known of it goes on, or the handler of another signal begins; false if
    /// everything is known. `restorers`: see [`end_handler`](Self::end_handler).
    pub(super) fn resume(&mut self, to: u64, step: u64, restorers: &[u64]) -> bool {
        let link = self.chains.edge(self.state.line.top);
        if link == 0 {
            return false;
        }
        self.unexplained(to);
        let start = self.names.is_start(to);
        self.pop_to(link, false);
        self.forget_restorers(restorers);
        // A handler may change where what it interrupted goes on.
        self.doubt();
        if !start {
            self.reveal(to, step, false);
        }
        true
    }
}
