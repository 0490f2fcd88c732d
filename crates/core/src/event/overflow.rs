//! OVF: packets were lost inside the processor.

use super::decoder::EventDecoder;
use super::repair::Repair;
use super::types::{Event, EventKind};
use crate::error::PtError;
use crate::packet::Packet;

/// What stands behind an OVF, past status and timing.
enum Behind {
    /// A FUP: execution goes on there.
    Fup,
    /// Something that can stand there with tracing off, or the end.
    Off,
    /// Something that needs tracing to be on.
    Misplaced,
}

/// Where execution goes on behind an OVF.
enum Resumption {
    /// At the FUP that follows.
    Fup,
    /// At an address that errata tell.
    At(u64),
    /// Tracing is off.
    Off,
}

impl EventDecoder {
    /// Deals with an OVF at `offset`; `pos` stands behind it.
    ///
    /// What waited is lost if tracing was on, and reported without place and time if it was off. A
    /// FUP that follows before anything but status and timing tells where execution goes on. The
    /// event has the time and the offset of the OVF, and so has an error met on the look ahead.
    pub(super) fn overflow(&mut self, trace: &[u8], offset: usize) -> Result<(), PtError> {
        self.leave_behind();
        self.last_ip.reset();
        self.mode = None;
        self.iflag = None;
        self.enabled = false;
        self.forget_calibration();
        let overflow = self.event(EventKind::Overflow { ip: 0 }, offset);
        let event = match self.resumption(trace) {
            Ok(Resumption::Fup) => return self.overflow_to_fup(trace, overflow),
            Ok(Resumption::At(ip)) => {
                self.enabled = true;
                self.with_ip(overflow, Ok(ip))
            }
            Ok(Resumption::Off) => Event { ip_suppressed: true, ..overflow },
            Err(error) => {
                self.pos = offset;
                return Err(error);
            }
        };
        self.out.push_back(event);
        Ok(())
    }

    /// What waited when the packets were lost.
    fn leave_behind(&mut self) {
        let waiting = self.queue.take_all();
        self.drop_open();
        if self.enabled {
            return;
        }
        for event in waiting.into_iter().filter_map(|pending| pending.event) {
            let event = match event.kind {
                EventKind::AsyncPaging { .. } | EventKind::AsyncVmcs { .. } => continue,
                EventKind::Pwre { .. } => event,
                EventKind::Rsm | EventKind::Sipi { .. } => without_time(event),
                _ => Event { ip_suppressed: true, ..without_time(event) },
            };
            self.out.push_back(event);
        }
    }

    /// How decoding goes on, after errata.
    fn resumption(&mut self, trace: &[u8]) -> Result<Resumption, PtError> {
        let (repair, otherwise) = match self.behind(trace)? {
            Behind::Fup => (self.repair_apl12(trace)?, Ok(Resumption::Fup)),
            Behind::Off => (self.repair_skd010(trace)?, Ok(Resumption::Off)),
            Behind::Misplaced => {
                let repair = match self.repair_skd010(trace)? {
                    None => self.repair_apl11(trace)?,
                    repair => repair,
                };
                (repair, Err(PtError::BadContext))
            }
        };
        match repair {
            Some(Repair::At(ip)) => Ok(Resumption::At(ip)),
            Some(Repair::Off) => Ok(Resumption::Off),
            None => otherwise,
        }
    }

    fn behind(&self, trace: &[u8]) -> Result<Behind, PtError> {
        let mut probe = self.clone();
        let mut at = self.pos;
        loop {
            let (packet, size) = match probe.fetch(trace, at) {
                Err(PtError::Eos) => return Ok(Behind::Off),
                fetched => fetched?,
            };
            match packet {
                Packet::Pad
                | Packet::Mnt { .. }
                | Packet::Cbr { .. }
                | Packet::Tsc { .. }
                | Packet::Tma { .. }
                | Packet::Mtc { .. }
                | Packet::Cyc { .. }
                | Packet::Bbp { .. }
                | Packet::Bip { .. }
                | Packet::Bep { .. } => at += size,
                // It would come again and again.
                Packet::Unknown if size == 0 => return Err(PtError::BadPacket),
                Packet::Unknown => at += size,
                Packet::Fup(_) => return Ok(Behind::Fup),
                Packet::Psbend | Packet::Tip(_) | Packet::TipPgd(_) | Packet::Tnt8(_) | Packet::Tnt64(_) => {
                    return Ok(Behind::Misplaced)
                }
                _ => return Ok(Behind::Off),
            }
        }
    }

    /// Takes in status and timing up to the FUP that [`Behind::Fup`] promises.
    fn overflow_to_fup(&mut self, trace: &[u8], overflow: Event) -> Result<(), PtError> {
        loop {
            let at = self.pos;
            let (packet, size) = self.fetch(trace, at)?;
            match packet {
                Packet::Cbr { ratio } => {
                    self.time.on_cbr(ratio, false)?;
                    self.out.push_back(self.event(EventKind::Cbr { ratio }, at));
                }
                Packet::Mnt { payload } => self.out.push_back(self.event(EventKind::Mnt { payload }, at)),
                Packet::Fup(payload) => {
                    self.last_ip.update(payload);
                    let ip = self.last_ip.ip();
                    self.enabled = true;
                    self.out.push_back(self.with_ip(overflow, ip));
                    self.current = at;
                    self.pos = at + size;
                    return Ok(());
                }
                packet => {
                    self.keep_time(&packet, false)?;
                }
            }
            self.pos = at + size;
        }
    }
}

fn without_time(event: Event) -> Event {
    Event { has_tsc: false, tsc: 0, lost_mtc: 0, lost_cyc: 0, ..event }
}
