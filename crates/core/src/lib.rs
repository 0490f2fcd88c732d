//! The core of Odograph: from Intel Processor Trace bytes and a memory image to the history of every
//! instruction that was executed.
//!
//! One road, walked one way: packets, events, flow, history on one side, memory and images on the
//! other; they meet in `flow`. A module uses what lies before it on the road and never what lies
//! after. The crate opens no recordings and knows nothing of Python.
//!
//! A trace that goes twice round a loop of two instructions:
//!
//! ```
//! use std::sync::Arc;
//!
//! use odograph_core::asid::Asid;
//! use odograph_core::config::TraceConfig;
//! use odograph_core::flow::Timeline;
//! use odograph_core::history::{decode, DecodeOptions};
//! use odograph_core::image::Image;
//!
//! let mut image = Image::new(Some("loop"));
//! // 401000 dec eax; 401002 jne 401000
//! image.add_bytes(&[0xff, 0xc8, 0x75, 0xfc][..], 0x401000, &Asid::default(), None)?;
//!
//! let mut trace = [0x02, 0x82].repeat(8); // PSB
//! trace.extend([0x02, 0x23]); // PSBEND
//! trace.extend([0x99, 0x01]); // MODE.Exec: 64 bits
//! trace.extend([0x71, 0x00, 0x10, 0x40, 0x00, 0x00, 0x00]); // TIP.PGE 401000
//! trace.extend([0x0c]); // TNT: taken, not taken
//! trace.extend([0x01]); // TIP.PGD
//!
//! let timeline = Timeline::constant(image);
//! let options = DecodeOptions::default();
//! let decoded = decode(Arc::new(trace), &TraceConfig::default(), timeline, options, |_| false).ok();
//! assert_eq!(decoded.expect("nothing interrupts").steps(), 4);
//! # Ok::<(), odograph_core::error::PtError>(())
//! ```

pub mod asid;
pub mod config;
pub mod cpu;
pub mod error;
pub mod event;
pub mod flow;
pub mod history;
pub mod image;
pub mod instruction;
pub mod memory;
pub mod packet;
pub mod time;
