//! Files in memory that may become shorter while they are read.
//!
//! Reading behind the end of a mapped file raises SIGBUS. The handler here puts zeros there, so that every reader goes
//! on, and notes that the file was cut; the question that was being answered ends in an error.

use std::fs::{File, Metadata};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::SystemTime;

use pyo3::exceptions::{PyBufferError, PyIndexError, PyOSError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PySlice};

use crate::error::{self, Kind, Place};

/// What the handler knows of a mapping. Entries are never freed, as the handler may look at them at any time; one whose
/// start is 0 is free for another mapping.
struct Entry {
    start: AtomicUsize,
    size: AtomicUsize,
    cut: AtomicBool,
    next: AtomicPtr<Entry>,
    /// Not for the handler.
    source: Mutex<Option<Source>>,
}

/// The file behind a mapping, and how it looked. One that looks different later is another one.
struct Source {
    file: File,
    path: PathBuf,
    looks: (u64, Option<SystemTime>),
}

fn looks(metadata: &Metadata) -> (u64, Option<SystemTime>) {
    (metadata.len(), metadata.modified().ok())
}

impl Entry {
    fn source(&self) -> MutexGuard<'_, Option<Source>> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error if what was just read was not the file's.
    fn check_cut(&self, py: Python<'_>) -> PyResult<()> {
        match self.cut.load(Ordering::Acquire) {
            true => Err(self.error(py)),
            false => Ok(()),
        }
    }

    /// The same if the file is no longer what it was.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        let same = self.source().as_ref().is_none_or(|source| {
            let now = source.file.metadata().map(|metadata| looks(&metadata));
            now.is_ok_and(|now| now == source.looks)
        });
        match same {
            true => self.check_cut(py),
            false => Err(self.error(py)),
        }
    }

    fn error(&self, py: Python<'_>) -> PyErr {
        let path = self.source().as_ref().map(|source| source.path.display().to_string());
        let message = format!(
            "{} was changed or cut while it was open; open it again",
            path.as_deref().unwrap_or("the file")
        );
        error::new(py, Kind::Recording, &message, Place::default())
    }
}

static ENTRIES: AtomicPtr<Entry> = AtomicPtr::new(std::ptr::null_mut());
static PAGE: AtomicUsize = AtomicUsize::new(0);
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());

fn entries() -> impl Iterator<Item = &'static Entry> {
    let mut at = ENTRIES.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: the list holds leaked entries only, each complete before it was put in.
        let entry: &'static Entry = unsafe { at.as_ref()? };
        at = entry.next.load(Ordering::Acquire);
        Some(entry)
    })
}

/// The entry of the mapping in which `address` lies, and where that ends.
fn entry_at(address: usize) -> Option<(&'static Entry, usize)> {
    entries().find_map(|entry| {
        let start = entry.start.load(Ordering::Acquire);
        let end = start.checked_add(entry.size.load(Ordering::Acquire))?;
        (start != 0 && (start..end).contains(&address)).then_some((entry, end))
    })
}

/// Notes a mapping whose pages begin at `start`.
fn enter(start: usize, size: usize, source: Source) -> &'static Entry {
    for entry in entries() {
        // 1 is no address of a page: it keeps the entry while its fields are set.
        if entry.start.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            entry.size.store(size, Ordering::Release);
            entry.cut.store(false, Ordering::Release);
            *entry.source() = Some(source);
            entry.start.store(start, Ordering::Release);
            return entry;
        }
    }
    let entry: &'static Entry = Box::leak(Box::new(Entry {
        start: AtomicUsize::new(start),
        size: AtomicUsize::new(size),
        cut: AtomicBool::new(false),
        next: AtomicPtr::default(),
        source: Mutex::new(Some(source)),
    }));
    let pointer = std::ptr::from_ref(entry).cast_mut();
    let mut head = ENTRIES.load(Ordering::Acquire);
    loop {
        entry.next.store(head, Ordering::Release);
        match ENTRIES.compare_exchange(head, pointer, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return entry,
            Err(now) => head = now,
        }
    }
}

extern "C" fn on_bus_error(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel calls this with a valid `info`. Everything below is a system call or an atomic access, which
    // a handler may do at any time. New pages replace only pages of a mapping that is ours and cannot be read.
    unsafe {
        let address = info.as_ref().map_or(0, |info| info.si_addr() as usize);
        let page = address & !(PAGE.load(Ordering::Relaxed) - 1);
        if let Some((entry, end)) = entry_at(address) {
            entry.cut.store(true, Ordering::Release);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            let put = libc::mmap(page as *mut libc::c_void, end - page, libc::PROT_READ, flags, -1, 0);
            if put != libc::MAP_FAILED {
                return;
            }
        }
        // Not ours: what was there before decides.
        match PREVIOUS.load(Ordering::Acquire).as_ref() {
            Some(previous) if !matches!(previous.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN) => {
                if previous.sa_flags & libc::SA_SIGINFO != 0 {
                    type Action = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
                    std::mem::transmute::<usize, Action>(previous.sa_sigaction)(signal, info, context);
                } else {
                    std::mem::transmute::<usize, extern "C" fn(libc::c_int)>(previous.sa_sigaction)(signal);
                }
            }
            _ => {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
}

/// Installs the handler, once in the process.
fn install() {
    static ONCE: Once = Once::new();
    // SAFETY: plain system calls with valid arguments; the handler is in place before anything is mapped.
    ONCE.call_once(|| unsafe {
        PAGE.store(usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4096), Ordering::Relaxed);
        let mut action: libc::sigaction = std::mem::zeroed();
        let mut previous: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_bus_error as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut previous);
        PREVIOUS.store(Box::leak(Box::new(previous)), Ordering::Release);
        libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
    });
}

/// A mapped file: bytes that can be sliced, searched and borrowed by other readers, without a copy.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawMapping {
    entry: &'static Entry,
    start: usize,
    size: usize,
}

