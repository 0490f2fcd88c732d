//! From events and memory to executed instructions.
//!
//! The caller brings a trace, an [`crate::event::EventDecoder`], and a [`Timeline`] of images; a
//! [`Sink`] is told what ran: runs over decision points, events, gaps, checkpoints.
//!
//! Code is learned once, as a graph of decision points ([`Graph`]): from an address to the next
//! branch that needs the trace, direct jumps and calls followed. Walking the graph costs one step
//! per taken / not-taken bit. Source: Intel SDM volume 3C, "Intel Processor Trace", and the flow
//! rules of libipt.

mod binding;
mod blocks;
mod code;
mod engine;
mod gaps;
mod graph;
mod instructions;
mod reads;
mod repair;
mod return_stack;
mod sink;
mod timeline;
mod visited;
mod window;

pub use blocks::{Block, BlockDecoder, BlockInstruction, BlockOptions};
pub use code::{Chunk, Code, CodeError, Space, SpaceId};
pub use engine::{Checkpoint, Engine, EngineOptions, FlowError, Position, Progress};
pub use gaps::Gaps;
pub use graph::{Graph, InstructionMeta, NodeId, NodeKind};
pub use instructions::{Insn, InstructionDecoder};
pub use reads::{OtherMemory, Reads};
pub use return_stack::ReturnStack;
pub use sink::{Gap, GapCause, RunState, Runs, Sink, Where};
pub use timeline::{Moment, Region, Timeline};
