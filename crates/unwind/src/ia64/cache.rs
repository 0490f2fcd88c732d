//! Rules that were learned: the same address under the same look-up answer needs no table again.
//!
//! A key holds everything that rules follow from, apart from the bytes of tables and descriptors. Those are the
//! target's code and taken to stay as they are; registering other callbacks forgets what was learned.

use std::collections::HashMap;
use std::sync::Arc;

use super::information::Layout;
use super::region::Rules;
use super::table::Table;

/// As many addresses are remembered; then learning begins anew.
const MOST_LEARNED: usize = 4096;

/// Where unwind information comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Table(Table),
    Block { address: u64, function_start: u64, layout: Layout },
}

/// What is known of an address.
#[derive(Clone, Debug)]
pub(super) struct Learned {
    pub(super) rules: Arc<Rules>,
    pub(super) function_start: Option<u64>,
    /// The table has the function but no descriptors of it.
    pub(super) undescribed: bool,
    /// The predicates the rules depend on, and what they were.
    pub(super) predicates: u64,
    pub(super) values: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Cache {
    learned: HashMap<(Source, u64, u64), Learned>,
}

impl Cache {
    /// What is known of an address and the slot that counts there.
    pub(super) fn get(&self, source: &Source, ip: u64, slot: u64) -> Option<&Learned> {
        self.learned.get(&(*source, ip, slot))
    }

    /// Remembers, and gives back what is remembered.
    pub(super) fn insert(&mut self, source: Source, ip: u64, slot: u64, learned: Learned) -> Learned {
        if self.learned.len() >= MOST_LEARNED {
            self.learned.clear();
        }
        self.learned.insert((source, ip, slot), learned.clone());
        learned
    }

    pub(super) fn clear(&mut self) {
        self.learned.clear();
    }
}
