//! Listings of packets, text in pieces.

use odograph_listing::fields::{FieldListing, FieldOptions};
use odograph_listing::packets::{PacketListing, PacketOptions, Progress};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::argument::Number;
use crate::config::Config;
use crate::error;
use crate::history::{borrow_trace, BorrowedTrace};
use crate::mapped;

/// The packets of a trace as `ptdump` prints them.
#[pyclass(module = "odograph._native")]
pub struct RawPacketListing {
    trace: BorrowedTrace,
    listing: PacketListing,
    ended: bool,
}

#[pymethods]
impl RawPacketListing {
    /// `options` are names of `PacketOptions`.
    #[new]
    fn new(trace: &Bound<'_, PyAny>, config: Config, options: Vec<String>) -> PyResult<Self> {
        let mut chosen = PacketOptions::default();
        for option in &options {
            if !chosen.set(option) {
                let text = format!("there is no option {option:?}");
                return Err(error::invalid_argument(trace.py(), &text));
            }
        }
        let listing = PacketListing::new(&config.0, chosen);
        Ok(RawPacketListing { trace: borrow_trace(trace)?, listing, ended: false })
    }

    /// The next piece of text, and the time if the piece ended because it reached `limit`.
    #[pyo3(signature = (limit=None))]
    fn next_piece<'py>(
        &mut self,
        py: Python<'py>,
        limit: Option<u64>,
    ) -> PyResult<(Bound<'py, PyBytes>, Option<u64>)> {
        let mut text = Vec::new();
        let (trace, listing) = (self.trace.as_ref(), &mut self.listing);
        let progress = py.detach(|| listing.next_piece(trace, limit, &mut text));
        mapped::check(py, trace)?;
        self.ended = progress == Progress::End;
        let reached = match progress {
            Progress::Reached(tsc) => Some(tsc),
            Progress::More | Progress::End => None,
        };
        Ok((PyBytes::new(py, &text), reached))
    }

    /// There are no more pieces.
    #[getter]
    fn ended(&self) -> bool {
        self.ended
    }
}

/// The packets of a trace with all their fields by name, as lines or JSON objects.
#[pyclass(module = "odograph._native")]
pub struct RawFieldListing {
    trace: BorrowedTrace,
    listing: FieldListing,
    ended: bool,
}

#[pymethods]
impl RawFieldListing {
    /// Packets of these kinds (all if there are none) that begin at `first` or behind it, and before `last`.
    #[new]
    #[pyo3(signature = (trace, kinds, first, last, *, json, stream, numbered))]
    fn new(
        trace: &Bound<'_, PyAny>,
        kinds: Vec<String>,
        first: Number,
        last: Option<Number>,
        json: bool,
        stream: u64,
        numbered: bool,
    ) -> PyResult<Self> {
        let offset = |number: Number| usize::try_from(number.0).unwrap_or(usize::MAX);
        let (first, end) = (offset(first), last.map(offset));
        let listing = FieldListing::new(FieldOptions { kinds, first, end, json, stream, numbered });
        Ok(RawFieldListing { trace: borrow_trace(trace)?, listing, ended: false })
    }

    /// The next piece of text.
    fn next_piece(&mut self, py: Python<'_>) -> PyResult<String> {
        let mut text = Vec::new();
        let (trace, listing) = (self.trace.as_ref(), &mut self.listing);
        self.ended = !py.detach(|| listing.next_piece(trace, &mut text));
        mapped::check(py, trace)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// There are no more pieces.
    #[getter]
    fn ended(&self) -> bool {
        self.ended
    }
}

/// Adds this room's classes.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawPacketListing>()?;
    module.add_class::<RawFieldListing>()
}
