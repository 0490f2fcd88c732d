//! Events: what packets mean together.
//!
//! A packet may be an event of its own (TIP.PGE), belong to a later one (FUP and TIP make an
//! asynchronous branch) or only advance time. [`EventDecoder`] pairs them up. It does not hold the
//! trace: every call brings the same bytes, so a copy of the decoder is a place to come back to.
//! [`QueryDecoder`] gives them out in answer to questions about branches.
//! Source: Intel SDM volume 3C, "Intel Processor Trace"; pairing and order as in libipt.

mod bits;
mod control;
mod decoder;
mod fast;
mod overflow;
mod packets;
mod pending;
mod psb;
mod query;
mod repair;
mod status;
mod types;

pub use decoder::{Carry, EventDecoder};
pub(crate) use fast::Cursor;
pub use fast::FlowItem;
pub use query::QueryDecoder;
pub use status::Status;
pub use types::{Event, EventKind, EventTime};
