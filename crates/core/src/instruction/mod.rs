//! Instruction decoding: the length of an x86 instruction and what kind of branch it is.
//!
//! The caller brings the bytes at an address and the execution mode; back come the size, the class
//! by libipt's `pt_insn_class`, the detail that events bind to, and the displacement of a direct
//! near branch. Operands, registers and mnemonics are out of scope: a trace decoder needs to know
//! where the next instruction starts and where control may go, nothing else.
//!
//! The decoder is a walk over tables. It knows the legacy opcode maps, 3DNow!, REX, REX2, VEX, XOP
//! and EVEX with every map that has been published (Intel SDM volume 2, appendix A; AMD APM volume
//! 3, appendix A; Intel APX specification), allocates nothing and cannot panic.
//!
//! An opcode that no manual defines still gets a length where its map gives one, because a
//! processor's trace is stronger evidence than a table: such instructions are of class `Other`.

mod class;
mod decoder;
mod map;
mod modrm;

pub use class::{Detail, ExecMode, Instruction, InstructionClass, Undecoded};
pub use decoder::{decode, MAX_SIZE};
