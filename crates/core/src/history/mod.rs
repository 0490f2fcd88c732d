//! The history: every instruction a trace shows, kept as checkpoints and walked again on demand.
//!
//! A history stores no row per instruction. It keeps the trace (usually a mapped file), the code
//! bytes that were executed, the gaps, and a checkpoint every few PSBs; any question is a walk over
//! the trace from the nearest checkpoint, which costs a few nanoseconds per taken / not-taken bit
//! and reads no file and asks no callback. Passes are named: expand, find, count, calls, hash. Most run
//! on as many threads as decoding did; what they give does not depend on it.

mod blocks;
mod builder;
mod calls;
mod clock;
mod code;
mod columns;
mod count;
mod coverage;
mod cutter;
mod decode;
mod ending;
mod events;
mod executions;
mod expand;
mod find;
mod functions;
mod hash;
mod knowledge;
mod live;
mod nodes;
mod pairs;
mod parallel;
mod part;
mod piece;
mod question;
mod rows;
mod saved;
mod stack;
mod stream;
mod sum;
mod threads;
mod whole;

pub use blocks::BlockColumns;
pub use calls::{CallNode, CallTree};
pub use clock::Clock;
pub use code::{CodeRow, CodeTable, Hits};
pub use columns::InstructionColumns;
pub use count::Counts;
pub use coverage::Coverage;
pub use decode::{decode, skipped};
pub use events::{Chosen, EventColumns};
pub use executions::Executions;
pub use find::Wanted;
pub use functions::{FunctionCost, Functions, OpenCounts, OpenFunction};
pub use hash::Hashing;
pub use live::{Live, LiveError, LivePart};
pub use pairs::{CallPair, Pairs};
pub use parallel::{Ask, Interrupted};
pub use part::{Assembly, Part, PartPlace};
pub use rows::Rows;
pub use saved::{Stale, Unsaved};
pub use stack::{
    fold, Body, CallStack, Called, Calls, Entries, Entry, EntryKind, Found, FrameKind, Instant, Ledger,
    Names, Settled, Spent, StackFrame, StackPart, Stacks,
};
pub use stream::{DecodeError, DecodeOptions, OnError, Resync, Stream, TraceBytes};
pub use sum::Sum;
