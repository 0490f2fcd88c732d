//! Which instructions events bind behind.
//!
//! Most events name the address they happened at. Some say only that something happened, and belong behind the next
//! instruction that can have caused it: a PIP behind a MOV CR3, a PTW behind a PTWRITE.
//! Source: Intel SDM volume 3C, "Packet Generation" per packet; the pairing is libipt's.

use super::graph::InstructionMeta;
use crate::event::{Event, EventKind};
use crate::instruction::{Detail, InstructionClass};
use serde::{Deserialize, Serialize};

/// The kinds of events of which at most one binds behind the same instruction; a set of bits.
mod kind {
    pub const PAGING: u8 = 1;
    pub const VMCS: u8 = 2;
    pub const PTWRITE: u8 = 4;
    pub const IRET: u8 = 8;
    pub const VMENTRY: u8 = 16;
    pub const UIRET: u8 = 32;
    pub const SWINTR: u8 = 64;
    pub const SYSCALL: u8 = 128;
}

/// A far call, far return or far jump.
pub(super) fn is_far(meta: InstructionMeta) -> bool {
    matches!(
        meta.class(),
        InstructionClass::FarCall | InstructionClass::FarReturn | InstructionClass::FarJump
    )
}

/// The next address is not known without a TNT bit or a TIP.
pub(super) fn needs_trace(meta: InstructionMeta) -> bool {
    match meta.class() {
        InstructionClass::CondJump | InstructionClass::Return => true,
        InstructionClass::Call | InstructionClass::Jump => meta.detail() != Detail::Direct,
        _ => is_far(meta),
    }
}

/// Where tracing is expected to go on after it stopped at a branch: behind a call that was not traced.
pub(super) fn resume_after(ip: u64, meta: InstructionMeta) -> Option<u64> {
    matches!(meta.class(), InstructionClass::Call | InstructionClass::FarCall)
        .then(|| ip.wrapping_add(u64::from(meta.size())))
}

/// The bit of an event that binds behind an instruction rather than before one; `None` for all others.
pub(super) fn behind_kind(event: &Event) -> Option<u8> {
    match event.kind {
        EventKind::Paging { .. } => Some(kind::PAGING),
        EventKind::Vmcs { .. } => Some(kind::VMCS),
        EventKind::Ptwrite { .. } => Some(kind::PTWRITE),
        EventKind::Iret { .. } => Some(kind::IRET),
        EventKind::Vmentry { .. } => Some(kind::VMENTRY),
        EventKind::Uiret { .. } => Some(kind::UIRET),
        EventKind::Swintr { .. } if event.ip_suppressed => Some(kind::SWINTR),
        EventKind::Syscall { .. } if event.ip_suppressed => Some(kind::SYSCALL),
        _ => None,
    }
}

/// Whether an event of those kinds binds behind the instruction at `at`.
pub(super) fn binds_behind(event: &Event, at: u64, meta: InstructionMeta) -> bool {
    let named = |ip: u64| !event.ip_suppressed && at == ip;
    let suppressed = event.ip_suppressed;
    match event.kind {
        EventKind::Paging { .. } => {
            is_far(meta) || matches!(meta.detail(), Detail::MovCr3 | Detail::Vmlaunch | Detail::Vmresume)
        }
        EventKind::Vmcs { .. } => {
            is_far(meta) || matches!(meta.detail(), Detail::Vmptrld | Detail::Vmlaunch | Detail::Vmresume)
        }
        EventKind::Ptwrite { ip, .. } => named(ip) || suppressed && meta.class() == InstructionClass::Ptwrite,
        EventKind::Iret { ip } => {
            named(ip)
                || suppressed
                    && matches!(
                        meta.detail(),
                        Detail::Iret | Detail::Sysret | Detail::Sysexit | Detail::Erets | Detail::Eretu
                    )
        }
        EventKind::Vmentry { ip } => {
            named(ip) || suppressed && matches!(meta.detail(), Detail::Vmlaunch | Detail::Vmresume)
        }
        EventKind::Uiret { ip } => named(ip) || suppressed && meta.detail() == Detail::Uiret,
        EventKind::Swintr { .. } => suppressed && meta.detail() == Detail::Int,
        EventKind::Syscall { .. } => suppressed && meta.detail() == Detail::Syscall,
        _ => false,
    }
}

/// An executed instruction that events have bound behind: the walk has not left it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    /// Its address.
    pub ip: u64,
    /// What it is.
    pub meta: InstructionMeta,
    /// The kinds of events that have bound behind it.
    pub kinds: u8,
}

impl Held {
    /// Takes in one more event, if it can bind behind the same instruction.
    pub fn binds(&mut self, event: &Event) -> bool {
        let Some(bit) = behind_kind(event) else { return false };
        let nameless = event.ip_suppressed || matches!(bit, kind::PAGING | kind::VMCS);
        let binds = nameless && self.kinds & bit == 0 && binds_behind(event, self.ip, self.meta);
        if binds {
            self.kinds |= bit;
        }
        binds
    }
}
