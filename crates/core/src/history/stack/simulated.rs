//! Stacks of simulated programs, whose true stacks are known at every step.

use std::sync::Arc;

use super::called::Begins;
use super::chain::{Item, Kind};
use super::code::{Loaded, Manner};
use super::folding::again_and_again;
use super::ledger::Instant;
use super::names::Names;
use super::ops::{Leap, Op, Ops};
use super::stacks::CallStack;
use super::tests::Random;
use super::tracker::Tracker;

/// What such programs do besides calls, returns, and switches between stacks that wait behind the same call.
#[derive(Clone, Copy, Debug)]
struct Ways {
    stacks: usize,
    /// Calls go to so many functions.
    functions: u64,
    /// They wait behind so many calls; 0: each stack at a place of its own.
    places: u64,
    /// A stack may end, and begin anew.
    ends: bool,
    /// A function that returned twice may do so again.
    jumps: bool,
    /// That may be at several places of a stack with the same address.
    rivals: bool,
}

/// The address behind the only call of a function: it begins at the ten before.
fn behind(function: u64) -> u64 {
    10 * function + 5
}

const BODY: u64 = 1000;
/// Where a stack goes on behind its outermost function.
const UNSEEN: u64 = 1105;
const NOWHERE: u64 = 1215;

fn names() -> Arc<Names> {
    Arc::new(Names::new(
        (1..100).map(|function| 10 * function).chain([BODY, 1100]).collect(),
        vec![1200],
        Vec::new(),
    ))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    ip: u64,
    /// The step of the call.
    step: u64,
    /// It is a place that a function may return to again.
    is_mark: bool,
}

#[derive(Clone, Debug, Default)]
struct True {
    /// The innermost last; marks belong to the function that lies on the frame below.
    open: Vec<Open>,
    begun: bool,
}

impl True {
    /// Where each frame goes on, and the step of its call.
    fn frames(&self) -> Vec<(u64, u64)> {
        self.open.iter().rev().filter(|open| !open.is_mark).map(|open| (open.ip, open.step)).collect()
    }
}

struct Program {
    ops: Ops<()>,
    step: u64,
    stacks: Vec<True>,
    running: usize,
    /// Behind each step.
    parts: Vec<Ops<()>>,
    truth: Vec<Vec<(u64, u64)>>,
    told: Vec<String>,
}

impl Program {
    fn say(&mut self, told: String) {
        self.told.push(told);
    }

    fn cut(&mut self) {
        self.step += 1;
        self.parts.push(self.ops.take(self.step));
        self.truth.push(self.stacks[self.running].frames());
        self.ops.settle(Op::Arrive { to: Some(1), begins: Begins::Nothing });
        self.ops.reach(Instant { step: self.step, tsc: None });
    }

    fn call(&mut self, ip: u64) {
        self.ops.reach(Instant { step: self.step + 1, tsc: None });
        self.ops.open(Item::new(Kind::Call, ip, self.step), ip - 1, 5000);
        self.stacks[self.running].open.push(Open { ip, step: self.step, is_mark: false });
        self.say(format!("{}: {} calls {ip}", self.step, self.running));
        self.cut();
    }

    fn leap(&mut self, to: u64, is_return: bool, loaded: Loaded) {
        let manner = Manner { loaded, ..Manner::default() };
        self.ops.reach(Instant { step: self.step + 1, tsc: None });
        let step = self.step;
        self.ops.leap(Leap { from: NOWHERE, to, step, is_return, manner, enters: false });
        self.say(format!("{step}: to {to} on {} {loaded:?}", self.running));
        self.cut();
    }

    fn go_back(&mut self) {
        let open = &mut self.stacks[self.running].open;
        while open.pop_if(|open| open.is_mark).is_some() {}
        let to = open.pop().map_or(UNSEEN, |open| open.ip);
        self.leap(to, true, Loaded::No);
    }

    /// Another stack goes on, behind a call or from its begin.
    fn run(&mut self, other: usize) {
        self.running = other;
        let stack = &mut self.stacks[other];
        let to = if std::mem::replace(&mut stack.begun, true) {
            stack.open.pop().map_or(NOWHERE, |open| open.ip)
        } else {
            BODY
        };
        self.leap(to, true, Loaded::Yes);
    }

    fn mark(&mut self, ip: u64) {
        self.ops.reach(Instant { step: self.step + 1, tsc: None });
        self.ops.open(Item::new(Kind::Call, ip, self.step), ip - 1, 5000);
        self.stacks[self.running].open.push(Open { ip, step: self.step, is_mark: false });
        self.cut();
        self.ops.twice();
        self.stacks[self.running].open.pop();
        self.say(format!("{}: {} may come back to {ip}", self.step, self.running));
        self.leap(ip, true, Loaded::No);
        self.stacks[self.running].open.push(Open { ip, step: self.step, is_mark: true });
    }

    fn place(&self, random: &mut Random, places: u64) -> u64 {
        if places == 0 {
            self.running as u64
        } else {
            random.below(places)
        }
    }

