//! The opcode maps: for every opcode whether a ModRM byte follows and which immediate.
//!
//! Sources: Intel SDM volume 2, appendix A, tables; for 3DNow! and SSE4A the AMD APM
//! volume 3, appendix A.

/// What an opcode brings after it. One number, so that a table row is two bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(u16);

/// The immediate of an opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Immediate {
    None = 0,
    /// One byte.
    Byte = 1,
    /// Two bytes.
    Word = 2,
    /// Two bytes and one: ENTER.
    WordByte = 3,
    /// Two or four bytes by operand size.
    Operand = 4,
    /// Two, four or eight bytes by operand size: MOV to a register.
    Full = 5,
    /// An address: MOV between the accumulator and memory.
    Address = 6,
    /// A far pointer: offset by operand size, and a selector.
    Far = 7,
    /// One byte of branch displacement.
    Rel8 = 8,
    /// A branch displacement by operand size.
    Rel = 9,
    /// As `Byte`, but only for TEST (/0 and /1) of group 3.
    TestByte = 10,
    /// As `Operand`, but only for TEST (/0 and /1) of group 3.
    TestOperand = 11,
    /// Four bytes.
    Dword = 12,
}

impl Immediate {
    const ALL: [Immediate; 16] = {
        use Immediate::*;
        [
            None,
            Byte,
            Word,
            WordByte,
            Operand,
            Full,
            Address,
            Far,
            Rel8,
            Rel,
            TestByte,
            TestOperand,
            Dword,
            None,
            None,
            None,
        ]
    };
}

const IMMEDIATE: u16 = 0x0f;
const MODRM: u16 = 0x10;
const SPECIAL: u16 = 0x20;
const PREFIX: u16 = 0x40;
const NOT_IN_64: u16 = 0x80;
const REGISTER: u16 = 0x100;

impl Entry {
    const PLAIN: Entry = Entry(0);
    /// A ModRM byte and nothing else, which is what most opcodes have.
    pub(super) const OPERAND: Entry = Entry(MODRM);

    /// A ModRM byte and an immediate.
    pub(super) const fn with(immediate: Immediate) -> Entry {
        Entry(MODRM | immediate as u16)
    }

    /// The immediate.
    #[inline(always)]
    pub(super) fn immediate(self) -> Immediate {
        Immediate::ALL[usize::from(self.0 & IMMEDIATE)]
    }

    /// A ModRM byte follows.
    #[inline(always)]
    pub(super) fn has_modrm(self) -> bool {
        self.0 & MODRM != 0
    }

    /// The ModRM byte names registers, independent of its `mod` field (MOV to and from CR and DR).
    #[inline(always)]
    pub(super) fn register_only(self) -> bool {
        self.0 & REGISTER != 0
    }

    /// The class may be another than `Other`, or the opcode opens another map.
    #[inline(always)]
    pub(super) fn is_special(self) -> bool {
        self.0 & SPECIAL != 0
    }

    /// Not an opcode but a prefix; the REX prefixes are that only in 64-bit mode.
    #[inline(always)]
    pub(super) fn is_prefix(self) -> bool {
        self.0 & PREFIX != 0
    }

    /// Not an opcode in 64-bit mode.
    #[inline(always)]
    pub(super) fn not_in_64(self) -> bool {
        self.0 & NOT_IN_64 != 0
    }
}

/// Sets `flags` on all of `first..=last`.
const fn mark(mut table: [Entry; 256], first: usize, last: usize, flags: u16) -> [Entry; 256] {
    let mut opcode = first;
    while opcode <= last {
        table[opcode].0 |= flags;
        opcode += 1;
    }
    table
}

/// Sets `flags` on every opcode in `opcodes`.
const fn mark_each(mut table: [Entry; 256], opcodes: &[u8], flags: u16) -> [Entry; 256] {
    let mut index = 0;
    while index < opcodes.len() {
        table[opcodes[index] as usize].0 |= flags;
        index += 1;
    }
    table
}

