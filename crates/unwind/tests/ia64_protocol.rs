//! What is asked of the target, in which order and units, and every error that can come of it.
//!
//! This file is long because it holds a test for each sentence of the manual page.

mod common;

use common::assembler::{ab, p3, Descriptors};
use common::machine::{
    cfm, get, location, special, step, step_error, words, Machine, BLOCKS, BSP, FUNCTION, SP, TABLE, TEXT,
};
use odograph_unwind::ia64::{
    key, swizzle, Answer, ByteOrder, Datum, Env, Failure, Location, Pair, Question, Register, Request,
    Special, Status, Stepped, MOST_WORDS,
};

const CALLER: u64 = FUNCTION + 0x2000;

fn new() -> Descriptors {
    Descriptors::new()
}

fn simple() -> Descriptors {
    new().prologue_gr(0b1100, 32, 3).mem_stack_f(0, 4).body(90)
}

fn machine() -> Machine {
    let mut machine = Machine::with(simple());
    machine.stack(&[CALLER, cfm(9, 6)]);
    machine
}

fn unwound(machine: &mut Machine) {
    let mut env = machine.at(9, cfm(20, 16));
    step(&mut env, machine);
    assert_eq!(get(&mut env, machine, special(Special::Ip)), CALLER);
    assert_eq!(get(&mut env, machine, special(Special::Sp)), SP + 64);
}

#[test]
fn the_questions_of_a_step() {
    let mut machine = machine();
    let mut env = machine.at(9, cfm(20, 16));
    env.set_register(special(Special::Preds), 0x81).expect("a special register");
    step(&mut env, &mut machine);
    let expected = words(&[(key::VERSION, 3), (key::PREDS, 0x81)]);
    assert_eq!(machine.questions, [(Question::Unwind, FUNCTION + 48, expected)]);
    assert_eq!((machine.owed, machine.freed), (1, 1));
    // psp needs none; rp, then pfs.
    let stacks: Vec<_> = machine.asked.iter().filter(|asked| asked.0 != Request::UnwindInformation).collect();
    assert_eq!(stacks, [&(Request::RegisterStack, BSP, 8), &(Request::RegisterStack, BSP + 8, 8)]);
    // Unknown predicates are not mentioned.
    let mut env = machine.at(9, cfm(20, 16));
    step(&mut env, &mut machine);
    assert_eq!(machine.questions[1].2, words(&[(key::VERSION, 3)]));
}

#[test]
fn what_was_learned_is_not_read_again() {
    let mut machine = machine();
    let mut env = machine.at(9, cfm(20, 16));
    step(&mut env, &mut machine);
    let reads = machine.count(Request::UnwindInformation);
    assert!(reads > 0);
    let again = |env: &mut Env, machine: &mut Machine, slot: u64| {
        env.init_context(FUNCTION + slot / 3 * 16 + slot % 3, SP, BSP, cfm(20, 16));
        step(env, machine);
    };
    again(&mut env, &mut machine, 9);
    assert_eq!(machine.count(Request::UnwindInformation), reads);
    assert_eq!((machine.questions.len(), machine.freed), (2, 2));
    // Another slot of the same bundle is another address.
    again(&mut env, &mut machine, 10);
    assert!(machine.count(Request::UnwindInformation) > reads);
    // Another table is another answer, though it lies at the same address.
    machine.base -= 0x1000_0000;
    let before = machine.count(Request::UnwindInformation);
    again_fails(&mut env, &mut machine);
    assert!(machine.count(Request::UnwindInformation) > before);
    machine.base += 0x1000_0000;
    let before = machine.count(Request::UnwindInformation);
    env.forget();
    again(&mut env, &mut machine, 9);
    assert!(machine.count(Request::UnwindInformation) > before);
}

fn again_fails(env: &mut Env, machine: &mut Machine) {
    env.init_context(FUNCTION + 48, SP, BSP, cfm(20, 16));
    // No entry there: the rule for leaves, which wants branch register 0.
    assert_eq!(step_error(env, machine), Status::CopyInRegister);
}

