//! What questions give, as tables.

use odograph_core::history::{
    CallPair, CallTree, Clock, Counts, Coverage, FunctionCost, Functions, Pairs, Rows, Settled,
};
use pyo3::prelude::*;

use crate::table::{RawTable, TableBuilder};

/// Executions by address: ip, count.
pub fn counts(counts: &Counts, wanted: &Rows) -> PyResult<RawTable> {
    let (ips, counts) = counts.columns();
    let rows = ips.into_iter().zip(counts).filter(|&(ip, _)| wanted.has(ip));
    let (ips, counts) = rows.unzip();
    TableBuilder::default().u64("ip", ips).u64("count", counts).build()
}

/// Blocks (ip, end_ip, ninsn, count) and edges (from, to, count).
pub fn coverage(coverage: &Coverage, wanted: &Rows) -> PyResult<Vec<RawTable>> {
    let (mut blocks, mut edges) = (coverage.block_rows(), coverage.edge_rows());
    blocks.retain(|row| wanted.has(row.0));
    edges.retain(|row| wanted.touches(row.0, row.1));
    let blocks = TableBuilder::default()
        .u64("ip", blocks.iter().map(|row| row.0).collect())
        .u64("end_ip", blocks.iter().map(|row| row.1).collect())
        .u16("ninsn", blocks.iter().map(|row| row.2).collect())
        .u64("count", blocks.iter().map(|row| row.3).collect())
        .build()?;
    let edges = TableBuilder::default()
        .u64("from", edges.iter().map(|row| row.0).collect())
        .u64("to", edges.iter().map(|row| row.1).collect())
        .u64("count", edges.iter().map(|row| row.2).collect())
        .build()?;
    Ok(vec![blocks, edges])
}

/// Call paths: parent, ip, calls, own, own_time.
pub fn paths(settled: Settled<CallTree>, clock: Clock, wanted: &Rows) -> PyResult<RawTable> {
    let nodes = wanted.paths(&settled.ledger.pruned());
    TableBuilder::default()
        .u64("parent", nodes.iter().map(|node| u64::from(node.parent)).collect())
        .u64("ip", nodes.iter().map(|node| node.ip).collect())
        .u64("calls", nodes.iter().map(|node| node.calls).collect())
        .u64("own", nodes.iter().map(|node| node.own).collect())
        .optional_i64("own_time", nodes.iter().map(|node| clock.span(node.own_ticks)).collect())
        .build()
}

/// Calls: call, end, caller, callee, depth, kind, stack, inclusive; and from which step on which stack ran: step, stack.
pub fn pairs(settled: Settled<Pairs>, wanted: &Rows) -> PyResult<Vec<RawTable>> {
    let Pairs { mut rows, runs, .. } = settled.ledger;
    rows.retain(|row| wanted.has_call(row));
    // What was over before the first step was not there then.
    let end = |row: &CallPair| if row.end == CallPair::OPEN { -1 } else { row.end.max(0) };
    let calls = TableBuilder::default()
        .i64("call", rows.iter().map(|row| row.call).collect())
        .i64("end", rows.iter().map(end).collect())
        .u64("caller", rows.iter().map(|row| row.caller).collect())
        .u64("callee", rows.iter().map(|row| row.callee).collect())
        .u32("depth", rows.iter().map(|row| row.depth).collect())
        .words(
            "kind",
            rows.iter().map(|row| row.kind() as i16).collect(),
            &["call", "interrupt", "stack", "tail"],
        )
        .u32("stack", rows.iter().map(|row| row.stack()).collect())
        .u64("inclusive", rows.iter().map(|row| row.inclusive).collect())
        .build()?;
    let runs = TableBuilder::default()
        .i64("step", runs.iter().map(|run| run.0 as i64).collect())
        .u32("stack", runs.iter().map(|run| run.1).collect())
        .build()?;
    Ok(vec![calls, runs])
}

/// What functions cost: ip, calls, own, inclusive, own_time, inclusive_time.
pub fn functions(settled: Settled<Functions>, clock: Clock, wanted: &Rows) -> PyResult<RawTable> {
    let mut costs = Functions::costs(settled);
    costs.retain(|cost| wanted.is_dear(cost.inclusive) && wanted.has(cost.ip));
    let times = |ticks: fn(&FunctionCost) -> i64| costs.iter().map(|cost| clock.span(ticks(cost))).collect();
    TableBuilder::default()
        .u64("ip", costs.iter().map(|cost| cost.ip).collect())
        .u64("calls", costs.iter().map(|cost| cost.calls).collect())
        .u64("own", costs.iter().map(|cost| cost.own).collect())
        .u64("inclusive", costs.iter().map(|cost| cost.inclusive).collect())
        .optional_i64("own_time", times(|cost| cost.own_ticks))
        .optional_i64("inclusive_time", times(|cost| cost.inclusive_ticks))
        .build()
}
