//! Text of a trace, as the tools of libipt and `odograph packets` print it.
//!
//! The caller brings trace bytes and options and takes the text in bounded pieces, so a trace of any size
//! streams in bounded memory. Files, arguments and sideband records are the caller's: a listing stops where
//! they have to be printed.
//!
//! ```
//! use odograph_core::config::TraceConfig;
//! use odograph_listing::packets::{PacketListing, PacketOptions};
//!
//! let mut trace = [0x02, 0x82].repeat(8);
//! trace.extend([0x02, 0x23]);
//! let mut listing = PacketListing::new(&TraceConfig::default(), PacketOptions::default());
//! let mut text = Vec::new();
//! listing.next_piece(&trace, None, &mut text);
//! assert_eq!(String::from_utf8_lossy(&text), "0000000000000000  psb\n0000000000000010  psbend\n");
//! ```

pub mod fields;
pub mod instructions;
pub mod packets;
pub mod text;
