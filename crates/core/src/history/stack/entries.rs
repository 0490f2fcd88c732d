//! Where functions begin, as far as files say so: a jump from one function to the entry of another is a call, too.

use serde::{Deserialize, Serialize};

/// Code of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// Its first address.
    pub start: u64,
    /// The address behind it.
    pub end: u64,
    /// Where the function begins that it belongs to: `start`, unless a compiler moved a part of that function here.
    pub owner: u64,
}

/// The functions of the programs that a thread ran, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// From which time (TSC) on which functions there are.
    programs: Vec<(u64, Vec<Body>)>,
}

impl Entries {
    /// The functions of each program, with the time (TSC) from which it runs. Of several that begin at one address the
    /// first counts.
    pub fn new(mut programs: Vec<(u64, Vec<Body>)>) -> Entries {
        programs.sort_by_key(|program| program.0);
        for (_, bodies) in &mut programs {
            bodies.sort_by_key(|body| body.start);
            bodies.dedup_by_key(|body| body.start);
        }
        Entries { programs }
    }

    /// Nothing is known.
    pub fn is_empty(&self) -> bool {
        self.programs.iter().all(|(_, bodies)| bodies.is_empty())
    }

    fn body(&self, ip: u64, tsc: u64) -> Option<&Body> {
        let at = self.programs.partition_point(|program| program.0 <= tsc).max(1);
        let bodies = &self.programs.get(at - 1)?.1;
        let behind = bodies.partition_point(|body| body.start <= ip);
        bodies.get(behind.checked_sub(1)?)
    }

    /// The function that an address belongs to, at a time.
    pub fn owner(&self, ip: u64, tsc: u64) -> Option<u64> {
        self.body(ip, tsc).filter(|body| ip < body.end).map(|body| body.owner)
    }

    /// The function of which something begins at an address, at a time.
    pub fn entry(&self, ip: u64, tsc: u64) -> Option<u64> {
        self.body(ip, tsc).filter(|body| body.start == ip).map(|body| body.owner)
    }

    /// Something of a function begins at an address, at some time.
    pub fn may_enter(&self, ip: u64) -> bool {
        let begins = |bodies: &Vec<Body>| bodies.binary_search_by_key(&ip, |body| body.start).is_ok();
        self.programs.iter().any(|(_, bodies)| begins(bodies))
    }

    /// The functions as bytes, for the same version of this crate.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Writing to memory does not fail.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Functions from [`Entries::to_bytes`]; None if they are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Entries> {
        postcard::from_bytes(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_belong_to_their_functions() {
        let body = |start, end, owner| Body { start, end, owner };
        let first = vec![body(10, 20, 10), body(30, 35, 10), body(20, 25, 20)];
        let entries = Entries::new(vec![(100, vec![body(10, 12, 10)]), (0, first)]);
        assert_eq!(
            [9, 10, 19, 20, 25, 34].map(|ip| entries.owner(ip, 0)),
            [None, Some(10), Some(10), Some(20), None, Some(10)]
        );
        assert_eq!([10, 11, 30].map(|ip| entries.entry(ip, 99)), [Some(10), None, Some(10)]);
        assert_eq!(entries.owner(15, 100), None);
        assert_eq!([10, 20, 21].map(|ip| entries.may_enter(ip)), [true, true, false]);
        assert_eq!(Entries::from_bytes(&entries.to_bytes()), Some(entries));
    }
}
