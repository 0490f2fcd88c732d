//! What the engine asks of the owner of the memory, the registers and the modules of what is unwound.

use super::status::Failure;

/// What a copy-in reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Request {
    /// Unwind tables and descriptors, as the bytes lie in the target; 4 or 8 of them, aligned.
    UnwindInformation = 1,
    /// A word of the memory stack, little-endian on every target; 8 bytes, aligned.
    MemoryStack = 2,
    /// A word of the register stack's backing store, little-endian; 8 bytes, aligned.
    RegisterStack = 3,
    /// A register of the initial context by its number, little-endian; 8 bytes, 16 for floating-point registers.
    Register = 4,
}

/// What a look-up is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Question {
    /// Where the unwind information of an address is.
    Unwind = 1,
    /// Symbols at an address.
    Symbols = 3,
    /// The module at an address.
    Module = 4,
}

/// uwx's request that frees an answer.
pub const FREE: i32 = 2;

/// How a look-up was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// There is nothing at the address.
    NotFound,
    /// By an unwind table.
    Table,
    /// By a description of the function.
    Function,
    /// By names.
    Symbols,
    /// Ask again with another address.
    Remap,
    /// By an info block.
    Information,
    /// The look-up failed, or gave a number that means nothing.
    Failed,
}

impl Answer {
    /// The answer of a number (`UWX_LKUP_…`).
    pub fn from_code(code: i64) -> Answer {
        match code {
            0 => Answer::NotFound,
            2 => Answer::Table,
            3 => Answer::Function,
            4 => Answer::Symbols,
            5 => Answer::Remap,
            6 => Answer::Information,
            _ => Answer::Failed,
        }
    }

    /// Whether the answer is freed when it was read.
    pub fn is_freed(self) -> bool {
        matches!(self, Answer::Table | Answer::Function | Answer::Symbols | Answer::Information)
    }
}

/// The version of look-up vectors that the engine speaks.
pub const VERSION: u64 = 3;

/// Keys of look-up vectors (`UWX_KEY_…`). What a number means depends on the answer it stands in.
pub mod key {
    /// Ends a vector.
    pub const END: u64 = 0;
    /// Base of the table's offsets; the text segment's address.
    pub const TBASE: u64 = 1;
    /// Predicates, in a question.
    pub const PREDS: u64 = 1;
    /// Size of a frame; never understood by uwx.
    pub const FSIZE: u64 = 1;
    /// Flags of an unwind table; bit 63: 32-bit entries.
    pub const UFLAGS: u64 = 2;
    /// The version, in a question.
    pub const VERSION: u64 = 2;
    /// First address of the table.
    pub const USTART: u64 = 3;
    /// Kind of interrupted context.
    pub const CONTEXT: u64 = 3;
    /// First address behind the table.
    pub const UEND: u64 = 4;
    /// The address to ask again with.
    pub const NEWIP: u64 = 5;
    /// Address of an info block.
    pub const UINFO: u64 = 6;
    /// Global pointer.
    pub const GP: u64 = 7;
    /// Name of the module.
    pub const MODULE: u64 = 17;
    /// Name of the function.
    pub const FUNC: u64 = 18;
    /// Address of the function.
    pub const FUNCSTART: u64 = 19;
}

/// What a key of a vector says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    /// A number or address.
    Word(u64),
    /// A name; None where the vector has a null pointer.
    Name(Option<Vec<u8>>),
}

/// A key with what it says.
pub type Pair = (u64, Datum);

/// What can be asked.
///
/// An error that is none of the engine's travels as [`Failure::Foreign`] and comes out of the call that asked.
pub trait Target {
    /// Fills `into` from a place: an address, or a register's number. False if it cannot.
    fn copy_in(&mut self, request: Request, place: u64, into: &mut [u8]) -> Result<bool, Failure>;

    /// Answers a question about an address. `pairs` holds the question's and is replaced by the answer's; the
    /// final zero is no pair.
    fn look_up(&mut self, question: Question, ip: u64, pairs: &mut Vec<Pair>) -> Result<Answer, Failure>;

    /// The engine has read the answer that was given last.
    fn free(&mut self, ip: u64) -> Result<(), Failure>;
}
