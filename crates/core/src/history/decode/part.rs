//! Parts of a trace that are decoded elsewhere, from nothing but their own bytes, and put together again.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::asid::Asid;
use crate::config::TraceConfig;
use crate::flow::{Checkpoint, Engine, Timeline};
use crate::history::decode::builder::Builder;
use crate::history::decode::decoded_trace::{DecodeError, DecodeOptions, DecodedTrace, TraceBytes};
use crate::history::decode::decoding::{starts, Begun, Ground};
use crate::history::decode::joining::Joining;
use crate::history::decode::piece::{Piece, BEFORE};
use crate::packet::{self, sync, BlockContext, Packet};

/// Bytes behind a part that are looked at before they are found to be too few.
const BEHIND: u64 = 64 << 10;

/// A part of a trace: from one PSB to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartPlace {
    /// Which part it is; the whole begins with part 0.
    pub number: usize,
    /// Trace offset of the PSB that it begins at.
    pub start: u64,
    /// Trace offset of the PSB that it ends at; None at the end of the trace.
    pub until: Option<u64>,
    /// Trace offsets of the bytes that decoding it reads: some before, to guess the state from, and some behind.
    pub bytes: Range<u64>,
    /// The address space that the trace begins with.
    pub asid: Asid,
    /// A TSC of about the time at which it begins, if one is known.
    pub near: Option<u64>,
}

/// A part that has been decoded: [`Assembly::add`] takes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Part {
    number: usize,
    piece: Piece,
}

impl PartPlace {
    /// The place as bytes, for the same version of this crate.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing to memory does not fail.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// A place from [`PartPlace::to_bytes`]; None for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<PartPlace> {
        postcard::from_bytes(bytes).ok()
    }

    /// Decodes the part; `bytes` are those of [`PartPlace::bytes`]. `stop` is asked now and then, with the trace offset.
    ///
    /// Gives what the whole is put together from, and the part's own stream, in which steps and trace offsets count
    /// from the part's first step and the first of its bytes; it is right if the part proves to [fit](Assembly::add).
    /// None if the bytes do not suffice, there is nothing to guess from, or `stop` said so; and the assembly decodes
    /// it itself then.
    pub fn decode(
        &self,
        bytes: TraceBytes,
        config: &TraceConfig,
        timeline: Timeline,
        options: DecodeOptions,
        mut stop: impl FnMut(u64) -> bool,
    ) -> Option<(Part, DecodedTrace)> {
        let first = self.bytes.start;
        let ground = Ground::new(bytes, config, timeline, DecodeOptions { threads: 1, ..options });
        let mut job = ground.job();
        job.base = first;
        job.asid = self.asid;
        job.raise = false;
        job.starts.push(self.start.checked_sub(first)?);
        job.nears.push(self.near);
        if let Some(until) = self.until {
            let until = until.checked_sub(first)?;
            if !is_settled(job.trace, until) {
                return None;
            }
            job.starts.push(until);
        }
        let (piece, graph) = job.guess(0, job.graph(), |offset| stop(offset.saturating_add(first)));
        ground.knowledge.give_back(graph);
        let mut piece = piece?;
        if piece.built.done() != self.until.is_some() {
            return None;
        }
        let built = piece.built.clone();
        let tsc = built.checkpoints.first().and_then(|first| first.tsc);
        let last_tsc = piece.last_tsc;
        let ends = job.starts.get(1).copied();
        let mut stream = ground.stream_of(built, piece.steps, (tsc, last_tsc));
        stream.ends = ends;
        piece.move_by(first as i64);
        Some((Part { number: self.number, piece }, stream))
    }
}

impl Part {
    /// The part as bytes, for the same version of this crate.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing to memory does not fail.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// A part from [`Part::to_bytes`]; None for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Part> {
        postcard::from_bytes(bytes).ok()
    }
}

