//! `stress [SECONDS [FIRST-SEED]]`: decodes hostile traces until the time is over; prints the slowest.
//! Exits with 1 if some trace broke something.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| match arguments.next() {
        Some(text) => text.parse().expect("a number"),
        None => default,
    };
    let seconds = number(60);
    let first = number(1_000_000);
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut seed = first;
    let mut failed = 0;
    while start.elapsed() < Duration::from_secs(seconds) {
        let before = Instant::now();
        let attacked = std::panic::catch_unwind(|| support::attack::attack(seed));
        if attacked.is_err() {
            println!("seed {seed} FAILED");
            failed += 1;
        }
        if before.elapsed() > slowest {
            slowest = before.elapsed();
            println!("seed {seed} took {slowest:?}: {attacked:?}");
        }
        seed += 1;
    }
    println!("{} traces, {failed} failed, the slowest took {slowest:?}", seed - first);
    std::process::exit(i32::from(failed > 0));
}
