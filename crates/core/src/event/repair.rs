//! What stands behind an OVF if an erratum of the processor spoilt it: SKD010, APL11, APL12.

use super::decoder::EventDecoder;
use super::pending::Binding;
use super::types::EventKind;
use crate::error::PtError;
use crate::packet::{IpPayload, LastIp, Packet};

/// Where decoding goes on.
pub(super) enum Repair {
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
    /// Goes on where a look ahead has come to.
    fn adopt(&mut self, probe: EventDecoder, pos: usize) {
        self.time = probe.time;
        self.blocks = probe.blocks;
        self.last_ip = probe.last_ip;
        self.pos = pos;
    }

    /// Takes in a packet that only says how time goes on, ratios among them. False for all others.
    fn keep_clock(&mut self, packet: &Packet) -> Result<bool, PtError> {
        match *packet {
            Packet::Cbr { ratio } => self.time.on_cbr(ratio, false).map(|()| true),
            _ => self.keep_time(packet, false),
        }
    }

    /// SKD010: the FUP or TIP.PGE is missing. The next packet that has an address serves.
    pub(super) fn repair_skd010(&mut self, trace: &[u8]) -> Result<Option<Repair>, PtError> {
        if !self.errata.skd010 {
            return Ok(None);
        }
        let mut probe = self.clone();
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
                    let Ok(ip) = whole_ip(payload) else { break };
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
                packet if probe.keep_clock(&packet)? => {}
                _ => break,
            }
            at += size;
        }
        Ok(None)
    }

    /// APL11: a stray TIP.PGD behind the OVF.
    pub(super) fn repair_apl11(&mut self, trace: &[u8]) -> Result<Option<Repair>, PtError> {
        if !self.errata.apl11 {
            return Ok(None);
        }
        let mut probe = self.clone();
        let mut at = self.pos;
        while let Ok((packet, size)) = probe.fetch(trace, at) {
            match packet {
                Packet::TipPgd(payload) => {
                    probe.last_ip.update(payload);
                    self.adopt(probe, at + size);
                    return Ok(Some(Repair::Off));
                }
                Packet::Pad
                | Packet::Mnt { .. }
                | Packet::Cfe { .. }
                | Packet::Evd { .. }
                | Packet::Trig { .. } => {}
                packet if probe.keep_clock(&packet)? => {}
                _ => break,
            }
            at += size;
        }
        Ok(None)
    }

    /// APL12: a FUP behind the OVF although tracing is off. What follows the FUP tells.
    pub(super) fn repair_apl12(&mut self, trace: &[u8]) -> Result<Option<Repair>, PtError> {
        if !self.errata.apl12 {
            return Ok(None);
        }
        let mut probe = self.clone();
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
                packet => {
                    probe.keep_clock(&packet)?;
                }
            }
        }
        let mut scout = probe.clone();
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
                Packet::Fup(payload) => return whole_ip(payload).map_or(PsbFup::Unknown, PsbFup::At),
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

/// The address of a packet that has no address before it to build on.
fn whole_ip(payload: IpPayload) -> Result<u64, PtError> {
    let mut last_ip = LastIp::default();
    last_ip.update(payload);
    last_ip.ip()
}
