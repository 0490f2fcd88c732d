//! Stepping up call stacks through somebody else's memory.
//!
//! [`ia64`] is an engine of its own after HP-UX's uwx(3X). [`cfi`] has x86-64 and AArch64, through framehop. [`lines`]
//! says which source an address came from, and [`objects`] finds what both need in files. [`height`] says what executed
//! x86-64 code tells of the stack where there is no memory to read. [`landing`] knows where exceptions land, [`calls`]
//! what functions call.

#![forbid(unsafe_code)]

pub mod calls;
pub mod cfi;
pub mod height;
pub mod ia64;
pub mod landing;
pub mod lines;
pub mod objects;
