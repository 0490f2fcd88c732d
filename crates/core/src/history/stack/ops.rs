//! What happens to stacks, and what is left of it once calls and their returns are taken out.
//!
//! What a piece of a history does to the stacks it finds is a list of operations. A return that goes back behind the innermost call of
//! the piece vanishes with it, with any stack below: so the list holds what cannot be settled without knowing what came
//! before, and the calls that are left open. Doing the operations of all pieces, one after the other, is the same as
//! doing everything. What is [kept](super::ledger) of calls is kept for each stretch between two operations that depend on
//! more, on top of a stack that is not known yet.
//!
//! This file is long because it holds one list of operations, and all that cancels in it.

use serde::{Deserialize, Serialize};

use super::called::{Begins, Met};
use super::chain::{Item, Kind, MOST_MARKS, MOST_OPEN};
use super::code::{Loaded, Manner};
use super::ledger::{Entry, EntryKind, Instant, Ledger, Spent, Timer};

/// A branch other than a call, and where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leap {
    /// Address of the branch; 0 if it is not known.
    pub from: u64,
    /// Where it went.
    pub to: u64,
    /// The step of the branch.
    pub step: u64,
    /// It was a return.
    pub is_return: bool,
    /// What came before it.
    pub manner: Manner,
    /// It went from one function to the entry of another.
    pub enters: bool,
}

impl Leap {
    /// One with another stack pointer, and not by a return.
    pub fn elsewhere(from: u64, to: u64, step: u64) -> Leap {
        let manner = Manner { loaded: Loaded::Yes, ..Manner::default() };
        Leap { from, to, step, is_return: false, manner, enters: false }
    }

    /// It goes back only if it goes behind the innermost call: a jump, or a return that was used as one.
    pub fn is_jump(&self) -> bool {
        !self.is_return || self.manner.pushed || self.manner.written
    }

    /// It is a return whose return address was overwritten: wherever it goes, the innermost call is over.
    pub fn changes_top(&self) -> bool {
        self.is_return && self.manner.written && !self.manner.pushed
    }
}

/// A jump, perhaps not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Jump {
    /// Address of the jump.
    pub from: u64,
    /// Where execution goes on if it is not taken; None: it always is.
    pub behind: Option<u64>,
    /// The function that it belongs to, if that is known.
    pub owner: Option<u64>,
}

impl Jump {
    /// Whether it goes from its function to another one that begins at `to`.
    pub fn enters(&self, to: u64, entry: u64) -> bool {
        self.owner != Some(entry) && self.behind != Some(to)
    }
}

/// Why nothing was traced for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Off {
    /// It is not known.
    #[default]
    Unknown,
    /// It was interrupted at this address.
    Interrupted(u64),
    /// There was a system call: its address, and the one behind it.
    Syscall(u64, u64),
    /// There was the system call that ends a handler of a signal; the address of the instruction before it, which sets its
    /// number.
    HandlerEnd(u64),
    /// It branched to where nothing is traced.
    Away,
    /// It was left by the last instruction before the part.
    Before,
}

impl Off {
    /// Whether going on at an address is nothing but going on.
    pub fn resumes(self, to: u64) -> bool {
        match self {
            Off::Interrupted(at) => to == at,
            // Or it is repeated.
            Off::Syscall(at, behind) => to == behind || to == at,
            Off::Unknown | Off::HandlerEnd(_) | Off::Away | Off::Before => false,
        }
    }
}

/// A branch whose target is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Pending {
    /// A call at one address that comes back to another.
    Call { caller: u64, back: u64, step: u64 },
    /// A return, or a jump that may be one.
    Leap(Leap),
    /// A far call that comes back to this address, unless it ends a handler.
    FarCall { back: u64, step: u64, kind: Kind },
    /// A far return.
    FarReturn { step: u64 },
}

