//! Streams written down and read again: the same where everything is the same, refused where anything is not.

mod support;

use std::sync::Arc;

use odograph_core::asid::Asid;
use odograph_core::config::TraceConfig;
use odograph_core::flow::{Moment, Timeline};
use odograph_core::history::{decode, Assembly, DecodeOptions, DecodedTrace, Part, Resync, Stale, Unsaved};
use odograph_core::image::Image;
use support::attack::Endless;
use support::forgery::forge;
use support::program::Program;
use support::random::Random;
use support::run::run;
use support::ways::told;
use xxhash_rust::xxh3::xxh3_128;

/// A trace, its code, and how to decode it.
struct Case {
    trace: Arc<Vec<u8>>,
    program: Program,
    options: DecodeOptions,
}

impl Case {
    fn new(seed: u64) -> Case {
        let mut random = Random::new(seed);
        let program = Program::random(&mut random, 0x40_1000, 60);
        let trace = Arc::new(run(&program, &mut random, 3000, false).trace);
        let options = DecodeOptions { checkpoint_distance: 300, ..DecodeOptions::default() };
        Case { trace, program, options }
    }

    /// An image that no other knows of: nothing is shared.
    fn image(&self) -> Image {
        let mut image = Image::new(None);
        image.add_bytes(&self.program.bytes[..], self.program.base, &Asid::default(), None).unwrap();
        image
    }

    fn decoded(&self, image: Image) -> DecodedTrace {
        let timeline = Timeline::constant(image);
        decode(self.trace.clone(), &TraceConfig::default(), timeline, self.options.clone(), |_| false)
            .unwrap_or_else(|_| panic!("nothing stops this decode"))
    }

    fn saved(&self) -> Vec<u8> {
        self.decoded(self.image()).save().expect("nothing forbids it")
    }

    fn loaded(&self, saved: &[u8], image: Image) -> Result<DecodedTrace, Stale> {
        let timeline = Timeline::constant(image);
        let options = self.options.clone();
        DecodedTrace::load(saved, self.trace.clone(), &TraceConfig::default(), timeline, options, || false)
    }

    fn stale(&self, saved: &[u8], image: Image) -> Option<Stale> {
        self.loaded(saved, image).err()
    }
}

#[test]
fn what_is_loaded_is_what_was_saved() {
    for seed in 0..20 {
        let case = Case::new(seed);
        let stream = case.decoded(case.image());
        let saved = stream.save().unwrap();
        let loaded = case.loaded(&saved, case.image()).unwrap_or_else(|stale| panic!("seed {seed}: {stale}"));
        assert_eq!(told(&loaded), told(&stream), "seed {seed}");
        assert_eq!(loaded.tsc_range(), stream.tsc_range(), "seed {seed}");
        assert_eq!(loaded.moments(), stream.moments(), "seed {seed}");
        assert!(loaded.checkpoints().eq(stream.checkpoints()), "seed {seed}");
        assert!(loaded.checkpoints().count() > 3, "seed {seed}");
        assert_eq!(loaded.save().unwrap(), saved, "seed {seed}: saving changes nothing");
    }
}

#[test]
fn a_trace_without_a_psb_can_be_saved() {
    for trace in [vec![], vec![0x19; 100]] {
        let case = Case { trace: Arc::new(trace), ..Case::new(1) };
        let loaded = case.loaded(&case.saved(), case.image()).expect("it is the same");
        assert_eq!(told(&loaded), told(&case.decoded(case.image())));
    }
}

#[test]
fn another_trace_is_noticed() {
    let case = Case::new(1);
    let saved = case.saved();
    let mut random = Random::new(2);
    for _ in 0..50 {
        let mut trace = case.trace.to_vec();
        let at = random.below(trace.len());
        match random.below(3) {
            0 => trace.truncate(at),
            1 => trace.push(0),
            _ => trace[at] ^= 1 << random.below(8),
        }
        let other = Case { trace: Arc::new(trace), ..Case::new(1) };
        assert_eq!(other.stale(&saved, case.image()), Some(Stale::Trace));
    }
}

#[test]
fn other_memory_is_noticed_where_it_was_read() {
    let case = Case::new(3);
    let saved = case.saved();
    let base = case.program.base;
    for at in [0, case.program.bytes.len() / 2, case.program.bytes.len() - 1] {
        let mut image = case.image();
        let byte = [!case.program.bytes[at]];
        image.add_bytes(byte, base + at as u64, &Asid::default(), None).unwrap();
        let Some(Stale::Memory(other)) = case.stale(&saved, image) else { panic!("byte {at}") };
        assert!(other.address <= base + at as u64);
    }
    assert!(matches!(case.stale(&saved, Image::new(None)), Some(Stale::Memory(_))));
    let mut elsewhere = case.image();
    elsewhere.add_bytes([0x90; 16], base + 0x10_0000, &Asid::default(), None).unwrap();
    assert_eq!(case.stale(&saved, elsewhere), None, "nobody looked there");
}

#[test]
fn the_same_memory_in_other_sections_is_the_same() {
    let case = Case::new(4);
    let (head, tail) = case.program.bytes.split_at(case.program.bytes.len() / 3);
    let mut image = Image::new(None);
    let middle = case.program.base + head.len() as u64;
    image.add_bytes(head, case.program.base, &Asid::default(), None).unwrap();
    image.add_bytes(tail, middle, &Asid::default(), None).unwrap();
    let loaded = case.loaded(&case.saved(), image.clone()).expect("it is the same");
    assert_eq!(told(&loaded), told(&case.decoded(image)));
}

