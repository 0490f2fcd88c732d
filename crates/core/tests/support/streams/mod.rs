//! Random traces of every kind for the decoders, and the judge of what they say.

pub mod case;
pub mod code;
pub mod context;
pub mod differences;
pub mod execution;
pub mod judge;
pub mod known;
pub mod line;
pub mod listing;
pub mod merge;
pub mod nearly;
pub mod shrink;
pub mod writer;

use odograph_core::config::FilterRange;
use odograph_core::cpu::Cpu;

use super::random::Random;
use case::{Case, Layer, Piece, Source};
use code::Code;

/// Kinds of traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// What a processor writes.
    Sound,
    /// The same with some packets damaged.
    Damaged,
    /// Packets nearly in order.
    Nearly,
    /// Overflows and what errata make of them.
    Overflows,
    /// Bytes without sense.
    Noise,
}

/// Every class.
pub const CLASSES: [Class; 5] = [Class::Sound, Class::Damaged, Class::Nearly, Class::Overflows, Class::Noise];

const MODELS: [u8; 7] = [0x3d, 0x4e, 0x55, 0x8f, 0x97, 0x5c, 0x7a];

/// The memory of a program: whole regions, some in two pieces, some of them missing.
fn pieces(random: &mut Random, code: &Code) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for region in &code.regions {
        if random.once_in(12) {
            continue;
        }
        let source = random.pick(&[Source::File, Source::Cache, Source::Cache, Source::Callback]);
        let cr3 = (source != Source::Callback && random.once_in(12)).then_some(0x1000);
        let size = region.bytes.len();
        let mut cuts = vec![0, size];
        for _ in 0..random.pick(&[0, 0, 1, 3]) {
            cuts.push(random.below(size));
        }
        cuts.sort_unstable();
        cuts.dedup();
        for pair in cuts.windows(2) {
            if random.once_in(15) {
                continue;
            }
            let bytes = region.bytes[pair[0]..pair[1]].to_vec();
            pieces.push(Piece { vaddr: region.base + pair[0] as u64, cr3, source, bytes });
        }
    }
    pieces
}

/// A random case of packets that libipt 2.0.5 knows: the same seed gives the same.
pub fn case(seed: u64, class: Class, layer: Layer) -> Case {
    let mut random = Random::new(seed.wrapping_mul(31) ^ (class as u64) << 60 ^ (layer as u64) << 50);
    loop {
        let case = any_case(&mut random, class, layer, false);
        if context::is_known(&case.trace()) {
            return case;
        }
    }
}

/// A random case of packets of every kind.
pub fn later_case(seed: u64, class: Class) -> Case {
    let mut random = Random::new(seed.wrapping_mul(37) ^ (class as u64) << 60);
    any_case(&mut random, class, Layer::Instruction, true)
}

fn any_case(random: &mut Random, class: Class, layer: Layer, later: bool) -> Case {
    let code = Code::random(random);
    let steps = random.pick(&[20, 60, 250]);
    let mut parts = match class {
        Class::Sound | Class::Damaged => {
            let wild = random.pick(&[0, 5, 12, 40]);
            let mut parts = execution::trace(&code, random, steps, wild, later);
            if class == Class::Damaged {
                nearly::damage(random, &code, &mut parts);
            }
            parts
        }
        Class::Nearly => nearly::packets(random, &code, steps),
        Class::Overflows => nearly::overflows(random, &code, 1 + steps / 20),
        Class::Noise => nearly::noise(random, steps * 2),
    };
    if later && !matches!(class, Class::Sound | Class::Noise) {
        nearly::sprinkle(random, &mut parts);
    }
    let cpu = random.once_in(if class == Class::Overflows { 1 } else { 2 }).then(|| Cpu {
        family: 6,
        model: random.pick(&MODELS),
        stepping: 1,
    });
    let filters = if random.once_in(5) {
        let first = code.regions[0].base;
        let last = first + code.regions[0].bytes.len() as u64 / 2;
        vec![FilterRange { stop: random.once_in(4), first, last }]
    } else {
        Vec::new()
    };
    let timed = random.once_in(2);
    Case {
        layer,
        damaged: class != Class::Sound,
        later,
        end_on_call: random.once_in(4),
        end_on_jump: random.once_in(4),
        tick_events: random.once_in(4),
        cpu,
        mtc_freq: if timed { random.pick(&[0, 3, 8, 9, 12]) } else { 0 },
        nom_freq: if timed { random.pick(&[0, 4, 33]) } else { 0 },
        eax: if timed { random.pick(&[1, 2, 2]) } else { 0 },
        ebx: if timed { random.pick(&[1, 4, 168]) } else { 0 },
        filters,
        pieces: pieces(random, &code),
        parts,
    }
}
