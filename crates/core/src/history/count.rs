//! The count pass: how often each instruction was executed.

use std::collections::HashMap;

use super::stream::{clip, slice, Pass, Stream};
use crate::flow::{Graph, NodeId, RunState, Sink};

/// Executions by address.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Address to number of executions.
    pub by_ip: HashMap<u64, u64, foldhash::fast::RandomState>,
}

struct Count<'a> {
    start: u64,
    stop: u64,
    reached: u64,
    /// Executions of whole nodes.
    whole: Vec<u64>,
    generation: u64,
    /// Addresses of the nodes, kept for the end.
    counts: &'a mut Counts,
    pending: Vec<(Vec<u64>, u64)>,
}

impl Sink for Count<'_> {
    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        self.reached = state.step + u64::from(to - from);
        if self.generation != graph.generation() {
            // The nodes counted so far are gone; their addresses were noted when they were first met.
            for (ips, node) in self.pending.drain(..) {
                let times = self.whole.get(node as usize).copied().unwrap_or(0);
                for ip in ips {
                    *self.counts.by_ip.entry(ip).or_default() += times;
                }
            }
            self.whole.clear();
            self.generation = graph.generation();
        }
        let inside = state.step >= self.start && self.reached <= self.stop;
        if inside && from == 0 && to == graph.count(node) {
            let at = node as usize;
            if at >= self.whole.len() {
                self.whole.resize(at + 1, 0);
            }
            if let Some(times) = self.whole.get_mut(at) {
                if *times == 0 {
                    self.pending.push((graph.ips(node).to_vec(), u64::from(node)));
                }
                *times += 1;
            }
        } else if let Some((from, to, _)) = clip(state, from, to, self.start, self.stop) {
            for &ip in slice(graph.ips(node), from, to) {
                *self.counts.by_ip.entry(ip).or_default() += 1;
            }
        }
    }
}

impl Pass for Count<'_> {
    fn done(&self) -> bool {
        self.reached >= self.stop
    }
}

impl Stream {
    /// Adds the executions of steps `start..stop`.
    pub fn count(&self, start: u64, stop: u64, counts: &mut Counts) {
        if start >= stop {
            return;
        }
        let mut pass =
            Count { start, stop, reached: 0, whole: Vec::new(), generation: 0, counts, pending: Vec::new() };
        self.walk(start, &mut pass);
        let whole = std::mem::take(&mut pass.whole);
        for (ips, node) in pass.pending.drain(..) {
            let times = whole.get(node as usize).copied().unwrap_or(0);
            for ip in ips {
                *pass.counts.by_ip.entry(ip).or_default() += times;
            }
        }
    }
}
