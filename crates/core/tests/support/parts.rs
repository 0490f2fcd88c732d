//! Decoding in parts, as if each were decoded elsewhere.

use std::sync::Arc;

use odograph_core::config::TraceConfig;
use odograph_core::flow::Timeline;
use odograph_core::history::{
    Assembly, CallTree, Calls, DecodeOptions, DecodedTrace, Functions, Pairs, Part, PartPlace, StackPart, Sum,
};

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
) -> (Arc<DecodedTrace>, usize, usize) {
    let mut assembly = Assembly::new(trace.clone(), config, timeline.clone(), options.clone(), size);
    let places = assembly.places();
    // What the parts, wherever they were decoded, count by themselves.
    let mut sums = Sums::default();
    decode_here(&mut assembly, &mut sums);
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
            decode_here(&mut assembly, &mut sums);
        }
        let before = assembly.steps();
        if assembly.add(part) {
            fitted += 1;
            assert_eq!(assembly.steps(), before + stream.steps());
            sums.add(&Arc::new(stream), 0, before);
        }
    }
    while assembly.wanted().is_some() {
        decode_here(&mut assembly, &mut sums);
    }
    let whole = Arc::new(assembly.finish(|_| false).ok().expect("nothing stops"));
    let mut expected = Sums::default();
    expected.add(&whole, 0, 0);
    sums.assert_same(expected);
    (whole, fitted, places.len())
}

fn decode_here(assembly: &mut Assembly, sums: &mut Sums) {
    let before = assembly.steps();
    let stretch = assembly.decode_here(|_| false).ok().expect("nothing stops");
    assert_eq!(stretch.steps(), assembly.steps());
    sums.add(&Arc::new(stretch), before, 0);
}

/// What all passes give that can be put together.
struct Sums(Vec<Sum>);

impl Default for Sums {
    fn default() -> Self {
        let names = ["counts", "coverage", "functions", "paths", "pairs"];
        Sums(names.iter().map(|name| Sum::named(name).expect("there is a sum of this name")).collect())
    }
}

impl Sums {
    /// Adds a part's steps from `start` on, `by` added to their numbers, sent as bytes.
    fn add(&mut self, stream: &Arc<DecodedTrace>, start: u64, by: u64) {
        let asked = StackPart::some(stream.clone(), start..stream.steps());
        for (sum, mut part) in self.0.iter_mut().zip(Sums::default().0) {
            assert!(part.ask(&asked, &mut || false).is_ok());
            part.move_by(by as i64);
            let arrived = Sum::from_bytes(&part.to_bytes()).expect("what was sent arrives");
            assert!(sum.merge(arrived));
        }
    }

    fn assert_same(self, other: Sums) {
        for (one, other) in self.0.into_iter().zip(other.0) {
            match (one, other) {
                (Sum::Counts(one), Sum::Counts(other)) => assert_eq!(one, other),
                (Sum::Coverage(one), Sum::Coverage(other)) => {
                    assert_eq!(one.block_rows(), other.block_rows());
                    assert_eq!(one.edge_rows(), other.edge_rows());
                }
                (Sum::Functions(one), Sum::Functions(other)) => {
                    let costs =
                        |calls: Calls<_>| Functions::costs(calls.settled(false, Arc::default(), Vec::new()));
                    assert_eq!(costs(one), costs(other));
                }
                (Sum::Paths(one), Sum::Paths(other)) => {
                    let nodes = |calls: Calls<CallTree>| {
                        calls.settled(false, Arc::default(), Vec::new()).ledger.nodes
                    };
                    assert_eq!(nodes(one), nodes(other));
                }
                (Sum::Pairs(one), Sum::Pairs(other)) => {
                    let rows =
                        |calls: Calls<Pairs>| calls.settled(false, Arc::default(), Vec::new()).ledger.rows;
                    assert_eq!(rows(one), rows(other));
                }
                _ => panic!("sums of the same things"),
            }
        }
    }
}
