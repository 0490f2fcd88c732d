//! Functions in machine code, and what is known of their stack.

use super::{Code, StackOffsets, State, Trust, Value};

const BASE: u64 = 0x40_1000;
const CFA: u64 = 0x7fff_ffff_f010;

/// Instructions one behind the other.
fn straight(instructions: &[&[u8]]) -> Vec<(u64, Vec<u8>)> {
    let mut ip = BASE;
    let mut placed = Vec::new();
    for bytes in instructions {
        placed.push((ip, bytes.to_vec()));
        ip += bytes.len() as u64;
    }
    placed
}

/// What is known before each instruction, in order.
fn known(instructions: &[&[u8]], jumps: &[(u64, u64)]) -> Vec<Option<State>> {
    let placed = straight(instructions);
    let code = Code::new(placed.iter().map(|(ip, bytes)| (*ip, bytes.as_slice())), jumps.iter().copied());
    let mut offsets = StackOffsets::new(code);
    placed.iter().map(|(ip, _)| offsets.at(BASE, *ip, CFA)).collect()
}

fn offsets(instructions: &[&[u8]]) -> Vec<i64> {
    known(instructions, &[]).iter().map(|state| state.as_ref().map_or(999, State::offset)).collect()
}

const PUSH_RBP: &[u8] = &[0x55];
const MOV_RBP_RSP: &[u8] = &[0x48, 0x89, 0xe5];
const SUB_RSP_32: &[u8] = &[0x48, 0x83, 0xec, 0x20];
const LEAVE: &[u8] = &[0xc9];
const RET: &[u8] = &[0xc3];
const NOP: &[u8] = &[0x90];

#[test]
fn a_frame_pointer() {
    let states = known(&[PUSH_RBP, MOV_RBP_RSP, SUB_RSP_32, NOP, LEAVE, RET], &[]);
    let offsets: Vec<_> = states.iter().flatten().map(State::offset).collect();
    assert_eq!(offsets, [-8, -16, -16, -48, -48, -8]);
    let inside = states[3].as_ref().expect("it was executed");
    assert_eq!(inside.get(5), Value::Stack(-16));
    assert_eq!(inside.saved().collect::<Vec<_>>(), [(-16, Value::Entry(5))]);
    assert_eq!(states[5].as_ref().map(|state| state.get(5)), Some(Value::Entry(5)));
    // It is still there when the frame is gone.
    assert_eq!(states[5].as_ref().map(|state| state.saved().count()), Some(1));
}

#[test]
fn pushes_pops_and_calls() {
    // push rbx; sub rsp, 16; call; lea rsp, [rsp+16]; pop rbx; ret
    let code: &[&[u8]] = &[
        &[0x53],
        &[0x48, 0x83, 0xec, 0x10],
        &[0xe8, 0, 1, 0, 0],
        &[0x48, 0x8d, 0x64, 0x24, 0x10],
        &[0x5b],
        RET,
    ];
    assert_eq!(offsets(code), [-8, -16, -32, -32, -16, -8]);
    let states = known(code, &[]);
    assert_eq!(states[5].as_ref().map(|state| state.get(3)), Some(Value::Entry(3)));
    // What a call may change is not known behind it.
    assert_eq!(states[3].as_ref().map(|state| state.get(0)), Some(Value::Unknown));
}

#[test]
fn a_call_may_write_below_the_stack_pointer() {
    // push rbx; add rsp, 8; call; ret
    let code: &[&[u8]] = &[&[0x53], &[0x48, 0x83, 0xc4, 0x08], &[0xe8, 0, 1, 0, 0], RET];
    let states = known(code, &[]);
    let counts: Vec<_> = states.iter().flatten().map(|state| state.saved().count()).collect();
    assert_eq!(counts, [0, 1, 1, 0]);
}

#[test]
fn a_call_to_the_next_instruction_pushes() {
    // call +0; pop rax; ret
    assert_eq!(offsets(&[&[0xe8, 0, 0, 0, 0], &[0x58], RET]), [-8, -16, -8]);
}

#[test]
fn rounding_down_needs_the_address() {
    // lea r10, [rsp+8]; and rsp, -64; push [r10-8]; ret
    let code: &[&[u8]] =
        &[&[0x4c, 0x8d, 0x54, 0x24, 0x08], &[0x48, 0x83, 0xe4, 0xc0], &[0x41, 0xff, 0x72, 0xf8], RET];
    // CFA - 8 ends in 0x08: 8 bytes above a multiple of 64.
    assert_eq!(offsets(code), [-8, -8, -16, -24]);
    let states = known(code, &[]);
    assert_eq!(states[2].as_ref().map(|state| state.get(10)), Some(Value::Stack(0)));
}

#[test]
fn rounding_is_done_for_each_address() {
    let placed = straight(&[&[0x48, 0x83, 0xe4, 0xc0], RET]);
    let code = Code::new(placed.iter().map(|(ip, bytes)| (*ip, bytes.as_slice())), []);
    let mut offsets = StackOffsets::new(code);
    let mut at = |cfa| offsets.at(BASE, BASE + 4, cfa).map(|state| state.offset());
    assert_eq!([at(0x1010), at(0x1020), at(0x1010)], [Some(-16), Some(-32), Some(-16)]);
}

