//! `judged JUDGE FOLDER FIRST-SEED COUNT [CLASS [LAYER]]`: compares the decoders with libipt on random traces.
//!
//! JUDGE is the compiled `tests/libipt_streams.c`, FOLDER a place for the cases. CLASS and LAYER are as in
//! `tests/support/streams`, in lower case for the layer; `all` is every one. Exits with 1 if decoders and judge differ,
//! after it has shown the smallest trace it could find for each kind of difference; with KEEP in the environment the
//! traces are shown as they were made.

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;

use support::streams::case::{Cached, Case, Layer};
use support::streams::differences::{self, Difference};
use support::streams::judge::{Judge, Verdict};
use support::streams::{case, context, listing, shrink, Class, CLASSES};

/// So many kinds of differences are shown.
const MOST_SHOWN: usize = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let mut judge = Judge::new(Path::new(&arguments[1]), Path::new(&arguments[2]));
    let first: u64 = arguments[3].parse().expect("a number");
    let count: u64 = arguments[4].parse().expect("a number");
    let only = arguments.get(5).filter(|only| *only != "all");
    let layers: Vec<Layer> = match arguments.get(6).map(String::as_str) {
        Some("query") => vec![Layer::Query],
        Some("instruction") => vec![Layer::Instruction],
        Some("block") => vec![Layer::Block],
        _ => vec![Layer::Query, Layer::Instruction, Layer::Block],
    };
    let mut differing: BTreeMap<String, (usize, u64, Class, Case)> = BTreeMap::new();
    let mut known: BTreeMap<&'static str, usize> = BTreeMap::new();
    for class in CLASSES {
        if only.is_some_and(|only| *only != format!("{class:?}")) {
            continue;
        }
        for layer in layers.clone() {
            let seeds: Vec<u64> = (first..first + count).collect();
            let mut here = 0;
            let mut lines = (0, 0, 0);
            for seeds in seeds.chunks(200) {
                let cases: Vec<Case> = seeds.iter().map(|&seed| case(seed, class, layer)).collect();
                let heard = judge.hear(&cases);
                for ((&seed, case), (verdict, cached)) in seeds.iter().zip(&cases).zip(&heard) {
                    let found = differences::compare(case, verdict, &listing::list(case, cached));
                    lines = (
                        lines.0 + found.compared,
                        lines.1 + usize::from(found.ended),
                        lines.2 + found.same_status,
                    );
                    for reason in found.known {
                        *known.entry(reason).or_default() += 1;
                    }
                    if let Some(difference) = found.difference {
                        here += 1;
                        let first = || (0, seed, class, case.clone());
                        differing.entry(difference.signature()).or_insert_with(first).0 += 1;
                    }
                }
            }
            println!(
                "{class:?} {layer:?}: {here} of {count} differ; {} lines the same, {} with their status; {} cases not to their end",
                lines.0, lines.2, lines.1
            );
        }
    }
    println!("libipt did not survive {}; known differences: {known:#?}", judge.broken);
    let mut kinds: Vec<_> = differing.into_iter().collect();
    kinds.sort_by_key(|(_, (count, ..))| std::cmp::Reverse(*count));
    for (signature, (count, seed, class, case)) in kinds.iter().take(MOST_SHOWN) {
        println!("\n{count} times, first seed {seed} {class:?}: {signature}");
        report(&mut judge, case.clone(), signature);
    }
    println!("{} kinds", kinds.len());
    std::process::exit(i32::from(!kinds.is_empty()));
}

fn difference(case: &Case, (verdict, cached): &(Verdict, Cached)) -> Option<Difference> {
    differences::compare(case, verdict, &listing::list(case, cached)).difference
}

/// Shrinks a case and shows what is left.
fn report(judge: &mut Judge, mut case: Case, signature: &str) {
    while std::env::var_os("KEEP").is_none() {
        let candidates = shrink::smaller(&case);
        let heard = judge.hear(&candidates);
        let found = candidates.into_iter().zip(heard).find(|(candidate, heard)| {
            context::is_known(&candidate.trace())
                && difference(candidate, heard).is_some_and(|found| found.signature() == signature)
        });
        match found {
            Some((smaller, _)) => case = smaller,
            None => break,
        }
    }
    let heard = judge.hear(std::slice::from_ref(&case));
    print!("{}", case.describe());
    if let Some(found) = difference(&case, &heard[0]) {
        print!("{}", found.describe());
    }
}
