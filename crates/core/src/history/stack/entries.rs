//! Where functions begin: a jump from one function to the entry of another is a call, too.
//!
//! Files say it for most code. Where they say nothing, what was called anywhere in a history is the entry of a function.

use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Code of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Its first address.
    pub start: u64,
    /// The address behind it.
    pub end: u64,
    /// Where the function begins that it belongs to: `start`, unless a compiler moved a part of that function here.
    pub owner: u64,
    /// A function begins there, or a part of one. Else it goes on with the frame of a function that is not known.
    pub begins: bool,
}

/// How a body is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum How {
    /// By its file.
    #[default]
    Named,
    /// It goes on behind another one that lies in it, or with what another one began: nothing begins here.
    Rest,
    /// It was called.
    Called,
}

/// The functions of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Program {
    /// The time (TSC) from which it runs.
    tsc: u64,
    /// Sorted by their start; none lies in another one.
    bodies: Vec<(Body, How)>,
    /// Where files and other memory are mapped: first address, and the one behind.
    mapped: Vec<(u64, u64)>,
}

impl Program {
    fn new(tsc: u64, mut bodies: Vec<Body>, mapped: Vec<(u64, u64)>) -> Program {
        bodies.sort_by_key(|body| body.start);
        bodies.dedup_by_key(|body| body.start);
        let mut found = Vec::with_capacity(bodies.len());
        let mut open: Vec<Body> = Vec::new();
        for body in bodies {
            end_before(body.start, &mut open, &mut found);
            open.push(body);
            found.push((body, if body.begins { How::Named } else { How::Rest }));
        }
        end_before(u64::MAX, &mut open, &mut found);
        Program { tsc, bodies: found, mapped }
    }

    /// The body that begins last before an address or there.
    fn last_before(&self, ip: u64) -> Option<&(Body, How)> {
        let behind = self.bodies.partition_point(|(body, _)| body.start <= ip);
        self.bodies.get(behind.checked_sub(1)?)
    }

    fn begins(&self, ip: u64) -> bool {
        self.last_before(ip).is_some_and(|(body, how)| body.start == ip && *how != How::Rest)
    }

    /// Adds functions that begin at some addresses, which lie in no other. They end where the next one begins, or
    /// what is mapped there ends.
    fn call(&mut self, mut called: Vec<u64>) {
        called.retain(|&ip| self.last_before(ip).is_none_or(|(body, _)| body.end <= ip));
        called.sort_unstable();
        called.dedup();
        // Both ascend, so each mapping is looked at once: the ends of those that began, the nearest one on top.
        let mut mapped = self.mapped.clone();
        mapped.sort_unstable();
        let mut begun = mapped.into_iter().peekable();
        let mut ends = BinaryHeap::new();
        let mut end = |ip: u64| {
            while let Some((_, end)) = begun.next_if(|&(first, _)| first <= ip) {
                ends.push(Reverse(end));
            }
            while ends.peek().is_some_and(|&Reverse(end)| end <= ip) {
                ends.pop();
            }
            ends.peek().map_or(u64::MAX, |&Reverse(end)| end)
        };
        let body = |&ip: &u64| (Body { start: ip, end: end(ip), owner: ip, begins: true }, How::Called);
        let mut all: Vec<(Body, How)> = called.iter().map(body).collect();
        all.append(&mut self.bodies);
        all.sort_by_key(|(body, _)| body.start);
        let starts: Vec<u64> = all.iter().skip(1).map(|(body, _)| body.start).collect();
        for ((body, how), next) in all.iter_mut().zip(starts) {
            if *how == How::Called {
                body.end = body.end.min(next);
            }
        }
        self.bodies = all;
    }
}

/// Takes bodies that end at or before an address from the `open` ones; those around them go on behind them.
fn end_before(to: u64, open: &mut Vec<Body>, found: &mut Vec<(Body, How)>) {
    while let Some(&inner) = open.last().filter(|inner| inner.end <= to) {
        while open.last().is_some_and(|outer| outer.end <= inner.end) {
            open.pop();
        }
        if let Some(&outer) = open.last().filter(|_| inner.end < to) {
            found.push((Body { start: inner.end, ..outer }, How::Rest));
        }
    }
}

