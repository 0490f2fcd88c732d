//! The query decoder: answers for a caller that walks through the code.
//!
//! The caller knows the code, asks for each conditional branch whether it was taken and for each indirect one
//! where it went, and takes events whenever the status says that there are any. No image is needed, and what the
//! answers mean is the caller's business. As the event decoder it does not hold the trace.

use super::bits::Bits;
use super::status::Status;
use super::types::{Event, EventKind, EventTime};
use super::EventDecoder;
use crate::config::TraceConfig;
use crate::error::PtError;

/// Answers queries about branches, and gives the events between them.
#[derive(Clone, Debug)]
pub struct QueryDecoder {
    events: EventDecoder,
    /// The event that comes next, or why there is none.
    current: Result<Event, PtError>,
    bits: Bits,
    /// The TNT that the last of the bits come from.
    tnt: Option<Event>,
    time: EventTime,
    ratio: Option<u8>,
}

impl QueryDecoder {
    /// A decoder that is not synchronised: every call says `nosync`.
    pub fn new(config: &TraceConfig) -> Self {
        QueryDecoder {
            events: EventDecoder::new(config),
            current: Err(PtError::Nosync),
            bits: Bits::default(),
            tnt: None,
            time: EventTime::default(),
            ratio: None,
        }
    }

    /// The event decoder below, which is one event ahead; more if bits are still to be asked for.
    pub fn events(&self) -> &EventDecoder {
        &self.events
    }

    /// The time of the event that the last query took; nothing is known after synchronising.
    pub fn time(&self) -> EventTime {
        self.time
    }

    /// The core:bus ratio of the last `cbr` event that was taken since synchronising.
    pub fn core_bus_ratio(&self) -> Option<u8> {
        self.ratio
    }

    /// Goes to the next PSB; the address to start from is None, and the status `ip_suppressed`, if tracing is off.
    /// Errors as [`EventDecoder::sync_forward`].
    pub fn sync_forward(&mut self, trace: &[u8]) -> Result<(Option<u64>, Status), PtError> {
        let synced = self.events.sync_forward(trace);
        self.start(trace, synced)
    }

    /// Goes to the PSB before, passing over a PSB+ that the end of the trace cuts off. As with libipt the status is
    /// always empty. Errors as [`EventDecoder::sync_backward`].
    pub fn sync_backward(&mut self, trace: &[u8]) -> Result<(Option<u64>, Status), PtError> {
        let synced = self.events.sync_backward(trace);
        self.start(trace, synced).map(|(ip, _)| (ip, Status::EMPTY))
    }

    /// Goes to the PSB at an offset; otherwise as [`QueryDecoder::sync_forward`].
    pub fn sync_set(&mut self, trace: &[u8], offset: u64) -> Result<(Option<u64>, Status), PtError> {
        let synced = self.events.sync_set(trace, offset);
        self.start(trace, synced)
    }

    fn start(&mut self, trace: &[u8], synced: Result<(), PtError>) -> Result<(Option<u64>, Status), PtError> {
        if synced.is_err() && self.events.error().is_none() {
            // There was no place to go to: all stays as it is.
            synced?;
        }
        self.bits = Bits::default();
        self.tnt = None;
        self.time = EventTime::default();
        self.ratio = None;
        self.current = self.events.next(trace);
        synced?;
        Ok(match self.current {
            Ok(Event { kind: EventKind::Enabled { ip, .. }, status_update: true, .. }) => {
                (Some(ip), self.status())
            }
            _ => (None, self.status() | Status::IP_SUPPRESSED),
        })
    }

    /// Events are hidden until all bits in front of them have been asked for.
    fn status(&self) -> Status {
        if !self.bits.is_empty() {
            return Status::EMPTY;
        }
        match self.current {
            Ok(Event { kind: EventKind::Tnt { .. } | EventKind::Tip { .. }, .. }) => Status::EMPTY,
            Err(PtError::Eos) => Status::EOS,
            Ok(_) | Err(_) => Status::EVENT_PENDING,
        }
    }

    /// Takes the current event, if it is one that `what` accepts. The stored error if there is none,
    /// `bad_query` if it is another.
    fn take<T>(
        &mut self,
        trace: &[u8],
        what: impl FnOnce(&EventKind) -> Option<T>,
    ) -> Result<(T, Event), PtError> {
        let event = self.current?;
        let wanted = what(&event.kind).ok_or(PtError::BadQuery)?;
        self.time = event.time();
        if let EventKind::Cbr { ratio } = event.kind {
            self.ratio = Some(ratio);
        }
        self.current = self.events.next(trace);
        Ok((wanted, event))
    }

    /// Moves the bits of the current TNT to those that can be asked for; `bad_query` if there is no room.
    fn take_tnt(&mut self, trace: &[u8]) -> Result<(), PtError> {
        let mut bits = self.bits;
        let (bits, tnt) = self.take(trace, |kind| match *kind {
            EventKind::Tnt { bits: more, size } => bits.push(more, size).then_some(bits),
            _ => None,
        })?;
        self.bits = bits;
        self.tnt = Some(tnt);
        Ok(())
    }

    /// Whether the next conditional branch was taken; the same for a compressed return, where true is the only
    /// good answer. `bad_query` if something else comes next, or the error that comes next.
    pub fn cond_branch(&mut self, trace: &[u8]) -> Result<(bool, Status), PtError> {
        if self.bits.is_empty() {
            self.take_tnt(trace)?;
        }
        let taken = self.bits.pop().ok_or(PtError::BadQuery)?;
        Ok((taken, self.status()))
    }

    /// Where the next indirect branch went: None, and the status `ip_suppressed`, if the trace does not say.
    /// Bits before it may still be asked for afterwards. Errors as [`QueryDecoder::cond_branch`].
    pub fn indirect_branch(&mut self, trace: &[u8]) -> Result<(Option<u64>, Status), PtError> {
        if matches!(self.current, Ok(Event { kind: EventKind::Tnt { .. }, .. })) {
            self.take_tnt(trace)?;
        }
        let (ip, tip) = self.take(trace, |kind| match *kind {
            EventKind::Tip { ip } => Some(ip),
            _ => None,
        })?;
        Ok(if tip.ip_suppressed {
            (None, self.status() | Status::IP_SUPPRESSED)
        } else {
            (Some(ip), self.status())
        })
    }

    /// Takes the next event. `bad_query` if a branch comes first or bits are left, or the error that comes next.
    pub fn event(&mut self, trace: &[u8]) -> Result<(Event, Status), PtError> {
        if !self.bits.is_empty() {
            return Err(PtError::BadQuery);
        }
        let ((), event) = self.take(trace, |kind| match kind {
            EventKind::Tnt { .. } | EventKind::Tip { .. } => None,
            _ => Some(()),
        })?;
        Ok((event, self.status()))
    }

    /// The next thing without a question: an event, or branches as the events they are. Bits that are left come
    /// together, with the time and place of their TNT.
    pub fn next(&mut self, trace: &[u8]) -> Result<Event, PtError> {
        if let (Some((bits, size)), Some(tnt)) = (self.bits.take(), self.tnt) {
            return Ok(Event { kind: EventKind::Tnt { bits, size }, ..tnt });
        }
        self.take(trace, |_| Some(())).map(|((), event)| event)
    }
}