/// What happens to stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Op<N> {
    /// Something is put on the stack, with the note of the innermost frame from there on.
    Push(Item, N),
    /// The function that was called last is one that returns twice.
    Twice,
    /// A return, or a jump that may be one.
    Leap(Leap),
    /// A far return, to this address.
    FarReturn { to: u64, step: u64 },
    /// Tracing goes on at this address, before a step, after it was off.
    Enter { to: u64, step: u64, off: Off, tsc: u64 },
    /// Execution was lost before this step.
    Lost(u64),
    /// Where execution goes on after what the part before ended with; None if that is never to be known. `begins`
    /// says what begins there.
    Arrive { to: Option<u64>, begins: Begins },
    /// A jump goes from one address to the entry of another function.
    Tail { from: u64, to: u64, step: u64, is_stub: bool },
    /// The same, where nothing is traced from there on.
    Leave(Option<u64>),
    /// The part ends with a branch whose target is not known.
    Wait(Pending),
    /// The part ends while nothing is traced.
    Off(Off),
    /// What the end of the part means for what comes next, as far as the part knows.
    End {
        /// The stack pointer was loaded since the last call or return.
        loaded: Option<bool>,
        /// What it means if nothing is traced from here on.
        left: Option<Off>,
        /// The jump that the part ends with.
        jump: Option<Jump>,
    },
}

/// Most operations of a part.
const MOST_OPS: usize = 4 << 20;

/// Most jumps to other functions that lie on a frame: more of them take the place of the last one.
pub(super) const MOST_TAILS: usize = 64;

/// What was kept up to an operation that depends on more.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stretch<L> {
    ledger: L,
    /// When the operation was.
    at: Spent,
}

/// The operations of a part.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(
    serialize = "L: Serialize, L::Note: Serialize, L::Line: Serialize",
    deserialize = "L: Deserialize<'de>, L::Note: Deserialize<'de>, L::Line: Deserialize<'de>"
))]
pub(super) struct Ops<L: Ledger> {
    all: Vec<Op<L::Note>>,
    /// What comes before is settled: only pushes come behind.
    floor: usize,
    /// One for each operation before `floor` that is no push; none where nothing is kept.
    stretches: Vec<Stretch<L>>,
    /// What is kept since.
    ledger: L,
    /// What is open since.
    line: L::Line,
    timer: Timer,
    /// Calls of code that no file knows, and jumps there.
    pub met: Met,
}

/// What a return finds on top.
enum Top {
    /// The frame that it goes back to, or one above: all from this place on ends.
    Frame(usize),
    /// Another one.
    Other,
    /// It depends on what came before.
    Unknown,
}

/// Where the operations of a part are done.
pub(super) trait Stage<L: Ledger> {
    /// Steps and time pass up to where the part begins.
    fn begin(&mut self, timer: &Timer);

    /// Takes in what was kept on top of the stack.
    fn absorb(&mut self, ledger: L) -> L::Translation;

    /// Something is put on the stack, with a note of the ledger that was absorbed last.
    fn put_noted(&mut self, item: Item, note: L::Note, translation: &L::Translation);

    /// Does an operation that is no push.
    fn settle_at(&mut self, op: Op<L::Note>, at: Spent);

    /// The part is over; calls of code that no file knows were `met`.
    fn end(&mut self, timer: &Timer, known: bool, met: Met);

    /// Whether time is known.
    fn knows_time(&self) -> bool;
}

impl<L: Ledger> Ops<L> {
    /// No operations, in a part that begins at a step.
    pub fn new(step: u64) -> Self {
        Ops {
            all: Vec::new(),
            floor: 0,
            stretches: Vec::new(),
            ledger: L::default(),
            line: L::Line::default(),
            timer: Timer::start(step),
            met: Met::default(),
        }
    }

    /// Execution was lost before a step; there are no others.
    pub fn lost(step: u64) -> Self {
        let mut ops = Ops::new(step);
        ops.settle(Op::Lost(step));
        ops
    }

    /// The first of them is a loss.
    pub fn begin_lost(&self) -> bool {
        matches!(self.all.first(), Some(Op::Lost(_)))
    }

    /// They are taken out, and a part begins at a step.
    pub fn take(&mut self, step: u64) -> Self {
        std::mem::replace(self, Ops::new(step))
    }

    /// The step behind the last one.
    pub fn end_step(&self) -> u64 {
        self.timer.now().steps
    }

