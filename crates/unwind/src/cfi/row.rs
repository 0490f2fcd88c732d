//! A row of the call frame table, kept: how the caller's registers are found from those of a frame.

use gimli::{CfaRule, Encoding, Reader, RegisterRule, UnwindExpression, UnwindSection, UnwindTableRow};

use super::machine::{Machine, COUNT};

/// Where the canonical frame address comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cfa {
    /// A register and an offset.
    Register(usize, i64),
    /// What a DWARF expression gives.
    Expression(Box<[u8]>),
}

/// Where a register of the caller is found (DWARF 5, 6.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nowhere.
    Undefined,
    /// In the same register.
    Same,
    /// In memory at the canonical frame address plus an offset.
    Offset(i64),
    /// It is the canonical frame address plus an offset.
    ValueOffset(i64),
    /// In another register.
    Register(usize),
    /// In memory, at the address that an expression gives.
    Expression(Box<[u8]>),
    /// It is what an expression gives.
    ValueExpression(Box<[u8]>),
}

/// How one instruction's frame is left.
#[derive(Clone, Debug)]
pub struct Row {
    /// The canonical frame address.
    pub cfa: Cfa,
    /// The registers that have rules.
    pub rules: Vec<(usize, Rule)>,
    /// The register, or column, that holds the return address.
    pub return_register: usize,
    /// The frame was put there by a signal: its caller was interrupted, and all its registers are known.
    pub is_signal: bool,
    /// How expressions are encoded.
    pub encoding: Encoding,
}

impl Row {
    /// Copies what gimli found; None if it says something that has no meaning here.
    pub fn new<R: Reader<Offset = usize>, S: gimli::UnwindContextStorage<usize>>(
        section: &impl UnwindSection<R>,
        row: &UnwindTableRow<usize, S>,
        entry: &gimli::FrameDescriptionEntry<R>,
    ) -> Option<Row> {
        let expression = |expression: &UnwindExpression<usize>| {
            let bytes = expression.get(section).ok()?.0;
            bytes.to_slice().ok().map(|bytes| Box::from(&*bytes))
        };
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => Cfa::Register(register.0.into(), *offset),
            CfaRule::Expression(bytes) => Cfa::Expression(expression(bytes)?),
        };
        let mut rules = Vec::new();
        for (register, rule) in row.registers() {
            let rule = match rule {
                RegisterRule::Undefined => Rule::Undefined,
                RegisterRule::SameValue => Rule::Same,
                RegisterRule::Offset(offset) => Rule::Offset(*offset),
                RegisterRule::ValOffset(offset) => Rule::ValueOffset(*offset),
                RegisterRule::Register(other) => Rule::Register(other.0.into()),
                RegisterRule::Expression(bytes) => Rule::Expression(expression(bytes)?),
                RegisterRule::ValExpression(bytes) => Rule::ValueExpression(expression(bytes)?),
                // Whether AArch64's return address is signed; such a signature is taken off wherever there is one.
                RegisterRule::Constant(_) | RegisterRule::Architectural => continue,
            };
            if usize::from(register.0) < COUNT {
                rules.push((register.0.into(), rule));
            }
        }
        Some(Row {
            cfa,
            rules,
            return_register: entry.cie().return_address_register().0.into(),
            is_signal: entry.is_signal_trampoline(),
            encoding: entry.cie().encoding(),
        })
    }

    /// The rule of a register; None: the row has none.
    pub fn rule(&self, register: usize) -> Option<&Rule> {
        self.rules.iter().find(|(number, _)| *number == register).map(|(_, rule)| rule)
    }

    /// Whether framehop's few kinds of rules can say all that it says of stack pointer, frame pointer and return
    /// address.
    pub fn is_plain(&self, machine: Machine) -> bool {
        let Cfa::Register(base, offset) = self.cfa else { return false };
        let word = match machine {
            Machine::X86_64 => 8,
            Machine::Aarch64 => 16,
        };
        let return_address = match machine {
            Machine::X86_64 => self.return_register == machine.pc(),
            Machine::Aarch64 => self.return_register == 30,
        };
        let saved = |register: usize| match self.rule(register) {
            None | Some(Rule::Same) => true,
            Some(Rule::Offset(offset)) => offset % 8 == 0,
            _ => false,
        };
        let is_saved = |register: usize, at: i64| self.rule(register) == Some(&Rule::Offset(at));
        !self.is_signal
            && return_address
            && (base == machine.sp() || base == machine.fp())
            && offset % word == 0
            && self.rule(machine.sp()).is_none()
            && saved(machine.fp())
            && match machine {
                Machine::X86_64 => is_saved(machine.pc(), -8),
                Machine::Aarch64 => saved(30) && self.rule(machine.pc()).is_none(),
            }
    }
}
