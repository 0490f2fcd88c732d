//! Python arguments that need more than the usual conversion.

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::error;

/// An address, offset or size: any integer from 0 to 2^64 - 1.
///
/// Other integers raise `InvalidArgument`, other types `TypeError`.
#[derive(Clone, Copy, Debug)]
pub struct Number(pub u64);

impl<'py> FromPyObject<'_, 'py> for Number {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.extract::<u64>() {
            Ok(number) => Ok(Number(number)),
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
                let message = format!("{} does not lie between 0 and 2**64 - 1", object.repr()?);
                Err(error::invalid_argument(object.py(), &message))
            }
            Err(error) => Err(error),
        }
    }
}

/// An image section identifier. Integers that cannot be one become 0, which no section has.
#[derive(Clone, Copy, Debug)]
pub struct Isid(pub i32);

impl<'py> FromPyObject<'_, 'py> for Isid {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.extract::<i32>() {
            Ok(isid) => Ok(Isid(isid)),
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => Ok(Isid(0)),
            Err(error) => Err(error),
        }
    }
}

/// Copies the bytes of anything with the buffer protocol; `TypeError` for everything else.
///
/// `what` begins the sentence of the error, for example "read_memory must return".
pub fn copy_buffer(object: &Bound<'_, PyAny>, what: &str) -> PyResult<Vec<u8>> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    let view = PyMemoryView::from(object).map_err(|error| {
        if error.is_instance_of::<PyTypeError>(object.py()) {
            let kind = object.get_type().name().map(|name| name.to_string()).unwrap_or_default();
            PyTypeError::new_err(format!("{what} a bytes-like object, not {kind}"))
        } else {
            error
        }
    })?;
    let bytes = view.call_method0("tobytes")?;
    Ok(bytes.cast::<PyBytes>()?.as_bytes().to_vec())
}
