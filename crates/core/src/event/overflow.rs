//! OVF: packets were lost inside the processor.

use super::decoder::EventDecoder;
use super::pending::Binding;
use super::types::{Event, EventKind};
use crate::error::PtError;
use crate::packet::{LastIp, Packet};

/// What stands behind an OVF, past status and timing.
enum Behind {
    /// A FUP: execution goes on there.
    Fup,
    /// Something that can stand there with tracing off, or the end.
    Off,
    /// Something that needs tracing to be on.
    Misplaced,
}

/// Where decoding goes on, if an erratum spoilt what stands behind the OVF.
enum Repair {
    /// Tracing is off.
    Off,
    /// Tracing is on at this address.
    At(u64),
}

/// What a PSB+ behind an OVF says of where execution goes on.
enum PsbFup {
    /// There.
    At(u64),
    /// It has no FUP: tracing is off.
    Without,
    /// It is cut off, or its FUP has no address.
    Unknown,
}

impl EventDecoder {
    /// Deals with an OVF at `offset`; `pos` stands behind it.
    ///
    /// What waited is lost if tracing was on, and reported without place and time if it was off. A
    /// FUP that follows before anything but status and timing tells where execution goes on. The
    /// event has the time and the offset of the OVF.
    pub(super) fn overflow(&mut self, trace: &[u8], offset: usize) -> Result<(), PtError> {
        self.leave_behind();
        self.last_ip.reset();
        self.mode = None;
        self.iflag = None;
        self.enabled = false;
        self.forget_calibration();
        let overflow = self.event(EventKind::Overflow { ip: 0 }, offset);
        let repair = match self.behind(trace)? {
            Behind::Fup => match self.repair_apl12(trace)? {
                None => return self.overflow_to_fup(trace, overflow),
                repair => repair,
            },
            Behind::Off => self.repair_skd010(trace)?.or(Some(Repair::Off)),
            Behind::Misplaced => match self.repair_skd010(trace)? {
                None => self.repair_apl11(trace)?,
                repair => repair,
            },
        };
        let event = match repair {
            Some(Repair::At(ip)) => {
                self.enabled = true;
                self.with_ip(overflow, Ok(ip))
            }
            Some(Repair::Off) => Event { ip_suppressed: true, ..overflow },
            None => {
                self.pos = offset;
                return Err(PtError::BadContext);
            }
        };
        self.out.push_back(event);
        Ok(())
    }

    /// What waited when the packets were lost.
    fn leave_behind(&mut self) {
        let waiting = self.queue.take_all();
        self.drop_open();
        if self.enabled {
            return;
        }
        for event in waiting.into_iter().filter_map(|pending| pending.event) {
            let event = match event.kind {
                EventKind::AsyncPaging { .. } | EventKind::AsyncVmcs { .. } => continue,
                EventKind::Pwre { .. } => event,
                EventKind::Rsm | EventKind::Sipi { .. } => without_time(event),
                _ => Event { ip_suppressed: true, ..without_time(event) },
            };
            self.out.push_back(event);
        }
    }

    fn behind(&self, trace: &[u8]) -> Result<Behind, PtError> {
        let mut probe = self.probe();
        let mut at = self.pos;
        loop {
            let (packet, size) = match probe.fetch(trace, at) {
                Err(PtError::Eos) => return Ok(Behind::Off),
                fetched => fetched?,
            };
            match packet {
                Packet::Pad
                | Packet::Mnt { .. }
                | Packet::Cbr { .. }
                | Packet::Tsc { .. }
                | Packet::Tma { .. }
                | Packet::Mtc { .. }
                | Packet::Cyc { .. }
                | Packet::Bbp { .. }
                | Packet::Bip { .. }
                | Packet::Bep { .. } => at += size,
                // It would come again and again.
                Packet::Unknown if size == 0 => return Err(PtError::BadPacket),
                Packet::Unknown => at += size,
                Packet::Fup(_) => return Ok(Behind::Fup),
                Packet::Psbend | Packet::Tip(_) | Packet::TipPgd(_) | Packet::Tnt8(_) | Packet::Tnt64(_) => {
                    return Ok(Behind::Misplaced)
                }
                _ => return Ok(Behind::Off),
            }
        }
    }

