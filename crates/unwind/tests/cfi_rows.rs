//! Rows of call frame information that framehop can follow, and those that it cannot.

mod cfi_sections;

use cfi_sections::{registers, section, stack, stack_of, unwinder, Function, BASE, CODE, STACK};
use odograph_unwind::cfi::{End, Found, Frame, Machine};

const RBP: usize = 6;
const RSP: usize = 7;
const RIP: usize = 16;
const PC: u64 = BASE + CODE;
/// Return address at CFA - 8, CFA = rsp + 8.
const USUAL: [u8; 5] = [0x0c, 7, 8, 0x90, 1];
/// The return address is undefined: the outermost function.
const OUTERMOST: [u8; 2] = [0x07, 16];

fn functions<'i>(inner: &'i [u8], is_signal: bool) -> [Function<'i>; 2] {
    [
        Function { start: CODE, size: 0x10, is_signal, instructions: inner },
        Function { start: CODE + 0x10, size: 0x10, is_signal: false, instructions: &OUTERMOST },
    ]
}

fn addresses(frames: &[Frame]) -> Vec<u64> {
    frames.iter().filter_map(|frame| frame.registers.get(RIP)).collect()
}

/// Unwinds one function with these instructions from PC, called by the outermost one.
fn x86(inner: &[u8], values: &[(usize, u64)], words: &[u64]) -> (Vec<Frame>, End) {
    let eh = section(Machine::X86_64, true, &USUAL, &functions(inner, false));
    let debug = section(Machine::X86_64, false, &USUAL, &functions(inner, false));
    let mut all = vec![(RIP, PC + 4), (RSP, STACK)];
    all.extend(values);
    let by_eh = stack(&mut unwinder(Machine::X86_64, Some(eh), None), registers(&all), &stack_of(words));
    let by_debug =
        stack(&mut unwinder(Machine::X86_64, None, Some(debug)), registers(&all), &stack_of(words));
    assert_eq!(format!("{by_eh:?}"), format!("{by_debug:?}"), "both kinds of section say the same");
    by_eh
}

#[test]
fn a_pushed_frame_pointer_is_found_again() {
    // CFA = rsp + 16; rbp and rbx at CFA - 16 and CFA - 24.
    let (frames, end) = x86(&[0x0e, 24, 0x86, 2, 0x83, 3], &[(RBP, 1), (3, 2), (0, 3)], &[77, 66, PC + 0x14]);
    assert_eq!((addresses(&frames), end), (vec![PC + 4, PC + 0x14], End::Bottom));
    let outer = &frames[1];
    assert_eq!((outer.found, outer.is_return, outer.is_guess), (Found::UnwindInfo, true, false));
    let get = |number| outer.registers.get(number);
    assert_eq!((get(RSP), get(RBP), get(3), get(0)), (Some(STACK + 24), Some(66), Some(77), None));
}

#[test]
fn a_frame_pointer_of_0_does_not_end_a_stack() {
    // CFA = rbp + 16, as code with frame pointers has it; framehop would take this for the outermost frame.
    let (frames, end) = x86(&[0x86, 2, 0x0d, 6, 0x0e, 16], &[(RBP, STACK)], &[0, PC + 0x14]);
    assert_eq!((addresses(&frames), end), (vec![PC + 4, PC + 0x14], End::Bottom));
    assert_eq!(frames[1].registers.get(RBP), Some(0));
}

#[test]
fn a_realigned_stack_is_followed_through_memory() {
    // CFA = *(rbp - 8): DW_CFA_def_cfa_expression(DW_OP_breg6 -8, DW_OP_deref); rbp saved at rbp + 0.
    let inner = [0x0f, 3, 0x76, 0x78, 0x06, 0x10, 6, 2, 0x76, 0];
    let words = [STACK + 0x48, 5, 0, 0, 0, 0, 0, 0, PC + 0x14, 0];
    let (frames, end) = x86(&inner, &[(RBP, STACK + 8)], &words);
    assert_eq!((addresses(&frames), end), (vec![PC + 4, PC + 0x14], End::Bottom));
    assert_eq!((frames[1].registers.get(RSP), frames[1].registers.get(RBP)), (Some(STACK + 0x48), Some(5)));
}

#[test]
fn a_signal_frame_gives_back_all_registers_and_its_caller_is_not_a_return() {
    // CFA = *(rsp + 0); rip, rbx and rax from *(rsp + 8), *(rsp + 16) and *(rsp + 24).
    let inner =
        [0x0f, 3, 0x77, 0, 0x06, 0x10, 16, 2, 0x77, 8, 0x10, 3, 2, 0x77, 16, 0x10, 0, 2, 0x77, 24, 0, 0, 0];
    let eh = section(Machine::X86_64, true, &USUAL, &functions(&inner, true));
    // The interrupted instruction is the first one of its function: the byte before belongs to another one.
    let words = stack_of(&[STACK - 0x100, PC + 0x10, 11, 12]);
    let first = registers(&[(RIP, PC + 4), (RSP, STACK)]);
    let (frames, end) = stack(&mut unwinder(Machine::X86_64, Some(eh), None), first, &words);
    assert_eq!((addresses(&frames), end), (vec![PC + 4, PC + 0x10], End::Bottom));
    let caller = &frames[1];
    assert_eq!((caller.found, caller.is_return), (Found::Signal, false));
    let get = |number| caller.registers.get(number);
    assert_eq!((get(RSP), get(3), get(0)), (Some(STACK - 0x100), Some(11), Some(12)));
}

