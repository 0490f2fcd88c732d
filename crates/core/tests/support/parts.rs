//! Decoding in parts, as if each were decoded elsewhere.

use std::sync::Arc;

use odograph_core::config::TraceConfig;
use odograph_core::flow::Timeline;
use odograph_core::history::{Assembly, Counts, DecodeOptions, Part, PartPlace, Stream};

use super::random::Random;

/// Decodes a trace in parts of about `size` bytes, each from a copy of its own bytes and nothing else, sent as bytes;
/// one in three is sent too few of what lies behind it. Gives the stream, and how many parts fitted, of how many.
pub fn assembled(
    trace: &Arc<Vec<u8>>,
    config: &TraceConfig,
    timeline: &Timeline,
    options: &DecodeOptions,
    size: u64,
    random: &mut Random,
) -> (Stream, usize, usize) {
    let mut assembly = Assembly::new(trace.clone(), config, timeline.clone(), options.clone(), size);
    let places = assembly.places();
    // What the parts, wherever they were decoded, count by themselves.
    let mut counts = Counts::default();
    decode_here(&mut assembly, &mut counts);
    let mut fitted = 0;
    for place in &places {
        let mut place = PartPlace::from_bytes(&place.to_bytes()).expect("what was sent arrives");
        if let (true, Some(until)) = (random.once_in(3), place.until) {
            let few = until + random.below(80) as u64;
            place.bytes.end = place.bytes.end.min(few);
        }
        let own = trace[place.bytes.start as usize..place.bytes.end as usize].to_vec();
        let decoded = place.decode(Arc::new(own), config, timeline.clone(), options.clone(), |_| false);
        let Some((part, stream)) = decoded else { continue };
        let part = Part::from_bytes(&part.to_bytes()).expect("what was sent arrives");
        while assembly.wanted().is_some_and(|wanted| wanted < place.number) {
            decode_here(&mut assembly, &mut counts);
        }
        let before = assembly.steps();
        if assembly.add(part) {
            fitted += 1;
            assert_eq!(assembly.steps(), before + stream.steps());
            count(&stream, 0, &mut counts);
        }
    }
    while assembly.wanted().is_some() {
        decode_here(&mut assembly, &mut counts);
    }
    let whole = assembly.finish(|_| false).ok().expect("nothing stops");
    let mut expected = Counts::default();
    count(&whole, 0, &mut expected);
    assert_eq!(counts, expected);
    (whole, fitted, places.len())
}

fn decode_here(assembly: &mut Assembly, counts: &mut Counts) {
    let before = assembly.steps();
    let stretch = assembly.decode_here(|_| false).ok().expect("nothing stops");
    assert_eq!(stretch.steps(), assembly.steps());
    count(&stretch, before, counts);
}

fn count(stream: &Stream, start: u64, counts: &mut Counts) {
    assert!(stream.count(start, stream.steps(), counts, &mut || false).is_ok());
}