    fn new(random: &mut Random, ways: Ways, length: u64) -> Program {
        let mut stacks = vec![True::default(); ways.stacks];
        stacks[0].begun = true;
        let mut program = Program {
            ops: Ops::new(0),
            step: 0,
            stacks,
            running: 0,
            parts: Vec::new(),
            truth: Vec::new(),
            told: Vec::new(),
        };
        program.ops.settle(Op::Arrive { to: Some(1), begins: Begins::Nothing });
        program.call(behind(60));
        while program.step < length {
            let depth = program.stacks[program.running].frames().len();
            let may_end = ways.ends && program.running != 0;
            match random.below(10) {
                0..=3 => program.call(behind(1 + random.below(ways.functions))),
                4..=5 if depth > usize::from(!may_end) => {
                    program.go_back();
                    if depth == 0 {
                        program.call(behind(70));
                        program.stacks[program.running] = True::default();
                        program.run(0);
                    }
                }
                6..=8 => {
                    program.call(behind(80 + program.place(random, ways.places)));
                    program.run(random.below(ways.stacks as u64) as usize);
                }
                _ if ways.jumps && depth > 0 => {
                    let open = &mut program.stacks[program.running].open;
                    let mut marks = open.iter().enumerate().rev().filter(|(_, open)| open.is_mark);
                    let nth = random.below(3) as usize;
                    let found = marks.nth(nth).map(|(at, open)| (at, open.ip));
                    match found {
                        // Of two places with the same address, only returns tell which one it is.
                        Some((at, ip))
                            if ways.rivals
                                || open.iter().filter(|open| open.is_mark && open.ip == ip).count() == 1 =>
                        {
                            // The function has not returned: its other places stay.
                            let others = open.iter().skip(at + 1).take_while(|open| open.is_mark).count();
                            open.truncate(at + 1 + others);
                            program.leap(ip, false, Loaded::Yes);
                        }
                        Some(_) => {}
                        None => {
                            let place =
                                if ways.places == 0 { program.place(random, 0) } else { random.below(3) };
                            program.mark(behind(90 + place));
                        }
                    }
                }
                _ => {}
            }
        }
        program
    }

    /// Frames that are known, frames that there are, and those whose step is known, of all steps; or what is wrong.
    fn judge(&self) -> Result<[usize; 3], String> {
        let walked = again_and_again(true, |beginning| {
            let mut tracker = Tracker::<()>::new(names(), Arc::default(), beginning);
            let mut tops = Vec::new();
            for part in &self.parts {
                tracker.add(part.clone());
                tops.push(tracker.remember().line.top);
            }
            let again = tracker.again(beginning);
            Ok(((tracker, tops), again))
        });
        let (mut tracker, tops) = walked.map_err(|_| String::new())?;
        let below = tracker.below.clone();
        let (mut known, mut all, mut steps) = (0, 0, 0);
        for ((step, top), truth) in (1..).zip(tops).zip(&self.truth) {
            tracker.state.line.top = top;
            let stack = CallStack::of(&tracker, &below, step, usize::MAX);
            let sure: Vec<(u64, Option<u64>)> = stack
                .frames
                .iter()
                .take_while(|frame| !frame.is_guess)
                .map(|frame| (frame.ip, frame.step))
                .collect();
            let is_whole = stack.is_complete && sure.len() == stack.frames.len();
            let agrees = sure
                .iter()
                .zip(truth)
                .all(|(one, truth)| one.0 == truth.0 && one.1.is_none_or(|step| step == truth.1));
            // A stack that has returned from its outermost function has no frames.
            if !agrees || sure.len() > truth.len() || is_whole && sure.len() != truth.len() {
                let told = &self.told;
                return Err(format!("{}\nstep {step}: {sure:?} {is_whole}, not {truth:?}", told.join("\n")));
            }
            known += sure.len();
            steps += sure.iter().filter(|one| one.1.is_some()).count();
            all += truth.len();
        }
        Ok([known, all, steps])
    }
}

fn check(ways: Ways, count: u64) -> [usize; 3] {
    let mut sum = [0; 3];
    let mut wrong = 0;
    let mut shortest: Option<String> = None;
    for seed in 1..=count {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let length = 10 + random.below(50);
        match Program::new(&mut random, ways, length).judge() {
            Ok(more) => sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more),
            Err(error) => {
                wrong += 1;
                let error = format!("seed {seed}\n{error}");
                if shortest.as_ref().is_none_or(|shortest| shortest.len() > error.len()) {
                    shortest = Some(error);
                }
            }
        }
    }
    assert!(shortest.is_none(), "{ways:?}: {wrong} wrong, {}", shortest.unwrap_or_default());
    sum
}

const ENDS_AND_JUMPS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

#[test]
fn frames_of_stacks_that_wait_at_one_place_are_right_or_guesses() {
    for (ends, jumps) in ENDS_AND_JUMPS {
        for rivals in [false, jumps] {
            for (stacks, places) in [(2, 1), (3, 1), (4, 2)] {
                let [known, all, steps] =
                    check(Ways { stacks, functions: 5, places, ends, jumps, rivals }, 1500);
                assert!(known * 100 > all * 45, "{known} of {all}");
                assert!(steps * 100 > known * 90, "{steps} of {known}");
            }
        }
    }
}

#[test]
fn frames_of_stacks_that_wait_at_places_of_their_own_are_known() {
    for (ends, jumps) in ENDS_AND_JUMPS {
        let ways = Ways { stacks: 4, functions: 5, places: 0, ends, jumps, rivals: false };
        let [known, all, steps] = check(ways, 1000);
        assert_eq!((known, steps), (all, all));
    }
}

#[test]
fn frames_are_right_or_guesses_where_a_function_may_return_again_at_several_places() {
    for functions in [1, 2, 5] {
        let ways = Ways { stacks: 1, functions, places: 0, ends: false, jumps: true, rivals: true };
        let [known, all, steps] = check(ways, 3000);
        assert!(known * 100 > all * 90, "{known} of {all}");
        assert!(steps * 100 > known * 90, "{steps} of {known}");
    }
}
