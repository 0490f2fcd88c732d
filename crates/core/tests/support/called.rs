//! What the passes over calls say, against the stacks at single steps and the instructions one by one.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use odograph_core::history::{
    fold, CallTree, DecodedTrace, EntryKind, EventColumns, Executions, FunctionCost, Functions,
    InstructionColumns, Ledger, Pairs, Settled, StackFrame, StackPart, Stacks,
};
use odograph_core::instruction::{self, Detail, ExecMode, InstructionClass};

use super::random::Random;

/// A history that is asked for calls.
pub struct Called<'a> {
    stream: &'a Arc<DecodedTrace>,
    all: &'a InstructionColumns,
    events: &'a EventColumns,
    stacks: Stacks,
}

impl<'a> Called<'a> {
    pub fn new(stream: &'a Arc<DecodedTrace>, all: &'a InstructionColumns, events: &'a EventColumns) -> Self {
        let part = StackPart::whole(stream.clone());
        let stacks = Stacks::new(vec![part], false, Arc::default(), Vec::new(), &mut || false).unwrap();
        Called { stream, all, events, stacks }
    }

    /// Compares pairs, paths and functions of a range of steps with each other and with the stacks.
    pub fn check(&self, range: Range<usize>, random: &mut Random, what: &str) {
        let (stacks, steps) = (&self.stacks, range.start as u64..range.end as u64);
        let pairs: Pairs = kept(stacks, &steps).ledger;
        let costs = Functions::costs(kept(stacks, &steps));
        let tree: CallTree = kept(stacks, &steps).ledger;
        if range.start == 0 && range.end == self.all.ip.len() {
            let parts = vec![StackPart::whole(self.stream.clone())];
            let alone: Settled<Pairs> =
                fold(parts, false, Arc::default(), Vec::new(), &mut Executions::default(), &mut || false)
                    .unwrap();
            assert_eq!((&alone.ledger.rows, &alone.ledger.runs), (&pairs.rows, &pairs.runs), "{what}");
        }
        check_every_call_has_a_row(&pairs, self.all, self.stream, self.events, &range, what);
        for _ in 0..8.min(range.len()) {
            check_stack(stacks, &pairs, (range.start + random.below(range.len())) as u64, what);
        }
        // Where a guess was wrong, a call that was taken for over is open again.
        if pairs.revised == 0 {
            check_costs(&pairs, &costs, &tree, &range, what);
        }
        let ticks: i64 = costs.iter().map(|cost| cost.own_ticks).sum();
        assert_eq!(costs[0].inclusive_ticks, ticks, "{what}");
        assert_eq!(tree.nodes.iter().map(|node| node.own_ticks).sum::<i64>(), ticks, "{what}");
    }
}

fn kept<L: Ledger<Note: Send, Line: Send> + Send>(stacks: &Stacks, steps: &Range<u64>) -> Settled<L> {
    stacks.fold(steps.clone(), &mut Executions::default(), &mut || false).expect("nobody interrupts")
}

/// The rows that lie on the running stack before a step, the outermost first.
fn open_at(pairs: &Pairs, step: u64) -> Vec<usize> {
    let ran = pairs.runs.partition_point(|&(from, _)| from <= step);
    let stack = pairs.runs[ran - 1].1;
    let open = |&row: &usize| pairs.rows[row].stack() == stack && pairs.rows[row].is_open_at(step as i64);
    (0..pairs.rows.len()).filter(open).collect()
}

fn check_stack(stacks: &Stacks, pairs: &Pairs, step: u64, what: &str) {
    let stack = stacks.at(step, usize::MAX, &mut || false).unwrap();
    // Frames that are guesses, or that only a later return tells of.
    let is_sure = |frame: &StackFrame| !frame.is_guess && frame.step.is_some();
    if !stack.frames.iter().all(is_sure) {
        return;
    }
    let open = open_at(pairs, step);
    let calls = open.iter().rev().map(|&row| &pairs.rows[row]).filter(|row| row.kind() != EntryKind::Stack);
    let found: Vec<i64> = calls.map(|row| row.call.max(0)).collect();
    // Those below began before the range.
    let shown: Vec<i64> = stack
        .frames
        .iter()
        .take(found.len())
        .map(|frame| frame.step.map_or(-1, |step| step as i64))
        .collect();
    assert_eq!(found, shown, "{what}, stack before step {step}");
    let first = pairs.runs[0].0;
    if let Some(frame) = stack.frames.get(found.len()) {
        assert!(
            frame.step.is_some_and(|step| step < first || step == 0),
            "{what}, step {step}: {frame:?} has no row"
        );
    }
}

