//! Call stacks at any step, from the calls and returns that were executed. No memory is needed.
//!
//! What is known of a stack are its return addresses. A piece of the history is walked without knowing what stack it
//! begins with: what it does to any stack is a short list of [operations](ops), which a [tracker](tracker) then does in
//! order. Before each piece it remembers the stacks, which [share](chain) what they have in common; a question walks from
//! the nearest of these places.
//!
//! What is asked of calls (who called whom, what it cost) is [kept](ledger) by the same walk, and [settled](folding) by the
//! same tracker.
//!
//! Out of scope: names, source lines, and frames that no trace shows.

mod below;
mod books;
mod called;
mod chain;
mod code;
mod entries;
mod folding;
mod ledger;
mod lines;
mod names;
mod ops;
#[cfg(test)]
mod simulated;
mod stacks;
mod stubs;
mod switch;
#[cfg(test)]
mod tests;
mod thunks;
mod touch;
mod tracker;
mod walk;

pub use called::Found;
pub use entries::{Body, Called, Entries};
pub use folding::{fold, Calls, Settled};
pub(super) use ledger::STUB_STEPS;
pub use ledger::{Entry, EntryKind, Instant, Ledger, Spent};
pub use names::Names;
pub use stacks::{CallStack, FrameKind, StackFrame, StackPart, Stacks};