    /// Does all of it, in order.
    pub fn play(self, stage: &mut impl Stage<L>) {
        let known = stage.knows_time();
        let mut stretches = self.stretches.into_iter();
        let mut rest = self.all.into_iter().peekable();
        // Where execution goes on is said first; what passed before that passed behind it.
        if let Some(arrival) = rest.next_if(|op| matches!(op, Op::Arrive { .. } | Op::Leave(_))) {
            let at = stretches.next().map_or_else(Spent::default, |stretch| stretch.at);
            stage.settle_at(arrival, at);
        }
        stage.begin(&self.timer);
        loop {
            let (ledger, at) = match stretches.next() {
                Some(Stretch { ledger, at }) => (ledger, at),
                None if L::KEEPS => break,
                None => (L::default(), Spent::default()),
            };
            let translation = stage.absorb(ledger);
            let settled = loop {
                match rest.next() {
                    Some(Op::Push(item, note)) => stage.put_noted(item, note, &translation),
                    other => break other,
                }
            };
            let Some(op) = settled else { break };
            stage.settle_at(op, at);
        }
        if L::KEEPS {
            let translation = stage.absorb(self.ledger);
            for op in rest {
                if let Op::Push(item, note) = op {
                    stage.put_noted(item, note, &translation);
                }
            }
        }
        stage.end(&self.timer, known, self.met);
    }

    /// The same with other numbers of steps.
    pub fn move_by(&mut self, steps: i64) {
        let by = Spent { steps: steps as u64, ticks: 0 };
        let moved = |step: &mut u64| *step = step.wrapping_add_signed(steps);
        for op in &mut self.all {
            match op {
                Op::Push(item, note) => {
                    moved(&mut item.step);
                    *note = L::shift(*note, by);
                }
                Op::Leap(leap) | Op::Wait(Pending::Leap(leap)) => moved(&mut leap.step),
                Op::Wait(
                    Pending::Call { step, .. } | Pending::FarCall { step, .. } | Pending::FarReturn { step },
                )
                | Op::Tail { step, .. }
                | Op::Enter { step, .. }
                | Op::FarReturn { step, .. }
                | Op::Lost(step) => moved(step),
                Op::Twice | Op::Arrive { .. } | Op::Leave(_) | Op::Off(_) | Op::End { .. } => {}
            }
        }
        for stretch in &mut self.stretches {
            stretch.ledger.move_by(steps);
            stretch.at = stretch.at.plus(by);
        }
        self.ledger.move_by(steps);
        self.timer.move_by(steps);
    }

    /// Steps and time pass.
    #[inline]
    pub fn reach(&mut self, to: Instant) {
        if L::KEEPS {
            let spent = self.timer.reach(to);
            if spent != Spent::default() {
                self.ledger.spend(self.top_note(), spent);
            }
        }
    }

    /// The note of the innermost frame.
    #[inline]
    fn top_note(&self) -> L::Note {
        match self.all.last() {
            Some(Op::Push(_, note)) if self.all.len() > self.floor => *note,
            _ => L::Note::default(),
        }
    }

    /// A frame is put on the stack: a call, or what was interrupted.
    #[inline]
    pub fn open(&mut self, item: Item, caller: u64, callee: u64) {
        let mut note = L::Note::default();
        if L::KEEPS {
            let at = self.timer.now();
            let entry = Entry { kind: EntryKind::of(&item), caller, callee, step: at.steps, stack: 0 };
            note = self.ledger.open(&entry, self.top_note(), at, &mut self.line);
        }
        self.put(item, note);
    }

    #[inline]
    fn put(&mut self, item: Item, note: L::Note) {
        self.all.push(Op::Push(item, note));
        if self.all.len() - self.floor > 2 * MOST_OPEN as usize {
            // The older half is forgotten. The tracker numbers the edge.
            let half = self.floor + MOST_OPEN as usize;
            self.leave_open(self.floor..half);
            let edge = Op::Push(Item::edge(Kind::Doubt, 0), L::Note::default());
            self.all.splice(self.floor..half, [edge]);
        }
    }

