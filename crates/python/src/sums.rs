//! What questions give: tables, and sums of parts that were asked elsewhere.

use std::sync::{Mutex, MutexGuard, PoisonError};

use odograph_core::history::{CallTree, Calls, Clock, Counts, Coverage, FunctionCost, Functions, Sum};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error;
use crate::history::{self, RawClock, RawHistory};
use crate::table::{RawTable, TableBuilder};

/// Executions by address: ip, count.
pub fn counts(counts: &Counts) -> PyResult<RawTable> {
    let (ips, counts) = counts.columns();
    TableBuilder::default().u64("ip", ips).u64("count", counts).build()
}

/// Blocks (ip, end_ip, ninsn, count) and edges (from, to, count).
pub fn coverage(coverage: &Coverage) -> PyResult<(RawTable, RawTable)> {
    let (blocks, edges) = (coverage.block_rows(), coverage.edge_rows());
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
    Ok((blocks, edges))
}

/// Call paths: parent, ip, calls, own, own_time.
pub fn paths(calls: Calls<CallTree>, clock: Clock) -> PyResult<RawTable> {
    let nodes = calls.settled().ledger.nodes;
    TableBuilder::default()
        .u64("parent", nodes.iter().map(|node| u64::from(node.parent)).collect())
        .u64("ip", nodes.iter().map(|node| node.ip).collect())
        .u64("calls", nodes.iter().map(|node| node.calls).collect())
        .u64("own", nodes.iter().map(|node| node.own).collect())
        .optional_i64("own_time", nodes.iter().map(|node| clock.span(node.own_ticks)).collect())
        .build()
}

/// What functions cost: ip, calls, own, inclusive, own_time, inclusive_time.
pub fn functions(calls: Calls<Functions>, clock: Clock) -> PyResult<RawTable> {
    let costs = Functions::costs(calls);
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
    /// That of no steps: of "counts", "coverage", "functions" or "paths".
    #[new]
    fn new(py: Python<'_>, name: &str) -> PyResult<RawSum> {
        let none = || error::invalid_argument(py, &format!("there is no sum of {name}"));
        Ok(RawSum(Mutex::new(Sum::named(name).ok_or_else(none)?)))
    }

    /// Adds steps of a history that was decoded, not joined; they follow.
    fn ask(&self, py: Python<'_>, history: PyRef<'_, RawHistory>, start: u64, stop: u64) -> PyResult<()> {
        let none = || error::invalid_argument(py, "only histories of one stream can be asked");
        let stream = history.stream().ok_or_else(none)?.clone();
        // Taken out: while it is asked, Python code may run.
        let mut sum = self.lock().clone();
        let sum = history.asked(py, move |ask| sum.ask(&stream, start, stop, ask).map(|()| sum))?;
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

    /// What is added next belongs to another piece of a history.
    fn break_off(&self) {
        self.lock().break_off();
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes = py.detach(|| self.lock().to_bytes());
        PyBytes::new(py, &bytes)
    }

    /// The tables that a history gives: two for coverage, one for the others.
    fn tables(&self, py: Python<'_>, clock: RawClock) -> PyResult<Vec<RawTable>> {
        let (sum, clock) = (py.detach(|| self.lock().clone()), history::clock(clock));
        match sum {
            Sum::Counts(sum) => Ok(vec![counts(&sum)?]),
            Sum::Coverage(sum) => coverage(&sum).map(|(blocks, edges)| vec![blocks, edges]),
            Sum::Functions(sum) => Ok(vec![functions(sum, clock)?]),
            Sum::Paths(sum) => Ok(vec![paths(sum, clock)?]),
        }
    }
}

/// Adds this room to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawSum>()
}
