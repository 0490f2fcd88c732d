//! What happens to stacks, and what is left of it once calls and their returns are taken out.
//!
//! What a piece of a history does to the stacks it finds is a list of operations. A return that goes back behind the innermost call of
//! the piece vanishes with it, whatever lies below: so the list holds what cannot be settled without knowing what came
//! before, and the calls that are left open. Doing the operations of all pieces, one after the other, is the same as
//! doing everything.

use super::chain::{Item, Kind, MOST_OPEN};
use super::code::{Loaded, Manner};

/// A branch other than a call, and where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl Leap {
    /// One with another stack pointer, and not by a return.
    pub fn elsewhere(from: u64, to: u64, step: u64) -> Leap {
        let manner = Manner { loaded: Loaded::Yes, ..Manner::default() };
        Leap { from, to, step, is_return: false, manner }
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

/// Why nothing was traced for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    /// A call that comes back to this address.
    Call { back: u64, step: u64 },
    /// A return, or a jump that may be one.
    Leap(Leap),
    /// A far call that comes back to this address.
    FarCall { back: u64, step: u64 },
    /// A far return.
    FarReturn { step: u64 },
}

/// What happens to stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Something is put on the stack.
    Push(Item),
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
    /// Where execution goes on after what the part before ended with; None if that is never to be known.
    Arrive(Option<u64>),
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
    },
}

/// Most operations of a part.
const MOST_OPS: usize = 4 << 20;

/// The operations of a part.
#[derive(Clone, Debug, Default)]
pub(super) struct Ops {
    all: Vec<Op>,
    /// What comes before is settled: only pushes come behind.
    floor: usize,
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

impl Ops {
    /// They are taken out.
    pub fn take(&mut self) -> Vec<Op> {
        self.floor = 0;
        std::mem::take(&mut self.all)
    }

    /// An item is put on the stack.
    pub fn push(&mut self, item: Item) {
        self.all.push(Op::Push(item));
        if self.all.len() - self.floor > 2 * MOST_OPEN as usize {
            // The older half is forgotten. The tracker numbers the edge.
            let half = self.floor + MOST_OPEN as usize;
            self.all.splice(self.floor..half, [Op::Push(Item::edge(Kind::Doubt, 0))]);
        }
    }

    /// Something that depends on what came before.
    pub fn settle(&mut self, op: Op) {
        if self.all.len() > MOST_OPS {
            // Nobody writes such programs: what came of the older half is forgotten.
            self.all.splice(..MOST_OPS / 2, [Op::Push(Item::edge(Kind::Doubt, 0))]);
        }
        self.all.push(op);
        self.floor = self.all.len();
    }

    /// What the piece has put on the stack, the innermost first, and where it stands.
    fn items(&self) -> impl Iterator<Item = (usize, Item)> + '_ {
        let open = self.all.get(self.floor..).unwrap_or(&[]);
        open.iter().enumerate().rev().filter_map(|(at, op)| match op {
            Op::Push(item) => Some((self.floor + at, *item)),
            _ => None,
        })
    }

    /// The innermost frame, and where it stands.
    fn top(&self) -> Option<(usize, Item)> {
        self.items().find(|(_, item)| item.kind != Kind::Landmark)
    }

    /// The function that was called last is one that returns twice.
    pub fn twice(&mut self) {
        match self.top() {
            Some((at, item)) if item.is_call() => {
                if let Some(op) = self.all.get_mut(at) {
                    *op = Op::Push(Item { kind: Kind::CallTwice, ..item });
                }
            }
            Some(_) => {}
            None => self.settle(Op::Twice),
        }
    }

    /// Everything from a call on ends; `returned`: by going back behind it.
    fn end(&mut self, at: usize, returned: bool) {
        let ended = self.all.get(at).copied();
        self.all.truncate(at);
        if let (Some(Op::Push(Item { kind: Kind::CallTwice, ip, step })), true) = (ended, returned) {
            let known = |(_, item): &(usize, Item)| item.kind == Kind::Landmark;
            if !self.items().take_while(known).any(|(_, item)| item.ip == ip) {
                self.all.push(Op::Push(Item { kind: Kind::Landmark, ip, step }));
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

    /// A return, or a jump that may be one.
    pub fn leap(&mut self, leap: Leap) {
        match self.find(&leap) {
            Top::Frame(at) => self.end(at, true),
            Top::Other if leap.changes_top() => {
                if let Some((at, _)) = self.top() {
                    self.end(at, false);
                }
            }
            Top::Other => {}
            Top::Unknown => self.settle(Op::Leap(leap)),
        }
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
        Item { kind: Kind::Call, ip, step: 0 }
    }

    fn to(to: u64) -> Leap {
        Leap { from: 0, to, step: 0, is_return: true, manner: Manner::default() }
    }

    #[test]
    fn what_fits_vanishes() {
        let mut ops = Ops::default();
        ops.push(call(1));
        ops.push(call(2));
        ops.leap(to(2));
        ops.push(call(3));
        ops.push(call(4));
        ops.leap(to(1));
        assert_eq!(ops.take(), []);
    }

    #[test]
    fn what_depends_on_more_stays() {
        let mut ops = Ops::default();
        ops.push(call(1));
        ops.leap(to(9));
        ops.push(call(2));
        ops.leap(to(2));
        ops.leap(to(1));
        assert_eq!(ops.take(), [Op::Push(call(1)), Op::Leap(to(9)), Op::Leap(to(1))]);
        // Another stack may wait for the same address.
        let switch = Leap { manner: Manner { loaded: Loaded::Yes, ..Manner::default() }, ..to(1) };
        ops.push(call(1));
        ops.leap(switch);
        assert_eq!(ops.take(), [Op::Push(call(1)), Op::Leap(switch)]);
    }

    #[test]
    fn thunks_end_their_calls_and_jumps_none() {
        let mut ops = Ops::default();
        ops.push(call(1));
        ops.push(call(2));
        ops.leap(Leap { manner: Manner { written: true, ..Manner::default() }, ..to(9) });
        ops.leap(Leap { manner: Manner { pushed: true, ..Manner::default() }, ..to(8) });
        assert_eq!(ops.take(), [Op::Push(call(1))]);
    }

    #[test]
    fn what_returns_twice_leaves_a_landmark() {
        let mut ops = Ops::default();
        for _ in 0..2 {
            ops.push(call(1));
            ops.twice();
            ops.leap(to(1));
        }
        assert_eq!(ops.take(), [Op::Push(Item { kind: Kind::Landmark, ..call(1) })]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut ops = Ops::default();
        for ip in 0..5 * u64::from(MOST_OPEN) {
            ops.push(call(ip));
        }
        assert!(ops.take().len() <= 2 * MOST_OPEN as usize);
    }
}
