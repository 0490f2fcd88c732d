//! The instruction decoder against two independent ones, iced-x86 and yaxpeax-x86.
//!
//! Where a judge knows an instruction, ours must give the same length, class, detail and branch
//! target; the few exceptions stand in `accepted.rs`, each with its reason. Where no judge knows
//! one, ours may still give a length, because a processor's trace is stronger evidence.

mod accepted;
mod examples;
mod iced;
mod judge;
mod maps;
mod programs;
mod random;
mod truncation;
mod yaxpeax;
