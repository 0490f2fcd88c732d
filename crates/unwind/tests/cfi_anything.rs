//! Sections, registers and memory that may be anything: a stack ends, soon, and with no more frames than were asked for.

mod cfi_sections;

use std::sync::Arc;

use cfi_sections::{section, Function, BASE, CODE, STACK};
use odograph_objects::section::Section;
use odograph_unwind::cfi::{Machine, Memory, Module, Registers, Tables, Unwinder, COUNT};
use proptest::prelude::*;

/// Memory in which every word is one of a few, or is not there, or fails.
struct Chosen {
    words: Vec<u64>,
    short: u64,
    failing: Option<u64>,
}

impl Memory for Chosen {
    type Error = u64;

    fn read(&mut self, address: u64, size: usize) -> Result<Vec<u8>, u64> {
        if self.failing == Some(address % 64) {
            return Err(address);
        }
        if self.words.is_empty() || address % 8 == self.short {
            return Ok(vec![0xc3; (self.short as usize).min(size)]);
        }
        let count = self.words.len() as u64;
        let word = |nth: u64| self.words[((address / 8).wrapping_add(nth) % count) as usize].to_le_bytes();
        Ok((0..).flat_map(word).skip((address % 8) as usize).take(size).collect())
    }
}

fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (0u64..0x40).prop_map(|offset| BASE + CODE + offset),
        4 => (0u64..64).prop_map(|nth| STACK + 8 * nth),
        1 => Just(0u64),
        1 => Just(u64::MAX),
        1 => Just(u64::MAX - 7),
        1 => Just(1 << 63),
        1 => any::<u64>(),
    ]
}

fn instructions() -> impl Strategy<Value = Vec<u8>> {
    // Mostly meaningful: few opcodes, small operands.
    let known = prop_oneof![
        Just(vec![0x0c, 7, 8]),
        Just(vec![0x0d, 6]),
        Just(vec![0x0e, 24]),
        Just(vec![0x86, 2]),
        Just(vec![0x90, 1]),
        Just(vec![0x0a]),
        Just(vec![0x0b]),
        Just(vec![0x2d]),
        Just(vec![0x0f, 3, 0x2f, 0xfd, 0xff]),
        proptest::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| {
            let mut whole = vec![0x0f, bytes.len() as u8];
            whole.extend(bytes);
            whole
        }),
        (0u8..34, proptest::collection::vec(any::<u8>(), 0..6)).prop_map(|(register, bytes)| {
            let mut whole = vec![0x10, register, bytes.len() as u8];
            whole.extend(bytes);
            whole
        }),
        proptest::collection::vec(any::<u8>(), 1..4),
    ];
    proptest::collection::vec(known, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn stacks_end(
        is_x86 in any::<bool>(),
        is_eh in any::<bool>(),
        is_signal in any::<bool>(),
        common in instructions(),
        inner in instructions(),
        outer in instructions(),
        size in prop_oneof![Just(0x10u64), Just(0x28), any::<u64>()],
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        values in proptest::collection::vec(address(), COUNT),
        words in proptest::collection::vec(address(), 0..40),
        short in 0u64..20,
        failing in proptest::option::weighted(0.1, 0u64..64),
    ) {
        let machine = if is_x86 { Machine::X86_64 } else { Machine::Aarch64 };
        let functions = [
            Function { start: CODE, size, is_signal, instructions: &inner },
            Function { start: CODE + 0x10, size: 0x30, is_signal: false, instructions: &outer },
        ];
        let own = section(machine, is_eh, &common, &functions);
        let mut data = own.data.to_vec();
        for (at, byte) in damage {
            let at = at.index(data.len());
            data[at] = byte;
        }
        let own = Section { data: Arc::from(data), address: own.address };
        let tables =
            Arc::new(if is_eh { Tables::of_sections(Some(own), None) } else { Tables::of_sections(None, Some(own)) });
        let mut unwinder = Unwinder::new(machine);
        unwinder.add_module(Module { range: BASE + CODE..BASE + CODE + 0x1000, bias: BASE, tables });
        let mut registers = Registers::default();
        for (number, value) in values.iter().enumerate() {
            registers.set(number, Some(*value));
        }
        let mut memory = Chosen { words, short, failing };
        match unwinder.stack(registers, &mut memory, 300) {
            Ok((frames, end)) => {
                prop_assert!((1..=300).contains(&frames.len()));
                prop_assert!(!end.to_string().is_empty());
                // Nothing that was learned changes what comes out.
                let again = unwinder.stack(registers, &mut memory, 300);
                prop_assert_eq!(format!("{again:?}"), format!("{:?}", Ok::<_, u64>((frames, end))));
            }
            Err(address) => prop_assert_eq!(Some(address % 64), failing),
        }
    }

    #[test]
    fn sections_of_any_bytes_are_no_trouble(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        elf in proptest::collection::vec(any::<u8>(), 0..300),
        address in address(),
    ) {
        let own = Section { data: Arc::from(bytes), address: 0x8000 };
        let tables = Arc::new(Tables::of_sections(Some(own.clone()), Some(own)));
        let mut whole = b"\x7fELF\x02\x01\x01".to_vec();
        whole.extend(elf);
        Tables::of_bytes(&whole);
        let mut unwinder = Unwinder::new(Machine::X86_64);
        unwinder.add_module(Module { range: 0..u64::MAX, bias: 0, tables });
        let mut registers = Registers::default();
        registers.set(16, Some(address));
        registers.set(7, Some(STACK));
        let mut memory = Chosen { words: vec![address, STACK], short: 9, failing: None };
        prop_assert!(unwinder.stack(registers, &mut memory, 50).is_ok());
    }
}