/// Whether everything that decoding up to the PSB at `psb` may look at lies inside the trace: its PSB+ and what follows
/// up to a packet that no look ahead passes.
pub(in crate::history) fn is_settled(trace: &[u8], psb: u64) -> bool {
    let Ok(mut at) = usize::try_from(psb) else { return false };
    let mut blocks = BlockContext::default();
    let mut status = true;
    loop {
        let rest = trace.get(at..).unwrap_or(&[]);
        let Ok((packet, size)) = packet::decode(rest, &mut blocks) else { return false };
        match packet {
            Packet::Psbend => status = false,
            // Losses inside PSB+ are looked into much further.
            Packet::Ovf if status => return false,
            Packet::Tnt8(_) | Packet::Tnt64(_) | Packet::Tip(_) | Packet::TipPge(_) | Packet::TipPgd(_)
                if !status =>
            {
                return true
            }
            _ => {}
        }
        at += size.max(1);
    }
}

/// A trace that is put together from its parts, which may have been decoded elsewhere.
pub struct Assembly {
    ground: Ground,
    starts: Vec<u64>,
    nears: Vec<Option<u64>>,
    asid: Asid,
    begun: Option<Begun>,
    whole: Option<Joining>,
    engine: Option<Engine>,
    first_tsc: Option<u64>,
    /// Some part was decoded elsewhere.
    from_elsewhere: bool,
}

impl Assembly {
    /// Divides a trace into parts of about `size` bytes; `options` say on how many threads the whole answers questions.
    /// An image with a callback, and sizes of unknown packets that a
    /// caller tells, make one part, number 0, that is decoded here.
    pub fn new(
        trace: TraceBytes,
        config: &TraceConfig,
        timeline: Timeline,
        options: DecodeOptions,
        size: u64,
    ) -> Assembly {
        let ground = Ground::new(trace, config, timeline, options);
        let begun = ground.begin();
        let mut divided = Vec::new();
        if begun.engine.is_some() && ground.is_divisible() {
            divided = starts(ground.job().trace, begun.sync_offset, |_| size);
            // The first part is decoded here: it is short.
            let soon = begun.sync_offset.saturating_add(1);
            if let Some(second) = sync::forward(ground.job().trace, soon as usize).map(|psb| psb as u64) {
                if divided.first() != Some(&second) {
                    divided.insert(0, second);
                }
            }
        }
        let (asid, first_tsc) = (begun.asid, begun.tsc);
        let nears = begun.nears(ground.job().trace, &divided);
        Assembly {
            ground,
            starts: divided,
            nears,
            asid,
            begun: Some(begun),
            whole: None,
            engine: None,
            first_tsc,
            from_elsewhere: false,
        }
    }

    /// The parts to decode elsewhere: all but the first.
    pub fn places(&self) -> Vec<PartPlace> {
        let trace = self.ground.job().trace;
        let length = trace.len() as u64;
        let place = |(nth, &start): (usize, &u64)| {
            let until = self.starts.get(nth + 1).copied();
            let from =
                sync::forward(trace, start.saturating_sub(BEFORE) as usize).map_or(start, |from| from as u64);
            let to = until.map_or(length, |until| until.saturating_add(BEHIND).min(length));
            let near = self.nears.get(nth).copied().flatten();
            PartPlace { number: nth + 1, start, until, bytes: from.min(start)..to, asid: self.asid, near }
        };
        self.starts.iter().enumerate().map(place).collect()
    }

    /// The part that is taken in next; None when the trace is at its end.
    pub fn wanted(&self) -> Option<usize> {
        match &self.whole {
            None => Some(0),
            Some(whole) if whole.here.is_none() || self.stopped() => None,
            Some(whole) => Some(whole.next + 1).filter(|&next| next <= self.starts.len()),
        }
    }

    /// The trace offset up to which everything is put together.
    pub fn reached(&self) -> u64 {
        self.whole.as_ref().map_or(0, Joining::reached)
    }

    /// Steps put together so far.
    pub fn steps(&self) -> u64 {
        self.whole.as_ref().map_or(0, |whole| whole.steps)
    }

    fn stopped(&self) -> bool {
        self.ground.job().raise && self.whole.as_ref().is_some_and(|whole| !whole.built.gaps.is_empty())
    }

