//! Values of the caller's registers, from frames that are written here by hand.
//!
//! This file is long because it holds a test for each kind of frame.

mod common;

use common::assembler::{ab, p3, Descriptors};
use common::machine::{cfm, get, get_float, location, special, step, Machine, BSP, FUNCTION, SP};
use odograph_unwind::ia64::{add_to_bsp, Env, Location, Register, Request, Special, Stepped};

const CALLER: u64 = FUNCTION + 0x2000;
/// The caller's frame marker: 9 registers, 6 of them locals; epilogue counter and privilege level above.
const PFS: u64 = cfm(9, 6) | 0xc000_0000_0000_0000 | 3 << 52;

fn new() -> Descriptors {
    Descriptors::new()
}

/// A function that saves pfs in gr32 and rp in gr33, and whatever else is told, in a prologue of 30 slots.
fn function(more: impl Fn(Descriptors) -> Descriptors) -> Machine {
    let code = more(new().prologue(30).saved_gr(p3::PFS, 32).saved_gr(p3::RP, 33)).body(30);
    let mut machine = Machine::with(code);
    let mut words: Vec<u64> = (0..20).map(|word| 0x3200 + word).collect();
    words[..2].copy_from_slice(&[PFS, CALLER]);
    machine.stack(&words);
    machine
}

/// The word that `function` puts into a stacked register.
fn stacked(number: u64) -> u64 {
    0x3200 + number - 32
}

fn stepped(machine: &mut Machine) -> Env {
    let mut env = machine.at(45, cfm(20, 16));
    step(&mut env, machine);
    env
}

#[test]
fn the_basic_four() {
    let mut machine = function(|code| code.mem_stack_f(0, 4));
    let mut env = stepped(&mut machine);
    let expected = [
        (Special::Ip, CALLER),
        (Special::Sp, SP + 64),
        (Special::Bsp, add_to_bsp(BSP, -6)),
        (Special::Cfm, PFS),
    ];
    for (register, value) in expected {
        assert_eq!(get(&mut env, &mut machine, special(register)), value, "{register:?}");
    }
    assert_eq!(get(&mut env, &mut machine, Register::General(12)), SP + 64);
    assert_eq!(location(&mut env, &mut machine, special(Special::Ip)), Location::RegisterStack(BSP + 8));
    assert_eq!(location(&mut env, &mut machine, special(Special::Cfm)), Location::RegisterStack(BSP));
    assert_eq!(location(&mut env, &mut machine, special(Special::Sp)), Location::Nowhere);
}

#[test]
fn markers_before_the_step_are_what_it_takes() {
    let mut machine = function(|code| code.mem_stack_f(0, 4));
    let mut env = machine.at(45, cfm(20, 16));
    assert_eq!(get(&mut env, &mut machine, special(Special::Psp)), SP + 64);
    assert_eq!(get(&mut env, &mut machine, special(Special::Rp)), CALLER);
    assert_eq!(get(&mut env, &mut machine, special(Special::Pfs)), PFS);
    assert_eq!(location(&mut env, &mut machine, special(Special::Rp)), Location::RegisterStack(BSP + 8));
    assert_eq!(location(&mut env, &mut machine, special(Special::Psp)), Location::Nowhere);
    // One look-up for all of it.
    step(&mut env, &mut machine);
    assert_eq!(machine.questions.len(), 1);
    // A marker that was set stays until the step.
    let mut env = machine.at(45, cfm(20, 16));
    env.set_register(special(Special::Rp), CALLER + 0x40).expect("a special register");
    step(&mut env, &mut machine);
    assert_eq!(get(&mut env, &mut machine, special(Special::Ip)), CALLER + 0x40);
    assert_eq!(location(&mut env, &mut machine, special(Special::Bsp)), Location::Nowhere);
    // The caller has its own.
    machine.set(Register::Branch(0), 0x77);
    machine.special(Special::Pfs, 0x88);
    for (register, value) in [(Special::Rp, 0x77), (Special::Pfs, 0x88), (Special::Psp, SP + 64)] {
        let mut env = machine.at(45, cfm(20, 16));
        env.set_register(special(register), CALLER).expect("a special register");
        step(&mut env, &mut machine);
        let expected = if register == Special::Psp { CALLER } else { value };
        assert_eq!(get(&mut env, &mut machine, special(register)), expected);
    }
}

