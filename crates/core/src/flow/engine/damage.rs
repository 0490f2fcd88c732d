//! Damage: giving up the position, and finding one again.

use super::{Engine, FlowError, Position};
use crate::error::PtError;
use crate::event::{Event, EventKind};
use crate::flow::sink::{Gap, GapCause, Sink, Where};

impl Engine {
    /// Gives up the position after an error; a gap grows until a packet names an address again.
    ///
    /// `to_psb`: nothing before the next PSB is used.
    pub fn lose<S: Sink>(&mut self, trace: &[u8], error: &FlowError, to_psb: bool, sink: &mut S) {
        let (cause, code, ip, offset) = match error {
            FlowError::Flow { cause, code, ip } => (*cause, *code, *ip, self.events.offset()),
            FlowError::Events(code) => {
                (GapCause::of(*code), Some(*code), self.ip_here(), self.events.packet_offset())
            }
            FlowError::Foreign(_) => return,
        };
        if self.damage.is_none() {
            self.damage = Some(Gap {
                step: self.step,
                cause,
                code,
                offset,
                bytes_lost: 0,
                ip,
                asid: self.asid,
                tsc: self.tsc(),
            });
        }
        self.stand_nowhere();
        self.position = Position::Lost;
        if to_psb || matches!(error, FlowError::Events(_)) {
            self.pending = None;
            self.stack.clear();
            self.mode_known = false;
            self.synchronise(trace, sink);
        }
    }

    /// Looks for the next PSB whose PSB+ is whole. At the end of the trace there is none.
    pub(super) fn synchronise<S: Sink>(&mut self, trace: &[u8], sink: &mut S) {
        let mut last = None;
        loop {
            match self.events.sync_forward(trace) {
                Ok(_) => break,
                Err(PtError::Eos) => {
                    self.close_damage(trace.len() as u64, sink);
                    self.stand_nowhere();
                    self.events.end(trace);
                    break;
                }
                Err(_) if last == Some(self.events.sync_offset()) => {
                    self.events.end(trace);
                    break;
                }
                Err(_) => last = Some(self.events.sync_offset()),
            }
        }
    }

    /// Starts at the first PSB whose PSB+ is whole. False if the trace has none.
    ///
    /// What lies between an earlier PSB, whose PSB+ is damaged, and that PSB is a gap: it is reported when decoding
    /// begins.
    pub fn start(&mut self, trace: &[u8]) -> bool {
        loop {
            match self.events.sync_forward(trace) {
                Ok(()) => {
                    if self.damage.is_some() {
                        self.position = Position::Lost;
                    }
                    return true;
                }
                Err(PtError::Eos) => return false,
                Err(code) => {
                    self.damage.get_or_insert(Gap {
                        step: self.step,
                        cause: GapCause::of(code),
                        code: Some(code),
                        offset: self.events.packet_offset(),
                        bytes_lost: 0,
                        ip: None,
                        asid: self.asid,
                        tsc: None,
                    });
                }
            }
        }
    }

    /// The damage that [`Engine::start`] met where it found no place to start.
    pub fn damage(&self) -> Option<Gap> {
        self.damage
    }

    pub(super) fn close_damage<S: Sink>(&mut self, offset: u64, sink: &mut S) {
        if let Some(mut gap) = self.damage.take() {
            gap.bytes_lost = offset.saturating_sub(gap.offset);
            sink.gap(gap);
        }
    }

    /// While the position is lost: does this event give one? Applies what needs no position.
    ///
    /// Source: the rules of libipt's `pt_blk_resync`.
    pub(super) fn find_position<S: Sink>(&mut self, event: &Event, sink: &mut S) -> bool {
        let found = match event.kind {
            // PSB+ closes the gap itself, and says whether tracing is on.
            EventKind::Enabled { .. } | EventKind::Disabled { .. } if event.status_update => return true,
            EventKind::Enabled { .. } | EventKind::Overflow { .. } => None,
            EventKind::Disabled { .. } => {
                // What ran up to here is not known; from here on nothing runs.
                self.close_damage(event.offset, sink);
                self.stand_nowhere();
                self.resume_ip = None;
                self.report(event, sink);
                return false;
            }
            EventKind::AsyncDisabled { at, .. } => Some(at),
            EventKind::AsyncBranch { from, .. } => Some(from),
            EventKind::Tip { ip } if !event.ip_suppressed => {
                self.close_damage(event.offset, sink);
                self.stand_at(ip);
                self.decided = true;
                return false;
            }
            EventKind::Tip { .. } | EventKind::Tnt { .. } | EventKind::Trig { .. } => return false,
            EventKind::Paging { cr3, .. } => {
                self.set_cr3(cr3);
                return false;
            }
            EventKind::Vmcs { base } => {
                self.set_vmcs(base);
                return false;
            }
            _ => match event.ip() {
                Some(ip) if !event.ip_suppressed => Some(ip),
                _ => {
                    // Facts that need no address are kept; what they say is applied.
                    self.apply(event);
                    let place = Where { step: self.step, after: false, ip: None, resumed: false };
                    sink.event(event, place, self);
                    return false;
                }
            },
        };
        self.close_damage(event.offset, sink);
        match found {
            Some(ip) => self.stand_at(ip),
            None => self.stand_nowhere(),
        }
        // How often code came by here is part of what was lost.
        self.noted = Some(self.step);
        true
    }
}
