//! Streams whose bytes are still arriving.

use std::sync::{Mutex, TryLockError};

use odograph_core::history::{
    Clock, DecodeError, DecodeOptions, Interrupted, LiveError, LivePart, LiveTrace, OnError,
};
use odograph_core::memory::MemoryError;
use pyo3::prelude::*;

use crate::config::Config;
use crate::error::{self, Kind, Place};
use crate::history::{self, asked, borrow_trace, gap_error, RawClock, RawHistory};
use crate::image::RawImage;

/// Decodes trace bytes as they come.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawLiveTrace {
    live: Mutex<LiveTrace>,
    clock: Clock,
}

/// What has become certain; the steps and the trace bytes before it.
type RawPart = Option<(RawHistory, u64, u64)>;

/// Why there is none.
enum Refused {
    Busy,
    Live(LiveError),
}

impl RawLiveTrace {
    fn ask(
        &self,
        py: Python<'_>,
        question: impl Send
            + FnOnce(&mut LiveTrace, &mut dyn FnMut() -> bool) -> Result<Option<LivePart>, LiveError>,
    ) -> PyResult<RawPart> {
        let part = asked(py, |stop| {
            let mut live = match self.live.try_lock() {
                Ok(live) => live,
                // What was left behind is what was there before the call that failed.
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return Ok(Err(Refused::Busy)),
            };
            match question(&mut live, stop) {
                Err(LiveError::Decode(DecodeError::Interrupted)) => Err(Interrupted),
                answer => Ok(answer.map_err(Refused::Live)),
            }
        })?;
        match part {
            Ok(part) => Ok(part.map(|part| {
                (RawHistory::of(part.stream, part.offset, self.clock), part.first_step, part.offset)
            })),
            Err(refused) => Err(raised(py, refused)),
        }
    }
}

fn raised(py: Python<'_>, refused: Refused) -> PyErr {
    match refused {
        Refused::Busy => busy(py),
        Refused::Live(LiveError::Decode(DecodeError::Gap(gap))) => gap_error(py, &gap),
        Refused::Live(LiveError::Decode(DecodeError::Foreign(object))) => {
            error::memory(py, &MemoryError::Foreign(object), None, Place::default())
        }
        Refused::Live(LiveError::Decode(DecodeError::Interrupted)) => {
            pyo3::exceptions::PyKeyboardInterrupt::new_err("decoding was interrupted")
        }
        Refused::Live(LiveError::TooLong { offset, bytes }) => {
            let message = format!(
                "{bytes} bytes have arrived without a PSB that later bytes cannot change: close() decodes them as \
                 they are, and a stream with a larger limit waits longer"
            );
            error::new(py, Kind::Trace, &message, Place { offset: Some(offset), ..Place::default() })
        }
    }
}

fn busy(py: Python<'_>) -> PyErr {
    error::new(py, Kind::Reentered, "this stream is being fed already", Place::default())
}

#[pymethods]
impl RawLiveTrace {
    #[new]
    #[pyo3(signature = (image, config, *, raise_on_gap, to_psb, clock, limit, threads))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        image: &RawImage,
        config: Config,
        raise_on_gap: bool,
        to_psb: bool,
        clock: RawClock,
        limit: u64,
        threads: usize,
    ) -> RawLiveTrace {
        let options = DecodeOptions {
            on_error: if raise_on_gap { OnError::Raise } else { OnError::Gap },
            ..history::options(to_psb, threads)
        };
        let live = LiveTrace::new(&config.0, image.snapshot(), options, limit);
        RawLiveTrace { live: Mutex::new(live), clock: history::clock(clock) }
    }

    /// Takes the next bytes.
    fn feed(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<RawPart> {
        let data = borrow_trace(data)?;
        self.ask(py, move |live, stop| live.feed(data.as_ref(), |_| stop()))
    }

    /// Decodes what is certain.
    fn flush(&self, py: Python<'_>) -> PyResult<RawPart> {
        self.ask(py, |live, stop| live.flush(|_| stop()))
    }

    /// Decodes the rest.
    fn close(&self, py: Python<'_>) -> PyResult<RawPart> {
        self.ask(py, |live, stop| live.close(|_| stop()))
    }

    /// From here on memory is that of another image.
    fn set_image(&self, py: Python<'_>, image: &RawImage) -> PyResult<()> {
        let image = image.snapshot();
        self.live.try_lock().map(|mut live| live.set_image(image)).map_err(|_| busy(py))
    }

    /// Trace bytes decoded, trace bytes waiting, and instructions given away.
    fn place(&self, py: Python<'_>) -> PyResult<(u64, u64, u64)> {
        let place = self.live.try_lock().map(|live| (live.offset(), live.pending(), live.steps()));
        place.map_err(|_| busy(py))
    }

    /// A history of nothing.
    fn nothing(&self) -> RawHistory {
        RawHistory::of_nothing(self.clock)
    }
}

/// Adds this room's class.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawLiveTrace>()
}