#[test]
fn stubs_that_push_are_told_by_an_expression() {
    // The linker's rule for the procedure linkage table: CFA = rsp + 8 + ((rip & 15) >= 11) * 8.
    let inner = [0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];
    for (offset, words) in [(0, vec![PC + 0x14]), (10, vec![PC + 0x14]), (11, vec![1, PC + 0x14])] {
        let (frames, _) = x86(&inner, &[(RIP, PC + offset)], &words);
        assert_eq!(addresses(&frames), [PC + offset, PC + 0x14]);
    }
}

#[test]
fn an_endless_expression_ends_a_stack() {
    // DW_OP_skip -3.
    let (frames, end) = x86(&[0x0f, 3, 0x2f, 0xfd, 0xff], &[], &[PC + 0x14]);
    assert_eq!((frames.len(), end), (1, End::Rule(PC + 4)));
}

#[test]
fn what_cannot_be_known_ends_a_stack_with_a_reason() {
    // CFA = rax + 8, and rax is not known.
    assert_eq!(x86(&[0x0c, 0, 8], &[], &[PC + 0x14]).1, End::Rule(PC + 4));
    assert_eq!(x86(&[], &[], &[]).1, End::Memory(STACK));
    assert_eq!(x86(&[], &[], &[0x8000_0000_0000_0000]).1, End::Address(0x8000_0000_0000_0000));
    assert_eq!(x86(&[], &[], &[0]).1, End::Bottom);
    // CFA = rsp - 16: the stack pointer would go back.
    let (_, end) = x86(&[0x12, 7, 2, 0x16, 16, 2, 0x77, 0], &[], &[PC + 0x4, 0]);
    assert!(matches!(end, End::Backwards(..) | End::Cycle(_) | End::Rule(_) | End::Address(_)), "{end:?}");
}

#[test]
fn a_signed_return_address_is_taken_for_what_it_is() {
    // stp x29, x30, [sp, #-32]!: CFA = sp + 32, x29 at CFA - 32, x30 at CFA - 24, and x30 is signed.
    let inner = [0x2d, 0x0e, 32, 0x9d, 4, 0x9e, 3];
    let functions = [
        Function { start: CODE, size: 0x10, is_signal: false, instructions: &inner },
        Function { start: CODE + 0x10, size: 0x10, is_signal: false, instructions: &[0x07, 30] },
    ];
    for signature in [0, 0x0077_0000_0000_0000] {
        let words = stack_of(&[0x1234, (PC + 0x14) | signature, 0, 0]);
        for is_eh in [true, false] {
            let own = section(Machine::Aarch64, is_eh, &[0x0c, 31, 0], &functions);
            let (eh, debug) = if is_eh { (Some(own), None) } else { (None, Some(own)) };
            let first = registers(&[(32, PC + 8), (31, STACK), (29, STACK), (30, PC + 8)]);
            let (frames, end) = stack(&mut unwinder(Machine::Aarch64, eh, debug), first, &words);
            assert_eq!(end, End::Bottom);
            let outer = &frames[1].registers;
            assert_eq!(outer.get(32), Some(PC + 0x14));
            assert_eq!((outer.get(31), outer.get(29)), (Some(STACK + 32), Some(0x1234)));
        }
    }
}

#[test]
fn a_link_register_is_the_return_address_of_the_innermost_frame_only() {
    let functions = [
        Function { start: CODE, size: 0x10, is_signal: false, instructions: &[] },
        Function { start: CODE + 0x10, size: 0x10, is_signal: false, instructions: &[] },
    ];
    let own = section(Machine::Aarch64, true, &[0x0c, 31, 0], &functions);
    let first = registers(&[(32, PC + 8), (31, STACK), (29, 0), (30, PC + 0x14)]);
    let (frames, end) = stack(&mut unwinder(Machine::Aarch64, Some(own), None), first, &stack_of(&[]));
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1].registers.get(32), Some(PC + 0x14));
    assert_eq!(end, End::Rule(PC + 0x14));
}

#[test]
fn a_second_section_counts_where_the_first_says_nothing() {
    let all = functions(&[], false);
    let eh = section(Machine::X86_64, true, &USUAL, &all[1..]);
    let debug = section(Machine::X86_64, false, &USUAL, &all[..1]);
    let first = registers(&[(RIP, PC + 4), (RSP, STACK)]);
    let words = stack_of(&[PC + 0x14]);
    let (frames, end) = stack(&mut unwinder(Machine::X86_64, Some(eh), Some(debug)), first, &words);
    assert_eq!((addresses(&frames), end), (vec![PC + 4, PC + 0x14], End::Bottom));
}
