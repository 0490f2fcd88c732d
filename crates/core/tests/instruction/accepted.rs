//! Differences from a judge that are right, each with its reason. Everything else fails.

use odograph_core::instruction::ExecMode;

/// A row of the table: which judge, when, and why ours is right.
type Row = (&'static str, fn(&Case) -> bool, &'static str);

/// A difference as the table's conditions see it.
pub struct Case<'a> {
    /// The bytes from the first that is no legacy prefix on.
    pub opcode: &'a [u8],
    /// 66 is among the prefixes.
    pub operand_prefix: bool,
    pub mode: ExecMode,
}

const TABLE: &[Row] = &[(
    "yaxpeax",
    |case| {
        case.mode != ExecMode::Bits64
            && case.operand_prefix
            && matches!(case.opcode, [0xe8 | 0xe9, ..] | [0x0f, 0x80..=0x8f, ..])
    },
    "66 changes the size of a near branch's displacement outside 64-bit mode (Intel SDM volume 2, \
     Jcc, CALL and JMP, rel16 and rel32); yaxpeax ignores it, iced does not",
)];

/// The reason why this difference is accepted, if it is.
pub fn difference(judge: &str, bytes: &[u8], mode: ExecMode) -> Option<&'static str> {
    let start = bytes.iter().position(|byte| {
        let rex = mode == ExecMode::Bits64 && byte & 0xf0 == 0x40;
        !rex && !matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
    });
    let (prefixes, opcode) = bytes.split_at_checked(start?)?;
    let case = Case { opcode, operand_prefix: prefixes.contains(&0x66), mode };
    TABLE.iter().find(|(name, applies, _)| *name == judge && applies(&case)).map(|(_, _, reason)| *reason)
}