#[test]
fn both_byte_orders_and_both_widths() {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        for short in [false, true] {
            let mut machine = Machine { order, short, ..Machine::default() };
            for (index, more) in [(0, 0), (1, 1), (2, 2)] {
                // The second function is the one that is asked for.
                let start = FUNCTION - 1600 + index * 1600;
                let block = BLOCKS + 256 * index;
                machine.add_function(start, start + 1600, block, simple().gr_gr(more, 40));
            }
            machine.put_block(BLOCKS + 256, 1, simple());
            machine.stack(&[CALLER, cfm(9, 6)]);
            unwound(&mut machine);
            let mut env = machine.at(9, cfm(20, 16));
            assert!(matches!(env.function_start(&mut machine), Ok(FUNCTION)));
        }
    }
}

#[test]
fn pointers_of_32_bit_programs_are_swizzled() {
    // Text in the second quarter of the 32 bits.
    let base = swizzle(0x4000_0000);
    let mut machine = Machine { short: true, order: ByteOrder::Big, base, ..Machine::default() };
    machine.table = (base + 0x8000, base + 0x8000);
    machine.add_function(base + 0x1000, base + 0x2000, base + 0x9000, simple());
    machine.stack(&[CALLER, cfm(9, 6)]);
    for (shown, ip) in [(base, base + 0x1030), (0x4000_0000, base + 0x1030), (0x4000_0000, 0x4000_1030)] {
        machine.base = shown;
        machine.table = (shown + 0x8000, shown + 0x800c);
        let mut env = Env::new();
        env.set_byte_order(machine.order);
        env.init_context(ip, SP, BSP, cfm(20, 16));
        assert!(
            matches!(env.function_start(&mut machine), Ok(start) if start == base + 0x1000),
            "{shown:x} {ip:x}"
        );
        step(&mut env, &mut machine);
        assert_eq!(get(&mut env, &mut machine, special(Special::Sp)), SP + 64);
    }
}

#[test]
fn the_entry_of_every_address() {
    let mut machine = Machine::default();
    let functions = 37;
    for index in 0..functions {
        // Each saves rp somewhere else; every third is followed by a hole.
        let start = FUNCTION + 64 * index;
        let end = if index % 3 == 2 { start + 48 } else { start + 64 };
        let code = new().prologue(0).saved_gr(p3::RP, 32 + index as u8).body(12);
        machine.add_function(start, end, BLOCKS + 64 * index, code);
    }
    machine.special(Special::Pfs, 0);
    machine.set(Register::Branch(0), 1);
    for bundle in 0..functions * 4 {
        let ip = FUNCTION + 16 * bundle;
        let (index, hole) = (bundle / 4, bundle % 12 == 11);
        let mut env = Env::new();
        env.init_context(ip + 2, SP, BSP, cfm(90, 90));
        let start = env.function_start(&mut machine);
        if hole {
            assert!(matches!(start, Err(Failure::Status(Status::NoTableEntry))));
            assert_eq!(get(&mut env, &mut machine, special(Special::Rp)), 1);
        } else {
            assert!(matches!(start, Ok(start) if start == FUNCTION + 64 * index));
            // Where it lies, whatever lies there.
            let place = BSP + 8 * index;
            let place = if BSP >> 3 & 63 < 63 && (BSP >> 3 & 63) + index >= 63 { place + 8 } else { place };
            machine.backing.insert(place, 5);
            assert_eq!(
                location(&mut env, &mut machine, special(Special::Rp)),
                Location::RegisterStack(place)
            );
        }
    }
    for outside in [FUNCTION - 16, FUNCTION + 64 * functions] {
        let mut env = Env::new();
        env.init_context(outside, SP, BSP, 0);
        assert!(matches!(env.function_start(&mut machine), Err(Failure::Status(Status::NoTableEntry))));
    }
}

