//! The history: every instruction a trace shows, kept as checkpoints and walked again on demand.
//!
//! A history stores no row per instruction. It keeps the trace (usually a mapped file), the code
//! bytes that were executed, the gaps, and a checkpoint every few PSBs; any question is a walk over
//! the trace from the nearest checkpoint, which costs a few nanoseconds per taken / not-taken bit
//! and reads no file and asks no callback. Passes are named: expand, find, count, calls, hash. Most run
//! on as many threads as decoding did; what they give does not depend on it.

mod calls;
mod decode;
mod passes;
mod stack;

pub use calls::call_tree::{CallNode, CallTree};
pub use calls::functions::{FunctionCost, Functions, OpenCounts, OpenFunction};
pub use calls::pairs::{CallPair, Pairs};
pub use calls::rows::Rows;
pub use calls::sum::Sum;
pub use decode::clock::Clock;
pub use decode::decoded_trace::{DecodeError, DecodeOptions, DecodedTrace, OnError, Resync, TraceBytes};
pub use decode::decoding::{decode, skipped};
pub use decode::live::{LiveError, LivePart, LiveTrace};
pub use decode::part::{Assembly, Part, PartPlace};
pub use decode::saved::{Stale, Unsaved};
pub use passes::blocks::BlockColumns;
pub use passes::code::{CodeRow, CodeTable, Hits};
pub use passes::columns::InstructionColumns;
pub use passes::count::Counts;
pub use passes::coverage::Coverage;
pub use passes::events::{Chosen, EventColumns};
pub use passes::executions::Executions;
pub use passes::find::Wanted;
pub use passes::hash::Hashing;
pub use passes::parallel::{Ask, Interrupted};
pub use stack::{
    fold, Body, CallStack, Called, Calls, Entries, Entry, EntryKind, Found, FrameKind, Instant, Ledger,
    Names, Settled, Spent, StackFrame, StackPart, Stacks,
};
