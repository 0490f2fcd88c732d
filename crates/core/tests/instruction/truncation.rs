//! `Truncated` is said of the beginnings of instructions and of nothing else.

use odograph_core::instruction::{decode, Undecoded, MAX_SIZE};

use crate::judge::MODES;
use crate::random::Random;

#[test]
fn every_beginning_of_an_instruction_is_truncated() {
    let mut random = Random(3);
    for _ in 0..100_000 {
        let code = random.code();
        for mode in MODES {
            let Ok(found) = decode(&code, mode) else { continue };
            let size = usize::from(found.size);
            assert_eq!(decode(&code[..size], mode), Ok(found), "{code:02x?}");
            for end in 0..size {
                assert_eq!(decode(&code[..end], mode), Err(Undecoded::Truncated), "{:02x?}", &code[..end]);
            }
        }
    }
}

#[test]
fn nothing_makes_an_invalid_beginning_valid() {
    let mut random = Random(4);
    for _ in 0..100_000 {
        let code = random.code();
        for mode in MODES {
            for end in 0..MAX_SIZE {
                if decode(&code[..end], mode) == Err(Undecoded::Invalid) {
                    assert_eq!(decode(&code, mode), Err(Undecoded::Invalid), "{code:02x?} from {end}");
                    break;
                }
            }
        }
    }
}

/// Completes what is called truncated: some byte string of a small search makes it an instruction.
#[test]
fn every_truncated_beginning_can_be_completed() {
    // The shortest end of most instructions is a register operand and zeros. F8 is the first
    // opcode of VEX map 7, C0 any register, 77 VZEROUPPER, E8 an XOP map.
    let mut ends: Vec<Vec<u8>> = [0x90, 0xc0, 0x77, 0xe8, 0x00, 0xe1, 0x05, 0xf9]
        .iter()
        .flat_map(|&first| [0xc0u8, 0x90, 0x77, 0x05, 0x00].map(|second| vec![first, second]))
        .collect();
    // What C4 needs for VZEROUPPER.
    ends.push(vec![0xe1, 0x78, 0x77]);
    let mut random = Random(5);
    for _ in 0..50_000 {
        let code = random.code();
        for mode in MODES {
            for end in 0..MAX_SIZE {
                if decode(&code[..end], mode) != Err(Undecoded::Truncated) {
                    break;
                }
                let completed = ends.iter().any(|tail| {
                    let mut whole = code[..end].to_vec();
                    whole.extend(tail);
                    whole.resize(MAX_SIZE, 0xc0);
                    decode(&whole, mode).is_ok()
                });
                assert!(completed, "{:02x?} in {mode:?}", &code[..end]);
            }
        }
    }
}

#[test]
fn no_more_than_fifteen_bytes_count() {
    let mut long = vec![0x66; 14];
    assert_eq!(decode(&long, MODES[2]), Err(Undecoded::Truncated));
    long.push(0x90);
    assert_eq!(decode(&long, MODES[2]).map(|found| found.size), Ok(15));
    long.insert(0, 0x66);
    assert_eq!(decode(&long, MODES[2]), Err(Undecoded::Invalid));
    assert_eq!(decode(&[0x66; 15], MODES[2]), Err(Undecoded::Invalid));
    assert_eq!(decode(&[], MODES[2]), Err(Undecoded::Truncated));
}