#[test]
fn a_table_of_nothing_and_functions_of_nothing_are_leaves() {
    let leaf = |mut machine: Machine| {
        machine.set(Register::Branch(0), CALLER);
        machine.special(Special::Pfs, cfm(9, 6));
        let mut env = machine.at(9, cfm(20, 16));
        step(&mut env, &mut machine);
        assert_eq!(get(&mut env, &mut machine, special(Special::Ip)), CALLER);
        assert_eq!(get(&mut env, &mut machine, special(Special::Sp)), SP);
    };
    leaf(Machine::default());
    let mut upside_down = machine();
    upside_down.table = (TABLE + 24, TABLE);
    leaf(upside_down);
    leaf(Machine::with(new()));
    leaf(Machine::with(new().prologue(1).body(2)));
    let mut without_block = machine();
    without_block.put_word(TABLE + 16, 0);
    leaf(without_block);
}

#[test]
fn words_that_cannot_be_read() {
    // The table, word by word, then the info block.
    for (missing, status) in [
        (TABLE, Status::CopyInTable),
        (TABLE + 8, Status::CopyInTable),
        (TABLE + 16, Status::CopyInTable),
        (BLOCKS, Status::CopyInInformation),
        (BLOCKS + 8, Status::CopyInInformation),
    ] {
        let mut machine = machine();
        machine.code.remove(&(missing + 3));
        let mut env = machine.at(9, cfm(20, 16));
        assert_eq!(step_error(&mut env, &mut machine), status, "{missing:x}");
    }
    let mut machine = machine();
    machine.table = (TABLE + 4, TABLE + 28);
    let mut env = machine.at(9, cfm(20, 16));
    assert_eq!(step_error(&mut env, &mut machine), Status::CopyInTable);
    assert!(machine.asked.is_empty());
    let mut machine = Machine::with(simple());
    let mut env = machine.at(9, cfm(20, 16));
    assert_eq!(step_error(&mut env, &mut machine), Status::CopyInRegisterStack);
    let mut machine = Machine::with(simple().spill_sprel(ab::RP, 0, 4));
    let mut env = machine.at(9, cfm(20, 16));
    assert_eq!(step_error(&mut env, &mut machine), Status::CopyInMemoryStack);
    // Four bytes off: no word lies there.
    let mut machine = Machine::with(simple().spill_sprel(ab::RP, 0, 5));
    let mut env = machine.at(9, cfm(20, 16));
    assert_eq!(step_error(&mut env, &mut machine), Status::CopyInMemoryStack);
    assert_eq!(machine.count(Request::MemoryStack), 0);
    let mut machine = Machine::with(new().prologue(3).body(90));
    let mut env = machine.at(9, cfm(20, 16));
    assert_eq!(step_error(&mut env, &mut machine), Status::CopyInRegister);
}

#[test]
fn a_register_that_fails_late_changes_nothing() {
    let code = new().prologue_gr(0b1100, 32, 3).gr_gr(1, 34).p8(4, 4).body(90);
    let mut machine = Machine::with(code);
    machine.stack(&[CALLER, cfm(9, 6), 4]);
    let mut env = machine.at(9, cfm(20, 16));
    assert_eq!(step_error(&mut env, &mut machine), Status::CopyInMemoryStack);
    assert_eq!(
        location(&mut env, &mut machine, Register::General(4)),
        Location::Register(Register::General(4))
    );
    // Once it can be read, the same environment goes on.
    machine.memory.insert(SP + 16, 7);
    step(&mut env, &mut machine);
    assert_eq!(get(&mut env, &mut machine, special(Special::Lc)), 7);
}

#[test]
fn bad_info_blocks() {
    let mut machine = machine();
    machine.put_block(BLOCKS, 2, simple());
    let mut env = machine.at(9, cfm(20, 16));
    assert_eq!(step_error(&mut env, &mut machine), Status::BadDescriptor);
    machine.put_word(BLOCKS, 1 << 48 | u64::from(MOST_WORDS + 1));
    assert_eq!(step_error(&mut env, &mut machine), Status::NoMemory);
    machine.put_word(BLOCKS, 1 << 48 | u64::from(MOST_WORDS));
    assert_eq!(step_error(&mut env, &mut machine), Status::CopyInInformation);
    for (code, status) in [
        (new().prologue(3).body(90).copy_state(1), Status::UndefinedLabel),
        (new().prologue(1).body(2).epilogue(1, 1).body(90), Status::PrologueUnderflow),
        (Descriptors(vec![0x7f; 8]), Status::BadDescriptor),
    ] {
        machine.put_block(BLOCKS, 1, code);
        assert_eq!(step_error(&mut env, &mut machine), status);
    }
    // Nothing of it is remembered.
    machine.put_block(BLOCKS, 1, simple());
    step(&mut env, &mut machine);
}

