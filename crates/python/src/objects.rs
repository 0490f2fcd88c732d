//! Object files. `odograph.code.objects` and `odograph.symbols` derive the public classes from these.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use odograph_files::Named;
use odograph_objects::debugfiles::place_by_build_id;
use odograph_objects::demangle::demangle;
use odograph_objects::functions::{Debug, Function, Functions, KnownBy};
use odograph_objects::header::{self, Damage, Headers};
use odograph_objects::source::{self, with_data, with_file};
use odograph_objects::symbols::value_of;
use odograph_objects::unwind_tables::unwind_tables_of;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::argument::{copy_buffer, Number};
use crate::image::name_from_bytes;
use crate::lines::RawLines;

/// EACCES, for what is refused here.
const REFUSED: i32 = 13;

/// Kind, flags, offset, address, size in the file and in memory.
type Segment = (u32, u32, u64, u64, u64, u64);

/// Bits, whether little-endian, kind, machine, entry, (offset, size of one, number) of program headers, end of the
/// section headers.
type Facts = (u8, bool, u16, u16, u64, (u64, u16, u64), u64);

/// Start, end, name, name as the file has it, how it is known.
type FunctionFields = (u64, u64, Option<String>, Option<String>, &'static str);

/// Where functions begin, and (landing pad, first, last) of calls.
type UnwindTables = (Vec<u64>, Vec<(u64, u64, u64)>);

/// Where an object file lies.
enum Data {
    /// A file, opened anew for each question: Python may keep an object for long.
    File(PathBuf, Named),
    Bytes(Vec<u8>),
}

/// An ELF file as its headers describe it.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawObject {
    data: Data,
    headers: Headers,
    /// What is wrong with it, and where.
    damage: Option<(String, u64)>,
}

impl RawObject {
    fn new(data: Data, read: Result<Headers, Damage>) -> RawObject {
        match read {
            Ok(headers) => RawObject { data, headers, damage: None },
            Err(damage) => {
                RawObject { data, headers: Headers::default(), damage: Some((damage.what, damage.offset)) }
            }
        }
    }
}

/// `$answer` for the data of an object, `$data` being what it is read from; `$none` if the file is gone.
macro_rules! with_data_of {
    ($object:expr, $none:expr, |$data:ident| $answer:expr) => {
        match &$object.data {
            Data::File(path, named) => match source::open(path, *named) {
                Ok(file) => {
                    let $data = &file;
                    $answer
                }
                Err(_) => $none,
            },
            Data::Bytes(bytes) => {
                let $data = &**bytes;
                $answer
            }
        }
    };
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pymethods]
impl RawObject {
    /// Opens a file; ``recorded`` says that a recording named it. OSError with number and reason.
    #[staticmethod]
    fn _open(py: Python<'_>, name: &[u8], recorded: bool) -> PyResult<RawObject> {
        let name = name_from_bytes(name);
        let named = if recorded { Named::ByRecording } else { Named::ByUser };
        let opened = py.detach(|| source::open(Path::new(&name), named));
        let file = opened.map_err(|error| {
            let number = error.raw_os_error().unwrap_or(REFUSED);
            PyOSError::new_err((number, error.to_string(), name.clone()))
        })?;
        Ok(RawObject::new(Data::File(name.into(), named), Headers::read(&file)))
    }

    /// The bytes of a file, or of its beginning.
    #[staticmethod]
    fn _of_bytes(data: &Bound<'_, PyAny>) -> PyResult<RawObject> {
        let bytes = copy_buffer(data, "an object file needs")?;
        let headers = Headers::read(&*bytes);
        Ok(RawObject::new(Data::Bytes(bytes), headers))
    }

    /// What is wrong with its header, and the offset; None if it is an ELF file.
    fn _damage(&self) -> Option<(String, u64)> {
        self.damage.clone()
    }

    /// Bits and machine, for which the beginning of the header is enough.
    fn _class(&self) -> Option<(u8, u16)> {
        with_data_of!(self, None, |data| header::class(data))
    }

    fn _facts(&self) -> Facts {
        let headers = &self.headers;
        let Headers { bits, is_little, kind, machine, entry, program_table, sections_end, .. } = *headers;
        (bits, is_little, kind, machine, entry, program_table, sections_end)
    }