/// What an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Something of the function begins there that begins at this address.
    Entry(u64),
    /// It lies in a function, as a file says.
    Inside,
    /// No file knows it, and nothing is known to begin there.
    Unknown,
}

/// The functions of the programs that a thread ran, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    programs: Vec<Program>,
}

/// Functions of a program, with the time (TSC) from which it runs, and what it has mapped: first address, and the one
/// behind.
type Known = (u64, Vec<Body>, Vec<(u64, u64)>);

/// An address in one of the programs: its number, and the address.
pub type Called = (u32, u64);

impl Entries {
    /// The functions of each program: the time (TSC) from which it runs, the functions, and what is
    /// mapped (first address, and the one behind). Of several functions that begin at one address the first counts.
    pub fn new(programs: Vec<Known>) -> Entries {
        let mut programs: Vec<Program> =
            programs.into_iter().map(|(tsc, bodies, mapped)| Program::new(tsc, bodies, mapped)).collect();
        programs.sort_by_key(|program| program.tsc);
        Entries { programs }
    }

    /// These, and functions that were called and that no file knows.
    #[must_use]
    pub fn with_called(&self, called: &[Called]) -> Entries {
        let mut entries = self.clone();
        if entries.programs.is_empty() {
            entries.programs.push(Program::default());
        }
        let mut by_program: HashMap<u32, Vec<u64>> = HashMap::new();
        for &(program, ip) in called {
            by_program.entry(program).or_default().push(ip);
        }
        for (number, called) in by_program {
            if let Some(program) = entries.programs.get_mut(number as usize) {
                program.call(called);
            }
        }
        entries
    }

    /// The number of the program that runs at a time (TSC).
    pub(super) fn program(&self, tsc: u64) -> u32 {
        self.programs.partition_point(|program| program.tsc <= tsc).saturating_sub(1) as u32
    }

    fn body(&self, ip: u64, tsc: u64) -> Option<&(Body, How)> {
        let found = self.programs.get(self.program(tsc) as usize)?.last_before(ip);
        found.filter(|(body, _)| ip < body.end)
    }

    /// The function that an address belongs to, at a time.
    pub fn owner(&self, ip: u64, tsc: u64) -> Option<u64> {
        self.body(ip, tsc).map(|(body, _)| body.owner)
    }

    /// What an address is, at a time.
    pub(super) fn place(&self, ip: u64, tsc: u64) -> Place {
        let program = self.programs.get(self.program(tsc) as usize);
        match program.and_then(|program| program.last_before(ip)) {
            Some((body, how)) if body.start == ip && *how != How::Rest => Place::Entry(body.owner),
            Some((body, how)) if ip < body.end && *how != How::Called => Place::Inside,
            _ => Place::Unknown,
        }
    }

    /// A file says which function an address belongs to, at a time.
    pub(super) fn is_named(&self, ip: u64, tsc: u64) -> bool {
        self.body(ip, tsc).is_some_and(|(_, how)| *how != How::Called)
    }

    /// The function that an address belongs to, at a time, and that is known only because it was called.
    pub fn called(&self, ip: u64, tsc: u64) -> Option<u64> {
        self.body(ip, tsc).filter(|(_, how)| *how == How::Called).map(|(body, _)| body.start)
    }

    /// Something of a function begins at an address, at some time.
    pub fn may_enter(&self, ip: u64) -> bool {
        self.programs.iter().any(|program| program.begins(ip))
    }

