//! Branches that use up the trace.

use super::{Ahead, BlockDecoder, Executed};
use crate::error::PtError;
use crate::event::{Event, EventKind, EventTime};
use crate::flow::code::CodeError;
use crate::flow::graph::NodeKind;
use crate::instruction::InstructionClass;

/// How far BDM64 looks whether an abort can be reached without trace.
const ABORT_REACH: usize = 0x100;

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
                self.used_bit(trace, &event, size, site.ip);
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
        if self.errata.bdm64 && self.enabled {
            if let Ok(Event {
                kind: EventKind::Tsx { ip, aborted: true, .. },
                ip_suppressed: false,
                status_update: false,
                ..
            }) = self.current
            {
                if !self.reaches(ip)? {
                    self.ip = ip;
                }
            }
        }
        self.announce();
        Ok(())
    }

    /// BDM64: whether linear code leads from here to `goal`.
    fn reaches(&mut self, goal: u64) -> Result<bool, CodeError> {
        let mut at = self.ip;
        let mut left = ABORT_REACH;
        while left > 0 {
            let node = self.graph.node_at(at);
            self.graph.learn(node)?;
            let ips = self.graph.ips(node);
            if ips.iter().take(left).any(|&ip| ip == goal) {
                return Ok(true);
            }
            left = left.saturating_sub(ips.len().max(1));
            at = self.graph.next_ip(node);
            if self.graph.kind(node) != NodeKind::Split {
                return Ok(at == goal && self.graph.kind(node) == NodeKind::Stuck);
            }
        }
        Ok(false)
    }
}
