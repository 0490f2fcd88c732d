//! What questions give: tables, and sums of parts that were asked elsewhere.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use odograph_core::history::{
    CallPair, CallTree, Clock, Counts, Coverage, FunctionCost, Functions, Names, Pairs, Rows, Settled,
    StackPart, Sum,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error;
use crate::history::{self, RawClock, RawHistory};
use crate::stack::{self, Open, RawEntries};
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

/// Where functions begin, where that knowledge ends, and landing pads: see [`RawStacks`](crate::stack).
type KnownNames = (Vec<u64>, Vec<u64>, Vec<(u64, u64, u64)>);

/// What some consecutive steps came to.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawSum(Mutex<Sum>);

impl RawSum {
    // No Python code runs under this lock.
    fn lock(&self) -> MutexGuard<'_, Sum> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl RawSum {
    /// That of no steps: of "counts", "coverage", "functions", "paths" or "pairs".
    #[new]
    fn new(py: Python<'_>, name: &str) -> PyResult<RawSum> {
        let none = || error::invalid_argument(py, &format!("there is no sum of {name}"));
        Ok(RawSum(Mutex::new(Sum::named(name).ok_or_else(none)?)))
    }

    /// Adds steps of a history that was decoded, not joined; they follow. Only events count whose packets lie at these trace
    /// offsets.
    fn ask(
        &self,
        py: Python<'_>,
        history: PyRef<'_, RawHistory>,
        start: u64,
        stop: u64,
        offsets: (u64, u64),
        functions: &RawEntries,
    ) -> PyResult<()> {
        let none = || error::invalid_argument(py, "only histories of one stream can be asked");
        let stream = history.stream().ok_or_else(none)?.clone();
        let within: Range<u64> = offsets.0..offsets.1;
        let functions = functions.0.clone();
        let part = StackPart { first: start, last: stop, within, functions, ..StackPart::whole(stream) };
        // Taken out: while it is asked, Python code may run.
        let mut sum = self.lock().clone();
        let sum = history.asked(py, move |ask| sum.ask(&part, ask).map(|()| sum))?;
        *self.lock() = sum;
        Ok(())
    }

    /// Adds a sum as bytes, of steps that follow; `by` is added to their numbers.
    fn add(&self, py: Python<'_>, sum: &[u8], by: i64) -> PyResult<()> {
        let merged = py.detach(|| {
            let mut sum = Sum::from_bytes(sum)?;
            sum.move_by(by);
            Some(self.lock().merge(sum))
        });
        match merged {
            Some(true) => Ok(()),
            _ => Err(error::invalid_argument(py, "these bytes are no such sum")),
        }
    }

    /// What is added next belongs to another piece of a history; `lost`: trace bytes are missing in between.
    fn break_off(&self, lost: bool) {
        self.lock().break_off(lost);
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes = py.detach(|| self.lock().to_bytes());
        PyBytes::new(py, &bytes)
    }

    /// The tables that a history gives: two for coverage and pairs, one for the others; and what is
    /// open. For the names see [`RawStacks`](crate::stack).
    fn tables(
        &self,
        py: Python<'_>,
        clock: RawClock,
        is_first: bool,
        names: KnownNames,
        programs: Vec<u64>,
    ) -> PyResult<(Vec<RawTable>, Open)> {
        let (sum, clock) = (py.detach(|| self.lock().clone()), history::clock(clock));
        let names = Arc::new(Names::new(names.0, names.1, names.2));
        let all = Rows::default();
        Ok(match sum {
            Sum::Counts(sum) => (vec![counts(&sum, &all)?], Open::default()),
            Sum::Coverage(sum) => (coverage(&sum, &all)?, Open::default()),
            Sum::Functions(sum) => {
                let settled = py.detach(|| sum.settled(is_first, names, programs));
                let open = stack::open(&settled.unexplained, &settled.found);
                (vec![functions(settled, clock, &all)?], open)
            }
            Sum::Paths(sum) => {
                let settled = py.detach(|| sum.settled(is_first, names, programs));
                let open = stack::open(&settled.unexplained, &settled.found);
                (vec![paths(settled, clock, &all)?], open)
            }
            Sum::Pairs(sum) => {
                let settled = py.detach(|| sum.settled(is_first, names, programs));
                let open = stack::open(&settled.unexplained, &settled.found);
                (pairs(settled, &all)?, open)
            }
        })
    }
}

/// Adds this room to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawSum>()
}
