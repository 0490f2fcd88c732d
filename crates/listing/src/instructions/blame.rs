//! Which instruction an error is blamed on, and its line.

use std::io::Write;

use odograph_core::error::PtError;
use odograph_core::instruction::{self, ExecMode};

/// Where an error happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blame {
    /// Offset in the trace.
    pub offset: u64,
    /// Address of the instruction.
    pub ip: u64,
}

/// Appends the line of an error.
pub fn error_line(out: &mut Vec<u8>, blame: Blame, kind: &str, code: PtError) {
    let _ = writeln!(out, "[{:x}, {:x}: {kind}: {code}]", blame.offset, blame.ip);
}

/// What an error comes behind: an instruction, or a place where there was none to be had.
#[derive(Clone, Copy, Debug, Default)]
pub struct Last {
    ip: u64,
    raw: [u8; 15],
    size: u8,
    mode: ExecMode,
}

impl Last {
    /// The instruction of these bytes; it is decoded when an error comes.
    pub fn instruction(ip: u64, bytes: &[u8], mode: ExecMode) -> Last {
        let mut raw = [0; 15];
        raw.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Last { ip, raw, size: bytes.len().min(raw.len()) as u8, mode }
    }

    /// Where control goes from the instruction if branches are taken; `None` behind a place.
    fn next(self) -> Option<u64> {
        let decoded = instruction::decode(self.raw.get(..usize::from(self.size))?, self.mode).ok()?;
        let behind = self.ip.wrapping_add(u64::from(decoded.size));
        Some(decoded.target(self.ip).unwrap_or(behind))
    }

    /// A place behind this. The instruction stays the last for errors at itself and where it leads.
    pub fn or_place(self, ip: u64) -> Last {
        if ip == self.ip || Some(ip) == self.next() {
            self
        } else {
            Last { ip, ..Last::default() }
        }
    }

    /// The address to blame: where control goes, but the instruction itself where it and the trace do not match.
    pub fn blame(self, code: PtError) -> u64 {
        match self.next() {
            Some(next) if code != PtError::BadQuery => next,
            _ => self.ip,
        }
    }
}

/// Most resynchronisations in a row that do not get further in the trace: as many events can wait at one packet.
const MOST_RETRIES: u32 = 16;

/// Errors after which resynchronisation was tried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Retries {
    last: Option<Blame>,
    furthest: u64,
    count: u32,
}

impl Retries {
    /// Something came of the last one.
    pub fn succeeded(&mut self) {
        self.last = None;
    }

    /// False where resynchronisation has led to the same error again and would do so for ever.
    pub fn may_retry(&mut self, blame: Blame) -> bool {
        if blame.offset > self.furthest {
            (self.furthest, self.count) = (blame.offset, 0);
        }
        self.count += 1;
        self.count <= MOST_RETRIES && self.last.replace(blame) != Some(blame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_control_goes_is_blamed_unless_the_trace_does_not_match() {
        let jump = Last::instruction(0x1000, &[0xeb, 0x10], ExecMode::Bits64);
        assert_eq!(jump.blame(PtError::Nomap), 0x1012);
        assert_eq!(jump.blame(PtError::BadQuery), 0x1000);
        let indirect = Last::instruction(0x1000, &[0xff, 0xe0], ExecMode::Bits64);
        assert_eq!(indirect.blame(PtError::Nomap), 0x1002);
        assert_eq!(indirect.or_place(0x5000).blame(PtError::Nomap), 0x5000);
        assert_eq!(jump.or_place(0x1012).blame(PtError::BadQuery), 0x1000);
        assert_eq!(indirect.or_place(0x1000).blame(PtError::Nomap), 0x1002);
        let unknown = Last::instruction(0x1000, &[], ExecMode::Bits64);
        assert_eq!(unknown.blame(PtError::Nomap), 0x1000);
    }

    #[test]
    fn the_same_error_is_not_tried_twice_and_one_place_not_for_ever() {
        let blame = Blame { offset: 0x20, ip: 1 };
        let mut retries = Retries::default();
        assert!(retries.may_retry(blame));
        assert!(!retries.may_retry(blame));
        retries.succeeded();
        assert!(retries.may_retry(blame));
        let there = |retries: &mut Retries, ip| retries.may_retry(Blame { ip, ..blame });
        assert!(!(0..u64::from(MOST_RETRIES)).all(|ip| there(&mut retries, ip)));
        assert!(retries.may_retry(Blame { offset: 0x21, ip: 1 }));
    }
}