#[test]
fn slots_are_thirds_of_bundles() {
    let mut machine = Machine::with(new().prologue(40).mem_stack_f(17, 4).body(30));
    for slot in 0..70 {
        let mut env = machine.at(slot, cfm(20, 16));
        let size = if slot > 17 { 64 } else { 0 };
        assert_eq!(get(&mut env, &mut machine, special(Special::Psp)), SP + size, "slot {slot}");
    }
}

#[test]
fn a_value_that_is_set_is_no_nat() {
    let mut machine = function(|code| code);
    let mut env = machine.at(45, cfm(20, 16));
    env.set_nat(Register::General(4), true).expect("a preserved register");
    assert!(matches!(env.nat(&mut machine, Register::General(4)), Ok(true)));
    env.set_register(Register::General(4), 5).expect("a preserved register");
    assert!(matches!(env.nat(&mut machine, Register::General(4)), Ok(false)));
}

#[test]
fn leaves_return_by_branch_register_0() {
    let mut machine = Machine::with(new().prologue(3).body(60));
    machine.set(Register::Branch(0), CALLER);
    machine.special(Special::Pfs, PFS);
    let mut env = stepped(&mut machine);
    assert_eq!(get(&mut env, &mut machine, special(Special::Ip)), CALLER);
    assert_eq!(get(&mut env, &mut machine, special(Special::Sp)), SP);
    assert_eq!(get(&mut env, &mut machine, special(Special::Cfm)), PFS);
    assert_eq!(
        location(&mut env, &mut machine, special(Special::Ip)),
        Location::Register(Register::Branch(0))
    );
    assert_eq!(
        location(&mut env, &mut machine, special(Special::Cfm)),
        Location::Register(special(Special::Pfs))
    );
    // Another register, where that is told.
    let mut machine = Machine::with(new().prologue(3).saved_gr(p3::RP_BR, 6).body(60));
    machine.set(Register::Branch(0), 1);
    machine.set(Register::Branch(6), CALLER);
    machine.special(Special::Pfs, PFS);
    let mut env = stepped(&mut machine);
    assert_eq!(get(&mut env, &mut machine, special(Special::Ip)), CALLER);
}

#[test]
fn pfs_by_either_number() {
    let mut machine = Machine::with(new().prologue(3).body(60));
    machine.set(Register::Branch(0), CALLER);
    machine.special(Special::ArPfs, PFS);
    let mut env = stepped(&mut machine);
    assert_eq!(get(&mut env, &mut machine, special(Special::Cfm)), PFS);
    let asked: Vec<u64> =
        machine.asked.iter().filter(|asked| asked.0 == Request::Register).map(|asked| asked.1).collect();
    assert_eq!(asked, [0x300, 6, 14]);
    assert_eq!(
        location(&mut env, &mut machine, special(Special::Cfm)),
        Location::Register(special(Special::ArPfs))
    );
    // One that was set needs no question.
    let mut env = machine.at(45, cfm(20, 16));
    env.set_register(special(Special::ArPfs), 5).expect("a special register");
    step(&mut env, &mut machine);
    assert_eq!(get(&mut env, &mut machine, special(Special::Cfm)), 5);
}

#[test]
fn memory_by_the_callers_and_by_the_own_stack_pointer() {
    // psp = sp + 160; lc at psp + 16 - 4 * 8, fpsr at sp + 4 * 6.
    let mut machine = function(|code| code.mem_stack_f(0, 10).p7(11, 8).p8(6, 6));
    machine.memory.insert(SP + 160 - 16, 77);
    machine.memory.insert(SP + 24, 88);
    let mut env = stepped(&mut machine);
    assert_eq!(get(&mut env, &mut machine, special(Special::Lc)), 77);
    assert_eq!(get(&mut env, &mut machine, special(Special::Fpsr)), 88);
    assert_eq!(location(&mut env, &mut machine, special(Special::Lc)), Location::MemoryStack(SP + 144));
    assert_eq!(location(&mut env, &mut machine, special(Special::Fpsr)), Location::MemoryStack(SP + 24));
}

