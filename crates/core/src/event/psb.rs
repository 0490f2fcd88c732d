//! PSB+: what holds at a synchronisation point.

use super::decoder::EventDecoder;
use super::types::{Event, EventKind};
use crate::error::PtError;
use crate::packet::{self, Packet};

impl EventDecoder {
    /// Reads PSB+ up to its PSBEND or OVF and queues what it says. `pos` stands behind the PSB.
    pub(super) fn psb(&mut self, trace: &[u8], offset: usize) -> Result<(), PtError> {
        if !self.nothing_open() {
            return Err(PtError::BadContext);
        }
        self.at_psb(offset);
        self.last_ip.reset();
        self.enabled = false;
        let mut facts: Vec<Event> = Vec::new();
        loop {
            let at = self.pos;
            let rest = trace.get(at..).unwrap_or(&[]);
            let (packet, size) = match packet::decode(rest, &mut self.blocks) {
                Err(PtError::BadPacket) if self.errata.skz84 && rest.starts_with(&[0x02, 0x73]) => {
                    if rest.len() < 8 {
                        return Err(PtError::Eos);
                    }
                    (Packet::Pad, 8)
                }
                decoded => decoded?,
            };
            self.pos += size;
            match packet {
                Packet::Pad => {}
                Packet::Fup(payload) => {
                    let mut ip = self.last_ip;
                    ip.update(payload);
                    if !self.is_stray_fup(trace, ip.ip().ok()) {
                        self.last_ip = ip;
                        self.enabled = ip.ip().is_ok();
                    }
                }
                Packet::ModeExec { csl, csd, iflag } => {
                    let mode = Self::exec_mode(csl, csd);
                    if self.mode.is_some_and(|known| known != mode) {
                        return Err(PtError::BadStatusUpdate);
                    }
                    if self.iflags_events && self.iflag.is_some_and(|known| known != iflag) {
                        return Err(PtError::BadStatusUpdate);
                    }
                    self.mode = Some(mode);
                    self.iflag = Some(iflag);
                    facts.push(self.event(EventKind::ExecMode { mode, ip: 0 }, offset));
                    if self.iflags_events {
                        facts.push(self.event(EventKind::Iflags { iflag, ip: 0 }, offset));
                    }
                }
                Packet::ModeTsx { intx, abrt } => {
                    facts
                        .push(self.event(EventKind::Tsx { ip: 0, speculative: intx, aborted: abrt }, offset));
                }
                Packet::Pip { cr3, nr } => {
                    facts.push(self.event(EventKind::AsyncPaging { cr3, non_root: nr, ip: 0 }, offset));
                }
                Packet::Vmcs { base } => {
                    facts.push(self.event(EventKind::AsyncVmcs { base, ip: 0 }, offset));
                }
                Packet::Cbr { ratio } => {
                    self.time.on_cbr(ratio, true)?;
                    facts.push(self.event(EventKind::Cbr { ratio }, offset));
                }
                Packet::Mnt { payload } => facts.push(self.event(EventKind::Mnt { payload }, offset)),
                Packet::Tsc { tsc } => self.time.on_tsc(tsc, true),
                Packet::Tma { ctc, fc } => self.time.on_tma(ctc, fc)?,
                Packet::Mtc { ctc } => self.time.on_mtc(ctc),
                Packet::Cyc { value } => self.time.on_cyc(value),
                Packet::Psbend => {
                    self.report_status(&facts, offset, true);
                    return Ok(());
                }
                Packet::Ovf => {
                    let enabled = self.enabled;
                    self.report_status(&facts, offset, enabled);
                    let first = self.out.drain(..).collect();
                    return self.overflow(trace, at, first);
                }
                _ => {
                    self.pos = at;
                    return Err(PtError::BadContext);
                }
            }
        }
    }

    fn report_status(&mut self, facts: &[Event], offset: usize, with_first: bool) {
        let ip = self.last_ip.ip();
        if with_first {
            let kind =
                if self.enabled { EventKind::Enabled { ip: 0 } } else { EventKind::Disabled { ip: 0 } };
            let event = Event { status_update: true, ..self.event(kind, offset) };
            self.out.push_back(self.with_ip(event, if self.enabled { ip } else { Err(PtError::Noip) }));
        }
        for &fact in facts {
            let status_update = !matches!(fact.kind, EventKind::Mnt { .. });
            let event = Event { status_update, ..self.stamp(fact, offset) };
            self.out.push_back(self.with_ip(event, ip));
        }
    }

    /// BDM70 and its like: a PSB+ that stands right before a TIP.PGE wrongly holds a FUP.
    ///
    /// With the erratum any TIP.PGE behind the PSB+ tells; without it, one to the very same IP.
    fn is_stray_fup(&self, trace: &[u8], ip: Option<u64>) -> bool {
        if !self.errata.bdm70 && !self.errata.stray_psb_fup {
            return false;
        }
        let mut at = self.pos;
        let mut blocks = self.blocks;
        let mut last_ip = packet::LastIp::default();
        loop {
            match packet::decode(trace.get(at..).unwrap_or(&[]), &mut blocks) {
                Ok((
                    Packet::Pad
                    | Packet::Tsc { .. }
                    | Packet::Cbr { .. }
                    | Packet::Psbend
                    | Packet::Pip { .. }
                    | Packet::ModeExec { .. }
                    | Packet::ModeTsx { .. }
                    | Packet::Vmcs { .. }
                    | Packet::Tma { .. }
                    | Packet::Mtc { .. }
                    | Packet::Cyc { .. }
                    | Packet::Mnt { .. },
                    size,
                )) => at += size,
                Ok((Packet::TipPge(payload), _)) => {
                    if self.errata.bdm70 {
                        return true;
                    }
                    // The processor compressed the IP relative to the stray FUP.
                    let mut relative = last_ip;
                    if let Some(ip) = ip {
                        relative.update(packet::IpPayload { compression: packet::IpCompression::Full, ip });
                    }
                    relative.update(payload);
                    last_ip.update(payload);
                    return ip.is_some() && (relative.ip().ok() == ip || last_ip.ip().ok() == ip);
                }
                _ => return false,
            }
        }
    }
}
