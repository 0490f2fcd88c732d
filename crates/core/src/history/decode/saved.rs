//! Streams written down, so that what was decoded once need not be decoded again.
//!
//! What is written holds neither trace nor code. It says which trace, memory and configuration it is of, and is used
//! for exactly those: all bytes of the trace and all code bytes that decoding read are compared by digest, and what could
//! not be read must still be unreadable. What is read back is input like any other and checked like it.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_128, Xxh3};

use crate::config::TraceConfig;
use crate::event::EventDecoder;
use crate::flow::{Checkpoint, EngineOptions, Gaps, OtherMemory, Reads, Runs, Sink, Timeline};
use crate::history::decode::decoded_trace::{DecodeOptions, DecodedTrace, Pass, Resync, TraceBytes};
use crate::history::decode::learned_code::LearnedCode;

/// What a written stream begins with.
const MAGIC: &[u8; 8] = b"ODOGRAPH";
/// Raised whenever what is written changes, or what decoding finds.
const FORMAT: &str = concat!("stream 2, odograph ", env!("CARGO_PKG_VERSION"));
/// Bytes of the checksum at the end.
const CHECKSUM: usize = 16;
/// Bytes of trace between two looks at whether to stop.
const ASK_EVERY: usize = 64 << 20;

/// Why a stream cannot be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsaved {
    /// Memory comes from a callback, which may answer something else the next time.
    Callback,
    /// Sizes of unknown packets are asked of a callback.
    UnknownPackets,
    /// It is a part of a longer trace, which may prove to be otherwise.
    Part,
}

impl fmt::Display for Unsaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unsaved::Callback => "memory comes from a callback, which may answer otherwise another time",
            Unsaved::UnknownPackets => {
                "sizes of unknown packets come from a callback, which may answer otherwise another time"
            }
            Unsaved::Part => "it is a part of a longer trace",
        })
    }
}

/// Why what was written down is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// It is no saved history, or is incomplete or damaged.
    Damaged,
    /// Another version wrote it.
    Version,
    /// It is of another trace.
    Trace,
    /// The trace was decoded with another configuration.
    Config,
    /// The trace was decoded in another way.
    Options,
    /// Images changed at other times or between other threads.
    Timeline,
    /// Memory holds something else.
    Memory(OtherMemory),
    /// A callback takes part: see [`Unsaved`].
    Callback,
    /// The caller's check asked to stop.
    Interrupted,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stale::Damaged => "it is damaged",
            Stale::Version => "another version of Odograph wrote it",
            Stale::Trace => "the trace is another one",
            Stale::Config => "the trace was decoded with another configuration",
            Stale::Options => "the trace was decoded with other options",
            Stale::Timeline => "memory changed at other times",
            Stale::Memory(other) => return write!(f, "memory at {:#x} holds something else", other.address),
            Stale::Callback => "a callback takes part",
            Stale::Interrupted => "checking was interrupted",
        })
    }
}

/// What a stream is of.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Subject {
    config: TraceConfig,
    resync: Resync,
    engine: EngineOptions,
    /// Time, owner and image of each moment; see [`Timeline::outline`].
    outline: Vec<(u64, u32, usize)>,
    trace_length: u64,
    trace_digest: u128,
}

/// What decoding came to.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    steps: u64,
    events: u64,
    first_tsc: Option<u64>,
    last_tsc: Option<u64>,
    gaps: Gaps,
    notes: Gaps,
    moments: Vec<(u64, usize, u64)>,
    /// All return sites on stacks.
    sites: Vec<u64>,
    /// Each with its return stack, which it lacks itself.
    checkpoints: Vec<(Stack, Checkpoint)>,
}

/// A return stack beside that of the checkpoint before.
#[derive(Debug, Serialize, Deserialize)]
struct Stack {
    /// How many sites, from the oldest on, are the same.
    same: usize,
    /// The others, by their place among all.
    others: Vec<usize>,
}

/// Reads all code that the steps need.
struct Reading;

impl Sink for Reading {
    const RUNS: Runs = Runs::Any;
}

