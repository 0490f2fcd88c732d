//! What each packet means outside PSB+.

use super::decoder::EventDecoder;
use super::pending::Binding;
use super::types::{Event, EventKind};
use crate::error::PtError;
use crate::instruction::ExecMode;
use crate::packet::Packet;

impl EventDecoder {
    /// Decodes one packet and what must be read along with it.
    pub(super) fn step(&mut self, trace: &[u8]) -> Result<(), PtError> {
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

    /// The `enabled` event comes first, so that the place of the others is known.
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
}
