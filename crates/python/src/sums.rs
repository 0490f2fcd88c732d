//! Sums of what was asked of parts of a history, here or elsewhere.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use odograph_core::history::{Names, Rows, StackPart, Sum};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::answers;
use crate::error;
use crate::history::{self, RawClock, RawHistory};
use crate::stack::{self, Open, RawEntries};
use crate::table::RawTable;

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
        let part = StackPart { first: start, end: stop, within, functions, ..StackPart::whole(stream) };
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
            Sum::Counts(sum) => (vec![answers::counts(&sum, &all)?], Open::default()),
            Sum::Coverage(sum) => (answers::coverage(&sum, &all)?, Open::default()),
            Sum::Functions(sum) => {
                let settled = py.detach(|| sum.settled(is_first, names, programs));
                let open = stack::open(&settled.unexplained, &settled.found);
                (vec![answers::functions(settled, clock, &all)?], open)
            }
            Sum::Paths(sum) => {
                let settled = py.detach(|| sum.settled(is_first, names, programs));
                let open = stack::open(&settled.unexplained, &settled.found);
                (vec![answers::paths(settled, clock, &all)?], open)
            }
            Sum::Pairs(sum) => {
                let settled = py.detach(|| sum.settled(is_first, names, programs));
                let open = stack::open(&settled.unexplained, &settled.found);
                (answers::pairs(settled, &all)?, open)
            }
        })
    }
}

/// Adds this room to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawSum>()
}
