//! DWARF expressions in call frame information.

use gimli::{EndianSlice, Evaluation, EvaluationResult, LittleEndian, Location, Value};

use super::machine::Registers;
use super::memory::{Memory, Pages};
use super::row::Row;

/// Steps after which an expression counts as endless.
const STEPS: u32 = 4096;

/// The address, or the value, that an expression gives.
///
/// `first` lies on the stack when it begins: the canonical frame address, except in the rule for that itself. None if
/// it needs what is not known or is wrong.
pub fn evaluate<M: Memory>(
    bytes: &[u8],
    row: &Row,
    first: Option<u64>,
    registers: &Registers,
    memory: &mut Pages<'_, M>,
) -> Result<Option<u64>, M::Error> {
    let mut evaluation = Evaluation::new(EndianSlice::new(bytes, LittleEndian), row.encoding);
    evaluation.set_max_iterations(STEPS);
    if let Some(first) = first {
        evaluation.set_initial_value(first);
    }
    let mut state = evaluation.evaluate();
    loop {
        state = match state {
            Ok(EvaluationResult::Complete) => break,
            Ok(EvaluationResult::RequiresRegister { register, .. }) => {
                let Some(value) = registers.get(register.0.into()) else { return Ok(None) };
                evaluation.resume_with_register(Value::Generic(value))
            }
            Ok(EvaluationResult::RequiresMemory { address, size, space: None, .. }) => {
                let Some(value) = memory.number(address, size.into())? else { return Ok(None) };
                evaluation.resume_with_memory(Value::Generic(value))
            }
            Ok(EvaluationResult::RequiresCallFrameCfa) => {
                let Some(first) = first else { return Ok(None) };
                evaluation.resume_with_call_frame_cfa(first)
            }
            // Nothing else can be meant outside of a unit.
            Ok(_) | Err(_) => return Ok(None),
        };
    }
    Ok(match evaluation.as_result() {
        [piece] => match piece.location {
            Location::Address { address } => Some(address),
            Location::Value { value: Value::Generic(value) } => Some(value),
            _ => None,
        },
        _ => None,
    })
}