#[test]
fn specials_from_registers() {
    let all = [
        (p3::PREDS, Special::Preds, 34),
        (p3::UNAT, Special::Unat, 35),
        (p3::LC, Special::Lc, 36),
        (p3::RNAT, Special::Rnat, 37),
        (p3::BSPSTORE, Special::Bspstore, 38),
        (p3::FPSR, Special::Fpsr, 39),
    ];
    let mut machine =
        function(|code| all.into_iter().fold(code, |code, (which, _, number)| code.saved_gr(which, number)));
    let mut env = stepped(&mut machine);
    for (_, register, number) in all {
        assert_eq!(
            get(&mut env, &mut machine, special(register)),
            stacked(u64::from(number)),
            "{register:?}"
        );
        let expected = Location::RegisterStack(BSP + 8 * (u64::from(number) - 32));
        assert_eq!(location(&mut env, &mut machine, special(register)), expected);
    }
}

#[test]
fn a_backing_store_that_was_switched() {
    let mut machine = function(|code| code.saved_gr(p3::BSP, 40));
    let before = 0x6000_0000_0009_0100;
    machine.backing.insert(BSP + 64, before);
    let mut env = stepped(&mut machine);
    assert_eq!(get(&mut env, &mut machine, special(Special::Bsp)), add_to_bsp(before, -6));
}

#[test]
fn a_variable_frame() {
    let mut machine = function(|code| code.saved_gr(p3::PSP, 34).p7(5, 4));
    machine.backing.insert(BSP + 16, SP + 0x500);
    machine.memory.insert(SP + 0x500, CALLER + 0x10);
    let mut env = stepped(&mut machine);
    assert_eq!(get(&mut env, &mut machine, special(Special::Sp)), SP + 0x500);
    assert_eq!(location(&mut env, &mut machine, special(Special::Sp)), Location::RegisterStack(BSP + 16));
    let mut machine = function(|code| code.p7(3, 4));
    machine.memory.insert(SP + 16, SP + 0x600);
    let mut env = stepped(&mut machine);
    assert_eq!(get(&mut env, &mut machine, special(Special::Sp)), SP + 0x600);
}

#[test]
fn preserved_registers_from_memory_and_nat_bits_from_ar_unat() {
    // From psp = sp + 256 downwards: fr5 at psp, then br1, gr5, gr4.
    let mut machine = function(|code| code.mem_stack_f(0, 16).gr_mem(0b0011).br_mem(0b00001).fr_mem(0b1000));
    let psp = SP + 256;
    for (address, word) in
        [(psp, 1 << 63), (psp + 8, 0x1_0003), (psp - 8, 11), (psp - 16, 15), (psp - 24, 14)]
    {
        machine.memory.insert(address, word);
    }
    // The bit of gr5's address is set, and of no other.
    machine.special(Special::Unat, 1 << ((psp - 16) >> 3 & 63));
    let mut env = stepped(&mut machine);
    assert_eq!(get_float(&mut env, &mut machine, 5), [1 << 63, 0x1_0003]);
    assert_eq!(get(&mut env, &mut machine, Register::Branch(1)), 11);
    assert_eq!(get(&mut env, &mut machine, Register::General(5)), 15);
    assert_eq!(get(&mut env, &mut machine, Register::General(4)), 14);
    assert!(matches!(env.nat(&mut machine, Register::General(5)), Ok(true)));
    assert!(matches!(env.nat(&mut machine, Register::General(4)), Ok(false)));
    assert_eq!(location(&mut env, &mut machine, Register::Float(5)), Location::MemoryStack(psp));
    assert_eq!(location(&mut env, &mut machine, Register::Branch(1)), Location::MemoryStack(psp - 8));
    assert_eq!(location(&mut env, &mut machine, Register::General(4)), Location::MemoryStack(psp - 24));
}

#[test]
fn every_bit_of_the_primary_unat() {
    for (word, register) in (0..64).zip([4, 5, 6, 7].into_iter().cycle()) {
        let mut machine =
            function(|code| code.saved_gr(p3::PRIUNAT, 35).spill_sprel(ab::gr(register), 0, 2 * word));
        let address = SP + 8 * word;
        machine.memory.insert(address, 6);
        for nat in [false, true] {
            let bit = 1u64 << (address >> 3 & 63);
            machine.backing.insert(BSP + 24, if nat { bit } else { !bit });
            let mut env = stepped(&mut machine);
            assert!(
                matches!(env.nat(&mut machine, Register::General(register)), Ok(known) if known == nat),
                "{word}"
            );
        }
        // ar.unat has no say, and is not asked.
        assert!(!machine.asked.iter().any(|asked| asked.0 == Request::Register && asked.1 == 11));
    }
}

