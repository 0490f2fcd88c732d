//! Histories: decoding whole traces and the passes over them.
//!
//! This file is long because it holds one class of the border; its methods are conversions, a few lines each.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use odograph_core::error::PtError;
use odograph_core::flow::{Gap, GapCause, Gaps};
use odograph_core::history::{
    self, Ask, BlockColumns, Chosen, Clock, Counts, Coverage, DecodeError, DecodeOptions, DecodedTrace,
    EventColumns, Executions, Hashing, InstructionColumns, Interrupted, OnError, Resync, Rows, StackPart,
    Wanted,
};
use odograph_core::memory::MemoryError;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::answers;
use crate::config::{Config, UnknownSizes};
use crate::error::{self, Kind, Place};
use crate::mapped;
use crate::table::{RawTable, TableBuilder};
use crate::timeline::RawMoments;

/// Trace bytes borrowed from a Python object for as long as a history lives.
pub struct BorrowedTrace(PyBuffer<u8>);

impl AsRef<[u8]> for BorrowedTrace {
    fn as_ref(&self) -> &[u8] {
        if self.0.len_bytes() == 0 {
            return &[];
        }
        // SAFETY: the buffer is held by `self`, so its memory stays where it is and as long as it is;
        // `borrow_trace` has checked that it is contiguous bytes. The contract of every function that takes a
        // trace is that the bytes do not change while in use. Where a caller breaks it, decoding reads
        // other bytes than before, which it checks like any input.
        unsafe { std::slice::from_raw_parts(self.0.buf_ptr().cast::<u8>(), self.0.len_bytes()) }
    }
}

/// Takes a contiguous buffer of bytes.
pub fn borrow_trace(trace: &Bound<'_, PyAny>) -> PyResult<BorrowedTrace> {
    let buffer = PyBuffer::<u8>::get(trace)?;
    if !buffer.is_c_contiguous() {
        return Err(pyo3::exceptions::PyBufferError::new_err("the trace must be contiguous bytes"));
    }
    Ok(BorrowedTrace(buffer))
}

/// The clock of a stream as Python passes it: None, ("perf", zero, mult, shift) or ("nominal", ratio, 0, 0).
pub type RawClock = Option<(String, u64, u32, u16)>;

/// How to decode, damage being gaps.
pub fn options(to_psb: bool, threads: usize) -> DecodeOptions {
    let resync = if to_psb { Resync::Psb } else { Resync::Ip };
    DecodeOptions { resync, threads, ..DecodeOptions::default() }
}

/// The clock that Python means.
pub fn clock(raw: RawClock) -> Clock {
    match raw {
        Some((kind, zero, mult, shift)) if kind == "perf" => Clock::Perf { zero, mult, shift },
        Some((_, ratio, _, _)) => Clock::Nominal(u8::try_from(ratio).unwrap_or(0)),
        None => Clock::Unknown,
    }
}

/// A decoded trace, or pieces of several in order.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawHistory {
    parts: Vec<Part>,
    pub(crate) clock: Clock,
    shortage: Option<Shortage>,
}

/// What ran behind the last step is missing: why, the trace offset at which it would begin, and how many trace bytes are known
/// to be missing.
#[derive(Clone, Copy)]
struct Shortage {
    cause: GapCause,
    offset: u64,
    bytes: u64,
}

/// Steps `first..end` of a stream, which are steps `at..` of the history.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) stream: Arc<DecodedTrace>,
    first: u64,
    end: u64,
    /// Its events and gaps: those whose packets lie here in the stream.
    within: Range<u64>,
    /// It began no earlier and ended no later (TSC).
    time: (u64, u64),
    at: u64,
    /// Offset of the stream's first byte in the trace it was cut from.
    base: u64,
    /// Trace bytes are missing before it.
    lost: bool,
    /// Events and gaps only before steps from `first` on, and before those from `end` on.
    only: (bool, bool),
}

impl Part {
    fn whole(stream: DecodedTrace, base: u64) -> Part {
        let end = stream.steps();
        let (stream, within, only) = (Arc::new(stream), 0..u64::MAX, (false, false));
        Part { stream, first: 0, end, within, time: (0, u64::MAX), at: 0, base, lost: false, only }
    }

