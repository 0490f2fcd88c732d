//! What look-ups have found of the context's instruction.

use std::sync::Arc;

use super::region::Rules;
use super::status::Status;

/// How a frame is unwound.
#[derive(Clone, Debug)]
pub(super) enum How {
    Rules(Arc<Rules>),
    /// The look-up says that the frame was interrupted.
    Interrupted(u64),
}

/// What is known of the frame that the context stands in.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) how: How,
    /// The address that was answered for; another one than the context's where code was remapped.
    pub(super) ip: u64,
    pub(super) function_start: Option<u64>,
    /// Why the function's start is not known, where it is not.
    pub(super) without_start: Status,
    pub(super) global_pointer: Option<u64>,
    pub(super) module: Option<Vec<u8>>,
    pub(super) function: Option<Vec<u8>>,
    pub(super) text_base: Option<u64>,
    pub(super) asked_module: bool,
    pub(super) asked_symbols: bool,
}

impl Found {
    pub(super) fn new(ip: u64, how: How) -> Self {
        Found {
            how,
            ip,
            function_start: None,
            without_start: Status::NoSymbol,
            global_pointer: None,
            module: None,
            function: None,
            text_base: None,
            asked_module: false,
            asked_symbols: false,
        }
    }
}
