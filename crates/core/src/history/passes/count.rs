//! The count pass: how often each instruction was executed.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::flow::{Graph, NodeId, RunState, Sink};
use crate::history::decode::decoded_trace::{slice, DecodedTrace, Pass};
use crate::history::passes::nodes::PerNode;
use crate::history::passes::parallel::{Ask, Interrupted};
use crate::history::passes::question::{Asked, Question};

/// Executions by address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Address to number of executions.
    pub by_ip: HashMap<u64, u64, foldhash::fast::RandomState>,
}

impl Counts {
    /// Adds those of another part of the history, in any order.
    pub fn merge(&mut self, other: Counts) {
        if self.by_ip.is_empty() {
            *self = other;
            return;
        }
        for (ip, count) in other.by_ip {
            *self.by_ip.entry(ip).or_default() += count;
        }
    }

    /// Addresses, ascending, and their executions.
    pub fn columns(&self) -> (Vec<u64>, Vec<u64>) {
        let mut rows: Vec<(u64, u64)> = self.by_ip.iter().map(|(&ip, &count)| (ip, count)).collect();
        rows.sort_unstable();
        rows.into_iter().unzip()
    }
}

/// Counts whole nodes, and instructions only where a node was left early.
#[derive(Default)]
pub(in crate::history) struct Count {
    counts: Counts,
    /// Executions of whole nodes.
    whole: PerNode<u64>,
    /// The nodes met, and where their addresses begin in `ips`: a graph may forget its nodes.
    met: Vec<(NodeId, usize)>,
    ips: Vec<u64>,
    generation: u64,
}

impl Count {
    /// From nodes to instructions.
    fn expand(&mut self) {
        let ends = self.met.iter().skip(1).map(|&(_, at)| at).chain([self.ips.len()]);
        self.counts.by_ip.reserve(self.ips.len() / 2);
        for (&(node, at), end) in self.met.iter().zip(ends) {
            let times = self.whole.at(node).map_or(0, std::mem::take);
            for &ip in self.ips.get(at..end).unwrap_or(&[]) {
                *self.counts.by_ip.entry(ip).or_default() += times;
            }
        }
        self.met.clear();
        self.ips.clear();
    }
}

impl Count {
    #[inline]
    fn add(&mut self, graph: &Graph, node: NodeId, (from, to): (u16, u16), rounds: u64) {
        if self.generation != graph.generation() {
            self.expand();
            self.generation = graph.generation();
        }
        if from == 0 && to == graph.count(node) {
            if let Some(times) = self.whole.at(node) {
                if *times == 0 {
                    self.met.push((node, self.ips.len()));
                    self.ips.extend_from_slice(graph.ips(node));
                }
                *times += rounds;
            }
        } else {
            for &ip in slice(graph.ips(node), from, to) {
                *self.counts.by_ip.entry(ip).or_default() += rounds;
            }
        }
    }
}

impl Sink for Count {
    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, _: &RunState) {
        self.add(graph, node, (from, to), 1);
    }

    fn rounds(&mut self, graph: &Graph, node: NodeId, rounds: u64, _: &RunState) {
        self.add(graph, node, (0, graph.count(node)), rounds);
    }
}

impl Pass for Count {}

/// How often was each instruction executed?
pub(in crate::history) struct Counting;

impl Question for Counting {
    type Worker = Count;
    type Part = ();
    type Sum = Counts;

    fn worker(&self) -> Count {
        Count::default()
    }

    fn end(&self, _: &mut Count, _: Option<&mut Graph>) {}

    fn sum(&self, mut worker: Count, _: &Graph) -> Counts {
        worker.expand();
        worker.counts
    }
}

impl DecodedTrace {
    /// Adds the executions of steps `start..stop`.
    pub fn count(&self, start: u64, stop: u64, counts: &mut Counts, ask: Ask<'_>) -> Result<(), Interrupted> {
        let pieces = self.cut(start, stop, false);
        for sum in self.in_pieces(&Asked(Counting), &pieces, ask, |()| true)? {
            counts.merge(sum);
        }
        Ok(())
    }
}
