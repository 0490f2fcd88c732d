//! What is known of functions.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use iced_x86::{FlowControl, InstructionInfoFactory};

use super::code::{next, Code};
use super::effect::{apply, branch, LOW};
use super::state::{State, Trust};

/// Most instructions of a function; what lies beyond is not followed.
const MOST_STATES: usize = 1 << 15;
/// Most times that something new is learned of a function.
const MOST_VISITS: usize = 1 << 18;
/// States that are kept; then all are forgotten.
const MOST_KEPT: usize = 1 << 18;
/// How far code is guessed to belong to what lies before it.
const NEAR: u64 = 256;
/// Most functions that are looked through for an instruction.
const MOST_BEYOND: usize = 1 << 12;

/// What is known of a function that was entered at one address.
#[derive(Debug, Default)]
struct Function {
    states: BTreeMap<u64, State>,
    /// Where indirect jumps went with the stack as it was on entry: other functions, or parts of this one for which
    /// the same holds.
    beyond: BTreeSet<u64>,
    /// It depends on the low bits of the CFA.
    is_aligned: bool,
}

/// What is known of the functions of executed code.
#[derive(Debug)]
pub struct StackOffsets {
    code: Code,
    functions: HashMap<(u64, Option<u64>), Arc<Function>>,
    kept: usize,
}

impl StackOffsets {
    /// Nothing is learned before it is asked for.
    pub fn new(code: Code) -> StackOffsets {
        StackOffsets { code, functions: HashMap::new(), kept: 0 }
    }

    /// What is known before the instruction at `ip`, in a function (or those it jumps to) that was called at `entry` and
    /// whose CFA is `cfa`. Where no executed way leads there, as behind an instruction that a handler of signals made up
    /// for, what is known shortly before is a guess. None if there is nothing.
    pub fn at(&mut self, entry: u64, ip: u64, cfa: u64) -> Option<State> {
        let mut seen = HashSet::from([entry]);
        let mut waiting = VecDeque::from([entry]);
        let mut nearest: Option<(u64, State)> = None;
        while let Some(entry) = waiting.pop_front() {
            let function = self.function(entry, cfa & LOW);
            if let Some(state) = function.states.get(&ip) {
                return Some(state.clone());
            }
            if let Some((&before, state)) = function.states.range(..ip).next_back() {
                if nearest.as_ref().is_none_or(|&(known, _)| known < before) {
                    nearest = Some((before, state.clone()));
                }
            }
            // The nearest entry before is the likeliest one.
            if let Some(&near) = function.beyond.range(..=ip).next_back() {
                if seen.len() < MOST_BEYOND && seen.insert(near) {
                    waiting.push_front(near);
                }
            }
            for &other in &function.beyond {
                if seen.len() < MOST_BEYOND && seen.insert(other) {
                    waiting.push_back(other);
                }
            }
        }
        let (before, mut state) = nearest?;
        state.lose();
        (ip - before < NEAR).then_some(state)
    }

    fn function(&mut self, entry: u64, low: u64) -> Arc<Function> {
        for key in [(entry, None), (entry, Some(low))] {
            if let Some(function) = self.functions.get(&key) {
                return Arc::clone(function);
            }
        }
        let function = Arc::new(explore(&self.code, entry, low));
        if self.kept > MOST_KEPT {
            self.functions.clear();
            self.kept = 0;
        }
        self.kept += function.states.len() + 1;
        let key = (entry, function.is_aligned.then_some(low));
        self.functions.insert(key, Arc::clone(&function));
        function
    }
}

/// Follows executed code from an entry on until nothing new is learned.
fn explore(code: &Code, entry: u64, low: u64) -> Function {
    let mut function = Function::default();
    let mut factory = InstructionInfoFactory::new();
    let mut waiting = VecDeque::new();
    function.states.insert(entry, State::entry());
    waiting.push_back(entry);
    let mut visits = 0;
    while let Some(ip) = waiting.pop_front() {
        visits += 1;
        let (Some(instruction), Some(state)) = (code.get(ip), function.states.get(&ip)) else { continue };
        if visits > MOST_VISITS {
            break;
        }
        let mut after = state.clone();
        let is_entered = after.offset() == State::entry().offset() && after.trust() == Trust::Exact;
        function.is_aligned |= apply(&mut after, instruction, &mut factory, low);
        let goes = next(instruction);
        let mut reach = |ip: u64, state: State| {
            if let Some(known) = function.states.get_mut(&ip) {
                if known.merge(&state) {
                    waiting.push_back(ip);
                }
            } else if function.states.len() < MOST_STATES {
                // One that was not executed may be where the program crashed.
                function.states.insert(ip, state);
                waiting.push_back(ip);
            }
        };
        let is_branch = instruction.flow_control() == FlowControl::ConditionalBranch;
        if let Some(target) = goes.target {
            let mut taken = after.clone();
            if is_branch {
                branch(&mut taken, instruction, true);
            }
            reach(target, taken);
        }
        if goes.is_indirect {
            for target in code.jumps(ip) {
                if is_entered {
                    function.beyond.insert(target);
                } else {
                    reach(target, after.clone());
                }
            }
        }
        if goes.falls {
            if is_branch {
                branch(&mut after, instruction, false);
            }
            reach(instruction.next_ip(), after);
        }
    }
    function
}
