//! Which rules hold at which slot, from descriptors that are written here by name.
//!
//! This file is long because it holds a test for each descriptor.

mod common;

use common::assembler::{ab, p3, Descriptors};
use odograph_unwind::ia64::{rules, Failure, Place, Predicates, Rules, Saved, Status, MOST_STATES};

fn with_predicates(code: &Descriptors, slot: u64, predicates: u64) -> Result<Option<Rules>, Status> {
    let mut read = || Ok(predicates);
    rules(&code.0, slot, &mut Predicates::new(&mut read))
        .map_err(|failure| failure.status().expect("a status"))
}

fn at(code: &Descriptors, slot: u64) -> Rules {
    with_predicates(code, slot, 1).expect("good descriptors").expect("a region reaches here")
}

/// The places of a register at slots 0, 1, ….
fn places(code: &Descriptors, saved: Saved, slots: u64) -> Vec<Place> {
    (0..slots).map(|slot| at(code, slot).place(saved)).collect()
}

/// The slots at which a register is not in itself, with the place if that is one.
fn since(code: &Descriptors, saved: Saved, slots: u64) -> (u64, Place) {
    let places = places(code, saved, slots);
    let first = places.iter().position(|place| *place != Place::Itself).expect("saved somewhere");
    assert!(places[first..].iter().all(|place| *place == places[first]), "{places:?}");
    (first as u64, places[first])
}

fn general(number: u8) -> Saved {
    Saved::general(number - 4).expect("a preserved register")
}

fn branch(number: u8) -> Saved {
    Saved::branch(number - 1).expect("a preserved register")
}

fn psp_relative(field: u64) -> Place {
    Place::AtPsp(16u64.wrapping_sub(4 * field))
}

fn new() -> Descriptors {
    Descriptors::new()
}

#[test]
fn a_save_holds_behind_its_slot() {
    let code = new().prologue(6).p7(4, 2).saved_gr(p3::RP, 41).body(3);
    assert_eq!(since(&code, Saved::RP, 9), (3, Place::General(41)));
    let first = new().prologue(6).p7(4, 0).saved_gr(p3::RP, 41).body(3);
    assert_eq!(since(&first, Saved::RP, 9), (1, Place::General(41)));
}

#[test]
fn a_save_without_a_time_holds_behind_the_prologue() {
    let code = new().prologue(6).saved_gr(p3::RP, 41).body(3);
    assert_eq!(since(&code, Saved::RP, 9), (6, Place::General(41)));
    // Its last slot is the latest there is.
    let late = new().prologue(6).p7(4, 60).saved_gr(p3::RP, 41).body(3);
    assert_eq!(since(&late, Saved::RP, 9), (6, Place::General(41)));
    // Times count from the start of their own region.
    let second = new().prologue(2).body(3).prologue(4).p7(4, 1).saved_gr(p3::RP, 41).body(3);
    assert_eq!(since(&second, Saved::RP, 12), (7, Place::General(41)));
}

#[test]
fn an_empty_prologue_is_behind_from_its_start() {
    let code = new().prologue(0).p7(4, 0).saved_gr(p3::RP, 41).body(3);
    assert_eq!(since(&code, Saved::RP, 3), (0, Place::General(41)));
}

#[test]
fn every_register_can_be_saved_in_a_general_one() {
    for (which, saved) in [
        (p3::PSP, Saved::PSP),
        (p3::RP, Saved::RP),
        (p3::PFS, Saved::PFS),
        (p3::PREDS, Saved::PREDS),
        (p3::UNAT, Saved::UNAT),
        (p3::LC, Saved::LC),
        (p3::RNAT, Saved::RNAT),
        (p3::BSP, Saved::BSP),
        (p3::BSPSTORE, Saved::BSPSTORE),
        (p3::FPSR, Saved::FPSR),
        (p3::PRIUNAT, Saved::PRIUNAT),
    ] {
        let code = new().prologue(3).saved_gr(which, 44).body(3);
        assert_eq!(since(&code, saved, 6), (3, Place::General(44)));
        assert_eq!(at(&code, 4).place(Saved::RP) != Place::Itself, saved == Saved::RP);
    }
}

