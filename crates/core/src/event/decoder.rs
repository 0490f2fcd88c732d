//! The event decoder.

use std::collections::VecDeque;

use super::pending::{Binding, Queue};
use super::types::{Event, EventKind};
use crate::config::{TraceConfig, UnknownPackets};
use crate::cpu::Errata;
use crate::error::PtError;
use crate::instruction::ExecMode;
use crate::packet::{self, sync, BlockContext, LastIp, Packet};
use crate::time::Time;

/// What the fast path found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowItem {
    /// Taken / not-taken bits, the oldest in the most significant of the `size` low bits.
    Tnt {
        /// The bits.
        bits: u64,
        /// How many.
        size: u8,
    },
    /// The target of a branch.
    Tip {
        /// Its address.
        ip: u64,
    },
    /// Something else, which was not consumed: [`EventDecoder::next`] deals with it.
    Other,
}

/// Decodes the packet at `offset`; corrupt bytes that an erratum explains come back as PADs of their size.
pub(super) fn fetch(
    trace: &[u8],
    offset: usize,
    blocks: &mut BlockContext,
    errata: &Errata,
    unknown: Option<&UnknownPackets>,
) -> Result<(Packet, usize), PtError> {
    let rest = trace.get(offset..).unwrap_or(&[]);
    match packet::decode(rest, blocks) {
        // SKZ84: TMA with reserved bits set, followed by one bogus byte.
        Err(PtError::BadPacket) if errata.skz84 && rest.starts_with(&[0x02, 0x73]) => {
            if rest.len() < 8 {
                return Err(PtError::Eos);
            }
            Ok((Packet::Pad, 8))
        }
        // SKD007: an OVF replaced the tail of a CYC.
        Ok((Packet::Cyc { .. }, 2)) if errata.skd007 && rest.get(1..3) == Some(&[0x02, 0xf3]) => {
            Ok((Packet::Pad, 1))
        }
        Err(PtError::BadOpc) => match unknown {
            Some(unknown) => Ok((Packet::Unknown, unknown.size(trace, offset)?)),
            None => Err(PtError::BadOpc),
        },
        decoded => decoded,
    }
}

/// Data of EVD packets that wait for their CFE.
#[derive(Clone, Copy, Debug, Default)]
struct EventData {
    cr2: Option<u64>,
    vmxq: Option<u64>,
    vmxr: Option<u64>,
}

impl EventData {
    fn is_empty(&self) -> bool {
        self.cr2.is_none() && self.vmxq.is_none() && self.vmxr.is_none()
    }
}

/// What a PSB leaves as it is: with it, decoding can start at a PSB as if it had run up to there.
#[derive(Clone, Debug)]
pub struct Carry {
    time: Time,
    mode: Option<ExecMode>,
    iflag: Option<bool>,
}