    /// Nothing will tell when the frames in a range of operations end.
    fn leave_open(&mut self, range: std::ops::Range<usize>) {
        if L::KEEPS {
            let at = self.timer.now();
            for op in self.all.get(range).unwrap_or(&[]).iter().rev() {
                if let Op::Push(item, note) = op {
                    if item.is_open() {
                        self.ledger.leave_open(*note, at, &mut self.line);
                    }
                }
            }
        }
    }

    /// The frames in a range of operations are over.
    #[inline]
    fn close(&mut self, range: std::ops::Range<usize>) {
        if L::KEEPS {
            let at = self.timer.now();
            for op in self.all.get(range).unwrap_or(&[]).iter().rev() {
                if let Op::Push(item, note) = op {
                    if item.is_open() {
                        self.ledger.close(*note, at, at.steps, &mut self.line);
                    }
                }
            }
        }
    }

    /// Something that depends on what came before.
    pub fn settle(&mut self, op: Op<L::Note>) {
        if self.all.len() > MOST_OPS {
            self.forget_half();
        }
        if L::KEEPS {
            let ledger = std::mem::take(&mut self.ledger);
            self.stretches.push(Stretch { ledger, at: self.timer.now() });
            self.line = L::Line::default();
        }
        self.all.push(op);
        self.floor = self.all.len();
    }

    /// Execution was lost before a step. Losses with nothing between them are one.
    pub fn lose(&mut self, step: u64) {
        let at_last = match self.stretches.last() {
            Some(stretch) => stretch.at == self.timer.now(),
            None => !L::KEEPS,
        };
        let is_last = matches!(self.all.last(), Some(&Op::Lost(before)) if before == step);
        if !at_last || !is_last {
            self.settle(Op::Lost(step));
        }
    }

    /// No real program does this: what came of the older half is forgotten, but for what it cost.
    fn forget_half(&mut self) {
        let is_push = |op: &Op<L::Note>| matches!(op, Op::Push(..));
        let behind = self.all.iter().skip(MOST_OPS / 2).take_while(|op| is_push(op)).count();
        let end = (MOST_OPS / 2 + behind + 1).min(self.floor);
        let settled = self.all.iter().take(end).filter(|op| !is_push(op)).count();
        let mut at = Spent::default();
        if L::KEEPS {
            let line = L::Line::default();
            let mut all = Stretch { ledger: L::default(), at };
            for stretch in self.stretches.drain(..settled) {
                all.ledger.absorb(stretch.ledger, L::Note::default(), &line, 0);
                all.at = stretch.at;
            }
            at = all.at;
            self.stretches.insert(0, all);
        }
        self.all.splice(..end, [Op::Lost(at.steps)]);
        self.floor = self.floor + 1 - end;
    }