/// The one-byte opcodes (tables A-2).
pub(super) static ONE_BYTE: [Entry; 256] = {
    let mut table = [Entry::PLAIN; 256];
    // ADD, OR, ADC, SBB, AND, SUB, XOR, CMP: four forms with ModRM, two with an immediate.
    let mut row = 0;
    while row < 0x40 {
        table = mark(table, row, row + 3, MODRM);
        table = mark(table, row + 4, row + 4, Immediate::Byte as u16);
        table = mark(table, row + 5, row + 5, Immediate::Operand as u16);
        row += 8;
    }
    // Prefixes: segments, operand and address size, LOCK, REPNE, REP; REX where the mode is 64-bit.
    table = mark_each(table, &[0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3], PREFIX);
    // PUSH and POP of segments, decimal adjustment, PUSHA, POPA, AAM, far CALL and JMP, INTO.
    table = mark_each(
        table,
        &[
            0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x60, 0x61, 0x82, 0x9a, 0xce,
            0xd4, 0xea,
        ],
        NOT_IN_64,
    );
    // 0F, EVEX or BOUND, VEX or LES and LDS, XOP or POP, REX2 or AAD: other maps begin here.
    table = mark_each(table, &[0x0f, 0x62, 0xc4, 0xc5, 0x8f, 0xd5], SPECIAL);
    table = mark_each(table, &[0x62, 0xc4, 0xc5, 0x8f], MODRM);
    table = mark_each(table, &[0xd4, 0xd5], Immediate::Byte as u16);
    table = mark(table, 0x63, 0x63, MODRM);
    table = mark(table, 0x68, 0x68, Immediate::Operand as u16);
    table = mark(table, 0x69, 0x69, MODRM | Immediate::Operand as u16);
    table = mark(table, 0x6a, 0x6a, Immediate::Byte as u16);
    table = mark(table, 0x6b, 0x6b, MODRM | Immediate::Byte as u16);
    table = mark(table, 0x6c, 0x6f, SPECIAL);
    table = mark(table, 0x70, 0x7f, SPECIAL | Immediate::Rel8 as u16);
    table = mark(table, 0x80, 0x8e, MODRM);
    table = mark_each(table, &[0x80, 0x82, 0x83], Immediate::Byte as u16);
    table = mark(table, 0x81, 0x81, Immediate::Operand as u16);
    table = mark(table, 0x9a, 0x9a, SPECIAL | Immediate::Far as u16);
    table = mark(table, 0xa0, 0xa3, Immediate::Address as u16);
    table = mark(table, 0xa1, 0xa1, SPECIAL);
    table = mark(table, 0xa4, 0xa7, SPECIAL);
    table = mark(table, 0xa8, 0xa8, Immediate::Byte as u16);
    table = mark(table, 0xa9, 0xa9, Immediate::Operand as u16);
    table = mark(table, 0xaa, 0xaf, SPECIAL);
    table = mark(table, 0xb0, 0xb7, Immediate::Byte as u16);
    table = mark(table, 0xb8, 0xbf, Immediate::Full as u16);
    table = mark(table, 0xc0, 0xc1, MODRM | Immediate::Byte as u16);
    table = mark(table, 0xc2, 0xc2, SPECIAL | Immediate::Word as u16);
    table = mark(table, 0xc3, 0xc3, SPECIAL);
    table = mark(table, 0xc6, 0xc6, MODRM | Immediate::Byte as u16);
    table = mark(table, 0xc7, 0xc7, MODRM | Immediate::Operand as u16);
    table = mark(table, 0xc8, 0xc8, Immediate::WordByte as u16);
    table = mark(table, 0xca, 0xca, SPECIAL | Immediate::Word as u16);
    table = mark(table, 0xcd, 0xcd, SPECIAL | Immediate::Byte as u16);
    table = mark_each(table, &[0xcb, 0xcc, 0xce, 0xcf, 0xf1], SPECIAL);
    table = mark(table, 0xd0, 0xd3, MODRM);
    table = mark(table, 0xd8, 0xdf, MODRM);
    table = mark(table, 0xe0, 0xe3, SPECIAL | Immediate::Rel8 as u16);
    table = mark(table, 0xe4, 0xe7, Immediate::Byte as u16);
    table = mark(table, 0xe8, 0xe9, SPECIAL | Immediate::Rel as u16);
    table = mark(table, 0xea, 0xea, SPECIAL | Immediate::Far as u16);
    table = mark(table, 0xeb, 0xeb, SPECIAL | Immediate::Rel8 as u16);
    table = mark(table, 0xf6, 0xf6, MODRM | Immediate::TestByte as u16);
    table = mark(table, 0xf7, 0xf7, MODRM | Immediate::TestOperand as u16);
    table = mark(table, 0xfe, 0xff, MODRM);
    mark(table, 0xff, 0xff, SPECIAL)
};