#[test]
fn environments_without_a_context() {
    let mut machine = machine();
    let mut env = Env::new();
    let no_context = |result: Result<(), Failure>| {
        assert!(matches!(result, Err(Failure::Status(Status::NoContext))), "{result:?}");
    };
    no_context(env.step(&mut machine).map(|_| ()));
    no_context(env.register(&mut machine, special(Special::Ip)).map(|_| ()));
    no_context(env.nat(&mut machine, Register::General(4)).map(|_| ()));
    no_context(env.location(&mut machine, Register::General(4)).map(|_| ()));
    no_context(env.function_start(&mut machine).map(|_| ()));
    no_context(env.module(&mut machine).map(|_| ()));
    assert!(machine.asked.is_empty() && machine.questions.is_empty());
}

#[test]
fn registers_that_cannot_be_set_or_asked() {
    let mut machine = machine();
    let mut env = machine.at(9, cfm(20, 16));
    for bad in [Register::General(8), Register::Branch(0), Register::Branch(6), Register::Float(2)] {
        assert_eq!(env.set_register(bad, 1), Err(Status::BadRegister));
    }
    for bad in [Register::Float(6), Register::Float(1), Register::General(4)] {
        assert_eq!(env.set_float(bad, [1, 1]), Err(Status::BadRegister));
    }
    assert_eq!(env.set_nat(Register::General(8), true), Err(Status::BadRegister));
    for bad in [Register::General(8), Register::Branch(1), special(Special::Ip), Register::Float(2)] {
        assert!(matches!(env.nat(&mut machine, bad), Err(Failure::Status(Status::BadRegister))));
    }
    for good in [Register::General(4), Register::General(7), Register::Branch(1), Register::Branch(5)] {
        assert_eq!(env.set_register(good, 77), Ok(()));
        assert_eq!(get(&mut env, &mut machine, good), 77);
    }
    assert_eq!(env.set_register(Register::General(12), SP + 16), Ok(()));
    assert_eq!(get(&mut env, &mut machine, special(Special::Sp)), SP + 16);
    env.init_context(FUNCTION, SP, BSP, 0);
    machine.set(Register::General(4), 5);
    assert_eq!(get(&mut env, &mut machine, Register::General(4)), 5);
}

/// A machine that answers every look-up so.
fn answering(answers: common::machine::Answers) -> Machine {
    let mut machine = machine();
    machine.answers = Some(answers);
    machine
}

fn refused(answers: common::machine::Answers, status: Status) -> Machine {
    let mut machine = answering(answers);
    let mut env = machine.at(9, cfm(20, 16));
    assert_eq!(step_error(&mut env, &mut machine), status);
    machine
}

fn put(pairs: &mut Vec<Pair>, answer: &[(u64, u64)]) {
    *pairs = words(answer);
}

#[test]
fn look_ups_that_fail() {
    refused(|_, _, _, _| Answer::NotFound, Status::IpNotFound);
    refused(|_, _, _, _| Answer::Failed, Status::LookUp);
    assert_eq!(refused(|_, _, _, _| Answer::Symbols, Status::LookUp).freed, 1);
    assert_eq!(Answer::from_code(1), Answer::Failed);
    assert_eq!(Answer::from_code(7), Answer::Failed);
    assert_eq!(Answer::from_code(-1), Answer::Failed);
}