#[test]
fn general_registers_in_stacked_ones_keep_their_nat() {
    let mut machine = function(|code| code.gr_gr(0b1011, 34));
    // BSP is word 16 of its group of 64; gr34 to gr36 are words 18 to 20.
    let group = BSP | 0x1f8;
    machine.backing.insert(group, 1 << 19);
    let mut env = stepped(&mut machine);
    for (number, from, nat) in [(4, 34, false), (5, 35, true), (7, 36, false)] {
        assert_eq!(get(&mut env, &mut machine, Register::General(number)), stacked(from));
        assert!(matches!(env.nat(&mut machine, Register::General(number)), Ok(known) if known == nat));
        let expected = Location::RegisterStack(BSP + 8 * (from - 32));
        assert_eq!(location(&mut env, &mut machine, Register::General(number)), expected);
    }
}

#[test]
fn general_registers_in_branch_and_float_registers() {
    let mut machine = function(|code| {
        code.spill_br(ab::gr(4), 0, 6).spill_fr(ab::gr(5), 0, 6).spill_fr(ab::gr(6), 0, 7).spill_gr(
            ab::gr(7),
            0,
            5,
        )
    });
    machine.set(Register::Branch(6), 44);
    machine.registers.insert(Register::Float(6).code(), [55, 0x1_003e]);
    machine.registers.insert(Register::Float(7).code(), [0, 0x1_fffe]);
    let mut env = machine.at(45, cfm(20, 16));
    env.set_register(Register::General(5), 57).expect("a preserved register");
    env.set_nat(Register::General(5), true).expect("a preserved register");
    env.set_nat(Register::General(4), true).expect("a preserved register");
    step(&mut env, &mut machine);
    for (number, value, nat) in [(4, 44, false), (5, 55, false), (6, 0, true), (7, 57, true)] {
        assert_eq!(get(&mut env, &mut machine, Register::General(number)), value, "gr{number}");
        assert!(
            matches!(env.nat(&mut machine, Register::General(number)), Ok(known) if known == nat),
            "gr{number}"
        );
    }
    assert_eq!(
        location(&mut env, &mut machine, Register::General(4)),
        Location::Register(Register::Branch(6))
    );
    assert_eq!(
        location(&mut env, &mut machine, Register::General(5)),
        Location::Register(Register::Float(6))
    );
    assert_eq!(
        location(&mut env, &mut machine, Register::General(7)),
        Location::Register(Register::General(5))
    );
}

#[test]
fn registers_are_restored_from_the_old_context() {
    // gr4 and gr5 are exchanged: neither sees the other's new value.
    let mut machine =
        function(|code| code.spill_gr(ab::gr(4), 0, 5).spill_gr(ab::gr(5), 0, 4).spill_gr(ab::br(2), 0, 4));
    let mut env = machine.at(45, cfm(20, 16));
    for (number, value) in [(4, 40), (5, 50)] {
        env.set_register(Register::General(number), value).expect("a preserved register");
    }
    step(&mut env, &mut machine);
    assert_eq!(get(&mut env, &mut machine, Register::General(4)), 50);
    assert_eq!(get(&mut env, &mut machine, Register::General(5)), 40);
    assert_eq!(get(&mut env, &mut machine, Register::Branch(2)), 40);
}

#[test]
fn float_registers() {
    let mut machine = function(|code| code.spill_fr(ab::fr(2), 0, 9).spill_sprel(ab::fr(31), 0, 8));
    machine.registers.insert(Register::Float(9).code(), [99, 0x3_0009]);
    machine.registers.insert(Register::Float(16).code(), [16, 0x1_0016]);
    machine.memory.insert(SP + 32, 31);
    machine.memory.insert(SP + 40, 0x1_0031);
    let mut env = stepped(&mut machine);
    let reads = machine.count(Request::MemoryStack);
    assert_eq!(reads, 2);
    assert_eq!(get_float(&mut env, &mut machine, 0), [0, 0]);
    assert_eq!(get_float(&mut env, &mut machine, 1), [1 << 63, 0xffff]);
    assert_eq!(get_float(&mut env, &mut machine, 2), [99, 0x3_0009]);
    assert_eq!(get_float(&mut env, &mut machine, 16), [16, 0x1_0016]);
    assert_eq!(get_float(&mut env, &mut machine, 31), [31, 0x1_0031]);
    assert_eq!(machine.count(Request::MemoryStack), reads);
    assert_eq!(location(&mut env, &mut machine, Register::Float(1)), Location::Nowhere);
    assert_eq!(
        location(&mut env, &mut machine, Register::Float(16)),
        Location::Register(Register::Float(16))
    );
    // Without following them a step reads none, and they are still found.
    let mut env = machine.at(45, cfm(20, 16));
    env.skip_floats();
    step(&mut env, &mut machine);
    assert_eq!(machine.count(Request::MemoryStack), reads);
    assert_eq!(get_float(&mut env, &mut machine, 31), [31, 0x1_0031]);
    // Setting one follows them again.
    let mut env = machine.at(45, cfm(20, 16));
    env.skip_floats();
    env.set_float(Register::Float(16), [7, 8]).expect("a preserved register");
    let reads = machine.count(Request::MemoryStack);
    step(&mut env, &mut machine);
    assert_eq!(machine.count(Request::MemoryStack), reads + 2);
    assert_eq!(get_float(&mut env, &mut machine, 16), [7, 8]);
}

