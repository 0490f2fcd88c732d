//! The event decoder.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

use super::control::EventData;
use super::fast::FlowItem;
use super::pending::Queue;
use super::types::{Event, EventKind};
use crate::config::{TraceConfig, UnknownPackets};
use crate::cpu::Errata;
use crate::error::PtError;
use crate::instruction::ExecMode;
use crate::packet::{self, sync, BlockContext, LastIp, Packet};
use crate::time::Time;

/// Decodes the packet at `offset`; corrupt bytes that are no packet come back as a PAD of their size.
pub(super) fn fetch(
    trace: &[u8],
    offset: usize,
    blocks: &mut BlockContext,
    errata: &Errata,
    unknown: Option<&UnknownPackets>,
) -> Result<(Packet, usize), PtError> {
    let rest = trace.get(offset..).unwrap_or(&[]);
    match packet::decode_repaired(rest, blocks, errata) {
        Err(PtError::BadOpc) => match unknown {
            Some(unknown) => Ok((Packet::Unknown, unknown.size(trace, offset)?)),
            None => Err(PtError::BadOpc),
        },
        decoded => decoded.map(|(packet, size)| (packet.unwrap_or(Packet::Pad), size)),
    }
}

/// What a PSB leaves as it is: with it, decoding can start at a PSB as if it had run up to there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Carry {
    time: Time,
    mode: Option<ExecMode>,
    iflag: Option<bool>,
}

/// Decodes events from packets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventDecoder {
    pub(super) pos: usize,
    /// Start of the packet whose events are being delivered.
    pub(super) current: usize,
    pub(super) sync_offset: usize,
    synced: bool,
    /// The packet whose event was delivered last is not used up before the next call.
    lingers: bool,
    pub(super) enabled: bool,
    pub(super) last_ip: LastIp,
    pub(super) mode: Option<ExecMode>,
    pub(super) iflag: Option<bool>,
    pub(super) queue: Queue,
    /// Source of an asynchronous branch.
    pub(super) open_fup: Option<u64>,
    pub(super) out: VecDeque<Event>,
    pub(super) data: EventData,
    pub(super) blocks: BlockContext,
    /// A BEP.IP waits for its FUP.
    pub(super) bep: bool,
    pub(super) error: Option<PtError>,
    pub(super) time: Time,
    pub(super) errata: Errata,
    pub(super) iflags_events: bool,
    keep_calibration: bool,
    #[serde(skip)]
    pub(super) unknown: Option<UnknownPackets>,
    /// Only TNT, TIP, PAD and timing need to be looked at: nothing is open.
    pub(super) quiescent: bool,
    /// What was carried into the last PSB.
    carry: Carry,
}

impl EventDecoder {
    /// A decoder that is not synchronised.
    pub fn new(config: &TraceConfig) -> Self {
        let time = Time::new(config);
        EventDecoder {
            pos: 0,
            current: 0,
            sync_offset: 0,
            synced: false,
            lingers: false,
            enabled: false,
            last_ip: LastIp::default(),
            mode: None,
            iflag: None,
            queue: Queue::default(),
            open_fup: None,
            out: VecDeque::new(),
            data: EventData::default(),
            blocks: BlockContext { short_items: None, libipt: config.libipt_compat },
            bep: false,
            error: Some(PtError::Nosync),
            carry: Carry { time: time.clone(), mode: None, iflag: None },
            time,
            errata: Errata::chosen(config.cpu),
            iflags_events: config.enable_iflags_events,
            keep_calibration: config.keep_tcal_on_ovf,
            unknown: config.unknown_packets.clone(),
            quiescent: false,
        }
    }

    /// Offset of the next packet that has not been used up, behind PADs. While events of a packet are still to
    /// be delivered that is the packet itself; after synchronising, the PSBEND. A FUP, TIP or PSBEND that gave an event
    /// is used up only when the next event is asked for.
    pub fn offset(&self) -> u64 {
        if self.out.is_empty() && !self.lingers {
            self.pos as u64
        } else {
            self.current as u64
        }
    }

    /// Offset of the packet at hand; behind an error, of the first packet of which nothing was said: the PSB, if the
    /// error lies in its PSB+.
    pub fn packet_offset(&self) -> u64 {
        self.current.min(self.pos) as u64
    }

