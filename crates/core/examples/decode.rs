//! Decodes a raw trace: `decode TRACE IMAGE OFFSET:SIZE:VADDR…` (hex), prints counts, hashes and time.

use std::sync::Arc;
use std::time::Instant;

use odograph_core::asid::Asid;
use odograph_core::config::TraceConfig;
use odograph_core::flow::Timeline;
use odograph_core::history::{decode, DecodeOptions, Hashing};
use odograph_core::image::Image;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let trace = std::fs::read(&arguments[1]).expect("the trace can be read");
    let mut image = Image::new(None);
    for section in &arguments[3..] {
        let numbers: Vec<u64> =
            section.split(':').map(|part| u64::from_str_radix(part, 16).expect("a hex number")).collect();
        let added =
            image.add_file(arguments[2].as_ref(), numbers[0], numbers[1], numbers[2], &Asid::default());
        added.expect("the section can be added");
    }
    let size = trace.len();
    let start = Instant::now();
    let config = TraceConfig::default();
    let stream =
        decode(Arc::new(trace), &config, Timeline::constant(image), DecodeOptions::default(), |_| false)
            .unwrap_or_else(|_| panic!("decoding was stopped"));
    let took = start.elapsed();
    println!(
        "{} instructions, {} events, {} gaps, {:?}, {:.1} MB/s, {:.0} M instructions/s",
        stream.steps(),
        stream.event_count(),
        stream.gaps().len(),
        took,
        size as f64 / took.as_secs_f64() / 1e6,
        stream.steps() as f64 / took.as_secs_f64() / 1e6
    );
    for gap in stream.gaps().iter().take(5) {
        println!("{gap:x?}");
    }
    let start = Instant::now();
    if let Ok(hash) = stream.hash(0, stream.steps(), Hashing::ROTATING, &mut || false) {
        println!("hash {:016x} {:?}", hash.value(), start.elapsed());
    }
}