#[test]
fn times_and_places_by_the_formats_p7_and_p8() {
    let p7 = [
        (4, Saved::RP),
        (6, Saved::PFS),
        (8, Saved::PREDS),
        (10, Saved::LC),
        (12, Saved::UNAT),
        (14, Saved::FPSR),
    ];
    for (first, saved) in p7 {
        let code = new().prologue(6).p7(first, 2).p7(first + 1, 8).body(3);
        assert_eq!(since(&code, saved, 9), (3, psp_relative(8)));
    }
    for ((first, saved), which) in p7.into_iter().zip([1, 2, 3, 4, 5, 6]) {
        let code = new().prologue(6).p7(first, 2).p8(which, 6).body(3);
        assert_eq!(since(&code, saved, 9), (3, Place::AtSp(24)));
    }
    for (first, saved) in [(7, Saved::BSP), (10, Saved::BSPSTORE), (13, Saved::RNAT)] {
        let code = new().prologue(6).p8(first, 2).p8(first + 1, 8).body(3);
        assert_eq!(since(&code, saved, 9), (3, psp_relative(8)));
        let code = new().prologue(6).p8(first, 2).p8(first + 2, 8).body(3);
        assert_eq!(since(&code, saved, 9), (3, Place::AtSp(32)));
    }
}

#[test]
fn the_frame() {
    let fixed = new().prologue(4).mem_stack_f(1, 4).body(3);
    assert_eq!(since(&fixed, Saved::PSP, 7), (2, Place::SpPlus(64)));
    let variable = new().prologue(4).p7(1, 2).saved_gr(p3::PSP, 35).body(3);
    assert_eq!(since(&variable, Saved::PSP, 7), (3, Place::General(35)));
    let kept = new().prologue(4).p7(1, 0).p7(3, 5).body(3);
    assert_eq!(since(&kept, Saved::PSP, 7), (1, Place::AtSp(20)));
}

#[test]
fn the_second_of_two_saves_comes_with_its_own_time() {
    let twice = new().prologue(8).p7(4, 1).saved_gr(p3::RP, 33).p7(4, 5).p7(5, 4).body(3);
    let here = places(&twice, Saved::RP, 9);
    assert_eq!(here[1], Place::Itself);
    assert_eq!(here[2..=5], [Place::General(33); 4]);
    assert_eq!(here[6..], [psp_relative(4); 3]);
}

#[test]
fn a_time_that_is_told_twice_is_the_later_one() {
    let code = new().prologue(8).p7(4, 1).p7(4, 3).saved_gr(p3::RP, 33).body(3);
    assert_eq!(since(&code, Saved::RP, 11), (4, Place::General(33)));
    let code = new().prologue(8).p7(4, 1).p7(4, 3).body(3);
    assert_eq!(since(&code, Saved::RP, 11), (4, Place::General(32)));
}

#[test]
fn the_primary_unat_is_where_it_was_saved_last() {
    let code = new().prologue(9).p8(16, 2).saved_gr(p3::PRIUNAT, 37).p8(19, 6).p8(17, 4).body(3);
    let here = places(&code, Saved::PRIUNAT, 10);
    assert_eq!(here[2], Place::Itself);
    assert_eq!(here[3..=6], [Place::General(37); 4]);
    assert_eq!(here[7..], [psp_relative(4); 3]);
    let other = new().prologue(9).p8(19, 2).p8(18, 4).p8(16, 6).saved_gr(p3::PRIUNAT, 37).body(3);
    let here = places(&other, Saved::PRIUNAT, 10);
    assert_eq!(here[3..=6], [Place::AtSp(16); 4]);
    assert_eq!(here[7..], [Place::General(37); 3]);
}

#[test]
fn successive_general_registers_of_a_prologue() {
    let all = new().prologue_gr(0b1111, 35, 4).body(3);
    for (saved, number) in [(Saved::RP, 35), (Saved::PFS, 36), (Saved::PSP, 37), (Saved::PREDS, 38)] {
        assert_eq!(since(&all, saved, 7), (4, Place::General(number)));
    }
    let some = new().prologue_gr(0b0101, 35, 4).p7(6, 1).body(3);
    assert_eq!(since(&some, Saved::PFS, 7), (2, Place::General(35)));
    assert_eq!(since(&some, Saved::PREDS, 7), (4, Place::General(36)));
    assert_eq!(at(&some, 5).place(Saved::RP), Place::Itself);
}

