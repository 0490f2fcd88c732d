//! Stacks do not depend on where a history is cut into pieces.

use std::sync::Arc;

use super::chain::{Item, Kind};
use super::code::{Loaded, Manner};
use super::names::Names;
use super::ops::{Leap, Off, Op, Ops};
use super::tracker::{Beginning, Tracker};

/// Numbers without a pattern (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Call(u64),
    Twice,
    Leap(Leap),
    Interrupted(u64),
    FarReturn(u64),
    Enter(u64, Off),
    Lost,
}

/// A program that does everything, mostly what fits.
fn program(random: &mut Random, length: u64, wild: u64) -> Vec<Happening> {
    let mut open: Vec<u64> = Vec::new();
    let mut all = Vec::new();
    for _ in 0..length {
        let to = |random: &mut Random, open: &mut Vec<u64>| match random.below(wild) {
            0 => 100 + random.below(8),
            1 => open.get(random.below(open.len() as u64 + 1) as usize).copied().unwrap_or(7),
            _ => open.pop().unwrap_or(99),
        };
        all.push(match random.below(20) {
            0..=7 => {
                let ip = 1 + random.below(12);
                open.push(ip);
                Happening::Call(ip)
            }
            8..=15 => {
                let manner = Manner {
                    loaded: if random.below(wild) == 0 { Loaded::Yes } else { Loaded::No },
                    written: random.below(3 * wild) == 0,
                    pushed: random.below(3 * wild) == 0,
                    popped: false,
                };
                let is_return = random.below(wild) != 0;
                let to = to(random, &mut open);
                Happening::Leap(Leap { from: 50, to, step: 0, is_return, manner })
            }
            16 => Happening::Twice,
            17 => Happening::Interrupted(200 + random.below(3)),
            18 if random.below(3) == 0 => Happening::Lost,
            18 => Happening::FarReturn(200 + random.below(3)),
            _ => {
                let off = if random.below(2) == 0 { Off::Away } else { Off::Syscall(298, 300) };
                Happening::Enter(to(random, &mut open), off)
            }
        });
    }
    all
}

fn happen(ops: &mut Ops, happening: Happening) {
    match happening {
        Happening::Call(ip) => ops.push(Item { kind: Kind::Call, ip, step: 0 }),
        Happening::Twice => ops.twice(),
        Happening::Leap(leap) => ops.leap(leap),
        Happening::Interrupted(ip) => ops.push(Item { kind: Kind::Interrupted, ip, step: 0 }),
        Happening::FarReturn(to) => ops.far_return(to, 0),
        Happening::Enter(to, off) => ops.enter(to, 0, off, 0),
        Happening::Lost => ops.settle(Op::Lost(0)),
    }
}

/// What is on the stack in the end, if pieces end where `cut` says.
fn stack(all: &[Happening], is_first: bool, mut cut: impl FnMut() -> bool) -> (Vec<Item>, u32, usize) {
    let names = Names::new(vec![100, 104], vec![108], vec![(105, 3, 5)]);
    let beginning = Beginning { is_first, stays_open: false };
    let mut tracker = Tracker::new(Arc::new(names), Arc::default(), beginning);
    let mut ops = Ops::default();
    for (at, &happening) in all.iter().enumerate() {
        happen(&mut ops, happening);
        if cut() || at + 1 == all.len() {
            for op in ops.take() {
                tracker.apply(op);
            }
            if cut() {
                tracker.remember();
            }
        }
    }
    let items = tracker.chains.walk(tracker.state.line.top).map(|(_, item)| item).collect();
    (items, tracker.state.line.number, tracker.state.lines.len())
}

#[test]
fn stacks_do_not_depend_on_cuts() {
    for seed in 1..3000u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (length, wild) = (10 + random.below(200), 2 + random.below(30));
        let all = program(&mut random, length, wild);
        let is_first = seed % 2 == 0;
        let each = stack(&all, is_first, || true);
        assert_eq!(stack(&all, is_first, || false), each, "seed {seed}: {all:?}");
        assert_eq!(stack(&all, is_first, || random.below(5) == 0), each, "seed {seed}");
    }
}

#[test]
fn compacting_changes_no_stack() {
    for seed in 1..300u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let all = program(&mut random, 300, 6);
        let mut tracker = Tracker::new(Arc::default(), Arc::default(), Beginning::default());
        let mut states = Vec::new();
        let mut before = Vec::new();
        let list =
            |tracker: &Tracker, top| tracker.chains.walk(top).map(|(_, item)| item).collect::<Vec<_>>();
        for (at, &happening) in all.iter().enumerate() {
            let mut ops = Ops::default();
            happen(&mut ops, happening);
            for op in ops.take() {
                tracker.apply(op);
            }
            if at % 7 == 0 {
                let state = tracker.remember();
                before.push(list(&tracker, state.line.top));
                states.push(state);
            }
            if at % 50 == 49 {
                tracker.compact(states.iter_mut());
            }
        }
        let after: Vec<_> = states.iter().map(|state| list(&tracker, state.line.top)).collect();
        assert_eq!(before, after);
        assert_eq!(list(&tracker, tracker.state.line.top), stack_alone(&all));
    }
}

fn stack_alone(all: &[Happening]) -> Vec<Item> {
    let mut tracker = Tracker::new(Arc::default(), Arc::default(), Beginning::default());
    for &happening in all {
        let mut ops = Ops::default();
        happen(&mut ops, happening);
        for op in ops.take() {
            tracker.apply(op);
        }
    }
    tracker.chains.walk(tracker.state.line.top).map(|(_, item)| item).collect()
}
