//! Event Trace: control-flow events (CFE) and their data (EVD).

use super::decoder::EventDecoder;
use super::pending::Binding;
use super::types::{Event, EventKind};
use crate::error::PtError;
use serde::{Deserialize, Serialize};

/// Data of EVD packets that wait for their CFE.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct EventData {
    cr2: Option<u64>,
    vmxq: Option<u64>,
    vmxr: Option<u64>,
}

impl EventData {
    pub fn is_empty(&self) -> bool {
        self.cr2.is_none() && self.vmxq.is_none() && self.vmxr.is_none()
    }
}

impl EventDecoder {
    pub(super) fn evd(&mut self, kind: u8, payload: u64) -> Result<(), PtError> {
        let slot = match kind {
            0 => {
                if !self.data.is_empty() {
                    return Err(PtError::BadContext);
                }
                &mut self.data.cr2
            }
            1 | 2 => {
                if self.data.cr2.is_some() {
                    return Err(PtError::BadContext);
                }
                if kind == 1 {
                    &mut self.data.vmxq
                } else {
                    &mut self.data.vmxr
                }
            }
            _ => return Ok(()),
        };
        if slot.replace(payload).is_some() {
            return Err(PtError::BadContext);
        }
        Ok(())
    }

    pub(super) fn cfe(&mut self, kind: u8, vector: u8, ip: bool, offset: usize) -> Result<(), PtError> {
        let data = std::mem::take(&mut self.data);
        let exit = matches!(kind, 8 | 9);
        if data.cr2.is_some() && kind != 1 || (data.vmxq.is_some() || data.vmxr.is_some()) && !exit {
            return Err(PtError::BadContext);
        }
        let immediate = matches!(kind, 2 | 7 | 0xa | 0xd | 0xf);
        let what = match kind {
            1 => EventKind::Interrupt { vector, cr2: data.cr2, ip: 0 },
            2 => EventKind::Iret { ip: 0 },
            3 => EventKind::Smi { ip: 0 },
            4 => EventKind::Rsm,
            5 => EventKind::Sipi { vector },
            6 => EventKind::Init { ip: 0 },
            7 => EventKind::Vmentry { ip: 0 },
            8 | 9 => EventKind::Vmexit {
                vector: (kind == 9).then_some(vector),
                vmxr: data.vmxr,
                vmxq: data.vmxq,
                ip: 0,
            },
            0xa => EventKind::Shutdown { ip: 0 },
            0xc => EventKind::Uintr { vector, ip: 0 },
            0xd => EventKind::Uiret { ip: 0 },
            0xe => EventKind::Swintr { vector, ip: 0 },
            0xf => EventKind::Syscall { ip: 0 },
            _ => {
                return if ip { self.queue.push(Binding::FupBound, None) } else { Ok(()) };
            }
        };
        let mut event = self.event(what, offset);
        if matches!(kind, 4 | 5) {
            if ip {
                return Err(PtError::BadPacket);
            }
            event.ip_suppressed = true;
        }
        if ip {
            return self.queue.push(Binding::FupBound, Some(event));
        }
        if self.enabled && !immediate {
            return self.queue.push(Binding::Fup, Some(event));
        }
        self.out.push_back(Event { ip_suppressed: true, ..event });
        Ok(())
    }
}
