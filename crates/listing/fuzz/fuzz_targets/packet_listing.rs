//! Any bytes have a listing, of a length in proportion to theirs, and stops for sideband records change nothing
//! about it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use odograph_core::config::{CpuChoice, TraceConfig};
use odograph_core::cpu::Cpu;
use odograph_listing::fields::{FieldListing, FieldOptions};
use odograph_listing::packets::{PacketListing, PacketOptions, Progress};

const NAMES: [&str; 15] = [
    "no-sync", "quiet", "no-pad", "no-timing", "no-cyc", "no-offset", "raw", "lastip", "exec-mode", "time",
    "tcal", "time-delta", "no-tcal", "no-wall-clock", "sideband",
];

fuzz_target!(|input: ([u16; 2], u8, [u8; 2], [u32; 2], u64, &[u8])| {
    let ([flags, field_flags], model, [mtc_freq, nom_freq], [cpuid_0x15_eax, cpuid_0x15_ebx], limit, bytes) =
        input;
    let mut options = PacketOptions::default();
    for (at, name) in NAMES.iter().enumerate() {
        if flags >> at & 1 == 1 {
            assert!(options.set(name));
        }
    }
    let cpu = Cpu { family: 6, model, stepping: 0 };
    let config = TraceConfig {
        cpu: CpuChoice::Exactly(cpu),
        mtc_freq,
        nom_freq,
        cpuid_0x15_eax,
        cpuid_0x15_ebx,
        keep_tcal_on_ovf: flags >> 15 == 1,
        ..TraceConfig::default()
    };
    let most = 1000 + bytes.len() * 400;

    let mut whole = Vec::new();
    let mut listing = PacketListing::new(&config, options);
    while listing.next_piece(bytes, None, &mut whole) != Progress::End {
        assert!(whole.len() <= most);
    }
    let text = std::str::from_utf8(&whole).expect("plain text");
    assert!(text.is_empty() || text.ends_with('\n'));

    let mut pieces = Vec::new();
    let mut listing = PacketListing::new(&config, options);
    let mut rounds = 0;
    loop {
        match listing.next_piece(bytes, Some(limit), &mut pieces) {
            Progress::End => break,
            Progress::Reached(tsc) => assert!(tsc >= limit),
            Progress::More => {}
        }
        rounds += 1;
        assert!(rounds <= bytes.len() + 10);
    }
    assert_eq!(pieces, whole);

    let mut fields = FieldListing::new(FieldOptions {
        first: usize::from(field_flags & 0xff),
        end: (field_flags >> 15 == 1).then_some(usize::from(field_flags >> 4)),
        json: field_flags >> 14 & 1 == 1,
        ..FieldOptions::default()
    });
    let mut text = Vec::new();
    while fields.next_piece(bytes, &mut text) {
        assert!(text.len() <= most);
    }
    assert!(std::str::from_utf8(&text).is_ok());
});
