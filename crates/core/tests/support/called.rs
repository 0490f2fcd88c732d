//! Calls found by going through instructions and events one by one, against what the passes over calls say.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::ops::Range;

use odograph_core::history::{
    CallPair, CallTree, Calls, EventColumns, FunctionCost, Functions, InstructionColumns, Ledger, Pairs,
    Stream,
};
use odograph_core::instruction::{self, Detail, ExecMode, InstructionClass};

/// Where execution went on behind a step: at an address, and whether it was traced; None if nobody knows.
type Next = Option<(u64, bool)>;

/// What was said of where execution went on, by the step before which it was said.
fn said(stream: &Stream, events: &EventColumns) -> HashMap<u64, Next> {
    let mut all: Vec<(u64, bool, u64, Next)> =
        stream.gaps().iter().map(|gap| (gap.offset, true, gap.step, None)).collect();
    for row in 0..events.step.len() {
        let (offset, step) = (events.offset[row], events.step[row] as u64);
        let next = match EventColumns::KINDS[events.kind[row] as usize] {
            "disabled" if events.status_update[row] != 0 => None,
            "disabled" => events.to[row].map(|to| (to, false)),
            _ if events.after[row] != 0 || events.ip[row] == u64::MAX => continue,
            _ => Some((events.ip[row], true)),
        };
        all.push((offset, false, step, next));
    }
    all.sort_by_key(|&(offset, gap, ..)| (offset, gap));
    let mut first = HashMap::new();
    for (_, _, step, next) in all {
        first.entry(step).or_insert(next);
    }
    first
}

/// An open call: its row, return address and function.
struct Frame {
    row: usize,
    return_ip: u64,
    callee: u64,
}

#[derive(Default)]
struct Simulation {
    rows: Vec<CallPair>,
    stack: Vec<Frame>,
    /// Calls, instructions and ticks by path.
    paths: HashMap<Vec<u64>, (u64, u64, i64)>,
    /// Where rows begin and end: steps and times.
    times: Vec<(Option<u64>, Option<u64>)>,
    time: Option<u64>,
}

impl Simulation {
    fn path(&self) -> Vec<u64> {
        self.stack.iter().map(|frame| frame.callee).collect()
    }

    /// Time passes.
    fn pass(&mut self, tsc: Option<u64>) {
        let ticks = tsc.zip(self.time).map_or(0, |(now, then)| now.wrapping_sub(then) as i64);
        self.paths.entry(self.path()).or_default().2 += ticks;
        self.time = tsc.or(self.time);
    }

    fn close(&mut self, left: usize, step: i64, tsc: Option<u64>) {
        while self.stack.len() > left {
            let frame = self.stack.pop().expect("there are more");
            self.rows[frame.row].end = step;
            self.times[frame.row].1 = tsc;
        }
    }

    fn step(&mut self, all: &InstructionColumns, at: usize, next: Next) {
        let tsc = (all.tsc[at] != u64::MAX).then_some(all.tsc[at]);
        if self.time.is_none() {
            self.time = tsc;
        }
        self.paths.entry(self.path()).or_default().1 += 1;
        let insn =
            instruction::decode(&all.raw[16 * at..16 * (at + 1)], ExecMode::Bits64).expect("it was executed");
        let behind = all.ip[at].wrapping_add(u64::from(insn.size));
        match insn.class {
            InstructionClass::Call => {
                let direct = insn.target(all.ip[at]).filter(|_| insn.detail == Detail::Direct);
                let Some((callee, traced)) = direct.map(|target| (target, true)).or(next) else { return };
                if direct == Some(behind) {
                    return;
                }
                self.pass(tsc);
                let depth = self.stack.len() as u64;
                self.rows.push(CallPair { call: at as i64, end: -1, caller: all.ip[at], callee, depth });
                self.times.push((tsc, None));
                self.stack.push(Frame { row: self.rows.len() - 1, return_ip: behind, callee });
                self.paths.entry(self.path()).or_default().0 += 1;
                if !traced {
                    self.close(self.stack.len() - 1, at as i64, tsc);
                }
            }
            InstructionClass::Return => {
                let Some((to, _)) = next else { return };
                self.pass(tsc);
                if let Some(nth) = self.stack.iter().rposition(|frame| frame.return_ip == to) {
                    self.close(nth, at as i64, tsc);
                }
            }
            _ => {}
        }
    }
}

