//! Whether the event at hand belongs where the decoder stands.

use super::BlockDecoder;
use crate::error::PtError;
use crate::event::{Event, EventKind};
use crate::flow::binding::{behind_kind, resume_after};
use crate::instruction::Detail;

impl BlockDecoder {
    /// Finds out whether the status announces an event: one that belongs here, or an error in its place.
    pub(super) fn announce(&mut self) -> bool {
        self.pending = self.tick.is_some()
            || match self.current {
                Ok(event) => self.binds_here(&event),
                Err(PtError::Eos) => false,
                Err(_) => true,
            };
        self.pending
    }

    fn binds_here(&mut self, event: &Event) -> bool {
        match event.kind {
            EventKind::Tnt { .. } | EventKind::Tip { .. } => return false,
            _ if !self.enabled => return true,
            _ => {}
        }
        if self.held.is_some() {
            return self.binds_to_held(event) || self.belongs_anywhere(event);
        }
        match event.kind {
            EventKind::Disabled { .. } => event.status_update,
            EventKind::AsyncDisabled { at, .. } => at == self.ip,
            EventKind::AsyncBranch { from, .. } => from == self.ip,
            EventKind::Trig { ip, .. } => match self.trig_left {
                Some(left) => left == 0,
                None => event.ip_suppressed || ip == self.ip,
            },
            _ if self.belongs_anywhere(event) => true,
            _ if behind_kind(event).is_some() => false,
            _ => event.ip() == Some(self.ip),
        }
    }

    /// The event does not depend on where the decoder stands.
    fn belongs_anywhere(&self, event: &Event) -> bool {
        match event.kind {
            EventKind::Enabled { .. } | EventKind::Overflow { .. } => true,
            EventKind::Disabled { .. } => event.status_update,
            EventKind::AsyncDisabled { .. } | EventKind::AsyncBranch { .. } => false,
            _ => behind_kind(event).is_none() && (event.ip_suppressed || event.ip().is_none()),
        }
    }

    /// Whether the event binds behind an instruction that others have bound behind.
    fn binds_to_held(&mut self, event: &Event) -> bool {
        let Some(executed) = self.held.as_mut() else { return false };
        match event.kind {
            EventKind::Disabled { .. } if !event.status_update => {
                executed.needs_trace || event.ip_suppressed && executed.held.meta.detail() == Detail::MovCr3
            }
            _ => executed.held.binds(event),
        }
    }

    /// Where tracing is expected to resume after a synchronous disable that has bound behind the held instruction.
    pub(super) fn resume_behind_held(&self) -> u64 {
        let Some(executed) = self.held else { return self.ip };
        let held = executed.held;
        if executed.needs_trace {
            resume_after(held.ip, held.meta).unwrap_or(0)
        } else if held.meta.detail() == Detail::MovCr3 {
            held.ip
        } else {
            0
        }
    }
}
