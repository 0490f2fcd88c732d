//! What Python needs of the recorders.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use odograph_core::instruction::ExecMode;
use odograph_recorder::arguments::Arguments;
use odograph_recorder::exec::{self, Program};
use odograph_recorder::finish;
use odograph_recorder::path::Path;
use odograph_recorder::process::Origin;
use odograph_recorder::runs::Runs;
use odograph_recorder::step;
use odograph_recorder::stopped::{self, StoppedThread};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// tid, offset, size, instructions, hash, dropped, instructions when there was no more room, last_ip.
type StreamSummary = (i32, u64, u64, u64, u64, u64, Option<u64>, u64);

/// Completes a stream file whose process has gone. Raises OSError.
#[pyfunction]
fn finish_stream(py: Python<'_>, path: PathBuf) -> PyResult<StreamSummary> {
    let summary = py.detach(|| finish::finish(&path))?;
    Ok((
        summary.tid,
        summary.offset,
        summary.size,
        summary.count,
        summary.hash,
        summary.dropped,
        summary.written,
        summary.last_ip,
    ))
}

/// pid, time, address, bytes.
type CodePiece<'py> = (i32, u64, u64, Bound<'py, PyBytes>);

fn code_pieces(py: Python<'_>, runs: Runs) -> Vec<CodePiece<'_>> {
    let pieces = runs.into_pieces();
    pieces.map(|((pid, time, address), bytes)| (pid, time, address, PyBytes::new(py, &bytes))).collect()
}

/// The executed bytes in a section of a recording, those that touch joined; `None` if pieces that cost `each` and
/// `each_byte` for each of their bytes would cost more than `most`. Raises ValueError if an entry is cut.
#[pyfunction]
fn recorded_code<'py>(
    py: Python<'py>,
    entries: &[u8],
    each: usize,
    each_byte: usize,
    most: usize,
) -> PyResult<Option<Vec<CodePiece<'py>>>> {
    let mut runs = Runs::default();
    let cost = |pieces: usize, bytes: usize| {
        pieces.saturating_mul(each).saturating_add(bytes.saturating_mul(each_byte))
    };
    match runs.add_recorded(entries, |pieces, bytes| cost(pieces, bytes) <= most) {
        None => Err(PyValueError::new_err("an entry of its code is cut")),
        Some(false) => Ok(None),
        Some(true) => Ok(Some(code_pieces(py, runs))),
    }
}

/// The executed bytes that a recorder left, those that touch joined; their process is 0.
#[pyfunction]
fn learned_code<'py>(py: Python<'py>, entries: &[u8]) -> Vec<CodePiece<'py>> {
    let mut runs = Runs::default();
    runs.add_learned(entries);
    code_pieces(py, runs)
}

/// The ELF file and arguments that run when `path` is executed; ValueError says why not.
#[pyfunction]
fn resolve_program(path: PathBuf, arguments: Vec<Vec<u8>>) -> PyResult<(PathBuf, Vec<Vec<u8>>)> {
    let name = path.as_os_str().as_bytes();
    let program = exec::resolve(&path, name, &arguments).map_err(PyValueError::new_err)?;
    Ok((program.path, program.arguments))
}

/// Command line and environment that run a resolved program under QEMU with the recorder.
#[pyfunction]
fn qemu_command(
    qemu: PathBuf,
    plugin: PathBuf,
    spool: PathBuf,
    program: PathBuf,
    arguments: Vec<Vec<u8>>,
    environment: Vec<Vec<u8>>,
) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let options =
        Arguments { spool, qemu, plugin, program: program.clone(), origin: Origin::First, truth: (0, 0) };
    exec::command(&options, &Program { path: program, arguments }, environment)
}

/// Runs a program by single steps and records it; its status as a shell gives it. Raises OSError. The
/// calling process must have no other children. `blocked` are the signals that the program starts with blocked.
#[pyfunction]
#[pyo3(signature = (spool, program, arguments, environment, blocked=None))]
fn step_program(
    py: Python<'_>,
    spool: PathBuf,
    program: PathBuf,
    arguments: Vec<Vec<u8>>,
    environment: Vec<Vec<u8>>,
    blocked: Option<Vec<i32>>,
) -> PyResult<i32> {
    Ok(py.detach(|| step::run(&spool, &program, &arguments, &environment, blocked.as_deref()))?)
}

/// OSError with its number, which the usual conversion leaves out.
fn numbered(error: &std::io::Error) -> PyErr {
    PyOSError::new_err((error.raw_os_error().unwrap_or(0), error.to_string()))
}

/// A thread of a live process, held still until it is released or this process ends.
#[pyclass(frozen, module = "odograph._native")]
struct RawStoppedThread(StoppedThread);

#[pymethods]
impl RawStoppedThread {
    /// Raises OSError.
    #[new]
    fn new(py: Python<'_>, tid: i32) -> PyResult<RawStoppedThread> {
        py.detach(|| stopped::stop(tid)).map(RawStoppedThread).map_err(|error| numbered(&error))
    }

    /// Its general registers in the kernel's order. Raises OSError.
    fn _registers(&self) -> PyResult<Vec<u64>> {
        self.0.registers().map_err(|error| numbered(&error))
    }

    /// Lets it go on; only from the thread that held it. Raises OSError.
    fn _release(&self) -> PyResult<()> {
        self.0.release().map_err(|error| numbered(&error))
    }
}

/// Writes packets for instructions that are executed elsewhere.
#[pyclass(module = "odograph._native")]
struct RawPath(Path);

#[pymethods]
impl RawPath {
    /// `mode` is libipt's `pt_exec_mode`.
    #[new]
    fn new(mode: u8) -> RawPath {
        RawPath(Path::new(match mode {
            1 => ExecMode::Bits16,
            2 => ExecMode::Bits32,
            _ => ExecMode::Bits64,
        }))
    }

    fn step(&mut self, ip: u64, bytes: &[u8]) {
        self.0.step(ip, bytes);
    }

    fn stop(&mut self, ip: u64) {
        self.0.stop(ip);
    }

    /// The packets since the last call.
    fn take<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.take())
    }

    /// Number of executed instructions, and their hash.
    #[getter]
    fn truth(&self) -> (u64, u64) {
        self.0.truth()
    }

    /// (tsc, address, bytes) of each executed instruction, once.
    fn code<'py>(&self, py: Python<'py>) -> Vec<(u64, u64, Bound<'py, PyBytes>)> {
        let code = self.0.code().iter();
        code.map(|change| (change.tsc, change.address, PyBytes::new(py, &change.bytes))).collect()
    }
}

/// Adds the functions of this file.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawStoppedThread>()?;
    module.add_class::<RawPath>()?;
    module.add_function(wrap_pyfunction!(finish_stream, module)?)?;
    module.add_function(wrap_pyfunction!(recorded_code, module)?)?;
    module.add_function(wrap_pyfunction!(learned_code, module)?)?;
    module.add_function(wrap_pyfunction!(step_program, module)?)?;
    module.add_function(wrap_pyfunction!(resolve_program, module)?)?;
    module.add_function(wrap_pyfunction!(qemu_command, module)?)
}