    /// The program headers.
    fn _segments(&self) -> Vec<Segment> {
        let row = |one: &odograph_objects::header::Segment| {
            (one.kind, one.flags, one.offset, one.address, one.file_size, one.memory_size)
        };
        self.headers.segments.iter().map(row).collect()
    }

    /// The GNU build id.
    fn _build_id<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let found = with_data_of!(self, None, |data| self.headers.build_id(data));
        found.map(|found| PyBytes::new(py, &found))
    }

    /// The GNU build id among the bytes of notes.
    fn _build_id_in<'py>(&self, py: Python<'py>, notes: &[u8]) -> Option<Bound<'py, PyBytes>> {
        self.headers.build_id_in(notes, 4).map(|found| PyBytes::new(py, found))
    }

    /// Number and contents of the notes in segments.
    fn _notes<'py>(&self, py: Python<'py>) -> Vec<(u32, Bound<'py, PyBytes>)> {
        let made = |notes: Vec<(u32, &[u8])>| {
            notes.into_iter().map(|(number, data)| (number, PyBytes::new(py, data))).collect()
        };
        with_data_of!(self, Vec::new(), |data| made(self.headers.notes(data)))
    }

    /// The dynamic linker that it asks for.
    fn _interpreter<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        with_data_of!(self, None, |data| self.headers.interpreter(data).map(|name| PyBytes::new(py, name)))
    }

    /// Whether it has a full symbol table.
    fn _has_symbol_table(&self) -> bool {
        with_data_of!(self, false, |data| self.headers.has_symbol_table(data))
    }

    /// The value of the first of ``names`` in the full symbol table.
    fn _value_of(&self, names: Vec<String>) -> Option<u64> {
        with_data_of!(self, None, |data| with_data(data, |file| value_of(file, &names)).flatten())
    }
}

/// Debug information behind its lock.
struct Asked<'a>(Option<&'a RawLines>);

impl Debug for Asked<'_> {
    fn function_at(&mut self, address: u64) -> Option<(String, u64, u64)> {
        self.0?.opened().lines()?.function_at(address)
    }
}

/// The functions of one file.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawFunctions {
    functions: Mutex<Functions>,
    lines: Option<Py<RawLines>>,
}

impl RawFunctions {
    fn debug(&self) -> Asked<'_> {
        Asked(self.lines.as_ref().map(Py::get))
    }
}

fn fields(function: Function) -> FunctionFields {
    let known_by = match function.known_by {
        KnownBy::Symbol => "symbol",
        KnownBy::Dwarf => "dwarf",
        KnownBy::Frame => "fde",
    };
    (function.start, function.end, function.name(), function.raw, known_by)
}

#[pymethods]
impl RawFunctions {
    /// Of a file, its debug file and its MiniDebugInfo; ``lines`` is its debug information.
    #[staticmethod]
    fn _of_file(py: Python<'_>, path: PathBuf, lines: Py<RawLines>) -> RawFunctions {
        let functions = py.detach(|| Functions::of_file(&path));
        RawFunctions { functions: Mutex::new(functions), lines: Some(lines) }
    }

    /// Of the bytes of a file.
    #[staticmethod]
    fn _of_bytes(py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<RawFunctions> {
        let data = copy_buffer(data, "an object file needs")?;
        let functions = py.detach(|| Functions::of_bytes(&data));
        Ok(RawFunctions { functions: Mutex::new(functions), lines: None })
    }

    /// The numbers of the functions at addresses (native-endian uint64) and where these begin; -1 (int64) and 0 where
    /// none is known.
    fn _find<'py>(
        &self,
        py: Python<'py>,
        addresses: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let addresses = copy_buffer(addresses, "looking up needs")?;
        let (numbers, starts) = py.detach(|| {
            let mut functions = locked(&self.functions);
            let mut numbers = Vec::with_capacity(addresses.len());
            let mut starts = Vec::with_capacity(addresses.len());
            for address in addresses.chunks_exact(8) {
                let address = address.try_into().map_or(0, u64::from_ne_bytes);
                let number = functions.at(address, &mut self.debug());
                let start = number.and_then(|number| functions.start(number)).unwrap_or(0);
                numbers.extend(number.map_or(-1, |number| number as i64).to_ne_bytes());
                starts.extend(start.to_ne_bytes());
            }
            (numbers, starts)
        });
        Ok((PyBytes::new(py, &numbers), PyBytes::new(py, &starts)))
    }

