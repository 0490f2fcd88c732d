//! Histories written down and read again.

use std::sync::Arc;
use std::time::Instant;

use odograph_core::history::{DecodedTrace, Stale};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::config::Config;
use crate::error::{self, Kind, Place};
use crate::history::{borrow_trace, gap_error, options, RawClock, RawHistory, ASK_EVERY};
use crate::mapped;
use crate::timeline::RawMoments;

/// A history, or why there is none.
#[derive(IntoPyObject)]
pub enum Loaded {
    /// What decoding would give.
    History(RawHistory),
    /// What was written down is of something else.
    Stale(String),
}

/// A decoded trace as bytes. `UnsupportedOperation` if callbacks take part, or if it is several traces.
#[pyfunction]
fn save_history<'py>(py: Python<'py>, history: &RawHistory) -> PyResult<Bound<'py, PyBytes>> {
    let unsupported = |message: &str| error::new(py, Kind::UnsupportedOperation, message, Place::default());
    let stream =
        history.stream().ok_or_else(|| unsupported("only a whole trace, decoded by itself, is saved"))?;
    let saved = py.detach(|| stream.save()).map_err(|why| unsupported(&format!("not saved: {why}")))?;
    Ok(PyBytes::new(py, &saved))
}

/// The history that decoding would give, from what `save_history` made; see `RawHistory.decode` for the arguments.
#[pyfunction]
#[pyo3(signature = (saved, trace, moments, config, *, raise_on_gap, to_psb, clock, threads=1, base=0))]
#[allow(clippy::too_many_arguments)]
fn load_history(
    py: Python<'_>,
    saved: &Bound<'_, PyAny>,
    trace: &Bound<'_, PyAny>,
    moments: RawMoments<'_>,
    config: Config,
    raise_on_gap: bool,
    to_psb: bool,
    clock: RawClock,
    threads: usize,
    base: u64,
) -> PyResult<Loaded> {
    let (saved, trace) = (borrow_trace(saved)?, Arc::new(borrow_trace(trace)?));
    let bytes = trace.clone();
    let timeline = moments.timeline();
    let options = options(to_psb, threads);
    let mut raised: Option<PyErr> = None;
    let loaded = py.detach(|| {
        let mut last = Instant::now();
        DecodedTrace::load(saved.as_ref(), trace, &config.0, timeline, options, || {
            if last.elapsed() < ASK_EVERY {
                return false;
            }
            last = Instant::now();
            raised = Python::attach(|py| py.check_signals().err());
            raised.is_some()
        })
    });
    mapped::check(py, (*bytes).as_ref())?;
    match (raised, loaded) {
        (Some(error), Err(Stale::Interrupted)) => Err(error),
        (_, Err(stale)) => Ok(Loaded::Stale(stale.to_string())),
        (_, Ok(stream)) => match stream.gaps().first() {
            Some(gap) if raise_on_gap => Err(gap_error(py, &gap)),
            _ => Ok(Loaded::History(RawHistory::of(stream, base, crate::history::clock(clock)))),
        },
    }
}

/// Adds this room's functions.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(save_history, module)?)?;
    module.add_function(wrap_pyfunction!(load_history, module)?)
}
