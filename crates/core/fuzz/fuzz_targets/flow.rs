//! Any trace over code that any bytes may be: decoding ends, and decodes the same with cramped limits.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use odograph_core::asid::Asid;
use odograph_core::config::TraceConfig;
use odograph_core::flow::{EngineOptions, Timeline};
use odograph_core::history::{decode, DecodeOptions, Hashing, DecodedTrace};
use odograph_core::image::Image;

const ORG: u64 = 0x10_0000;

fn history(trace: &[u8], image: &Image, options: DecodeOptions) -> Option<DecodedTrace> {
    let timeline = Timeline::constant(image.clone());
    decode(Arc::new(trace.to_vec()), &TraceConfig::default(), timeline, options, |_| false).ok()
}

// The first two bytes say how many of the rest are code; the others are the trace behind a PSB+ at the code.
fuzz_target!(|data: &[u8]| {
    let Some((head, rest)) = data.split_first_chunk::<2>() else { return };
    let split = usize::from(u16::from_le_bytes(*head)).min(rest.len());
    let (code, packets) = rest.split_at(split);
    let mut image = Image::new(None);
    if image.add_bytes(code.to_vec(), ORG, &Asid::default(), None).is_err() {
        return;
    }
    let mut trace = odograph_core::packet::PSB.to_vec();
    trace.extend([0xdd, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x99, 0x01, 0x02, 0x23]);
    trace.extend_from_slice(packets);
    // A loop without packets may count up to the limit; a small one keeps the fuzzer quick.
    let engine = EngineOptions { linear_limit: 1 << 12, ..EngineOptions::default() };
    let usual = DecodeOptions { engine: engine.clone(), ..DecodeOptions::default() };
    let cramped = DecodeOptions {
        engine,
        checkpoint_distance: 1,
        graph_limits: Some((4, 16)),
        ..DecodeOptions::default()
    };
    let (Some(first), Some(second)) = (history(&trace, &image, usual), history(&trace, &image, cramped))
    else {
        return;
    };
    assert_eq!(first.steps(), second.steps());
    assert_eq!(first.gaps(), second.gaps());
    let all = |stream: &DecodedTrace| {
        stream.hash(0, stream.steps().min(1 << 20), Hashing::ROTATING, &mut || false).map(Hashing::value)
    };
    assert_eq!(all(&first), all(&second));
});
