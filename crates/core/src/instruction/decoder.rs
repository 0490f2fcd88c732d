//! From bytes to an instruction: prefixes, opcode map, length, class.

use super::class::{Detail, ExecMode, Instruction, InstructionClass, Undecoded};
use super::map::{self, Entry, Immediate};
use super::modrm::{self, AddressSize};

/// The longest instruction in bytes (Intel SDM volume 2, section 2.3.11); longer ones fault.
pub const MAX_SIZE: usize = 15;

/// Length, class and branch displacement of the instruction at the start of `bytes`.
///
/// Looks at no more than 15 bytes. `Truncated` means that `bytes` are the beginning of an
/// instruction and end before it does; `Invalid` that nothing behind them could help.
pub fn decode(bytes: &[u8], mode: ExecMode) -> Result<Instruction, Undecoded> {
    let code = bytes.get(..MAX_SIZE).unwrap_or(bytes);
    let mut walk = Walk { code, at: 0, mode, prefixes: Prefixes::default() };
    let mut opcode = walk.byte(0)?;
    let mut entry = map::ONE_BYTE[usize::from(opcode)];
    loop {
        if entry.is_prefix() {
            walk.prefixes.take(opcode);
        } else if mode == ExecMode::Bits64 && opcode & 0xf0 == 0x40 {
            // A REX prefix that is not the last prefix has no effect: the next one replaces it.
            walk.prefixes.rex = opcode;
        } else {
            break;
        }
        opcode = walk.byte(0)?;
        entry = map::ONE_BYTE[usize::from(opcode)];
    }
    if !entry.is_special() {
        if entry.not_in_64() && mode == ExecMode::Bits64 {
            return Err(Undecoded::Invalid);
        }
        let (size, _) = walk.size(entry)?;
        return Ok(other(size));
    }
    walk.special(opcode, entry)
}

/// An instruction that goes on to the next.
#[inline(always)]
fn other(size: usize) -> Instruction {
    with_class(size, InstructionClass::Other, Detail::None)
}

/// An instruction without displacement.
#[inline(always)]
fn with_class(size: usize, class: InstructionClass, detail: Detail) -> Instruction {
    // The walk has checked that the size is at most 15.
    Instruction { size: size as u8, class, detail, displacement: 0 }
}

/// What the prefixes said.
#[derive(Clone, Copy, Default)]
struct Prefixes {
    /// 66.
    operand: bool,
    /// 67.
    address: bool,
    /// The last of F2 and F3, or 0.
    repeat: u8,
    /// The REX prefix in force, or 0. REX2 and EVEX leave their W bit here as well.
    rex: u8,
}

const REX_W: u8 = 0x08;
const REX_R: u8 = 0x04;

impl Prefixes {
    /// Takes in a legacy prefix. It voids a REX before it.
    #[inline(always)]
    fn take(&mut self, prefix: u8) {
        self.rex = 0;
        match prefix {
            0x66 => self.operand = true,
            0x67 => self.address = true,
            0xf2 | 0xf3 => self.repeat = prefix,
            _ => {}
        }
    }
}

/// The place in an instruction.
struct Walk<'a> {
    /// At most 15 bytes.
    code: &'a [u8],
    /// The next byte to look at.
    at: usize,
    mode: ExecMode,
    prefixes: Prefixes,
}

