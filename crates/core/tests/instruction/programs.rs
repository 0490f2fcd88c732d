//! Real code: the text of installed programs, instruction by instruction.

use std::fs;
use std::hint::black_box;
use std::time::Instant;

use iced_x86::{Decoder, DecoderOptions};
use odograph_core::instruction::{decode, ExecMode};

use crate::judge::compare;

const PROGRAMS: &[&str] = &[
    "/usr/bin/python3.11",
    "/usr/bin/perl",
    "/usr/bin/bash",
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/lib/x86_64-linux-gnu/libm.so.6",
    "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
];

/// Bytes of the executable segments of a 64-bit little-endian ELF file.
fn text(path: &str) -> Option<Vec<u8>> {
    let file = fs::read(path).ok()?;
    let number = |at: usize, size: usize| {
        file[at..at + size].iter().rev().fold(0usize, |value, &byte| value << 8 | usize::from(byte))
    };
    if !file.starts_with(b"\x7fELF\x02\x01") || number(18, 2) != 62 {
        return None;
    }
    let (headers, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let mut text = Vec::new();
    for header in (0..count).map(|index| headers + index * size) {
        let executable_load = number(header, 4) == 1 && number(header + 4, 4) & 1 == 1;
        if executable_load {
            let (offset, size) = (number(header + 8, 8), number(header + 32, 8));
            text.extend(&file[offset..offset + size]);
        }
    }
    Some(text)
}

/// Compares `limit` instructions of each program; where the bytes are data, goes on a byte further.
fn sweep(limit: usize) {
    for path in PROGRAMS {
        let Some(text) = text(path) else {
            println!("skipped: no {path}");
            continue;
        };
        let (mut at, mut count) = (0, 0);
        while at + 15 <= text.len() && count < limit {
            compare(&text[at..at + 15], ExecMode::Bits64)
                .unwrap_or_else(|difference| panic!("{path}: {difference}"));
            at += decode(&text[at..], ExecMode::Bits64).map_or(1, |found| usize::from(found.size));
            count += 1;
        }
        assert!(count > 1000, "{path} has code");
    }
}

#[test]
fn installed_programs_are_judged_alike() {
    sweep(100_000);
}

#[test]
#[ignore = "a minute; run it with --ignored"]
fn whole_installed_programs_are_judged_alike() {
    sweep(usize::MAX);
}

/// Prints nanoseconds per instruction, ours and iced's, over the text of a real program.
#[test]
#[ignore = "a measurement; run it with --release --ignored --nocapture"]
fn speed() {
    for path in PROGRAMS {
        let Some(text) = text(path) else { continue };
        let mut best = [f64::MAX; 2];
        for _ in 0..5 {
            let (mut at, mut count) = (0, 0u64);
            let start = Instant::now();
            while at < text.len() {
                at += black_box(decode(&text[at..], ExecMode::Bits64))
                    .map_or(1, |found| usize::from(found.size));
                count += 1;
            }
            best[0] = best[0].min(start.elapsed().as_nanos() as f64 / count as f64);
            let mut decoder = Decoder::new(64, &text, DecoderOptions::NONE);
            let mut count = 0u64;
            let start = Instant::now();
            while decoder.can_decode() {
                black_box(decoder.decode());
                count += 1;
            }
            best[1] = best[1].min(start.elapsed().as_nanos() as f64 / count as f64);
        }
        println!("{path}: {:.1} ns an instruction, iced {:.1}", best[0], best[1]);
        assert!(best[0] < 1000.0);
    }
}