    /// What the piece has put on the stack, the innermost first, and where it stands.
    fn items(&self) -> impl Iterator<Item = (usize, Item)> + '_ {
        let open = self.all.get(self.floor..).unwrap_or(&[]);
        open.iter().enumerate().rev().filter_map(|(at, op)| match op {
            Op::Push(item, _) => Some((self.floor + at, *item)),
            _ => None,
        })
    }

    /// The innermost frame, and where it stands.
    #[inline]
    fn top(&self) -> Option<(usize, Item)> {
        self.items().find(|(_, item)| !item.is_passed_by())
    }

    /// The function that was called last is one that returns twice.
    pub fn twice(&mut self) {
        match self.top() {
            Some((at, item)) if item.is_call() => {
                if let Some(Op::Push(item, _)) = self.all.get_mut(at) {
                    item.kind = Kind::CallTwice;
                }
            }
            Some(_) => {}
            None => self.settle(Op::Twice),
        }
    }

    /// Everything from a call on ends; `returned`: by going back behind it.
    #[inline]
    fn end(&mut self, at: usize, returned: bool) {
        self.close(at..self.all.len());
        let ended = self.all.get(at).copied();
        self.all.truncate(at);
        if let (Some(Op::Push(Item { kind: Kind::CallTwice, ip, step, .. }, _)), true) = (ended, returned) {
            let near = self.items().take_while(|(_, item)| item.kind == Kind::Landmark);
            let near: Vec<u64> = near.take(MOST_MARKS).map(|(_, item)| item.ip).collect();
            if !near.contains(&ip) {
                let note = self.top_note();
                if near.len() == MOST_MARKS {
                    self.all.push(Op::Push(Item::edge(Kind::Doubt, 0), note));
                }
                self.all.push(Op::Push(Item::new(Kind::Landmark, ip, step), note));
            }
        }
    }

    /// The innermost call went to another address, by way of a stub that jumped there at a step.
    fn redirect(&mut self, callee: u64, step: u64) {
        if self.all.len() > self.floor {
            if let Some(Op::Push(item, note)) = self.all.last_mut() {
                *item = item.by_stub(step);
                *note = self.ledger.redirect(*note, callee, self.timer.now(), &mut self.line);
            }
        }
    }

    /// A jump goes to the entry of another function, or to a stub that leads to one.
    pub fn tail(&mut self, from: u64, to: u64, step: u64, is_stub: bool) {
        if self.top().is_none() {
            self.settle(Op::Tail { from, to, step, is_stub });
            return;
        }
        match self.all.last() {
            Some(Op::Push(item, _)) if item.is_stub => self.redirect(to, step),
            _ => {
                let tails = self.items().take(MOST_TAILS).take_while(|(_, item)| item.kind == Kind::Tail);
                if tails.count() == MOST_TAILS {
                    self.end(self.all.len() - 1, false);
                }
                self.open(Item { is_stub, ..Item::new(Kind::Tail, from, step) }, from, to);
            }
        }
    }

    fn find(&self, leap: &Leap) -> Top {
        let Leap { to, manner, .. } = *leap;
        if manner.loaded != Loaded::No {
            return Top::Unknown;
        }
        match self.top() {
            None => Top::Unknown,
            Some((at, item)) if item.is_call() && item.ip == to => Top::Frame(at),
            Some((_, item)) if !item.is_frame() => Top::Unknown,
            Some((_, item)) if leap.is_jump() => {
                if item.is_call() {
                    Top::Other
                } else {
                    Top::Unknown
                }
            }
            Some(_) => {
                let deeper = self.items().find(|(_, item)| item.is_call() && item.ip == to);
                deeper.map_or(Top::Unknown, |(at, _)| Top::Frame(at))
            }
        }
    }

    /// Goes back behind the innermost call of the part, if it comes back to this address and nothing lies on it.
    #[inline]
    pub fn go_back(&mut self, to: u64) -> bool {
        let Some(Op::Push(item, note)) = self.all.last() else { return false };
        let fits = item.kind == Kind::Call && item.ip == to && self.all.len() > self.floor;
        if fits {
            if L::KEEPS {
                let at = self.timer.now();
                self.ledger.close(*note, at, at.steps, &mut self.line);
            }
            self.all.pop();
        }
        fits
    }

    /// A return, or a jump that may be one.
    pub fn leap(&mut self, leap: Leap) {
        match self.find(&leap) {
            Top::Frame(at) => self.end(at, true),
            Top::Other if leap.changes_top() => {
                let Some((at, _)) = self.top() else { return };
                let is_lowest = !self.items().any(|(below, _)| below < at);
                if is_lowest && leap.enters {
                    self.settle(Op::Leap(leap));
                } else {
                    self.end(at, false);
                    if leap.enters {
                        self.tail(leap.from, leap.to, leap.step, false);
                    }
                }
            }
            Top::Other if leap.enters && self.is_thunk(&leap) => self.redirect(leap.to, leap.step),
            Top::Other if leap.enters => self.tail(leap.from, leap.to, leap.step, false),
            Top::Other => {}
            Top::Unknown => self.settle(Op::Leap(leap)),
        }
    }

    /// A thunk jumps, and nothing else was executed since the innermost call or jump.
    fn is_thunk(&self, leap: &Leap) -> bool {
        let last = self.all.get(self.floor..).and_then(<[_]>::last);
        leap.manner.thunk && matches!(last, Some(Op::Push(item, _)) if item.is_thunk_before(leap.step))
    }

    /// A far return.
    pub fn far_return(&mut self, to: u64, step: u64) {
        let found = self.items().find(|(_, item)| item.kind == Kind::Interrupted && goes_on(item, to));
        match found {
            Some((at, _)) => self.end(at, false),
            None => self.settle(Op::FarReturn { to, step }),
        }
    }

    /// Tracing goes on.
    pub fn enter(&mut self, to: u64, step: u64, off: Off, tsc: u64) {
        match off {
            _ if off.resumes(to) => {}
            Off::Away => {
                let found = self.items().find(|(_, item)| item.is_call() && item.ip == to);
                match found {
                    Some((at, _)) => self.end(at, true),
                    None => self.settle(Op::Enter { to, step, off, tsc }),
                }
            }
            _ => self.settle(Op::Enter { to, step, off, tsc }),
        }
    }
}

