//! Any trace over code that any bytes may be: fed in any pieces it is decoded as it is at once.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use odograph_core::asid::Asid;
use odograph_core::config::TraceConfig;
use odograph_core::flow::{EngineOptions, Gap, Timeline};
use odograph_core::history::{decode, DecodeOptions, EventColumns, Hashing, LiveTrace, LivePart, DecodedTrace};
use odograph_core::image::Image;

const ORG: u64 = 0x10_0000;

type Told = (u64, u64, Vec<Gap>, Vec<(i64, i16, u64)>);

/// Adds what a stream says behind `step` instructions and `base` bytes of trace.
fn tell(told: &mut Told, hashing: Hashing, stream: &DecodedTrace, step: u64, base: u64) -> Option<Hashing> {
    let mut columns = EventColumns::default();
    stream.events(0..u64::MAX, step as i64, &mut columns, &mut || false).ok()?;
    for ((step, kind), offset) in columns.step.into_iter().zip(columns.kind).zip(columns.offset) {
        told.3.push((step, kind, offset + base));
    }
    told.2.extend(stream.gaps().iter().map(|gap| Gap { step: gap.step + step, offset: gap.offset + base, ..gap }));
    told.0 += stream.steps();
    let hashing = stream.hash(0, stream.steps(), hashing, &mut || false).ok()?;
    told.1 = hashing.value();
    Some(hashing)
}

// The first byte says how large the pieces are, the next two how many of the rest are code; the others are the trace
// behind a PSB+ at the code, in which `PSB` is spelled by one byte, 0x05, that no packet begins with.
fuzz_target!(|data: &[u8]| {
    let Some((&[piece, low, high], rest)) = data.split_first_chunk::<3>() else { return };
    let split = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
    let (code, packets) = rest.split_at(split);
    let mut image = Image::new(None);
    if image.add_bytes(code.to_vec(), ORG, &Asid::default(), None).is_err() {
        return;
    }
    let mut trace = Vec::new();
    for &byte in [5].iter().chain(packets) {
        if byte == 5 {
            trace.extend_from_slice(&odograph_core::packet::PSB);
            trace.extend([0xdd, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x99, 0x01, 0x02, 0x23]);
        } else {
            trace.push(byte);
        }
    }
    // A loop without packets may count up to the limit; a small one keeps the fuzzer quick.
    let engine = EngineOptions { linear_limit: 1 << 12, ..EngineOptions::default() };
    let options = DecodeOptions { engine, ..DecodeOptions::default() };
    let timeline = Timeline::constant(image.clone());
    let config = TraceConfig::default();
    let Ok(whole) = decode(Arc::new(trace.clone()), &config, timeline, options.clone(), |_| false) else { return };
    if whole.steps() > 1 << 20 {
        return;
    }
    let mut expected = Told::default();
    tell(&mut expected, Hashing::ROTATING, &whole, 0, 0);
    let mut live = LiveTrace::new(&config, image, options, u64::MAX);
    let mut parts: Vec<LivePart> = Vec::new();
    for bytes in trace.chunks(usize::from(piece) + 1) {
        parts.extend(live.feed(bytes, |_| false).ok().flatten());
        parts.extend(live.flush(|_| false).ok().flatten());
    }
    parts.extend(live.close(|_| false).ok().flatten());
    let (mut found, mut hashing) = (Told::default(), Some(Hashing::ROTATING));
    for part in &parts {
        hashing = hashing
            .and_then(|hashing| tell(&mut found, hashing, &part.stream, part.first_step, part.offset));
    }
    assert_eq!(found, expected);
});
