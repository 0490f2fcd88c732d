//! The calls pass: calls paired with returns, folded into a tree of call paths.

use std::collections::HashMap;

use super::parallel::{Ask, Interrupted};
use super::stream::{slice, Pass, Stream};
use crate::flow::{Graph, NodeId, NodeKind, RunState, Sink};
use crate::instruction::{Detail, InstructionClass};

/// One call path: a function as called from its parent's path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
}

/// Call paths; number 0 is the root, and a parent always stands before its children.
#[derive(Clone, Debug)]
pub struct CallTree {
    /// The paths.
    pub nodes: Vec<CallNode>,
    children: HashMap<(u32, u64), u32, foldhash::fast::RandomState>,
}

/// Beyond this many paths a new callee is counted with its caller.
const MOST_PATHS: usize = 1 << 20;
/// Beyond this depth calls are not followed.
const MOST_DEPTH: usize = 1 << 14;
/// How far down a return looks for the call it belongs to (longjmp, exceptions).
const UNWIND_DEPTH: usize = 256;

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
        self.nodes.push(CallNode { parent, ip, calls: 0, own: 0 });
        self.children.insert((parent, ip), id);
        id
    }

    fn add_own(&mut self, at: u32, instructions: u64) {
        if let Some(node) = self.nodes.get_mut(at as usize) {
            node.own += instructions;
        }
    }
}

enum Last {
    Other,
    /// A call to wherever the next run begins; the address after the call.
    Call(u64),
    Return,
}

struct Calls<'a> {
    tree: &'a mut CallTree,
    current: u32,
    /// Caller's path and return address.
    stack: Vec<(u32, u64)>,
    last: Last,
}

impl Calls<'_> {
    fn call(&mut self, callee: u64, return_address: u64) {
        if self.stack.len() < MOST_DEPTH {
            self.stack.push((self.current, return_address));
            self.current = self.tree.child(self.current, callee);
            if let Some(node) = self.tree.nodes.get_mut(self.current as usize) {
                node.calls += 1;
            }
        }
    }

    fn arrive(&mut self, ip: u64) {
        match std::mem::replace(&mut self.last, Last::Other) {
            Last::Other => {}
            Last::Call(return_address) => self.call(ip, return_address),
            Last::Return => {
                let found = self.stack.iter().rev().take(UNWIND_DEPTH).position(|&(_, to)| to == ip);
                if let Some(above) = found {
                    self.stack.truncate(self.stack.len() - above);
                    if let Some((caller, _)) = self.stack.pop() {
                        self.current = caller;
                    }
                }
            }
        }
    }
}

impl Sink for Calls<'_> {
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, _: &RunState) {
        let ips = slice(graph.ips(node), from, to);
        let Some(&first) = ips.first() else { return };
        self.arrive(first);
        if graph.pushes_return_sites(node) {
            let metas = slice(graph.metas(node), from, to);
            for (nth, (&ip, meta)) in ips.iter().zip(metas).enumerate() {
                self.tree.add_own(self.current, 1);
                if meta.class() == InstructionClass::Call {
                    let after = ip.wrapping_add(u64::from(meta.size()));
                    match ips.get(nth + 1) {
                        Some(&callee) if meta.detail() == Detail::Direct && callee == after => {}
                        Some(&callee) => self.call(callee, after),
                        None => self.last = Last::Call(after),
                    }
                }
            }
        } else {
            self.tree.add_own(self.current, ips.len() as u64);
        }
        if graph.kind(node) == NodeKind::Return && to == graph.count(node) {
            self.last = Last::Return;
        }
    }
}

impl Pass for Calls<'_> {}

impl Stream {
    /// Adds the calls of steps `start..stop` to a tree.
    pub fn calls(&self, start: u64, stop: u64, tree: &mut CallTree, ask: Ask<'_>) -> Result<(), Interrupted> {
        let mut pass = Calls { tree, current: 0, stack: Vec::new(), last: Last::Other };
        self.serially(start, stop, &mut pass, ask)
    }
}
