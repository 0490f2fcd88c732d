//! Blocks and instructions, one at a time. Statuses and errors cross as libipt's numbers, as they are no surprises here.

use odograph_core::asid::Asid;
use odograph_core::error::PtError;
use odograph_core::event::{Event, Status};
use odograph_core::flow::{Block, BlockDecoder, BlockOptions, CodeError, Insn, InstructionDecoder};
use odograph_core::memory::MemoryError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::config::{Config, UnknownSizes};
use crate::error::{self, Place};
use crate::event::{event_time, to_python, RawEvent, RawTime};
use crate::history::{borrow_trace, BorrowedTrace};
use crate::image::RawImage;

/// ip, size, raw, iclass, truncated.
type RawInstruction<'py> = (u64, u8, Bound<'py, PyBytes>, u8, bool);
/// ip, end_ip, isid, mode, iclass, ninsn, raw (empty unless truncated), speculative, truncated.
type RawBlock<'py> = (u64, u64, i32, u8, u8, u16, Bound<'py, PyBytes>, bool, bool);
/// ip, isid, mode, iclass, raw, speculative, truncated.
type RawInsn<'py> = (u64, i32, u8, u8, Bound<'py, PyBytes>, bool, bool);
/// A status, or the negative of a libipt error; then the exception of a callback, if that was the error.
type Answer<'py> = (i32, Option<Bound<'py, PyAny>>);

fn asid(asid: Asid) -> (Option<u64>, Option<u64>) {
    (asid.cr3, asid.vmcs)
}

fn options(end_on_call: bool, end_on_jump: bool, tick_events: bool) -> BlockOptions {
    BlockOptions { end_on_call, end_on_jump, tick_events }
}

fn answer<'py>(py: Python<'py>, unknown: &UnknownSizes, result: Result<Status, CodeError>) -> Answer<'py> {
    let (code, raised) = match result {
        Ok(status) => (i32::from(status.bits()), None),
        Err(CodeError::Pt(code)) => (-i32::from(code.code()), unknown.raised(py)),
        Err(CodeError::Foreign(object)) => {
            let raised = error::memory(py, &MemoryError::Foreign(object), None, Place::default());
            (-i32::from(PtError::Internal.code()), Some(raised))
        }
    };
    (code, raised.map(|raised| raised.into_value(py).into_bound(py).into_any()))
}

fn event_answer<'py>(
    py: Python<'py>,
    unknown: &UnknownSizes,
    result: Result<(Event, Status), CodeError>,
) -> PyResult<(Answer<'py>, Option<RawEvent<'py>>)> {
    match result {
        Ok((event, status)) => Ok((answer(py, unknown, Ok(status)), Some(to_python(py, &event)?))),
        Err(error) => Ok((answer(py, unknown, Err(error)), None)),
    }
}

/// Walks over the blocks and events of a trace.
#[pyclass(module = "odograph._native")]
pub struct RawBlockDecoder {
    trace: BorrowedTrace,
    decoder: BlockDecoder,
    unknown: UnknownSizes,
}

/// Walks over the instructions and events of a trace.
#[pyclass(module = "odograph._native")]
pub struct RawInstructionDecoder {
    trace: BorrowedTrace,
    decoder: InstructionDecoder,
    unknown: UnknownSizes,
}

