//! Blocks and the events between them, one at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use odograph_core::asid::Asid;
use odograph_core::error::PtError;
use odograph_core::event::{Event, EventKind};
use odograph_core::flow::{
    Code, Engine, EngineOptions, FlowError, Gap, Graph, NodeId, Progress, RunState, Sink, Synchronisation,
    Timeline, Where,
};
use odograph_core::memory::MemoryError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::config::Config;
use crate::error::{self, Kind, Place};
use crate::event::{to_python, RawEvent};
use crate::history::{lend, Lent};
use crate::image::RawImage;

fn failed(py: Python<'_>, code: PtError, offset: u64, ip: Option<u64>, asid: Option<Asid>) -> PyErr {
    error::pt(
        py,
        Kind::Trace,
        code,
        code.message(),
        Place { offset: Some(offset), ip, asid, code: Some(code) },
    )
}

/// ip, size, raw, iclass, truncated.
type RawInstruction = (u64, u8, Py<PyBytes>, u8, bool);

/// What the engine found and the caller has not taken yet.
enum Found {
    Block(Block),
    Event(Event),
}

struct Block {
    instructions: Vec<(u64, u8, u8, bool)>,
    mode: u8,
    isid: i32,
    asid: Asid,
    tsc: Option<u64>,
    speculative: bool,
    space: odograph_core::flow::SpaceId,
}

#[derive(Default)]
struct Collect {
    found: VecDeque<Found>,
}

impl Sink for Collect {
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        let (space, mode) = graph.place(node);
        let asid = graph.code().get(space).map(|space| space.asid()).unwrap_or_default();
        let mut last = None;
        let all = graph.ips(node).iter().zip(graph.metas(node)).enumerate();
        for (nth, (&ip, meta)) in all.skip(from as usize).take((to - from) as usize) {
            let section = graph.section(node, nth as u16);
            let instruction = (ip, meta.size(), meta.class() as u8, meta.truncated());
            match self.found.back_mut() {
                Some(Found::Block(block)) if last == Some(section) => block.instructions.push(instruction),
                _ => self.found.push_back(Found::Block(Block {
                    instructions: vec![instruction],
                    mode: mode as u8,
                    isid: section.0,
                    asid,
                    tsc: state.has_tsc.then_some(state.tsc),
                    speculative: state.speculative,
                    space,
                })),
            }
            last = Some(section);
        }
    }

    fn event(&mut self, event: &Event, place: Where, _: &Engine) {
        let mut event = *event;
        if let EventKind::Enabled { resumed, .. } = &mut event.kind {
            *resumed = place.resumed;
        }
        self.found.push_back(Found::Event(event));
    }

    fn gap(&mut self, _: Gap) {}
}

/// Walks over the blocks and events of a trace.
#[pyclass(module = "odograph._native")]
pub struct RawFlowDecoder {
    trace: Lent,
    engine: Engine,
    collect: Collect,
    error: Option<FlowError>,
}

/// instructions, mode, isid, cr3, vmcs, tsc, speculative.
type RawBlock = (Vec<RawInstruction>, u8, i32, Option<u64>, Option<u64>, Option<u64>, bool);

#[pymethods]
impl RawFlowDecoder {
    #[new]
    fn new(trace: &Bound<'_, PyAny>, config: Config, image: PyRef<'_, RawImage>) -> PyResult<Self> {
        let image = image.snapshot();
        let options = EngineOptions::default();
        let graph = Graph::new(Arc::new(Code::default()), &image, Asid::default(), options.initial_mode);
        let engine = Engine::new(&config.0, options, Timeline::constant(image), graph);
        Ok(RawFlowDecoder { trace: lend(trace)?, engine, collect: Collect::default(), error: None })
    }

    #[getter]
    fn offset(&self) -> u64 {
        self.engine.events().offset()
    }

    #[getter]
    fn sync_offset(&self) -> u64 {
        self.engine.events().sync_offset()
    }

    #[getter]
    fn tsc(&self) -> Option<u64> {
        self.engine.tsc()
    }

    #[getter]
    fn asid(&self) -> (Option<u64>, Option<u64>) {
        let asid = self.engine.asid();
        (asid.cr3, asid.vmcs)
    }