    /// Takes in the part that is [wanted](Assembly::wanted): `part` if it is that one and began as what is there
    /// ends. False otherwise; [`Assembly::decode_here`] helps.
    pub fn add(&mut self, part: Part) -> bool {
        let wanted = self.wanted();
        let Some(whole) = &mut self.whole else { return false };
        // The number of a piece is one less: the first has none.
        let Part { number, mut piece } = part;
        if wanted != Some(number) || number == 0 || !whole.fits(&piece) {
            return false;
        }
        piece.next = number;
        whole.add(piece);
        self.from_elsewhere = true;
        true
    }

    /// Decodes the part that is wanted, with what is true; perhaps more than that part, where it has no clear end.
    /// `stop` is asked now and then, with the trace offset.
    ///
    /// Gives a stream of what was decoded and nothing else: its last steps, from what were [`Assembly::steps`] before.
    pub fn decode_here(&mut self, mut stop: impl FnMut(u64) -> bool) -> Result<DecodedTrace, DecodeError> {
        if let Some(whole) = &mut self.whole {
            whole.calibrate(self.ground.job().trace);
        }
        let begun = self.whole.as_ref().and_then(|whole| whole.here.clone());
        let known = self
            .whole
            .as_ref()
            .map_or((0, 0), |whole| (whole.built.checkpoints.len(), whole.built.moments.len()));
        self.decode_wanted(&mut stop)?;
        Ok(self.stretch(begun, known))
    }

    /// A stream of what is there since there were `known` checkpoints and moments, which began with `begun`.
    fn stretch(&self, begun: Option<Checkpoint>, (checkpoints, moments): (usize, usize)) -> DecodedTrace {
        let Some(whole) = &self.whole else { return self.ground.view(Builder::default(), 0) };
        let later = whole.built.checkpoints.iter().skip(checkpoints);
        let from = begun.as_ref().map(|begun| begun.offset);
        let later = later.filter(|checkpoint| Some(checkpoint.offset) != from).cloned();
        let built = Builder {
            checkpoints: begun.into_iter().chain(later).collect(),
            moments: whole.built.moments.iter().skip(moments).copied().collect(),
            ..Builder::default()
        };
        let mut stream = self.ground.view(built, whole.steps);
        stream.ends = whole.here.as_ref().and_then(Checkpoint::psb);
        stream
    }

    fn decode_wanted(&mut self, mut stop: impl FnMut(u64) -> bool) -> Result<(), DecodeError> {
        let mut job = self.ground.job();
        job.starts = std::mem::take(&mut self.starts);
        job.asid = self.asid;
        let done = match (&mut self.whole, self.begun.take()) {
            (None, Some(Begun { engine: Some(mut engine), built, .. })) => {
                let first = job.run(&mut engine, built, 0, job.raise, stop);
                self.engine = Some(engine);
                first.map(|first| self.whole = Some(Joining::begun(first)))
            }
            (None, Some(begun)) => {
                self.whole = Some(Joining::nothing(begun.built));
                Ok(())
            }
            (Some(whole), _) => {
                let mut engine = self.engine.take().unwrap_or_else(|| job.engine(job.graph()));
                let done = whole.decode_next(&job, &mut engine, &mut stop);
                self.engine = Some(engine);
                done
            }
            (None, None) => Ok(()),
        };
        self.starts = job.starts;
        done
    }

    /// The stream, when nothing is wanted any more. What is still missing is decoded here.
    pub fn finish(mut self, mut stop: impl FnMut(u64) -> bool) -> Result<DecodedTrace, DecodeError> {
        while self.wanted().is_some() {
            self.decode_here(&mut stop)?;
        }
        if let Some(engine) = self.engine.take() {
            self.ground.knowledge.give_back(engine.into_graph());
        }
        match self.whole {
            Some(whole) => {
                let tsc = (self.first_tsc, whole.last_tsc);
                let stream = self.ground.stream(whole.built, whole.steps, tsc)?;
                Ok(DecodedTrace { from_elsewhere: self.from_elsewhere, ..stream })
            }
            None => Err(DecodeError::Interrupted),
        }
    }
}
