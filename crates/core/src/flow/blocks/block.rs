//! What the block decoder is asked for and gives.

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
