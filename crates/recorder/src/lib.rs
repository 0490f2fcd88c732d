//! Recorders: programs run under them leave real Intel PT packets behind.
//!
//! The caller brings a spool directory. A program that runs under QEMU with this library as a plugin
//! ([`plugin`]), or under [`step`], fills it: for each thread a stream of packets with its own count
//! and hash of the executed instructions, for each process the bytes it executed and what happened
//! to it (mappings, threads, signals, exec). Making one recording of these files is not done here.
//!
//! ```text
//!     QEMU: block of code ──┐
//!                           ├──> Stream (packets, truth) ──> PID.N.TID.stream
//!     ptrace: instruction ──┘    Process (code, events) ───> PID.N.code, PID.N.events
//! ```
//!
//! All of these files are mapped shared, so nothing of them is lost, however a program ends.
//!
//! The packets that a recorder writes for a path, with its own count of the instructions:
//!
//! ```
//! use odograph_core::instruction::ExecMode;
//! use odograph_recorder::path::Path;
//!
//! let mut path = Path::new(ExecMode::Bits64);
//! path.step(0x401000, &[0xff, 0xc8]); // dec eax
//! path.step(0x401002, &[0x75, 0xfc]); // jne 401000
//! path.step(0x401000, &[0xff, 0xc8]);
//! path.stop(0x401002);
//! let trace = path.take();
//! assert!(trace.starts_with(&[0x02, 0x82]), "a trace begins with a PSB");
//! assert_eq!(path.truth().0, 3);
//! ```

pub mod abi;
pub mod arguments;
pub mod block;
pub mod code;
pub mod descriptor;
pub mod exec;
pub mod executed;
pub mod finish;
pub mod lock;
pub mod mapped;
pub mod mappings;
pub mod maps;
pub mod path;
pub mod plugin;
pub mod process;
pub mod runs;
pub mod signal;
pub mod step;
pub mod stopped;
pub mod stream;
pub mod system;
pub mod watch;
