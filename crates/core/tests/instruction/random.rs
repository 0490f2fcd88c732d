//! Random byte strings, biased to prefixes and escapes.

use odograph_core::instruction::ExecMode;
use proptest::prelude::*;

use crate::judge::{compare, MODES};

/// SplitMix64: enough to choose bytes, and the same on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Sixteen bytes: up to a few prefixes, often an escape, then anything.
    pub fn code(&mut self) -> [u8; 16] {
        const PREFIXES: &[u8; 16] = b"\x66\x67\xf2\xf3\xf0\x2e\x3e\x64\x65\x40\x41\x44\x48\x4f\x66\xf3";
        const ESCAPES: &[&[u8]] = &[
            b"\x0f",
            b"\x0f\x38",
            b"\x0f\x3a",
            b"\x0f\x0f",
            b"\x0f\x01",
            b"\x0f\xae",
            b"\x0f\xc7",
            b"\xc5",
            b"\xc4",
            b"\xc4\xe1",
            b"\xc4\xe2",
            b"\xc4\xe3",
            b"\x62",
            b"\x62\xf1",
            b"\x62\xf2",
            b"\x62\xf3",
            b"\x62\xf5",
            b"\x8f\xe8",
            b"\x8f\xe9",
            b"\x8f\xea",
            b"\xff",
            b"\xf6",
            b"\xf7",
        ];
        let mut code = [0; 16];
        for half in code.chunks_exact_mut(8) {
            half.copy_from_slice(&self.next().to_le_bytes());
        }
        let choice = self.next();
        let prefixes = match choice % 16 {
            0..8 => 0,
            8..12 => 1,
            12..14 => 2,
            14 => 3,
            _ => (choice >> 8) as usize % 14,
        };
        let mut at = 0;
        while at < prefixes {
            code[at] = PREFIXES[self.next() as usize % PREFIXES.len()];
            at += 1;
        }
        if choice >> 16 & 1 == 1 {
            for &byte in ESCAPES[(choice >> 20) as usize % ESCAPES.len()] {
                code[at] = byte;
                at += 1;
            }
        }
        code
    }
}

/// Compares `count` random strings in every mode and reports the first few differences.
fn stress(seed: u64, count: u64) {
    let mut random = Random(seed);
    let mut differences = Vec::new();
    for _ in 0..count {
        let code = random.code();
        for mode in MODES {
            if let Err(difference) = compare(&code, mode) {
                differences.push(difference);
            }
        }
        if differences.len() >= 200 {
            break;
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn random_bytes_are_judged_alike() {
    stress(1, 200_000);
}

#[test]
fn all_strings_of_up_to_three_bytes_are_judged_alike() {
    let mut differences = Vec::new();
    for mode in MODES {
        for length in 1..=3 {
            for number in 0..1u32 << (8 * length) {
                let bytes = &number.to_be_bytes()[4 - length..];
                differences.extend(compare(bytes, mode).err());
            }
        }
    }
    assert!(differences.is_empty(), "{} differences, such as {}", differences.len(), differences[0]);
}

/// The long run: `ODOGRAPH_STRINGS` says how many strings, `ODOGRAPH_SEED` where to begin.
#[test]
#[ignore = "minutes; run it with --ignored"]
fn hundreds_of_millions_of_random_bytes_are_judged_alike() {
    let number = |name: &str, default| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a whole number"))
    };
    stress(number("ODOGRAPH_SEED", 2), number("ODOGRAPH_STRINGS", 100_000_000));
}

proptest! {
    #[test]
    fn any_bytes_are_judged_alike(code in proptest::collection::vec(any::<u8>(), 0..20)) {
        for mode in MODES {
            // Judges see what ours sees: no more than 15 bytes.
            compare(&code[..code.len().min(15)], mode).map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn an_unknown_mode_never_fails_badly(code in proptest::collection::vec(any::<u8>(), 0..20)) {
        if let Ok(found) = odograph_core::instruction::decode(&code, ExecMode::Unknown) {
            prop_assert!(usize::from(found.size) <= code.len().min(15) && found.size > 0);
        }
    }
}
