//! Stepping up call stacks through the memory of another program.
//!
//! [`ia64`] is an engine of its own after HP-UX's uwx(3X). [`cfi`] has x86-64 and AArch64, through framehop.
//! [`stack_offset`] says what executed x86-64 code tells of the stack where there is no memory to read. What files hold is
//! read by `odograph_objects`.
//!
//! Where the stack pointer is behind a `push`, relative to the frame:
//!
//! ```
//! use odograph_unwind::stack_offset::{Code, StackOffsets};
//!
//! let instructions: [(u64, &[u8]); 2] = [(0x1000, &[0x55]), (0x1001, &[0xc3])]; // push rbp; ret
//! let mut offsets = StackOffsets::new(Code::new(instructions, []));
//! let state = offsets.at(0x1000, 0x1001, 0x7fff_0000).expect("the instruction was executed");
//! assert_eq!(state.offset(), -16);
//! ```

#![forbid(unsafe_code)]

pub mod cfi;
pub mod ia64;
pub mod stack_offset;