#[test]
fn tables_with_keys_too_many_or_too_few() {
    for missing in [key::TBASE, key::USTART, key::UEND] {
        let mut machine = machine();
        machine.answers = Some(match missing {
            key::TBASE => |machine, _, _, pairs| {
                *pairs = machine.table_pairs().into_iter().filter(|pair| pair.0 != key::TBASE).collect();
                Answer::Table
            },
            key::USTART => |machine, _, _, pairs| {
                *pairs = machine.table_pairs().into_iter().filter(|pair| pair.0 != key::USTART).collect();
                Answer::Table
            },
            _ => |machine, _, _, pairs| {
                *pairs = machine.table_pairs().into_iter().filter(|pair| pair.0 != key::UEND).collect();
                Answer::Table
            },
        });
        let mut env = machine.at(9, cfm(20, 16));
        assert_eq!(step_error(&mut env, &mut machine), Status::BadKey);
        assert_eq!(machine.freed, 1);
    }
    let more = |machine: &mut Machine, _: Question, _: u64, pairs: &mut Vec<Pair>| {
        *pairs = machine.table_pairs();
        pairs.push((99, Datum::Word(1)));
        Answer::Table
    };
    assert_eq!(refused(more, Status::BadKey).freed, 1);
    let named = |machine: &mut Machine, _: Question, _: u64, pairs: &mut Vec<Pair>| {
        *pairs = machine.table_pairs();
        pairs[0].1 = Datum::Name(Some(b"text".to_vec()));
        Answer::Table
    };
    refused(named, Status::BadKey);
    // The flags may be left out, and a global pointer given.
    let mut machine = answering(|machine, _, _, pairs| {
        *pairs = machine.table_pairs().into_iter().filter(|pair| pair.0 != key::UFLAGS).collect();
        pairs.push((key::GP, Datum::Word(0x1234)));
        Answer::Table
    });
    let mut env = machine.at(9, cfm(20, 16));
    assert_eq!(get(&mut env, &mut machine, special(Special::Gp)), 0x1234);
    step(&mut env, &mut machine);
}

#[test]
fn info_blocks_without_a_table() {
    let block = |_: &mut Machine, _: Question, _: u64, pairs: &mut Vec<Pair>| {
        put(pairs, &[(key::UINFO, BLOCKS), (key::FUNCSTART, FUNCTION)]);
        pairs.push((key::FUNC, Datum::Name(Some(b"main".to_vec()))));
        Answer::Information
    };
    let mut machine = answering(block);
    unwound(&mut machine);
    assert!(machine.asked.iter().all(|asked| asked.0 != Request::UnwindInformation || asked.1 >= BLOCKS));
    let mut env = machine.at(9, cfm(20, 16));
    assert!(matches!(env.function_start(&mut machine), Ok(FUNCTION)));
    let missing = |_: &mut Machine, _: Question, _: u64, pairs: &mut Vec<Pair>| {
        put(pairs, &[(key::UINFO, BLOCKS)]);
        Answer::Information
    };
    refused(missing, Status::BadKey);
    let missing = |_: &mut Machine, _: Question, _: u64, pairs: &mut Vec<Pair>| {
        put(pairs, &[(key::FUNCSTART, FUNCTION)]);
        Answer::Information
    };
    refused(missing, Status::BadKey);
}

