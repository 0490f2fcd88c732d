//! Every opcode of every map with every ModRM byte, and with fewer under each prefix that changes
//! meaning.

use odograph_core::instruction::ExecMode;

use crate::judge::{compare, MODES};

/// What stands before the opcode to reach each map.
const MAPS: &[&[u8]] = &[
    b"",
    b"\x0f",
    b"\x0f\x38",
    b"\x0f\x3a",
    // VEX by pp, W and L.
    b"\xc5\xf8",
    b"\xc5\xf9",
    b"\xc5\xfa",
    b"\xc5\xfb",
    b"\xc5\xfc",
    b"\xc5\xfd",
    b"\xc5\xfe",
    b"\xc5\xff",
    b"\xc4\xe1\x78",
    b"\xc4\xe1\xf9",
    b"\xc4\xe2\x78",
    b"\xc4\xe2\x79",
    b"\xc4\xe2\xf9",
    b"\xc4\xe2\x7a",
    b"\xc4\xe2\x7b",
    b"\xc4\xe2\x7d",
    b"\xc4\xe3\x79",
    b"\xc4\xe3\xf9",
    b"\xc4\xe3\x7d",
    b"\xc4\xe3\x7b",
    b"\xc4\xe5\x78",
    b"\xc4\xe7\x7b",
    b"\xc4\xe7\x7a",
    // EVEX by map, pp, W and L.
    b"\x62\xf1\x7c\x48",
    b"\x62\xf1\x7d\x48",
    b"\x62\xf1\xfd\x48",
    b"\x62\xf1\x7e\x48",
    b"\x62\xf1\x7f\x28",
    b"\x62\xf2\x7d\x48",
    b"\x62\xf2\xfd\x48",
    b"\x62\xf2\x7e\x48",
    b"\x62\xf2\x7f\x48",
    b"\x62\xf3\x7d\x48",
    b"\x62\xf3\xfd\x48",
    b"\x62\xf3\x7c\x48",
    b"\x62\xf5\x7c\x48",
    b"\x62\xf5\x7d\x48",
    b"\x62\xf5\x7e\x48",
    b"\x62\xf6\x7d\x48",
    b"\x62\xf6\x7e\x48",
    // XOP.
    b"\x8f\xe8\x78",
    b"\x8f\xe9\x78",
    b"\x8f\xea\x78",
];

/// Legacy prefixes, and REX where it is one.
const PREFIXES: &[&[u8]] = &[
    b"",
    b"\x66",
    b"\x67",
    b"\xf2",
    b"\xf3",
    b"\xf0",
    b"\x66\x67",
    b"\x66\xf2",
    b"\x66\xf3",
    b"\x48",
    b"\x44",
    b"\x66\x48",
    b"\xf3\x48",
    b"\x48\x66",
    b"\xf2\xf3",
];

fn sweep(mode: ExecMode) {
    let mut differences = Vec::new();
    for prefix in PREFIXES {
        for map in MAPS {
            for opcode in 0..=255 {
                for modrm in 0..=255 {
                    // Prefixes do not change which forms have a displacement: a few are enough.
                    let plain = matches!(modrm >> 6, 0 | 3) && matches!(modrm & 7, 0 | 4 | 5);
                    if !(prefix.is_empty() || plain) {
                        continue;
                    }
                    let mut code = [prefix, *map].concat();
                    code.extend([opcode, modrm, 0x25, 0x9a, 0x78, 0x56, 0x34, 0x12]);
                    code.resize(15, 0x11);
                    if let Err(difference) = compare(&code, mode) {
                        differences.push(difference);
                    }
                }
            }
        }
    }
    differences.truncate(500);
    assert!(differences.is_empty(), "differences:\n{}", differences.join("\n"));
}

#[test]
fn every_16_bit_opcode_is_judged_alike() {
    sweep(MODES[0]);
}

#[test]
fn every_32_bit_opcode_is_judged_alike() {
    sweep(MODES[1]);
}

#[test]
fn every_64_bit_opcode_is_judged_alike() {
    sweep(MODES[2]);
}