/// The opcodes behind 0F (tables A-3). Undefined ones count as the reserved NOPs do: with ModRM.
pub(super) static TWO_BYTE: [Entry; 256] = {
    let mut table = [Entry::OPERAND; 256];
    // Without ModRM.
    let alone: &[u8] = &[
        0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0e, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36,
        0x37, 0x39, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x77, 0xa0, 0xa1, 0xa2, 0xa8, 0xa9, 0xaa, 0xc8, 0xc9, 0xca,
        0xcb, 0xcc, 0xcd, 0xce, 0xcf,
    ];
    let mut index = 0;
    while index < alone.len() {
        table[alone[index] as usize] = Entry::PLAIN;
        index += 1;
    }
    let mut opcode = 0x80;
    while opcode < 0x90 {
        table[opcode] = Entry(SPECIAL | Immediate::Rel as u16);
        opcode += 1;
    }
    // 3DNow! keeps its opcode behind the operand, where others have an immediate.
    table = mark_each(
        table,
        &[0x0f, 0x70, 0x71, 0x72, 0x73, 0xa4, 0xac, 0xba, 0xc2, 0xc4, 0xc5, 0xc6],
        Immediate::Byte as u16,
    );
    table = mark(table, 0x20, 0x27, REGISTER);
    mark_each(table, &[0x01, 0x05, 0x07, 0x22, 0x34, 0x35, 0x38, 0x3a, 0x78, 0xae, 0xc7], SPECIAL)
};

/// What follows an opcode with a VEX or EVEX prefix, or `None` for a map that does not exist.
/// Maps 1 to 3 are those of 0F, 0F 38 and 0F 3A; 5 and 6 came with AVX512-FP16, 7 with USER_MSR.
pub(super) fn vector(map: u8, opcode: u8) -> Option<Entry> {
    match map {
        1 => Some(match opcode {
            0x70..=0x73 | 0xc2 | 0xc4 | 0xc5 | 0xc6 => Entry::with(Immediate::Byte),
            _ => Entry::OPERAND,
        }),
        2 | 5 | 6 => Some(Entry::OPERAND),
        3 => Some(Entry::with(Immediate::Byte)),
        7 => Some(Entry::with(Immediate::Dword)),
        _ => None,
    }
}

/// The least number of bytes behind an opcode of a map that `vector` knows, VZEROUPPER aside.
pub(super) fn least(map: u8) -> Option<usize> {
    match map {
        1 | 2 | 5 | 6 => Some(1),
        3 => Some(2),
        7 => Some(5),
        _ => None,
    }
}

/// VZEROUPPER and VZEROALL, the one VEX opcode without ModRM.
pub(super) const VZERO: Entry = Entry::PLAIN;

/// What follows an opcode of EVEX map 4: the legacy instructions that APX promoted (Intel APX
/// specification, "EVEX map 4").
pub(super) fn promoted(opcode: u8) -> Entry {
    match opcode {
        0x24 | 0x2c | 0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xd4 => Entry::with(Immediate::Byte),
        0x69 | 0x81 => Entry::with(Immediate::Operand),
        0xf6 => Entry::with(Immediate::TestByte),
        0xf7 => Entry::with(Immediate::TestOperand),
        _ => Entry::OPERAND,
    }
}

/// What follows an opcode with an XOP prefix, or `None` for a map that does not exist.
pub(super) fn xop(map: u8) -> Option<Entry> {
    match map {
        8 => Some(Entry::with(Immediate::Byte)),
        9 => Some(Entry::OPERAND),
        10 => Some(Entry::with(Immediate::Dword)),
        _ => None,
    }
}
