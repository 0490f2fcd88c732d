//! The private native module `odograph._native`: conversions only, one file per room.

mod answers;
mod argument;
mod asid;
mod assembly;
mod blocks;
mod cfi;
mod code;
mod config;
mod disassemble;
mod error;
mod event;
mod files;
mod history;
mod ia64;
mod image;
mod instruction_listing;
mod lines;
mod listing;
mod live;
mod mapped;
mod objects;
mod packet;
mod recorder;
mod saved;
mod stack;
mod stack_offset;
mod sums;
mod table;
mod timeline;

use pyo3::pymodule;

/// Filled room by room; each room's file has a `register` function.
#[pymodule]
mod _native {
    #[pymodule_init]
    fn init(module: &pyo3::Bound<'_, pyo3::types::PyModule>) -> pyo3::PyResult<()> {
        use pyo3::prelude::*;
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        crate::asid::register(module)?;
        crate::image::register(module)?;
        crate::config::register(module)?;
        crate::packet::register(module)?;
        crate::listing::register(module)?;
        crate::instruction_listing::register(module)?;
        crate::event::register(module)?;
        crate::files::register(module)?;
        crate::blocks::register(module)?;
        crate::history::register(module)?;
        crate::assembly::register(module)?;
        crate::code::register(module)?;
        crate::stack_offset::register(module)?;
        crate::saved::register(module)?;
        crate::live::register(module)?;
        crate::mapped::register(module)?;
        crate::stack::register(module)?;
        crate::sums::register(module)?;
        crate::objects::register(module)?;
        crate::lines::register(module)?;
        crate::cfi::register(module)?;
        crate::ia64::register(module)?;
        crate::disassemble::register(module)?;
        crate::table::register(module)?;
        crate::timeline::register(module)?;
        crate::recorder::register(module)
    }
}