    /// Whether what happened before a step of the stream belongs to the part.
    fn has(&self, step: u64) -> bool {
        (!self.only.0 || step >= self.first) && (!self.only.1 || step < self.end)
    }

    /// Of the gaps or notes of its stream, those that belong to the part.
    fn own<'a>(&'a self, gaps: &'a Gaps) -> impl Iterator<Item = Gap> + 'a {
        let inside = gaps.from_offset(self.within.start).take_while(|gap| gap.offset < self.within.end);
        inside.filter(|gap| self.has(gap.step))
    }

    /// The same part, but for what comes before `first` and from `end` on, which are steps of it.
    fn narrowed(&self, first: u64, end: u64) -> Part {
        let mut part = self.clone();
        let around = self.stream.offsets_of(first, end);
        let within = part.within.start.max(around.start)..part.within.end.min(around.end);
        let tsc_at = |step: u64| {
            let mut columns = InstructionColumns::default();
            let read = self.stream.instructions(step, step + 1, 0, &mut columns, &mut || false);
            let known = columns.tsc.first().copied().filter(|&tsc| tsc != u64::MAX);
            known.filter(|_| read.is_ok())
        };
        if first > self.first {
            part.only.0 = true;
            part.lost = false;
            part.time.0 = tsc_at(first).unwrap_or(part.time.0);
        }
        if end < self.end {
            part.only.1 = true;
            part.time.1 = end.checked_sub(1).and_then(tsc_at).unwrap_or(part.time.1);
        }
        (part.first, part.end, part.within) = (first, end, within);
        part
    }

    pub(crate) fn base(&self) -> i64 {
        self.at as i64 - self.first as i64
    }
}

/// A piece of a history to be put together with others, an object with these attributes.
#[derive(FromPyObject)]
struct Piece<'py> {
    /// A history that was decoded, not joined.
    history: PyRef<'py, RawHistory>,
    /// Its steps, the second exclusive.
    steps: (u64, u64),
    /// Where in its trace its events and gaps lie, the second exclusive.
    offsets: (u64, u64),
    /// When it began at the earliest and ended at the latest, in TSC ticks.
    time: (u64, u64),
    /// Trace bytes are missing before it.
    lost: bool,
}

/// The exception for a gap that decoding was not to pass.
pub fn gap_error(py: Python<'_>, gap: &Gap) -> PyErr {
    let what = gap.code.map_or("endless loop without trace", |code| code.message());
    let place = Place { code: gap.code, offset: Some(gap.offset), ip: gap.ip, asid: Some(gap.asid) };
    error::new(py, Kind::Trace, what, place)
}

