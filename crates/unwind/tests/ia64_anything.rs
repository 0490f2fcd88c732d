//! Unwind information may be anything: what comes of it is a step or one of the engine's errors.

mod common;

use common::assembler::Descriptors;
use common::machine::{Machine, BLOCKS, BSP, FUNCTION, SP};
use odograph_unwind::ia64::{Env, Fields, Items, Register, Request, Special};
use proptest::prelude::*;

/// Bytes that look like descriptors more often than chance would have it.
fn descriptors() -> impl Strategy<Value = Vec<u8>> {
    let likely = prop_oneof![
        3 => 0x00u8..0x40,
        1 => 0x40u8..0x48,
        1 => prop_oneof![Just(0x60u8), Just(0x61)],
        6 => 0x80u8..=0xff,
        3 => any::<u8>(),
        2 => 0x00u8..0x08,
    ];
    prop::collection::vec(likely, 0..120)
}

/// One step over an info block, and everything that may be asked before and after it.
fn exercised(bytes: Vec<u8>, slot: u64, cfm: u64, cut: Option<usize>) {
    let mut machine = Machine::with(Descriptors(bytes));
    for word in 0..400 {
        machine.memory.insert(SP - 1600 + 8 * word, FUNCTION + 16 * word);
        machine.backing.insert(BSP - 1600 + 8 * word, 0x5555_0000_0000_0310 + word);
    }
    for code in (0..16).chain(0x100..0x120).chain(0x200..0x280).chain(0x300..0x308) {
        machine.registers.insert(code, [FUNCTION + 32, code]);
    }
    if let Some(cut) = cut {
        machine.code.remove(&(BLOCKS + cut as u64));
    }
    let mut env = Env::new();
    env.init_context(FUNCTION + slot / 3 * 16 + slot % 3, SP, BSP, cfm);
    for _ in 0..4 {
        for special in Special::ALL {
            let _ = env.register(&mut machine, Register::Special(special));
            let _ = env.location(&mut machine, Register::Special(special));
        }
        for number in 0..128 {
            let _ = env.nat(&mut machine, Register::General(number));
            let _ = env.location(&mut machine, Register::General(number));
        }
        let stepped = env.step(&mut machine);
        assert_eq!(machine.owed, machine.freed);
        if !matches!(stepped, Ok(odograph_unwind::ia64::Stepped::Caller)) {
            break;
        }
    }
    assert!(machine.count(Request::UnwindInformation) < 40_000);
}

proptest! {
    #[test]
    fn any_descriptors(bytes in descriptors(), slot in 0u64..300, cfm: u64) {
        exercised(bytes, slot, cfm, None);
    }

    #[test]
    fn cut_descriptors(bytes in descriptors(), slot in 0u64..300, cut in 0usize..100) {
        exercised(bytes, slot, 20, Some(cut));
    }

    #[test]
    fn any_bytes_have_a_listing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut end = 0;
        for item in Items::new(&bytes).flatten() {
            prop_assert!(item.offset >= end && item.offset < bytes.len());
            end = item.offset + 1;
            prop_assert!(!Fields::from(&item).name.is_empty());
        }
    }
}
