//! The status that a successful decoder call comes with.

use std::fmt;
use std::ops::BitOr;

/// What the decoder can say about what comes next: libipt's `pt_status_flag` bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Status(u8);

impl Status {
    /// Nothing is said.
    pub const EMPTY: Status = Status(0);
    /// There is an event to be taken.
    pub const EVENT_PENDING: Status = Status(1);
    /// The address is not known.
    pub const IP_SUPPRESSED: Status = Status(2);
    /// The trace has ended.
    pub const EOS: Status = Status(4);

    /// A status from its three facts.
    pub fn new(event_pending: bool, ip_suppressed: bool, eos: bool) -> Status {
        Status(u8::from(event_pending) | u8::from(ip_suppressed) << 1 | u8::from(eos) << 2)
    }

    /// There is an event to be taken.
    pub fn event_pending(self) -> bool {
        self.0 & Self::EVENT_PENDING.0 != 0
    }

    /// The address is not known.
    pub fn ip_suppressed(self) -> bool {
        self.0 & Self::IP_SUPPRESSED.0 != 0
    }

    /// The trace has ended.
    pub fn eos(self) -> bool {
        self.0 & Self::EOS.0 != 0
    }

    /// The bits as libipt has them.
    pub fn bits(self) -> u8 {
        self.0
    }
}

impl BitOr for Status {
    type Output = Status;

    fn bitor(self, other: Status) -> Status {
        Status(self.0 | other.0)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["event_pending", "ip_suppressed", "eos"];
        let set = names.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 != 0);
        f.write_str(&set.map(|(_, name)| *name).collect::<Vec<_>>().join("|"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_libipt() {
        let all = Status::EVENT_PENDING | Status::IP_SUPPRESSED | Status::EOS;
        assert_eq!((all.bits(), format!("{all:?}").as_str()), (7, "event_pending|ip_suppressed|eos"));
        assert!(all.event_pending() && all.ip_suppressed() && all.eos());
        assert_eq!(Status::new(true, false, true), Status::EVENT_PENDING | Status::EOS);
        let none = Status::default();
        assert!(none.bits() == 0 && !none.event_pending() && !none.ip_suppressed() && !none.eos());
    }
}