    /// It has been synchronised, perhaps without success.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// The error that every further call returns, once all events before it have been taken.
    pub fn error(&self) -> Option<PtError> {
        self.error
    }

    /// Offset of the last PSB.
    pub fn sync_offset(&self) -> u64 {
        self.sync_offset as u64
    }

    /// TSC estimate; relative to the start while no TSC has been seen.
    #[inline]
    pub fn tsc(&self) -> u64 {
        self.time.tsc()
    }

    /// A TSC packet has been seen.
    #[inline]
    pub fn has_tsc(&self) -> bool {
        self.time.has_tsc()
    }

    /// The clock.
    pub fn time(&self) -> &Time {
        &self.time
    }

    /// The next TSC packet is the closest to this TSC.
    pub fn set_tsc_near(&mut self, near: Option<u64>) {
        self.time.set_near(near);
    }

    /// For each of some PSBs, in order and less than 2^55 ticks apart, a TSC of about that time, if one is known.
    pub fn tscs_near(&self, trace: &[u8], psbs: &[u64]) -> Vec<Option<u64>> {
        let mut scout = self.clone();
        let mut near = |&psb| {
            // Where PSB+ is damaged or says no time, it is still about the time of the one before.
            let _ = scout.sync_set(trace, psb);
            scout.time.near()
        };
        psbs.iter().map(&mut near).collect()
    }

