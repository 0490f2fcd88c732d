//! What an instruction listing shows, and how its decoder goes about it.

use odograph_core::flow::BlockOptions;

use super::events::EventColumns;

/// The options of `ptxed`, by their names there; all off at first.
#[derive(Clone, Copy, Debug, Default)]
pub struct InstructionOptions {
    /// Instructions come from the instruction decoder, else from the block decoder. Both list the same, except
    /// for the column of offsets: a block has the one from before all of it.
    pub insn_decoder: bool,
    /// Where blocks end, and whether there are ticks.
    pub blocks: BlockOptions,
    /// No lines of instructions, blocks, events and changes of state; what went wrong and findings remain.
    pub quiet: bool,
    /// A column with the offset in the trace.
    pub offset: bool,
    /// A column with the time of the last event.
    pub time: bool,
    /// A column with the bytes of instructions.
    pub raw_insn: bool,
    /// AT&T's syntax instead of Intel's.
    pub att: bool,
    /// Neither bytes nor text of instructions.
    pub no_inst: bool,
    /// What event lines show.
    pub events: EventColumns,
    /// A line before each block of the block decoder.
    pub show_blocks: bool,
    /// Those lines have the number of the block.
    pub stat: bool,
    /// Decode each instruction a second time and compare.
    pub check: bool,
    /// After an error go on at the next packet that says where, not only at the next PSB.
    pub resync_on_error: bool,
}

impl InstructionOptions {
    /// Switches on the option of that name, written as on the command line without its dashes; false if there
    /// is none.
    pub fn set(&mut self, name: &str) -> bool {
        let option = match name {
            "insn-decoder" => &mut self.insn_decoder,
            "block:end-on-call" => &mut self.blocks.end_on_call,
            "block:end-on-jump" => &mut self.blocks.end_on_jump,
            "event:tick" => &mut self.blocks.tick_events,
            "quiet" => &mut self.quiet,
            "offset" => &mut self.offset,
            "time" => &mut self.time,
            "raw-insn" => &mut self.raw_insn,
            "att" => &mut self.att,
            "no-inst" => &mut self.no_inst,
            "event:time" => &mut self.events.time,
            "event:ip" => &mut self.events.ip,
            "block:show-blocks" => &mut self.show_blocks,
            "stat" => &mut self.stat,
            "check" => &mut self.check,
            "resync-on-error" => &mut self.resync_on_error,
            _ => return false,
        };
        *option = true;
        true
    }
}
