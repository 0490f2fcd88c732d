//! From errors of the core to the classes of `odograph.errors`, and exceptions of callbacks through
//! the core and back.

use std::sync::Arc;

use odograph_core::asid::Asid;
use odograph_core::error::PtError;
use odograph_core::memory::MemoryError;
use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The classes of `odograph.errors`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // rooms that join later raise the others
pub enum Kind {
    /// `InvalidArgument`.
    InvalidArgument,
    /// `Reentered`.
    Reentered,
    /// `UnsupportedOperation`.
    UnsupportedOperation,
    /// `TraceError`.
    Trace,
    /// `ImageError`.
    Image,
    /// `RecordingError`.
    Recording,
}

impl Kind {
    fn class_name(self) -> &'static str {
        match self {
            Kind::InvalidArgument => "InvalidArgument",
            Kind::Reentered => "Reentered",
            Kind::UnsupportedOperation => "UnsupportedOperation",
            Kind::Trace => "TraceError",
            Kind::Image => "ImageError",
            Kind::Recording => "RecordingError",
        }
    }
}

/// Where and what: the attributes of an `OdographError`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// The libipt error.
    pub code: Option<PtError>,
    /// Byte offset in the trace or file.
    pub offset: Option<u64>,
    /// Address in the traced program.
    pub ip: Option<u64>,
    /// Address space.
    pub asid: Option<Asid>,
}

/// An exception of `odograph.errors`, ready to be raised.
pub fn new(py: Python<'_>, kind: Kind, message: &str, place: Place) -> PyErr {
    match build(py, kind, message, place) {
        Ok(error) | Err(error) => error,
    }
}

fn build(py: Python<'_>, kind: Kind, message: &str, place: Place) -> PyResult<PyErr> {
    let class = py.import("odograph.errors")?.getattr(kind.class_name())?;
    let attributes = PyDict::new(py);
    attributes.set_item("code", place.code.map(|code| code.code()))?;
    attributes.set_item("offset", place.offset)?;
    attributes.set_item("ip", place.ip)?;
    if let Some(asid) = place.asid {
        // By its name: the room of asids raises errors, so this one does not know it.
        let class = py.import("odograph._native")?.getattr("Asid")?;
        attributes.set_item("asid", class.call1((asid.cr3, asid.vmcs))?)?;
    }
    Ok(PyErr::from_value(class.call((message,), Some(&attributes))?))
}

/// `InvalidArgument` with libipt's code `invalid`.
pub fn invalid_argument(py: Python<'_>, message: &str) -> PyErr {
    new(py, Kind::InvalidArgument, message, Place { code: Some(PtError::Invalid), ..Place::default() })
}

/// The exception for a libipt error: `InvalidArgument` for `invalid`, else `kind`.
pub fn pt(py: Python<'_>, kind: Kind, code: PtError, message: &str, place: Place) -> PyErr {
    let kind = if code == PtError::Invalid { Kind::InvalidArgument } else { kind };
    new(py, kind, message, Place { code: Some(code), ..place })
}

/// An exception that travels through the core.
struct Foreign(Py<PyBaseException>);

/// Packs an exception, raised in a callback, for its way through the core.
pub fn pack(py: Python<'_>, error: PyErr) -> MemoryError {
    MemoryError::Foreign(Arc::new(Foreign(error.into_value(py))))
}

/// The exception for a memory error: the very object a callback raised, or an `ImageError` (for
/// `invalid` an `InvalidArgument`) that says where.
pub fn memory(py: Python<'_>, error: &MemoryError, message: Option<&str>, place: Place) -> PyErr {
    match error {
        MemoryError::Pt(code) => pt(py, Kind::Image, *code, message.unwrap_or(code.message()), place),
        MemoryError::Foreign(object) => match object.downcast_ref::<Foreign>() {
            Some(Foreign(exception)) => PyErr::from_value(exception.bind(py).clone().into_any()),
            None => pt(py, Kind::Image, PtError::Internal, "a foreign memory reader failed", place),
        },
    }
}