    /// The function at an address.
    fn _at(&self, py: Python<'_>, address: Number) -> Option<FunctionFields> {
        let found = py.detach(|| {
            let mut functions = locked(&self.functions);
            let number = functions.at(address.0, &mut self.debug())?;
            functions.get(number)
        });
        found.map(fields)
    }

    /// The function of a number.
    fn _get(&self, number: usize) -> Option<FunctionFields> {
        locked(&self.functions).get(number).map(fields)
    }

    /// Whether there is any symbol.
    fn _has_symbols(&self) -> bool {
        !locked(&self.functions).symbols().is_empty()
    }

    /// All functions, sorted by start; asks debug information for names that symbols do not have.
    fn _all(&self, py: Python<'_>) -> Vec<FunctionFields> {
        let found = py.detach(|| {
            let mut functions = locked(&self.functions);
            functions.name_frames(&mut self.debug());
            let all = functions.all();
            all.into_iter().filter_map(|number| functions.get(number)).collect::<Vec<_>>()
        });
        found.into_iter().map(fields).collect()
    }

    /// Where functions begin (native-endian uint64, sorted).
    fn _entries<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let entries = py.detach(|| locked(&self.functions).entries());
        let bytes: Vec<u8> = entries.into_iter().flat_map(u64::to_ne_bytes).collect();
        PyBytes::new(py, &bytes)
    }

    /// (begin, end, begin of the function that it is a part of, whether something begins there: 0 or 1) of all code (native-endian uint64, sorted).
    fn _bodies<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bodies = py.detach(|| locked(&self.functions).bodies());
        let fields =
            bodies.into_iter().flat_map(|(start, end, owner, begins)| [start, end, owner, u64::from(begins)]);
        let bytes: Vec<u8> = fields.flat_map(u64::to_ne_bytes).collect();
        PyBytes::new(py, &bytes)
    }

    /// Where functions of exactly this name begin.
    fn _named(&self, py: Python<'_>, name: &str) -> Vec<u64> {
        py.detach(|| locked(&self.functions).named(name))
    }

    /// All names of the function that begins at an address: as shown, and as the file has it.
    fn _names_at(&self, start: Number) -> Vec<(String, String)> {
        locked(&self.functions).names_at(start.0)
    }

    /// Functions that a name may mean, without parameters or namespaces: where they begin, and their names.
    fn _matches(&self, py: Python<'_>, name: &str) -> Vec<(u64, String)> {
        py.detach(|| locked(&self.functions).matches(name))
    }

    /// Names as shown, at most so many bytes of them.
    fn _shown_names(&self, py: Python<'_>, most: usize) -> Vec<String> {
        py.detach(|| locked(&self.functions).shown_names(most))
    }
}

/// Where functions of an ELF file begin that have unwind information, and (landing pad, first, last) of the calls whose
/// exceptions land there; addresses are those of the file. Empty where there is no such information.
#[pyfunction]
fn unwind_tables_of_file(py: Python<'_>, path: PathBuf) -> UnwindTables {
    // The function itself is not general enough in its lifetimes.
    #[allow(clippy::redundant_closure)]
    let found = py.detach(|| with_file(&path, |file| unwind_tables_of(file))).unwrap_or_default();
    (found.starts, found.pads)
}

/// Where the debug file of a build id has its place.
#[pyfunction]
fn debug_place(identity: &[u8]) -> Option<PathBuf> {
    place_by_build_id(identity)
}

/// The name as its language writes it; others come back as they are.
#[pyfunction]
#[pyo3(name = "demangle")]
fn demangle_name(name: &str) -> String {
    demangle(name)
}

/// Adds this room to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawObject>()?;
    module.add_class::<RawFunctions>()?;
    module.add_function(wrap_pyfunction!(unwind_tables_of_file, module)?)?;
    module.add_function(wrap_pyfunction!(debug_place, module)?)?;
    module.add_function(wrap_pyfunction!(demangle_name, module)?)
}
