//! The two machines: their registers by DWARF's numbers, and which of them a called function gives back.

/// A kind of processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86-64 (System V ABI, AMD64 supplement).
    X86_64,
    /// AArch64, little-endian (DWARF for the Arm 64-bit Architecture, "DWARF register names").
    Aarch64,
}

/// How many registers a machine has at most.
pub const COUNT: usize = 33;

const X86_64: [&str; 17] = [
    "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15", "rip",
];

const AARCH64: [&str; 33] = [
    "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
    "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30",
    "sp", "pc",
];

impl Machine {
    /// The machine of an ELF file's `e_machine`.
    pub fn of_elf(number: u16) -> Option<Machine> {
        match number {
            62 => Some(Machine::X86_64),
            183 => Some(Machine::Aarch64),
            _ => None,
        }
    }

    /// The names of its registers, by DWARF's numbers.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Machine::X86_64 => &X86_64,
            Machine::Aarch64 => &AARCH64,
        }
    }

    /// The register that holds the address of the next instruction.
    pub fn pc(self) -> usize {
        match self {
            Machine::X86_64 => 16,
            Machine::Aarch64 => 32,
        }
    }

    /// The stack pointer.
    pub fn sp(self) -> usize {
        match self {
            Machine::X86_64 => 7,
            Machine::Aarch64 => 31,
        }
    }

    /// The frame pointer, where code uses one.
    pub fn fp(self) -> usize {
        match self {
            Machine::X86_64 => 6,
            Machine::Aarch64 => 29,
        }
    }

    /// Whether a function gives its caller this register back as it was.
    pub fn is_preserved(self, register: usize) -> bool {
        match self {
            Machine::X86_64 => matches!(register, 3 | 6 | 12..=15),
            Machine::Aarch64 => matches!(register, 19..=29),
        }
    }

    /// Whether code can lie at an address.
    pub fn is_code_address(self, address: u64) -> bool {
        match self {
            // Canonical with five-level paging (SDM volume 1, 3.3.7.1).
            Machine::X86_64 => matches!((address as i64) >> 56, 0 | -1),
            Machine::Aarch64 => address.is_multiple_of(4),
        }
    }
}

/// What is known of the registers of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    values: [u64; COUNT],
    known: u64,
}

impl Default for Registers {
    fn default() -> Self {
        Registers { values: [0; COUNT], known: 0 }
    }
}

impl Registers {
    /// The value of a register, None if it is not known or there is none.
    pub fn get(&self, register: usize) -> Option<u64> {
        let value = self.values.get(register).copied()?;
        (self.known >> register & 1 == 1).then_some(value)
    }

    /// Sets a register, or forgets it. Does nothing for numbers that no register has.
    pub fn set(&mut self, register: usize, value: Option<u64>) {
        let Some(place) = self.values.get_mut(register) else { return };
        *place = value.unwrap_or(0);
        self.known = self.known & !(1 << register) | u64::from(value.is_some()) << register;
    }

    /// The registers that are known: number and value.
    pub fn known(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        (0..COUNT).filter_map(|register| self.get(register).map(|value| (register, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_known_or_not() {
        let mut registers = Registers::default();
        registers.set(7, Some(0x1000));
        registers.set(16, Some(0));
        registers.set(COUNT, Some(1));
        assert_eq!(registers.known().collect::<Vec<_>>(), [(7, 0x1000), (16, 0)]);
        registers.set(7, None);
        assert_eq!((registers.get(7), registers.get(16), registers.get(99)), (None, Some(0), None));
    }

    #[test]
    fn numbers_and_names_agree() {
        for (machine, pc, sp, fp) in
            [(Machine::X86_64, "rip", "rsp", "rbp"), (Machine::Aarch64, "pc", "sp", "x29")]
        {
            let name = |number: usize| machine.names().get(number).copied();
            assert_eq!(
                (name(machine.pc()), name(machine.sp()), name(machine.fp())),
                (Some(pc), Some(sp), Some(fp))
            );
        }
    }

    #[test]
    fn code_lies_at_canonical_addresses() {
        assert!(Machine::X86_64.is_code_address(0x00ff_ffff_ffff_ffff));
        assert!(!Machine::X86_64.is_code_address(0x0100_0000_0000_0000));
        assert!(Machine::X86_64.is_code_address(u64::MAX));
        assert!(!Machine::Aarch64.is_code_address(0x1002));
    }
}
