//! Stacks of x86-64 and AArch64. `odograph.unwind.cfi` derives the public class from this.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use odograph_unwind::cfi::{Found, Frame, Machine, Memory, Module, Registers, Tables, Unwinder};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::argument::{copy_buffer, Number};
use crate::error::{self, Kind, Place};

/// The call frame information of one file.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawFrameTables(Arc<Tables>);

#[pymethods]
impl RawFrameTables {
    /// Of a file, and of the debug file that belongs to it; empty if there is none.
    #[staticmethod]
    fn _of_file(py: Python<'_>, path: PathBuf) -> RawFrameTables {
        RawFrameTables(Arc::new(py.detach(|| Tables::of_file(&path))))
    }

    /// Of an ELF file that lies in memory as a whole.
    #[staticmethod]
    fn _of_bytes(data: &[u8]) -> RawFrameTables {
        RawFrameTables(Arc::new(Tables::of_bytes(data)))
    }
}

/// Memory in Python.
struct Asked<'py> {
    read: Bound<'py, PyAny>,
}

impl Memory for Asked<'_> {
    type Error = PyErr;

    fn read(&mut self, address: u64, size: usize) -> PyResult<Vec<u8>> {
        let answer = self.read.call1((address, size))?;
        let bytes = copy_buffer(&answer, "a memory must give")?;
        if bytes.len() > size {
            let message = format!("a memory gave {} bytes, but {size} were asked for", bytes.len());
            let place = Place { ip: Some(address), ..Place::default() };
            return Err(error::new(self.read.py(), Kind::InvalidArgument, &message, place));
        }
        Ok(bytes)
    }
}

/// Address, how it was found, whether it is a return address, whether it is a guess, registers.
type FrameFields<'py> = (u64, &'static str, bool, bool, Bound<'py, PyDict>);

/// The native half of `odograph.unwind.CfiUnwinder`.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawCfiUnwinder {
    machine: Machine,
    names: Vec<Py<PyString>>,
    /// None while a stack is being unwound: reading memory may run anything.
    unwinder: Mutex<Option<Box<Unwinder>>>,
}

impl RawCfiUnwinder {
    fn unwinder(&self) -> MutexGuard<'_, Option<Box<Unwinder>>> {
        self.unwinder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn frame<'py>(&self, py: Python<'py>, frame: &Frame) -> PyResult<FrameFields<'py>> {
        let registers = PyDict::new(py);
        for (number, value) in frame.registers.known() {
            if let Some(name) = self.names.get(number) {
                registers.set_item(name.bind(py), value)?;
            }
        }
        let found = match frame.found {
            Found::Start => "start",
            Found::UnwindInfo => "unwind info",
            Found::FramePointer => "frame pointer",
            Found::Leaf => "leaf",
            Found::Signal => "signal",
        };
        let address = frame.registers.get(self.machine.pc()).unwrap_or(0);
        Ok((address, found, frame.is_return, frame.is_guess, registers))
    }
}

fn in_use(py: Python<'_>) -> PyErr {
    error::new(py, Kind::Reentered, "this unwinder is unwinding a stack already", Place::default())
}

#[pymethods]
impl RawCfiUnwinder {
    /// `machine` is an ELF file's `e_machine`.
    #[new]
    fn new(py: Python<'_>, machine: u16) -> PyResult<Self> {
        let Some(machine) = Machine::of_elf(machine) else {
            return Err(error::invalid_argument(py, "stacks are unwound of x86-64 and AArch64 only"));
        };
        let names = machine.names().iter().map(|name| PyString::intern(py, name).unbind()).collect();
        Ok(RawCfiUnwinder { machine, names, unwinder: Mutex::new(Some(Box::new(Unwinder::new(machine)))) })
    }

    /// The names of the registers.
    fn _names<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyString>> {
        self.names.iter().map(|name| name.bind(py).clone()).collect()
    }

    /// Adds a module: where it lies, what loading added to its addresses, what it says of frames.
    fn _add_module(
        &self,
        py: Python<'_>,
        start: Number,
        end: Number,
        bias: Number,
        tables: &Bound<'_, RawFrameTables>,
    ) -> PyResult<()> {
        let tables = Arc::clone(&tables.get().0);
        let module = Module { range: start.0..end.0, bias: bias.0, tables };
        py.detach(|| self.unwinder().as_mut().map(|unwinder| unwinder.add_module(module)))
            .ok_or_else(|| in_use(py))
    }

    /// The frames from these registers on, and why there are no more. `read` is `Memory.read`.
    fn _stack<'py>(
        &self,
        py: Python<'py>,
        registers: &Bound<'py, PyDict>,
        read: Bound<'py, PyAny>,
        limit: usize,
    ) -> PyResult<(Vec<FrameFields<'py>>, String)> {
        let mut first = Registers::default();
        for (number, name) in self.names.iter().enumerate() {
            if let Some(value) = registers.get_item(name.bind(py))? {
                first.set(number, Some(value.extract::<Number>()?.0));
            }
        }
        let Some(mut unwinder) = self.unwinder().take() else { return Err(in_use(py)) };
        let result = unwinder.stack(first, &mut Asked { read }, limit);
        *self.unwinder() = Some(unwinder);
        let (frames, end) = result?;
        let frames = frames.iter().map(|frame| self.frame(py, frame)).collect::<PyResult<Vec<_>>>()?;
        Ok((frames, end.to_string()))
    }
}

/// Adds this room to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawFrameTables>()?;
    module.add_class::<RawCfiUnwinder>()
}
