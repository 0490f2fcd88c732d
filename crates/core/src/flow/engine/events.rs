//! Where events bind, and what they change.

use super::{Engine, FlowError, Position, FAR};
use crate::error::PtError;
use crate::event::{Event, EventKind};
use crate::flow::binding::behind_kind;
use crate::flow::sink::{Gap, GapCause, Sink, Where};
use crate::instruction::ExecMode;
use crate::packet::marked;

impl Engine {
    pub(super) fn set_cr3(&mut self, cr3: u64) {
        if self.asid.cr3 != Some(cr3) {
            self.asid.cr3 = Some(cr3);
            self.enter();
        }
    }

    pub(super) fn set_vmcs(&mut self, base: u64) {
        if self.asid.vmcs != Some(base) {
            self.asid.vmcs = Some(base);
            self.enter();
        }
    }

    /// State changes that need no position.
    pub(super) fn apply(&mut self, event: &Event) {
        match event.kind {
            EventKind::Paging { cr3, .. } | EventKind::AsyncPaging { cr3, .. } => self.set_cr3(cr3),
            EventKind::Vmcs { base } | EventKind::AsyncVmcs { base, .. } => self.set_vmcs(base),
            EventKind::ExecMode { mode, .. } if self.mode != mode && mode != ExecMode::Unknown => {
                self.mode = mode;
                self.enter();
            }
            EventKind::Tsx { speculative, .. } => self.speculative = speculative,
            _ => {}
        }
    }

    pub(super) fn report<S: Sink>(&mut self, event: &Event, sink: &mut S) {
        let after = self.held.is_some();
        let ip = self.held.map_or_else(|| self.ip_here(), |held| Some(held.ip));
        let resumed = match event.kind {
            EventKind::Enabled { ip, .. } => self.resume_ip == Some(ip) || event.status_update,
            _ => false,
        };
        sink.event(event, Where { step: self.step, after, ip, resumed }, self);
    }

    /// The step that a TRIG here counts from.
    pub(super) fn anchor_here(&self) -> Option<u64> {
        if self.decided && self.position == Position::Enabled {
            Some(self.step)
        } else {
            self.anchor
        }
    }

    /// Walks to where the event belongs, reports it, and applies what it says.
    pub(super) fn handle<S: Sink>(&mut self, event: Event, sink: &mut S) -> Result<(), FlowError> {
        if matches!(event.kind, EventKind::Tnt { .. } | EventKind::Tip { .. }) {
            self.decided = true;
            return self.place(event, None, sink);
        }
        self.anchor = self.anchor_here();
        let branched = std::mem::take(&mut self.decided);
        let mark = self.mark.take().filter(|_| !branched);
        if let EventKind::Mnt { payload } = event.kind {
            self.mark = marked(payload);
            if self.mark.is_some() {
                return Ok(());
            }
        }
        let event = self.repaired(event, branched)?;
        self.place(event, mark, sink)?;
        if self.position != Position::Enabled {
            self.anchor = None;
        } else if !event.ip_suppressed && event.ip().is_some() {
            self.anchor = Some(self.step);
        }
        Ok(())
    }

    /// What the event means on processors with errata; `branched`: the trace has just decided a branch.
    fn repaired(&mut self, event: Event, branched: bool) -> Result<Event, FlowError> {
        if self.position != Position::Enabled {
            return Ok(event);
        }
        match event.kind {
            EventKind::AsyncDisabled { at, ip } if self.repair.enters_vm(&mut self.graph, at) => {
                return Ok(Event { kind: EventKind::Disabled { ip }, ..event });
            }
            EventKind::Tsx { ip, aborted: true, .. }
                if branched && !event.ip_suppressed && !event.status_update && self.emitted == 0 =>
            {
                let here = self.graph.ip(self.node);
                if self.repair.aborts_elsewhere(&mut self.graph, here, ip)? {
                    self.stand_at(ip);
                }
            }
            _ => {}
        }
        Ok(event)
    }