#[test]
fn stacked_registers_pass_over_nat_collections() {
    let mut machine = Machine::with(new().prologue(3).body(60));
    let bsp = 0x6000_0000_0002_01e0;
    for (word, value) in (0..8).zip(500..) {
        machine.backing.insert(bsp + 8 * word, value);
    }
    machine.backing.insert(0x6000_0000_0002_01f8, 1 << 61);
    machine.backing.insert(0x6000_0000_0002_03f8, 0b10);
    let mut env = Env::new();
    env.init_context(FUNCTION + 0x100, SP, bsp, cfm(8, 8));
    for (number, value, nat) in
        [(32, 500, false), (33, 501, true), (34, 502, false), (35, 504, false), (36, 505, true)]
    {
        assert_eq!(get(&mut env, &mut machine, Register::General(number)), value);
        assert!(
            matches!(env.nat(&mut machine, Register::General(number)), Ok(known) if known == nat),
            "gr{number}"
        );
    }
    assert_eq!(location(&mut env, &mut machine, Register::General(35)), Location::RegisterStack(bsp + 32));
    assert!(matches!(env.nat(&mut machine, Register::General(0)), Ok(false)));
}

#[test]
fn rotating_registers() {
    let mut machine = function(|code| code);
    // 16 of 20 registers rotate, by 5.
    let mut env = machine.at(45, cfm(20, 16) | 2 << 14 | 5 << 18);
    for (number, register) in [(32, 37), (42, 47), (43, 32), (47, 36), (48, 48)] {
        let expected = machine.backing[&(BSP + 8 * (register - 32))];
        assert_eq!(get(&mut env, &mut machine, Register::General(number)), expected, "gr{number}");
    }
}

#[test]
fn scratch_registers_are_those_of_the_initial_context() {
    let mut machine = function(|code| code.mem_stack_f(0, 4));
    for (register, value) in [(Register::General(8), 8), (Register::Branch(7), 7), (Register::General(1), 1)]
    {
        machine.set(register, value);
    }
    let mut env = stepped(&mut machine);
    for (register, value) in [(Register::General(8), 8), (Register::Branch(7), 7)] {
        assert_eq!(get(&mut env, &mut machine, register), value);
        assert_eq!(location(&mut env, &mut machine, register), Location::Register(register));
    }
    assert_eq!(get(&mut env, &mut machine, Register::General(0)), 0);
    assert_eq!(location(&mut env, &mut machine, Register::General(0)), Location::Nowhere);
}

#[test]
fn locations_begin_in_the_registers_themselves() {
    let mut machine = function(|code| code.gr_gr(1, 34));
    let mut env = machine.at(45, cfm(20, 16));
    let own = [
        Register::General(4),
        Register::Branch(5),
        Register::Float(31),
        special(Special::Ip),
        special(Special::Preds),
    ];
    for register in own {
        assert_eq!(location(&mut env, &mut machine, register), Location::Register(register));
    }
    step(&mut env, &mut machine);
    assert_eq!(location(&mut env, &mut machine, Register::General(4)), Location::RegisterStack(BSP + 16));
    env.init_history();
    for register in own {
        assert_eq!(location(&mut env, &mut machine, register), Location::Register(register));
    }
    // The values stay.
    assert_eq!(get(&mut env, &mut machine, Register::General(4)), stacked(34));
}

