//! What is known before an instruction of a function.

use std::collections::BTreeMap;

use super::value::Value;

/// Numbers of registers in instructions.
pub(super) const RSP: u8 = 4;
pub(super) const RBP: u8 = 5;

/// Most words of a frame that are remembered.
const MOST_SAVED: usize = 128;
/// Size of a word of the stack.
const WORD: i64 = 8;

/// How far the offset can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It follows from what was executed.
    Exact,
    /// The stack pointer was set to something unknown; this is what it was before.
    Guess,
    /// Different ways lead here with different offsets; this is the one that was found first.
    Contradicted,
}

/// What is known before an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    registers: [Value; 16],
    offset: i64,
    trust: Trust,
    saved: BTreeMap<i64, Value>,
    /// The stack pointer was just compared with this register.
    pub(super) compared: Option<u8>,
}

impl State {
    /// At the entry of a function: behind the call.
    pub(super) fn entry() -> State {
        let mut registers = [Value::Unknown; 16];
        for (number, register) in (0..).zip(&mut registers) {
            *register = Value::Entry(number);
        }
        State { registers, offset: -WORD, trust: Trust::Exact, saved: BTreeMap::new(), compared: None }
    }

    /// The stack pointer, relative to the CFA.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// How far the offset can be trusted.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// What is known of a general purpose register, by its number in instructions (4 is rsp, 5 is rbp).
    pub fn get(&self, register: u8) -> Value {
        match register {
            RSP => Value::Stack(self.offset),
            _ => self.registers.get(usize::from(register)).copied().unwrap_or_default(),
        }
    }

    /// Words of the stack, by their place relative to the CFA, that hold what a register held on entry, or an
    /// address in the stack. Below the stack pointer they are those that were not written since it was there: unwind
    /// information says where a register was saved until the function is left.
    pub fn saved(&self) -> impl Iterator<Item = (i64, Value)> + '_ {
        self.saved.iter().map(|(&at, &value)| (at, value))
    }

    /// Writes a register. The stack pointer stays as a guess if nothing is known of the value.
    pub(super) fn set(&mut self, register: u8, value: Value) {
        if register != RSP {
            if let Some(known) = self.registers.get_mut(usize::from(register)) {
                *known = value;
            }
            return;
        }
        match value {
            Value::Stack(offset) => {
                self.offset = offset;
                self.trust = Trust::Exact;
            }
            _ => self.lose(),
        }
    }

    /// The stack pointer is something unknown.
    pub(super) fn lose(&mut self) {
        self.trust = Trust::Guess;
    }

    /// Moves the stack pointer, which is as well known as before.
    pub(super) fn move_by(&mut self, amount: i64) {
        self.offset = self.offset.wrapping_add(amount);
    }

    /// The word at a place relative to the CFA.
    pub(super) fn load(&self, at: i64) -> Value {
        self.saved.get(&at).copied().unwrap_or_default()
    }

    /// Writes `size` bytes at a place relative to the CFA.
    pub(super) fn store(&mut self, at: i64, size: i64, value: Value) {
        let (first, end) = (at.saturating_sub(WORD - 1), at.saturating_add(size));
        while let Some((&overlapping, _)) = self.saved.range(first..end.max(first)).next() {
            self.saved.remove(&overlapping);
        }
        // Numbers that were put there are data, which this is not about.
        let is_wanted = matches!(value, Value::Entry(_) | Value::Stack(_));
        if size == WORD && is_wanted && self.saved.len() < MOST_SAVED {
            self.saved.insert(at, value);
        }
    }

    /// A call: registers that are not kept for the caller, and the stack below.
    pub(super) fn call(&mut self) {
        for register in [0, 1, 2, 6, 7, 8, 9, 10, 11] {
            self.set(register, Value::Unknown);
        }
        self.saved = self.saved.split_off(&self.offset);
        self.compared = None;
    }

    /// Takes in what is known on another way to the same place; true if that changed anything.
    pub(super) fn merge(&mut self, other: &State) -> bool {
        let before = self.clone();
        if self.offset != other.offset {
            self.trust = match (self.trust, other.trust) {
                (Trust::Exact, Trust::Exact) | (Trust::Contradicted, _) | (_, Trust::Contradicted) => {
                    Trust::Contradicted
                }
                (Trust::Guess, Trust::Exact) => {
                    self.offset = other.offset;
                    Trust::Exact
                }
                (kept, Trust::Guess) => kept,
            };
        } else if self.trust == Trust::Guess || other.trust == Trust::Contradicted {
            self.trust = other.trust;
        }
        for (known, other) in self.registers.iter_mut().zip(other.registers) {
            *known = known.meet(other);
        }
        self.saved.retain(|at, value| other.saved.get(at) == Some(value));
        if self.compared != other.compared {
            self.compared = None;
        }
        *self != before
    }
}
