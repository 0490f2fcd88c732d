//! The layers tell the same of any trace: events, queries, blocks, instructions, histories.

mod common;
mod support;

use std::sync::Arc;

use common::{fup, BITS64};

use odograph_core::flow::{GapCause, Timeline};
use odograph_core::history::{decode, DecodeOptions, EventColumns, OnError};
use odograph_core::packet::Packet;
use support::streams::case::{Cached, Case, Part, Piece, Source};
use support::streams::line::Line;
use support::streams::listing::{self, MOST_CALLS, MOST_INSTRUCTIONS};
use support::streams::{later_case, Class, CLASSES};

const STREAMS: u64 = 1500;

/// Cases of a class, the pieces of memory all in the image itself or behind a callback.
fn cases(class: Class) -> impl Iterator<Item = (u64, Case)> {
    (0..STREAMS).map(move |seed| {
        let mut case = later_case(seed, class);
        // Where a block ends for other reasons a loop is noticed later.
        (case.end_on_call, case.end_on_jump) = (false, false);
        for piece in &mut case.pieces {
            if piece.source == Source::Cache {
                piece.source = Source::File;
            }
        }
        (seed, case)
    })
}

/// Lines without status and offset.
fn told(lines: &[String]) -> Vec<(&str, &str)> {
    lines.iter().map(|line| Line::of(line)).map(|line| (line.text, line.error)).collect()
}

#[test]
fn queries_give_what_the_event_layer_gives() {
    for class in CLASSES {
        for (seed, case) in cases(class) {
            let (events, queries) = (listing::events(&case), listing::query(&case));
            assert_eq!(told(&events), told(&queries), "{class:?} {seed}\n{}", case.describe());
        }
    }
}

#[test]
fn instructions_are_those_of_the_blocks() {
    for class in CLASSES {
        for (seed, case) in cases(class) {
            let cached = Cached::none(&case);
            let instructions = listing::instructions(&case, &cached);
            let mut single = Vec::new();
            for line in &instructions {
                let (line, whole) = (Line::of(line), line);
                let text = whole.split(" | ").next().unwrap_or("");
                match line.text {
                    "sync" => single.push(format!("sync {:x}", line.offset)),
                    "error" => {}
                    _ => single.push(text.to_owned()),
                }
                if let Some(error) = line.error.strip_prefix('-').and_then(|code| code.parse().ok()) {
                    // The end of synchronising is the end of the listing.
                    let name =
                        odograph_core::error::PtError::from_code(error).map_or("", |error| error.name());
                    if !(line.is("sync") && name == "eos") {
                        single.push(format!("error {name}"));
                    }
                }
            }
            let blocks = listing::expanded(&case, &cached);
            // Either may be cut where it grows too long.
            let common = single.len().min(blocks.len());
            let cut = single.iter().filter(|line| line.starts_with("step")).count() >= MOST_INSTRUCTIONS
                || single.len() >= MOST_CALLS - 20;
            assert!(
                cut || single.len() == blocks.len() || single[..common] != blocks[..common],
                "{class:?} {seed}"
            );
            for nth in 0..common {
                let around = nth.saturating_sub(5)..(nth + 5).min(common);
                assert_eq!(
                    single[nth],
                    blocks[nth],
                    "{class:?} {seed}\n{}{:#?}\n{:#?}",
                    case.describe(),
                    &single[around.clone()],
                    &blocks[around]
                );
            }
        }
    }
}

/// Whether the only error is that the trace ends.
fn is_undamaged(lines: &[String]) -> bool {
    let failed = lines.iter().position(|line| !Line::of(line).error.is_empty());
    let eos = |nth: usize| nth.checked_sub(1).is_some_and(|nth| Line::at(lines, nth).is_eos());
    failed.is_some_and(|nth| eos(nth) && Line::at(lines, nth + 1).is("sync") && nth + 2 == lines.len())
}

