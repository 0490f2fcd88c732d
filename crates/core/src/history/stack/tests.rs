//! Stacks, and what is kept of calls, do not depend on where a history is cut into pieces.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::called::Begins;
use super::chain::{Item, Kind};
use super::code::{Loaded, Manner};
use super::folding::{Calls, Settled};
use super::ledger::{EntryKind, Instant, Ledger};
use super::names::Names;
use super::ops::{Leap, Off, Op, Ops};
use super::tracker::{Beginning, Tracker};
use crate::history::{CallTree, FunctionCost, Functions, Pairs};

/// Numbers without a pattern (xorshift).
pub(super) struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: u64) -> u64 {
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
    Tail(u64),
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
                    thunk: false,
                };
                let is_return = random.below(wild) != 0;
                let to = to(random, &mut open);
                Happening::Leap(Leap { from: 50, to, step: 0, is_return, manner, enters: to > 100 })
            }
            16 => Happening::Twice,
            17 if random.below(2) == 0 => Happening::Tail(400 + random.below(5)),
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

/// What happens behind step `step`.
fn happen<L: Ledger>(ops: &mut Ops<L>, happening: Happening, step: u64) {
    let behind = step + 1;
    ops.reach(Instant { step: behind, tsc: Some(10 * behind) });
    match happening {
        Happening::Call(ip) => ops.open(Item::new(Kind::Call, ip, step), ip - 1, 1000 + ip),
        Happening::Twice => ops.twice(),
        Happening::Leap(leap) => ops.leap(Leap { step, ..leap }),
        Happening::Interrupted(ip) => {
            ops.open(Item::new(Kind::Interrupted, ip, step), ip, 5000 + ip);
        }
        Happening::FarReturn(to) => ops.far_return(to, step),
        Happening::Enter(to, off) => ops.enter(to, behind, off, 0),
        Happening::Tail(to) => ops.tail(50, to, step, false),
        Happening::Lost => ops.settle(Op::Lost(behind)),
    }
}

fn names() -> Arc<Names> {
    Arc::new(Names::new(vec![100, 104], vec![108], vec![(105, 3, 5)]))
}

/// The parts of a program, cut where `cut` says.
fn parts<L: Ledger>(all: &[Happening], mut cut: impl FnMut() -> bool) -> Vec<Ops<L>> {
    let mut parts = Vec::new();
    let mut ops = Ops::new(0);
    let begin = |ops: &mut Ops<L>, step| {
        ops.settle(Op::Arrive { to: Some(1), begins: Begins::Nothing });
        ops.reach(Instant { step, tsc: Some(10 * step) });
    };
    begin(&mut ops, 0);
    for (step, &happening) in (0..).zip(all) {
        happen(&mut ops, happening, step);
        if cut() || step + 1 == all.len() as u64 {
            parts.push(ops.take(step + 1));
            begin(&mut ops, step + 1);
        }
    }
    parts
}

fn beginning(is_first: bool) -> Beginning {
    Beginning { is_first, ..Beginning::default() }
}

/// What is on the stack in the end, if pieces end where `cut` says.
fn stack(all: &[Happening], is_first: bool, mut cut: impl FnMut() -> bool) -> (Vec<Item>, u32, usize) {
    let mut tracker = Tracker::new(names(), Arc::default(), &beginning(is_first));
    for part in parts::<()>(all, &mut cut) {
        tracker.add(part);
        if cut() {
            tracker.remember();
        }
    }
    let items = tracker.chains.walk(tracker.state.line.top).map(|(_, item)| item).collect();
    (items, tracker.state.line.number, tracker.state.lines.len())
}

fn cases() -> impl Iterator<Item = (u64, Random, Vec<Happening>)> {
    (1..2000u64).map(|seed| {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (length, wild) = (10 + random.below(200), 2 + random.below(30));
        let all = program(&mut random, length, wild);
        (seed, random, all)
    })
}

