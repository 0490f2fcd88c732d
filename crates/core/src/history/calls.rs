//! Calls folded into a tree of call paths.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::stack::{Entry, Ledger, Spent};

/// One call path: a function as called from its parent's path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallNode {
    /// Index of the caller's path; the root is its own parent.
    pub parent: u32,
    /// Entry address of the called function, of a handler that interrupted the caller, or of what a stack began with; 0
    /// for the root, which is whatever ran outside any call that was seen.
    pub ip: u64,
    /// How often it was called on this path.
    pub calls: u64,
    /// Instructions executed in it, callees not counted.
    pub own: u64,
    /// Ticks spent in it, callees not counted. What was not traced meanwhile counts.
    pub own_ticks: i64,
}

/// Call paths; number 0 is the root, and a parent always stands before its children.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallTree {
    /// The paths.
    pub nodes: Vec<CallNode>,
    children: HashMap<(u32, u64), u32, foldhash::fast::RandomState>,
}

/// Beyond this many paths a new callee is counted with its caller.
const MOST_PATHS: usize = 1 << 20;

impl Default for CallTree {
    fn default() -> Self {
        CallTree { nodes: vec![CallNode::default()], children: HashMap::default() }
    }
}

impl CallTree {
    fn child(&mut self, parent: u32, ip: u64) -> u32 {
        if let Some(&known) = self.children.get(&(parent, ip)) {
            return known;
        }
        if self.nodes.len() >= MOST_PATHS {
            return parent;
        }
        let id = self.nodes.len() as u32;
        self.nodes.push(CallNode { parent, ip, ..CallNode::default() });
        self.children.insert((parent, ip), id);
        id
    }
}

/// The note of a call is its path.
impl Ledger for CallTree {
    type Note = u32;
    type Line = ();
    type Translation = Vec<u32>;

    fn open(&mut self, entry: &Entry, top: u32, _: Spent, (): &mut ()) -> u32 {
        let path = self.child(top, entry.callee);
        if let Some(node) = self.nodes.get_mut(path as usize) {
            node.calls += 1;
        }
        path
    }

    fn reopen(&mut self, _: u32, (): &mut ()) {}

    fn spend(&mut self, top: u32, spent: Spent) {
        if let Some(node) = self.nodes.get_mut(top as usize) {
            node.own += spent.steps;
            node.own_ticks = node.own_ticks.wrapping_add(spent.ticks);
        }
    }

    fn close(&mut self, _: u32, _: Spent, _: u64, (): &mut ()) {}

    fn absorb(&mut self, above: CallTree, top: u32, (): &(), _: u32) -> Vec<u32> {
        let mut own: Vec<u32> = Vec::with_capacity(above.nodes.len());
        for node in above.nodes {
            let path = match own.get(node.parent as usize) {
                None => top,
                Some(&parent) => self.child(parent, node.ip),
            };
            own.push(path);
            if let Some(here) = self.nodes.get_mut(path as usize) {
                here.calls += node.calls;
                here.own += node.own;
                here.own_ticks = here.own_ticks.wrapping_add(node.own_ticks);
            }
        }
        own
    }

    fn translate(&self, own: &Vec<u32>, path: u32) -> u32 {
        own.get(path as usize).copied().unwrap_or(0)
    }
}
