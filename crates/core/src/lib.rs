//! The core of Odograph: from Intel Processor Trace bytes and a memory image to the history of every
//! instruction that was executed.
//!
//! One road, walked one way: packets, events, flow, history on one side, memory and images on the
//! other; they meet in `flow`. A module uses what lies before it on the road and never what lies
//! after. The crate opens no recordings and knows nothing of Python.

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