    /// Takes in status and timing up to the FUP that [`Behind::Fup`] promises.
    fn overflow_to_fup(&mut self, trace: &[u8], overflow: Event) -> Result<(), PtError> {
        loop {
            let at = self.pos;
            let (packet, size) = self.fetch(trace, at)?;
            match packet {
                Packet::Cbr { ratio } => {
                    self.time.on_cbr(ratio, false)?;
                    self.out.push_back(self.event(EventKind::Cbr { ratio }, at));
                }
                Packet::Mnt { payload } => self.out.push_back(self.event(EventKind::Mnt { payload }, at)),
                Packet::Fup(payload) => {
                    self.last_ip.update(payload);
                    let ip = self.last_ip.ip();
                    self.enabled = true;
                    self.out.push_back(self.with_ip(overflow, ip));
                    self.current = at;
                    self.pos = at + size;
                    return Ok(());
                }
                packet => {
                    self.keep_time(&packet, false)?;
                }
            }
            self.pos = at + size;
        }
    }

    /// A decoder to look ahead with.
    fn probe(&self) -> EventDecoder {
        self.clone()
    }

    /// Goes on where a look ahead has come to.
    fn adopt(&mut self, probe: EventDecoder, pos: usize) {
        self.time = probe.time;
        self.blocks = probe.blocks;
        self.last_ip = probe.last_ip;
        self.pos = pos;
    }

    /// SKD010: the FUP or TIP.PGE is missing. The next packet that has an address serves.
    fn repair_skd010(&mut self, trace: &[u8]) -> Result<Option<Repair>, PtError> {
        if !self.errata.skd010 {
            return Ok(None);
        }
        let mut probe = self.probe();
        let mut at = self.pos;
        let mut tsx = None;
        while let Ok((packet, size)) = probe.fetch(trace, at) {
            match packet {
                Packet::TipPgd(payload) => {
                    probe.last_ip.update(payload);
                    self.adopt(probe, at + size);
                    return Ok(Some(Repair::Off));
                }
                Packet::Tip(payload) => {
                    probe.last_ip.update(payload);
                    let Ok(ip) = probe.last_ip.ip() else { break };
                    self.adopt(probe, at + size);
                    return Ok(Some(Repair::At(ip)));
                }
                Packet::Fup(payload) => {
                    let mut last_ip = LastIp::default();
                    last_ip.update(payload);
                    let Ok(ip) = last_ip.ip() else { break };
                    // The FUP itself comes next, and may be the source of a branch.
                    self.adopt(probe, at);
                    if let Some((binding, event)) = tsx {
                        self.queue.push(binding, Some(event))?;
                    }
                    return Ok(Some(Repair::At(ip)));
                }
                Packet::Psb => {
                    let PsbFup::At(ip) = probe.fup_in_psb(trace, at + size) else { break };
                    probe.blocks = self.blocks;
                    self.adopt(probe, at);
                    return Ok(Some(Repair::At(ip)));
                }
                Packet::ModeTsx { intx, abrt } => {
                    if tsx.is_some() {
                        break;
                    }
                    let kind = EventKind::Tsx { ip: 0, speculative: intx, aborted: abrt };
                    tsx = Some((if abrt { Binding::Fup } else { Binding::FupBound }, probe.event(kind, at)));
                }
                Packet::Cbr { ratio } => probe.time.on_cbr(ratio, false)?,
                Packet::Pad
                | Packet::Pip { .. }
                | Packet::Vmcs { .. }
                | Packet::ModeExec { .. }
                | Packet::Mnt { .. }
                | Packet::Pwre { .. }
                | Packet::Pwrx { .. }
                | Packet::Evd { .. }
                | Packet::Trig { .. }
                | Packet::Exstop { ip: false }
                | Packet::Ptw { ip: false, .. }
                | Packet::Cfe { ip: false, .. } => {}
                packet => {
                    if !probe.keep_time(&packet, false)? {
                        break;
                    }
                }
            }
            at += size;
        }
        Ok(None)
    }