    /// Forgets everything and synchronises at a PSB, which must be the first packet after PADs at
    /// `offset`. `nosync` if it is not; `eos` past the end; or the error of the PSB or inside PSB+.
    pub fn sync_set(&mut self, trace: &[u8], offset: u64) -> Result<(), PtError> {
        let mut at = usize::try_from(offset).map_err(|_| PtError::Eos)?;
        while trace.get(at) == Some(&0) {
            at += 1;
        }
        match trace.get(at..) {
            None | Some([] | [0x02]) => return Err(PtError::Eos),
            Some(rest @ [0x02, 0x82, ..]) => packet::decode(rest, &mut BlockContext::default())?,
            Some(_) => return Err(PtError::Nosync),
        };
        self.start_at(at);
        self.mode = None;
        self.iflag = None;
        self.time.reset();
        match self.step(trace) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.error = Some(error);
                Err(error)
            }
        }
    }

    /// Forgets all that a PSB resets and stands at the PSB at `at`.
    fn start_at(&mut self, at: usize) {
        self.synced = true;
        self.sync_offset = at;
        self.pos = at;
        self.current = at;
        self.enabled = false;
        self.last_ip.reset();
        self.drop_open();
        self.out.clear();
        self.blocks.short_items = None;
        self.lingers = false;
        self.error = None;
        self.quiescent = false;
    }

    /// The same place of the same trace, if that has `by` more bytes in front (fewer, if negative).
    pub fn move_by(&mut self, by: i64) {
        for at in [&mut self.pos, &mut self.current, &mut self.sync_offset] {
            *at = at.wrapping_add(by as usize);
        }
        for event in self.out.iter_mut().chain(self.queue.events_mut()) {
            event.offset = event.offset.wrapping_add_signed(by);
        }
    }

    /// Whether this can be a decoder that began as `fresh` and decodes a trace of `length` bytes.
    pub fn is_sound(&self, fresh: &EventDecoder, length: u64) -> bool {
        let inside = |at: usize| at as u64 <= length;
        inside(self.pos)
            && inside(self.current)
            && inside(self.sync_offset)
            && self.out.iter().all(|event| event.offset <= length)
            && self.queue.is_sound(length)
            && self.time.is_configured_as(&fresh.time)
            && self.carry.time.is_configured_as(&fresh.time)
            && (self.errata, self.blocks.libipt) == (fresh.errata, fresh.blocks.libipt)
            && (self.iflags_events, self.keep_calibration) == (fresh.iflags_events, fresh.keep_calibration)
    }

    /// Whether a CYC packet was met since the last call.
    pub fn take_met_cyc(&mut self) -> bool {
        self.time.take_met_cyc()
    }

    /// Two decoders of the same trace that stand at a PSB+ will say the same; see [`Time::agrees`] for
    /// `calibration`.
    pub fn agrees(&self, other: &EventDecoder, calibration: bool) -> bool {
        (self.pos, self.current, self.sync_offset) == (other.pos, other.current, other.sync_offset)
            && (self.enabled, self.mode, self.iflag) == (other.enabled, other.mode, other.iflag)
            && (self.last_ip, self.open_fup, self.error) == (other.last_ip, other.open_fup, other.error)
            && self.out.len() == other.out.len()
            && self.out.iter().zip(&other.out).all(|(one, two)| one == two)
            && self.nothing_open()
            && other.nothing_open()
            && self.blocks == other.blocks
            && self.time.agrees(&other.time, calibration)
    }

    /// Reads on to where a later decoder of the same trace stands, or to an error.
    pub fn read_to(&mut self, trace: &[u8], later: &EventDecoder) {
        while self.pos < later.pos {
            if matches!(self.next_flow(trace), FlowItem::Other) && self.next(trace).is_err() {
                break;
            }
        }
    }

    /// Takes over what another decoder at the same place knows of the calibration of cycles.
    pub fn take_calibration(&mut self, other: &EventDecoder) {
        self.time.take_calibration(&other.time);
        self.carry.time.take_calibration(&other.carry.time);
    }

    /// What the last PSB was reached with. See [`EventDecoder::resume`].
    pub fn psb_carry(&self) -> Carry {
        self.carry.clone()
    }

    /// Goes on at the PSB at `offset` as if decoding had run up to it and had found what `carry` holds, which is
    /// the [`EventDecoder::psb_carry`] of a decoder that has passed that PSB. An error inside PSB+ is what the
    /// next call for an event returns. `nosync` if there is no PSB.
    pub fn resume(&mut self, trace: &[u8], offset: u64, carry: &Carry) -> Result<(), PtError> {
        let at = usize::try_from(offset).map_err(|_| PtError::Nosync)?;
        if !trace.get(at..).is_some_and(|rest| rest.starts_with(&packet::PSB)) {
            return Err(PtError::Nosync);
        }
        self.start_at(at);
        self.time = carry.time.clone();
        self.mode = carry.mode;
        self.iflag = carry.iflag;
        Ok(())
    }

    /// Synchronises at the next PSB; `eos` if there is none.
    ///
    /// An error inside its PSB+ is returned; the next call looks behind it.
    pub fn sync_forward(&mut self, trace: &[u8]) -> Result<(), PtError> {
        let from = if self.synced {
            // A broken packet may have swallowed the head of the PSB.
            (self.sync_offset + 1).max(self.pos.saturating_sub(packet::PSB.len() - 1))
        } else {
            0
        };
        let at = sync::forward(trace, from).ok_or(PtError::Eos)?;
        self.sync_set(trace, at as u64)
    }

    /// Synchronises at the last PSB whose PSB+ ends before the present position (before the end of the trace, if
    /// never synchronised). `eos`, and no change, if there is none. A PSB+ that the end of the trace cuts off is
    /// passed over; another error inside PSB+ is returned, and the next call looks before that PSB.
    pub fn sync_backward(&mut self, trace: &[u8]) -> Result<(), PtError> {
        self.back(trace, true)
    }

    /// As [`EventDecoder::sync_backward`], but a PSB+ that the end of the trace cuts off is an error as well: `eos`.
    pub fn sync_backward_to_any(&mut self, trace: &[u8]) -> Result<(), PtError> {
        self.back(trace, false)
    }

    fn back(&mut self, trace: &[u8], pass_over_incomplete: bool) -> Result<(), PtError> {
        let start = if self.synced { self.pos.min(trace.len()) } else { trace.len() };
        let mut before = start;
        let mut trial = self.clone();
        loop {
            let at = sync::backward(trace, before).ok_or(PtError::Eos)?;
            match trial.sync_set(trace, at as u64) {
                Ok(()) if trial.pos < start || !self.synced => {
                    *self = trial;
                    return Ok(());
                }
                Ok(()) => before = at,
                Err(PtError::Eos) if pass_over_incomplete => before = at,
                Err(error) => {
                    *self = trial;
                    self.pos = at;
                    return Err(error);
                }
            }
        }
    }

    /// Goes to the end of the trace: every further call says `eos`.
    pub fn end(&mut self, trace: &[u8]) {
        self.synced = true;
        self.pos = trace.len();
        self.out.clear();
        self.error = Some(PtError::Eos);
        self.quiescent = false;
    }

    /// The next event. Errors repeat until the decoder is synchronised again; `eos` at the end.
    pub fn next(&mut self, trace: &[u8]) -> Result<Event, PtError> {
        self.lingers = false;
        loop {
            if let Some(event) = self.out.pop_front() {
                if self.out.is_empty() {
                    self.lingers = self.waits_for_more(trace);
                    while trace.get(self.pos) == Some(&0) {
                        self.pos += 1;
                    }
                }
                self.settle();
                return Ok(event);
            }
            if let Some(error) = self.error {
                return Err(error);
            }
            if let Err(error) = self.step(trace) {
                self.error = Some(error);
            }
            self.settle();
        }
    }

    /// The packet at hand may give more than one event, and libipt finds out only when asked for the next.
    fn waits_for_more(&self, trace: &[u8]) -> bool {
        match trace.get(self.current..) {
            Some([0x02, 0x23, ..]) => true,
            Some([opcode, ..]) => matches!(opcode & 0x1f, 0x0d | 0x11 | 0x1d),
            _ => false,
        }
    }

    fn settle(&mut self) {
        self.quiescent = self.enabled
            && self.error.is_none()
            && self.out.is_empty()
            && self.open_fup.is_none()
            && self.queue.is_empty()
            && self.data.is_empty()
            && self.blocks.short_items.is_none()
            && !self.bep;
    }

    pub(super) fn event(&self, kind: EventKind, offset: usize) -> Event {
        let (lost_mtc, lost_cyc) = self.time.lost();
        Event {
            kind,
            ip_suppressed: false,
            status_update: false,
            tsc: self.time.tsc(),
            has_tsc: self.time.has_tsc(),
            lost_mtc,
            lost_cyc,
            offset: offset as u64,
        }
    }

    /// Stamps a waiting event with the time and place of the packet it waited for.
    pub(super) fn stamp(&self, mut event: Event, offset: usize) -> Event {
        let (lost_mtc, lost_cyc) = self.time.lost();
        event.tsc = self.time.tsc();
        event.has_tsc = self.time.has_tsc();
        event.lost_mtc = lost_mtc;
        event.lost_cyc = lost_cyc;
        event.offset = offset as u64;
        event
    }

    /// The event at an address, if its kind has one.
    pub(super) fn with_ip(&self, mut event: Event, ip: Result<u64, PtError>) -> Event {
        event.set_ip(ip.unwrap_or(0));
        event.ip_suppressed |= ip.is_err() && event.ip().is_some();
        event
    }

    /// Decodes the packet at `offset`, around the errata that spoil packets.
    pub(super) fn fetch(&mut self, trace: &[u8], offset: usize) -> Result<(Packet, usize), PtError> {
        fetch(trace, offset, &mut self.blocks, &self.errata, self.unknown.as_ref())
    }

    #[inline]
    pub(super) fn on_cyc(&mut self, value: u64) {
        // A time that cannot be worked out for want of configuration stays as it is and is no error.
        let _ = self.time.on_cyc(value);
    }

    /// A packet that only moves time on. False for all others.
    pub(super) fn keep_time(&mut self, packet: &Packet, in_psb: bool) -> Result<bool, PtError> {
        match *packet {
            Packet::Tsc { tsc } => self.time.on_tsc(tsc, in_psb),
            Packet::Tma { ctc, fc } => self.time.on_tma(ctc, fc)?,
            Packet::Mtc { ctc } => {
                self.time.on_mtc(ctc);
            }
            Packet::Cyc { value } => self.on_cyc(value),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Nothing is half-said: what must hold at PSB.
    pub(super) fn nothing_open(&self) -> bool {
        self.queue.is_empty() && self.open_fup.is_none() && self.data.is_empty() && !self.bep
    }

    pub(super) fn drop_open(&mut self) {
        self.queue = Queue::default();
        self.open_fup = None;
        self.data = EventData::default();
        self.bep = false;
    }

    pub(super) fn forget_calibration(&mut self) {
        self.time.on_overflow(self.keep_calibration);
    }

    pub(super) fn at_psb(&mut self, offset: usize) {
        self.sync_offset = offset;
        self.carry = Carry { time: self.time.clone(), mode: self.mode, iflag: self.iflag };
    }
}
