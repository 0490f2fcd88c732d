//! What the table of classes says, instruction by instruction.

use odograph_core::instruction::{
    decode, Detail, ExecMode, Instruction, InstructionClass as Class, Undecoded,
};

fn decode64(bytes: &[u8]) -> Instruction {
    decode(bytes, ExecMode::Bits64).unwrap_or_else(|error| panic!("{bytes:02x?}: {error}"))
}

#[test]
fn branches_have_their_class() {
    let cases: &[(&[u8], Class, Detail)] = &[
        (b"\x74\x05", Class::CondJump, Detail::Direct),
        (b"\x0f\x84\x00\x01\x00\x00", Class::CondJump, Detail::Direct),
        (b"\xe3\xfe", Class::CondJump, Detail::Direct),
        (b"\xe8\x00\x00\x00\x00", Class::Call, Detail::Direct),
        (b"\xff\xd0", Class::Call, Detail::Indirect),
        (b"\xeb\xfe", Class::Jump, Detail::Direct),
        (b"\xff\x25\x00\x00\x00\x00", Class::Jump, Detail::Indirect),
        (b"\xf2\xc3", Class::Return, Detail::None),
        (b"\xc2\x08\x00", Class::Return, Detail::None),
        (b"\xff\x18", Class::FarCall, Detail::None),
        (b"\xff\x28", Class::FarJump, Detail::None),
        (b"\xcb", Class::FarReturn, Detail::None),
        (b"\x48\xcf", Class::FarReturn, Detail::Iret),
        (b"\xcc", Class::FarCall, Detail::Int),
        (b"\xcd\x80", Class::FarCall, Detail::Int),
        (b"\xf1", Class::FarCall, Detail::Int),
        (b"\x0f\x05", Class::FarCall, Detail::Syscall),
        (b"\x0f\x34", Class::FarCall, Detail::Syscall),
        (b"\x48\x0f\x07", Class::FarReturn, Detail::Sysret),
        (b"\x0f\x35", Class::FarReturn, Detail::Sysexit),
        (b"\x0f\x01\xc1", Class::FarCall, Detail::Vmcall),
        (b"\x0f\x01\xc2", Class::FarReturn, Detail::Vmlaunch),
        (b"\x0f\x01\xc3", Class::FarReturn, Detail::Vmresume),
        (b"\xf3\x0f\x01\xec", Class::FarReturn, Detail::Uiret),
        (b"\x0f\x01\xec", Class::FarReturn, Detail::Uiret),
        (b"\xf2\x0f\x01\xca", Class::FarReturn, Detail::Erets),
        (b"\xf3\x0f\x01\xca", Class::FarReturn, Detail::Eretu),
        (b"\x0f\x01\xca", Class::Other, Detail::None),
        (b"\xf3\x48\x0f\xae\xe0", Class::Ptwrite, Detail::Ptwrite),
        (b"\x66\xf3\x0f\xae\xe0", Class::Other, Detail::None),
        (b"\x0f\x22\xd8", Class::Other, Detail::MovCr3),
        (b"\x44\x0f\x22\xd8", Class::Other, Detail::None),
        (b"\x0f\xc7\x30", Class::Other, Detail::Vmptrld),
        (b"\x66\x0f\xc7\x30", Class::Other, Detail::None),
        (b"\x0f\xc7\xf0", Class::Other, Detail::None),
        (b"\xf3\xa4", Class::Other, Detail::RepString),
        (b"\xa4", Class::Other, Detail::None),
        (b"\xf4", Class::Other, Detail::None),
        (b"\xc7\xf8\x00\x00\x00\x00", Class::Other, Detail::None),
        (b"\xf3\x0f\x1e\xfa", Class::Other, Detail::None),
    ];
    for &(bytes, class, detail) in cases {
        let found = decode64(bytes);
        assert_eq!(
            (found.class, found.detail, usize::from(found.size)),
            (class, detail, bytes.len()),
            "{bytes:02x?}"
        );
    }
}

#[test]
fn far_transfers_and_into_exist_only_outside_64_bit_mode() {
    for bytes in [b"\x9a\x00\x00\x00\x00\x00\x00".as_slice(), b"\xea\x00\x00\x00\x00\x00\x00", b"\xce"] {
        assert_eq!(decode(bytes, ExecMode::Bits64), Err(Undecoded::Invalid));
        let found = decode(bytes, ExecMode::Bits32).unwrap();
        assert_eq!(usize::from(found.size), bytes.len());
        assert!(matches!(found.class, Class::FarCall | Class::FarJump));
    }
}