#[test]
fn a_time_without_a_place_takes_the_next_general_register() {
    // In a fixed order, whatever the order of the descriptors, behind those that the prologue names.
    let code = new()
        .prologue_gr(0b1000, 40, 20)
        .p8(16, 9)
        .p7(14, 8)
        .p7(10, 7)
        .p7(12, 6)
        .p7(8, 5)
        .p7(1, 4)
        .p7(6, 3)
        .p7(4, 2)
        .body(3);
    for (saved, time, number) in [
        (Saved::RP, 2, 40),
        (Saved::PFS, 3, 41),
        (Saved::PSP, 4, 42),
        (Saved::PREDS, 5, 43),
        (Saved::UNAT, 6, 44),
        (Saved::LC, 7, 45),
        (Saved::FPSR, 8, 46),
        (Saved::PRIUNAT, 9, 47),
    ] {
        assert_eq!(since(&code, saved, 23), (time + 1, Place::General(number)));
    }
    let first = new().prologue(4).p7(6, 0).p7(4, 1).body(3);
    assert_eq!(since(&first, Saved::RP, 7), (2, Place::General(32)));
    assert_eq!(since(&first, Saved::PFS, 7), (1, Place::General(33)));
}

#[test]
fn another_return_register() {
    let code = new().prologue(3).saved_gr(p3::RP_BR, 6).body(3);
    assert_eq!(at(&code, 0).return_branch, 6);
    assert_eq!(at(&code, 4).return_branch, 6);
    assert_eq!(at(&new().prologue(3).body(3), 4).return_branch, 0);
}

#[test]
fn the_spill_area_lies_below_its_base() {
    // Two floats, one branch register, two general registers, from psp + 16 - 4 * 6 downwards.
    let code = new().prologue(4).frgr_mem(0b1001, 0b1_0010).br_mem(0b00100).p7(2, 6).body(3);
    let float = |index| Saved::float(index).expect("a preserved register");
    for (saved, below) in [
        (float(4), 16 + 24),
        (float(1), 32 + 24),
        (branch(3), 40 + 24),
        (general(7), 48 + 24),
        (general(4), 56 + 24),
    ] {
        assert_eq!(since(&code, saved, 7), (4, Place::AtPsp(16u64.wrapping_sub(below))));
    }
    let without = new().prologue(4).gr_mem(0b0001).fr_mem(0b1000).body(3);
    assert_eq!(since(&without, float(3), 7), (4, Place::AtPsp(0)));
    assert_eq!(since(&without, general(4), 7), (4, Place::AtPsp(8u64.wrapping_neg())));
}

#[test]
fn the_mask_says_when_each_is_spilled() {
    let code = new()
        .prologue(12)
        .gr_mem(0b0110)
        .gr_gr(0b1001, 50)
        .br_gr(0b00001, 60)
        .br_mem(0b10000)
        .fr_mem(0b0011)
        .spill_mask("-gb-fg-bgf-g")
        .body(2);
    let float = |index| Saved::float(index).expect("a preserved register");
    assert_eq!(since(&code, general(4), 14), (2, Place::General(50)));
    assert_eq!(since(&code, general(5), 14).0, 6);
    assert_eq!(since(&code, general(6), 14).0, 9);
    assert_eq!(since(&code, general(7), 14), (12, Place::General(51)));
    assert_eq!(since(&code, branch(1), 14), (3, Place::General(60)));
    assert_eq!(since(&code, branch(5), 14).0, 8);
    assert_eq!(since(&code, float(0), 14).0, 5);
    assert_eq!(since(&code, float(1), 14).0, 10);
}

#[test]
fn an_epilogue_gives_the_frame_back() {
    // The stack pointer is restored at slot 8 - 1 - 2 of the body.
    let code = new()
        .prologue(4)
        .mem_stack_f(0, 4)
        .p7(5, 8)
        .p8(2, 4)
        .saved_gr(p3::LC, 40)
        .gr_mem(1)
        .body(8)
        .epilogue(2, 0);
    for slot in 4..=9 {
        let here = at(&code, slot);
        assert_eq!(here.place(Saved::PSP), Place::SpPlus(64), "slot {slot}");
        assert_eq!(here.place(Saved::RP), psp_relative(8));
        assert_eq!(here.place(Saved::PFS), Place::AtSp(16));
    }
    for slot in 10..12 {
        let here = at(&code, slot);
        for saved in [Saved::PSP, Saved::RP, Saved::PFS, general(4)] {
            assert_eq!(here.place(saved), Place::Itself, "slot {slot}");
        }
        // What lies in registers still lies there.
        assert_eq!(here.place(Saved::LC), Place::General(40));
    }
}