impl Walk<'_> {
    /// The next byte. `behind` is the least number of bytes the instruction has after it.
    #[inline(always)]
    fn byte(&mut self, behind: usize) -> Result<u8, Undecoded> {
        match self.code.get(self.at) {
            Some(&byte) => {
                self.at += 1;
                Ok(byte)
            }
            None => Err(self.short(self.at + 1 + behind)),
        }
    }

    /// Why an instruction of at least `size` bytes does not fit.
    #[cold]
    fn short(&self, size: usize) -> Undecoded {
        if size > MAX_SIZE {
            Undecoded::Invalid
        } else {
            Undecoded::Truncated
        }
    }

    /// Size of the instruction whose opcode was just passed, and its ModRM byte (0 if none).
    #[inline(always)]
    fn size(&mut self, entry: Entry) -> Result<(usize, u8), Undecoded> {
        let immediate = entry.immediate();
        let mut size = self.at;
        let mut modrm = 0;
        if entry.has_modrm() {
            // Group 3 has its immediate only with some ModRM bytes, so none is the least.
            modrm = self.byte(match immediate {
                Immediate::TestByte | Immediate::TestOperand => 0,
                plain => self.immediate_size(plain, 0),
            })?;
            let immediate = self.immediate_size(immediate, modrm);
            size = self.at + immediate;
            if !entry.register_only() {
                match modrm::tail(modrm, self.code.get(self.at).copied(), self.address_size()) {
                    Ok(tail) => size += tail,
                    Err(least) => return Err(self.short(size + least)),
                }
            }
        } else if immediate != Immediate::None {
            size += self.immediate_size(immediate, 0);
        }
        if size > self.code.len() {
            return Err(self.short(size));
        }
        Ok((size, modrm))
    }

    #[inline(always)]
    fn immediate_size(&self, immediate: Immediate, modrm: u8) -> usize {
        match immediate {
            Immediate::None => 0,
            Immediate::Byte | Immediate::Rel8 => 1,
            Immediate::Word => 2,
            Immediate::WordByte => 3,
            Immediate::Dword => 4,
            Immediate::Operand => self.operand_size().min(4),
            Immediate::Full => self.operand_size(),
            Immediate::Far => self.operand_size().min(4) + 2,
            // Near branches ignore 66 in 64-bit mode (Intel; AMD differs, but has no Intel PT).
            Immediate::Rel if self.mode == ExecMode::Bits64 => 4,
            Immediate::Rel => self.operand_size(),
            Immediate::Address => match self.address_size() {
                AddressSize::Unknown | AddressSize::Bits16 => 2,
                AddressSize::Bits32 => 4,
                AddressSize::Bits64 => 8,
            },
            Immediate::TestByte => usize::from(modrm & 0x30 == 0),
            Immediate::TestOperand if modrm & 0x30 == 0 => self.operand_size().min(4),
            Immediate::TestOperand => 0,
        }
    }

    /// Operand size in bytes: 2, 4 or 8.
    #[inline(always)]
    fn operand_size(&self) -> usize {
        let Prefixes { operand, rex, .. } = self.prefixes;
        match self.mode {
            ExecMode::Bits64 if rex & REX_W != 0 => 8,
            ExecMode::Bits64 | ExecMode::Bits32 => 4 >> usize::from(operand),
            ExecMode::Bits16 | ExecMode::Unknown => 2 << usize::from(operand),
        }
    }

    #[inline(always)]
    fn address_size(&self) -> AddressSize {
        match (self.mode, self.prefixes.address) {
            (ExecMode::Bits64, false) => AddressSize::Bits64,
            (ExecMode::Bits64, true) | (ExecMode::Bits32, false) | (ExecMode::Bits16, true) => {
                AddressSize::Bits32
            }
            (ExecMode::Bits32, true) | (ExecMode::Bits16, false) => AddressSize::Bits16,
            (ExecMode::Unknown, _) => AddressSize::Unknown,
        }
    }

    /// The rest of an instruction whose one-byte opcode is a branch or opens another map.
    fn special(&mut self, opcode: u8, entry: Entry) -> Result<Instruction, Undecoded> {
        let long = self.mode == ExecMode::Bits64;
        match opcode {
            0x0f => {
                let opcode = self.byte(0)?;
                return self.two_byte(opcode);
            }
            0xc5 if self.is_vector(long)? => {
                self.byte(1)?;
                let opcode = self.byte(0)?;
                return self.vex(1, opcode);
            }
            0xc4 if self.is_vector(long)? => {
                let map = self.byte(2)? & 0x1f;
                let least = if map == 1 { 0 } else { map::least(map).ok_or(Undecoded::Invalid)? };
                self.byte(1 + least)?;
                let opcode = self.byte(least)?;
                return self.vex(map, opcode);
            }
            0x62 if self.is_vector(long)? => return self.evex(),
            0x8f if self.peek(0)? & 0x1f >= 8 => return self.xop(),
            0xd5 if long => return self.rex2(),
            _ => {}
        }
        self.one_byte(opcode, entry, false)
    }

    /// The next byte without passing it. `behind` is the least number of bytes after it.
    #[inline(always)]
    fn peek(&self, behind: usize) -> Result<u8, Undecoded> {
        self.code.get(self.at).copied().ok_or_else(|| self.short(self.at + 1 + behind))
    }

    /// Outside 64-bit mode a vector prefix is told from LES, LDS and BOUND by a `mod` of 3, which
    /// those do not have.
    #[inline(always)]
    fn is_vector(&self, long: bool) -> Result<bool, Undecoded> {
        Ok(long || self.peek(0)? >= 0xc0)
    }

    /// A legacy instruction of the one-byte map.
    fn one_byte(&mut self, opcode: u8, entry: Entry, rex2: bool) -> Result<Instruction, Undecoded> {
        use InstructionClass as Class;
        if entry.not_in_64() && self.mode == ExecMode::Bits64 {
            return Err(Undecoded::Invalid);
        }
        let (size, modrm) = self.size(entry)?;
        Ok(match opcode {
            // REX2 leaves the relative branches undefined.
            0x70..=0x7f | 0xe0..=0xe3 | 0xe8 | 0xe9 | 0xeb if rex2 => other(size),
            0x70..=0x7f | 0xe0..=0xe3 => self.direct(size, Class::CondJump),
            0xe8 => self.direct(size, Class::Call),
            0xe9 | 0xeb => self.direct(size, Class::Jump),
            0xc2 | 0xc3 => with_class(size, Class::Return, Detail::None),
            0xff => match modrm >> 3 & 7 {
                2 => with_class(size, Class::Call, Detail::Indirect),
                3 => with_class(size, Class::FarCall, Detail::None),
                4 => with_class(size, Class::Jump, Detail::Indirect),
                5 => with_class(size, Class::FarJump, Detail::None),
                _ => other(size),
            },
            0x6c..=0x6f | 0xa4..=0xa7 | 0xaa..=0xaf if self.prefixes.repeat != 0 => {
                with_class(size, Class::Other, Detail::RepString)
            }
            0xcc | 0xcd | 0xce | 0xf1 => with_class(size, Class::FarCall, Detail::Int),
            0x9a => with_class(size, Class::FarCall, Detail::None),
            0xca | 0xcb => with_class(size, Class::FarReturn, Detail::None),
            0xcf => with_class(size, Class::FarReturn, Detail::Iret),
            0xea => with_class(size, Class::FarJump, Detail::None),
            _ => other(size),
        })
    }

    /// A relative branch that ends with its displacement at `size`.
    #[inline(always)]
    fn direct(&self, size: usize, class: InstructionClass) -> Instruction {
        let displacement = match self.code.get(self.at..size) {
            Some(&[a]) => i32::from(a as i8),
            Some(&[a, b]) => i32::from(i16::from_le_bytes([a, b])),
            Some(&[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]),
            _ => 0,
        };
        Instruction { size: size as u8, class, detail: Detail::Direct, displacement }
    }

    /// An instruction of the 0F map.
    fn two_byte(&mut self, opcode: u8) -> Result<Instruction, Undecoded> {
        let entry = map::TWO_BYTE[usize::from(opcode)];
        if !entry.is_special() {
            let (size, _) = self.size(entry)?;
            return Ok(other(size));
        }
        match opcode {
            0x38 => {
                self.byte(1)?;
                let (size, _) = self.size(Entry::OPERAND)?;
                return Ok(other(size));
            }
            0x3a => {
                self.byte(2)?;
                let (size, _) = self.size(Entry::with(Immediate::Byte))?;
                return Ok(other(size));
            }
            // SSE4A: EXTRQ and INSERTQ with two immediate bytes.
            0x78 if self.prefixes.operand || self.prefixes.repeat == 0xf2 => {
                let (size, _) = self.size(Entry::with(Immediate::Word))?;
                return Ok(other(size));
            }
            _ => {}
        }
        self.two_byte_class(opcode, entry, false)
    }

    /// An instruction of the 0F map that may be a branch or be bound to.
    fn two_byte_class(&mut self, opcode: u8, entry: Entry, rex2: bool) -> Result<Instruction, Undecoded> {
        use InstructionClass as Class;
        let Prefixes { operand, repeat, rex, .. } = self.prefixes;
        let (size, modrm) = self.size(entry)?;
        let (class, detail) = match (opcode, modrm) {
            (0x34 | 0x35 | 0x80..=0x8f, _) if rex2 => (Class::Other, Detail::None),
            (0x80..=0x8f, _) => return Ok(self.direct(size, Class::CondJump)),
            (0x05 | 0x34, _) => (Class::FarCall, Detail::Syscall),
            (0x07, _) => (Class::FarReturn, Detail::Sysret),
            (0x35, _) => (Class::FarReturn, Detail::Sysexit),
            (0x01, 0xc1) => (Class::FarCall, Detail::Vmcall),
            (0x01, 0xc2) => (Class::FarReturn, Detail::Vmlaunch),
            (0x01, 0xc3) => (Class::FarReturn, Detail::Vmresume),
            (0x01, 0xca) if repeat == 0xf2 => (Class::FarReturn, Detail::Erets),
            (0x01, 0xca) if repeat == 0xf3 => (Class::FarReturn, Detail::Eretu),
            (0x01, 0xec) => (Class::FarReturn, Detail::Uiret),
            // CR11 (REX.R) does not exist.
            (0x22, _) if modrm & 0x38 == 0x18 && rex & REX_R == 0 => (Class::Other, Detail::MovCr3),
            (0xae, _) if modrm & 0x38 == 0x20 && repeat == 0xf3 && !operand => {
                (Class::Ptwrite, Detail::Ptwrite)
            }
            // With 66 it is VMCLEAR, with F3 VMXON, with a register RDRAND.
            (0xc7, 0x00..=0xbf) if modrm & 0x38 == 0x30 && repeat != 0xf3 && !operand => {
                (Class::Other, Detail::Vmptrld)
            }
            _ => (Class::Other, Detail::None),
        };
        Ok(with_class(size, class, detail))
    }

    /// Behind REX2 (Intel APX specification, "REX2 prefix"): its second byte is M0 R4 X4 B4 W R3 X3
    /// B3, where M0 chooses between the one-byte and the 0F map.
    fn rex2(&mut self) -> Result<Instruction, Undecoded> {
        let payload = self.byte(1)?;
        let opcode = self.byte(0)?;
        let Prefixes { operand, address, .. } = self.prefixes;
        let wide = payload & REX_W;
        // Either of the two bits makes the register another than the first eight.
        let high = if payload & 0x44 != 0 { REX_R } else { 0 };
        self.prefixes.rex = 0x40 | wide | high;
        if payload & 0x80 != 0 {
            // It cannot lead to the three-byte maps.
            if matches!(opcode, 0x38 | 0x3a) {
                return Err(Undecoded::Invalid);
            }
            return self.two_byte_class(opcode, map::TWO_BYTE[usize::from(opcode)], true);
        }
        if opcode == 0xa1 && wide == 0 && !operand && !address {
            let (size, _) = self.size(map::ONE_BYTE[usize::from(opcode)])?;
            return Ok(with_class(size, InstructionClass::Jump, Detail::Jmpabs));
        }
        let entry = map::ONE_BYTE[usize::from(opcode)];
        // REX2 is the last prefix, and other maps are reached through its own bit or not at all.
        if entry.is_prefix() || opcode & 0xf0 == 0x40 || matches!(opcode, 0x0f | 0x62 | 0xc4 | 0xc5 | 0xd5) {
            return Err(Undecoded::Invalid);
        }
        self.one_byte(opcode, entry, true)
    }

    /// Behind VEX.
    fn vex(&mut self, map: u8, opcode: u8) -> Result<Instruction, Undecoded> {
        let entry = match (map, opcode) {
            (1, 0x77) => map::VZERO,
            _ => map::vector(map, opcode).ok_or(Undecoded::Invalid)?,
        };
        let (size, _) = self.size(entry)?;
        Ok(other(size))
    }

    /// Behind XOP: two more bytes of prefix, then the opcode.
    fn xop(&mut self) -> Result<Instruction, Undecoded> {
        let map = self.byte(3)? & 0x1f;
        let entry = map::xop(map).ok_or(Undecoded::Invalid)?;
        let least = 1 + self.immediate_size(entry.immediate(), 0);
        self.byte(1 + least)?;
        self.byte(least)?;
        let (size, _) = self.size(entry)?;
        Ok(other(size))
    }

    /// Behind EVEX: three more bytes of prefix, then the opcode. Its displacement byte is scaled,
    /// but it is still one byte.
    fn evex(&mut self) -> Result<Instruction, Undecoded> {
        let map = self.byte(4)? & 7;
        let least = if map == 4 { 1 } else { map::least(map).ok_or(Undecoded::Invalid)? };
        let second = self.byte(2 + least)?;
        self.byte(1 + least)?;
        let opcode = self.byte(least)?;
        let entry = if map == 4 {
            // The size of an immediate depends on W and on the 66 that the `pp` field stands for.
            self.prefixes.rex = if second & 0x80 != 0 { REX_W } else { 0 };
            self.prefixes.operand = second & 3 == 1;
            map::promoted(opcode)
        } else {
            map::vector(map, opcode).ok_or(Undecoded::Invalid)?
        };
        let (size, _) = self.size(entry)?;
        Ok(other(size))
    }
}
