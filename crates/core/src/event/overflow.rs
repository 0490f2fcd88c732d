//! OVF: packets were lost inside the processor.

use super::decoder::EventDecoder;
use super::types::{Event, EventKind};
use crate::error::PtError;
use crate::packet::{self, LastIp, Packet};

impl EventDecoder {
    /// Deals with an OVF at `offset`; `pos` stands behind it. `first` is delivered before.
    ///
    /// What waited is lost if tracing was on, and reported without place and time if it was off. A
    /// FUP that follows before anything but status and timing tells where execution goes on.
    pub(super) fn overflow(&mut self, trace: &[u8], offset: usize, first: Vec<Event>) -> Result<(), PtError> {
        self.out.extend(first);
        let waiting = self.queue.take_all();
        if !self.enabled {
            for mut event in waiting.into_iter().filter_map(|pending| pending.event) {
                if matches!(event.kind, EventKind::AsyncPaging { .. } | EventKind::AsyncVmcs { .. }) {
                    continue;
                }
                if !matches!(event.kind, EventKind::Pwre { .. }) {
                    event.ip_suppressed = true;
                    event.has_tsc = false;
                    event.tsc = 0;
                }
                self.out.push_back(event);
            }
        }
        self.drop_open();
        self.last_ip.reset();
        self.mode = None;
        self.iflag = None;
        self.enabled = false;
        self.forget_calibration();
        let overflow = self.event(EventKind::Overflow { ip: 0 }, offset);
        match self.fup_behind(trace)? {
            Some(_) => {
                // Everything up to the FUP is status and timing: take it in, then bind to the FUP.
                loop {
                    let at = self.pos;
                    let rest = trace.get(at..).unwrap_or(&[]);
                    let (packet, size) = packet::decode(rest, &mut self.blocks)?;
                    self.pos += size;
                    match packet {
                        Packet::Cbr { ratio } => {
                            self.time.on_cbr(ratio, false)?;
                            self.out.push_back(self.event(EventKind::Cbr { ratio }, at));
                        }
                        Packet::Mnt { payload } => {
                            self.out.push_back(self.event(EventKind::Mnt { payload }, at));
                        }
                        Packet::Tsc { tsc } => self.time.on_tsc(tsc, false),
                        Packet::Tma { ctc, fc } => self.time.on_tma(ctc, fc)?,
                        Packet::Mtc { ctc } => self.time.on_mtc(ctc),
                        Packet::Cyc { value } => self.time.on_cyc(value),
                        Packet::Fup(payload) => {
                            self.last_ip.update(payload);
                            let ip = self.last_ip.ip();
                            self.enabled = ip.is_ok();
                            self.out.push_back(self.with_ip(overflow, ip));
                            return Ok(());
                        }
                        _ => {}
                    }
                }
            }
            None => {
                self.out.push_back(Event { ip_suppressed: true, ..overflow });
                Ok(())
            }
        }
    }

    /// Whether a FUP follows; None if tracing is off or something else comes first.
    ///
    /// `bad_context` for packets that cannot stand behind an OVF.
    fn fup_behind(&self, trace: &[u8]) -> Result<Option<LastIp>, PtError> {
        let mut at = self.pos;
        let mut blocks = self.blocks;
        loop {
            match packet::decode(trace.get(at..).unwrap_or(&[]), &mut blocks) {
                Ok((
                    Packet::Pad
                    | Packet::Mnt { .. }
                    | Packet::Cbr { .. }
                    | Packet::Tsc { .. }
                    | Packet::Tma { .. }
                    | Packet::Mtc { .. }
                    | Packet::Cyc { .. },
                    size,
                )) => at += size,
                Ok((Packet::Fup(payload), _)) => {
                    let mut ip = LastIp::default();
                    ip.update(payload);
                    return Ok(Some(ip));
                }
                Ok((
                    Packet::Psbend | Packet::Tip(_) | Packet::TipPgd(_) | Packet::Tnt8(_) | Packet::Tnt64(_),
                    _,
                )) => return Err(PtError::BadContext),
                Err(PtError::Eos) | Ok(_) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
}