#[test]
fn an_epilogue_as_long_as_its_body() {
    let code = new().prologue(2).mem_stack_f(0, 4).body(3).epilogue(2, 0);
    assert_eq!(
        places(&code, Saved::PSP, 5)[1..],
        [Place::SpPlus(64), Place::SpPlus(64), Place::Itself, Place::Itself]
    );
    let longer = new().prologue(2).mem_stack_f(0, 4).body(3).epilogue(3, 0);
    assert_eq!(places(&longer, Saved::PSP, 5)[2..], [Place::Itself; 3]);
    let shortest = new().prologue(2).mem_stack_f(0, 4).body(3).epilogue(0, 0).body(1);
    assert_eq!(
        places(&shortest, Saved::PSP, 6)[1..],
        [Place::SpPlus(64); 4].into_iter().chain([Place::Itself]).collect::<Vec<_>>()
    );
}

#[test]
fn the_scratch_area_outlives_the_frame() {
    let code = new().prologue(2).p7(5, 0).p7(7, 1).body(3).epilogue(2, 0);
    assert_eq!(at(&code, 4).place(Saved::RP), Place::AtPsp(16));
    assert_eq!(at(&code, 4).place(Saved::PFS), Place::Itself);
}

#[test]
fn a_body_ends_with_the_prologues_it_leaves() {
    let nested = new()
        .prologue(2)
        .saved_gr(p3::PFS, 33)
        .body(2)
        .prologue(2)
        .saved_gr(p3::LC, 34)
        .body(2)
        .epilogue(1, 0)
        .body(2)
        .prologue(2)
        .saved_gr(p3::UNAT, 35)
        .body(2)
        .epilogue(1, 1)
        .body(2);
    let is_saved = |slot, saved| at(&nested, slot).place(saved) != Place::Itself;
    let expected = |slot| match slot {
        2..=5 => [true, false, false],
        6..=7 => [true, true, false],
        8..=11 => [true, false, false],
        12..=13 => [true, false, true],
        _ => [false, false, false],
    };
    for slot in 0..16 {
        let here = [Saved::PFS, Saved::LC, Saved::UNAT].map(|saved| is_saved(slot, saved));
        assert_eq!(here, expected(slot), "slot {slot}");
    }
}

#[test]
fn a_body_cannot_leave_more_than_was_entered() {
    let code = new().prologue(2).body(3).epilogue(1, 1).body(2);
    assert_eq!(with_predicates(&code, 6, 1), Err(Status::PrologueUnderflow));
    // The long form counts as well.
    let code = new().prologue(2).body(3).epilogue(1, 40).body(2);
    assert_eq!(with_predicates(&code, 6, 1), Err(Status::PrologueUnderflow));
    let code = new().prologue(2).body(3).epilogue(1, 0).body(2);
    assert!(with_predicates(&code, 6, 1).is_ok());
    let code = new().prologue(1).prologue(1).body(3).epilogue(1, 1).body(2);
    assert!(with_predicates(&code, 6, 1).is_ok());
    let again = new().prologue(2).body(3).epilogue(1, 0).body(3).epilogue(1, 0).body(2);
    assert_eq!(with_predicates(&again, 9, 1), Err(Status::PrologueUnderflow));
}

#[test]
fn labels_keep_a_state_and_what_is_around_it() {
    for label in [3, 300] {
        let code = new()
            .prologue(2)
            .saved_gr(p3::PFS, 33)
            .body(2)
            .label_state(label)
            .epilogue(1, 0)
            .body(2)
            .copy_state(label)
            .epilogue(1, 0)
            .body(2);
        let here = places(&code, Saved::PFS, 8);
        assert_eq!(here[2..6], [Place::General(33); 4]);
        assert_eq!(here[6..], [Place::Itself; 2]);
    }
    let unknown = new().prologue(2).body(2).label_state(1).body(2).copy_state(2);
    assert_eq!(with_predicates(&unknown, 5, 1), Err(Status::UndefinedLabel));
}