    /// The functions as bytes, for the same version of this crate.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing to memory does not fail.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Functions from [`Entries::to_bytes`]; None for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Entries> {
        postcard::from_bytes(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(start: u64, end: u64, owner: u64) -> Body {
        Body { start, end, owner, begins: true }
    }

    #[test]
    fn parts_belong_to_their_functions() {
        let first = vec![body(10, 20, 10), body(30, 35, 10), body(20, 25, 20)];
        let entries = Entries::new(vec![(100, vec![body(10, 12, 10)], Vec::new()), (0, first, Vec::new())]);
        assert_eq!(
            [9, 10, 19, 20, 25, 34].map(|ip| entries.owner(ip, 0)),
            [None, Some(10), Some(10), Some(20), None, Some(10)]
        );
        let places = [10, 11, 30, 26].map(|ip| entries.place(ip, 99));
        assert_eq!(places, [Place::Entry(10), Place::Inside, Place::Entry(10), Place::Unknown]);
        assert_eq!(entries.owner(15, 100), None);
        assert_eq!([10, 20, 21].map(|ip| entries.may_enter(ip)), [true, true, false]);
        assert_eq!(Entries::from_bytes(&entries.to_bytes()), Some(entries));
    }

    #[test]
    fn a_function_goes_on_behind_those_that_lie_in_it() {
        let all =
            vec![body(10, 50, 10), body(20, 40, 20), body(25, 30, 25), body(45, 50, 45), body(60, 61, 60)];
        let entries = Entries::new(vec![(0, all, Vec::new())]);
        let owners = [15, 22, 27, 30, 39, 40, 44, 46, 50, 60].map(|ip| entries.owner(ip, 0));
        let expected = [10, 20, 25, 20, 20, 10, 10, 45].map(Some);
        assert_eq!(owners[..8], expected);
        assert_eq!(owners[8..], [None, Some(60)]);
        assert_eq!([20, 30, 40, 60].map(|ip| entries.may_enter(ip)), [true, false, false, true]);
    }

    #[test]
    fn what_was_called_ends_where_another_function_or_its_mapping_does() {
        let entries = Entries::new(vec![(0, vec![body(30, 40, 30)], vec![(0, 100), (100, 200)])]);
        let entries = entries.with_called(&[(0, 35), (0, 50), (0, 10), (0, 40), (0, 110), (1, 60)]);
        let owners = [9, 10, 29, 30, 35, 40, 50, 99, 100, 199, 200].map(|ip| entries.owner(ip, 0));
        let [a, b, c, d, e] = [10, 30, 40, 50, 110].map(Some);
        assert_eq!(owners, [None, a, a, b, b, c, d, d, None, e, None]);
        assert_eq!((entries.called(35, 0), entries.called(55, 0)), (None, Some(50)));
        assert!(entries.is_named(35, 0) && !entries.is_named(55, 0));
        let inner = Entries::new(vec![(0, Vec::new(), vec![(0, 100), (20, 30), (50, 60)])]);
        let inner = inner.with_called(&[(0, 25), (0, 55), (0, 5), (0, 70)]);
        let owners = [5, 24, 25, 29, 30, 50, 55, 60, 70, 99, 100].map(|ip| inner.owner(ip, 0));
        let [a, b, c, d] = [5, 25, 55, 70].map(Some);
        assert_eq!(owners, [a, a, b, b, None, None, c, None, d, d, None]);
        let bare = Entries::default().with_called(&[(0, 7)]);
        assert_eq!((bare.owner(6, 5), bare.owner(u64::MAX - 1, 5)), (None, Some(7)));
    }

    /// A program that calls very much generated code, and executes very many others: some 10^10 comparisons, if each were
    /// compared with each.
    #[test]
    fn very_many_programs_mappings_and_called_functions_take_no_long_time() {
        let count = 100_000u32;
        let mapped = (0..u64::from(count)).map(|at| (at * 64, at * 64 + 64)).collect::<Vec<_>>();
        let mut programs = vec![(0, Vec::new(), mapped)];
        programs.extend((1..count).map(|tsc| (u64::from(tsc), Vec::new(), Vec::new())));
        let mut called: Vec<Called> = (0..count).map(|at| (0, u64::from(at) * 64 + 8)).collect();
        called.extend((1..count).map(|program| (program, 8)));
        let entries = Entries::new(programs).with_called(&called);
        assert_eq!(
            (entries.owner(8, 0), entries.owner(63, 0), entries.owner(64, 0)),
            (Some(8), Some(8), None)
        );
        assert_eq!(entries.owner(1 << 40, u64::from(count) - 1), Some(8));
    }
}