/// Decodes events from packets.
#[derive(Clone, Debug)]
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
    data: EventData,
    pub(super) blocks: BlockContext,
    /// A BEP.IP waits for its FUP.
    bep: bool,
    pub(super) error: Option<PtError>,
    pub(super) time: Time,
    pub(super) errata: Errata,
    pub(super) iflags_events: bool,
    keep_calibration: bool,
    pub(super) unknown: Option<UnknownPackets>,
    /// Only TNT, TIP, PAD and timing need to be looked at: nothing is open.
    quiescent: bool,
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
    /// be delivered that is the packet itself; after synchronising, the PSBEND. A FUP or TIP that gave an event is
    /// used up only when the next event is asked for.
    pub fn offset(&self) -> u64 {
        if self.out.is_empty() && !self.lingers {
            self.pos as u64
        } else {
            self.current as u64
        }
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
        let Some(opcode) = trace.get(self.current) else { return false };
        matches!(opcode & 0x1f, 0x0d | 0x11 | 0x1d)
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

    /// Consumes PAD, timing and the next TNT or TIP, as long as nothing rarer comes up.
    ///
    /// Any mixture of this and [`EventDecoder::next`] gives the same events.
    #[inline(always)]
    pub fn next_flow(&mut self, trace: &[u8]) -> FlowItem {
        if !self.quiescent {
            return FlowItem::Other;
        }
        match trace.get(self.pos) {
            Some(&opcode) if opcode & 1 == 0 && opcode > 2 => {
                self.pos += 1;
                let tnt = packet::short_tnt(opcode);
                FlowItem::Tnt { bits: tnt.bits, size: tnt.size }
            }
            _ => self.next_flow_of_any_size(trace),
        }
    }

    /// Consumes one short TNT if it is the very next packet and nothing rarer is open; its raw byte comes back.
    /// Its bits lie below its highest set bit, down to bit 1.
    #[inline]
    pub fn next_tnt8(&mut self, trace: &[u8]) -> Option<u8> {
        if !self.quiescent {
            return None;
        }
        let byte = *trace.get(self.pos)?;
        (byte & 1 == 0 && byte > 2).then(|| {
            self.pos += 1;
            byte
        })
    }

    /// The rest of [`EventDecoder::next_flow`]: packets other than a short TNT, until one decides.
    #[inline(never)]
    fn next_flow_of_any_size(&mut self, trace: &[u8]) -> FlowItem {
        let skd007 = self.errata.skd007;
        loop {
            let Some(rest) = trace.get(self.pos..) else { return FlowItem::Other };
            let Some(&opcode) = rest.first() else { return FlowItem::Other };
            let size = match opcode {
                0x00 => 1,
                0x59 => {
                    let Some(&ctc) = rest.get(1) else { return FlowItem::Other };
                    self.time.on_mtc(ctc);
                    2
                }
                _ if opcode & 0b11 == 0b11 => {
                    let Ok((value, size)) = packet::cyc(rest) else { return FlowItem::Other };
                    if skd007 && size == 2 {
                        return FlowItem::Other;
                    }
                    self.on_cyc(value);
                    size
                }
                _ if opcode & 0x1f == 0x0d => {
                    let Ok((payload, size)) = packet::ip(rest, opcode) else { return FlowItem::Other };
                    let Ok(ip) = self.last_ip.after(payload) else { return FlowItem::Other };
                    self.last_ip.update(payload);
                    self.pos += size;
                    return FlowItem::Tip { ip };
                }
                _ if opcode & 1 == 0 && opcode > 2 => {
                    self.pos += 1;
                    let tnt = packet::short_tnt(opcode);
                    return FlowItem::Tnt { bits: tnt.bits, size: tnt.size };
                }
                0x02 | 0x19 => match packet::decode(rest, &mut self.blocks.clone()) {
                    Ok((Packet::Tnt64(tnt), size)) => {
                        self.pos += size;
                        return FlowItem::Tnt { bits: tnt.bits, size: tnt.size };
                    }
                    Ok((packet @ (Packet::Tsc { .. } | Packet::Tma { .. }), size)) => {
                        if self.keep_time(&packet, false).is_err() {
                            return FlowItem::Other;
                        }
                        size
                    }
                    _ => return FlowItem::Other,
                },
                _ => return FlowItem::Other,
            };
            self.pos += size;
        }
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
    fn on_cyc(&mut self, value: u64) {
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

    /// Decodes one packet and what must be read along with it.
    fn step(&mut self, trace: &[u8]) -> Result<(), PtError> {
        let offset = self.pos;
        self.current = offset;
        let (packet, size) = self.fetch(trace, offset)?;
        let next = offset + size;
        match packet {
            Packet::Pad => {}
            Packet::Psb => {
                self.pos = next;
                return self.psb(trace, offset);
            }
            Packet::Psbend => return Err(PtError::BadContext),
            Packet::Ovf => {
                self.pos = next;
                return self.overflow(trace, offset);
            }
            Packet::Fup(payload) => {
                self.last_ip.update(payload);
                self.fup(offset)?;
            }
            Packet::Tip(payload) => {
                if !self.enabled && self.open_fup.is_none() {
                    return Err(PtError::BadContext);
                }
                self.last_ip.update(payload);
                self.tip(offset)?;
            }
            Packet::TipPge(payload) => {
                self.last_ip.update(payload);
                self.tip_pge(offset)?;
            }
            Packet::TipPgd(payload) => {
                self.last_ip.update(payload);
                self.tip_pgd(offset)?;
            }
            Packet::Tnt8(tnt) | Packet::Tnt64(tnt) => {
                if !self.enabled {
                    return Err(PtError::BadContext);
                }
                let event = self.event(EventKind::Tnt { bits: tnt.bits, size: tnt.size }, offset);
                self.out.push_back(event);
            }
            Packet::ModeExec { csl, csd, iflag } => self.mode_exec(csl, csd, iflag, offset)?,
            Packet::ModeTsx { intx, abrt } => {
                let mut event =
                    self.event(EventKind::Tsx { ip: 0, speculative: intx, aborted: abrt }, offset);
                if self.enabled {
                    self.queue.push(if abrt { Binding::Fup } else { Binding::FupBound }, Some(event))?;
                } else {
                    event.ip_suppressed = true;
                    self.out.push_back(event);
                }
            }
            Packet::Pip { cr3, nr } => {
                if self.open_fup.is_some() {
                    let event = self.event(EventKind::AsyncPaging { cr3, non_root: nr, ip: 0 }, offset);
                    self.queue.push(Binding::Tip, Some(event))?;
                } else {
                    self.out.push_back(self.event(EventKind::Paging { cr3, non_root: nr }, offset));
                }
            }
            Packet::Vmcs { base } => {
                if self.open_fup.is_some() {
                    let event = self.event(EventKind::AsyncVmcs { base, ip: 0 }, offset);
                    // VMCS comes before PIP: it takes its place, and PIP waits anew.
                    let paging = |kind: &EventKind| matches!(kind, EventKind::AsyncPaging { .. });
                    let last = self.queue.replace(paging, event).unwrap_or(event);
                    self.queue.push(Binding::Tip, Some(last))?;
                } else {
                    self.out.push_back(self.event(EventKind::Vmcs { base }, offset));
                }
            }
            Packet::Cbr { ratio } => {
                self.time.on_cbr(ratio, false)?;
                self.out.push_back(self.event(EventKind::Cbr { ratio }, offset));
            }
            Packet::Tsc { tsc } => self.time.on_tsc(tsc, false),
            Packet::Tma { ctc, fc } => self.time.on_tma(ctc, fc)?,
            Packet::Mtc { ctc } => {
                self.time.on_mtc(ctc);
            }
            Packet::Cyc { value } => self.on_cyc(value),
            Packet::Mnt { payload } => self.out.push_back(self.event(EventKind::Mnt { payload }, offset)),
            Packet::Stop => self.out.push_back(self.event(EventKind::Stop, offset)),
            Packet::Exstop { ip } => self.exstop(ip, offset)?,
            Packet::Mwait { hints, ext } => {
                let event = self.event(EventKind::Mwait { ip: 0, hints, ext }, offset);
                self.queue.push(Binding::Exstop, Some(event))?;
            }
            Packet::Pwre { state, sub_state, hw } => {
                let event = self.event(EventKind::Pwre { state, sub_state, hw }, offset);
                self.queue.push(Binding::Pwrx, Some(event))?;
            }
            Packet::Pwrx { last, deepest, interrupt, store, autonomous } => {
                let entries = self.queue.take(&[Binding::Pwrx]);
                self.out.extend(entries.into_iter().filter_map(|pending| pending.event));
                let kind = EventKind::Pwrx { last, deepest, interrupt, store, autonomous };
                self.out.push_back(self.event(kind, offset));
            }
            Packet::Ptw { payload, plc, ip } => {
                let size = if plc == 0 { 4 } else { 8 };
                let mut event = self.event(EventKind::Ptwrite { ip: 0, size, payload }, offset);
                if ip {
                    self.queue.push(Binding::FupBound, Some(event))?;
                } else {
                    event.ip_suppressed = true;
                    self.out.push_back(event);
                }
            }
            Packet::Cfe { kind, vector, ip } => self.cfe(kind, vector, ip, offset)?,
            Packet::Evd { kind, payload } => self.evd(kind, payload)?,
            Packet::Trig { trbv, icnt, ip, icntv, mult } => {
                let mut event = self.event(EventKind::Trig { trbv, icnt, ip: 0, mult }, offset);
                if ip {
                    if !icntv || icnt != 0 {
                        return Err(PtError::BadPacket);
                    }
                    self.queue.push(Binding::FupBound, Some(event))?;
                } else {
                    if !self.enabled && icnt != 0 {
                        return Err(PtError::BadPacket);
                    }
                    event.ip_suppressed = !icntv;
                    self.out.push_back(event);
                }
            }
            Packet::Bbp { .. } | Packet::Bip { .. } => {}
            Packet::Bep { ip } => self.bep = ip,
            // It would come again and again.
            Packet::Unknown if size == 0 => return Err(PtError::BadPacket),
            Packet::Unknown => {}
        }
        self.pos = next;
        Ok(())
    }

    fn fup(&mut self, offset: usize) -> Result<(), PtError> {
        if std::mem::take(&mut self.bep) {
            return Ok(());
        }
        let ip = self.last_ip.ip();
        let mut consumed = false;
        for pending in self.queue.take(&[Binding::Fup, Binding::FupBound, Binding::Mode]) {
            consumed |= pending.binding != Binding::Fup;
            if let Some(event) = pending.event {
                let event = self.stamp(event, offset);
                // RSM and SIPI say where they come from, not where they go: no IP.
                let own = matches!(event.kind, EventKind::Rsm | EventKind::Sipi { .. });
                self.out.push_back(if own { event } else { self.with_ip(event, ip) });
            }
        }
        if !consumed {
            self.open_fup = Some(ip?);
        }
        Ok(())
    }

    /// Delivers what waited for this TIP, in order of arrival.
    fn deliver_at_tip(&mut self, ip: Result<u64, PtError>, offset: usize) {
        for event in
            self.queue.take(&[Binding::Tip, Binding::Mode]).into_iter().filter_map(|waiting| waiting.event)
        {
            let event = self.stamp(event, offset);
            self.out.push_back(self.with_ip(event, ip));
        }
    }

    fn tip(&mut self, offset: usize) -> Result<(), PtError> {
        let ip = self.last_ip.ip();
        let kind = match self.open_fup.take() {
            Some(from) => EventKind::AsyncBranch { from, to: 0 },
            None => EventKind::Tip { ip: 0 },
        };
        let event = self.event(kind, offset);
        self.out.push_back(self.with_ip(event, ip));
        self.deliver_at_tip(ip, offset);
        Ok(())
    }

    /// The `enabled` event comes first, so that nobody has to guess where the others apply.
    fn tip_pge(&mut self, offset: usize) -> Result<(), PtError> {
        let ip = self.last_ip.ip();
        let event = self.event(EventKind::Enabled { ip: 0, resumed: false }, offset);
        self.out.push_back(self.with_ip(event, ip));
        self.enabled = true;
        if self.open_fup.is_some() || self.queue.has(Binding::Tip) {
            return Err(PtError::BadContext);
        }
        self.deliver_at_tip(ip, offset);
        if self.nothing_open() {
            Ok(())
        } else {
            Err(PtError::BadContext)
        }
    }

    fn tip_pgd(&mut self, offset: usize) -> Result<(), PtError> {
        let ip = self.last_ip.ip();
        let (first, at) = match self.open_fup.take() {
            Some(at) => (EventKind::AsyncDisabled { at, ip: 0 }, true),
            None => (EventKind::Disabled { ip: 0 }, false),
        };
        let event = self.with_ip(self.event(first, offset), ip);
        if at {
            self.out.push_back(event);
        }
        for pending in self.queue.take(&[Binding::Tip, Binding::Mode]) {
            // libipt has no place for a mode that did not change, nor for the interrupt flag, at a TIP.PGD.
            let Some(event) = pending.event.filter(|event| !matches!(event.kind, EventKind::Iflags { .. }))
            else {
                return Err(PtError::BadContext);
            };
            let event = self.stamp(event, offset);
            self.out.push_back(self.with_ip(event, Err(PtError::IpSuppressed)));
        }
        if !at {
            self.out.push_back(event);
        }
        self.enabled = false;
        Ok(())
    }

    pub(super) fn exec_mode(csl: bool, csd: bool) -> ExecMode {
        match (csl, csd) {
            (true, false) => ExecMode::Bits64,
            (false, true) => ExecMode::Bits32,
            (false, false) => ExecMode::Bits16,
            (true, true) => ExecMode::Unknown,
        }
    }

    fn mode_exec(&mut self, csl: bool, csd: bool, iflag: bool, offset: usize) -> Result<(), PtError> {
        let mode = Self::exec_mode(csl, csd);
        let mut waits = false;
        if self.mode != Some(mode) {
            self.mode = Some(mode);
            let event = self.event(EventKind::ExecMode { mode, ip: 0 }, offset);
            self.queue.push(Binding::Mode, Some(event))?;
            waits = true;
        }
        if self.iflags_events && self.iflag != Some(iflag) {
            let event = self.event(EventKind::Iflags { iflag, ip: 0 }, offset);
            self.queue.push(Binding::Mode, Some(event))?;
            waits = true;
        }
        self.iflag = Some(iflag);
        if !waits {
            self.queue.push(Binding::Mode, None)?;
        }
        Ok(())
    }

    fn exstop(&mut self, ip: bool, offset: usize) -> Result<(), PtError> {
        let waiting = self.queue.take(&[Binding::Exstop]);
        let mut exstop = self.event(EventKind::Exstop { ip: 0 }, offset);
        if ip {
            for pending in waiting {
                self.queue.push(Binding::FupBound, pending.event)?;
            }
            return self.queue.push(Binding::FupBound, Some(exstop));
        }
        for event in waiting.into_iter().filter_map(|pending| pending.event) {
            let event = self.stamp(event, offset);
            self.out.push_back(Event { ip_suppressed: true, ..event });
        }
        exstop.ip_suppressed = true;
        self.out.push_back(exstop);
        Ok(())
    }

    fn evd(&mut self, kind: u8, payload: u64) -> Result<(), PtError> {
        let slot = match kind {
            0 => {
                if !self.data.is_empty() {
                    return Err(PtError::BadContext);
                }
                &mut self.data.cr2
            }
            1 | 2 => {
                if self.data.cr2.is_some() {
                    return Err(PtError::BadContext);
                }
                if kind == 1 {
                    &mut self.data.vmxq
                } else {
                    &mut self.data.vmxr
                }
            }
            _ => return Ok(()),
        };
        if slot.replace(payload).is_some() {
            return Err(PtError::BadContext);
        }
        Ok(())
    }

    fn cfe(&mut self, kind: u8, vector: u8, ip: bool, offset: usize) -> Result<(), PtError> {
        let data = std::mem::take(&mut self.data);
        let exit = matches!(kind, 8 | 9);
        if data.cr2.is_some() && kind != 1 || (data.vmxq.is_some() || data.vmxr.is_some()) && !exit {
            return Err(PtError::BadContext);
        }
        let immediate = matches!(kind, 2 | 7 | 0xa | 0xd | 0xf);
        let what = match kind {
            1 => EventKind::Interrupt { vector, cr2: data.cr2, ip: 0 },
            2 => EventKind::Iret { ip: 0 },
            3 => EventKind::Smi { ip: 0 },
            4 => EventKind::Rsm,
            5 => EventKind::Sipi { vector },
            6 => EventKind::Init { ip: 0 },
            7 => EventKind::Vmentry { ip: 0 },
            8 | 9 => EventKind::Vmexit {
                vector: (kind == 9).then_some(vector),
                vmxr: data.vmxr,
                vmxq: data.vmxq,
                ip: 0,
            },
            0xa => EventKind::Shutdown { ip: 0 },
            0xc => EventKind::Uintr { vector, ip: 0 },
            0xd => EventKind::Uiret { ip: 0 },
            0xe => EventKind::Swintr { vector, ip: 0 },
            0xf => EventKind::Syscall { ip: 0 },
            _ => {
                return if ip { self.queue.push(Binding::FupBound, None) } else { Ok(()) };
            }
        };
        let mut event = self.event(what, offset);
        if matches!(kind, 4 | 5) {
            if ip {
                return Err(PtError::BadPacket);
            }
            event.ip_suppressed = true;
        }
        if ip {
            return self.queue.push(Binding::FupBound, Some(event));
        }
        if self.enabled && !immediate {
            return self.queue.push(Binding::Fup, Some(event));
        }
        self.out.push_back(Event { ip_suppressed: true, ..event });
        Ok(())
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
