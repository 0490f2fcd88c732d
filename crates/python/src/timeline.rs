//! Memory over time: images that a process had one after the other, and those of the threads of a trace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use odograph_core::flow::{Moment, Region, Timeline};
use odograph_core::image::ImageLog;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;

use crate::image::{Callback, RawImage};

/// Images by the time from which they hold, each kept as what differs from the one before.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawImageLog {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    log: Arc<ImageLog>,
    callbacks: BTreeMap<usize, Arc<Callback>>,
}

impl RawImageLog {
    // No Python code runs under this lock.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> Arc<ImageLog> {
        self.inner().log.clone()
    }
}

#[pymethods]
impl RawImageLog {
    #[new]
    fn new() -> Self {
        RawImageLog { inner: Mutex::default() }
    }

    fn __len__(&self) -> usize {
        self.log().len()
    }

    /// Adds an image that holds from `tsc` on; in the place of the last one, if that has the same time.
    fn push(&self, tsc: u64, image: &Bound<'_, RawImage>) {
        let (snapshot, callback) = image.get().with_callback();
        let mut inner = self.inner();
        Arc::make_mut(&mut inner.log).push(tsc, &snapshot);
        let at = inner.log.len().saturating_sub(1);
        let before = inner.callbacks.remove(&at);
        if let Some(callback) = callback {
            inner.callbacks.insert(at, callback);
        }
        drop(inner);
        // Dropping a function may run Python code.
        drop(before);
    }

    /// The time from which image `at` holds.
    fn time(&self, at: usize) -> PyResult<u64> {
        self.log().tsc(at).ok_or_else(out_of_range)
    }

    /// How many images hold from before `tsc` on.
    fn before(&self, tsc: u64) -> usize {
        self.log().before(tsc)
    }

    /// Makes an image what image `at` is, except for the name.
    fn copy_to(&self, at: usize, image: &Bound<'_, RawImage>) -> PyResult<()> {
        let (log, callback) = {
            let inner = self.inner();
            (inner.log.clone(), inner.callbacks.get(&at).cloned())
        };
        let found = log.get(at).ok_or_else(out_of_range)?;
        image.get().become_(&found, callback);
        Ok(())
    }
}

fn out_of_range() -> PyErr {
    PyIndexError::new_err("there is no such image")
}

/// Who runs in a trace, one after the other, and with which memory. A moment is where another image begins to hold, or
/// another thread to run.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawTimeline {
    timeline: Timeline,
    /// The log of each region, and whose it is.
    regions: Vec<(Py<RawImageLog>, u32)>,
}

#[pymethods]
impl RawTimeline {
    /// `regions`: (TSC from which the first image holds, number of the thread that runs, log, its first image and the one behind
    /// the last).
    #[new]
    fn new(regions: Vec<(u64, u32, Bound<'_, RawImageLog>, usize, usize)>) -> Self {
        let of = |(tsc, owner, log, first, last): &(u64, u32, Bound<'_, RawImageLog>, usize, usize)| Region {
            tsc: *tsc,
            owner: *owner,
            log: log.get().log(),
            images: *first..*last,
        };
        let timeline = Timeline::of_regions(regions.iter().map(of).collect());
        let regions = regions.into_iter().map(|(_, owner, log, ..)| (log.unbind(), owner));
        RawTimeline { timeline, regions: regions.collect() }
    }

    fn __len__(&self) -> usize {
        self.timeline.len()
    }

    /// (TSC, number of the region) of a moment.
    fn moment(&self, at: usize) -> PyResult<(u64, usize)> {
        self.timeline.moment(at).map(|(tsc, region, _)| (tsc, region)).ok_or_else(out_of_range)
    }

    /// Makes an image that of a moment, and gives (TSC, number of the thread that runs).
    fn copy_to(&self, py: Python<'_>, at: usize, image: &Bound<'_, RawImage>) -> PyResult<(u64, u32)> {
        let (tsc, region, number) = self.timeline.moment(at).ok_or_else(out_of_range)?;
        let (log, owner) = self.regions.get(region).ok_or_else(out_of_range)?;
        log.bind(py).get().copy_to(number, image)?;
        Ok((tsc, *owner))
    }
}

/// An image from a time (TSC) on, and the number of the thread that runs.
type RawMoment<'py> = (u64, PyRef<'py, RawImage>, u32);

/// Memory over time, as Python passes it.
#[derive(FromPyObject)]
pub enum RawMoments<'py> {
    /// That of a recording.
    Timeline(PyRef<'py, RawTimeline>),
    /// Image by image.
    List(Vec<RawMoment<'py>>),
}

impl RawMoments<'_> {
    /// Memory over time.
    pub fn timeline(&self) -> Timeline {
        match self {
            RawMoments::Timeline(timeline) => timeline.timeline.clone(),
            RawMoments::List(moments) => {
                let moment = |(tsc, image, owner): &RawMoment<'_>| Moment {
                    tsc: *tsc,
                    image: image.snapshot(),
                    owner: *owner,
                };
                Timeline::new(moments.iter().map(moment).collect())
            }
        }
    }
}

/// Adds this room's classes.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawImageLog>()?;
    module.add_class::<RawTimeline>()
}
