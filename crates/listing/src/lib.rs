//! Text of a trace, as the tools of libipt and `odograph packets` print it.
//!
//! The caller brings trace bytes and options and takes the text in bounded pieces, so a trace of any size
//! streams in bounded memory. Files, arguments and sideband records are the caller's: a listing stops where
//! they have to be printed.

pub mod fields;
pub mod instructions;
pub mod packets;
pub mod text;