/// Compares pairs, paths and functions of a range of steps with what a simulation gives.
pub fn check_calls(
    stream: &Stream,
    all: &InstructionColumns,
    events: &EventColumns,
    range: Range<usize>,
    what: &str,
) {
    if all.ip.contains(&u64::MAX) {
        return; // in the columns of events that is no address
    }
    let said = said(stream, events);
    let mut simulation = Simulation::default();
    for at in range.clone() {
        let known = said.get(&(at as u64 + 1)).copied();
        let next = if at + 1 < range.end {
            known.unwrap_or_else(|| Some((all.ip[at + 1], true)))
        } else {
            known.flatten()
        };
        simulation.step(all, at, next);
    }
    let last = range.clone().next_back().map_or(u64::MAX, |at| all.tsc[at]);
    simulation.pass((last != u64::MAX).then_some(last));
    let (start, stop) = (range.start as u64, range.end as u64);
    let found = ledger::<Pairs>(stream, start, stop).settled().ledger.rows;
    for (found, expected) in found.iter().zip(&simulation.rows) {
        assert_eq!(found, expected, "{what}");
    }
    assert_eq!(found.len(), simulation.rows.len(), "{what}");
    check_paths(&ledger(stream, start, stop).settled().ledger, &simulation, what);
    check_functions(Functions::costs(ledger(stream, start, stop)), &simulation, &range, what);
}

fn ledger<L: Ledger<Note: Send> + Send>(stream: &Stream, start: u64, stop: u64) -> Calls<L> {
    let mut calls = Calls::first();
    stream.calls(start, stop, 0, &mut calls, &mut || false).expect("nobody interrupts");
    calls
}

fn check_paths(tree: &CallTree, simulation: &Simulation, what: &str) {
    let mut paths: Vec<Vec<u64>> = Vec::new();
    let mut found = HashMap::new();
    for (nth, node) in tree.nodes.iter().enumerate() {
        let mut path = Vec::new();
        if nth > 0 {
            path.extend_from_slice(&paths[node.parent as usize]);
            path.push(node.ip);
        }
        paths.push(path.clone());
        assert!(found.insert(path, (node.calls, node.own, node.own_ticks)).is_none(), "{what}: a path twice");
    }
    let mut expected = simulation.paths.clone();
    expected.entry(Vec::new()).or_default();
    assert_same(&found, &expected, what);
}

fn assert_same<K: Hash + Eq + Debug, V: PartialEq + Debug>(
    found: &HashMap<K, V>,
    expected: &HashMap<K, V>,
    what: &str,
) {
    for (key, value) in expected {
        assert_eq!(found.get(key), Some(value), "{what}: {key:?}");
    }
    assert_eq!(found.len(), expected.len(), "{what}");
}

fn check_functions(costs: Vec<FunctionCost>, simulation: &Simulation, range: &Range<usize>, what: &str) {
    let mut expected: HashMap<Option<u64>, FunctionCost> = HashMap::new();
    for (path, &(calls, own, ticks)) in &simulation.paths {
        let ip = path.last().copied();
        let cost = expected.entry(ip).or_default();
        cost.ip = ip.unwrap_or(0);
        cost.calls += calls;
        cost.own += own;
        cost.own_ticks += ticks;
    }
    // A call inside another one of the same address does not count again.
    let mut until: HashMap<u64, i64> = HashMap::new();
    for (row, times) in simulation.rows.iter().zip(&simulation.times) {
        let still_open = row.end < 0;
        let end = if still_open { range.end as i64 - 1 } else { row.end };
        let outer = until.entry(row.callee).or_insert(-1);
        if row.call < *outer {
            continue;
        }
        *outer = end;
        let cost = expected.entry(Some(row.callee)).or_default();
        cost.inclusive += (end - row.call) as u64;
        let over = if still_open { simulation.time } else { times.1 };
        cost.inclusive_ticks += over.zip(times.0).map_or(0, |(end, begin)| end.wrapping_sub(begin) as i64);
    }
    let outside = expected.entry(None).or_default();
    outside.inclusive = range.len() as u64;
    let all: i64 = expected.values().map(|cost| cost.own_ticks).sum();
    let keyed = costs.into_iter().enumerate().map(|(nth, cost)| ((nth > 0).then_some(cost.ip), cost));
    let mut found: HashMap<_, _> = keyed.collect();
    let whole = found.get_mut(&None).expect("something is outside any call");
    assert_eq!(whole.inclusive_ticks, all, "{what}");
    whole.inclusive_ticks = 0;
    assert_same(&found, &expected, what);
}
