//! Images and section caches. `odograph.code.image` derives the public classes from these.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use odograph_core::asid::Asid;
use odograph_core::error::PtError;
use odograph_core::image::{FileSection, Image, Section, SectionCache};
use odograph_core::memory::{MemoryError, ReadMemory, CALLBACK_PAGE};
use odograph_files::Named;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt};

use crate::argument::{copy_buffer, Isid, Number};
use crate::asid::{or_any, PyAsid};
use crate::error::{self, Kind, Place};

/// A Python function that answers for memory no section holds.
pub struct Callback {
    function: Py<PyAny>,
    /// The function may also return the negative of a libipt error.
    statuses: bool,
}

impl ReadMemory for Callback {
    fn read(&self, address: u64, size: usize, asid: &Asid) -> Result<Vec<u8>, MemoryError> {
        let answer = Python::try_attach(|py| {
            self.ask(py, address, size, asid).unwrap_or_else(|error| Err(error::pack(py, error)))
        });
        // Only an interpreter that is going down cannot be asked.
        answer.unwrap_or(Err(MemoryError::Pt(PtError::Internal)))
    }
}

impl Callback {
    fn ask(
        &self,
        py: Python<'_>,
        address: u64,
        size: usize,
        asid: &Asid,
    ) -> PyResult<Result<Vec<u8>, MemoryError>> {
        let answer = self.function.bind(py).call1((address, size, PyAsid::from(*asid)))?;
        if self.statuses && answer.is_instance_of::<PyInt>() {
            let code = answer.extract::<i64>()?.checked_neg().and_then(|code| u8::try_from(code).ok());
            return Ok(Err(code.and_then(PtError::from_code).unwrap_or(PtError::Internal).into()));
        }
        let bytes = copy_buffer(&answer, "read_memory must return")?;
        if bytes.len() > size {
            let message = format!("read_memory returned {} bytes, but {size} were asked for", bytes.len());
            let place = Place { ip: Some(address), asid: Some(*asid), ..Place::default() };
            return Err(error::pt(py, Kind::Image, PtError::Invalid, &message, place));
        }
        Ok(Ok(bytes))
    }
}

/// Who chose the name of a file: a recording, or else the user.
fn named(recorded: bool) -> Named {
    if recorded {
        Named::ByRecording
    } else {
        Named::ByUser
    }
}

/// File names cross the border as bytes, as `os.fsencode` makes them.
pub fn name_from_bytes(name: &[u8]) -> OsString {
    #[cfg(unix)]
    return <OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name).to_owned();
    #[cfg(not(unix))]
    return String::from_utf8_lossy(name).into_owned().into();
}

fn name_to_bytes(name: &OsStr) -> Vec<u8> {
    name.as_encoded_bytes().to_vec()
}

/// The exception for a file section that could not be added.
fn add_file_error(py: Python<'_>, code: PtError, name: &OsStr, named: Named, offset: u64) -> PyErr {
    let shown = name.to_string_lossy();
    let message = match code {
        PtError::BadFile => match odograph_files::open(Path::new(name), named) {
            Ok(_) => format!("cannot read {shown}"),
            Err(reason) => format!("cannot read {shown}: {reason}"),
        },
        PtError::Invalid => match std::fs::metadata(name) {
            Ok(metadata) if offset >= metadata.len() => {
                format!("offset {offset:#x} lies at or past the end of {shown} ({:#x} bytes)", metadata.len())
            }
            Ok(_) => format!("the section of {shown} would end beyond 2**64"),
            Err(_) => "this cannot be a file name".to_owned(),
        },
        other => format!("{other}: {shown}"),
    };
    error::pt(py, Kind::Image, code, &message, Place::default())
}

/// The exception for a read that failed; names the file if it is one that has changed.
fn read_error(py: Python<'_>, failure: &MemoryError, name: Option<&OsStr>, place: Place) -> PyErr {
    let message = match (failure.pt(), name) {
        (Some(PtError::BadImage), Some(name)) => {
            Some(format!("{} has changed, shrunk or vanished since it was added", name.to_string_lossy()))
        }
        _ => None,
    };
    error::memory(py, failure, message.as_deref(), place)
}

type SectionFields<'py> = (Option<Bound<'py, PyBytes>>, u64, u64, u64, PyAsid, i32);