#[test]
fn a_label_is_the_state_at_its_bodys_entry() {
    let code = new()
        .prologue(2)
        .saved_gr(p3::PFS, 33)
        .body(3)
        .spill_gr(ab::LC, 0, 40)
        .label_state(1)
        .body(2)
        .copy_state(1);
    assert_eq!(at(&code, 4).place(Saved::LC), Place::General(40));
    assert_eq!(at(&code, 5).place(Saved::LC), Place::Itself);
    assert_eq!(at(&code, 5).place(Saved::PFS), Place::General(33));
    // A label may be given again.
    let again = new()
        .prologue(1)
        .body(1)
        .label_state(1)
        .prologue(1)
        .saved_gr(p3::PFS, 33)
        .body(1)
        .label_state(1)
        .epilogue(0, 0)
        .body(1)
        .copy_state(1);
    assert_eq!(at(&again, 4).place(Saved::PFS), Place::General(33));
}

#[test]
fn saves_anywhere() {
    let code = new()
        .prologue(2)
        .body(20)
        .restore(ab::gr(4), 15)
        .spill_sprel(ab::gr(4), 1, 4)
        .spill_psprel(ab::fr(16), 2, 8)
        .spill_gr(ab::br(3), 3, 35)
        .spill_br(ab::RP, 4, 7)
        .spill_fr(ab::gr(5), 5, 6)
        .restore(ab::RP, 17);
    let here = places(&code, general(4), 22);
    assert_eq!(here[3], Place::Itself);
    assert_eq!(here[4..=17], [Place::AtSp(16); 14]);
    assert_eq!(here[18..], [Place::Itself; 4]);
    let here = places(&code, Saved::RP, 22);
    assert_eq!(
        (here[6], here[7], here[19], here[20]),
        (Place::Itself, Place::Branch(7), Place::Branch(7), Place::Itself)
    );
    assert_eq!(since(&code, Saved::float(4).expect("fr16"), 22), (5, psp_relative(8)));
    assert_eq!(since(&code, branch(3), 22), (6, Place::General(35)));
    assert_eq!(since(&code, general(5), 22), (8, Place::Float(6)));
    // In prologues as well, and not behind the region's last slot.
    let code = new().prologue(4).spill_gr(ab::PFS, 90, 35).body(3);
    assert_eq!(since(&code, Saved::PFS, 7), (4, Place::General(35)));
}

#[test]
fn saves_under_a_predicate() {
    let code = new().prologue(2).body(9).spill_gr_p(6, ab::RP, 1, 35).spill_gr_p(7, ab::RP, 1, 36).restore_p(
        8,
        ab::RP,
        5,
    );
    let place = |slot, predicates| {
        with_predicates(&code, slot, predicates).map(|rules| rules.map(|rules| rules.place(Saved::RP)))
    };
    assert_eq!(place(5, 1), Ok(Some(Place::Itself)));
    assert_eq!(place(5, 1 | 1 << 6), Ok(Some(Place::General(35))));
    assert_eq!(place(5, 1 | 1 << 7), Ok(Some(Place::General(36))));
    assert_eq!(place(3, 1 | 1 << 7), Ok(Some(Place::Itself)));
    assert_eq!(place(9, 1 | 1 << 7), Ok(Some(Place::General(36))));
    assert_eq!(place(9, 1 | 1 << 7 | 1 << 8), Ok(Some(Place::Itself)));
    let memory = new().prologue(2).body(9).spill_psprel_p(63, ab::LC, 1, 8).spill_sprel_p(0, ab::PFS, 1, 8);
    let rules = |predicates| with_predicates(&memory, 5, predicates).expect("good").expect("a region");
    assert_eq!(rules(0).place(Saved::LC), Place::Itself);
    assert_eq!(rules(1 << 63).place(Saved::LC), psp_relative(8));
    // Predicate 0 is always true.
    assert_eq!(rules(0).place(Saved::PFS), Place::AtSp(32));
}

