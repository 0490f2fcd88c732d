//! Calls folded into a tree of call paths.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::history::stack::{Entry, Ledger, Spent, STUB_STEPS};

/// One call path: a function as called from its parent's path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallNode {
    /// Index of the caller's path; the root is its own parent.
    pub parent: u32,
    /// Entry address of the called function, of a handler that interrupted the caller, or of what a stack began with; 0
    /// for the root. The root stands for code that ran outside all calls that were seen.
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
    /// A call on one path was one on another path, with what was spent there.
    fn move_call(&mut self, from: u32, to: u32, spent: Spent) {
        if let Some(node) = self.nodes.get_mut(from as usize) {
            node.calls = node.calls.wrapping_sub(1);
            node.own = node.own.wrapping_sub(spent.steps);
            node.own_ticks = node.own_ticks.wrapping_sub(spent.ticks);
        }
        if let Some(node) = self.nodes.get_mut(to as usize) {
            node.calls = node.calls.wrapping_add(1);
            node.own = node.own.wrapping_add(spent.steps);
            node.own_ticks = node.own_ticks.wrapping_add(spent.ticks);
        }
    }

    /// Without paths on which nothing was called or executed, such as those of stubs that led elsewhere.
    pub fn pruned(self) -> CallTree {
        let mut wanted: Vec<bool> = self.nodes.iter().map(|node| node.calls > 0 || node.own > 0).collect();
        for (at, node) in self.nodes.iter().enumerate().rev() {
            if wanted.get(at).is_some_and(|wanted| *wanted) {
                if let Some(parent) = wanted.get_mut(node.parent as usize) {
                    *parent = true;
                }
            }
        }
        let mut nodes: Vec<CallNode> = Vec::with_capacity(self.nodes.len());
        // What the numbers are now.
        let mut now: Vec<u32> = Vec::with_capacity(self.nodes.len());
        for (nth, (node, wanted)) in self.nodes.into_iter().zip(wanted).enumerate() {
            let parent = now.get(node.parent as usize).copied().unwrap_or(0);
            now.push(nodes.len() as u32);
            if nth == 0 || wanted {
                nodes.push(CallNode { parent, ..node });
            }
        }
        let numbered = nodes.iter().zip(0..).skip(1);
        let children = numbered.map(|(node, id)| ((node.parent, node.ip), id)).collect();
        CallTree { nodes, children }
    }

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

/// An open call: its path, and when it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPath {
    path: u32,
    begin: Spent,
}

impl Ledger for CallTree {
    type Note = OpenPath;
    type Line = ();
    type Translation = Vec<u32>;

    fn open(&mut self, entry: &Entry, top: OpenPath, at: Spent, (): &mut ()) -> OpenPath {
        let path = self.child(top.path, entry.callee);
        if let Some(node) = self.nodes.get_mut(path as usize) {
            node.calls += 1;
        }
        OpenPath { path, begin: at }
    }

    fn reopen(&mut self, _: OpenPath, (): &mut ()) {}

    fn redirect(&mut self, note: OpenPath, callee: u64, at: Spent, (): &mut ()) -> OpenPath {
        let stub = self.nodes.get(note.path as usize).copied().filter(|_| note.path != 0);
        let Some(stub) = stub.filter(|stub| stub.ip != callee) else { return note };
        if stub.calls == 1 && !self.children.contains_key(&(stub.parent, callee)) {
            // All that was called and executed there goes with it.
            self.children.remove(&(stub.parent, stub.ip));
            self.children.insert((stub.parent, callee), note.path);
            if let Some(node) = self.nodes.get_mut(note.path as usize) {
                node.ip = callee;
            }
            return note;
        }
        let path = self.child(stub.parent, callee);
        let spent = at.since(note.begin);
        if spent.steps <= STUB_STEPS {
            self.move_call(note.path, path, spent);
        } else if stub.calls == 1 {
            self.move_call(note.path, path, Spent { steps: stub.own, ticks: stub.own_ticks });
        } else {
            self.move_call(note.path, path, Spent::default());
        }
        OpenPath { path, ..note }
    }

    fn spend(&mut self, top: OpenPath, spent: Spent) {
        if let Some(node) = self.nodes.get_mut(top.path as usize) {
            node.own = node.own.wrapping_add(spent.steps);
            node.own_ticks = node.own_ticks.wrapping_add(spent.ticks);
        }
    }

    fn close(&mut self, _: OpenPath, _: Spent, _: u64, (): &mut ()) {}

    fn absorb(&mut self, above: CallTree, top: OpenPath, (): &(), _: u32) -> Vec<u32> {
        let mut own: Vec<u32> = Vec::with_capacity(above.nodes.len());
        for node in above.nodes {
            let path = match own.get(node.parent as usize) {
                None => top.path,
                Some(&parent) => self.child(parent, node.ip),
            };
            own.push(path);
            if let Some(here) = self.nodes.get_mut(path as usize) {
                here.calls = here.calls.wrapping_add(node.calls);
                here.own = here.own.wrapping_add(node.own);
                here.own_ticks = here.own_ticks.wrapping_add(node.own_ticks);
            }
        }
        own
    }

    fn translate(&self, own: &Vec<u32>, note: OpenPath) -> OpenPath {
        OpenPath { path: own.get(note.path as usize).copied().unwrap_or(0), ..note }
    }

    fn shift(note: OpenPath, by: Spent) -> OpenPath {
        OpenPath { begin: note.begin.plus(by), ..note }
    }

    fn restart(note: OpenPath, at: Spent) -> OpenPath {
        OpenPath { begin: at, ..note }
    }
}
