//! A saved stream with any bytes changed and a checksum that fits: it is refused, or what it says can be asked for.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use odograph_core::asid::Asid;
use odograph_core::config::TraceConfig;
use odograph_core::flow::Timeline;
use odograph_core::history::{decode, DecodeOptions, EventColumns, InstructionColumns, DecodedTrace};
use odograph_core::image::Image;
use xxhash_rust::xxh3::xxh3_128;

const ORG: u64 = 0x10_0000;
const CHECKSUM: usize = 16;

/// A loop: dec eax; jne -4; ret.
static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let mut image = Image::new(None);
    let _ = image.add_bytes([0xff, 0xc8, 0x75, 0xfc, 0xc3], ORG, &Asid::default(), None);
    image
});

/// PSB, FUP, MODE.Exec, PSBEND, and a few turns of the loop, some times.
static TRACE: LazyLock<Arc<Vec<u8>>> = LazyLock::new(|| {
    let mut trace = Vec::new();
    for _ in 0..20 {
        trace.extend(odograph_core::packet::PSB);
        trace.extend([0xdd, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x99, 0x01, 0x02, 0x23]);
        trace.extend([0xfe, 0xfe, 0x59, 0x05]);
    }
    Arc::new(trace)
});

fn options() -> DecodeOptions {
    DecodeOptions { checkpoint_distance: 1, ..DecodeOptions::default() }
}

static SAVED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let timeline = Timeline::constant(IMAGE.clone());
    let stream = decode(TRACE.clone(), &TraceConfig::default(), timeline, options(), |_| false).ok();
    stream.and_then(|stream| stream.save().ok()).unwrap_or_default()
});

// Three bytes say where a byte is changed, and to what.
fuzz_target!(|data: &[u8]| {
    let mut saved = SAVED.clone();
    saved.truncate(saved.len().saturating_sub(CHECKSUM));
    for change in data.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % saved.len().max(1);
        if let Some(byte) = saved.get_mut(at) {
            *byte = change[2];
        }
    }
    let checksum = xxh3_128(&saved).to_le_bytes();
    saved.extend(checksum);
    let timeline = Timeline::constant(IMAGE.clone());
    let config = TraceConfig::default();
    let Ok(stream) = DecodedTrace::load(&saved, TRACE.clone(), &config, timeline, options(), || false) else {
        return;
    };
    let _ = stream.events(0..u64::MAX, 0, &mut EventColumns::default(), &mut || false);
    let steps: Vec<u64> = stream.checkpoints().map(|(step, ..)| step).collect();
    for step in steps {
        let stop = step.saturating_add(200);
        let _ = stream.instructions(step, stop, 0, &mut InstructionColumns::default(), &mut || false);
    }
    let _ = stream.step_at_tsc(1);
});