#[test]
fn stacks_do_not_depend_on_cuts() {
    for (seed, mut random, all) in cases() {
        let is_first = seed % 2 == 0;
        let each = stack(&all, is_first, || true);
        assert_eq!(stack(&all, is_first, || false), each, "seed {seed}: {all:?}");
        assert_eq!(stack(&all, is_first, || random.below(5) == 0), each, "seed {seed}");
    }
}

/// What is kept of parts.
fn kept<L: Ledger>(parts: Vec<Ops<L>>, is_first: bool) -> Settled<L> {
    Calls::of(parts).settled(is_first, names(), Vec::new())
}

#[test]
fn what_is_kept_does_not_depend_on_cuts() {
    for (seed, _, all) in cases() {
        let is_first = seed % 2 == 0;
        let pairs = kept::<Pairs>(parts(&all, || true), is_first).ledger;
        let paths = kept::<CallTree>(parts(&all, || true), is_first).ledger.pruned();
        let costs = Functions::costs(kept(parts(&all, || true), is_first));
        for rarity in [1, 4, 50, 1 << 20] {
            let mut cuts = Random(seed + rarity);
            let mut cut = || cuts.below(rarity) == 0;
            let found = kept::<Pairs>(parts(&all, &mut cut), is_first).ledger;
            assert_eq!((found.rows, found.runs), (pairs.rows.clone(), pairs.runs.clone()), "seed {seed}");
            let found = kept::<CallTree>(parts(&all, &mut cut), is_first).ledger.pruned();
            assert_eq!(found.nodes, paths.nodes, "seed {seed}");
            let found = Functions::costs(kept(parts(&all, &mut cut), is_first));
            assert_eq!(found, costs, "seed {seed}");
        }
    }
}

/// What the last walk of a program begins with, and so knows.
fn last_beginning(all: &[Happening], is_first: bool) -> Beginning {
    let known = super::folding::again_and_again(is_first, |beginning| {
        let mut tracker = Tracker::new(names(), Arc::default(), beginning);
        parts::<()>(all, || false).into_iter().for_each(|part| tracker.add(part));
        Ok((beginning.clone(), tracker.again(beginning)))
    });
    known.unwrap()
}