/// Whether what was interrupted goes on at an address: a system call may be repeated.
pub(super) fn goes_on(item: &Item, to: u64) -> bool {
    item.ip == to || to.wrapping_add(2) == item.ip
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(ip: u64) -> Item {
        Item::new(Kind::Call, ip, 0)
    }

    fn push(item: Item) -> Op<()> {
        Op::Push(item, ())
    }

    fn taken(ops: &mut Ops<()>) -> Vec<Op<()>> {
        ops.take(0).all
    }

    fn to(to: u64) -> Leap {
        Leap { from: 0, to, step: 0, is_return: true, manner: Manner::default(), enters: false }
    }

    #[test]
    fn what_fits_vanishes() {
        let mut ops = Ops::<()>::new(0);
        ops.open(call(1), 0, 0);
        ops.open(call(2), 0, 0);
        ops.leap(to(2));
        ops.open(call(3), 0, 0);
        ops.open(call(4), 0, 0);
        ops.leap(to(1));
        assert_eq!(taken(&mut ops), []);
    }

    #[test]
    fn what_depends_on_more_stays() {
        let mut ops = Ops::<()>::new(0);
        ops.open(call(1), 0, 0);
        ops.leap(to(9));
        ops.open(call(2), 0, 0);
        ops.leap(to(2));
        ops.leap(to(1));
        assert_eq!(taken(&mut ops), [push(call(1)), Op::Leap(to(9)), Op::Leap(to(1))]);
        // Another stack may wait for the same address.
        let switch = Leap { manner: Manner { loaded: Loaded::Yes, ..Manner::default() }, ..to(1) };
        ops.open(call(1), 0, 0);
        ops.leap(switch);
        assert_eq!(taken(&mut ops), [push(call(1)), Op::Leap(switch)]);
    }

    #[test]
    fn thunks_end_their_calls_and_jumps_none() {
        let mut ops = Ops::<()>::new(0);
        ops.open(call(1), 0, 0);
        ops.open(call(2), 0, 0);
        ops.leap(Leap { manner: Manner { written: true, ..Manner::default() }, ..to(9) });
        ops.leap(Leap { manner: Manner { pushed: true, ..Manner::default() }, ..to(8) });
        assert_eq!(taken(&mut ops), [push(call(1))]);
    }

    #[test]
    fn what_returns_twice_leaves_a_landmark() {
        let mut ops = Ops::<()>::new(0);
        for _ in 0..2 {
            ops.open(call(1), 0, 0);
            ops.twice();
            ops.leap(to(1));
        }
        assert_eq!(taken(&mut ops), [push(Item { kind: Kind::Landmark, ..call(1) })]);
    }

    #[test]
    fn losses_with_nothing_between_them_are_one() {
        let mut ops = Ops::<()>::new(0);
        for step in [5, 5, 5, 6] {
            ops.lose(step);
        }
        ops.open(call(1), 0, 0);
        ops.lose(6);
        assert_eq!(taken(&mut ops), [Op::Lost(5), Op::Lost(6), push(call(1)), Op::Lost(6)]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut ops = Ops::<()>::new(0);
        for ip in 0..5 * u64::from(MOST_OPEN) {
            ops.open(call(ip), 0, 0);
        }
        assert!(taken(&mut ops).len() <= 2 * MOST_OPEN as usize);
    }
}
