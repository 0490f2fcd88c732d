//! Source lines. `odograph.symbols.lines` derives the public class from this.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use odograph_unwind::calls::Target;
use odograph_unwind::lines::Lines;
use pyo3::prelude::*;

use crate::argument::Number;
use crate::symbols::demangle;

/// Function, its name as the file has it, source file, line, column.
type Place = (Option<String>, Option<String>, Option<String>, Option<u32>, Option<u32>);

/// The address behind a call, the address or the name of what it calls, and whether it is a tail call.
type Call = (u64, Option<u64>, Option<String>, bool);

/// The native half of `odograph.symbols.Lines`: the debug information of one file, parsed as it is asked for.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawLines {
    /// None: the file has none.
    lines: Mutex<Option<Lines>>,
}

impl RawLines {
    fn lines(&self) -> MutexGuard<'_, Option<Lines>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl RawLines {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> Self {
        RawLines { lines: Mutex::new(py.detach(|| Lines::of_file(&path))) }
    }

    /// Whether the file has any debug information.
    fn _known(&self) -> bool {
        self.lines().is_some()
    }

    /// The functions at an address of the file, the innermost inlined one first.
    fn _at(&self, py: Python<'_>, address: Number) -> Vec<Place> {
        let places = py.detach(|| self.lines().as_ref().map(|lines| lines.at(address.0)).unwrap_or_default());
        places
            .into_iter()
            .map(|place| {
                let shown = place.function.as_deref().map(demangle);
                (shown, place.function, place.file, place.line, place.column)
            })
            .collect()
    }

    /// Where the function at an address begins, whether all its tail calls are known, and its calls; None if there is none.
    fn _calls_at(&self, py: Python<'_>, address: Number) -> Option<(u64, bool, Vec<Call>)> {
        let found = py.detach(|| self.lines().as_ref().and_then(|lines| lines.calls_at(address.0)))?;
        let call = |call: odograph_unwind::calls::Call| {
            let (address, name) = match call.target {
                Target::Address(address) => (Some(address), None),
                Target::Name(name) => (None, Some(name)),
                Target::Unknown => (None, None),
            };
            (call.behind, address, name, call.is_tail)
        };
        Some((found.start, found.knows_tails, found.calls.into_iter().map(call).collect()))
    }

    /// The line, or the next one that has code, and where code of it begins; None if there is none.
    fn _addresses_of(&self, py: Python<'_>, file: &str, line: u32) -> Option<(u32, Vec<u64>)> {
        py.detach(|| self.lines().as_ref().and_then(|lines| lines.addresses_of(file, line)))
    }
}

/// Adds this room to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawLines>()
}
