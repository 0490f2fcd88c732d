//! Stepping up call stacks through the memory of another program.
//!
//! [`ia64`] is an engine of its own after HP-UX's uwx(3X). [`cfi`] has x86-64 and AArch64, through framehop.
//! [`stack_offset`] says what executed x86-64 code tells of the stack where there is no memory to read. What files hold is
//! read by `odograph_objects`.

#![forbid(unsafe_code)]

pub mod cfi;
pub mod ia64;
pub mod stack_offset;