#[test]
fn what_is_kept_is_what_the_stacks_show() {
    let (mut shown, mut revised) = (0, 0);
    for (seed, _, all) in cases() {
        let is_first = seed % 2 == 0;
        let pairs = kept::<Pairs>(parts(&all, || false), is_first).ledger;
        // Where a guess was wrong, a call that was taken for over is open again.
        if pairs.revised > 0 {
            revised += 1;
            continue;
        }
        let mut paths: HashMap<Vec<u64>, u64> = HashMap::new();
        let mut inclusive: HashMap<u64, u64> = HashMap::new();
        let mut tracker = Tracker::new(names(), Arc::default(), &last_beginning(&all, is_first));
        for (step, part) in (1..).zip(parts::<()>(&all, || true)) {
            tracker.add(part);
            let stack = tracker.state.line.number;
            let ran = pairs.runs.partition_point(|&(from, _)| from <= step);
            assert_eq!(pairs.runs[ran - 1].1, stack, "seed {seed}, step {step}");
            let step = step as i64;
            let open = |row: &&crate::history::CallPair| row.stack() == stack && row.is_open_at(step);
            let rows: Vec<_> = pairs.rows.iter().filter(open).collect();
            let frames = tracker.chains.walk(tracker.state.line.top).filter(|(_, item)| item.is_open());
            let frames = frames.map(|(_, item)| item.step as i64);
            let frames: Vec<i64> = frames.collect();
            let calls = rows.iter().rev().filter(|row| row.kind() != EntryKind::Stack);
            assert_eq!(calls.map(|row| row.call).collect::<Vec<_>>(), frames, "seed {seed}, step {step}");
            shown += frames.len();
            if step < all.len() as i64 {
                let path: Vec<u64> = rows.iter().map(|row| row.callee).collect();
                for callee in path.iter().collect::<HashSet<_>>() {
                    *inclusive.entry(*callee).or_default() += 1;
                }
                *paths.entry(path).or_default() += 1;
            }
        }
        let costs: Vec<FunctionCost> = Functions::costs(kept(parts(&all, || false), is_first));
        let of = |table: &HashMap<u64, u64>, ip| table.get(&ip).copied().unwrap_or(0);
        let mut own: HashMap<u64, u64> = HashMap::new();
        for (path, steps) in &paths {
            *own.entry(path.last().copied().unwrap_or(0)).or_default() += steps;
        }
        // The first step, before anything happened, is outside any call.
        *own.entry(0).or_default() += 1;
        for cost in costs.iter() {
            assert_eq!(cost.own, of(&own, cost.ip), "seed {seed}: {cost:?}");
            assert_eq!(cost.own_ticks, 10 * cost.own as i64, "seed {seed}");
            assert_eq!(cost.inclusive_ticks, 10 * cost.inclusive as i64, "seed {seed}");
            let calls = pairs.rows.iter().filter(|row| row.callee == cost.ip).count() as u64;
            if cost.ip == 0 {
                assert_eq!((cost.calls, cost.inclusive), (0, all.len() as u64), "seed {seed}");
            } else {
                assert_eq!(
                    (cost.calls, cost.inclusive),
                    (calls, of(&inclusive, cost.ip)),
                    "seed {seed}: {cost:?}"
                );
            }
        }
        let tree = kept::<CallTree>(parts(&all, || false), is_first).ledger.pruned();
        let mut found: HashMap<Vec<u64>, u64> = HashMap::new();
        let mut names: Vec<Vec<u64>> = Vec::new();
        for node in &tree.nodes {
            let mut path = names.get(node.parent as usize).cloned().unwrap_or_default();
            path.extend((!names.is_empty()).then_some(node.ip));
            found.insert(path.clone(), node.own);
            names.push(path);
        }
        found.retain(|_, own| *own > 0);
        *paths.entry(Vec::new()).or_default() += 1;
        assert_eq!(found, paths, "seed {seed}");
    }
    assert!(shown > 100_000 && revised < 200, "{shown} frames, {revised} cases with revised guesses");
}

#[test]
fn what_is_kept_survives_being_sent_and_moved() {
    for (seed, mut random, all) in cases().take(200) {
        let whole = Functions::costs(kept(parts(&all, || false), false));
        let mut calls: Calls<Functions> = Calls::default();
        let mut cut = || random.below(9) == 0;
        for (at, mut part) in parts::<Functions>(&all, &mut cut).into_iter().enumerate() {
            part.move_by(at as i64 + 7);
            let sent = postcard::to_stdvec(&part).unwrap();
            let mut part: Ops<Functions> = postcard::from_bytes(&sent).unwrap();
            part.move_by(-(at as i64) - 7);
            calls.merge(Calls::of(vec![part]));
        }
        assert_eq!(Functions::costs(calls.settled(false, names(), Vec::new())), whole, "seed {seed}");
    }
}

fn list(tracker: &Tracker<()>, top: u32) -> Vec<Item> {
    tracker.chains.walk(top).map(|(_, item)| item).collect()
}

#[test]
fn compacting_changes_no_stack() {
    for seed in 1..300u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let all = program(&mut random, 300, 6);
        let mut tracker = Tracker::new(names(), Arc::default(), &beginning(false));
        let mut states = Vec::new();
        let mut before = Vec::new();
        for (at, part) in parts(&all, || true).into_iter().enumerate() {
            tracker.add(part);
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
        assert_eq!(list(&tracker, tracker.state.line.top), stack(&all, false, || true).0);
    }
}