/// One gap: step, cause, code, offset, bytes lost, ip, cr3, vmcs, time.
type RawGap = (u64, &'static str, Option<u8>, u64, u64, Option<u64>, Option<u64>, Option<u64>, Option<i64>);

fn is_note(gap: &RawGap) -> bool {
    gap.1 == GapCause::Ambiguous.name()
}

impl RawHistory {
    /// All of a stream; `base` is the offset of its first byte in the trace it was cut from.
    pub fn of(stream: DecodedTrace, base: u64, clock: Clock) -> RawHistory {
        RawHistory { parts: vec![Part::whole(stream, base)], clock, shortage: None }
    }

    /// The stream, if this is a decoded trace, whole and alone.
    pub fn stream(&self) -> Option<&Arc<DecodedTrace>> {
        match &self.parts[..] {
            [part] if part.within == (0..u64::MAX) && (part.first, part.end) == (0, part.stream.steps()) => {
                Some(&part.stream)
            }
            _ => None,
        }
    }

    /// A history of nothing.
    pub fn of_nothing(clock: Clock) -> RawHistory {
        RawHistory { parts: Vec::new(), clock, shortage: None }
    }

    /// The parts that overlap the steps `start..stop`, with the steps in terms of their streams.
    pub(crate) fn cut(&self, start: u64, stop: u64) -> impl Iterator<Item = (&Part, u64, u64)> + '_ {
        self.parts.iter().filter_map(move |part| {
            let end = part.at + (part.end - part.first);
            let from = start.max(part.at);
            let to = stop.min(end);
            (from < to).then(|| (part, part.first + (from - part.at), part.first + (to - part.at)))
        })
    }

    /// What of the parts lies in some steps.
    fn stack_parts_of(&self, start: u64, stop: u64) -> Vec<StackPart> {
        let cut =
            self.cut(start, stop).map(|(part, first, end)| StackPart { first, end, ..stack_part(part) });
        cut.collect()
    }

    /// The parts for those who follow stacks.
    pub(crate) fn stack_parts(&self) -> Vec<StackPart> {
        self.parts.iter().map(stack_part).collect()
    }

    fn total(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.at + part.end - part.first)
    }

    fn each_gap(&self) -> impl Iterator<Item = RawGap> + '_ {
        let code = Some(PtError::Eos.code());
        let shortage = self.shortage.iter().map(move |one| {
            (self.total(), one.cause.name(), code, one.offset, one.bytes, None, None, None, None)
        });
        self.gaps_of_parts().chain(shortage)
    }

    fn gaps_of_parts(&self) -> impl Iterator<Item = RawGap> + '_ {
        self.parts.iter().flat_map(move |part| {
            let lost = part.lost.then(|| {
                // A trace without a PSB is a gap of its own.
                let started = part.stream.gaps().first().is_none_or(|gap| gap.code != Some(PtError::Nosync));
                let bytes = if started { history::skipped((**part.stream.trace()).as_ref()) } else { 0 };
                let code = PtError::Eos.code();
                (part.at, GapCause::Lost.name(), Some(code), part.base, bytes, None, None, None, None)
            });
            let (mut gaps, mut notes) =
                (part.own(part.stream.gaps()).peekable(), part.own(part.stream.notes()).peekable());
            let ordered = std::iter::from_fn(move || match (gaps.peek(), notes.peek()) {
                (Some(gap), Some(note)) if note.step < gap.step => notes.next(),
                (Some(_), _) => gaps.next(),
                (None, _) => notes.next(),
            });
            let own = ordered.map(move |gap| {
                (
                    gap.step.clamp(part.first, part.end) - part.first + part.at,
                    gap.cause.name(),
                    gap.code.map(|code| code.code()),
                    gap.offset + part.base,
                    gap.bytes_lost,
                    gap.ip,
                    gap.asid.cr3,
                    gap.asid.vmcs,
                    gap.tsc.and_then(|tsc| self.clock.ns(tsc)),
                )
            });
            lost.into_iter().chain(own)
        })
    }

    /// Asks the streams a question. RecordingError if their file was cut or changed meanwhile or before.
    pub(crate) fn asked<T: Send>(
        &self,
        py: Python<'_>,
        question: impl Send + FnOnce(Ask<'_>) -> Result<T, Interrupted>,
    ) -> PyResult<T> {
        let answer = asked(py, question);
        self.check(py)?;
        answer
    }

    /// RecordingError if the file of some trace was cut or changed since it was opened.
    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<()> {
        let mut last: Option<&Arc<DecodedTrace>> = None;
        for part in &self.parts {
            if !last.is_some_and(|last| Arc::ptr_eq(last, &part.stream)) {
                mapped::check(py, (**part.stream.trace()).as_ref())?;
            }
            last = Some(&part.stream);
        }
        Ok(())
    }

    pub(crate) fn times(&self, ticks: &[u64]) -> Vec<Option<i64>> {
        ticks.iter().map(|&tsc| if tsc == u64::MAX { None } else { self.clock.ns(tsc) }).collect()
    }
}

fn stack_part(part: &Part) -> StackPart {
    StackPart {
        stream: part.stream.clone(),
        first: part.first,
        end: part.end,
        within: part.within.clone(),
        base: part.base(),
        lost: part.lost,
        only: part.only,
        functions: Arc::default(),
    }
}

