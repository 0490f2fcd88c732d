//! Events, one at a time, and queries that events answer.

use odograph_core::error::PtError;
use odograph_core::event::{Event, EventDecoder, EventKind, EventTime, QueryDecoder, Status};
use odograph_core::time::Time;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::config::{Config, UnknownSizes};
use crate::error::{self, Kind, Place};
use crate::history::{borrow_trace, BorrowedTrace};
use crate::mapped;

/// tsc, has tsc, lost mtc, lost cyc.
pub type RawTime = (u64, bool, u32, u32);

/// kind, fields, ip suppressed, status update, has tsc, tsc, lost mtc, lost cyc, offset.
pub type RawEvent<'py> = (&'static str, Bound<'py, PyDict>, bool, bool, bool, u64, u32, u32, u64);

/// An event for `odograph.decoders.events.Event`. An address that is suppressed is None; `from` is called `from_`.
pub fn to_python<'py>(py: Python<'py>, event: &Event) -> PyResult<RawEvent<'py>> {
    let fields = PyDict::new(py);
    macro_rules! set {
        ($($name:ident),*) => {{ $( fields.set_item(stringify!($name), $name)?; )* }};
    }
    match event.kind {
        EventKind::Enabled { resumed, .. } => set!(resumed),
        EventKind::AsyncDisabled { at, .. } => set!(at),
        EventKind::AsyncBranch { from, to } => {
            fields.set_item("from_", from)?;
            fields.set_item("to", (!event.ip_suppressed).then_some(to))?;
        }
        EventKind::Paging { cr3, non_root } | EventKind::AsyncPaging { cr3, non_root, .. } => {
            set!(cr3, non_root);
        }
        EventKind::ExecMode { mode, .. } => fields.set_item("mode", mode as u8)?,
        EventKind::Tsx { speculative, aborted, .. } => set!(speculative, aborted),
        EventKind::Vmcs { base } | EventKind::AsyncVmcs { base, .. } => set!(base),
        EventKind::Mwait { hints, ext, .. } => set!(hints, ext),
        EventKind::Pwre { state, sub_state, hw } => set!(state, sub_state, hw),
        EventKind::Pwrx { last, deepest, interrupt, store, autonomous } => {
            set!(last, deepest, interrupt, store, autonomous);
        }
        EventKind::Ptwrite { size, payload, .. } => set!(size, payload),
        EventKind::Cbr { ratio } => set!(ratio),
        EventKind::Mnt { payload } => set!(payload),
        EventKind::Tnt { bits, size } => set!(bits, size),
        EventKind::Iflags { iflag, .. } => set!(iflag),
        EventKind::Interrupt { vector, cr2, .. } => set!(vector, cr2),
        EventKind::Sipi { vector } | EventKind::Uintr { vector, .. } | EventKind::Swintr { vector, .. } => {
            set!(vector);
        }
        EventKind::Vmexit { vector, vmxr, vmxq, .. } => set!(vector, vmxr, vmxq),
        EventKind::Trig { trbv, icnt, mult, .. } => set!(trbv, icnt, mult),
        EventKind::Disabled { .. }
        | EventKind::Overflow { .. }
        | EventKind::Stop
        | EventKind::Exstop { .. }
        | EventKind::Tick { .. }
        | EventKind::Tip { .. }
        | EventKind::Iret { .. }
        | EventKind::Smi { .. }
        | EventKind::Rsm
        | EventKind::Init { .. }
        | EventKind::Vmentry { .. }
        | EventKind::Shutdown { .. }
        | EventKind::Uiret { .. }
        | EventKind::Syscall { .. } => {}
    }
    if let (Some(ip), false) = (event.ip(), matches!(event.kind, EventKind::AsyncBranch { .. })) {
        fields.set_item("ip", (!event.ip_suppressed).then_some(ip))?;
    }
    Ok((
        event.name(),
        fields,
        event.ip_suppressed,
        event.status_update,
        event.has_tsc,
        event.tsc,
        event.lost_mtc,
        event.lost_cyc,
        event.offset,
    ))
}

/// The clock itself as Python sees it.
pub fn raw_time(time: &Time) -> RawTime {
    let (lost_mtc, lost_cyc) = time.lost();
    (time.tsc(), time.has_tsc(), lost_mtc, lost_cyc)
}

/// The time of an event as Python sees it.
pub fn event_time(time: EventTime) -> RawTime {
    (time.tsc, time.has_tsc, time.lost_mtc, time.lost_cyc)
}

/// The exception for an error at an offset of the trace, or the one that a callback raised.
fn failed(py: Python<'_>, unknown: &UnknownSizes, code: PtError, offset: u64) -> PyErr {
    let place = Place { offset: Some(offset), ..Place::default() };
    unknown.raised(py).unwrap_or_else(|| error::pt(py, Kind::Trace, code, code.message(), place))
}

/// Walks over the events of a trace.
#[pyclass(module = "odograph._native")]
pub struct RawEventDecoder {
    trace: BorrowedTrace,
    events: EventDecoder,
    unknown: UnknownSizes,
}

#[pymethods]
impl RawEventDecoder {
    #[new]
    fn new(trace: &Bound<'_, PyAny>, config: Config) -> PyResult<Self> {
        let Config(config, unknown) = config;
        Ok(RawEventDecoder { trace: borrow_trace(trace)?, events: EventDecoder::new(&config), unknown })
    }

