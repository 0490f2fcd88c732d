//! Reads ELF object files, and is the only reader of them but for what only IA-64 needs.
//!
//! The caller brings a path or bytes. Back come [headers](header), [symbols], [functions], [source lines](lines),
//! [calls], [landing pads](unwind_tables) and [call frame entries](frames), also from the [separate files](debugfiles) that
//! debug information is kept in and from compressed [MiniDebugInfo](packed). Addresses are those of the file, before
//! it is loaded.
//!
//! Files are not trusted. They are read, never mapped, so a file that is cut meanwhile gives errors and no SIGBUS. What
//! is damaged, or claims to be larger than it can be, is not there. Nothing panics, and memory stays in proportion to
//! the file.
//!
//! Out of scope: where files lie in the memory of a process, and unwinding.
//!
//! The functions of this very program:
//!
//! ```
//! use odograph_objects::functions::Functions;
//!
//! let program = std::env::current_exe()?;
//! let functions = Functions::of_file(&program);
//! let main = functions.named("main");
//! assert_eq!(main.len(), 1);
//! # Ok::<(), std::io::Error>(())
//! ```

#![forbid(unsafe_code)]
// A function that takes an object file is not general enough in its lifetimes where a closure is.
#![allow(clippy::redundant_closure)]

pub mod calls;
pub mod debugfiles;
pub mod demangle;
pub mod frames;
pub mod functions;
pub mod header;
pub mod inlined;
pub mod lines;
pub mod named;
pub mod packed;
mod rows;
pub mod section;
pub mod source;
pub mod symbols;
mod units;
pub mod unwind_tables;
