//! Live traces: decoded while their bytes arrive.
//!
//! Bytes are decoded as far as no later byte can change what is said of them: up to a PSB behind which enough is at
//! hand. What lies before it is given away as a stream of its own, and the next one begins there with the truth. One
//! behind the other they say what decoding all bytes at once would, however the bytes were cut.
//!
//! A PSB at which decoding is to end may prove to be none: the bytes of a packet can look like one. Then the stream
//! ends at the last PSB that was one, or nothing is given away and twice as many bytes are waited for, so that the
//! work stays in proportion to the bytes.

use std::sync::Arc;

use crate::config::TraceConfig;
use crate::flow::{Checkpoint, Engine, Gap, Sink, Timeline};
use crate::history::decode::builder::{drive, Builder};
use crate::history::decode::decoded_trace::{DecodeError, DecodeOptions, DecodedTrace, OnError};
use crate::history::decode::decoding::{has_packets, never_started, Ground};
use crate::history::decode::learned_code::LearnedCode;
use crate::history::decode::settled_end::{last_settled, SettledEnd};
use crate::image::Image;
use crate::packet::{sync, PSB};

/// Bytes that are waited for before they are decoded.
const BATCH: usize = 64 << 10;
/// Packets between two looks at whether to stop.
const BUDGET: u32 = 1 << 14;

/// A trace of which more bytes may come.
pub struct LiveTrace {
    config: TraceConfig,
    timeline: Timeline,
    options: DecodeOptions,
    knowledge: Arc<LearnedCode>,
    limit: usize,
    /// What is not decoded yet; from the PSB that `here` stands at, if decoding has begun.
    bytes: Vec<u8>,
    /// Trace offset of the first of them.
    offset: u64,
    here: Option<Checkpoint>,
    /// Something else than PADs was passed before the first PSB.
    passed: bool,
    /// How many bytes make it worth to decode.
    wait: usize,
    steps: u64,
    /// The gap that ended it.
    gap: Option<Gap>,
}

/// What has become certain.
pub struct LivePart {
    /// It counts steps from its first, and trace offsets from the first of its bytes.
    pub stream: DecodedTrace,
    /// Instructions before it.
    pub first_step: u64,
    /// Trace offset of its first byte.
    pub offset: u64,
}

/// Why nothing becomes certain.
pub enum LiveError {
    /// As for any trace. After an exception or an interruption the same can be tried again; offsets are those of the
    /// whole trace.
    Decode(DecodeError),
    /// There is no PSB, or none that can be relied on, for more bytes than the limit.
    TooLong {
        /// Trace offset of the first of them.
        offset: u64,
        /// How many there are.
        bytes: u64,
    },
}

impl From<DecodeError> for LiveError {
    fn from(error: DecodeError) -> Self {
        LiveError::Decode(error)
    }
}

impl LiveTrace {
    /// A stream without bytes yet. No more than `limit` bytes are kept undecoded, and what one call brings.
    ///
    /// Sizes of unknown packets that a caller tells are asked with offsets in what is kept at the time.
    pub fn new(config: &TraceConfig, image: Image, options: DecodeOptions, limit: u64) -> LiveTrace {
        let timeline = Timeline::constant(image);
        let knowledge = LearnedCode::of(&timeline, &options);
        LiveTrace {
            config: config.clone(),
            timeline,
            options,
            knowledge,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            bytes: Vec::new(),
            offset: 0,
            here: None,
            passed: false,
            wait: BATCH,
            steps: 0,
            gap: None,
        }
    }

    /// Trace offset up to which everything has been decoded.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes behind it that are at hand.
    pub fn pending(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Instructions given away so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// From here on, memory is that of another image: for everything that has not been given away.
    pub fn set_image(&mut self, image: Image) {
        self.timeline = Timeline::constant(image);
        self.knowledge = LearnedCode::of(&self.timeline, &self.options);
    }

    /// Takes the next bytes, and decodes if it is worth it. `stop` is asked now and then, with the trace offset.
    ///
    /// The bytes are taken unless there were too many before.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        stop: impl FnMut(u64) -> bool,
    ) -> Result<Option<LivePart>, LiveError> {
        self.check()?;
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() < self.wait && self.bytes.len() <= self.limit {
            return Ok(None);
        }
        let part = self.flush(stop)?;
        self.check()?;
        Ok(part)
    }

    fn check(&self) -> Result<(), LiveError> {
        match self.gap {
            Some(gap) => Err(DecodeError::Gap(gap).into()),
            None if self.bytes.len() > self.limit => {
                Err(LiveError::TooLong { offset: self.offset, bytes: self.pending() })
            }
            None => Ok(()),
        }
    }

    /// Decodes what is certain by now.
    pub fn flush(&mut self, stop: impl FnMut(u64) -> bool) -> Result<Option<LivePart>, LiveError> {
        self.decode(false, stop)
    }

    /// Decodes the rest: no more bytes will come. Afterwards there are none.
    pub fn close(&mut self, stop: impl FnMut(u64) -> bool) -> Result<Option<LivePart>, LiveError> {
        self.decode(true, stop)
    }

