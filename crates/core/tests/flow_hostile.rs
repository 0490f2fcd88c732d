//! Damaged and random traces: no panic, no hang, and the same answer however memory is bounded.

mod support;

use std::time::{Duration, Instant};

use support::attack::attack;

#[test]
fn hostile_traces_are_told_the_same_way_however_they_are_decoded() {
    let start = Instant::now();
    let (mut steps, mut gaps) = (0, 0);
    for seed in 0..300 {
        let (more, lost) = attack(seed);
        steps += more;
        gaps += lost;
    }
    assert!(steps > 10_000 && gaps > 300, "the inputs are worth something: {steps} steps, {gaps} gaps");
    assert!(start.elapsed() < Duration::from_secs(240), "took {:?}", start.elapsed());
}