fn section_fields(py: Python<'_>, section: Section) -> SectionFields<'_> {
    let name = section.name.map(|name| PyBytes::new(py, &name_to_bytes(&name)));
    (name, section.offset, section.size, section.vaddr, section.asid.into(), section.isid)
}

/// The native half of `odograph.Image`.
#[pyclass(frozen, subclass, module = "odograph._native")]
pub struct RawImage {
    image: Mutex<Image>,
    /// The callback once more, for the garbage collector.
    callback: Mutex<Option<Arc<Callback>>>,
}

impl RawImage {
    // No Python code runs under these locks, and no panic can leave an image half changed.
    fn image(&self) -> MutexGuard<'_, Image> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The image of this moment.
    pub fn snapshot(&self) -> Image {
        self.image().clone()
    }

    // Always taken before the image's lock, so that both callbacks change together.
    fn callback(&self) -> MutexGuard<'_, Option<Arc<Callback>>> {
        self.callback.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The image of this moment, with its callback.
    pub fn with_callback(&self) -> (Image, Option<Arc<Callback>>) {
        let callback = self.callback();
        (self.snapshot(), callback.clone())
    }

    /// Becomes an image with its callback, except for the name.
    pub fn become_(&self, other: &Image, callback: Option<Arc<Callback>>) {
        let mut ours = self.callback();
        let before = {
            let mut image = self.image();
            let named = other.renamed(image.name());
            (std::mem::replace(&mut *image, named), std::mem::replace(&mut *ours, callback))
        };
        drop(ours);
        // Dropping a function may run Python code, which may use this image.
        drop(before);
    }

    fn replace_callback(&self, callback: Option<Arc<Callback>>) {
        let shared = callback.clone().map(|callback| callback as Arc<dyn ReadMemory>);
        let mut ours = self.callback();
        let before = (self.image().set_callback(shared), std::mem::replace(&mut *ours, callback));
        drop(ours);
        // Dropping a function may run Python code, which may use this image.
        drop(before);
    }
}

#[pymethods]
impl RawImage {
    #[new]
    #[pyo3(signature = (name=None))]
    fn new(name: Option<&str>) -> Self {
        RawImage { image: Mutex::new(Image::new(name)), callback: Mutex::new(None) }
    }

    #[getter]
    fn name(&self) -> Option<String> {
        self.image().name().map(str::to_owned)
    }

    #[getter]
    fn version(&self) -> u64 {
        self.image().version()
    }

    #[allow(clippy::too_many_arguments)] // what Image.add_file takes
    #[pyo3(signature = (filename, offset, size, vaddr, asid, recorded=false))]
    fn _add_file(
        &self,
        py: Python<'_>,
        filename: &[u8],
        offset: Number,
        size: Number,
        vaddr: Number,
        asid: Option<&Bound<'_, PyAsid>>,
        recorded: bool,
    ) -> PyResult<()> {
        let (name, named, asid) = (name_from_bytes(filename), named(recorded), or_any(asid));
        let section = py
            .detach(|| FileSection::open(&name, named, offset.0, size.0, vaddr.0))
            .map_err(|code| add_file_error(py, code, &name, named, offset.0))?;
        self.image().add_opened(&section, &asid);
        Ok(())
    }

    fn _add_cached(
        &self,
        py: Python<'_>,
        cache: &Bound<'_, RawSectionCache>,
        isid: Isid,
        asid: Option<&Bound<'_, PyAsid>>,
    ) -> PyResult<()> {
        let added = self.image().add_cached(&cache.get().cache, isid.0, &or_any(asid));
        added.map_err(|code| unknown_isid(py, code, isid.0))
    }

    fn _add_bytes(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        vaddr: Number,
        asid: Option<&Bound<'_, PyAsid>>,
        name: Option<&[u8]>,
    ) -> PyResult<()> {
        let data = copy_buffer(data, "data must be")?;
        let name = name.map(name_from_bytes);
        let added = self.image().add_bytes(data, vaddr.0, &or_any(asid), name.as_deref());
        added.map_err(|_| error::invalid_argument(py, "the section would end beyond 2**64"))
    }

    fn _copy_from(&self, py: Python<'_>, source: &Bound<'_, RawImage>) -> usize {
        let source = source.get().snapshot();
        py.detach(|| self.image().copy_from(&source))
    }

    /// Nothing lies from `first` to `last` (both included) any more.
    fn _clear(&self, first: Number, last: Number) {
        self.image().clear(first.0, last.0);
    }

    /// Sections of `over` with a byte from `first` to `last` (both included) come to lie over this image.
    fn _overlay(&self, over: &Bound<'_, RawImage>, first: Number, last: Number) {
        let over = over.get().snapshot();
        self.image().overlay(&over, first.0, last.0);
    }

    fn _remove_by_filename(
        &self,
        py: Python<'_>,
        filename: &[u8],
        asid: Option<&Bound<'_, PyAsid>>,
    ) -> usize {
        let (name, asid) = (name_from_bytes(filename), or_any(asid));
        py.detach(|| self.image().remove_by_filename(&name, &asid))
    }

    fn _remove_by_asid(&self, py: Python<'_>, asid: Option<&Bound<'_, PyAsid>>) -> usize {
        let asid = or_any(asid);
        py.detach(|| self.image().remove_by_asid(&asid))
    }

    fn _invalidate(
        &self,
        py: Python<'_>,
        address: Number,
        size: Number,
        asid: Option<&Bound<'_, PyAsid>>,
    ) -> PyResult<()> {
        let done = self.image().invalidate(address.0, size.0, &or_any(asid));
        done.map_err(|_| error::invalid_argument(py, "the range would end beyond 2**64"))
    }

    fn _sections<'py>(&self, py: Python<'py>) -> Vec<SectionFields<'py>> {
        let image = self.snapshot();
        let sections = py.detach(|| image.sections());
        sections.into_iter().map(|section| section_fields(py, section)).collect()
    }

    fn _set_callback(&self, function: Option<Py<PyAny>>, statuses: bool) {
        self.replace_callback(function.map(|function| Arc::new(Callback { function, statuses })));
    }

    fn _has_callback(&self) -> bool {
        self.image().callback().is_some()
    }

    /// The bytes at an address; None if nothing is there.
    fn _read<'py>(
        &self,
        py: Python<'py>,
        address: Number,
        size: Number,
        asid: Option<&Bound<'py, PyAsid>>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let (image, asid) = (self.snapshot(), or_any(asid));
        match py.detach(|| image.read_to_vec(&asid, address.0, size.0)) {
            Ok((bytes, _)) => Ok(Some(PyBytes::new(py, &bytes))),
            Err(MemoryError::Pt(PtError::Nomap)) => Ok(None),
            Err(failure) => {
                let name = image.section_at(&asid, address.0).and_then(|section| section.name);
                let place = Place { ip: Some(address.0), asid: Some(asid), ..Place::default() };
                Err(read_error(py, &failure, name.as_deref(), place))
            }
        }
    }

    /// Where something may begin at or behind an address: a section, or what a callback holds.
    fn _next_start(&self, address: Number, asid: Option<&Bound<'_, PyAsid>>) -> Option<u64> {
        let image = self.snapshot();
        let section = image.next_start(&or_any(asid), address.0);
        let page = image.callback().and_then(|_| (address.0 | (CALLBACK_PAGE - 1)).checked_add(1));
        section.into_iter().chain(page).min()
    }

    /// Makes this image what `source` is now, except for the name.
    fn _assign(&self, source: &Bound<'_, RawImage>) {
        let (snapshot, callback) = source.get().with_callback();
        self.become_(&snapshot, callback);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(callback) = self.callback.try_lock() {
            // Ours and the one inside the image; a snapshot elsewhere keeps the function alive.
            match &*callback {
                Some(callback) if Arc::strong_count(callback) == 2 => visit.call(&callback.function)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        self.replace_callback(None);
    }
}

fn unknown_isid(py: Python<'_>, code: PtError, isid: i32) -> PyErr {
    let message = match code {
        PtError::BadImage if isid == 0 => "the cache has no such section".to_owned(),
        PtError::BadImage => format!("the cache has no section {isid}"),
        other => other.message().to_owned(),
    };
    error::pt(py, Kind::Image, code, &message, Place::default())
}

/// The native half of `odograph.SectionCache`.
#[pyclass(frozen, subclass, module = "odograph._native")]
pub struct RawSectionCache {
    cache: SectionCache,
}

#[pymethods]
impl RawSectionCache {
    #[new]
    #[pyo3(signature = (name=None, limit=None))]
    fn new(name: Option<String>, limit: Option<Number>) -> Self {
        RawSectionCache { cache: SectionCache::new(name, limit.map(|limit| limit.0)) }
    }

    #[getter]
    fn name(&self) -> Option<&str> {
        self.cache.name()
    }

    fn _limit(&self) -> Option<u64> {
        self.cache.limit()
    }

    fn _set_limit(&self, limit: Option<Number>) {
        self.cache.set_limit(limit.map(|limit| limit.0));
    }

    fn _kept(&self) -> u64 {
        self.cache.kept()
    }

    #[pyo3(signature = (filename, offset, size, vaddr, recorded=false))]
    fn _add_file(
        &self,
        py: Python<'_>,
        filename: &[u8],
        offset: Number,
        size: Number,
        vaddr: Number,
        recorded: bool,
    ) -> PyResult<i32> {
        let (name, named) = (name_from_bytes(filename), named(recorded));
        py.detach(|| self.cache.add_named(&name, named, offset.0, size.0, vaddr.0))
            .map_err(|code| add_file_error(py, code, &name, named, offset.0))
    }

    fn _section<'py>(&self, py: Python<'py>, isid: Isid) -> PyResult<SectionFields<'py>> {
        let section = self.cache.describe(isid.0).map_err(|code| unknown_isid(py, code, isid.0))?;
        Ok(section_fields(py, section))
    }

    fn _read<'py>(
        &self,
        py: Python<'py>,
        isid: Isid,
        address: Number,
        size: Number,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let section = self.cache.describe(isid.0).map_err(|code| unknown_isid(py, code, isid.0))?;
        let bytes = py.detach(|| self.cache.read_to_vec(isid.0, address.0, size.0)).map_err(|code| {
            let place = Place { ip: Some(address.0), ..Place::default() };
            read_error(py, &code.into(), section.name.as_deref(), place)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }
}

/// Adds this room to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawImage>()?;
    module.add_class::<RawSectionCache>()
}
