//! Damaged and random traces: no panic, no hang, and the same answer however memory is bounded.

mod support;

use std::ops::Range;
use std::time::{Duration, Instant};

use support::attack::attack;

/// So much that only a hang can be it, whatever else the machine does.
const HANG: Duration = Duration::from_secs(900);

fn check(seeds: Range<u64>) {
    let start = Instant::now();
    let (mut steps, mut gaps) = (0, 0);
    for seed in seeds {
        let (more, lost) = attack(seed);
        steps += more;
        gaps += lost;
    }
    assert!(steps > 3_000 && gaps > 100, "the inputs are worth something: {steps} steps, {gaps} gaps");
    assert!(start.elapsed() < HANG, "took {:?}", start.elapsed());
}

#[test]
fn hostile_traces_are_told_the_same_way_however_they_are_decoded() {
    check(0..100);
}

#[test]
fn and_more_of_them_beside_the_first() {
    check(100..200);
}

#[test]
fn streams_whose_gaps_were_met_while_looking_ahead_can_be_saved() {
    for seed in [1_001_327, 1_001_410, 1_001_591] {
        attack(seed);
    }
}

#[test]
fn stacks_do_not_depend_on_where_a_trace_is_cut() {
    // Events right behind a PSB: tracing ends by what the piece before ended with.
    attack(1_000_208);
}
