//! Opens files by names that recordings hold. `odograph.files.plainfile` makes Python's files of them.

use std::path::Path;

use odograph_files::Named;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::image::name_from_bytes;

/// EACCES, for what this module refuses itself.
const REFUSED: i32 = 13;

/// A descriptor of a regular file that a recording named, for the caller to close. OSError with number and reason.
#[pyfunction]
fn open_recorded(py: Python<'_>, name: &[u8]) -> PyResult<i32> {
    let name = name_from_bytes(name);
    let file = py.detach(|| odograph_files::open(Path::new(&name), Named::ByRecording));
    let file = file.map_err(|error| {
        let number = error.raw_os_error().unwrap_or(REFUSED);
        PyOSError::new_err((number, error.to_string(), name.clone()))
    })?;
    descriptor(file)
}

#[cfg(unix)]
fn descriptor(file: std::fs::File) -> PyResult<i32> {
    use std::os::fd::IntoRawFd;
    Ok(file.into_raw_fd())
}

#[cfg(not(unix))]
fn descriptor(_: std::fs::File) -> PyResult<i32> {
    Err(pyo3::exceptions::PyNotImplementedError::new_err(
        "files that a recording names can be opened only on Unix; give them with --elf or --map",
    ))
}

/// Adds this room to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(open_recorded, module)?)
}