    #[getter]
    fn synced(&self) -> bool {
        self.events.is_synced()
    }

    #[getter]
    fn offset(&self) -> u64 {
        self.events.offset()
    }

    #[getter]
    fn sync_offset(&self) -> u64 {
        self.events.sync_offset()
    }

    #[getter]
    fn time(&self) -> RawTime {
        raw_time(self.events.time())
    }

    fn sync_forward(&mut self, py: Python<'_>) -> PyResult<()> {
        let synced = self.events.sync_forward(self.trace.as_ref());
        synced.map_err(|code| failed(py, &self.unknown, code, self.events.offset()))
    }

    /// `incomplete`: a PSB+ that is cut off is an error rather than passed over.
    #[pyo3(signature = (incomplete=false))]
    fn sync_backward(&mut self, py: Python<'_>, incomplete: bool) -> PyResult<()> {
        let synced = if incomplete {
            self.events.sync_backward_to_any(self.trace.as_ref())
        } else {
            self.events.sync_backward(self.trace.as_ref())
        };
        synced.map_err(|code| failed(py, &self.unknown, code, self.events.offset()))
    }

    fn sync_set(&mut self, py: Python<'_>, offset: u64) -> PyResult<()> {
        let synced = self.events.sync_set(self.trace.as_ref(), offset);
        synced.map_err(|code| failed(py, &self.unknown, code, offset))
    }

    /// The next event, None at the end. TNT and TIP are events here.
    fn next<'py>(&mut self, py: Python<'py>) -> PyResult<Option<RawEvent<'py>>> {
        match self.events.next(self.trace.as_ref()) {
            Ok(event) => to_python(py, &event).map(Some),
            Err(PtError::Eos) => Ok(None),
            Err(code) => {
                mapped::check(py, self.trace.as_ref())?;
                Err(failed(py, &self.unknown, code, self.events.offset()))
            }
        }
    }
}

/// Answers queries about branches, and gives the events between them. Every answer comes with status bits.
#[pyclass(module = "odograph._native")]
pub struct RawQueryDecoder {
    trace: BorrowedTrace,
    queries: QueryDecoder,
    unknown: UnknownSizes,
}

impl RawQueryDecoder {
    fn answer<T>(&self, py: Python<'_>, answer: Result<(T, Status), PtError>) -> PyResult<(T, u8)> {
        match answer {
            Ok((value, status)) => Ok((value, status.bits())),
            Err(code) => {
                mapped::check(py, self.trace.as_ref())?;
                Err(failed(py, &self.unknown, code, self.queries.events().offset()))
            }
        }
    }
}

#[pymethods]
impl RawQueryDecoder {
    #[new]
    fn new(trace: &Bound<'_, PyAny>, config: Config) -> PyResult<Self> {
        let Config(config, unknown) = config;
        Ok(RawQueryDecoder { trace: borrow_trace(trace)?, queries: QueryDecoder::new(&config), unknown })
    }

    #[getter]
    fn synced(&self) -> bool {
        self.queries.events().is_synced()
    }

    #[getter]
    fn offset(&self) -> u64 {
        self.queries.events().offset()
    }

    #[getter]
    fn sync_offset(&self) -> u64 {
        self.queries.events().sync_offset()
    }

    #[getter]
    fn time(&self) -> RawTime {
        event_time(self.queries.time())
    }

    #[getter]
    fn core_bus_ratio(&self) -> Option<u8> {
        self.queries.core_bus_ratio()
    }

    fn sync_forward(&mut self, py: Python<'_>) -> PyResult<(Option<u64>, u8)> {
        let synced = self.queries.sync_forward(self.trace.as_ref());
        self.answer(py, synced)
    }

    fn sync_backward(&mut self, py: Python<'_>) -> PyResult<(Option<u64>, u8)> {
        let synced = self.queries.sync_backward(self.trace.as_ref());
        self.answer(py, synced)
    }

    fn sync_set(&mut self, py: Python<'_>, offset: u64) -> PyResult<(Option<u64>, u8)> {
        let synced = self.queries.sync_set(self.trace.as_ref(), offset);
        self.answer(py, synced)
    }

    fn cond_branch(&mut self, py: Python<'_>) -> PyResult<(bool, u8)> {
        let taken = self.queries.cond_branch(self.trace.as_ref());
        self.answer(py, taken)
    }

    fn indirect_branch(&mut self, py: Python<'_>) -> PyResult<(Option<u64>, u8)> {
        let ip = self.queries.indirect_branch(self.trace.as_ref());
        self.answer(py, ip)
    }

    /// What comes next, None at the end. TNT and TIP are events here.
    fn next<'py>(&mut self, py: Python<'py>) -> PyResult<Option<RawEvent<'py>>> {
        match self.queries.next(self.trace.as_ref()) {
            Ok(event) => to_python(py, &event).map(Some),
            Err(PtError::Eos) => Ok(None),
            Err(code) => {
                mapped::check(py, self.trace.as_ref())?;
                Err(failed(py, &self.unknown, code, self.queries.events().offset()))
            }
        }
    }

    fn event<'py>(&mut self, py: Python<'py>) -> PyResult<(RawEvent<'py>, u8)> {
        let event = self.queries.event(self.trace.as_ref());
        let (event, status) = self.answer(py, event)?;
        Ok((to_python(py, &event)?, status))
    }
}

/// Adds this room's classes.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawEventDecoder>()?;
    module.add_class::<RawQueryDecoder>()
}