#[test]
fn described_functions() {
    let context = |_: &mut Machine, _: Question, _: u64, pairs: &mut Vec<Pair>| {
        put(pairs, &[(key::CONTEXT, 0x0101)]);
        Answer::Function
    };
    let mut machine = answering(context);
    let mut env = machine.at(9, cfm(20, 16));
    assert_eq!(env.abi_context(), 0);
    assert!(matches!(env.step(&mut machine), Ok(Stepped::AbiFrame)));
    assert_eq!(env.abi_context(), 0x0101);
    assert_eq!(machine.freed, 1);
    assert_eq!(get(&mut env, &mut machine, special(Special::Sp)), SP);
    let failure = env.register(&mut machine, special(Special::Rp)).expect_err("no rules");
    assert_eq!(failure.status(), Some(Status::CannotUnwind));
    for (answers, status) in [
        (
            (|_, _, _, pairs| {
                put(pairs, &[(key::CONTEXT, 0x0101), (key::GP, 1)]);
                Answer::Function
            }) as common::machine::Answers,
            Status::BadKey,
        ),
        (
            |_, _, _, pairs| {
                put(pairs, &[(key::FSIZE, 64)]);
                Answer::Function
            },
            Status::CannotUnwind,
        ),
        (
            |_, _, _, pairs| {
                put(pairs, &[(2 | 0x104 << 4, 5)]);
                Answer::Function
            },
            Status::CannotUnwind,
        ),
        (
            |_, _, _, pairs| {
                put(pairs, &[(99, 5)]);
                Answer::Function
            },
            Status::BadKey,
        ),
    ] {
        assert_eq!(refused(answers, status).freed, 1);
    }
    // Of a function with nothing but names the rule for leaves holds.
    let mut machine = answering(|_, _, _, pairs| {
        put(pairs, &[(key::GP, 5), (key::FUNCSTART, FUNCTION)]);
        Answer::Function
    });
    machine.set(Register::Branch(0), CALLER);
    machine.special(Special::Pfs, 0);
    let mut env = machine.at(9, cfm(20, 16));
    step(&mut env, &mut machine);
    assert_eq!(get(&mut env, &mut machine, special(Special::Ip)), CALLER);
}

#[test]
fn interrupted_frames_by_their_descriptors() {
    let mut machine = Machine::with(new().prologue(0).unwabi(3, b's').body(90));
    let mut env = machine.at(9, cfm(20, 16));
    assert!(matches!(env.step(&mut machine), Ok(Stepped::AbiFrame)));
    assert_eq!(env.abi_context(), 0x373);
    assert_eq!(get(&mut env, &mut machine, special(Special::Ip)), FUNCTION + 48);
    env.init_context(FUNCTION, SP, BSP, 0);
    assert_eq!(env.abi_context(), 0);
}

#[test]
fn remapped_code() {
    const MOVED: u64 = 0x1000_0000;
    let mut machine = answering(|machine, _, ip, pairs| {
        if ip >= FUNCTION {
            put(pairs, &[(key::NEWIP, ip - ip % 16 - MOVED)]);
            return Answer::Remap;
        }
        *pairs = machine.table_pairs();
        Answer::Table
    });
    machine.table = (TABLE, TABLE);
    machine.base = TEXT - 2 * MOVED;
    // Its frame begins behind slot 1, so that slots count.
    machine.add_function(
        FUNCTION - MOVED,
        FUNCTION,
        BLOCKS,
        new().prologue_gr(0b1100, 32, 3).p7(4, 0).p7(6, 0).mem_stack_f(1, 4).body(90),
    );
    for (slot, size) in [(1, 0), (2, 64)] {
        let mut env = machine.at(slot, cfm(20, 16));
        step(&mut env, &mut machine);
        assert_eq!(get(&mut env, &mut machine, special(Special::Sp)), SP + size);
    }
    // Two questions, of which the second one's answer is freed.
    assert_eq!((machine.questions.len(), machine.freed), (4, 2));
    assert_eq!(machine.questions[1].1, FUNCTION - MOVED);
    assert_eq!(machine.questions[1].2, words(&[(key::VERSION, 3)]));
    let twice = |_: &mut Machine, _: Question, ip: u64, pairs: &mut Vec<Pair>| {
        put(pairs, &[(key::NEWIP, ip)]);
        Answer::Remap
    };
    assert_eq!(refused(twice, Status::LookUp).questions.len(), 2);
    let nowhere = |_: &mut Machine, _: Question, _: u64, pairs: &mut Vec<Pair>| {
        pairs.clear();
        Answer::Remap
    };
    refused(nowhere, Status::BadKey);
}

