//! What a walk tells its consumer.

use super::engine::Engine;
use super::graph::{Graph, NodeId};
use crate::asid::Asid;
use crate::error::PtError;
use crate::event::Event;
use serde::{Deserialize, Serialize};

/// Why execution was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GapCause {
    /// The processor dropped packets (OVF).
    Overflow,
    /// Bytes of the recording are missing.
    Lost,
    /// Code could not be read.
    Memory,
    /// Packets or instructions could not be decoded.
    Undecodable,
    /// Packets and code contradict each other.
    Contradiction,
    /// Linear code never ends and no packet says where it was left.
    Endless,
    /// Nothing is lost for certain, but code leads back to the address of an event without a packet: it may have come
    /// by there more often than was decoded.
    Ambiguous,
    /// The file of the recording is cut, or damaged so that the rest of it cannot be read.
    Cut,
}

impl GapCause {
    /// The word for it in tables and listings.
    pub fn name(self) -> &'static str {
        match self {
            GapCause::Overflow => "overflow",
            GapCause::Lost => "lost",
            GapCause::Memory => "memory",
            GapCause::Undecodable => "undecodable",
            GapCause::Contradiction => "contradiction",
            GapCause::Endless => "endless",
            GapCause::Ambiguous => "ambiguous",
            GapCause::Cut => "cut",
        }
    }

    /// The cause an error stands for.
    pub fn of(code: PtError) -> GapCause {
        match code {
            PtError::Nomap | PtError::BadImage | PtError::BadFile => GapCause::Memory,
            PtError::BadOpc | PtError::BadPacket | PtError::BadInsn | PtError::NotSupported => {
                GapCause::Undecodable
            }
            PtError::Overflow => GapCause::Overflow,
            PtError::Eos => GapCause::Lost,
            _ => GapCause::Contradiction,
        }
    }
}

/// Lost execution, or a note that some may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Instructions executed before it.
    pub step: u64,
    /// Why.
    pub cause: GapCause,
    /// libipt's number for it; None where libipt has none (endless loops and notes).
    pub code: Option<PtError>,
    /// Trace offset at which it was noticed.
    pub offset: u64,
    /// Trace bytes from there to where decoding went on.
    pub bytes_lost: u64,
    /// Address at which it was noticed, if there is one.
    pub ip: Option<u64>,
    /// The address space at that time.
    pub asid: Asid,
    /// TSC estimate at that time, if there was one.
    pub tsc: Option<u64>,
}

/// The place of an event among the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Where {
    /// Instructions executed before the event.
    pub step: u64,
    /// The event belongs to the instruction just executed rather than to the next one.
    pub after: bool,
    /// Address it binds to: of that instruction, or of the next one; None while nothing is traced.
    pub ip: Option<u64>,
    /// Tracing had gone on since the last disable at this very address (`enabled` events only).
    pub resumed: bool,
}

/// Which runs a walk tells. The fewer, the quicker it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// Every one.
    All,
    /// Those of nodes that are wanted, and some others.
    Wanted,
    /// Whichever.
    Any,
}

/// Receives what a walk finds, in order. Everything has a default that ignores it.
pub trait Sink {
    /// Which runs matter.
    const RUNS: Runs = Runs::All;

    /// Whether runs of a node matter, if only wanted ones do. Where it has said no, that holds for good.
    fn wants(&mut self, _graph: &Graph, _node: NodeId) -> bool {
        true
    }

    /// Instructions `from..to` of a node were executed; `engine` tells step, time and state before them.
    #[inline]
    fn run(&mut self, _graph: &Graph, _node: NodeId, _from: u16, _to: u16, _state: &RunState) {}

    /// All instructions of a node were executed, `rounds` times in a row. What [`Sink::run`] makes of each round, unless
    /// there is a quicker way.
    fn rounds(&mut self, graph: &Graph, node: NodeId, rounds: u64, state: &RunState) {
        let count = graph.count(node);
        for round in 0..rounds {
            let step = state.step + round * u64::from(count);
            self.run(graph, node, 0, count, &RunState { step, ..*state });
        }
    }

    /// An event occurred; the engine's state is still the one before it.
    fn event(&mut self, _event: &Event, _place: Where, _engine: &Engine) {}

    /// Execution was lost.
    fn gap(&mut self, _gap: Gap) {}

    /// Nothing was lost, but the trace leaves something open ([`GapCause::Ambiguous`]).
    fn note(&mut self, _note: Gap) {}

    /// From this step on, image `moment` of the timeline holds; events and gaps from trace offset `offset` on
    /// belong to it.
    fn moment(&mut self, _moment: usize, _step: u64, _offset: u64) {}

    /// A PSB was reached (before its events) or a good while has passed: the engine can be copied
    /// here with [`Engine::checkpoint`].
    fn checkpoint(&mut self, _engine: &Engine) {}
}

/// What is the same for all instructions of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunState {
    /// Step of the first instruction of the run.
    pub step: u64,
    /// TSC estimate; with `has_tsc` false it counts from the start of the trace.
    pub tsc: u64,
    /// A TSC has been seen.
    pub has_tsc: bool,
    /// Inside a transaction that may abort.
    pub speculative: bool,
}