impl RawMapping {
    fn bytes(&self) -> &[u8] {
        // SAFETY: the pages are mapped until `self` is dropped. They are the file's, so others may change or cut it
        // meanwhile: what is read then is checked like any input, and the handler keeps every byte readable.
        unsafe { std::slice::from_raw_parts(self.start as *const u8, self.size) }
    }
}

impl Drop for RawMapping {
    fn drop(&mut self) {
        *self.entry.source() = None;
        self.entry.start.store(0, Ordering::Release);
        // SAFETY: the pages were mapped by `new` with this size, and no borrower is left: every borrower holds `self`.
        unsafe { libc::munmap(self.start as *mut libc::c_void, self.size) };
    }
}

#[pymethods]
impl RawMapping {
    /// Maps a regular file that is not empty. OSError if that cannot be done.
    #[new]
    fn new(path: PathBuf, descriptor: i32) -> PyResult<RawMapping> {
        install();
        // SAFETY: a copy of a descriptor that the caller has open; the copy is ours.
        let file = unsafe {
            let copy = libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 0);
            if copy < 0 {
                return Err(std::io::Error::last_os_error().into());
            }
            <File as std::os::fd::FromRawFd>::from_raw_fd(copy)
        };
        let metadata = file.metadata()?;
        let size =
            usize::try_from(metadata.len()).map_err(|_| PyOSError::new_err("the file is too large"))?;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ, libc::MAP_SHARED, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().into());
        }
        let page = PAGE.load(Ordering::Relaxed);
        let source = Source { file, path, looks: looks(&metadata) };
        let entry = enter(start as usize, size.next_multiple_of(page.max(1)), source);
        Ok(RawMapping { entry, start: start as usize, size })
    }

    fn __len__(&self) -> usize {
        self.size
    }

    /// A byte, or some as a copy.
    fn __getitem__<'py>(&self, py: Python<'py>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let bytes = self.bytes();
        if let Ok(slice) = index.cast::<PySlice>() {
            let indices = slice.indices(self.size as isize)?;
            if indices.step != 1 {
                return Err(PyIndexError::new_err("only neighbouring bytes can be taken"));
            }
            let start = indices.start as usize;
            let part = bytes.get(start..start + indices.slicelength).unwrap_or_default();
            let copy = PyBytes::new(py, part);
            self.entry.check_cut(py)?;
            return Ok(copy.into_any());
        }
        let at: isize = index.extract()?;
        let at = if at < 0 { at + self.size as isize } else { at };
        let byte = usize::try_from(at).ok().and_then(|at| bytes.get(at).copied());
        let byte = byte.ok_or_else(|| PyIndexError::new_err("no such byte"))?;
        self.entry.check_cut(py)?;
        Ok(byte.into_pyobject(py)?.into_any())
    }

    /// Where some bytes lie first, at `start` or behind it and before `end`; -1 if nowhere. As of `bytes`.
    #[pyo3(signature = (sub, start=0, end=None))]
    fn find(&self, py: Python<'_>, sub: &[u8], start: usize, end: Option<usize>) -> PyResult<isize> {
        let end = end.unwrap_or(self.size).min(self.size);
        let within = self.bytes().get(start..end).unwrap_or_default();
        let found = match sub.first() {
            None => (start <= end).then_some(0),
            Some(_) => py.detach(|| memchr::memmem::find(within, sub)),
        };
        self.entry.check_cut(py)?;
        Ok(found.map_or(-1, |at| (start + at) as isize))
    }

    /// Raises RecordingError if the file was cut or changed since it was mapped.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.entry.check(py)
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: std::ffi::c_int,
    ) -> PyResult<()> {
        let mapping = slf.get();
        let (start, size) = (mapping.start as *mut std::ffi::c_void, mapping.size as isize);
        // SAFETY: `view` is what Python wants filled; it holds a reference to `slf`, which keeps the pages mapped.
        let failed = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, size, 1, flags) } != 0;
        match failed {
            true => Err(PyErr::take(slf.py()).unwrap_or_else(|| PyBufferError::new_err("no buffer"))),
            false => Ok(()),
        }
    }
}

/// Raises RecordingError if `bytes` lie in a mapped file that was cut or changed since it was mapped: what was found out
/// from them is worth nothing then. The caller keeps the bytes mapped.
pub fn check(py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
    match entry_at(bytes.as_ptr() as usize) {
        Some((entry, _)) => entry.check(py),
        None => Ok(()),
    }
}

/// Adds this room's class.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawMapping>()
}
