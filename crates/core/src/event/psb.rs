//! PSB+: what holds at a synchronisation point.

use super::decoder::{fetch, EventDecoder};
use super::pending::SLOTS;
use super::types::{Event, EventKind};
use crate::error::PtError;
use crate::packet::{IpCompression, IpPayload, LastIp, Packet};

impl EventDecoder {
    /// Reads PSB+ up to its PSBEND or OVF and queues what it says. `pos` stands behind the PSB.
    pub(super) fn psb(&mut self, trace: &[u8], offset: usize) -> Result<(), PtError> {
        if !self.nothing_open() {
            self.pos = offset;
            if self.blocks.libipt {
                self.sync_offset = offset;
            }
            return Err(PtError::BadContext);
        }
        self.at_psb(offset);
        self.last_ip.reset();
        self.enabled = false;
        // What a stray FUP leaves behind for the packets after PSB+.
        let mut stray: Option<LastIp> = None;
        let mut facts: Vec<EventKind> = Vec::new();
        loop {
            let at = self.pos;
            let (packet, size) = self.fetch(trace, at)?;
            match packet {
                Packet::Pad => {}
                Packet::Fup(payload) => match self.last_ip.after(payload) {
                    Err(_) => self.enabled = false,
                    Ok(ip) => match self.stray_fup(trace, at + size, ip) {
                        Some(after) => {
                            self.enabled = false;
                            stray = Some(after);
                        }
                        None => {
                            self.last_ip.update(payload);
                            self.enabled = true;
                            stray = None;
                        }
                    },
                },
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
                    facts.push(EventKind::ExecMode { mode, ip: 0 });
                    if self.iflags_events {
                        facts.push(EventKind::Iflags { iflag, ip: 0 });
                    }
                }
                Packet::ModeTsx { intx, abrt } => {
                    facts.push(EventKind::Tsx { ip: 0, speculative: intx, aborted: abrt });
                }
                Packet::Pip { cr3, nr } => facts.push(EventKind::AsyncPaging { cr3, non_root: nr, ip: 0 }),
                Packet::Vmcs { base } => facts.push(EventKind::AsyncVmcs { base, ip: 0 }),
                Packet::Cbr { ratio } => {
                    self.time.on_cbr(ratio, true)?;
                    facts.push(EventKind::Cbr { ratio });
                }
                Packet::Mnt { payload } => facts.push(EventKind::Mnt { payload }),
                Packet::Psbend => {
                    self.current = at;
                    self.pos = at + size;
                    self.report_status(&facts, offset, true);
                    break;
                }
                Packet::Ovf => {
                    // The OVF is dealt with as a packet of its own, next.
                    self.current = at;
                    self.report_status(&facts, offset, self.enabled);
                    break;
                }
                packet => {
                    if !self.keep_time(&packet, true)? {
                        return Err(PtError::BadContext);
                    }
                }
            }
            if facts.len() >= SLOTS {
                return Err(PtError::Nomem);
            }
            self.pos = at + size;
        }
        if let (Some(last_ip), false) = (stray, self.enabled) {
            self.last_ip = last_ip;
        }
        Ok(())
    }

    fn report_status(&mut self, facts: &[EventKind], offset: usize, with_first: bool) {
        let ip = self.last_ip.ip();
        if with_first {
            let kind = if self.enabled {
                EventKind::Enabled { ip: 0, resumed: false }
            } else {
                EventKind::Disabled { ip: 0 }
            };
            let event = Event { status_update: true, ..self.event(kind, offset) };
            self.out.push_back(self.with_ip(event, if self.enabled { ip } else { Err(PtError::Noip) }));
        }
        for &fact in facts {
            let status_update = !matches!(fact, EventKind::Mnt { .. });
            let event = Event { status_update, ..self.event(fact, offset) };
            self.out.push_back(self.with_ip(event, ip));
        }
    }

    /// BDM70 and its like: a PSB+ that stands right before a TIP.PGE wrongly holds a FUP.
    ///
    /// With the erratum any TIP.PGE behind the PSB+ tells; without it, one to the very same IP. Comes back with
    /// the last IP that the TIP.PGE is relative to if the FUP, which ends at `at`, is stray.
    fn stray_fup(&self, trace: &[u8], mut at: usize, ip: u64) -> Option<LastIp> {
        if !self.errata.bdm70 && !self.errata.stray_psb_fup {
            return None;
        }
        let mut blocks = self.blocks;
        loop {
            let (packet, size) = fetch(trace, at, &mut blocks, &self.errata, self.unknown.as_ref()).ok()?;
            match packet {
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
                | Packet::Mnt { .. } => at += size,
                Packet::TipPge(payload) => {
                    if self.blocks.libipt {
                        return Some(LastIp::default());
                    }
                    let mut from_fup = LastIp::default();
                    from_fup.update(IpPayload { compression: IpCompression::Full, ip });
                    let relative = [LastIp::default(), from_fup];
                    let same = relative.into_iter().find(|last_ip| last_ip.after(payload) == Ok(ip));
                    return if self.errata.bdm70 { Some(same.unwrap_or_default()) } else { same };
                }
                _ => return None,
            }
        }
    }
}