/// Calls whose targets are known, but for those that ask where they are.
fn check_every_call_has_a_row(
    pairs: &Pairs,
    all: &InstructionColumns,
    stream: &DecodedTrace,
    events: &EventColumns,
    range: &Range<usize>,
    what: &str,
) {
    let calls = pairs.rows.iter().filter(|row| row.kind() == EntryKind::Call);
    let rows: HashMap<i64, _> = calls.map(|row| (row.call, row)).collect();
    let mut eventful: HashSet<i64> = events.step.iter().copied().collect();
    eventful.extend(stream.gaps().iter().map(|gap| gap.step as i64));
    let pops = |at: usize| {
        matches!(all.raw[16 * at..16 * at + 2], [0x58..=0x5f | 0x8f, _] | [0x40..=0x4f, 0x58..=0x5f | 0x8f])
    };
    for at in range.clone() {
        let insn =
            instruction::decode(&all.raw[16 * at..16 * (at + 1)], ExecMode::Bits64).expect("it was executed");
        let row = rows.get(&(at as i64));
        if insn.class != InstructionClass::Call {
            assert!(row.is_none(), "{what}: step {at} is no call");
            continue;
        }
        let behind = all.ip[at].wrapping_add(u64::from(insn.size));
        let direct = insn.target(all.ip[at]).filter(|_| insn.detail == Detail::Direct);
        let next = all
            .ip
            .get(at + 1)
            .copied()
            .filter(|_| at + 1 < range.end && !eventful.contains(&(at as i64 + 1)));
        let Some(callee) = direct.or(next) else { continue };
        match row {
            Some(row) => assert_eq!((row.caller, row.callee), (all.ip[at], callee), "{what}, step {at}"),
            None => assert!(
                direct == Some(behind) || next.is_none() || pops(at + 1),
                "{what}: the call at step {at} has no row"
            ),
        }
    }
}

/// Costs by functions and paths follow from the rows.
fn check_costs(pairs: &Pairs, costs: &[FunctionCost], tree: &CallTree, range: &Range<usize>, what: &str) {
    let mut paths: HashMap<Vec<u64>, (u64, u64)> = HashMap::new();
    let mut functions: HashMap<Option<u64>, (u64, u64, u64)> = HashMap::new();
    let mut stacks: HashMap<u32, Vec<usize>> = HashMap::new();
    let (mut rows, mut runs) = (0, 0);
    for step in range.start as i64..=range.end as i64 {
        while let Some(row) = pairs.rows.get(rows).filter(|row| row.call < step) {
            let open = stacks.entry(row.stack()).or_default();
            open.retain(|&before| pairs.rows[before].end == i64::MIN || pairs.rows[before].end > row.call);
            open.push(rows);
            functions.entry(Some(row.callee)).or_default().0 += 1;
            let path = open.iter().map(|&row| pairs.rows[row].callee).collect();
            paths.entry(path).or_default().0 += 1;
            rows += 1;
        }
        while pairs.runs.get(runs + 1).is_some_and(|&(from, _)| from as i64 <= step) {
            runs += 1;
        }
        if step == range.end as i64 {
            break;
        }
        let open = stacks.entry(pairs.runs[runs].1).or_default();
        open.retain(|&row| pairs.rows[row].is_open_at(step));
        let path: Vec<u64> = open.iter().map(|&row| pairs.rows[row].callee).collect();
        for callee in path.iter().collect::<HashSet<_>>() {
            functions.entry(Some(*callee)).or_default().2 += 1;
        }
        functions.entry(path.last().copied()).or_default().1 += 1;
        paths.entry(path).or_default().1 += 1;
    }
    assert_eq!(rows, pairs.rows.len(), "{what}");
    let keyed = costs.iter().enumerate().map(|(nth, cost)| {
        ((nth > 0).then_some(cost.ip), (cost.calls, cost.own, if nth == 0 { 0 } else { cost.inclusive }))
    });
    let found: HashMap<_, _> = keyed.collect();
    functions.entry(None).or_default();
    for (callee, expected) in &functions {
        assert_eq!(found.get(callee), Some(expected), "{what}: function {callee:x?}");
    }
    assert_eq!(found.len(), functions.len(), "{what}");
    assert_eq!(costs[0].inclusive, range.len() as u64, "{what}");
    let mut names: Vec<Vec<u64>> = Vec::new();
    let mut found = HashMap::new();
    for node in &tree.nodes {
        let mut path = names.get(node.parent as usize).cloned().unwrap_or_default();
        path.extend((!names.is_empty()).then_some(node.ip));
        assert!(found.insert(path.clone(), (node.calls, node.own)).is_none(), "{what}: a path twice");
        names.push(path);
    }
    paths.entry(Vec::new()).or_default();
    // Calls that begin and end between two steps may lie on others that do, too.
    for (path, expected) in paths.iter().filter(|(_, (_, own))| *own > 0) {
        assert_eq!(found.get(path).map(|found| found.1), Some(expected.1), "{what}: {path:x?}");
    }
    let calls = |all: &HashMap<Vec<u64>, (u64, u64)>| all.values().map(|(calls, _)| calls).sum::<u64>();
    assert_eq!(calls(&found), calls(&paths), "{what}");
}
