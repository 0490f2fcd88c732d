//! Listings of instructions and events, text in pieces.

use odograph_core::config::TraceConfig;
use odograph_core::event::{Event, EventKind};
use odograph_core::memory::MemoryError;
use odograph_listing::instructions::{InstructionListing, InstructionOptions, Progress, StopAt};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::config::Config;
use crate::error::{self, Place};
use crate::history::{borrow_trace, BorrowedTrace};
use crate::image::RawImage;
use crate::mapped;

/// kind, ip, to, tsc, status update; None where it is not known.
type Stop = (&'static str, Option<u64>, Option<u64>, Option<u64>, bool);

fn stop(event: &Event) -> Stop {
    let shown = |ip: u64| (!event.ip_suppressed).then_some(ip);
    let (ip, to) = match event.kind {
        EventKind::AsyncBranch { from, to } => (Some(from), shown(to)),
        EventKind::AsyncDisabled { at, ip } => (Some(at), shown(ip)),
        _ => (event.ip().and_then(shown), None),
    };
    (event.name(), ip, to, event.has_tsc.then_some(event.tsc), event.status_update)
}

/// The instructions, blocks and events of a trace as `ptxed` prints them.
#[pyclass(module = "odograph._native")]
pub struct RawInstructionListing {
    trace: BorrowedTrace,
    listing: InstructionListing,
    text: Vec<u8>,
    ended: bool,
}

#[pymethods]
impl RawInstructionListing {
    /// `options` are names of `InstructionOptions`.
    #[new]
    fn new(
        trace: &Bound<'_, PyAny>,
        config: Config,
        options: Vec<String>,
        image: PyRef<'_, RawImage>,
    ) -> PyResult<Self> {
        let mut chosen = InstructionOptions::default();
        for option in &options {
            if !chosen.set(option) {
                let text = format!("there is no option {option:?}");
                return Err(error::invalid_argument(trace.py(), &text));
            }
        }
        let config = TraceConfig { libipt_compat: true, ..config.0 };
        let listing = InstructionListing::new(&config, chosen, image.snapshot());
        Ok(RawInstructionListing { trace: borrow_trace(trace)?, listing, text: Vec::new(), ended: false })
    }

    /// The next piece of text, and the event it stopped at: one whose time has reached `limit`, or any if `every`.
    #[pyo3(signature = (limit=None, *, every=false))]
    fn next_piece<'py>(
        &mut self,
        py: Python<'py>,
        limit: Option<u64>,
        every: bool,
    ) -> PyResult<(Bound<'py, PyBytes>, Option<Stop>)> {
        let stop_at = match limit {
            _ if every => StopAt::Always,
            Some(limit) => StopAt::Tsc(limit),
            None => StopAt::Never,
        };
        let RawInstructionListing { trace, listing, text, ended } = self;
        let trace = trace.as_ref();
        let progress = py.detach(|| listing.next_piece(trace, stop_at, text));
        mapped::check(py, trace)?;
        let event = match progress {
            Progress::More => None,
            Progress::Event(event) => Some(stop(&event)),
            Progress::End => {
                *ended = true;
                None
            }
            Progress::Foreign(object) => {
                return Err(error::memory(py, &MemoryError::Foreign(object), None, Place::default()));
            }
        };
        let piece = PyBytes::new(py, text);
        text.clear();
        Ok((piece, event))
    }

    /// There are no more pieces.
    #[getter]
    fn ended(&self) -> bool {
        self.ended
    }

    /// The number of instructions listed so far.
    #[getter]
    fn instructions(&self) -> u64 {
        self.listing.instructions()
    }

    /// The number of blocks listed so far; 0 with the instruction decoder.
    #[getter]
    fn blocks(&self) -> u64 {
        self.listing.blocks()
    }

    /// Code behind the last event is read from another image.
    fn set_image(&mut self, image: PyRef<'_, RawImage>) {
        self.listing.set_image(image.snapshot());
    }
}

/// Adds this room's class.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawInstructionListing>()
}