    /// APL11: a stray TIP.PGD behind the OVF.
    fn repair_apl11(&mut self, trace: &[u8]) -> Result<Option<Repair>, PtError> {
        if !self.errata.apl11 {
            return Ok(None);
        }
        let mut probe = self.probe();
        let mut at = self.pos;
        while let Ok((packet, size)) = probe.fetch(trace, at) {
            match packet {
                Packet::TipPgd(payload) => {
                    probe.last_ip.update(payload);
                    self.adopt(probe, at + size);
                    return Ok(Some(Repair::Off));
                }
                Packet::Cbr { ratio } => probe.time.on_cbr(ratio, false)?,
                Packet::Pad
                | Packet::Mnt { .. }
                | Packet::Cfe { .. }
                | Packet::Evd { .. }
                | Packet::Trig { .. } => {}
                packet => {
                    if !probe.keep_time(&packet, false)? {
                        break;
                    }
                }
            }
            at += size;
        }
        Ok(None)
    }

    /// APL12: a FUP behind the OVF although tracing is off. What follows the FUP tells.
    fn repair_apl12(&mut self, trace: &[u8]) -> Result<Option<Repair>, PtError> {
        if !self.errata.apl12 {
            return Ok(None);
        }
        let mut probe = self.probe();
        let mut at = self.pos;
        // Up to the FUP; the state there is where decoding would go on.
        loop {
            let (packet, size) = probe.fetch(trace, at)?;
            at += size;
            match packet {
                Packet::Fup(payload) => {
                    probe.last_ip.update(payload);
                    break;
                }
                Packet::Cbr { ratio } => probe.time.on_cbr(ratio, false)?,
                packet => {
                    probe.keep_time(&packet, false)?;
                }
            }
        }
        let mut scout = probe.probe();
        let mut ahead = at;
        while let Ok((packet, size)) = scout.fetch(trace, ahead) {
            ahead += size;
            match packet {
                Packet::TipPge(_) | Packet::Stop => {
                    self.adopt(probe, at);
                    return Ok(Some(Repair::Off));
                }
                Packet::Psb => {
                    let PsbFup::Without = scout.fup_in_psb(trace, ahead) else { break };
                    self.adopt(probe, at);
                    return Ok(Some(Repair::Off));
                }
                Packet::Tnt8(_)
                | Packet::Tnt64(_)
                | Packet::Tip(_)
                | Packet::TipPgd(_)
                | Packet::Ovf
                | Packet::Psbend => break,
                _ => {}
            }
        }
        Ok(None)
    }

    /// What the PSB+ whose PSB ends at `at` says of a FUP.
    fn fup_in_psb(&mut self, trace: &[u8], mut at: usize) -> PsbFup {
        loop {
            let Ok((packet, size)) = self.fetch(trace, at) else { return PsbFup::Unknown };
            match packet {
                Packet::Fup(payload) => {
                    let mut last_ip = LastIp::default();
                    last_ip.update(payload);
                    return last_ip.ip().map_or(PsbFup::Unknown, PsbFup::At);
                }
                Packet::Pad
                | Packet::ModeExec { .. }
                | Packet::ModeTsx { .. }
                | Packet::Pip { .. }
                | Packet::Vmcs { .. }
                | Packet::Cbr { .. }
                | Packet::Tsc { .. }
                | Packet::Tma { .. }
                | Packet::Mtc { .. }
                | Packet::Cyc { .. }
                | Packet::Mnt { .. } => at += size,
                _ => return PsbFup::Without,
            }
        }
    }
}

fn without_time(event: Event) -> Event {
    Event { has_tsc: false, tsc: 0, lost_mtc: 0, lost_cyc: 0, ..event }
}