#[test]
fn names() {
    let mut machine = answering(|machine, question, _, pairs| {
        let name = |text: &str| Datum::Name(Some(text.as_bytes().to_vec()));
        match question {
            Question::Unwind => {
                *pairs = machine.table_pairs();
                Answer::Table
            }
            Question::Module => {
                *pairs = vec![(key::MODULE, name("libc.so")), (key::TBASE, Datum::Word(TEXT))];
                Answer::Symbols
            }
            Question::Symbols => {
                *pairs = vec![(key::MODULE, name("libc.so")), (key::FUNC, name("read"))];
                Answer::Symbols
            }
        }
    });
    let mut env = machine.at(10, cfm(20, 16));
    let module = env.module(&mut machine).expect("a module");
    assert_eq!((module.module.as_deref(), module.text_base), (Some(&b"libc.so"[..]), Some(TEXT)));
    let symbol = env.symbol(&mut machine).expect("a symbol");
    assert_eq!(symbol.function.as_deref(), Some(&b"read"[..]));
    assert_eq!(symbol.offset, Some(49));
    // Each is asked for once a frame, with the function's start.
    assert_eq!(env.symbol(&mut machine).expect("a symbol"), symbol);
    let asked: Vec<_> = machine.questions.iter().map(|question| question.0).collect();
    assert_eq!(asked, [Question::Unwind, Question::Module, Question::Symbols]);
    assert_eq!(machine.questions[2].2, words(&[(key::VERSION, 3), (key::FUNCSTART, FUNCTION)]));
    assert_eq!((machine.owed, machine.freed), (3, 3));
    step(&mut env, &mut machine);
    assert_eq!(machine.questions.len(), 3);
    assert!(env.symbol(&mut machine).is_ok());
    assert_eq!(machine.questions.len(), 5);
}

#[test]
fn names_that_nobody_knows() {
    let mut machine = answering(|machine, question, _, pairs| {
        *pairs = machine.table_pairs();
        if question == Question::Unwind {
            Answer::Table
        } else {
            Answer::NotFound
        }
    });
    let mut env = machine.at(10, cfm(20, 16));
    assert!(matches!(env.symbol(&mut machine), Err(Failure::Status(Status::IpNotFound))));
    assert!(matches!(env.module(&mut machine), Err(Failure::Status(Status::IpNotFound))));
    let mut machine = answering(|machine, _, _, pairs| {
        *pairs = machine.table_pairs();
        Answer::Table
    });
    let mut env = machine.at(10, cfm(20, 16));
    assert!(matches!(env.symbol(&mut machine), Err(Failure::Status(Status::LookUp))));
    assert_eq!((machine.owed, machine.freed), (2, 2));
}

#[test]
fn errors_of_the_target_pass_through() {
    for request in [Request::UnwindInformation, Request::RegisterStack] {
        let mut machine = machine();
        let mut env = machine.at(9, cfm(20, 16));
        machine.raises = Some(request);
        let failure = env.step(&mut machine).expect_err("an error");
        assert!(
            matches!(failure, Failure::Foreign(object) if object.downcast_ref::<&str>() == Some(&"raised"))
        );
        assert_eq!(machine.owed, machine.freed);
        machine.raises = None;
        step(&mut env, &mut machine);
    }
    // The second number of ar.pfs is tried where the first is unknown, not where it raises.
    let mut machine = Machine::with(new().prologue(0).saved_gr(p3::RP, 32).body(90));
    machine.stack(&[CALLER]);
    machine.raises = Some(Request::Register);
    let mut env = machine.at(9, cfm(20, 16));
    assert!(matches!(env.step(&mut machine), Err(Failure::Foreign(_))));
    assert_eq!(machine.count(Request::Register), 1);
}

#[test]
fn names_that_are_answered_in_part_are_asked_for_once() {
    let mut machine = answering(|machine, question, _, pairs| {
        *pairs = machine.table_pairs();
        if question == Question::Unwind {
            return Answer::Table;
        }
        *pairs = vec![(key::FUNC, Datum::Name(Some(b"read".to_vec()))), (key::MODULE, Datum::Name(None))];
        Answer::Symbols
    });
    let mut env = machine.at(10, cfm(20, 16));
    for _ in 0..2 {
        assert_eq!(env.symbol(&mut machine).expect("a symbol").function.as_deref(), Some(&b"read"[..]));
        assert_eq!(env.module(&mut machine).expect("a module").module, None);
    }
    let asked: Vec<_> = machine.questions.iter().map(|question| question.0).collect();
    assert_eq!(asked, [Question::Unwind, Question::Symbols, Question::Module]);
}
