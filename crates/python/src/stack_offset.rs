//! Stack offsets of a history's executed code.

use std::sync::{Mutex, PoisonError};

use odograph_core::instruction::ExecMode;
use odograph_unwind::stack_offset::{Code, StackOffsets, State, Trust, Value};
use pyo3::prelude::*;

use crate::code::RawCode;

/// What is known of a value: what it is relative to, and the number.
type Known = (&'static str, u64);
/// StackOffset and how good it is, registers by number, and words of the stack by their place.
type Answer = (i64, &'static str, Vec<(u8, Known)>, Vec<(i64, Known)>);

/// What executed 64 bit code tells of the stack.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawStackOffsets {
    offsets: Mutex<StackOffsets>,
}

#[pymethods]
impl RawStackOffsets {
    /// `sources` and `targets` (native-endian u64, as many of both) are edges of execution.
    #[new]
    fn new(py: Python<'_>, code: &RawCode, sources: &[u8], targets: &[u8]) -> RawStackOffsets {
        let offsets = py.detach(|| {
            let rows = code.table().rows().iter().filter(|row| row.mode == ExecMode::Bits64);
            let instructions =
                rows.map(|row| (row.ip, row.raw.get(..usize::from(row.size)).unwrap_or_default()));
            StackOffsets::new(Code::new(instructions, words(sources).zip(words(targets))))
        });
        RawStackOffsets { offsets: Mutex::new(offsets) }
    }

    /// What is known before the instruction at `ip` of the function that was called at `entry`, relative to its `cfa`.
    ///
    /// The offset of the stack pointer relative to the CFA; `"exact"`, `"guess"` or `"contradicted"`; of registers by
    /// their numbers in instructions, and of words by their place relative to the CFA, `("entry", register)`, `("stack",
    /// address)` or `("constant", number)`. None if no executed way leads there.
    fn at(&self, py: Python<'_>, entry: u64, ip: u64, cfa: u64) -> Option<Answer> {
        let state =
            py.detach(|| self.offsets.lock().unwrap_or_else(PoisonError::into_inner).at(entry, ip, cfa))?;
        Some(answer(&state, cfa))
    }
}

fn answer(state: &State, cfa: u64) -> Answer {
    let known = |value: Value| match value {
        Value::Unknown => None,
        Value::Entry(register) => Some(("entry", u64::from(register))),
        Value::Stack(offset) => Some(("stack", cfa.wrapping_add_signed(offset))),
        Value::Constant(number) => Some(("constant", number)),
    };
    let trust = match state.trust() {
        Trust::Exact => "exact",
        Trust::Guess => "guess",
        Trust::Contradicted => "contradicted",
    };
    let registers = (0..16).filter_map(|one| known(state.get(one)).map(|value| (one, value))).collect();
    let saved = state.saved().filter_map(|(at, value)| known(value).map(|value| (at, value))).collect();
    (state.offset(), trust, registers, saved)
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()))
}

/// Adds this room's classes.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawStackOffsets>()
}
