//! Calls and the returns that end them, in a part of a history.
//!
//! A return ends the innermost open call that it goes back to, and with it those above (longjmp, exceptions); a return that
//! goes back to none of them ends nothing. So nothing drifts, whatever a program does to its stack. A handler of signals
//! or interrupts was not called: what it executes counts for whatever was interrupted.
//!
//! A part does not know the calls that are open when it begins. Where a return goes back to none of its own calls, it
//! begins a new *epoch*: a return may have ended them all, and calls from before. Merging parts settles that.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

/// A place in a history: before a step, at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instant {
    /// The step.
    pub step: u64,
    /// The TSC estimate, if there is one.
    pub tsc: Option<u64>,
}

impl Instant {
    /// Ticks since an earlier instant; 0 where they are not known.
    pub fn ticks_since(self, earlier: Instant) -> i64 {
        self.tsc.zip(earlier.tsc).map_or(0, |(now, then)| now.wrapping_sub(then) as i64)
    }
}

/// A near call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Address of the call.
    pub caller: u64,
    /// Address that was called.
    pub callee: u64,
    /// Address behind the call.
    pub return_ip: u64,
    /// Behind the call.
    pub at: Instant,
}

/// What is kept of calls, on top of whatever was open before.
pub trait Ledger: Default {
    /// What is known of an open call.
    type Note: Copy;
    /// From notes of a ledger that was absorbed to own ones.
    type Translation;

    /// A call, `height` others being open; the innermost is `top`.
    fn open(&mut self, call: &Call, height: u64, top: Option<Self::Note>) -> Self::Note;

    /// Instructions and ticks of the innermost call, or of what was open before.
    fn spend(&mut self, top: Option<Self::Note>, steps: u64, ticks: i64);

    /// The innermost call ends, which began at `begin`.
    fn close(&mut self, note: Self::Note, begin: Instant, end: Instant);

    /// Takes in what happened on top of `top`, where `height` calls were open.
    fn absorb(&mut self, above: Self, height: u64, top: Option<Self::Note>) -> Self::Translation;

    /// Adds to steps.
    fn move_by(&mut self, _steps: i64) {}

    /// The own note of a call that the absorbed ledger left open.
    fn translate(&self, translation: &Self::Translation, note: Self::Note) -> Self::Note;
}

/// Most open calls: the oldest of more are forgotten, and no return ends them.
const MOST_OPEN: usize = 1 << 20;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Frame<N> {
    return_ip: u64,
    begin: Instant,
    note: N,
}

/// What happened between two returns that may have ended calls from before.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Epoch<L, N> {
    ledger: L,
    /// The oldest first.
    open: VecDeque<Frame<N>>,
    /// Open calls that were forgotten.
    forgotten: u64,
    /// Most calls open at once.
    peak: usize,
}

impl<L: Default, N> Default for Epoch<L, N> {
    fn default() -> Self {
        Epoch { ledger: L::default(), open: VecDeque::new(), forgotten: 0, peak: 0 }
    }
}

impl<L: Ledger> Epoch<L, L::Note> {
    fn top(&self) -> Option<L::Note> {
        self.open.back().map(|frame| frame.note)
    }

    fn height(&self) -> u64 {
        self.open.len() as u64 + self.forgotten
    }

    fn move_by(&mut self, steps: i64) {
        self.ledger.move_by(steps);
        for frame in &mut self.open {
            frame.begin.step = frame.begin.step.wrapping_add_signed(steps);
        }
    }
}

/// What comes next decides what a call or return did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Pending {
    /// A call through a register or memory; the callee is to be filled in.
    Call(Call),
    /// A return.
    Return(Instant),
}

/// Where execution went on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Next {
    /// Not known yet.
    #[default]
    Unknown,
    /// Never to be known.
    Lost,
    /// At this address.
    Ip(u64),
    /// At this address, untraced.
    Away(u64),
}

