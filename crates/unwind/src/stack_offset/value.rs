//! What is known of a register or a word of the stack.

/// What is known of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    #[default]
    Unknown,
    /// It is what this register (by its number in instructions) held when the function was entered.
    Entry(u8),
    /// An address in the stack, relative to the CFA.
    Stack(i64),
    /// This number.
    Constant(u64),
}

impl Value {
    /// What is known after adding a number.
    pub fn plus(self, amount: i64) -> Value {
        match self {
            _ if amount == 0 => self,
            Value::Stack(offset) => Value::Stack(offset.wrapping_add(amount)),
            Value::Constant(number) => Value::Constant(number.wrapping_add_signed(amount)),
            _ => Value::Unknown,
        }
    }

    /// What is known if it is either of two.
    pub fn meet(self, other: Value) -> Value {
        if self == other {
            self
        } else {
            Value::Unknown
        }
    }
}