/// Which rows are wanted: intervals of code, how deep calls may lie, and what they cost at least.
pub(crate) type RawRows = (Option<Vec<(u64, u64)>>, Option<u64>, u64);

pub(crate) fn rows_of((within, depth, min_cost): RawRows) -> Rows {
    Rows { within, depth, min_cost }
}

/// What is counted for some questions.
pub(crate) fn executions(questions: &[String]) -> Executions {
    let asks = |name: &str| questions.iter().any(|question| question == name);
    Executions {
        counts: asks("counts").then(Counts::default),
        coverage: asks("coverage").then(Coverage::default),
    }
}

/// The tables of questions that were counted, in the order of the questions; none for others.
pub(crate) fn counted_tables(
    py: Python<'_>,
    questions: &[String],
    counted: &Executions,
    rows: &Rows,
) -> PyResult<Vec<Vec<RawTable>>> {
    let tables = |question: &String| match (question.as_str(), &counted.counts, &counted.coverage) {
        ("counts", Some(counts), _) => Ok(vec![answers::counts(counts, rows)?]),
        ("coverage", _, Some(coverage)) => answers::coverage(coverage, rows),
        ("functions" | "calls" | "pairs", ..) => Ok(Vec::new()),
        _ => Err(error::invalid_argument(py, &format!("there is no question {question:?}"))),
    };
    questions.iter().map(tables).collect()
}