/// The calls of a part of a history, and what a [`Ledger`] keeps of them; those of consecutive parts can be merged.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(
    serialize = "L: Serialize, L::Note: Serialize",
    deserialize = "L: Deserialize<'de>, L::Note: Deserialize<'de>"
))]
pub struct Calls<L: Ledger> {
    /// Nothing comes before this part.
    first: bool,
    /// Where execution went on from what comes before.
    front: Next,
    /// Epochs that are over, each with the return that ended it.
    over: Vec<(Epoch<L, L::Note>, u64, Instant)>,
    now: Epoch<L, L::Note>,
    /// How many open calls go back to an address; kept if this part is the first.
    sites: HashMap<u64, u32, foldhash::fast::RandomState>,
    pending: Option<Pending>,
    /// The first step of the part, and the first time known; None if there is none.
    begin: Option<Instant>,
    /// That time was known at the first step.
    begin_known: bool,
    /// How far it is accounted for; the time is the last that was known.
    at: Instant,
    /// That time is known there: what passes while none is known counts for nobody.
    known: bool,
}

/// The calls of a whole history.
pub struct Settled<L: Ledger> {
    /// What was kept of them.
    pub ledger: L,
    /// Calls that are still open, the innermost first, and where they began.
    pub open: Vec<(L::Note, Instant)>,
    /// Before the first step.
    pub begin: Instant,
    /// Behind the last step.
    pub end: Instant,
}

impl<L: Ledger> Calls<L> {
    /// No calls yet, in a part that begins a history.
    pub fn first() -> Self {
        Calls { first: true, ..Calls::later() }
    }

    /// No calls yet, in a part that something comes before.
    pub fn later() -> Self {
        Calls {
            first: false,
            front: Next::Unknown,
            over: Vec::new(),
            now: Epoch::default(),
            sites: HashMap::default(),
            pending: None,
            begin: None,
            begin_known: false,
            at: Instant::default(),
            known: false,
        }
    }

    /// The calls of a whole history: what came before the part was nothing.
    pub fn settled(self) -> Settled<L> {
        let mut whole = if self.first {
            self
        } else {
            let mut whole = Calls::first();
            whole.merge(self);
            whole
        };
        let open = whole.now.open.drain(..).rev().map(|frame| (frame.note, frame.begin)).collect();
        let begin = whole.begin.unwrap_or_default();
        Settled { ledger: whole.now.ledger, open, begin, end: whole.at }
    }

    /// Steps and time pass up to an instant.
    pub(super) fn reach(&mut self, to: Instant) {
        match &mut self.begin {
            None => {
                self.begin = Some(to);
                self.begin_known = to.tsc.is_some();
                self.at = to;
            }
            Some(begin) => {
                if begin.tsc.is_none() {
                    begin.tsc = to.tsc;
                    self.begin_known = to.tsc.is_some() && to.step == begin.step;
                }
                let steps = to.step.wrapping_sub(self.at.step);
                let ticks = if self.known { to.ticks_since(self.at) } else { 0 };
                self.now.ledger.spend(self.now.top(), steps, ticks);
                self.at = Instant { step: to.step, tsc: to.tsc.or(self.at.tsc) };
            }
        }
        self.known = to.tsc.is_some();
    }

