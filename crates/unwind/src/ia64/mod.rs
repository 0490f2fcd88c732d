//! IA-64: unwind tables, descriptors, register stack and memory stack.
//!
//! The caller brings a [`Target`]: it reads memory and registers of what is unwound (copy-in) and knows
//! which unwind table an address belongs to (look-up). An [`Env`] holds one context and steps it outwards, frame by
//! frame, as HP-UX's uwx(3X) does, with the same questions in the same order and the same [`Status`] codes.
//!
//! Out of scope: files, symbol tables, and signal contexts of any system. A frame that was interrupted ends a step
//! with [`Stepped::AbiFrame`], and the caller, who knows the system, starts again from the context that was saved.
//!
//! The format is that of the Itanium Software Conventions and Runtime Architecture Guide, chapter 11 and appendix B.

mod body;
mod bytes;
mod cache;
mod context;
mod decode;
mod descriptor;
mod env;
mod evaluate;
mod fields;
mod found;
mod information;
mod lookup;
mod place;
mod prologue;
mod region;
mod register;
mod rse;
mod spill;
mod status;
mod step;
mod swap;
mod table;
mod target;

pub use decode::{Item, Items};
pub use descriptor::{Descriptor, Format, SpillTo};
pub use env::{Env, Named, Stepped};
pub use fields::{Field, Fields};
pub use information::{Header, MOST_WORDS};
pub use place::{Place, Saved};
pub use region::{rules, Predicates, Rules, MOST_STATES};
pub use register::{Location, Register, Special, Value};
pub use rse::{add_to_bsp, rotated};
pub use status::{Failure, Status};
pub use swap::{swizzle, ByteOrder};
pub use target::{key, Answer, Datum, Pair, Question, Request, Target, FREE, VERSION};
