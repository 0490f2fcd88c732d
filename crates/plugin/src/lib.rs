//! The shared library that QEMU user mode loads with `-plugin`.
//!
//! It holds the crate `odograph-recorder` and exports what QEMU looks for: `qemu_plugin_install` and
//! `qemu_plugin_version`. It has no code of its own.

pub use odograph_recorder::plugin;
