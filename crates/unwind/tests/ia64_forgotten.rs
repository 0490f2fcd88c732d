//! What a frame leaves to its caller or to its later slots and regions, and what is forgotten.

mod common;

use common::assembler::{p3, Descriptors};
use common::machine::{cfm, get, special, step, Machine, FUNCTION};
use odograph_unwind::ia64::{ByteOrder, Register, Request, Special, Stepped};

const CALLER: u64 = FUNCTION + 0x40;

#[test]
fn the_primary_unat_of_a_frame_is_not_its_callers() {
    let code = Descriptors::new().prologue(3).saved_gr(p3::PFS, 32).saved_gr(p3::RP, 33).body(300);
    let mut machine = Machine::with(code);
    machine.stack(&[cfm(9, 6), CALLER]);
    machine.special(Special::Unat, 0x5a5a);
    let mut env = machine.at(45, cfm(20, 16));
    env.set_register(special(Special::PriUnat), 0x1234).expect("a special register");
    assert_eq!(get(&mut env, &mut machine, special(Special::PriUnat)), 0x1234);
    step(&mut env, &mut machine);
    assert_eq!(get(&mut env, &mut machine, special(Special::PriUnat)), 0x5a5a);
}

#[test]
fn an_interrupted_frame_is_one_in_all_its_regions() {
    let code = || {
        let outer = Descriptors::new().prologue(3).unwabi(3, b's').body(6).prologue(3);
        outer.saved_gr(p3::RP, 33).body(6).epilogue(0, 0).body(6)
    };
    for slot in [0, 2, 4, 10, 14, 19] {
        let mut machine = Machine::with(code());
        let mut env = machine.at(slot, cfm(9, 6));
        assert!(matches!(env.step(&mut machine), Ok(Stepped::AbiFrame)), "slot {slot}");
        assert_eq!(env.abi_context(), 0x373);
    }
    // Behind an epilogue that leaves the prologue with the marker it is no longer one.
    let left = Descriptors::new().prologue(3).unwabi(3, b's').body(6).epilogue(0, 0).body(60);
    let mut machine = Machine::with(left);
    machine.set(Register::Branch(0), CALLER);
    machine.special(Special::Pfs, cfm(9, 6));
    let mut env = machine.at(30, cfm(9, 6));
    step(&mut env, &mut machine);
    assert_eq!(get(&mut env, &mut machine, special(Special::Ip)), CALLER);
}

#[test]
fn a_save_is_in_force_from_the_slot_behind_it() {
    // Three slots are a bundle of sixteen bytes: the instruction at slot 7 is the second one of the third bundle.
    let code = Descriptors::new().prologue(20).saved_gr(p3::RP, 33).p7(4, 7).saved_gr(p3::PFS, 32).p7(6, 0);
    let mut machine = Machine::with(code.body(280));
    machine.stack(&[cfm(9, 6), CALLER]);
    machine.set(Register::Branch(0), CALLER + 0x100);
    machine.special(Special::Pfs, cfm(9, 6));
    for slot in 0..30 {
        let mut env = machine.at(slot, cfm(9, 6));
        let expected = if slot > 7 { CALLER } else { CALLER + 0x100 };
        assert_eq!(get(&mut env, &mut machine, special(Special::Rp)), expected, "slot {slot}");
    }
}

#[test]
fn another_byte_order_reads_unwind_information_anew() {
    let mut machine = Machine::with(Descriptors::new().prologue(3).body(300));
    machine.set(Register::Branch(0), CALLER);
    machine.special(Special::Pfs, cfm(9, 6));
    let mut env = machine.at(45, cfm(9, 6));
    step(&mut env, &mut machine);
    let first = machine.count(Request::UnwindInformation);
    assert!(first > 0);
    env.set_byte_order(ByteOrder::Little);
    env.init_context(FUNCTION + 45 / 3 * 16, common::machine::SP, common::machine::BSP, cfm(9, 6));
    step(&mut env, &mut machine);
    assert_eq!(machine.count(Request::UnwindInformation), 2 * first);
}