fn far(kind: Kind, ip: u64) -> Item {
    Item::new(kind, ip, 1)
}

#[test]
fn handlers_end_where_the_kernel_is_traced() {
    let restorer =
        Leap { from: 50, to: 40, step: 0, is_return: true, enters: false, manner: Manner::default() };
    for (interrupted, to) in [(None, 300), (Some(200), 200), (Some(200), 300)] {
        let mut ops = Ops::<()>::new(0);
        ops.settle(Op::Arrive { to: Some(1), begins: Begins::Nothing });
        if let Some(ip) = interrupted {
            ops.open(far(Kind::Interrupted, ip), ip, 5000);
            ops.open(far(Kind::Call, 40), 40, 6000);
        }
        ops.leap(restorer);
        ops.open(far(Kind::HandlerEnd, 49), 49, 9000);
        ops.far_return(to, 3);
        let mut tracker = Tracker::new(names(), Arc::default(), &beginning(interrupted.is_some()));
        tracker.add(ops);
        let left = list(&tracker, tracker.state.line.top);
        // Where the handler has changed where it goes on, what it interrupted may be over.
        let sure: Vec<&Item> = left.iter().take_while(|item| !item.is_edge()).collect();
        assert_eq!(sure, Vec::<&Item>::new(), "{interrupted:?} {to}");
        assert_eq!(left.is_empty(), interrupted == Some(to));
    }
}

#[test]
fn a_program_that_may_have_begun_where_execution_was_lost_has_no_complete_stacks() {
    let call = Op::Push(Item::new(Kind::Call, 1, 0), ());
    let enter = |off, to, tsc| Op::Enter { to, step: 2, off, tsc };
    let exec = enter(Off::Syscall(298, 300), 7, 60);
    let handler = enter(Off::Interrupted(9), 7, 60);
    for (happened, complete) in [
        (vec![exec], true),
        (vec![Op::Lost(1), enter(Off::Unknown, 7, 60)], false),
        // Execution went on without being switched on.
        (vec![Op::Lost(1), handler], false),
        (vec![Op::Lost(1), enter(Off::Syscall(5, 7), 7, 40), exec], true),
    ] {
        let mut ops = Ops::new(0);
        ops.settle(call);
        happened.iter().for_each(|&op| ops.settle(op));
        let mut tracker = Tracker::<()>::new(names(), Arc::new(vec![50]), &beginning(true));
        tracker.add(ops);
        let left = list(&tracker, tracker.state.line.top);
        assert_eq!((left.is_empty(), left.iter().any(Item::is_frame)), (complete, false), "{happened:?}");
    }
}

/// A coroutine is left, and something goes on that was not seen to wait: in a thread that began here, that is a new stack.
#[test]
fn a_history_before_which_trace_is_missing_does_not_begin_its_thread() {
    let switches = || {
        let mut ops: Ops<Pairs> = Ops::new(0);
        for (step, to) in [(5, 60), (9, 70), (14, 60)] {
            ops.open(Item::new(Kind::Call, 40 + step, step - 1), 40, 30);
            ops.reach(Instant { step, tsc: None });
            let manner = Manner { loaded: Loaded::Yes, ..Manner::default() };
            ops.leap(Leap { from: 50, to, step: step - 1, is_return: true, manner, enters: false });
        }
        ops.reach(Instant { step: 20, tsc: None });
        ops
    };
    let told = |calls: &Calls<Pairs>, is_first| {
        let settled = calls.settled(is_first, names(), Vec::new());
        format!("{:?} {:?} {:?}", settled.ledger, settled.unexplained, settled.spent)
    };
    let mut lost: Calls<Pairs> = Calls::default();
    lost.lose();
    lost.merge(Calls::of(vec![switches()]));
    assert_eq!(told(&lost, true), told(&lost, false));
    let whole = Calls::of(vec![switches()]);
    assert_ne!(told(&whole, true), told(&whole, false));
}
