//! Stepping up call stacks through somebody else's memory.
//!
//! [`ia64`] is an engine of its own after HP-UX's uwx(3X). [`cfi`] has x86-64 and AArch64, through framehop.

#![forbid(unsafe_code)]

pub mod cfi;
pub mod ia64;
