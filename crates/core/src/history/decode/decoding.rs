//! Decoding: from a trace to a stream, on one core or several.
//!
//! The trace is cut into pieces at PSBs. Decoding one after the other defines the result. With several threads each
//! piece begins with a guess at what decoding up to there would have come to, made from the packets shortly before it;
//! where the pieces are put together the guess is compared with the truth, and a piece that guessed wrong is decoded
//! again. RET compression does not reach over a PSB, so a piece begins without return sites, and is decoded again if it
//! asked for one that an earlier piece had pushed.

use std::sync::Arc;

use crate::asid::Asid;
use crate::config::TraceConfig;
use crate::error::PtError;
use crate::event::{EventDecoder, EventKind};
use crate::flow::{Engine, Gap, GapCause, Sink, Timeline};
use crate::history::decode::builder::Builder;
use crate::history::decode::decoded_trace::{DecodeError, DecodeOptions, DecodedTrace, OnError, TraceBytes};
use crate::history::decode::learned_code::LearnedCode;
use crate::history::decode::piece::Job;
use crate::history::decode::threads::in_pieces;
use crate::packet::{self, sync, BlockContext, Packet};

/// Bytes of trace in a piece, at least and at most.
const PIECE: std::ops::RangeInclusive<u64> = 256 << 10..=4 << 20;

/// Decodes a whole trace.
///
/// `interrupted` is asked every few milliseconds, with the trace offset reached; true stops.
/// What stands before the first PSB is skipped, as every decoder does: the end of something longer
/// whose start is gone; see [`skipped`]. A trace without a PSB is one gap, and so is what lies between a damaged PSB+
/// and the next PSB.
///
/// The result does not depend on the number of threads. An image with a callback is decoded on one, in order.
pub fn decode(
    trace: TraceBytes,
    config: &TraceConfig,
    timeline: Timeline,
    options: DecodeOptions,
    mut interrupted: impl FnMut(u64) -> bool,
) -> Result<DecodedTrace, DecodeError> {
    let ground = Ground::new(trace, config, timeline, options);
    let mut begun = ground.begin();
    if begun.engine.is_none() {
        return ground.stream(begun.built, 0, (None, None));
    }
    let options = &ground.options;
    let mut job = ground.job();
    if options.threads > 1 && ground.is_divisible() {
        // Ever smaller, so that the threads come to the end together.
        let share = 4 * options.threads as u64;
        let usual = |left: u64| (left / share).clamp(*PIECE.start(), *PIECE.end());
        job.starts = starts(job.trace, begun.sync_offset, |left| options.piece.unwrap_or(usual(left)));
        job.asid = begun.asid;
        job.nears = begun.nears(job.trace, &job.starts);
    }
    let first_tsc = begun.tsc;
    let Some(mut engine) = begun.engine.take() else { return ground.stream(begun.built, 0, (None, None)) };
    let (built, steps, last_tsc) = if job.starts.is_empty() {
        let piece = job.run(&mut engine, begun.built, 0, job.raise, interrupted);
        ground.knowledge.give_back(engine.into_graph());
        let piece = piece?;
        (piece.built, piece.steps, piece.last_tsc)
    } else {
        let whole = in_pieces(&job, engine, begun.built, &mut interrupted)?;
        (whole.built, whole.steps, whole.last_tsc)
    };
    ground.stream(built, steps, (first_tsc, last_tsc))
}

/// What a decode stands on.
pub(in crate::history) struct Ground {
    pub trace: TraceBytes,
    pub config: TraceConfig,
    pub timeline: Timeline,
    pub options: DecodeOptions,
    pub knowledge: Arc<LearnedCode>,
}

/// A decode that has been synchronised.
pub(in crate::history) struct Begun {
    /// At the first PSB; None if there is none.
    pub engine: Option<Engine>,
    /// What is there.
    pub built: Builder,
    pub sync_offset: u64,
    pub tsc: Option<u64>,
    /// The address space that the first PSB+ names.
    pub asid: Asid,
}

impl Begun {
    /// For each of some PSBs a TSC of about that time, if one is known.
    pub fn nears(&self, trace: &[u8], psbs: &[u64]) -> Vec<Option<u64>> {
        self.engine.as_ref().map_or(Vec::new(), |engine| engine.events().tscs_near(trace, psbs))
    }
}

impl Ground {
    pub fn new(trace: TraceBytes, config: &TraceConfig, timeline: Timeline, options: DecodeOptions) -> Self {
        let knowledge = LearnedCode::of(&timeline, &options);
        Ground { trace, config: config.clone(), timeline, options, knowledge }
    }