/// Both have the same methods but for `next`; `#[pymethods]` allows one block a class, so the rest comes in here.
macro_rules! walker {
    ($class:ident, $decoder:ident, { $($own:tt)* }) => {
        #[pymethods]
        impl $class {
            #[new]
            #[pyo3(signature = (trace, config, image, end_on_call=false, end_on_jump=false, tick_events=false))]
            fn new(
                trace: &Bound<'_, PyAny>,
                config: Config,
                image: PyRef<'_, RawImage>,
                end_on_call: bool,
                end_on_jump: bool,
                tick_events: bool,
            ) -> PyResult<Self> {
                let Config(config, unknown) = config;
                let options = options(end_on_call, end_on_jump, tick_events);
                let decoder = $decoder::new(&config, options, image.snapshot());
                Ok($class { trace: borrow_trace(trace)?, decoder, unknown })
            }

            #[getter]
            fn synced(&self) -> bool {
                self.decoder.is_synced()
            }

            #[getter]
            fn offset(&self) -> u64 {
                self.decoder.offset()
            }

            #[getter]
            fn sync_offset(&self) -> u64 {
                self.decoder.sync_offset()
            }

            #[getter]
            fn ip(&self) -> u64 {
                self.decoder.ip()
            }

            #[getter]
            fn time(&self) -> RawTime {
                event_time(self.decoder.time())
            }

            #[getter]
            fn core_bus_ratio(&self) -> Option<u8> {
                self.decoder.core_bus_ratio()
            }

            #[getter]
            fn asid(&self) -> (Option<u64>, Option<u64>) {
                asid(self.decoder.asid())
            }

            fn set_image(&mut self, image: PyRef<'_, RawImage>) {
                self.decoder.set_image(image.snapshot());
            }

            fn sync_forward<'py>(&mut self, py: Python<'py>) -> Answer<'py> {
                let synced = self.decoder.sync_forward(self.trace.as_ref());
                answer(py, &self.unknown, synced)
            }

            fn sync_backward<'py>(&mut self, py: Python<'py>) -> Answer<'py> {
                let synced = self.decoder.sync_backward(self.trace.as_ref());
                answer(py, &self.unknown, synced)
            }

            fn sync_set<'py>(&mut self, py: Python<'py>, offset: u64) -> Answer<'py> {
                let synced = self.decoder.sync_set(self.trace.as_ref(), offset);
                answer(py, &self.unknown, synced)
            }

            fn resync<'py>(&mut self, py: Python<'py>) -> Answer<'py> {
                let synced = self.decoder.resync(self.trace.as_ref());
                answer(py, &self.unknown, synced)
            }

            fn event<'py>(&mut self, py: Python<'py>) -> PyResult<(Answer<'py>, Option<RawEvent<'py>>)> {
                let found = self.decoder.event(self.trace.as_ref());
                event_answer(py, &self.unknown, found)
            }

            $($own)*
        }
    };
}

walker!(RawBlockDecoder, BlockDecoder, {
    /// The next block; on an error it holds what ran before.
    fn next<'py>(&mut self, py: Python<'py>) -> (Answer<'py>, RawBlock<'py>) {
        let mut block = Block::default();
        let status = self.decoder.next(self.trace.as_ref(), &mut block);
        let raw = block.raw.get(..usize::from(block.size)).unwrap_or(&[]);
        let fields = (
            block.ip,
            block.end_ip,
            block.isid,
            block.mode as u8,
            block.class as u8,
            block.ninsn,
            PyBytes::new(py, raw),
            block.speculative,
            block.truncated,
        );
        (answer(py, &self.unknown, status), fields)
    }

    /// Addresses of the instructions of the last block.
    fn ips(&self) -> Vec<u64> {
        self.decoder.instructions().iter().map(|insn| insn.ip).collect()
    }

    /// The instructions of the last block.
    fn instructions<'py>(&self, py: Python<'py>) -> Vec<RawInstruction<'py>> {
        let all = self.decoder.instructions().iter().map(|insn| {
            let mut raw = [0u8; 15];
            let size = usize::from(insn.size).min(raw.len());
            let had = raw.get_mut(..size).map_or(0, |raw| self.decoder.bytes(insn.ip, raw));
            let raw = PyBytes::new(py, raw.get(..had).unwrap_or(&[]));
            (insn.ip, insn.size, raw, insn.class as u8, insn.truncated)
        });
        all.collect()
    }
});

walker!(RawInstructionDecoder, InstructionDecoder, {
    /// The next instruction; on an error it tells where.
    fn next<'py>(&mut self, py: Python<'py>) -> (Answer<'py>, RawInsn<'py>) {
        let mut insn = Insn::default();
        let status = self.decoder.next(self.trace.as_ref(), &mut insn);
        let raw = insn.raw.get(..usize::from(insn.size)).unwrap_or(&[]);
        let fields = (
            insn.ip,
            insn.isid,
            insn.mode as u8,
            insn.class as u8,
            PyBytes::new(py, raw),
            insn.speculative,
            insn.truncated,
        );
        (answer(py, &self.unknown, status), fields)
    }
});

/// Adds this room's classes.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawBlockDecoder>()?;
    module.add_class::<RawInstructionDecoder>()
}
