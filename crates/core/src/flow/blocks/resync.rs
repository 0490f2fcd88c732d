//! Going on after an error.

use super::BlockDecoder;
use crate::error::PtError;
use crate::event::{Event, EventKind, Status};
use crate::flow::code::CodeError;

/// What an event gives to a decoder that has lost its position.
enum Found {
    /// The decoder stands at this address; the event belongs there.
    At(u64),
    /// The same, but the event belongs behind the instruction there.
    Behind(u64),
    /// The event belongs where the decoder stands, and says itself whether tracing is on.
    Overflow,
    /// The event belongs where the decoder stands, with tracing off.
    Off,
    /// Nothing; go on.
    Nothing,
}

impl BlockDecoder {
    /// After an error: goes to the next event that gives a position.
    ///
    /// What events on the way say of the address space takes effect; mode, return addresses and time stay. An error of
    /// the packets is returned as it is, only a synchronisation helps then. A PTW without address on the way gives
    /// `event_ignored`: take it with [`BlockDecoder::event`] and call again.
    pub fn resync(&mut self, trace: &[u8]) -> Result<Status, CodeError> {
        self.list.clear();
        self.held = None;
        self.tick = None;
        self.anchor = None;
        self.pending = false;
        self.enabled = false;
        self.forget_passed();
        loop {
            let event = self.current.map_err(CodeError::Pt)?;
            if event.status_update {
                let psb = self.events.sync_offset();
                return self.sync_set(trace, psb);
            }
            match event.kind {
                EventKind::Disabled { .. } if !self.stray_fup => {
                    self.ip = 0;
                    self.used(&event);
                    self.fetch(trace);
                    self.announce();
                    return Ok(self.status());
                }
                EventKind::Tip { ip } if !event.ip_suppressed => {
                    self.enabled = true;
                    self.ip = ip;
                    self.anchor = Some(0);
                    self.used(&event);
                    self.fetch(trace);
                    self.announce();
                    return Ok(self.status());
                }
                EventKind::Ptwrite { .. } if event.ip_suppressed => {
                    self.pending = true;
                    return Err(CodeError::Pt(PtError::EventIgnored));
                }
                _ => {}
            }
            match self.position_from(&event) {
                Found::At(ip) => {
                    self.enabled = true;
                    self.ip = ip;
                    self.pending = true;
                    return Ok(self.status());
                }
                Found::Behind(ip) => {
                    self.enabled = true;
                    self.ip = ip;
                    return Ok(self.status());
                }
                Found::Overflow => {
                    self.enabled = true;
                    self.pending = true;
                    return Ok(self.status());
                }
                Found::Off => {
                    self.pending = true;
                    return Ok(self.status());
                }
                Found::Nothing => self.fetch(trace),
            }
        }
    }

    fn position_from(&mut self, event: &Event) -> Found {
        let ip = event.ip().filter(|_| !event.ip_suppressed);
        match event.kind {
            EventKind::Enabled { .. } => Found::Off,
            EventKind::AsyncDisabled { at, .. } => Found::At(at),
            EventKind::AsyncBranch { from, .. } => Found::At(from),
            EventKind::AsyncPaging { cr3, .. } | EventKind::Paging { cr3, .. } => match ip {
                Some(ip) => Found::At(ip),
                None => {
                    self.set_cr3(cr3);
                    Found::Nothing
                }
            },
            EventKind::AsyncVmcs { base, .. } | EventKind::Vmcs { base } => match ip {
                Some(ip) => Found::At(ip),
                None => {
                    self.set_vmcs(base);
                    Found::Nothing
                }
            },
            EventKind::Overflow { .. } => Found::Overflow,
            EventKind::ExecMode { .. }
            | EventKind::Tsx { .. }
            | EventKind::Iflags { .. }
            | EventKind::Interrupt { .. } => ip.map_or(Found::Off, Found::At),
            EventKind::Exstop { .. }
            | EventKind::Mwait { .. }
            | EventKind::Iret { .. }
            | EventKind::Smi { .. }
            | EventKind::Init { .. }
            | EventKind::Vmexit { .. }
            | EventKind::Shutdown { .. }
            | EventKind::Uintr { .. }
            | EventKind::Swintr { .. }
            | EventKind::Syscall { .. } => ip.map_or(Found::Nothing, Found::At),
            EventKind::Ptwrite { .. } | EventKind::Vmentry { .. } | EventKind::Uiret { .. } => {
                ip.map_or(Found::Nothing, Found::Behind)
            }
            _ => Found::Nothing,
        }
    }
}