    /// A job without pieces.
    pub fn job(&self) -> Job<'_> {
        Job {
            trace: (*self.trace).as_ref(),
            config: &self.config,
            timeline: &self.timeline,
            options: &self.options,
            knowledge: &self.knowledge,
            base: 0,
            starts: Vec::new(),
            nears: Vec::new(),
            asid: Asid::default(),
            raise: self.options.on_error == OnError::Raise,
        }
    }

    /// Pieces can be decoded out of order: no callback is called.
    pub fn is_divisible(&self) -> bool {
        !self.timeline.has_callback() && self.config.unknown_packets.is_none()
    }

    /// Synchronises at the first PSB.
    pub fn begin(&self) -> Begun {
        let job = self.job();
        let mut engine = job.engine(job.graph());
        let mut built = Builder::new(self.options.checkpoint_distance);
        if !engine.start(job.trace) {
            built.gaps.extend(never_started(&engine, 0, job.trace.len() as u64, has_packets(job.trace)));
            self.knowledge.give_back(engine.into_graph());
            return Begun { engine: None, built, sync_offset: 0, tsc: None, asid: Asid::default() };
        }
        // Before anything happens: not every first PSB+ tells whether tracing is on.
        built.checkpoint(&engine);
        Begun {
            built,
            sync_offset: engine.events().sync_offset(),
            tsc: engine.tsc(),
            asid: first_asid(engine.events(), job.trace),
            engine: Some(engine),
        }
    }

    /// The trace, if none of its gaps stops decoding; `tsc` at the first synchronisation and at the end.
    pub fn stream(
        self,
        built: Builder,
        steps: u64,
        tsc: (Option<u64>, Option<u64>),
    ) -> Result<DecodedTrace, DecodeError> {
        if let (OnError::Raise, Some(gap)) = (self.options.on_error, built.gaps.first()) {
            return Err(DecodeError::Gap(gap));
        }
        Ok(self.stream_of(built, steps, tsc))
    }

    /// The trace, with any gaps.
    pub fn stream_of(self, built: Builder, steps: u64, tsc: (Option<u64>, Option<u64>)) -> DecodedTrace {
        let mut checkpoints = built.checkpoints;
        checkpoints.shrink_to_fit();
        DecodedTrace {
            trace: self.trace,
            config: self.config,
            options: self.options,
            timeline: self.timeline,
            knowledge: self.knowledge,
            checkpoints,
            gaps: built.gaps,
            notes: built.notes,
            moments: built.moments,
            steps,
            events: built.events,
            first_tsc: tsc.0,
            last_tsc: tsc.1,
            ends: None,
            from_elsewhere: false,
        }
    }
}

impl Ground {
    /// A stream of what is built, on the same ground.
    pub fn view(&self, built: Builder, steps: u64) -> DecodedTrace {
        let ground = Ground {
            trace: self.trace.clone(),
            config: self.config.clone(),
            timeline: self.timeline.clone(),
            options: self.options.clone(),
            knowledge: self.knowledge.clone(),
        };
        ground.stream_of(built, steps, (None, None))
    }
}

/// The gap that a trace is in which decoding could not start: from its first damaged PSB+ on, or without a PSB all of
/// it, if there is more than PADs. `base` is where the bytes that the engine was shown begin, `end` where they end.
pub(in crate::history) fn never_started(
    engine: &Engine,
    base: u64,
    end: u64,
    has_packets: bool,
) -> Option<Gap> {
    let begun = engine.damage().map(|damage| Gap { offset: damage.offset + base, ..damage });
    let no_psb = Gap {
        step: 0,
        cause: GapCause::Lost,
        code: Some(PtError::Nosync),
        offset: 0,
        bytes_lost: 0,
        ip: None,
        asid: Asid::default(),
        tsc: None,
    };
    let gap = begun.or_else(|| has_packets.then_some(no_psb))?;
    Some(Gap { bytes_lost: end.saturating_sub(gap.offset), ..gap })
}

/// There is something else than PADs.
pub(in crate::history) fn has_packets(trace: &[u8]) -> bool {
    trace.iter().any(|&byte| byte != 0)
}

/// Bytes in front of the first PSB, which decoding skips. None if they only tell the time, as processors do before the
/// first PSB, and in a trace without a PSB.
pub fn skipped(trace: &[u8]) -> u64 {
    let before = sync::forward(trace, 0).and_then(|psb| trace.get(..psb)).unwrap_or(&[]);
    if tells_time_only(before) {
        0
    } else {
        before.len() as u64
    }
}

/// All of it is timing packets and PADs, so nothing was executed there.
fn tells_time_only(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let size = match packet::decode(bytes, &mut BlockContext::default()) {
            Ok((Packet::Pad | Packet::Cyc { .. } | Packet::Mtc { .. } | Packet::Tsc { .. }, size)) => size,
            Ok((Packet::Tma { .. } | Packet::Cbr { .. }, size)) => size,
            _ => return false,
        };
        bytes = bytes.get(size..).unwrap_or(&[]);
    }
    true
}

/// Where pieces begin, but for the first: at the first PSB behind as many bytes as `size` says for those that are left.
pub(in crate::history) fn starts(trace: &[u8], first: u64, size: impl Fn(u64) -> u64) -> Vec<u64> {
    let length = trace.len() as u64;
    let next = |from: u64| from.saturating_add(size(length.saturating_sub(from)).max(1));
    let mut starts = Vec::new();
    let mut at = next(first);
    while at < length {
        let Some(psb) = sync::forward(trace, at as usize).map(|psb| psb as u64) else { break };
        starts.push(psb);
        at = next(at).max(psb.saturating_add(1));
    }
    starts
}

/// The address space that the first PSB+ names.
fn first_asid(events: &EventDecoder, trace: &[u8]) -> Asid {
    let mut asid = Asid::default();
    let mut scout = events.clone();
    while let Ok(event) = scout.next(trace) {
        match event.kind {
            _ if !event.status_update => break,
            EventKind::AsyncPaging { cr3, .. } => asid.cr3 = Some(cr3),
            EventKind::AsyncVmcs { base, .. } => asid.vmcs = Some(base),
            _ => {}
        }
    }
    asid
}
