//! Histories put together from parts that are decoded elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use odograph_core::history::{Assembly, Clock, Part, PartPlace};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::config::{Config, UnknownSizes};
use crate::error;
use crate::history::{self, RawClock, RawHistory};
use crate::timeline::RawMoments;

/// A trace that is put together from its parts.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawAssembly {
    /// None when it is finished.
    assembly: Mutex<Option<Assembly>>,
    unknown: UnknownSizes,
    clock: Clock,
    base: u64,
}

impl RawAssembly {
    // No Python code runs under this lock but `progress`, which has no way to this object.
    fn lock(&self) -> MutexGuard<'_, Option<Assembly>> {
        self.assembly.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn finished(py: Python<'_>) -> PyErr {
    error::invalid_argument(py, "this assembly is finished")
}

/// A history, if its file is what it was.
fn checked(py: Python<'_>, history: RawHistory) -> PyResult<RawHistory> {
    history.check(py).map(|()| history)
}

#[pymethods]
impl RawAssembly {
    /// Divides a trace into parts of about `size` bytes. `moments`, `clock` and `base` as for `RawHistory.decode`;
    /// the history answers questions on `threads` threads.
    #[new]
    #[pyo3(signature = (trace, moments, config, *, to_psb, clock, threads, size, base=0))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        trace: &Bound<'_, PyAny>,
        moments: RawMoments<'_>,
        config: Config,
        to_psb: bool,
        clock: RawClock,
        threads: usize,
        size: u64,
        base: u64,
    ) -> PyResult<RawAssembly> {
        let trace = Arc::new(history::borrow_trace(trace)?);
        let timeline = moments.timeline();
        let Config(config, unknown) = config;
        let options = history::options(to_psb, threads);
        let assembly = py.detach(|| Assembly::new(trace, &config, timeline, options, size));
        let assembly = Mutex::new(Some(assembly));
        Ok(RawAssembly { assembly, unknown, clock: history::clock(clock), base })
    }

    /// (number, offset of the first byte that decoding it reads, offset behind the last one, the place) of the parts
    /// to decode elsewhere.
    fn places<'py>(&self, py: Python<'py>) -> Vec<(usize, u64, u64, Bound<'py, PyBytes>)> {
        let places = py.detach(|| self.lock().as_ref().map(Assembly::places)).unwrap_or_default();
        let fields = |place: PartPlace| {
            let bytes = PyBytes::new(py, &place.to_bytes());
            (place.number, place.bytes.start, place.bytes.end, bytes)
        };
        places.into_iter().map(fields).collect()
    }

    /// Number of the part that is taken in next; None when there is none.
    #[getter]
    fn wanted(&self) -> Option<usize> {
        self.lock().as_ref().and_then(Assembly::wanted)
    }

    /// The trace offset up to which everything is put together.
    #[getter]
    fn reached(&self) -> u64 {
        self.lock().as_ref().map_or(0, Assembly::reached)
    }

    /// Steps put together so far.
    #[getter]
    fn steps(&self) -> u64 {
        self.lock().as_ref().map_or(0, Assembly::steps)
    }

    /// Takes in a part from `decode_part`; False for other bytes, for another part than the wanted one, and for one that does not fit.
    fn add(&self, py: Python<'_>, part: &[u8]) -> bool {
        py.detach(|| match (self.lock().as_mut(), Part::from_bytes(part)) {
            (Some(assembly), Some(part)) => assembly.add(part),
            _ => false,
        })
    }

    /// Decodes the part that is wanted, perhaps more, and gives a history whose last steps, from what were `steps`
    /// before, are what was decoded. `progress(offset)` is called now and then.
    #[pyo3(signature = (progress=None))]
    fn decode_here(&self, py: Python<'_>, progress: Option<Py<PyAny>>) -> PyResult<RawHistory> {
        // Taken out: a signal's handler may run Python code that comes back here.
        let mut assembly = py.detach(|| self.lock().take()).ok_or_else(|| finished(py))?;
        let done = history::decoded(py, progress, &self.unknown, |stop| assembly.decode_here(stop));
        py.detach(|| self.lock().replace(assembly));
        checked(py, RawHistory::of(done?, self.base, self.clock))
    }

    /// The history; nothing is left here. What is still missing is decoded.
    fn finish(&self, py: Python<'_>) -> PyResult<RawHistory> {
        let assembly = py.detach(|| self.lock().take()).ok_or_else(|| finished(py))?;
        let stream = history::decoded(py, None, &self.unknown, |stop| assembly.finish(stop))?;
        checked(py, RawHistory::of(stream, self.base, self.clock))
    }
}

/// Decodes the part at a place, from its own bytes: what `RawAssembly.add` takes, and the part's own history, whose
/// steps count from the part's first. None if it takes more than these bytes.
#[pyfunction]
#[pyo3(signature = (place, trace, moments, config, *, to_psb, clock))]
fn decode_part<'py>(
    py: Python<'py>,
    place: &[u8],
    trace: &Bound<'py, PyAny>,
    moments: RawMoments<'py>,
    config: Config,
    to_psb: bool,
    clock: RawClock,
) -> PyResult<Option<(Bound<'py, PyBytes>, RawHistory)>> {
    let place = PartPlace::from_bytes(place)
        .ok_or_else(|| error::invalid_argument(py, "this is no place of a part"))?;
    let trace = Arc::new(history::borrow_trace(trace)?);
    let timeline = moments.timeline();
    let options = history::options(to_psb, 1);
    let decoded = py.detach(|| {
        let (part, stream) = place.decode(trace, &config.0, timeline, options, |_| false)?;
        Some((part.to_bytes(), stream))
    });
    let clock = history::clock(clock);
    let Some((part, stream)) = decoded else { return Ok(None) };
    Ok(Some((PyBytes::new(py, &part), checked(py, RawHistory::of(stream, 0, clock))?)))
}

/// Adds this room to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawAssembly>()?;
    module.add_function(wrap_pyfunction!(decode_part, module)?)
}
