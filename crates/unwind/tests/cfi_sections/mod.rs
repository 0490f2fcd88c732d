//! A tiny writer of call frame information, and memory and modules to try it with.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use odograph_objects::section::Section;
use odograph_unwind::cfi::{End, Frame, Machine, Memory, Module, Registers, Tables, Unwinder};

/// Where the module lies in memory; the file says 0x1000.
pub const BASE: u64 = 0x40_0000;
/// Its code in the file.
pub const CODE: u64 = 0x1000;
/// The lowest address of the stack.
pub const STACK: u64 = 0x7fff_0000;

/// A function: where its code lies in the file, how long it is, whether a signal put its frame there, instructions.
pub struct Function<'i> {
    pub start: u64,
    pub size: u64,
    pub is_signal: bool,
    pub instructions: &'i [u8],
}

/// `.eh_frame` or `.debug_frame`; each function has a common part of its own that begins with `common`.
pub fn section(machine: Machine, is_eh: bool, common: &[u8], functions: &[Function<'_>]) -> Section {
    let mut data = Vec::new();
    for function in functions {
        let cie = data.len();
        let mut body = Vec::new();
        body.extend(if is_eh { 0u32 } else { u32::MAX }.to_le_bytes());
        body.push(if is_eh { 1 } else { 3 });
        if is_eh {
            body.extend(if function.is_signal { &b"zRS\0"[..] } else { b"zR\0" });
        } else {
            body.push(0);
        }
        // Alignment of code and data, the return address.
        body.extend([1, 0x78, if machine == Machine::X86_64 { 16 } else { 30 }]);
        if is_eh {
            body.extend([1, 0]);
        }
        body.extend(common);
        put(&mut data, &mut body);
        let back = if is_eh { data.len() + 4 - cie } else { cie };
        let mut body = Vec::new();
        body.extend((back as u32).to_le_bytes());
        body.extend(function.start.to_le_bytes());
        body.extend(function.size.to_le_bytes());
        if is_eh {
            body.push(0);
        }
        body.extend(function.instructions);
        put(&mut data, &mut body);
    }
    Section { data: Arc::from(data), address: 0x8000 }
}

fn put(data: &mut Vec<u8>, body: &mut Vec<u8>) {
    while body.len() % 8 != 4 {
        body.push(0);
    }
    data.extend((body.len() as u32).to_le_bytes());
    data.append(body);
}

/// Words at addresses.
#[derive(Clone, Default)]
pub struct Words(pub BTreeMap<u64, u64>);

impl Memory for Words {
    type Error = Infallible;

    fn read(&mut self, address: u64, size: usize) -> Result<Vec<u8>, Infallible> {
        let mut bytes = Vec::new();
        while bytes.len() < size {
            let at = address + bytes.len() as u64;
            let Some(word) = self.0.get(&(at & !7)) else { break };
            bytes.extend(word.to_le_bytes().iter().skip((at % 8) as usize));
        }
        bytes.truncate(size);
        Ok(bytes)
    }
}

/// Words from [`STACK`] on.
pub fn stack_of(words: &[u64]) -> Words {
    Words(words.iter().enumerate().map(|(nth, word)| (STACK + 8 * nth as u64, *word)).collect())
}

/// Registers by number.
pub fn registers(values: &[(usize, u64)]) -> Registers {
    let mut registers = Registers::default();
    for (number, value) in values {
        registers.set(*number, Some(*value));
    }
    registers
}

/// An unwinder that knows one module at [`BASE`].
pub fn unwinder(machine: Machine, eh: Option<Section>, debug: Option<Section>) -> Unwinder {
    let mut unwinder = Unwinder::new(machine);
    let tables = Arc::new(Tables::of_sections(eh, debug));
    unwinder.add_module(Module { range: BASE + CODE..BASE + CODE + 0x1000, bias: BASE, tables });
    unwinder
}

/// A whole stack.
pub fn stack(unwinder: &mut Unwinder, registers: Registers, words: &Words) -> (Vec<Frame>, End) {
    match unwinder.stack(registers, &mut words.clone(), 100) {
        Ok(found) => found,
        Err(never) => match never {},
    }
}