    fn decode(&mut self, last: bool, stop: impl FnMut(u64) -> bool) -> Result<Option<LivePart>, LiveError> {
        if let Some(gap) = self.gap {
            return Err(DecodeError::Gap(gap).into());
        }
        // Learning goes on where walks over earlier parts have come to.
        let graph = self.knowledge.graph(&self.timeline, &self.options);
        let options = self.options.engine.clone();
        let mut engine = Engine::new(&self.config, options, self.timeline.clone(), graph);
        let part = if !self.begin(&mut engine, last) {
            Ok(last.then(|| self.nothing(&engine)).flatten())
        } else if last {
            self.decode_all(&mut engine, stop).map(Some)
        } else {
            self.decode_some(&mut engine, stop)
        };
        self.knowledge.give_back(engine.into_graph());
        let part = match part? {
            None if !last => {
                self.wait = self.bytes.len().saturating_mul(2).max(BATCH);
                None
            }
            part => part,
        };
        if let (OnError::Raise, Some(part)) = (self.options.on_error, &part) {
            if let Some(gap) = part.stream.gaps().first() {
                let gap = Gap { offset: gap.offset + part.offset, step: gap.step + part.first_step, ..gap };
                self.gap = Some(gap);
                return Err(DecodeError::Gap(gap).into());
            }
        }
        Ok(part)
    }

    /// Synchronises at the first PSB, if that has not been done; what lies before it is passed.
    fn begin(&mut self, engine: &mut Engine, last: bool) -> bool {
        if self.here.is_some() {
            return true;
        }
        let psb = sync::forward(&self.bytes, 0);
        // What is left may be the head of one.
        self.pass(psb.unwrap_or(self.bytes.len().saturating_sub(PSB.len() - 1)));
        let settled = if last { Some(u64::MAX) } else { last_settled(&self.bytes, None) };
        let Some(settled) = settled.filter(|_| psb.is_some()) else { return false };
        if !engine.start(&self.bytes) || engine.events().sync_offset() > settled {
            return false;
        }
        self.passed = false;
        // Where the PSB+ at the first byte is damaged, that is a later PSB; the bytes in between are a gap of the first
        // part.
        self.here = Some(engine.checkpoint());
        true
    }

    /// Drops bytes before the first PSB.
    fn pass(&mut self, bytes: usize) {
        let passed = bytes.min(self.bytes.len());
        self.passed |= has_packets(self.bytes.get(..passed).unwrap_or(&[]));
        self.bytes.drain(..passed);
        self.offset += bytes as u64;
    }

    /// Decodes up to the last PSB that is certain, if there is one.
    fn decode_some(
        &mut self,
        engine: &mut Engine,
        mut stop: impl FnMut(u64) -> bool,
    ) -> Result<Option<LivePart>, LiveError> {
        let (Some(here), Some(until)) = (&self.here, last_settled(&self.bytes, Some(0))) else {
            return Ok(None);
        };
        engine.restore(here);
        let tsc = here.tsc;
        let mut ending = SettledEnd::new(Builder::new(self.options.checkpoint_distance), &self.bytes, until);
        ending.checkpoint(engine);
        let done = |engine: &Engine, ending: &SettledEnd<'_>| {
            ending.is_done() || engine.events().sync_offset() > until
        };
        let before = self.offset;
        let stop = |engine: &Engine| stop(before + engine.events().offset());
        drive(engine, &self.bytes, &mut ending, self.options.resync, BUDGET, done, stop)?;
        let missed = !ending.is_done();
        let Some((built, reached, psb)) = ending.cut() else { return Ok(None) };
        let rest = self.bytes.get(psb as usize..).unwrap_or(&[]).to_vec();
        // What was decoded in vain must not be decoded often.
        self.wait = if missed { rest.len().saturating_mul(2).max(BATCH) } else { BATCH };
        let part = self.part(rest, built, reached.step, (tsc, reached.tsc), Some(psb));
        let mut here = reached.as_first();
        here.move_by(-(psb as i64));
        self.here = Some(here);
        Ok(Some(part))
    }

    /// Decodes to the end.
    fn decode_all(
        &mut self,
        engine: &mut Engine,
        mut stop: impl FnMut(u64) -> bool,
    ) -> Result<LivePart, LiveError> {
        let mut built = Builder::new(self.options.checkpoint_distance);
        let mut tsc = None;
        if let Some(here) = &self.here {
            engine.restore(here);
            tsc = here.tsc;
        }
        built.checkpoint(engine);
        let halt = self.options.on_error == OnError::Raise;
        let done = |_: &Engine, built: &Builder| halt && !built.gaps.is_empty();
        let before = self.offset;
        let stop = |engine: &Engine| stop(before + engine.events().offset());
        drive(engine, &self.bytes, &mut built, self.options.resync, BUDGET, done, stop)?;
        self.here = None;
        Ok(self.part(Vec::new(), built, engine.step(), (tsc, engine.tsc()), None))
    }

    /// The end of a trace in which decoding could not start.
    fn nothing(&mut self, engine: &Engine) -> Option<LivePart> {
        let before = self.offset;
        self.pass(self.bytes.len());
        let gap = never_started(engine, before, self.offset, std::mem::take(&mut self.passed))?;
        let mut built = Builder::new(self.options.checkpoint_distance);
        built.gaps.push(gap);
        let part = self.part(Vec::new(), built, 0, (None, None), None);
        Some(LivePart { offset: 0, ..part })
    }

    /// Gives away the bytes but for the `rest`, and what they say.
    fn part(
        &mut self,
        rest: Vec<u8>,
        built: Builder,
        steps: u64,
        tsc: (Option<u64>, Option<u64>),
        until: Option<u64>,
    ) -> LivePart {
        let left = rest.len();
        let mut bytes = std::mem::replace(&mut self.bytes, rest);
        bytes.shrink_to_fit();
        let (first_step, offset) = (self.steps, self.offset);
        self.offset += (bytes.len() - left) as u64;
        self.steps += steps;
        let ground = Ground {
            trace: Arc::new(bytes),
            config: self.config.clone(),
            timeline: self.timeline.clone(),
            options: self.options.clone(),
            knowledge: self.knowledge.clone(),
        };
        let stream = DecodedTrace { ends: until, ..ground.stream_of(built, steps, tsc) };
        LivePart { stream, first_step, offset }
    }
}