#[test]
fn predicates_are_read_once_and_only_if_they_matter() {
    let code = new().prologue(2).body(9).spill_gr_p(6, ab::RP, 1, 35).spill_gr_p(9, ab::LC, 1, 35);
    let mut count = 0;
    let mut read = || {
        count += 1;
        Ok(0)
    };
    let mut predicates = Predicates::new(&mut read);
    assert!(rules(&code.0, 3, &mut predicates).is_ok());
    assert_eq!(predicates.used, 0);
    assert!(rules(&code.0, 4, &mut predicates).is_ok());
    assert_eq!(predicates.used, 1 << 6 | 1 << 9);
    assert_eq!(count, 1);
    let mut fails = || Err(Failure::Status(Status::CopyInRegister));
    let failure = rules(&code.0, 4, &mut Predicates::new(&mut fails)).expect_err("no predicates");
    assert_eq!(failure.status(), Some(Status::CopyInRegister));
}

#[test]
fn interrupted_frames() {
    let code = new().prologue(0).unwabi(3, b's').body(3);
    assert_eq!(at(&code, 1).abi, Some((3, b's')));
    // The mark holds in prologues behind it, until its own is left.
    let nested = new().prologue(0).unwabi(3, b's').body(3).prologue(2).body(3).epilogue(0, 1).body(2);
    assert_eq!(at(&nested, 4).abi, Some((3, b's')));
    assert_eq!(at(&nested, 9).abi, None);
    assert_eq!(at(&new().prologue(2).body(3), 1).abi, None);
}

#[test]
fn regions_end_somewhere() {
    let code = new().prologue(2).body(40);
    assert!(with_predicates(&code, 41, 1).expect("good").is_some());
    assert_eq!(with_predicates(&code, 42, 1), Ok(None));
    assert_eq!(with_predicates(&code, u64::MAX, 1), Ok(None));
    assert_eq!(with_predicates(&new(), 0, 1), Ok(None));
    // Zeros fill the last word; they are prologues without slots.
    let mut padded = code.clone();
    padded.0.extend([0; 7]);
    assert_eq!(with_predicates(&padded, 42, 1), Ok(None));
    // Lengths may be anything.
    let huge = new().prologue(u64::MAX).body(u64::MAX).body(5);
    assert!(with_predicates(&huge, u64::MAX - 1, 1).expect("good").is_some());
    assert!(with_predicates(&huge, u64::MAX, 1).expect("good").is_some());
}

#[test]
fn errors_behind_the_slot_do_not_matter() {
    let mut code = new().prologue(2).body(3).body(1);
    code.0.push(0xff);
    assert!(with_predicates(&code, 4, 1).expect("good").is_some());
    assert_eq!(with_predicates(&code, 5, 1), Err(Status::BadDescriptor));
}

#[test]
fn descriptors_out_of_place_or_without_sense() {
    let bad =
        |code: &Descriptors| assert_eq!(with_predicates(code, 1, 1), Err(Status::BadDescriptor), "{code:?}");
    bad(&new().br_mem(1).body(3));
    bad(&new().prologue(3).spill_psprel(ab::PSP, 0, 4));
    bad(&new().prologue(3).spill_gr(ab::fr(2), 0, 4));
    bad(&new().prologue(3).spill_br(ab::fr(2), 0, 4));
    bad(&new().prologue(3).p8(7, 1));
    bad(&new().prologue(3).p8(10, 1));
    bad(&new().prologue(3).p8(13, 1));
    bad(&new().prologue(3).p8(19, 1));
    bad(&new().prologue(3).gr_gr(3, 127));
    bad(&new().prologue_gr(0b1111, 125, 3));
    bad(&new().prologue_gr(0b1111, 124, 3).p7(10, 1));
}

#[test]
fn what_descriptors_may_ask_for_is_bounded() {
    let nested = |count| (0..count).fold(new(), |code, _| code.prologue(0)).body(3);
    assert!(with_predicates(&nested(MOST_STATES), 1, 1).is_ok());
    assert_eq!(with_predicates(&nested(MOST_STATES + 1), 1, 1), Err(Status::NoMemory));
    let labelled =
        |count: usize| (0..count as u64).fold(new().body(1), |code, label| code.label_state(label)).body(3);
    assert!(with_predicates(&labelled(MOST_STATES), 1, 1).is_ok());
    assert_eq!(with_predicates(&labelled(MOST_STATES + 1), 1, 1), Err(Status::NoMemory));
}
