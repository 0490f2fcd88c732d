//! Code that was called, and of which no file says which function it is.
//!
//! It is a function, then, and a jump to where it begins is a call, too. But what was called later makes a function of
//! what was jumped to before. So a walk notes both, and where an address is in both lists, the history is walked again with
//! these functions. What linkers write (stubs) and thunks do not count as functions.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::code::returns;
use super::entries::{Called, Entries, Place};
use super::thunks::Code;

/// What begins at an address that a branch goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Begins {
    /// It lies in a function, or it is a thunk.
    #[default]
    Nothing,
    /// Something of the function that begins at this address.
    Function(u64),
    /// A stub in no function that is known, which leads elsewhere.
    Stub,
    /// No file knows it: a function, if it is called. The number of the program.
    Unknown(u32),
}

impl Begins {
    /// What begins at an address, at a time.
    pub fn at(ip: u64, tsc: u64, functions: &Entries, code: Code<'_>) -> Begins {
        match functions.place(ip, tsc) {
            Place::Entry(_) if returns(code, ip) => Begins::Nothing,
            Place::Entry(entry) => Begins::Function(entry),
            Place::Inside => Begins::Nothing,
            Place::Unknown if code.begun_at(ip).is_some() => Begins::Nothing,
            Place::Unknown if code.is_stub(ip) => Begins::Stub,
            Place::Unknown => Begins::Unknown(functions.program(tsc)),
        }
    }

    /// The function that something begins of.
    pub fn function(self) -> Option<u64> {
        match self {
            Begins::Function(entry) => Some(entry),
            _ => None,
        }
    }
}

type Set = HashSet<Called, foldhash::fast::RandomState>;

/// What was called and jumped to outside of known functions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Met {
    called: Set,
    /// It may have more than what this history jumped to: it decides nothing but whether another walk is of use.
    landed: Set,
}

impl Met {
    /// A call goes to an address.
    #[inline]
    pub fn call(&mut self, to: u64, begins: Begins) {
        if let Begins::Unknown(program) = begins {
            self.called.insert((program, to));
        }
    }

    /// Jumps go to some addresses.
    pub fn land(&mut self, landed: &[Called]) {
        self.landed.extend(landed);
    }

    /// Adds what another part of the history met.
    pub fn add(&mut self, other: Met) {
        if self.called.is_empty() && self.landed.is_empty() {
            *self = other;
        } else {
            self.called.extend(other.called);
            self.landed.extend(other.landed);
        }
    }

    /// What all of a history met.
    pub fn found(&self) -> Found {
        let mut called: Vec<Called> = self.called.iter().copied().collect();
        called.sort_unstable();
        let matters = called.iter().any(|one| self.landed.contains(one));
        Found { called, matters }
    }
}

/// The functions of a history that are known only because they were called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where they begin, sorted.
    pub called: Vec<Called>,
    /// Some may have been jumped to: with them, another walk knows more.
    pub matters: bool,
}