#[test]
fn a_near_branch_in_64_bit_mode_keeps_its_32_bit_displacement_behind_66() {
    let found = decode64(b"\x66\xe8\xfc\xff\xff\xff");
    assert_eq!((found.size, found.displacement), (6, -4));
    assert_eq!(found.target(0x1000), Some(0x1002));
    let found = decode(b"\x66\xe8\xfc\xff\xff\xff", ExecMode::Bits32).unwrap();
    assert_eq!((found.size, found.displacement), (4, -4));
}

#[test]
fn targets_wrap_at_the_end_of_the_address_space() {
    assert_eq!(decode64(b"\xeb\x10").target(u64::MAX - 3), Some(0xe));
    assert_eq!(decode64(b"\xeb\xf0").target(4), Some(u64::MAX - 9));
    assert_eq!(decode64(b"\xff\xe0").target(4), None);
}

#[test]
fn only_what_the_processor_reports_needs_trace() {
    for bytes in
        [b"\x90".as_slice(), b"\xe8\x00\x00\x00\x00", b"\xeb\x00", b"\xf3\x0f\xae\xe0", b"\x0f\x22\xd8"]
    {
        assert!(!decode64(bytes).needs_trace(), "{bytes:02x?}");
    }
    let jmpabs = b"\xd5\x00\xa1\x00\x00\x00\x00\x00\x00\x00\x00".as_slice();
    for bytes in [b"\x74\x00".as_slice(), b"\xc3", b"\xff\xd0", b"\xff\xe0", b"\x0f\x05", b"\xcf", jmpabs] {
        assert!(decode64(bytes).needs_trace(), "{bytes:02x?}");
    }
}

#[test]
fn rex2_and_promoted_instructions() {
    let cases: &[(&[u8], Class, Detail)] = &[
        // add r16, rax; mov r17d, imm32; mov r16, imm64
        (b"\xd5\x18\x01\xc0", Class::Other, Detail::None),
        (b"\xd5\x10\xb9\x01\x00\x00\x00", Class::Other, Detail::None),
        (b"\xd5\x18\xb8\x01\x00\x00\x00\x00\x00\x00\x00", Class::Other, Detail::None),
        // call and jmp through r16; imul through map 1
        (b"\xd5\x10\xff\xd0", Class::Call, Detail::Indirect),
        (b"\xd5\x10\xff\xe0", Class::Jump, Detail::Indirect),
        (b"\xd5\x80\xaf\xc0", Class::Other, Detail::None),
        // jmpabs, and the same bytes where W or 66 make them something else
        (b"\xd5\x00\xa1\x11\x22\x33\x44\x55\x66\x77\x88", Class::Jump, Detail::Jmpabs),
        (b"\xd5\x08\xa1\x11\x22\x33\x44\x55\x66\x77\x88", Class::Other, Detail::None),
        (b"\x66\xd5\x00\xa1\x11\x22\x33\x44\x55\x66\x77\x88", Class::Other, Detail::None),
        // Relative branches are not branches behind REX2.
        (b"\xd5\x00\xe8\x00\x00\x00\x00", Class::Other, Detail::None),
        (b"\xd5\x00\x74\x00", Class::Other, Detail::None),
        (b"\xd5\x80\x84\x00\x00\x00\x00", Class::Other, Detail::None),
        (b"\xd5\x80\x05", Class::FarCall, Detail::Syscall),
        // mov cr3, rax and mov cr19, rax
        (b"\xd5\x80\x22\xd8", Class::Other, Detail::MovCr3),
        (b"\xd5\xc0\x22\xd8", Class::Other, Detail::None),
        // EVEX map 4: add with a new destination, with an imm8 and an imm32; test imm16
        (b"\x62\xf4\xfc\x18\x01\xc0", Class::Other, Detail::None),
        (b"\x62\xf4\xfc\x18\x83\xc0\x7b", Class::Other, Detail::None),
        (b"\x62\xf4\xfc\x18\x81\xc0\x11\x22\x33\x44", Class::Other, Detail::None),
        (b"\x62\xf4\x7d\x18\x81\xc0\x11\x22", Class::Other, Detail::None),
        (b"\x62\xf4\x7c\x18\xff\xf0", Class::Other, Detail::None),
    ];
    for &(bytes, class, detail) in cases {
        let found = decode64(bytes);
        assert_eq!(
            (found.class, found.detail, usize::from(found.size)),
            (class, detail, bytes.len()),
            "{bytes:02x?}"
        );
    }
}

#[test]
fn an_unknown_mode_reads_no_displacement() {
    let found = decode(b"\x8b\x05\x11\x22\x33\x44", ExecMode::Unknown).unwrap();
    assert_eq!((found.size, found.class), (2, Class::Other));
    let found = decode(b"\xe8\x11\x22", ExecMode::Unknown).unwrap();
    assert_eq!((found.size, found.displacement), (3, 0x2211));
}