    /// Something is to be known of where execution goes on.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.pending.is_some() || self.front == Next::Unknown
    }

    /// Waits for where execution goes on.
    pub(super) fn wait(&mut self, pending: Pending) {
        self.pending = Some(pending);
    }

    /// Execution goes on.
    pub(super) fn arrive(&mut self, next: Next) {
        if self.front == Next::Unknown {
            self.front = next;
        }
        match (self.pending.take(), next) {
            (None, _) | (_, Next::Lost) => {}
            (pending, Next::Unknown) => self.pending = pending,
            (Some(Pending::Call(call)), Next::Ip(ip)) => self.call(&Call { callee: ip, ..call }),
            (Some(Pending::Call(call)), Next::Away(ip)) => {
                // What it does is not traced; it is over when tracing goes on.
                self.call(&Call { callee: ip, ..call });
                self.close_to(self.now.open.len().saturating_sub(1), call.at);
            }
            (Some(Pending::Return(at)), Next::Ip(ip) | Next::Away(ip)) => self.go_back(ip, at),
        }
    }

    pub(super) fn call(&mut self, call: &Call) {
        self.reach(call.at);
        let (height, top) = (self.now.height(), self.now.top());
        let note = self.now.ledger.open(call, height, top);
        self.push(Frame { return_ip: call.return_ip, begin: call.at, note });
        self.now.peak = self.now.peak.max(self.now.open.len());
        self.forget(MOST_OPEN);
    }

    fn push(&mut self, frame: Frame<L::Note>) {
        if self.first {
            *self.sites.entry(frame.return_ip).or_default() += 1;
        }
        self.now.open.push_back(frame);
    }

    fn gone(&mut self, return_ip: u64) {
        if let Some(count) = self.sites.get_mut(&return_ip).filter(|_| self.first) {
            *count -= 1;
            if *count == 0 {
                self.sites.remove(&return_ip);
            }
        }
    }

    /// Forgets the oldest open calls but for so many.
    fn forget(&mut self, most: usize) {
        while self.now.open.len() > most {
            if let Some(frame) = self.now.open.pop_front() {
                self.gone(frame.return_ip);
                self.now.forgotten += 1;
            }
        }
    }

    /// A return that goes back to `to`.
    fn go_back(&mut self, to: u64, at: Instant) {
        self.reach(at);
        let known = !self.first || self.sites.contains_key(&to);
        let found = known.then(|| self.now.open.iter().rposition(|frame| frame.return_ip == to)).flatten();
        match found {
            Some(nth) => self.close_to(nth, at),
            None if self.first => {}
            None => self.over.push((std::mem::take(&mut self.now), to, at)),
        }
    }

    /// Ends open calls but for the oldest so many.
    fn close_to(&mut self, left: usize, at: Instant) {
        while self.now.open.len() > left {
            let Some(frame) = self.now.open.pop_back() else { return };
            self.now.ledger.close(frame.note, frame.begin, at);
            self.gone(frame.return_ip);
        }
    }

    /// The same with other numbers of steps: those of a part count from its own first one.
    pub fn move_by(&mut self, steps: i64) {
        let instant = |at: &mut Instant| at.step = at.step.wrapping_add_signed(steps);
        for (epoch, _, at) in &mut self.over {
            epoch.move_by(steps);
            instant(at);
        }
        self.now.move_by(steps);
        self.begin.iter_mut().for_each(instant);
        instant(&mut self.at);
        match &mut self.pending {
            Some(Pending::Call(call)) => instant(&mut call.at),
            Some(Pending::Return(at)) => instant(at),
            None => {}
        }
    }

    /// Adds the part of the history that follows this one.
    pub fn merge(&mut self, next: Calls<L>) {
        self.arrive(next.front);
        let Some(begin) = next.begin else { return };
        let known = self.known;
        self.reach(Instant { tsc: begin.tsc.filter(|_| next.begin_known), ..begin });
        if let Some(own) = self.begin.as_mut().filter(|own| own.tsc.is_none()) {
            own.tsc = begin.tsc;
        }
        for (epoch, to, at) in next.over {
            self.absorb(epoch);
            self.at = Instant { step: at.step, tsc: at.tsc.or(self.at.tsc) };
            self.known = at.tsc.is_some();
            self.go_back(to, at);
        }
        self.absorb(next.now);
        self.at = Instant { step: next.at.step, tsc: next.at.tsc.or(self.at.tsc) };
        // Where nothing was executed, time is what it was.
        self.known = if next.at.step == begin.step && begin.tsc.is_none() { known } else { next.known };
        self.pending = self.pending.take().or(next.pending);
    }

    fn absorb(&mut self, epoch: Epoch<L, L::Note>) {
        let open = self.now.open.len();
        self.now.peak = self.now.peak.max(open.saturating_add(epoch.peak));
        self.forget(MOST_OPEN.saturating_sub(epoch.peak));
        let (height, top) = (self.now.height(), self.now.top());
        let translation = self.now.ledger.absorb(epoch.ledger, height, top);
        for frame in epoch.open {
            let note = self.now.ledger.translate(&translation, frame.note);
            self.push(Frame { note, ..frame });
        }
        self.now.forgotten += epoch.forgotten;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{CallPair, Functions, Pairs};

    /// `(step, callee)` is a call that returns to `callee + 1`; `(step, -to)` a return to `to`.
    fn part<L: Ledger>(steps: std::ops::Range<u64>, what: &[(u64, i64)]) -> Calls<L> {
        let mut calls = Calls::later();
        let instant = |step| Instant { step, tsc: Some(10 * step) };
        calls.reach(instant(steps.start));
        calls.arrive(Next::Ip(1));
        for &(step, target) in what {
            let (at, ip) = (instant(step + 1), target.unsigned_abs());
            if target >= 0 {
                calls.call(&Call { caller: 0, callee: ip, return_ip: ip + 1, at });
            } else {
                calls.go_back(ip, at);
            }
        }
        calls.reach(instant(steps.end));
        calls
    }

    fn ends(calls: Calls<Pairs>) -> Vec<(u64, i64)> {
        calls.settled().ledger.rows.iter().map(|row: &CallPair| (row.callee, row.end)).collect()
    }

    #[test]
    fn a_return_ends_what_it_skips() {
        let calls = part(0..100, &[(0, 10), (1, 20), (2, 30), (50, -11)]);
        assert_eq!(ends(calls), [(10, 50), (20, 50), (30, 50)]);
    }

    #[test]
    fn a_return_to_nowhere_ends_nothing() {
        let calls = part(0..100, &[(0, 10), (1, 20), (2, -99), (3, -21), (4, -11)]);
        assert_eq!(ends(calls), [(10, 4), (20, 3)]);
    }

    #[test]
    fn a_part_ends_calls_of_those_before() {
        let parts = || {
            [
                part(0..10, &[(0, 10), (1, 20), (2, 30)]),
                // To the second, past a call of its own, then to one that is ended by that.
                part(10..20, &[(10, 40), (11, -21), (12, -41), (13, 50)]),
                part(20..30, &[(20, -99), (21, -51), (22, -11)]),
            ]
        };
        let expected = [(10, 22), (20, 11), (30, 11), (40, 11), (50, 21)];
        let [mut first, second, third] = parts();
        first.merge(second);
        first.merge(third);
        assert_eq!(ends(first), expected);
        let [mut first, mut second, third] = parts();
        second.merge(third);
        first.merge(second);
        assert_eq!(ends(first), expected);
    }

    #[test]
    fn recursion_counts_once_however_it_is_cut() {
        let what = [(0, 10), (5, 10), (7, 20), (8, 10), (20, -11), (22, -21), (30, -11), (40, -11), (50, 10)];
        let whole = Functions::costs(part(0..60, &what));
        assert_eq!((whole[1].ip, whole[1].calls, whole[1].inclusive), (10, 4, 40 + 9));
        assert_eq!((whole[2].ip, whole[2].own, whole[2].inclusive), (20, 1 + 2, 15));
        assert_eq!(whole[1].inclusive_ticks, 490);
        for cut in 1..what.len() {
            let (left, right) = what.split_at(cut);
            let border = right[0].0;
            let mut calls = part(0..border, left);
            calls.merge(part(border..60, right));
            assert_eq!(Functions::costs(calls), whole, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_kept_survives_being_sent() {
        let mut calls: Calls<Pairs> = part(0..10, &[(0, 10), (1, 20), (2, -99)]);
        let sent = postcard::to_stdvec(&part::<Pairs>(10..20, &[(11, -21), (12, -11)])).unwrap();
        calls.merge(postcard::from_bytes(&sent).unwrap());
        assert_eq!(ends(calls), [(10, 12), (20, 11)]);
    }
}
