//! Registers by uwx's numbers (those of 2006), their values, and the places they were saved in.

/// Registers that are neither general, floating-point nor branch registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Special {
    /// Instruction pointer: address of the bundle, slot in the low bits.
    Ip = 0,
    /// Memory stack pointer, also general register 12.
    Sp = 1,
    /// Where general register 32 of the frame lies in the backing store.
    Bsp = 2,
    /// Current frame marker as `ar.pfs` has it, the epilogue counter in bits 52 to 57.
    Cfm = 3,
    /// Return pointer.
    Rp = 4,
    /// Stack pointer of the caller.
    Psp = 5,
    /// Frame marker of the caller.
    Pfs = 6,
    /// The 64 predicates.
    Preds = 7,
    /// NaT bits of the general registers that the frame has spilled.
    PriUnat = 8,
    /// `ar.bspstore`.
    Bspstore = 9,
    /// `ar.rnat`.
    Rnat = 10,
    /// `ar.unat`.
    Unat = 11,
    /// `ar.fpsr`.
    Fpsr = 12,
    /// `ar.lc`.
    Lc = 13,
    /// `ar.pfs` of the initial context.
    ArPfs = 14,
    /// Global pointer of the module the frame's code belongs to.
    Gp = 15,
}

impl Special {
    /// All of them, in the order of their numbers.
    pub const ALL: [Special; 16] = [
        Special::Ip,
        Special::Sp,
        Special::Bsp,
        Special::Cfm,
        Special::Rp,
        Special::Psp,
        Special::Pfs,
        Special::Preds,
        Special::PriUnat,
        Special::Bspstore,
        Special::Rnat,
        Special::Unat,
        Special::Fpsr,
        Special::Lc,
        Special::ArPfs,
        Special::Gp,
    ];
}

/// A register of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Register {
    /// One of the special ones.
    Special(Special),
    /// General register 0 to 127.
    General(u8),
    /// Floating-point register 0 to 127.
    Float(u8),
    /// Branch register 0 to 7.
    Branch(u8),
}

impl Register {
    /// The register of a number; None if there is none.
    pub fn from_code(code: u64) -> Option<Register> {
        let low = u8::try_from(code & 0xff).ok()?;
        match code >> 8 {
            0 => Special::ALL.get(usize::from(low)).copied().map(Register::Special),
            1 if low < 128 => Some(Register::General(low)),
            2 if low < 128 => Some(Register::Float(low)),
            3 if low < 8 => Some(Register::Branch(low)),
            _ => None,
        }
    }

    /// The number.
    pub fn code(self) -> u64 {
        match self {
            Register::Special(special) => special as u64,
            Register::General(number) => 0x100 | u64::from(number),
            Register::Float(number) => 0x200 | u64::from(number),
            Register::Branch(number) => 0x300 | u64::from(number),
        }
    }
}

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// All but floating-point registers.
    Word(u64),
    /// A floating-point register as it is spilled: significand; sign in bit 17 over the exponent.
    Float([u64; 2]),
}

/// Where the value of a frame's register lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// Nowhere: it is computed or constant.
    Nowhere,
    /// In a register of the initial context.
    Register(Register),
    /// On the memory stack, at this address.
    MemoryStack(u64),
    /// On the register stack's backing store, at this address.
    RegisterStack(u64),
}

impl Location {
    /// uwx's word for it (`UWX_DISP_…`): a code in the low three bits. Addresses lose theirs, which are zero.
    pub fn disposition(self) -> u64 {
        match self {
            Location::Nowhere => 0,
            Location::Register(register) => register.code() << 4 | 4,
            Location::MemoryStack(address) => address & !7 | 5,
            Location::RegisterStack(address) => address & !7 | 6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_registers() {
        for code in 0..0x1000 {
            if let Some(register) = Register::from_code(code) {
                assert_eq!(register.code(), code);
            }
        }
        assert_eq!(Register::from_code(14), Some(Register::Special(Special::ArPfs)));
        assert_eq!(Register::from_code(16), None);
        assert_eq!(Register::from_code(0x17f), Some(Register::General(127)));
        assert_eq!(Register::from_code(0x180), None);
        assert_eq!(Register::from_code(0x202), Some(Register::Float(2)));
        assert_eq!(Register::from_code(0x307), Some(Register::Branch(7)));
        assert_eq!(Register::from_code(0x308), None);
        assert_eq!(Register::from_code(0x400), None);
        assert_eq!(Register::from_code(u64::MAX), None);
    }

    #[test]
    fn dispositions() {
        assert_eq!(Location::Nowhere.disposition(), 0);
        assert_eq!(Location::Register(Register::General(4)).disposition(), 0x1044);
        assert_eq!(Location::MemoryStack(0x1000).disposition(), 0x1005);
        assert_eq!(Location::RegisterStack(0x1008).disposition(), 0x100e);
    }
}
