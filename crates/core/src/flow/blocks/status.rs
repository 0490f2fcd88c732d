//! What the block decoder is asked and answers.

use crate::instruction::{ExecMode, InstructionClass};

/// How blocks are cut, beyond what the trace says. Names as in libipt's `pt_conf_flags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockOptions {
    /// End a block behind a direct near call.
    pub end_on_call: bool,
    /// End a block behind a direct near jump.
    pub end_on_jump: bool,
    /// Give a `tick` event wherever time has advanced.
    pub tick_events: bool,
}

/// libipt's `pts_*` bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status(u8);

impl Status {
    /// There is an event to take.
    pub const EVENT_PENDING: u8 = 1;
    /// Tracing is off.
    pub const IP_SUPPRESSED: u8 = 2;
    /// The trace has no further event.
    pub const EOS: u8 = 4;

    /// A status from its three facts.
    pub fn new(event_pending: bool, ip_suppressed: bool, eos: bool) -> Self {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        Status(
            bit(event_pending, Self::EVENT_PENDING)
                | bit(ip_suppressed, Self::IP_SUPPRESSED)
                | bit(eos, Self::EOS),
        )
    }

    /// The bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// There is an event to take.
    pub fn event_pending(self) -> bool {
        self.0 & Self::EVENT_PENDING != 0
    }

    /// Tracing is off.
    pub fn ip_suppressed(self) -> bool {
        self.0 & Self::IP_SUPPRESSED != 0
    }

    /// The trace has no further event.
    pub fn eos(self) -> bool {
        self.0 & Self::EOS != 0
    }
}

/// Instructions executed one after the other; libipt's `pt_block`. The last one may be a branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Address of the first instruction.
    pub ip: u64,
    /// Address of the last instruction; of the first if there are none.
    pub end_ip: u64,
    /// Section cache identifier, 0 if the section is not from a cache.
    pub isid: i32,
    /// Execution mode of all instructions.
    pub mode: ExecMode,
    /// Class of the last instruction.
    pub class: InstructionClass,
    /// Number of instructions; may be 0.
    pub ninsn: u16,
    /// Bytes of the last instruction if it is truncated.
    pub raw: [u8; 15],
    /// Size of the last instruction if it is truncated, else 0.
    pub size: u8,
    /// Executed inside a transaction.
    pub speculative: bool,
    /// The last instruction continues in another section.
    pub truncated: bool,
}

/// One instruction of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInstruction {
    /// Its address.
    pub ip: u64,
    /// Its length in bytes.
    pub size: u8,
    /// Its class.
    pub class: InstructionClass,
    /// Its bytes continue in another section.
    pub truncated: bool,
}

/// The time of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventTime {
    /// TSC estimate; relative to the synchronisation if not `has_tsc`.
    pub tsc: u64,
    /// A TSC packet had been seen.
    pub has_tsc: bool,
    /// MTC packets lost: the estimate may be off by so many MTC periods.
    pub lost_mtc: u32,
    /// CYC packets that could not be used: the estimate may be late by their cycles.
    pub lost_cyc: u32,
}
