//! What can be wrong, with the numbers of uwx.

use std::any::Any;
use std::fmt;

/// uwx's errors (`UWX_ERR_…`), by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Status {
    /// No environment was given.
    NoEnvironment = -1,
    /// The look-up knows no module at this address.
    IpNotFound = -2,
    /// The look-up failed, or answered what the question does not allow.
    LookUp = -3,
    /// An answer has a key too many or too few.
    BadKey = -4,
    /// The unwind table cannot be read.
    CopyInTable = -5,
    /// Unwind descriptors cannot be read.
    CopyInInformation = -6,
    /// The memory stack cannot be read.
    CopyInMemoryStack = -7,
    /// The register stack cannot be read.
    CopyInRegisterStack = -8,
    /// A register of the initial context cannot be read.
    CopyInRegister = -9,
    /// The unwind table has no entry for the address. A step takes the rule for leaf functions instead.
    NoTableEntry = -10,
    /// There are no descriptors for the address. A step takes the rule for leaf functions instead.
    NoDescriptors = -11,
    /// A descriptor is malformed, cut off or out of place.
    BadDescriptor = -12,
    /// Descriptors would need more memory than they are worth.
    NoMemory = -13,
    /// An epilogue leaves more prologues than were entered.
    PrologueUnderflow = -14,
    /// A state is copied whose label was not seen.
    UndefinedLabel = -15,
    /// There is no such register here.
    BadRegister = -16,
    /// The frame is described in a way that cannot be unwound.
    CannotUnwind = -17,
    /// No callbacks are registered.
    NoCallbacks = -18,
    /// There is no context yet.
    NoContext = -19,
    /// HP-UX's library for signal contexts failed; nothing here does.
    ContextAccess = -20,
    /// No symbol is known for the address.
    NoSymbol = -21,
}

impl Status {
    /// The number.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// One sentence without its full stop.
    pub fn message(self) -> &'static str {
        match self {
            Status::NoEnvironment => "no environment was given",
            Status::IpNotFound => "no module is known at this address",
            Status::LookUp => "the look-up failed",
            Status::BadKey => "a look-up answered with keys that do not fit",
            Status::CopyInTable => "the unwind table cannot be read",
            Status::CopyInInformation => "unwind descriptors cannot be read",
            Status::CopyInMemoryStack => "the memory stack cannot be read",
            Status::CopyInRegisterStack => "the register stack cannot be read",
            Status::CopyInRegister => "a register cannot be read",
            Status::NoTableEntry => "the unwind table has no entry for the address",
            Status::NoDescriptors => "there are no unwind descriptors for the address",
            Status::BadDescriptor => "an unwind descriptor is malformed",
            Status::NoMemory => "unwind descriptors ask for too much",
            Status::PrologueUnderflow => "an epilogue leaves more prologues than were entered",
            Status::UndefinedLabel => "unwind descriptors copy a state that has no label",
            Status::BadRegister => "there is no such register here",
            Status::CannotUnwind => "the frame cannot be unwound",
            Status::NoCallbacks => "no callbacks are registered",
            Status::NoContext => "there is no context to unwind from",
            Status::ContextAccess => "a signal context cannot be read",
            Status::NoSymbol => "no symbol is known for the address",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// Why nothing came of it: an error of the engine, or one of the [`super::Target`]'s own on its way to the caller.
#[derive(Debug)]
pub enum Failure {
    /// The engine's.
    Status(Status),
    /// What the target raised; it passes through untouched.
    Foreign(Box<dyn Any + Send>),
}

impl Failure {
    /// The engine's error, if it is one.
    pub fn status(&self) -> Option<Status> {
        match self {
            Failure::Status(status) => Some(*status),
            Failure::Foreign(_) => None,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Failure::Status(status)
    }
}