#[test]
fn memory_that_was_not_there_must_still_be_missing() {
    let case = Case::new(5);
    let mut image = Image::new(None);
    let bytes = &case.program.bytes;
    image.add_bytes(&bytes[..bytes.len() / 2], case.program.base, &Asid::default(), None).unwrap();
    let stream = case.decoded(image.clone());
    assert!(!stream.gaps().is_empty());
    let saved = stream.save().unwrap();
    let same = case.loaded(&saved, image).expect("it is the same");
    assert_eq!(told(&same), told(&stream));
    assert!(matches!(case.stale(&saved, case.image()), Some(Stale::Memory(_))));
}

#[test]
fn another_way_to_decode_is_noticed() {
    let case = Case::new(6);
    let saved = case.saved();
    let load = |config: &TraceConfig, timeline: Timeline, options: DecodeOptions| {
        DecodedTrace::load(&saved, case.trace.clone(), config, timeline, options, || false).err()
    };
    let plain = TraceConfig::default();
    let alone = || Timeline::constant(case.image());
    let config = TraceConfig { mtc_freq: 3, ..plain.clone() };
    assert_eq!(load(&config, alone(), case.options.clone()), Some(Stale::Config));
    let to_psb = DecodeOptions { resync: Resync::Psb, ..case.options.clone() };
    assert_eq!(load(&plain, alone(), to_psb), Some(Stale::Options));
    let mut linear = case.options.clone();
    linear.engine.linear_limit += 1;
    assert_eq!(load(&plain, alone(), linear), Some(Stale::Options));
    let moment = |tsc, image: &Image| Moment { tsc, image: image.clone(), owner: 0 };
    let image = case.image();
    let twice = Timeline::new(vec![moment(0, &image), moment(1, &image)]);
    assert_eq!(load(&plain, twice, case.options.clone()), Some(Stale::Timeline));
    let threads = DecodeOptions { threads: 3, piece: Some(99), ..DecodeOptions::default() };
    assert_eq!(load(&plain, alone(), threads), None, "what changes nothing does not matter");
}

#[test]
fn callbacks_are_not_saved() {
    let case = Case::new(7);
    let saved = case.saved();
    let mut image = case.image();
    image.set_callback(Some(Arc::new(Endless::Nops)));
    assert_eq!(case.decoded(image.clone()).save(), Err(Unsaved::Callback));
    assert_eq!(case.stale(&saved, image), Some(Stale::Callback));
}

#[test]
fn checking_can_be_interrupted() {
    let case = Case::new(8);
    let timeline = Timeline::constant(case.image());
    let (config, options) = (TraceConfig::default(), case.options.clone());
    let loaded = DecodedTrace::load(&case.saved(), case.trace.clone(), &config, timeline, options, || true);
    assert_eq!(loaded.err(), Some(Stale::Interrupted));
}

#[test]
fn damage_is_noticed() {
    let case = Case::new(9);
    let saved = case.saved();
    for length in (0..saved.len()).step_by(7) {
        assert_eq!(case.stale(&saved[..length], case.image()), Some(Stale::Damaged), "{length} bytes");
    }
    for at in (0..saved.len()).step_by(5) {
        let mut damaged = saved.clone();
        damaged[at] ^= 1 << (at % 8);
        assert_eq!(case.stale(&damaged, case.image()), Some(Stale::Damaged), "byte {at}");
    }
    let mut other = saved[..saved.len() - 16].to_vec();
    other[10] ^= 1;
    other.extend(xxh3_128(&other).to_le_bytes());
    assert_eq!(case.stale(&other, case.image()), Some(Stale::Version));
}

#[test]
fn a_forged_checksum_lets_nothing_in_that_breaks() {
    let mut random = Random::new(10);
    let mut let_in = 0;
    for seed in 0..30 {
        let case = Case::new(seed);
        let saved = case.saved();
        let_in += forge(&saved, &mut random, 40, |forged| case.loaded(forged, case.image()).ok());
    }
    assert!((20..1000).contains(&let_in), "some are noticed, some are not: {let_in}");
}

#[test]
fn a_stream_from_parts_decoded_elsewhere_is_saved_whole() {
    let case = Case::new(11);
    let config = TraceConfig::default();
    let here = Timeline::constant(case.image());
    let options = case.options.clone();
    let mut assembly = Assembly::new(case.trace.clone(), &config, here, options.clone(), 2000);
    let mut fitted = 0;
    for place in assembly.places() {
        // Elsewhere nobody shares what was learned here.
        let there = Timeline::constant(case.image());
        let bytes = case.trace[place.bytes.start as usize..place.bytes.end as usize].to_vec();
        while assembly.wanted().is_some_and(|wanted| wanted < place.number) {
            assert!(assembly.decode_here(|_| false).is_ok());
        }
        let decoded = place.decode(Arc::new(bytes), &config, there, options.clone(), |_| false);
        let Some((part, _)) = decoded else { continue };
        fitted += u32::from(assembly.add(Part::from_bytes(&part.to_bytes()).expect("what was sent arrives")));
    }
    assert!(fitted > 0);
    let stream = assembly.finish(|_| false).unwrap_or_else(|_| panic!("nothing stops"));
    assert_eq!(stream.save().unwrap(), case.saved(), "all code was read");
}
