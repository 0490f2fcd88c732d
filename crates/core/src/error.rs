//! The error codes of Intel PT decoding, named and numbered as libipt names and numbers them.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! pt_errors {
    ($( $variant:ident = $code:literal, $name:literal, $text:literal; )*) => {
        /// What went wrong, by libipt's `pt_error_code`. The value is libipt's positive number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum PtError { $( $variant = $code, )* }

        impl PtError {
            /// Every error in order of its number.
            pub const ALL: &'static [PtError] = &[ $( PtError::$variant, )* ];

            /// The name without the `pte_` in front, for example `bad_packet`.
            pub fn name(self) -> &'static str {
                match self { $( PtError::$variant => $name, )* }
            }

            /// The sentence libipt's `pt_errstr` gives.
            pub fn message(self) -> &'static str {
                match self { $( PtError::$variant => $text, )* }
            }
        }
    };
}

pt_errors! {
    Internal = 1, "internal", "internal error";
    Invalid = 2, "invalid", "invalid argument";
    Nosync = 3, "nosync", "decoder out of sync";
    BadOpc = 4, "bad_opc", "unknown opcode";
    BadPacket = 5, "bad_packet", "unknown packet";
    BadContext = 6, "bad_context", "unexpected packet context";
    Eos = 7, "eos", "reached end of trace stream";
    BadQuery = 8, "bad_query", "trace stream does not match query";
    Nomem = 9, "nomem", "out of memory";
    BadConfig = 10, "bad_config", "bad configuration";
    Noip = 11, "noip", "no ip";
    IpSuppressed = 12, "ip_suppressed", "ip has been suppressed";
    Nomap = 13, "nomap", "no memory mapped at this address";
    BadInsn = 14, "bad_insn", "unknown instruction";
    NoTime = 15, "no_time", "no timing information";
    NoCbr = 16, "no_cbr", "no core:bus ratio";
    BadImage = 17, "bad_image", "bad image";
    BadLock = 18, "bad_lock", "locking error";
    NotSupported = 19, "not_supported", "not supported";
    RetstackEmpty = 20, "retstack_empty", "compressed return without call";
    BadRetcomp = 21, "bad_retcomp", "bad compressed return";
    BadStatusUpdate = 22, "bad_status_update", "bad status update";
    NoEnable = 23, "no_enable", "expected tracing enabled event";
    EventIgnored = 24, "event_ignored", "event ignored";
    Overflow = 25, "overflow", "overflow";
    BadFile = 26, "bad_file", "bad file";
    BadCpu = 27, "bad_cpu", "unknown cpu";
}

impl PtError {
    /// The libipt number, 1 to 27.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The error with this number, if there is one.
    pub fn from_code(code: u8) -> Option<PtError> {
        Self::ALL.iter().copied().find(|error| error.code() == code)
    }
}

impl fmt::Display for PtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for PtError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_from_1_to_27_without_holes() {
        let codes: Vec<u8> = PtError::ALL.iter().map(|error| error.code()).collect();
        assert_eq!(codes, (1..=27).collect::<Vec<u8>>());
        assert_eq!(PtError::from_code(13), Some(PtError::Nomap));
        assert_eq!(PtError::from_code(0), None);
        assert_eq!(PtError::from_code(28), None);
    }
}