impl Pass for Reading {}

impl DecodedTrace {
    /// The stream as bytes, for [`DecodedTrace::load`].
    pub fn save(&self) -> Result<Vec<u8>, Unsaved> {
        if self.timeline.has_callback() {
            return Err(Unsaved::Callback);
        }
        if self.config.unknown_packets.is_some() {
            return Err(Unsaved::UnknownPackets);
        }
        if self.ends.is_some() {
            return Err(Unsaved::Part);
        }
        if self.from_elsewhere {
            self.walk_from(0, &mut Reading);
        }
        let trace = (*self.trace).as_ref();
        let subject = Subject {
            config: self.config.clone(),
            resync: self.options.resync,
            engine: self.options.engine.clone(),
            outline: self.timeline.outline(),
            trace_length: trace.len() as u64,
            trace_digest: xxh3_128(trace),
        };
        let (sites, checkpoints) = thinned(&self.checkpoints);
        let found = Found {
            steps: self.steps,
            events: self.events,
            first_tsc: self.first_tsc,
            last_tsc: self.last_tsc,
            gaps: self.gaps.clone(),
            notes: self.notes.clone(),
            moments: self.moments.clone(),
            sites,
            checkpoints,
        };
        let reads = Reads::of(self.code(), &self.timeline);
        // Writing to memory does not fail.
        let body = postcard::to_stdvec(&(FORMAT, subject, reads, found)).unwrap_or_default();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(body);
        let checksum = xxh3_128(&bytes).to_le_bytes();
        bytes.extend(checksum);
        Ok(bytes)
    }

    /// The stream that decoding would give, from what [`DecodedTrace::save`] wrote, if it is of this trace, memory and
    /// configuration. `on_error` plays no part: look at [`DecodedTrace::gaps`]. All code is read; later questions read nothing.
    /// `stop` is asked now and then.
    pub fn load(
        saved: &[u8],
        trace: TraceBytes,
        config: &TraceConfig,
        timeline: Timeline,
        options: DecodeOptions,
        stop: impl FnMut() -> bool,
    ) -> Result<DecodedTrace, Stale> {
        if timeline.has_callback() || config.unknown_packets.is_some() {
            return Err(Stale::Callback);
        }
        let (head, checksum) = saved.split_last_chunk::<CHECKSUM>().ok_or(Stale::Damaged)?;
        let body = head.strip_prefix(MAGIC).ok_or(Stale::Damaged)?;
        if xxh3_128(head).to_le_bytes() != *checksum {
            return Err(Stale::Damaged);
        }
        let damaged = |_| Stale::Damaged;
        let (format, body) = postcard::take_from_bytes::<&str>(body).map_err(damaged)?;
        if format != FORMAT {
            return Err(Stale::Version);
        }
        let (subject, body) = postcard::take_from_bytes::<Subject>(body).map_err(damaged)?;
        let outline = timeline.outline();
        let length = (*trace).as_ref().len() as u64;
        let checks = [
            (subject.config == *config, Stale::Config),
            ((subject.resync, &subject.engine) == (options.resync, &options.engine), Stale::Options),
            (subject.outline == outline, Stale::Timeline),
            (subject.trace_length == length, Stale::Trace),
        ];
        if let Some((_, stale)) = checks.into_iter().find(|(same, _)| !same) {
            return Err(stale);
        }
        if subject.trace_digest != digest((*trace).as_ref(), stop)? {
            return Err(Stale::Trace);
        }
        let (reads, body) = postcard::take_from_bytes::<Reads>(body).map_err(damaged)?;
        let found = postcard::from_bytes::<Found>(body).map_err(damaged)?;
        if !found.is_sound(length, outline.len()) {
            return Err(Stale::Damaged);
        }
        let (steps, events) = (found.steps, found.events);
        let (first_tsc, last_tsc) = (found.first_tsc, found.last_tsc);
        let (gaps, notes, moments) = (found.gaps, found.notes, found.moments);
        let fresh = EventDecoder::new(config);
        let is_sound = |checkpoint: &Checkpoint| checkpoint.is_sound(&fresh, length, outline.len(), steps);
        let checkpoints = whole(&found.sites, found.checkpoints, is_sound).ok_or(Stale::Damaged)?;
        let code = reads.again(&timeline).map_err(Stale::Memory)?;
        Ok(DecodedTrace {
            trace,
            config: config.clone(),
            options,
            timeline,
            knowledge: LearnedCode::with(code),
            checkpoints,
            gaps,
            notes,
            moments,
            steps,
            events,
            first_tsc,
            last_tsc,
            ends: None,
            from_elsewhere: false,
        })
    }
}