/// Asks a question that may take long, without the interpreter; a signal that arrives meanwhile ends it.
pub(crate) fn asked<T: Send>(
    py: Python<'_>,
    question: impl Send + FnOnce(Ask<'_>) -> Result<T, Interrupted>,
) -> PyResult<T> {
    let mut raised: Option<PyErr> = None;
    let answer = py.detach(|| {
        let mut last = Instant::now();
        question(&mut || {
            if last.elapsed() < ASK_EVERY {
                return false;
            }
            last = Instant::now();
            raised = Python::attach(|py| py.check_signals().err());
            raised.is_some()
        })
    });
    answer.map_err(|_| {
        raised.unwrap_or_else(|| pyo3::exceptions::PyKeyboardInterrupt::new_err("the question was dropped"))
    })
}

/// Decodes without the interpreter; `progress` is called with the trace offset now and then. What it, a callback of the
/// image or a signal raises comes out.
pub fn decoded<T: Send>(
    py: Python<'_>,
    progress: Option<Py<PyAny>>,
    unknown: &UnknownSizes,
    decode: impl Send + FnOnce(&mut dyn FnMut(u64) -> bool) -> Result<T, DecodeError>,
) -> PyResult<T> {
    let mut raised: Option<PyErr> = None;
    let decoded = py.detach(|| {
        let mut last = Instant::now();
        decode(&mut |offset| {
            if last.elapsed() < ASK_EVERY {
                return false;
            }
            last = Instant::now();
            let answer = Python::attach(|py| {
                py.check_signals()?;
                match &progress {
                    Some(progress) => progress.call1(py, (offset,)).map(|_| ()),
                    None => Ok(()),
                }
            });
            raised = answer.err();
            raised.is_some()
        })
    });
    if let Some(error) = unknown.raised(py) {
        return Err(error);
    }
    decoded.map_err(|failure| match failure {
        DecodeError::Gap(gap) => gap_error(py, &gap),
        DecodeError::Foreign(object) => {
            error::memory(py, &MemoryError::Foreign(object), None, Place::default())
        }
        DecodeError::Interrupted => raised
            .unwrap_or_else(|| pyo3::exceptions::PyKeyboardInterrupt::new_err("decoding was interrupted")),
    })
}

/// How often Python is asked whether a signal has arrived.
pub const ASK_EVERY: Duration = Duration::from_millis(50);

#[pymethods]
impl RawHistory {
    /// Decodes a trace. `moments`: (tsc, image, number of the thread that runs). `progress(offset)` is called now
    /// and then.
    #[staticmethod]
    #[pyo3(signature = (trace, moments, config, *, raise_on_gap, to_psb, clock, threads=1, progress=None, base=0))]
    #[allow(clippy::too_many_arguments)]
    fn decode(
        py: Python<'_>,
        trace: &Bound<'_, PyAny>,
        moments: RawMoments<'_>,
        config: Config,
        raise_on_gap: bool,
        to_psb: bool,
        clock: RawClock,
        threads: usize,
        progress: Option<Py<PyAny>>,
        base: u64,
    ) -> PyResult<RawHistory> {
        let trace = Arc::new(borrow_trace(trace)?);
        let timeline = moments.timeline();
        let Config(config, unknown) = config;
        let options = DecodeOptions {
            on_error: if raise_on_gap { OnError::Raise } else { OnError::Gap },
            ..options(to_psb, threads)
        };
        let bytes = trace.clone();
        let stream =
            decoded(py, progress, &unknown, |stop| history::decode(trace, &config, timeline, options, stop));
        mapped::check(py, (*bytes).as_ref())?;
        let stream = stream?;
        Ok(RawHistory::of(stream, base, self::clock(clock)))
    }

    /// Puts pieces of histories together, in order. `shortage`: what ran behind them is missing; "cut" or "lost", the trace
    /// offset at which it would begin, and how many bytes of it are known to be missing.
    #[staticmethod]
    #[pyo3(signature = (pieces, shortage=None))]
    fn join(pieces: Vec<Piece<'_>>, shortage: Option<(&str, u64, u64)>) -> RawHistory {
        let cause = |name| if name == GapCause::Cut.name() { GapCause::Cut } else { GapCause::Lost };
        let shortage = shortage.map(|(name, offset, bytes)| Shortage { cause: cause(name), offset, bytes });
        let mut parts: Vec<Part> = Vec::new();
        let mut at = 0;
        let mut clock = Clock::Unknown;
        for piece in &pieces {
            clock = piece.history.clock;
            for part in &piece.history.parts {
                let first = piece.steps.0.clamp(part.first, part.end);
                let last = piece.steps.1.clamp(first, part.end);
                let (within, time) = (piece.offsets.0..piece.offsets.1, piece.time);
                let (stream, base, lost) = (part.stream.clone(), part.base, piece.lost);
                // Pieces without instructions are kept: they may hold events and gaps.
                let only = part.only;
                parts.push(Part { stream, first, end: last, within, time, at, base, lost, only });
                at += last - first;
            }
        }
        RawHistory { parts, clock, shortage }
    }

    /// Steps `start..stop` as a history of its own. What happened behind the last step belongs to the one that ends there.
    fn part(&self, py: Python<'_>, start: u64, stop: u64) -> PyResult<RawHistory> {
        let total = self.total();
        let mut parts = py.detach(|| {
            let mut parts = Vec::new();
            for part in &self.parts {
                let end = part.at + (part.end - part.first);
                let inside = if part.at == end {
                    (start..stop).contains(&end) || end == total && stop == total
                } else {
                    part.at < stop && start < end
                };
                if inside {
                    let first = part.first + start.clamp(part.at, end) - part.at;
                    let last = part.first + stop.clamp(part.at, end) - part.at;
                    parts.push(part.narrowed(first, last));
                }
            }
            parts
        });
        let mut at = 0;
        for part in &mut parts {
            part.at = at;
            at += part.end - part.first;
        }
        let shortage = self.shortage.filter(|_| stop >= total);
        self.check(py).map(|()| RawHistory { parts, clock: self.clock, shortage })
    }

    #[getter]
    fn steps(&self) -> u64 {
        self.total()
    }

    /// (step, moment, trace offset) of a decoded stream: which image held from which step on, and from where
    /// on events and gaps belong to it.
    fn moments(&self) -> Vec<(u64, usize, u64)> {
        self.parts.iter().flat_map(|part| part.stream.moments()).copied().collect()
    }

    /// Fills `buffer`, which may not be used elsewhere meanwhile, with the addresses of the steps from `start` on.
    fn write_ips(&self, py: Python<'_>, start: u64, buffer: PyBuffer<u64>) -> PyResult<()> {
        let length = buffer.item_count();
        if buffer.readonly() || !buffer.is_c_contiguous() {
            return Err(pyo3::exceptions::PyBufferError::new_err(
                "the buffer must be contiguous and writable",
            ));
        }
        if length == 0 {
            return Ok(());
        }
        // SAFETY: `PyBuffer<u64>` has checked type and alignment of the items, and they are contiguous and writable, as
        // checked above; the buffer is held until the end of this function. The only caller, `History.ips`, hands over
        // an array it has just made and has not given to anyone yet, so no other code reads or writes it.
        let mut ips = unsafe { std::slice::from_raw_parts_mut(buffer.buf_ptr().cast::<u64>(), length) };
        self.asked(py, |ask| {
            for (part, start, stop) in self.cut(start, start.saturating_add(length as u64)) {
                let count = (stop.saturating_sub(start) as usize).min(ips.len());
                let (here, rest) = std::mem::take(&mut ips).split_at_mut(count);
                part.stream.write_ips(start, here, ask)?;
                ips = rest;
            }
            Ok(())
        })
    }

    fn instructions(&self, py: Python<'_>, start: u64, stop: u64) -> PyResult<RawTable> {
        let columns = self.asked(py, |ask| {
            let mut columns = InstructionColumns::default();
            for (part, start, stop) in self.cut(start, stop) {
                part.stream.instructions(start, stop, part.base(), &mut columns, ask)?;
            }
            Ok(columns)
        })?;
        let time = self.times(&columns.tsc);
        TableBuilder::default()
            .i64("step", columns.step)
            .u64("ip", columns.ip)
            .binary("raw", &columns.raw, 16, &columns.size)
            .u8("size", columns.size)
            .u8("iclass", columns.iclass)
            .u8("mode", columns.mode)
            .optional_u64("cr3", known(&columns.cr3))
            .optional_u64("vmcs", known(&columns.vmcs))
            .i32("isid", columns.isid)
            .optional_i64("time", time)
            .optional_u64("tsc", known(&columns.tsc))
            .bool("speculative", &columns.speculative)
            .bool("truncated", &columns.truncated)
            .build()
    }

    fn blocks(&self, py: Python<'_>, start: u64, stop: u64) -> PyResult<RawTable> {
        let columns = self.asked(py, |ask| {
            let mut columns = BlockColumns::default();
            for (part, start, stop) in self.cut(start, stop) {
                part.stream.blocks(start, stop, part.base(), &mut columns, ask)?;
            }
            Ok(columns)
        })?;
        let time = self.times(&columns.tsc);
        TableBuilder::default()
            .i64("step", columns.step)
            .u64("ip", columns.ip)
            .u64("end_ip", columns.end_ip)
            .u16("ninsn", columns.ninsn)
            .u8("iclass", columns.iclass)
            .u8("mode", columns.mode)
            .i32("isid", columns.isid)
            .optional_i64("time", time)
            .optional_u64("tsc", known(&columns.tsc))
            .bool("speculative", &columns.speculative)
            .build()
    }

    /// All events, or those of some `kinds` that are not in PSB+; at most `most`.
    #[pyo3(signature = (kinds=None, most=None))]
    fn events(&self, py: Python<'_>, kinds: Option<Vec<String>>, most: Option<usize>) -> PyResult<RawTable> {
        let of_kind = |name: &str| kinds.iter().flatten().any(|kind| kind == name);
        let most = most.unwrap_or(usize::MAX);
        let mut chosen = Chosen {
            kinds: kinds.as_ref().map(|_| EventColumns::KINDS.iter().map(|name| of_kind(name)).collect()),
            ..Chosen::default()
        };
        let columns = self.asked(py, |ask| {
            let mut columns = EventColumns::default();
            for part in &self.parts {
                let mut more = EventColumns::default();
                chosen.most = most - columns.step.len();
                if chosen.most == 0 {
                    break;
                }
                let first = if part.only.0 { part.first } else { 0 };
                let last = if part.only.1 { part.end.saturating_sub(1) } else { u64::MAX };
                chosen.steps = (first, last);
                part.stream.chosen_events(&chosen, part.within.clone(), 0, &mut more, ask)?;
                if part.only.0 || part.only.1 {
                    more.keep(|step| part.has(step as u64));
                }
                more.move_by(part.base(), part.base);
                columns.append(more);
            }
            Ok(columns)
        })?;
        let time = self.times(&columns.tsc);
        TableBuilder::default()
            .i64("step", columns.step)
            .bool("after", &columns.after)
            .words("kind", columns.kind, EventColumns::KINDS)
            .optional_u64("ip", known(&columns.ip))
            .optional_u64("to", columns.to)
            .optional_u64("value", columns.value)
            .optional_i64("time", time)
            .optional_u64("tsc", known(&columns.tsc))
            .u32("lost_mtc", columns.lost_mtc)
            .u32("lost_cyc", columns.lost_cyc)
            .u64("offset", columns.offset)
            .bool("status_update", &columns.status_update)
            .bool("resumed", &columns.resumed)
            .text("detail", columns.detail)
            .build()
    }

    /// The gaps before steps `first..=last`, at most `most`; only `notes`, or none of them.
    #[pyo3(signature = (first=0, last=u64::MAX, most=None, notes=None))]
    fn gaps(&self, first: u64, last: u64, most: Option<usize>, notes: Option<bool>) -> Vec<RawGap> {
        let inside = self.each_gap().filter(|gap| (first..=last).contains(&gap.0));
        let wanted = inside.filter(|gap| notes.is_none_or(|notes| notes == is_note(gap)));
        wanted.take(most.unwrap_or(usize::MAX)).collect()
    }

    /// How many gaps there are; notes do not count.
    fn gap_count(&self) -> usize {
        self.each_gap().filter(|gap| !is_note(gap)).count()
    }

    /// The steps before which there are gaps, each once, ascending, as numbers of 8 bytes. Notes do not count.
    fn gap_steps<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let mut steps: Vec<u64> = self.each_gap().filter(|gap| !is_note(gap)).map(|gap| gap.0).collect();
        steps.sort_unstable();
        steps.dedup();
        numbers(py, &steps, u64::to_ne_bytes)
    }

    /// How many gaps and notes stand before the steps `first` to `last`, both included; only `notes`, or none of them.
    #[pyo3(signature = (first, last, notes=None))]
    fn count_gaps(&self, first: u64, last: u64, notes: Option<bool>) -> usize {
        let inside = self.each_gap().filter(|gap| (first..=last).contains(&gap.0));
        inside.filter(|gap| notes.is_none_or(|notes| notes == is_note(gap))).count()
    }

    /// The gaps by cause, code and, where memory was missing, page: the first one, their number and the bytes they
    /// lost. After `most` of them pages and addresses are no longer told apart.
    fn gap_kinds(&self, most: usize) -> Vec<(RawGap, u64, u64)> {
        let mut kinds: Vec<(RawGap, u64, u64)> = Vec::new();
        let mut known = HashMap::new();
        for mut gap in self.each_gap() {
            let (cause, code) = (gap.1, gap.2);
            let page = gap.5.filter(|_| cause == GapCause::Memory.name()).map(|ip| ip >> 12);
            let mut key = (cause, code, page);
            if kinds.len() >= most && !known.contains_key(&key) {
                key.2 = None;
                gap.5 = None;
            }
            let at = *known.entry(key).or_insert(kinds.len());
            match kinds.get_mut(at) {
                Some((_, count, lost)) => (*count, *lost) = (*count + 1, *lost + gap.4),
                None => kinds.push((gap, 1, gap.4)),
            }
        }
        kinds
    }

    /// Steps that hit: instructions that start at one of the ascending `addresses`, or, of two addresses and with
    /// `range`, touch what lies between them.
    fn find<'py>(
        &self,
        py: Python<'py>,
        addresses: Vec<u64>,
        range: bool,
        start: u64,
        stop: u64,
        limit: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let wanted = match addresses[..] {
            [first, last] if range => Wanted::Range(first, last),
            [address] => Wanted::Start(address),
            _ => Wanted::Starts(addresses),
        };
        let steps = self.asked(py, |ask| {
            let mut steps = Vec::new();
            for (part, start, stop) in self.cut(start, stop) {
                part.stream.find(&wanted, (start, stop), part.base(), limit, &mut steps, ask)?;
            }
            Ok(steps)
        })?;
        Ok(numbers(py, &steps, i64::to_le_bytes))
    }

    /// Of `questions` those that no calls are followed for, "counts" and "coverage": tables by question.
    fn executions(
        &self,
        py: Python<'_>,
        questions: Vec<String>,
        start: u64,
        stop: u64,
        rows: RawRows,
    ) -> PyResult<Vec<Vec<RawTable>>> {
        let counted = self.asked(py, |ask| {
            let mut counted = executions(&questions);
            for part in self.stack_parts_of(start, stop) {
                counted.ask(&part, ask)?;
            }
            Ok(counted)
        })?;
        counted_tables(py, &questions, &counted, &rows_of(rows))
    }

    /// The hash over the addresses of all instructions: the recorders' one, or FNV-1a.
    fn hash(&self, py: Python<'_>, fnv: bool) -> PyResult<u64> {
        self.asked(py, |ask| {
            let mut hashing = if fnv { Hashing::FNV } else { Hashing::ROTATING };
            for part in &self.parts {
                hashing = part.stream.hash(part.first, part.end, hashing, ask)?;
            }
            Ok(hashing.value())
        })
    }

    /// The first step at or after a time in ns; None if the clock is unknown.
    fn at_time(&self, py: Python<'_>, ns: i64) -> PyResult<Option<u64>> {
        self.clock.tsc(ns).map(|tsc| self.at_tsc(py, tsc)).transpose()
    }

    /// The first step at or after a TSC; the number of steps if there is none.
    fn at_tsc(&self, py: Python<'_>, tsc: u64) -> PyResult<u64> {
        let step = py.detach(|| {
            for part in &self.parts {
                let step = part.stream.step_at_tsc(tsc).max(part.first);
                if step < part.end {
                    return step - part.first + part.at;
                }
            }
            self.total()
        });
        self.check(py).map(|()| step)
    }

    /// First and last time in ns, where known.
    fn time_range(&self) -> (Option<i64>, Option<i64>) {
        let first = self.parts.first().and_then(|part| Some(part.stream.tsc_range().0?.max(part.time.0)));
        let last = self.parts.last().and_then(|part| Some(part.stream.tsc_range().1?.min(part.time.1)));
        (first.and_then(|tsc| self.clock.ns(tsc)), last.and_then(|tsc| self.clock.ns(tsc)))
    }

    /// (step, tsc or None, offset) of the checkpoints.
    fn checkpoints(&self) -> Vec<(u64, Option<u64>, u64)> {
        self.parts
            .iter()
            .flat_map(|part| {
                let all = part.stream.checkpoints().filter(|(step, _, offset)| {
                    (part.first..=part.end).contains(step) && part.within.contains(offset)
                });
                all.map(|(step, tsc, offset)| (step - part.first + part.at, tsc, offset)).collect::<Vec<_>>()
            })
            .collect()
    }
}

pub(crate) fn known(values: &[u64]) -> Vec<Option<u64>> {
    values.iter().map(|&value| (value != u64::MAX).then_some(value)).collect()
}

/// Numbers as bytes for `numpy.frombuffer`.
pub(crate) fn numbers<'py, T: Copy, const N: usize>(
    py: Python<'py>,
    values: &[T],
    bytes_of: impl Fn(T) -> [u8; N],
) -> Bound<'py, PyBytes> {
    let filled = PyBytes::new_with(py, values.len() * N, |bytes| {
        for (to, &value) in bytes.chunks_exact_mut(N).zip(values) {
            to.copy_from_slice(&bytes_of(value));
        }
        Ok(())
    });
    filled.unwrap_or_else(|_| PyBytes::new(py, &[]))
}

/// Adds this room's classes.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawHistory>()
}
