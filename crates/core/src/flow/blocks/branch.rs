//! Branches that use up the trace.

use super::{Ahead, BlockDecoder, Executed};
use crate::error::PtError;
use crate::event::{Event, EventKind, EventTime};
use crate::flow::code::CodeError;
use crate::instruction::InstructionClass;

impl BlockDecoder {
    /// Leaves an executed instruction that events had bound behind.
    pub(super) fn leave(&mut self, trace: &[u8], executed: &Executed) -> Result<(), CodeError> {
        if executed.needs_trace {
            self.branch(trace, executed)?;
        } else {
            self.ip = executed.target;
        }
        self.held = None;
        Ok(())
    }

    /// Goes where the trace says the branch went. On an error nothing has moved.
    pub(super) fn branch(&mut self, trace: &[u8], executed: &Executed) -> Result<(), CodeError> {
        let held = executed.held;
        let next = held.ip.wrapping_add(u64::from(held.meta.size()));
        let tnt = match self.current {
            Ok(event @ Event { kind: EventKind::Tnt { bits, size }, .. }) => Some((event, bits, size)),
            _ => None,
        };
        match (held.meta.class(), tnt) {
            (InstructionClass::CondJump, Some((event, bits, size))) => {
                let to = if self.bit(bits) { executed.target } else { next };
                self.used_bit(trace, &event, size, to);
            }
            (InstructionClass::CondJump, None) => return Err(CodeError::Pt(PtError::BadQuery)),
            (InstructionClass::Return, Some((event, bits, size))) => {
                if !self.bit(bits) {
                    return Err(CodeError::Pt(PtError::BadRetcomp));
                }
                let Some(site) = self.stack.pop() else {
                    return Err(CodeError::Pt(PtError::RetstackEmpty));
                };
                let ip = self.graph.ip_of(site);
                self.used_bit(trace, &event, size, ip);
            }
            (_, Some(_)) => self.deferred_tip(trace)?,
            (_, None) => {
                let Ok(event @ Event { kind: EventKind::Tip { ip }, .. }) = self.current else {
                    return Err(CodeError::Pt(PtError::BadQuery));
                };
                if event.ip_suppressed {
                    return Err(CodeError::Pt(PtError::BadPacket));
                }
                self.tick_at(&event, held.ip);
                self.used(&event);
                self.come_to(ip);
                self.fetch(trace);
            }
        }
        Ok(())
    }

    /// The oldest bit that is left.
    fn bit(&self, bits: u64) -> bool {
        bits >> self.bits_left.saturating_sub(1) & 1 != 0
    }

    fn used_bit(&mut self, trace: &[u8], event: &Event, size: u8, to: u64) {
        if self.bits_left == size {
            if event.has_tsc {
                self.tick_at(event, to);
            }
            self.used(event);
        }
        self.bits_left = self.bits_left.saturating_sub(1);
        self.come_to(to);
        if self.bits_left == 0 {
            self.fetch(trace);
        }
    }

    /// The processor may send the TIP of a branch before the TNT is full; then it stands right behind the TNT.
    fn deferred_tip(&mut self, trace: &[u8]) -> Result<(), CodeError> {
        let offset = self.offset();
        let event = match self.ahead {
            Some(ahead) => ahead.event,
            None => self.events.next(trace),
        };
        let Ok(Event { kind: EventKind::Tip { ip }, ip_suppressed, .. }) = event else {
            self.ahead = Some(Ahead { event, offset });
            return Err(CodeError::Pt(PtError::BadQuery));
        };
        if ip_suppressed {
            self.ahead = Some(Ahead { event, offset });
            return Err(CodeError::Pt(PtError::BadPacket));
        }
        self.ahead = None;
        self.come_to(ip);
        Ok(())
    }

    /// The walk goes on at the target of a branch.
    fn come_to(&mut self, ip: u64) {
        self.ip = ip;
        self.anchor = Some(0);
        self.forget_passed();
    }

    fn tick_at(&mut self, event: &Event, ip: u64) {
        if self.options.tick_events && event.tsc != self.last_tsc {
            self.tick = Some(Event { kind: EventKind::Tick { ip }, ip_suppressed: false, ..*event });
        }
    }

    /// An event of the trace was used: its time is the time now.
    pub(super) fn used(&mut self, event: &Event) {
        self.last_tsc = event.tsc;
        self.time = EventTime {
            tsc: event.tsc,
            has_tsc: event.has_tsc,
            lost_mtc: event.lost_mtc,
            lost_cyc: event.lost_cyc,
        };
    }

    /// A branch has been taken: finds out what belongs to where it led.
    pub(super) fn arrive(&mut self) -> Result<(), CodeError> {
        if let Ok(Event {
            kind: EventKind::Tsx { ip, aborted: true, .. },
            ip_suppressed: false,
            status_update: false,
            ..
        }) = self.current
        {
            if self.enabled && self.repair.aborts_elsewhere(&mut self.graph, self.ip, ip)? {
                self.ip = ip;
            }
        }
        self.announce();
        Ok(())
    }
}
