//! Executed instructions, and where indirect jumps went.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, OpKind};

/// All executed 64 bit code, each instruction once.
#[derive(Debug, Default)]
pub struct Code {
    /// By address.
    instructions: Vec<Instruction>,
    /// From and to, ascending.
    jumps: Vec<(u64, u64)>,
}

/// Where execution may go on inside a function.
pub(super) struct Next {
    /// Behind the instruction.
    pub falls: bool,
    /// To the target of a direct jump.
    pub target: Option<u64>,
    /// To where an indirect jump was seen to go.
    pub is_indirect: bool,
}

impl Code {
    /// Instructions by address and bytes, and edges of execution, of which only those from indirect jumps count.
    ///
    /// Bytes that are no instruction are left out; of several instructions at an address the first one counts.
    pub fn new<'a>(
        instructions: impl IntoIterator<Item = (u64, &'a [u8])>,
        edges: impl IntoIterator<Item = (u64, u64)>,
    ) -> Code {
        let mut code = Code::default();
        for (ip, bytes) in instructions {
            let instruction = Decoder::with_ip(64, bytes, ip, DecoderOptions::NONE).decode();
            if !instruction.is_invalid() {
                code.instructions.push(instruction);
            }
        }
        // A stable sort keeps the first of several.
        code.instructions.sort_by_key(Instruction::ip);
        code.instructions.dedup_by_key(|instruction| instruction.ip());
        let mut jumps: Vec<(u64, u64)> = edges
            .into_iter()
            .filter(|&(from, _)| code.get(from).is_some_and(|one| next(one).is_indirect))
            .collect();
        jumps.sort_unstable();
        jumps.dedup();
        code.jumps = jumps;
        code
    }

    /// The instruction at an address, if one was executed.
    pub(super) fn get(&self, ip: u64) -> Option<&Instruction> {
        let at = self.instructions.binary_search_by_key(&ip, Instruction::ip).ok()?;
        self.instructions.get(at)
    }

    /// Where the indirect jump at an address went.
    pub(super) fn jumps(&self, from: u64) -> impl Iterator<Item = u64> + '_ {
        let first = self.jumps.partition_point(|&(start, _)| start < from);
        self.jumps.iter().skip(first).take_while(move |&&(start, _)| start == from).map(|&(_, to)| to)
    }
}

/// Where execution may go on after an instruction. A call goes on behind itself.
pub(super) fn next(instruction: &Instruction) -> Next {
    let is_near =
        matches!(instruction.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64);
    let target = is_near.then(|| instruction.near_branch_target());
    let (falls, target, is_indirect) = match instruction.flow_control() {
        FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall | FlowControl::Interrupt => {
            (true, None, false)
        }
        FlowControl::ConditionalBranch | FlowControl::XbeginXabortXend => (true, target, false),
        FlowControl::UnconditionalBranch => (false, target, false),
        FlowControl::IndirectBranch => (false, None, true),
        FlowControl::Return | FlowControl::Exception => (false, None, false),
    };
    Next { falls, target, is_indirect }
}