#[test]
fn an_unknown_size_leaves_a_guess() {
    // push rbp; mov rbp, rsp; sub rsp, rax; nop; leave; ret
    let code: &[&[u8]] = &[PUSH_RBP, MOV_RBP_RSP, &[0x48, 0x29, 0xc4], NOP, LEAVE, RET];
    let states = known(code, &[]);
    let found: Vec<_> = states.iter().flatten().map(|state| (state.offset(), state.trust())).collect();
    assert_eq!(found[3], (-16, Trust::Guess));
    assert_eq!(found[5], (-8, Trust::Exact));
}

#[test]
fn a_known_size_is_no_guess() {
    // mov eax, 0x2000; sub rsp, rax; ret
    let code: &[&[u8]] = &[&[0xb8, 0, 0x20, 0, 0], &[0x48, 0x29, 0xc4], RET];
    assert_eq!(offsets(code), [-8, -8, -8 - 0x2000]);
}

#[test]
fn a_stack_probe_ends_where_it_compares() {
    // lea r11, [rsp-0x3000]; sub rsp, 0x1000; or qword [rsp], 0; cmp rsp, r11; jne -22; nop; ret
    let code: &[&[u8]] = &[
        &[0x4c, 0x8d, 0x9c, 0x24, 0, 0xd0, 0xff, 0xff],
        &[0x48, 0x81, 0xec, 0, 0x10, 0, 0],
        &[0x48, 0x83, 0x0c, 0x24, 0],
        &[0x4c, 0x39, 0xdc],
        &[0x75, 0xef],
        NOP,
        RET,
    ];
    let states = known(code, &[]);
    let last = states[5].as_ref().expect("it was executed");
    assert_eq!((last.offset(), last.trust()), (-8 - 0x3000, Trust::Exact));
}

#[test]
fn ways_that_differ_are_said_to() {
    // je +1; push rax; nop; ret
    let code: &[&[u8]] = &[&[0x74, 0x01], &[0x50], NOP, RET];
    let states = known(code, &[]);
    let found: Vec<_> = states.iter().flatten().map(State::trust).collect();
    assert_eq!(found, [Trust::Exact, Trust::Exact, Trust::Contradicted, Trust::Contradicted]);
}

#[test]
fn indirect_jumps_go_where_they_went() {
    // push rax; jmp rdx; (not executed); pop rax; ret
    let code: &[&[u8]] = &[&[0x50], &[0xff, 0xe2], &[0x58], RET];
    assert_eq!(known(code, &[])[2].as_ref().map(State::trust), Some(Trust::Guess));
    let states = known(code, &[(BASE + 1, BASE + 3)]);
    assert_eq!(states[2].as_ref().map(State::trust), Some(Trust::Exact));
    assert_eq!(states[2].as_ref().map(State::offset), Some(-16));
    assert_eq!(states[3].as_ref().map(State::offset), Some(-8));
}

#[test]
fn another_function_goes_on_in_the_same_frame() {
    // jmp rdx; push rbp; ret
    let code: &[&[u8]] = &[&[0xff, 0xe2], PUSH_RBP, RET];
    let states = known(code, &[(BASE, BASE + 2)]);
    assert_eq!(states[2].as_ref().map(State::offset), Some(-16));
}

#[test]
fn what_was_about_to_be_executed_is_known() {
    // push rax; then something that faulted
    let placed = straight(&[&[0x50]]);
    let code = Code::new(placed.iter().map(|(ip, bytes)| (*ip, bytes.as_slice())), []);
    let mut offsets = StackOffsets::new(code);
    assert_eq!(offsets.at(BASE, BASE + 1, CFA).map(|state| state.offset()), Some(-16));
    // Nothing leads here, but it lies right behind.
    assert_eq!(offsets.at(BASE, BASE + 2, CFA).map(|state| state.trust()), Some(Trust::Guess));
    assert!(offsets.at(BASE, BASE + 1000, CFA).is_none());
    assert!(offsets.at(BASE, BASE - 1, CFA).is_none());
    // A call to where there is no code.
    assert_eq!(offsets.at(0, 0, CFA).map(|state| state.offset()), Some(-8));
    assert!(offsets.at(u64::MAX, 0, u64::MAX).is_none());
}

mod any {
    use proptest::prelude::*;

    use super::{known, Code, StackOffsets, BASE};

    proptest! {
        #[test]
        fn code_is_survived(
            bytes in proptest::collection::vec(any::<u8>(), 1..200),
            jumps in proptest::collection::vec((0u64..200, 0u64..200), 0..20),
            cfa in any::<u64>(),
        ) {
            let instructions = (0..bytes.len()).map(|at| {
                (BASE + at as u64, &bytes[at..bytes.len().min(at + 15)])
            });
            let jumps = jumps.iter().map(|&(from, to)| (BASE + from, BASE + to));
            let mut offsets = StackOffsets::new(Code::new(instructions, jumps));
            for at in 0..bytes.len() as u64 {
                let found = offsets.at(BASE, BASE + at, cfa);
                prop_assert_eq!(found, offsets.at(BASE, BASE + at, cfa));
            }
        }

        #[test]
        fn pushes_are_counted(count in 1usize..40) {
            let pushes = vec![&[0x50u8][..]; count];
            let states = known(&pushes, &[]);
            prop_assert!(states.iter().flatten().map(super::State::offset).eq(
                (0..count as i64).map(|pushed| -8 - 8 * pushed)
            ));
        }
    }
}
