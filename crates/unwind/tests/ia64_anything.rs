//! Unwind information may be anything: what comes of it is a step or one of the engine's errors.

mod common;

use common::assembler::Descriptors;
use common::machine::{Machine, BLOCKS, BSP, FUNCTION, SP};
use odograph_unwind::ia64::{Env, Failure, Fields, Items, Register, Request, Special, Stepped};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use std::time::{Duration, Instant};

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

/// A machine with something in all its memory and registers.
fn furnished() -> Machine {
    let mut machine = Machine::with(Descriptors::new());
    for word in 0..400 {
        machine.memory.insert(SP - 1600 + 8 * word, FUNCTION + 16 * word);
        machine.backing.insert(BSP - 1600 + 8 * word, 0x5555_0000_0000_0310 + word);
    }
    for code in (0..16).chain(0x100..0x120).chain(0x200..0x280).chain(0x300..0x308) {
        machine.registers.insert(code, [FUNCTION + 32, code]);
    }
    machine
}

/// Steps over an info block, and everything that may be asked before and after them; how many steps there were.
fn exercised(machine: &mut Machine, slot: u64, cfm: u64) -> usize {
    let before = machine.count(Request::UnwindInformation);
    let mut env = Env::new();
    env.init_context(FUNCTION + slot / 3 * 16 + slot % 3, SP, BSP, cfm);
    let mut steps = 0;
    while steps < 4 {
        for special in Special::ALL {
            let _ = env.register(machine, Register::Special(special));
            let _ = env.location(machine, Register::Special(special));
        }
        for number in (0..128).step_by(5) {
            let _ = env.nat(machine, Register::General(number));
            let _ = env.location(machine, Register::General(number));
        }
        let stepped = env.step(machine);
        assert_eq!(machine.owed, machine.freed);
        match stepped {
            Ok(Stepped::Caller) => steps += 1,
            Ok(Stepped::Bottom | Stepped::AbiFrame) | Err(Failure::Status(_)) => break,
            Err(Failure::Foreign(_)) => panic!("nobody raised anything"),
        }
    }
    // Each look-up reads one block, and a look-up that fails is made again by the next question.
    let reads = machine.count(Request::UnwindInformation) - before;
    assert!(reads < machine.questions.len() * 80);
    machine.asked.clear();
    machine.questions.clear();
    steps
}

proptest! {
    #[test]
    fn any_descriptors(bytes in descriptors(), slot in 0u64..300, cfm: u64) {
        let mut machine = furnished();
        machine.put_block(BLOCKS, 1, Descriptors(bytes));
        exercised(&mut machine, slot, cfm);
    }

    #[test]
    fn cut_descriptors(bytes in descriptors(), slot in 0u64..300, cut in 0u64..100) {
        let mut machine = furnished();
        machine.put_block(BLOCKS, 1, Descriptors(bytes));
        machine.code.remove(&(BLOCKS + cut));
        exercised(&mut machine, slot, 20);
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

/// The acceptance run: `cargo test --release -p odograph-unwind --test ia64_anything -- --ignored`.
#[test]
#[ignore = "minutes"]
fn a_million_info_blocks() {
    let mut runner = TestRunner::new(Config::default());
    let blocks = (descriptors(), 0u64..300, any::<u64>(), prop::option::of(0u64..130));
    let mut machine = furnished();
    let (mut slowest, mut stepped) = (Duration::ZERO, 0);
    for _ in 0..1_000_000 {
        let (bytes, slot, cfm, cut) = blocks.new_tree(&mut runner).expect("a block").current();
        machine.put_block(BLOCKS, 1, Descriptors(bytes));
        let missing = cut.and_then(|cut| machine.code.remove_entry(&(BLOCKS + cut)));
        let start = Instant::now();
        stepped += usize::from(exercised(&mut machine, slot, cfm) > 0);
        slowest = slowest.max(start.elapsed());
        machine.code.extend(missing);
    }
    eprintln!("{stepped} of a million blocks have a caller; the slowest took {slowest:?}");
    assert!(stepped > 10_000);
    assert!(slowest < Duration::from_secs(1));
}
