//! What an unwind descriptor says.

use super::place::Saved;

/// A descriptor. Numbers are as encoded: offsets count four bytes, sizes sixteen, times slots of the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptor<'a> {
    /// A prologue of so many slots begins.
    Prologue {
        /// Slots.
        length: u64,
    },
    /// A prologue that saves up to four registers in general registers.
    PrologueGeneral {
        /// 8, 4, 2, 1: rp, pfs, psp, preds.
        mask: u8,
        /// The first general register.
        general: u8,
        /// Slots.
        length: u64,
    },
    /// A body begins.
    Body {
        /// Slots.
        length: u64,
    },
    /// Branch registers are spilled to memory.
    BranchMemory {
        /// Bit 0: branch register 1.
        mask: u8,
    },
    /// Branch registers are saved in general registers.
    BranchGeneral {
        /// Bit 0: branch register 1.
        mask: u8,
        /// The first general register.
        general: u8,
    },
    /// A register is saved in a general register.
    SavedGeneral {
        /// Which.
        saved: Saved,
        /// The general register.
        general: u8,
    },
    /// The return pointer is another branch register than 0.
    ReturnBranch {
        /// The branch register.
        branch: u8,
    },
    /// When spills happen: two bits a slot.
    SpillMask {
        /// The first slot in the highest bits.
        mask: &'a [u8],
    },
    /// Floating-point and general registers are spilled to memory.
    FloatGeneralMemory {
        /// Bit 0: general register 4.
        general: u8,
        /// Bit 0: floating-point register 2, bit 4: 16.
        float: u32,
    },
    /// Floating-point registers are spilled to memory.
    FloatMemory {
        /// Bit 0: floating-point register 2.
        mask: u8,
    },
    /// General registers are spilled to memory.
    GeneralMemory {
        /// Bit 0: general register 4.
        mask: u8,
    },
    /// The stack pointer moves down by a constant.
    FixedFrame {
        /// When.
        time: u64,
        /// Sixteen bytes each.
        size: u64,
    },
    /// Where the spill area begins.
    SpillBase {
        /// Downwards.
        offset: u64,
    },
    /// When a register is saved; for the caller's stack pointer, when the stack pointer moves.
    When {
        /// Which.
        saved: Saved,
        /// When.
        time: u64,
        /// Of the primary unat: to memory rather than to a general register.
        memory: bool,
    },
    /// A register is saved in memory, relative to the caller's stack pointer.
    AtPsp {
        /// Which.
        saved: Saved,
        /// Downwards.
        offset: u64,
    },
    /// A register is saved in memory, relative to the stack pointer.
    AtSp {
        /// Which.
        saved: Saved,
        /// Upwards.
        offset: u64,
    },
    /// General registers are saved in general registers.
    GeneralGeneral {
        /// Bit 0: general register 4.
        mask: u8,
        /// The first that they are saved in.
        general: u8,
    },
    /// The frame was interrupted in a way of this system's.
    Abi {
        /// System.
        abi: u8,
        /// Its kind of context.
        context: u8,
    },
    /// The state at the body's entry has a label from here on.
    LabelState {
        /// The label.
        label: u64,
    },
    /// The state at the body's entry is a labelled one.
    CopyState {
        /// The label.
        label: u64,
    },
    /// The body ends with an epilogue.
    Epilogue {
        /// Slots from where the stack pointer is restored to the end.
        time: u64,
        /// Prologues that are left, less one.
        count: u64,
    },
    /// A register is saved or restored anywhere.
    Spill {
        /// Which.
        saved: Saved,
        /// When.
        time: u64,
        /// Where to.
        to: SpillTo,
        /// The predicate under which it happens.
        predicate: Option<u8>,
    },
}

/// Where a [`Descriptor::Spill`] puts a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpillTo {
    /// Memory, downwards from the caller's stack pointer.
    AtPsp(u64),
    /// Memory, upwards from the stack pointer.
    AtSp(u64),
    /// A general register.
    General(u8),
    /// A branch register.
    Branch(u8),
    /// A floating-point register.
    Float(u8),
    /// Back to where it belongs.
    Itself,
}

/// The encoding of a descriptor, as the runtime architecture calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are all there is to say
pub enum Format {
    R1,
    R2,
    R3,
    P1,
    P2,
    P3,
    P4,
    P5,
    P6,
    P7,
    P8,
    P9,
    P10,
    B1,
    B2,
    B3,
    B4,
    X1,
    X2,
    X3,
    X4,
}

impl Format {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Format::R1 => "R1",
            Format::R2 => "R2",
            Format::R3 => "R3",
            Format::P1 => "P1",
            Format::P2 => "P2",
            Format::P3 => "P3",
            Format::P4 => "P4",
            Format::P5 => "P5",
            Format::P6 => "P6",
            Format::P7 => "P7",
            Format::P8 => "P8",
            Format::P9 => "P9",
            Format::P10 => "P10",
            Format::B1 => "B1",
            Format::B2 => "B2",
            Format::B3 => "B3",
            Format::B4 => "B4",
            Format::X1 => "X1",
            Format::X2 => "X2",
            Format::X3 => "X3",
            Format::X4 => "X4",
        }
    }
}