impl Found {
    /// Steps and offsets ascend and are those of a trace of `length` bytes with so many images. Offsets of gaps need not
    /// ascend: damage may be met while looking ahead, and again on the way there.
    fn is_sound(&self, length: u64, images: usize) -> bool {
        let end = (self.steps, length.saturating_add(1));
        self.steps <= i64::MAX as u64
            && [&self.gaps, &self.notes].iter().all(|gaps| {
                ascend(gaps.iter().map(|gap| (gap.step, 0)), end)
                    && gaps.iter().all(|gap| gap.offset <= end.1 && gap.bytes_lost <= length)
            })
            && ascend(self.moments.iter().map(|&(step, _, offset)| (step, offset)), end)
            && self.moments.iter().all(|&(_, image, _)| image < images)
            && ascend(self.checkpoints.iter().map(|(_, at)| (at.step, at.offset)), end)
    }
}

/// Neither number ever falls, nor rises above its end.
fn ascend(places: impl Iterator<Item = (u64, u64)>, end: (u64, u64)) -> bool {
    let mut last = (0, 0);
    places.chain([end]).all(|place| {
        let before = std::mem::replace(&mut last, place);
        before.0 <= place.0 && before.1 <= place.1
    })
}

/// All return sites of some checkpoints, and the checkpoints with their stacks apart.
fn thinned(checkpoints: &[Checkpoint]) -> (Vec<u64>, Vec<(Stack, Checkpoint)>) {
    let mut sites = Vec::new();
    let mut places: HashMap<u64, usize> = HashMap::new();
    let mut place = |&site: &u64| {
        *places.entry(site).or_insert_with(|| {
            sites.push(site);
            sites.len() - 1
        })
    };
    let mut before: Box<[u64]> = Box::default();
    let mut thin = Vec::with_capacity(checkpoints.len());
    for checkpoint in checkpoints {
        let mut checkpoint = checkpoint.clone();
        let stack = checkpoint.replace_stack(Box::default());
        let same = stack.iter().zip(&before).take_while(|(one, two)| one == two).count();
        let others = stack.get(same..).unwrap_or(&[]).iter().map(&mut place).collect();
        thin.push((Stack { same, others }, checkpoint));
        before = stack;
    }
    (sites, thin)
}

/// The checkpoints with their stacks; None for other bytes, or as soon as one is not sound.
fn whole(
    sites: &[u64],
    thin: Vec<(Stack, Checkpoint)>,
    is_sound: impl Fn(&Checkpoint) -> bool,
) -> Option<Vec<Checkpoint>> {
    let mut before: Box<[u64]> = Box::default();
    let mut checkpoints = Vec::with_capacity(thin.len());
    for (Stack { same, others }, mut checkpoint) in thin {
        let mut stack = before.get(..same)?.to_vec();
        for at in others {
            stack.push(*sites.get(at)?);
        }
        before = stack.into();
        checkpoint.replace_stack(before.clone());
        if !is_sound(&checkpoint) {
            return None;
        }
        checkpoints.push(checkpoint);
    }
    Some(checkpoints)
}

/// The digest of a trace.
fn digest(trace: &[u8], mut stop: impl FnMut() -> bool) -> Result<u128, Stale> {
    let mut digest = Xxh3::new();
    for piece in trace.chunks(ASK_EVERY) {
        digest.update(piece);
        if stop() {
            return Err(Stale::Interrupted);
        }
    }
    Ok(digest.digest128())
}