    fn place<S: Sink>(&mut self, event: Event, mark: Option<u64>, sink: &mut S) -> Result<(), FlowError> {
        let enabled = self.position == Position::Enabled;
        let ip = if event.ip_suppressed { None } else { event.ip() };
        match event.kind {
            EventKind::Tnt { bits, size } => {
                if !enabled {
                    return Err(FlowError::Flow {
                        cause: GapCause::Contradiction,
                        code: Some(PtError::NoEnable),
                        ip: None,
                    });
                }
                self.bits = bits;
                self.bits_left = size;
                self.held = None;
                return Ok(());
            }
            EventKind::Tip { ip } => {
                if !enabled || event.ip_suppressed {
                    let code = if enabled { PtError::BadPacket } else { PtError::NoEnable };
                    return Err(FlowError::Flow {
                        cause: GapCause::Contradiction,
                        code: Some(code),
                        ip: None,
                    });
                }
                return self.take_tip(sink, ip);
            }
            EventKind::Enabled { ip, .. } if event.status_update => {
                return self.psb(&event, Some(ip), mark, sink)
            }
            EventKind::Disabled { .. } if event.status_update => return self.psb(&event, None, mark, sink),
            EventKind::Enabled { ip, .. } => {
                if event.ip_suppressed || enabled {
                    let code = if enabled { PtError::BadContext } else { PtError::Noip };
                    return Err(FlowError::Flow {
                        cause: GapCause::Contradiction,
                        code: Some(code),
                        ip: None,
                    });
                }
                self.stand_at(ip);
                self.state_known = true;
                self.report(&event, sink);
                self.resume_ip = None;
                return Ok(());
            }
            EventKind::Disabled { .. } => {
                if enabled {
                    self.resume_ip = self.walk_to_disable(ip, sink)?;
                } else {
                    return Err(FlowError::Flow {
                        cause: GapCause::Contradiction,
                        code: Some(PtError::BadContext),
                        ip,
                    });
                }
                self.report(&event, sink);
                self.stand_nowhere();
                return Ok(());
            }
            EventKind::AsyncDisabled { at, .. } => {
                if !enabled {
                    return Err(FlowError::at(PtError::BadContext, at));
                }
                self.walk_to_event(&event, at, mark, sink)?;
                self.report(&event, sink);
                self.resume_ip = Some(at);
                self.stand_nowhere();
                return Ok(());
            }
            EventKind::AsyncBranch { from, to } => {
                if !enabled {
                    return Err(FlowError::at(PtError::BadContext, from));
                }
                self.walk_to_event(&event, from, mark, sink)?;
                self.report(&event, sink);
                if event.ip_suppressed {
                    return Err(FlowError::at(PtError::IpSuppressed, from));
                }
                self.stand_at(to);
                return Ok(());
            }
            EventKind::Overflow { .. } => {
                self.report(&event, sink);
                sink.gap(Gap {
                    step: self.step,
                    cause: GapCause::Overflow,
                    code: Some(PtError::Overflow),
                    offset: event.offset,
                    bytes_lost: 0,
                    ip,
                    asid: self.asid,
                    tsc: self.tsc(),
                });
                self.speculative = false;
                self.resume_ip = None;
                self.mode_known = false;
                self.state_known = ip.is_some();
                match ip {
                    Some(ip) => self.stand_at(ip),
                    None => self.stand_nowhere(),
                }
                return Ok(());
            }
            EventKind::AsyncPaging { .. }
            | EventKind::AsyncVmcs { .. }
            | EventKind::Tsx { .. }
            | EventKind::ExecMode { .. }
            | EventKind::Iflags { .. }
            | EventKind::Interrupt { .. }
            | EventKind::Smi { .. }
            | EventKind::Init { .. }
            | EventKind::Vmexit { .. }
            | EventKind::Shutdown { .. }
            | EventKind::Uintr { .. }
            | EventKind::Exstop { .. }
            | EventKind::Mwait { .. } => {
                if let (true, Some(ip)) = (enabled, ip) {
                    self.walk_to_event(&event, ip, mark, sink)?;
                }
                if let EventKind::ExecMode { mode, .. } = event.kind {
                    // PSB+ says how to go on, so nothing more is lost than what the wrong mode hid.
                    if event.status_update && enabled && self.mode_known && self.mode != mode {
                        self.note(PtError::BadStatusUpdate, ip, event.offset, sink);
                    }
                    self.mode_known = true;
                }
            }
            EventKind::Swintr { .. } | EventKind::Syscall { .. } if enabled && ip.is_some() => {
                if let Some(ip) = ip {
                    self.walk_to(ip, sink)?;
                }
            }
            _ if enabled && behind_kind(&event).is_some() => self.walk_past(&event, sink)?,
            EventKind::Trig { icnt, ip: 0, .. } if enabled && !event.ip_suppressed => {
                let passed = self.anchor.map(|anchor| self.step - anchor);
                match passed.and_then(|passed| u64::from(icnt).checked_sub(passed)) {
                    Some(left) => self.walk_on(left, sink)?,
                    None => return Err(FlowError::at(PtError::BadPacket, self.ip_here().unwrap_or(0))),
                }
            }
            EventKind::Trig { .. } => {
                if let (true, Some(ip)) = (enabled, ip) {
                    self.walk_to(ip, sink)?;
                }
            }
            _ => {}
        }
        self.report(&event, sink);
        self.apply(&event);
        Ok(())
    }

    /// Reports a contradiction after which decoding can go on at once.
    pub(super) fn note<S: Sink>(&mut self, code: PtError, ip: Option<u64>, offset: u64, sink: &mut S) {
        sink.gap(Gap {
            step: self.step,
            cause: GapCause::of(code),
            code: Some(code),
            offset,
            bytes_lost: 0,
            ip,
            asid: self.asid,
            tsc: self.tsc(),
        });
    }

    /// The first event of a PSB+: tracing is on at `ip`, or off.
    pub(super) fn psb<S: Sink>(
        &mut self,
        event: &Event,
        ip: Option<u64>,
        mark: Option<u64>,
        sink: &mut S,
    ) -> Result<(), FlowError> {
        let ip = if event.ip_suppressed { None } else { ip };
        let contradiction = match (self.position, ip) {
            (Position::Enabled, Some(ip)) => self.walk_to_event(event, ip, mark, sink).err(),
            (Position::Enabled, None) | (Position::Disabled, Some(_)) if self.state_known => {
                Some(FlowError::Flow {
                    cause: GapCause::Contradiction,
                    code: Some(PtError::BadStatusUpdate),
                    ip,
                })
            }
            _ => None,
        };
        match contradiction {
            Some(FlowError::Foreign(object)) => return Err(FlowError::Foreign(object)),
            Some(FlowError::Flow { cause, code, ip }) => sink.gap(Gap {
                step: self.step,
                cause,
                code,
                offset: event.offset,
                bytes_lost: 0,
                ip,
                asid: self.asid,
                tsc: self.tsc(),
            }),
            _ => {}
        }
        self.close_damage(event.offset, sink);
        match ip {
            Some(ip) => self.stand_at(ip),
            None => self.stand_nowhere(),
        }
        self.state_known = true;
        self.noted = None;
        self.far = self.anchor.is_some_and(|anchor| self.step.saturating_sub(anchor) >= FAR);
        self.last_checkpoint = self.events.offset();
        self.pending = Some(*event);
        sink.checkpoint(self);
        self.far = false;
        self.pending = None;
        self.report(event, sink);
        Ok(())
    }
}
