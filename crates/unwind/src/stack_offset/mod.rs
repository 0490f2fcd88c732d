//! Where the stack pointer is, by executed code alone: no memory, no unwind information.
//!
//! The caller brings every instruction that was executed, each once, and where indirect jumps went ([`Code`]). For a
//! function that was entered at one address, [`StackOffsets::at`] says what is known before an instruction of it: the
//! stack pointer relative to the frame, registers that still hold what they held on entry or an address in the
//! frame, and where registers were saved. It follows the code from the entry on, over what was executed, until
//! nothing new is learned; what was found of a function is kept.
//!
//! All places are relative to the *canonical frame address* (CFA): the stack pointer before the call, so that the
//! return address lies at CFA - 8. Only alignment (`and rsp, -32`) needs its true low bits.
//!
//! Code is taken to keep the System V ABI: a call gives back the stack pointer and the registers that belong to the
//! caller, and no other code writes where registers were saved. Where code sets the stack pointer to something that is
//! not known (`alloca`, `longjmp`), what it was before stays as a guess. Only 64 bit code.

mod code;
mod effect;
mod function;
mod state;
mod value;

pub use code::Code;
pub use function::StackOffsets;
pub use state::{State, Trust};
pub use value::Value;

#[cfg(test)]
mod tests;
