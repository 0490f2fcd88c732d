//! What events change.

use super::BlockDecoder;
use crate::error::PtError;
use crate::event::{Event, EventKind, Status};
use crate::flow::code::CodeError;
use crate::instruction::ExecMode;

impl BlockDecoder {
    /// Takes the event that the status announces, and what it says takes effect.
    ///
    /// `bad_query` if none is announced; else the error that stands in its place, or the contradiction between the
    /// event and the state.
    pub fn event(&mut self, trace: &[u8]) -> Result<(Event, Status), CodeError> {
        if !self.pending {
            return Err(CodeError::Pt(PtError::BadQuery));
        }
        if let Some(tick) = self.tick.take() {
            self.announce();
            return Ok((tick, self.status()));
        }
        let mut event = self.current.map_err(CodeError::Pt)?;
        self.apply(&mut event).map_err(CodeError::Pt)?;
        self.used(&event);
        self.forget_passed();
        self.fetch(trace);
        if matches!(event.kind, EventKind::AsyncBranch { .. }) && event.ip_suppressed {
            // It is not known where the branch led.
            self.current = Err(PtError::Internal);
        }
        self.leave_if_done(trace)?;
        Ok((event, self.status()))
    }

    /// Leaves a held instruction that the next event does not bind behind, unless that needs trace that is not there:
    /// the next call for a block will say so.
    fn leave_if_done(&mut self, trace: &[u8]) -> Result<(), CodeError> {
        if self.announce() || !self.enabled {
            return Ok(());
        }
        let Some(executed) = self.held else { return Ok(()) };
        if self.leave(trace, &executed).is_ok() {
            self.arrive()?;
        }
        Ok(())
    }

    fn apply(&mut self, event: &mut Event) -> Result<(), PtError> {
        let here = self.ip;
        match &mut event.kind {
            EventKind::Enabled { ip, resumed } => {
                if event.ip_suppressed {
                    return Err(PtError::Noip);
                }
                *resumed = *ip == here;
                if event.status_update {
                    if !self.enabled {
                        return Err(PtError::BadStatusUpdate);
                    }
                } else if self.enabled {
                    return Err(PtError::BadContext);
                }
                self.enabled = true;
                if !event.status_update {
                    self.ip = *ip;
                }
            }
            EventKind::Disabled { .. } if event.status_update && self.enabled => {
                return Err(PtError::BadStatusUpdate);
            }
            EventKind::Disabled { .. } if event.status_update => {}
            EventKind::Disabled { .. } => {
                let resume = self.resume_behind_held();
                self.disable(resume)?;
            }
            EventKind::AsyncDisabled { at, .. } => {
                self.at(*at)?;
                self.disable(*at)?;
            }
            EventKind::AsyncBranch { from, to } => {
                if !self.enabled {
                    return Err(PtError::BadContext);
                }
                self.at(*from)?;
                self.ip = *to;
            }
            EventKind::Paging { cr3, .. } => self.set_cr3(*cr3),
            EventKind::AsyncPaging { cr3, ip, .. } => {
                self.located(event.ip_suppressed, *ip)?;
                self.set_cr3(*cr3);
            }
            EventKind::Vmcs { base } => self.set_vmcs(*base),
            EventKind::AsyncVmcs { base, ip } => {
                self.located(event.ip_suppressed, *ip)?;
                self.set_vmcs(*base);
            }
            EventKind::Overflow { ip } => {
                self.held = None;
                self.speculative = false;
                self.enabled = !event.ip_suppressed;
                self.ip = if event.ip_suppressed { 0 } else { *ip };
                if event.ip_suppressed {
                    self.anchor = None;
                }
            }
            EventKind::ExecMode { mode, .. } => {
                let known = self.mode != ExecMode::Unknown;
                if event.status_update && self.enabled && known && self.mode != *mode {
                    return Err(PtError::BadStatusUpdate);
                }
                if self.mode != *mode {
                    self.mode = *mode;
                    self.enter();
                }
            }
            EventKind::Tsx { ip, speculative, .. } => {
                self.located(event.ip_suppressed, *ip)?;
                self.speculative = *speculative;
            }
            EventKind::Stop if self.enabled => return Err(PtError::BadContext),
            EventKind::Cbr { ratio } => self.core_bus_ratio = Some(*ratio),
            EventKind::Trig { icnt, ip, .. } if self.trig_left.is_some() => {
                *icnt = 0;
                *ip = here;
            }
            _ => {}
        }
        self.set_anchor(event);
        Ok(())
    }

    /// An event with an IP is a place that TRIG may count from.
    fn set_anchor(&mut self, event: &Event) {
        let has_place = match event.kind {
            EventKind::Disabled { .. } | EventKind::AsyncDisabled { .. } => {
                if !event.status_update {
                    self.anchor = None;
                }
                false
            }
            _ => self.enabled && !event.ip_suppressed && event.ip().is_some(),
        };
        if has_place {
            self.anchor = Some(0);
        }
    }

    fn disable(&mut self, resume: u64) -> Result<(), PtError> {
        if !self.enabled {
            return Err(PtError::BadContext);
        }
        self.enabled = false;
        self.held = None;
        self.ip = resume;
        Ok(())
    }

    /// The event must belong here.
    fn at(&self, ip: u64) -> Result<(), PtError> {
        if self.enabled && ip != self.ip {
            return Err(PtError::BadQuery);
        }
        Ok(())
    }

    /// The same for events whose place may not be known, which holds while tracing is off too.
    fn located(&self, suppressed: bool, ip: u64) -> Result<(), PtError> {
        if !suppressed && ip != self.ip {
            return Err(PtError::BadQuery);
        }
        Ok(())
    }

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
}