    fn set_image(&mut self, image: PyRef<'_, RawImage>) {
        self.engine.set_timeline(Timeline::constant(image.snapshot()));
    }

    fn sync_forward(&mut self, py: Python<'_>) -> PyResult<()> {
        self.sync(py, Synchronisation::Forward)
    }

    fn sync_backward(&mut self, py: Python<'_>) -> PyResult<()> {
        self.sync(py, Synchronisation::Backward)
    }

    fn sync_set(&mut self, py: Python<'_>, offset: u64) -> PyResult<()> {
        self.sync(py, Synchronisation::At(offset))
    }

    /// Goes on after an error, at the next packet that gives an IP; `eos` if there is none.
    fn resync(&mut self, py: Python<'_>) -> PyResult<()> {
        let Some(error) = self.error.take() else { return Ok(()) };
        if let FlowError::Foreign(_) = error {
            // Nothing is wrong with the trace: the same place is tried again.
            return Ok(());
        }
        self.engine.lose(self.trace.as_ref(), &error, false, &mut self.collect);
        let _ = py;
        Ok(())
    }

    /// The next block or event; None at the end. Raises what the trace or a callback raised.
    #[allow(clippy::type_complexity)]
    fn next<'py>(&mut self, py: Python<'py>) -> PyResult<Option<(Option<RawBlock>, Option<RawEvent<'py>>)>> {
        loop {
            match self.collect.found.pop_front() {
                Some(Found::Event(event)) => return Ok(Some((None, Some(to_python(py, &event)?)))),
                Some(Found::Block(block)) => return Ok(Some((Some(self.block(py, block)), None))),
                None => {}
            }
            if let Some(error) = &self.error {
                return Err(self.raise(py, error));
            }
            match self.engine.advance_one(self.trace.as_ref(), &mut self.collect) {
                Ok(Progress::More) => {}
                Ok(Progress::End) if self.collect.found.is_empty() => return Ok(None),
                Ok(Progress::End) => {}
                Err(FlowError::Foreign(object)) => {
                    return Err(error::memory(py, &MemoryError::Foreign(object), None, Place::default()));
                }
                Err(error) => self.error = Some(error),
            }
        }
    }
}

impl RawFlowDecoder {
    fn sync(&mut self, py: Python<'_>, to: Synchronisation) -> PyResult<()> {
        self.collect.found.clear();
        self.error = None;
        let synced = self.engine.sync(self.trace.as_ref(), to);
        synced.map_err(|code| failed(py, code, self.engine.events().offset(), None, None))
    }

    fn raise(&self, py: Python<'_>, error: &FlowError) -> PyErr {
        let offset = self.engine.events().offset();
        let asid = Some(self.engine.asid());
        match error {
            FlowError::Flow { code: Some(code), ip, .. } => failed(py, *code, offset, *ip, asid),
            FlowError::Flow { code: None, ip, .. } => {
                let place = Place { offset: Some(offset), ip: *ip, asid, code: None };
                error::new(py, Kind::Trace, "endless loop without trace", place)
            }
            FlowError::Events(code) => failed(py, *code, offset, None, asid),
            FlowError::Foreign(object) => {
                error::memory(py, &MemoryError::Foreign(object.clone()), None, Place::default())
            }
        }
    }

    fn block(&self, py: Python<'_>, block: Block) -> RawBlock {
        let space = self.engine.graph().code().get(block.space);
        let instructions = block.instructions.into_iter().map(|(ip, size, class, truncated)| {
            let mut raw = [0u8; 16];
            if let (Some(space), Some(bytes)) = (&space, raw.get_mut(..size as usize)) {
                space.copy(ip, bytes);
            }
            (ip, size, PyBytes::new(py, raw.get(..size as usize).unwrap_or(&[])).unbind(), class, truncated)
        });
        let instructions = instructions.collect();
        let (cr3, vmcs) = (block.asid.cr3, block.asid.vmcs);
        (instructions, block.mode, block.isid, cr3, vmcs, block.tsc, block.speculative)
    }
}

/// Adds this room's classes.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawFlowDecoder>()
}