#[test]
fn the_primary_unat_is_a_register_of_the_frame() {
    let mut machine = function(|code| code.saved_gr(p3::PRIUNAT, 36));
    machine.special(Special::Unat, 99);
    let mut env = machine.at(45, cfm(20, 16));
    assert_eq!(get(&mut env, &mut machine, special(Special::PriUnat)), stacked(36));
    // Before it is saved it is ar.unat.
    let mut env = machine.at(3, cfm(20, 16));
    machine.special(Special::Psp, 0);
    assert_eq!(get(&mut env, &mut machine, special(Special::PriUnat)), 99);
}

#[test]
fn a_return_pointer_of_zero_is_the_bottom() {
    let mut machine = Machine::with(new().prologue(0).saved_gr(p3::RP, 0).body(60));
    machine.special(Special::Pfs, PFS);
    let mut env = machine.at(45, cfm(20, 16));
    assert!(matches!(env.step(&mut machine), Ok(Stepped::Bottom)));
    assert!(matches!(env.step(&mut machine), Ok(Stepped::Bottom)));
    assert_eq!(get(&mut env, &mut machine, special(Special::Sp)), SP);
    assert_eq!(location(&mut env, &mut machine, special(Special::Rp)), Location::Nowhere);
    // Any other address is somebody's.
    let mut machine = function(|code| code);
    machine.backing.insert(BSP + 8, 1);
    let mut env = stepped(&mut machine);
    assert_eq!(get(&mut env, &mut machine, special(Special::Ip)), 1);
}

#[test]
fn conditional_saves_follow_the_predicates_of_the_frame() {
    let mut machine = function(|code| code.spill_gr_p(7, ab::LC, 0, 38));
    machine.special(Special::Lc, 1);
    for (predicates, lc) in [(1, 1), (1 | 1 << 7, stacked(38)), (1, 1)] {
        machine.special(Special::Preds, predicates);
        let mut env = stepped(&mut machine);
        assert_eq!(get(&mut env, &mut machine, special(Special::Lc)), lc);
    }
    // What was learned under other predicates is not used.
    let mut env = machine.at(45, cfm(20, 16));
    for (predicates, lc) in [(1, 1), (1 | 1 << 7, stacked(38)), (1 | 1 << 6, 1)] {
        machine.special(Special::Preds, predicates);
        env.init_context(FUNCTION + 15 * 16, SP, BSP, cfm(20, 16));
        step(&mut env, &mut machine);
        assert_eq!(get(&mut env, &mut machine, special(Special::Lc)), lc);
        env.init_context(FUNCTION + 15 * 16, SP, BSP, cfm(20, 16));
        env.set_register(special(Special::Preds), predicates).expect("a special register");
        step(&mut env, &mut machine);
        assert_eq!(get(&mut env, &mut machine, special(Special::Lc)), lc);
    }
}

#[test]
fn what_was_set_for_a_frame_is_not_its_callers() {
    let mut machine = function(|code| code);
    machine.set(Register::General(1), 0x1111);
    machine.special(Special::Unat, 0x2222);
    let mut env = machine.at(45, cfm(20, 16));
    for (register, callers) in [(Special::Gp, 0x1111), (Special::PriUnat, 0x2222)] {
        env.init_context(FUNCTION + 15 * 16, SP, BSP, cfm(20, 16));
        env.set_register(special(register), 5).expect("a special register");
        assert_eq!(get(&mut env, &mut machine, special(register)), 5);
        step(&mut env, &mut machine);
        assert_eq!(get(&mut env, &mut machine, special(register)), callers, "{register:?}");
    }
}

#[test]
fn a_register_that_is_set_lies_in_itself() {
    let mut machine =
        function(|code| code.gr_gr(1, 34).br_gr(1, 35).spill_sprel(ab::fr(2), 0, 4).saved_gr(p3::LC, 36));
    machine.memory.extend([(SP + 16, 1), (SP + 24, 2)]);
    let mut env = stepped(&mut machine);
    for register in [Register::General(4), Register::Branch(1), Register::Float(2), special(Special::Lc)] {
        assert_ne!(location(&mut env, &mut machine, register), Location::Register(register));
        let set = match register {
            Register::Float(_) => env.set_float(register, [3, 4]),
            _ => env.set_register(register, 3),
        };
        assert_eq!(set, Ok(()));
        assert_eq!(location(&mut env, &mut machine, register), Location::Register(register));
    }
}