/// Whether every PSB+ names the next instruction. Blocks, as libipt's, do not walk to where PSB+ says that execution
/// is; histories do.
fn goes_on_at_psb(blocks: &[String]) -> bool {
    (0..blocks.len())
        .filter(|&nth| Line::at(blocks, nth).is("enabled") && Line::at(blocks, nth).says("status"))
        .all(|nth| {
            let next = blocks[nth..].iter().map(|line| Line::of(line)).find(|line| line.is("step"));
            next.is_some_and(|next| next.field("ip") == Line::at(blocks, nth).field("ip"))
        })
}

#[test]
fn histories_execute_what_blocks_execute() {
    let mut compared = 0;
    for (seed, case) in cases(Class::Sound) {
        let blocks = listing::expanded(&case, &Cached::none(&case));
        let mut steps: Vec<u64> = blocks
            .iter()
            .filter(|line| line.starts_with("step"))
            .filter_map(|line| u64::from_str_radix(Line::of(line).field("ip"), 16).ok())
            .collect();
        let whole = is_undamaged(&listing::blocks(&case, &Cached::none(&case))) && goes_on_at_psb(&blocks);
        if !whole || steps.len() >= MOST_INSTRUCTIONS {
            continue;
        }
        let options = DecodeOptions { on_error: OnError::Gap, ..DecodeOptions::default() };
        let timeline = Timeline::constant(case.image(&Cached::none(&case)));
        let stream = decode(Arc::new(case.trace()), &case.config(), timeline, options, |_| false)
            .unwrap_or_else(|_| panic!("{seed}: damage is a gap"));
        let mut ips = Vec::new();
        stream.ips(0, stream.steps(), &mut ips, &mut || false).unwrap();
        // Where code goes round behind the end, one of the two may see it some steps earlier.
        if stream.gaps().iter().any(|gap| gap.cause == GapCause::Endless) {
            let common = ips.len().min(steps.len());
            ips.truncate(common);
            steps.truncate(common);
        }
        let part =
            ips.iter().zip(&steps).position(|(ip, step)| ip != step).unwrap_or(ips.len().min(steps.len()));
        let around =
            |all: &[u64]| format!("{:x?}", all.get(part.saturating_sub(3)..(part + 4).min(all.len())));
        assert!(
            ips == steps,
            "{seed}, step {part}: history {} blocks {}\n{:x?}\n{}{blocks:#?}",
            around(&ips),
            around(&steps),
            stream.gaps(),
            case.describe()
        );
        compared += 1;
    }
    assert!(compared > STREAMS / 4, "only {compared} traces without damage");
}

#[test]
fn trig_counts_over_events_without_a_place() {
    //  1000 mov cr3, rax   1003 nop   1004 nop   1005 ret
    let mut case = later_case(0, Class::Noise);
    case.pieces = vec![Piece {
        vaddr: 0x1000,
        cr3: None,
        source: Source::File,
        bytes: vec![0x0f, 0x22, 0xd8, 0x90, 0x90, 0xc3],
    }];
    let packets = [
        Packet::Psb,
        BITS64,
        fup(0x1000),
        Packet::Psbend,
        Packet::Pip { cr3: 0x2000, nr: false },
        Packet::Trig { trbv: 1, icnt: 2, ip: false, icntv: true, mult: false },
    ];
    case.parts = packets.into_iter().map(Part::Packet).collect();
    let timeline = Timeline::constant(case.image(&Cached::none(&case)));
    let stream =
        decode(Arc::new(case.trace()), &case.config(), timeline, DecodeOptions::default(), |_| false)
            .unwrap_or_else(|_| panic!("damage is a gap"));
    let mut events = EventColumns::default();
    stream.events(0..u64::MAX, 0, &mut events, &mut || false).unwrap();
    let last = events.ip.len() - 1;
    assert_eq!((events.ip[last], events.step[last]), (0x1004, 2));
    let blocks = listing::expanded(&case, &Cached::none(&case));
    assert!(
        blocks.iter().any(|line| line.starts_with("trig") && Line::of(line).field("ip") == "1004"),
        "{blocks:#?}"
    );
}
