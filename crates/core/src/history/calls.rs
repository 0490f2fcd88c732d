//! Calls folded into a tree of call paths.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::callstack::{Call, Instant, Ledger};

/// One call path: a function as called from its parent's path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallNode {
    /// Index of the caller's path; the root is its own parent.
    pub parent: u32,
    /// Entry address of the called function; 0 for the root, which is whatever ran outside any call
    /// that was seen.
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
    type Translation = Vec<u32>;

    fn open(&mut self, call: &Call, _: u64, top: Option<u32>) -> u32 {
        let path = self.child(top.unwrap_or(0), call.callee);
        if let Some(node) = self.nodes.get_mut(path as usize) {
            node.calls += 1;
        }
        path
    }

    fn spend(&mut self, top: Option<u32>, steps: u64, ticks: i64) {
        if let Some(node) = self.nodes.get_mut(top.unwrap_or(0) as usize) {
            node.own += steps;
            node.own_ticks = node.own_ticks.wrapping_add(ticks);
        }
    }

    fn close(&mut self, _: u32, _: Instant, _: Instant) {}

    fn absorb(&mut self, above: CallTree, _: u64, top: Option<u32>) -> Vec<u32> {
        let mut own: Vec<u32> = Vec::with_capacity(above.nodes.len());
        for node in above.nodes {
            let path = match own.get(node.parent as usize) {
                None => top.unwrap_or(0),
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
