//! What the decoder says about an instruction.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Execution mode of the processor: which meaning instruction bytes have. The values are those of
/// libipt's `pt_exec_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum ExecMode {
    /// Not known. Such code decodes with 16-bit operands and without any ModRM displacement or SIB
    /// byte, as libipt does; its lengths cannot be relied on.
    #[default]
    Unknown = 0,
    /// 16-bit code.
    Bits16 = 1,
    /// 32-bit code, compatibility mode included.
    Bits32 = 2,
    /// 64-bit code.
    Bits64 = 3,
}

/// Class of an instruction by the way control leaves it. The values are those of libipt's
/// `pt_insn_class`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum InstructionClass {
    /// Not decoded.
    #[default]
    Unknown = 0,
    /// Anything that simply goes on to the next instruction.
    Other = 1,
    /// A near call, direct or indirect.
    Call = 2,
    /// A near return.
    Return = 3,
    /// A near unconditional jump, direct, indirect or JMPABS.
    Jump = 4,
    /// A conditional jump, LOOP or JCXZ; always direct.
    CondJump = 5,
    /// A far call, a software interrupt, SYSCALL, SYSENTER or VMCALL.
    FarCall = 6,
    /// A far return, IRET, SYSRET, SYSEXIT, VMLAUNCH, VMRESUME, UIRET, ERETS or ERETU.
    FarReturn = 7,
    /// A far jump.
    FarJump = 8,
    /// PTWRITE.
    Ptwrite = 9,
    /// An indirect jump or any far transfer, where a block does not know which. No single decoded
    /// instruction has this class.
    Indirect = 10,
}

/// What events bind to, and what the class leaves open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Detail {
    /// The class says everything.
    #[default]
    None = 0,
    /// A near branch whose target is the next instruction plus the displacement.
    Direct = 1,
    /// A near call or jump through a register or memory.
    Indirect = 2,
    /// JMPABS: its target is in its bytes, but the processor sends a TIP, which is what counts.
    Jmpabs = 3,
    /// MOV to CR3.
    MovCr3 = 4,
    /// VMPTRLD.
    Vmptrld = 5,
    /// VMLAUNCH.
    Vmlaunch = 6,
    /// VMRESUME.
    Vmresume = 7,
    /// PTWRITE.
    Ptwrite = 8,
    /// IRET, IRETD or IRETQ.
    Iret = 9,
    /// SYSRET.
    Sysret = 10,
    /// SYSEXIT.
    Sysexit = 11,
    /// ERETS.
    Erets = 12,
    /// ERETU.
    Eretu = 13,
    /// UIRET.
    Uiret = 14,
    /// INT n, INT3, INT1 or INTO.
    Int = 15,
    /// SYSCALL or SYSENTER.
    Syscall = 16,
    /// VMCALL.
    Vmcall = 17,
    /// A string instruction with a REP prefix: one step, however often it repeats.
    RepString = 18,
}

/// A decoded instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instruction {
    /// Length in bytes, 1 to 15.
    pub size: u8,
    /// How control leaves it.
    pub class: InstructionClass,
    /// What the class leaves open.
    pub detail: Detail,
    /// Sign-extended displacement, relative to the next instruction, where `detail` is `Direct`;
    /// otherwise 0.
    pub displacement: i32,
}

impl Instruction {
    /// True if the next address is not known without a TNT bit or a TIP (facts of the processor:
    /// Intel SDM volume 3, "Change of Flow Instruction tracing").
    #[inline]
    pub fn needs_trace(&self) -> bool {
        match self.class {
            InstructionClass::Unknown | InstructionClass::Other | InstructionClass::Ptwrite => false,
            InstructionClass::Call | InstructionClass::Jump => self.detail != Detail::Direct,
            _ => true,
        }
    }

    /// Target of a direct near branch at `ip`, wrapping at 2^64; `None` for everything else. The
    /// instruction pointer is not cut to 16 or 32 bits in narrower modes, as in libipt.
    #[inline]
    pub fn target(&self, ip: u64) -> Option<u64> {
        (self.detail == Detail::Direct)
            .then(|| ip.wrapping_add(u64::from(self.size)).wrapping_add_signed(i64::from(self.displacement)))
    }
}

/// Why bytes are not an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Undecoded {
    /// The bytes end inside an instruction; more of them could make it whole.
    Truncated,
    /// No bytes behind these could make them an instruction.
    Invalid,
}

impl fmt::Display for Undecoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Undecoded::Truncated => "the bytes end inside an instruction",
            Undecoded::Invalid => "not an instruction",
        })
    }
}

impl std::error::Error for Undecoded {}
