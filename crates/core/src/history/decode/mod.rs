//! From trace bytes to a history: pieces on threads, parts on machines, live traces, saved histories.

pub(in crate::history) mod builder;
pub(in crate::history) mod clock;
pub(in crate::history) mod decoded_trace;
pub(in crate::history) mod decoding;
pub(in crate::history) mod joining;
pub(in crate::history) mod learned_code;
pub(in crate::history) mod live;
pub(in crate::history) mod part;
pub(in crate::history) mod piece;
pub(in crate::history) mod saved;
pub(in crate::history) mod settled_end;
pub(in crate::history) mod threads;
