//! Source lines. `odograph.symbols.lines` derives the public class from this.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use odograph_objects::calls::Target;
use odograph_objects::demangle::demangle;
use odograph_objects::lines::Lines;
use pyo3::prelude::*;

use crate::argument::Number;

/// Function, its name as the file has it, source file, line, column.
type Place = (Option<String>, Option<String>, Option<String>, Option<u32>, Option<u32>);

/// The address behind a call, the address or the name of what it calls, and whether it is a tail call.
type Call = (u64, Option<u64>, Option<String>, bool);

/// Debug information that is read when it is first asked.
pub enum Opened {
    /// Not asked for yet.
    File(PathBuf),
    /// None: there is none.
    Read(Option<Box<Lines>>),
}

impl Opened {
    /// The debug information; None if the file has none.
    pub fn lines(&mut self) -> Option<&Lines> {
        if let Opened::File(path) = self {
            *self = Opened::Read(Lines::of_file(path).map(Box::new));
        }
        match self {
            Opened::Read(lines) => lines.as_deref(),
            Opened::File(_) => None,
        }
    }
}

/// The native half of `odograph.symbols.Lines`: the debug information of one file, read when it is first asked.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawLines {
    opened: Mutex<Opened>,
}

impl RawLines {
    /// The debug information, for one at a time.
    pub fn opened(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl RawLines {
    #[new]
    fn new(path: PathBuf) -> Self {
        RawLines { opened: Mutex::new(Opened::File(path)) }
    }

    /// Whether the file has any debug information.
    fn _known(&self, py: Python<'_>) -> bool {
        py.detach(|| self.opened().lines().is_some())
    }

    /// The functions at an address of the file, the innermost inlined one first.
    fn _at(&self, py: Python<'_>, address: Number) -> Vec<Place> {
        let places = py.detach(|| self.opened().lines().map(|lines| lines.at(address.0)).unwrap_or_default());
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
        let found = py.detach(|| self.opened().lines().and_then(|lines| lines.calls_at(address.0)))?;
        let call = |call: odograph_objects::calls::Call| {
            let (address, name) = match call.target {
                Target::Address(address) => (Some(address), None),
                Target::Name(name) => (None, Some(name)),
                Target::Unknown => (None, None),
            };
            (call.behind, address, name, call.is_tail)
        };
        Some((found.start, found.knows_tails, found.calls.into_iter().map(call).collect()))
    }

    /// The inlined functions at an address, the outermost first: a number of the code that no other has, whether it begins
    /// there, and the line of its call.
    fn _inlined_at(&self, py: Python<'_>, address: Number) -> Vec<(u64, bool, u32)> {
        let found =
            py.detach(|| self.opened().lines().map(|lines| lines.inlined_at(address.0)).unwrap_or_default());
        found.into_iter().map(|code| (code.id, code.begins, code.call_line)).collect()
    }

    /// The line, or the next one that has code, and where code of it begins; None if there is none.
    fn _addresses_of(&self, py: Python<'_>, file: &str, line: u32) -> Option<(u32, Vec<u64>)> {
        py.detach(|| self.opened().lines().and_then(|lines| lines.addresses_of(file, line)))
    }

    /// The code that debuggers step by, sorted by address, as columns: start, end, file and line in one number, whether a
    /// statement begins there.
    fn _pieces(&self, py: Python<'_>) -> (Vec<u64>, Vec<u64>, Vec<u64>, Vec<bool>) {
        let pieces = py.detach(|| self.opened().lines().map(|lines| lines.pieces()).unwrap_or_default());
        (
            pieces.iter().map(|piece| piece.start).collect(),
            pieces.iter().map(|piece| piece.end).collect(),
            pieces.iter().map(|piece| u64::from(piece.file) << 32 | u64::from(piece.line)).collect(),
            pieces.iter().map(|piece| piece.is_stmt).collect(),
        )
    }

    /// Where code begins of functions that a name means: (address, name, whether it was inlined there).
    fn _code_of(&self, py: Python<'_>, name: &str) -> Vec<(u64, String, bool)> {
        let found = py.detach(|| self.opened().lines().map(|lines| lines.code_of(name)).unwrap_or_default());
        found.into_iter().map(|code| (code.start, code.name, code.is_inlined)).collect()
    }
}

/// Adds this room to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawLines>()
}
