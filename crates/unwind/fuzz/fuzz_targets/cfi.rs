//! Any unwind section, registers and memory: a stack ends, with no more frames than were asked for.

#![no_main]

use std::convert::Infallible;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use odograph_unwind::cfi::{Machine, Memory, Module, Registers, Tables, Unwinder, COUNT};
use odograph_objects::section::Section;

const BASE: u64 = 0x40_0000;
const LIMIT: usize = 200;

/// The same bytes again and again, except that some reads come short.
struct Repeated<'b>(&'b [u8]);

impl Memory for Repeated<'_> {
    type Error = Infallible;

    fn read(&mut self, address: u64, size: usize) -> Result<Vec<u8>, Infallible> {
        if self.0.is_empty() || address % 251 == 7 {
            return Ok(Vec::new());
        }
        let skip = (address % self.0.len() as u64) as usize;
        Ok(self.0.iter().cycle().skip(skip).take(size).copied().collect())
    }
}

// The first byte chooses machine and kind of section, the second how long the section is (in steps of 4); behind it
// come registers and memory. Addresses begin with 0x40, so that some lie in the module.
fuzz_target!(|data: &[u8]| {
    let Some(([kind, size], rest)) = data.split_first_chunk::<2>() else { return };
    let (section, rest) = rest.split_at((usize::from(*size) * 4).min(rest.len()));
    let machine = if kind & 1 == 0 { Machine::X86_64 } else { Machine::Aarch64 };
    let section = Section { data: Arc::from(section), address: 0x8000 };
    let tables = match kind >> 1 & 3 {
        0 => Tables::of_sections(Some(section), None),
        1 => Tables::of_sections(None, Some(section)),
        2 => Tables::of_sections(Some(section.clone()), Some(section)),
        _ => Tables::of_bytes(&section.data),
    };
    let mut unwinder = Unwinder::new(machine);
    unwinder.add_module(Module { range: BASE..BASE + 0x1_0000, bias: 0, tables: Arc::new(tables) });
    let mut registers = Registers::default();
    for number in 0..COUNT {
        let low = rest.get(2 * number..2 * number + 2).and_then(|bytes| bytes.try_into().ok());
        let low = low.map_or(0, u16::from_le_bytes);
        registers.set(number, (low != 0xffff).then_some(BASE + u64::from(low)));
    }
    let memory = rest.get(2 * COUNT..).unwrap_or_default();
    let Ok((frames, end)) = unwinder.stack(registers, &mut Repeated(memory), LIMIT);
    assert!(frames.len() <= LIMIT);
    assert!(!end.to_string().is_empty());
});
