//! x86-64 and AArch64: DWARF's call frame information, frame pointers, and what lies between them.
//!
//! The caller brings the modules of a process, registers and a [`Memory`]; an [`Unwinder`] gives the frames and why
//! there are no more. Names and source lines are no matter of its. Tables, registers and memory may be anything: a stack
//! then ends with a reason.

mod expression;
mod machine;
mod memory;
mod modules;
mod plain;
mod row;
mod step;
mod tables;
mod uncovered;
mod unwinder;

pub use machine::{Machine, Registers, COUNT};
pub use memory::Memory;
pub use modules::Module;
pub use step::{End, Found, Frame};
pub use tables::{SharedTables, Tables};
pub use unwinder::Unwinder;
