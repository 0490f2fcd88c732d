//! The coverage pass: how often each block and each edge between blocks was executed.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::event::{Event, EventKind};
use crate::flow::{Engine, Gap, Graph, NodeId, NodeKind, RunState, Sink, Where};
use crate::history::decode::decoded_trace::{slice, DecodedTrace, Pass};
use crate::history::passes::block_splitter::{BlockSplitter, Bounds};
use crate::history::passes::nodes::PerNode;
use crate::history::passes::parallel::{Ask, Interrupted};
use crate::history::passes::question::{Asked, Question};

pub(in crate::history) type Map<K> = HashMap<K, u64, foldhash::fast::RandomState>;

/// Executions of blocks and edges in a part of a history; those of consecutive parts can be merged.
///
/// An edge leads from the last instruction of a block, if that needed the trace, to the next instruction executed. Where
/// tracing was off in between and went on where it was expected to, as in system calls of a user-only trace, there is an
/// edge; there is none across a gap, where tracing went on elsewhere, or where an interrupt or another asynchronous branch
/// came between. Blocks that events cut in the middle make no edge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// First address, last address and number of instructions of a block, to executions.
    pub blocks: Map<Bounds>,
    /// Addresses of the two instructions, to executions.
    pub edges: Map<(u64, u64)>,
    front: Front,
    /// Where the last block was left, if nothing has come after it.
    back: Option<u64>,
}

/// What a part begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Front {
    /// Nothing has happened in it.
    #[default]
    Nothing,
    /// Something that no edge crosses.
    Break,
    /// An instruction.
    Ip(u64),
}

/// Where one piece meets the next.
#[derive(Clone, Copy, Default)]
pub(in crate::history) struct Seam {
    front: Front,
    back: Option<u64>,
}

impl Coverage {
    /// Adds the part of the history that follows this one.
    pub fn merge(&mut self, next: Coverage) {
        self.meet(Seam { front: next.front, back: next.back });
        self.add(next.blocks, next.edges);
    }

    /// No edge leads from here to what is merged next.
    pub fn break_off(&mut self) {
        self.meet(Seam { front: Front::Break, back: None });
    }

    pub(in crate::history) fn meet(&mut self, next: Seam) {
        if let (Some(from), Front::Ip(to)) = (self.back, next.front) {
            *self.edges.entry((from, to)).or_default() += 1;
        }
        if next.front != Front::Nothing {
            self.back = next.back;
        }
        if self.front == Front::Nothing {
            self.front = next.front;
        }
    }

    pub(in crate::history) fn add(&mut self, blocks: Map<Bounds>, edges: Map<(u64, u64)>) {
        if self.blocks.is_empty() {
            self.blocks = blocks;
        } else {
            for (block, times) in blocks {
                *self.blocks.entry(block).or_default() += times;
            }
        }
        for (edge, times) in edges {
            *self.edges.entry(edge).or_default() += times;
        }
    }

    /// Blocks in ascending order: first address, last address, number of instructions, executions.
    pub fn block_rows(&self) -> Vec<(u64, u64, u16, u64)> {
        let rows = self.blocks.iter().map(|(&(ip, end_ip, ninsn), &times)| (ip, end_ip, ninsn, times));
        let mut rows: Vec<_> = rows.collect();
        rows.sort_unstable();
        rows
    }

    /// Edges in ascending order: from, to, executions.
    pub fn edge_rows(&self) -> Vec<(u64, u64, u64)> {
        let mut rows: Vec<_> = self.edges.iter().map(|(&(from, to), &times)| (from, to, times)).collect();
        rows.sort_unstable();
        rows
    }
}

/// What is counted of a node that is a block by itself. All zeros is one that has not been met.
///
/// `[two nodes that it led to, how often to one, how often to the other, other executions, number in met]`; the number
/// counts from 1 and stands above a bit that says whether the node is simple.
type Tally = [u64; 5];

/// A node met; a graph may forget it.
struct Met {
    node: NodeId,
    ip: u64,
    end_ip: u64,
    count: u16,
}

/// Where the walk has come from.
#[derive(Clone, Copy, Default)]
enum Left {
    /// From the middle of a block, or from nowhere.
    #[default]
    Nowhere,
    /// From the end of a simple node, which is a block by itself: it ends in a decision and lies in one section. It is not
    /// counted yet.
    Node(NodeId),
    /// From an instruction that needed the trace.
    Ip(u64),
}

#[derive(Default)]
pub(in crate::history) struct Covering {
    blocks: Map<Bounds>,
    edges: Map<(u64, u64)>,
    nodes: PerNode<Tally>,
    met: Vec<Met>,
    /// Edges between nodes that found no place in a tally.
    others: Map<(NodeId, NodeId)>,
    generation: u64,
    left: Left,
    cutter: BlockSplitter,
    seam: Seam,
}

impl Covering {
    #[cold]
    fn meet(&mut self, graph: &Graph, node: NodeId) -> u64 {
        let ips = graph.ips(node);
        let count = graph.count(node);
        let simple = is_decided(graph, node) && count > 0 && graph.section_end(node, 0) >= count;
        let (ip, end_ip) = (ips.first().copied().unwrap_or(0), ips.last().copied().unwrap_or(0));
        self.met.push(Met { node, ip, end_ip, count });
        let number = (self.met.len() as u64) << 1 | u64::from(simple);
        if let Some(tally) = self.nodes.at(node) {
            tally[4] = number;
        }
        number
    }

    /// Counts the edge from where the walk has come from to a node that has been met.
    #[inline]
    fn arrive(&mut self, graph: &Graph, node: NodeId) {
        match std::mem::take(&mut self.left) {
            Left::Nowhere => self.begin(graph.ip(node)),
            Left::Ip(from) => *self.edges.entry((from, graph.ip(node))).or_default() += 1,
            Left::Node(from) => {
                let Some(tally) = self.nodes.at(from) else { return };
                let (one, two) = (tally[0] as u32, (tally[0] >> 32) as u32);
                if one == node {
                    tally[1] += 1;
                } else if two == node {
                    tally[2] += 1;
                } else if one == 0 {
                    tally[0] = u64::from(node);
                    tally[1] = 1;
                } else if two == 0 {
                    tally[0] |= u64::from(node) << 32;
                    tally[2] = 1;
                } else {
                    tally[3] += 1;
                    *self.others.entry((from, node)).or_default() += 1;
                }
            }
        }
    }

    #[inline]
    fn begin(&mut self, ip: u64) {
        if self.seam.front == Front::Nothing {
            self.seam.front = Front::Ip(ip);
        }
    }

    /// Counts the node that was left last without an edge; where it was left.
    fn leave(&mut self) -> Option<u64> {
        match std::mem::take(&mut self.left) {
            Left::Nowhere => None,
            Left::Ip(from) => Some(from),
            Left::Node(from) => {
                let tally = self.nodes.at(from)?;
                tally[3] += 1;
                let met = self.met.get(((tally[4] >> 1) as usize).wrapping_sub(1));
                met.map(|met| met.end_ip)
            }
        }
    }

    /// No edge leads across this.
    fn break_off(&mut self) {
        self.leave();
        if self.seam.front == Front::Nothing {
            self.seam.front = Front::Break;
        }
    }

    fn close(&mut self) {
        if let Some(block) = self.cutter.close() {
            *self.blocks.entry(block).or_default() += 1;
        }
    }

    /// From nodes to blocks; what stood in the nodes is forgotten.
    fn expand(&mut self) {
        self.left = self.leave().map_or(Left::Nowhere, Left::Ip);
        let met = std::mem::take(&mut self.met);
        let nodes = &mut self.nodes;
        let mut place = |node: NodeId| {
            let number = nodes.at(node).map_or(0, |tally| (tally[4] >> 1) as usize);
            met.get(number.wrapping_sub(1))
        };
        for ((from, to), times) in self.others.drain() {
            if let Some((from, to)) = place(from).zip(place(to)) {
                *self.edges.entry((from.end_ip, to.ip)).or_default() += times;
            }
        }
        for from in &met {
            let Some([targets, one, two, rest, _]) = self.nodes.at(from.node).copied() else { continue };
            for (target, times) in [(targets as u32, one), (((targets >> 32) as u32), two)] {
                let number = self.nodes.at(target).map_or(0, |tally| (tally[4] >> 1) as usize);
                if let (Some(to), true) = (met.get(number.wrapping_sub(1)), times > 0) {
                    *self.edges.entry((from.end_ip, to.ip)).or_default() += times;
                }
            }
            if one + two + rest > 0 {
                *self.blocks.entry((from.ip, from.end_ip, from.count)).or_default() += one + two + rest;
            }
        }
        self.nodes.clear();
    }
}

/// The node ends in an instruction that needed the trace.
fn is_decided(graph: &Graph, node: NodeId) -> bool {
    matches!(graph.kind(node), NodeKind::Conditional | NodeKind::Return | NodeKind::Tip)
}

impl Sink for Covering {
    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, _: &RunState) {
        if self.generation != graph.generation() {
            self.expand();
            self.generation = graph.generation();
        }
        let mut number = self.nodes.at(node).map_or(0, |tally| tally[4]);
        if number == 0 {
            number = self.meet(graph, node);
        }
        let whole = from == 0 && to == graph.count(node);
        if whole && number & 1 != 0 && self.cutter.is_closed() {
            self.arrive(graph, node);
            self.left = Left::Node(node);
            return;
        }
        let ips = slice(graph.ips(node), from, to);
        let (Some(&first), Some(&last)) = (ips.first(), ips.last()) else { return };
        if from == 0 {
            self.arrive(graph, node);
        } else if let Some(before) = self.leave() {
            *self.edges.entry((before, first)).or_default() += 1;
        } else {
            self.begin(first);
        }
        let blocks = &mut self.blocks;
        self.cutter.run(graph, node, from, to, |block| *blocks.entry(block).or_default() += 1);
        if to == graph.count(node) && is_decided(graph, node) {
            self.close();
            self.left = Left::Ip(last);
        }
    }

    fn rounds(&mut self, graph: &Graph, node: NodeId, rounds: u64, state: &RunState) {
        if rounds > 0 {
            self.run(graph, node, 0, graph.count(node), state);
            // The other rounds come out of the first, so no edge leads to them.
            let blocks = &mut self.blocks;
            self.cutter.rounds(graph, node, rounds - 1, |block| *blocks.entry(block).or_default() += 1);
        }
    }

    fn event(&mut self, event: &Event, place: Where, _: &Engine) {
        self.close();
        match event.kind {
            EventKind::Enabled { .. } if !place.resumed => self.break_off(),
            EventKind::AsyncBranch { .. } => self.break_off(),
            _ => {}
        }
    }

    fn gap(&mut self, _: Gap) {
        self.close();
        self.break_off();
    }
}

impl Pass for Covering {}

/// How often was each block executed, and each edge followed?
pub(in crate::history) struct Cover;

impl Question for Cover {
    type Worker = Covering;
    type Part = Seam;
    type Sum = Coverage;

    fn worker(&self) -> Covering {
        Covering::default()
    }

    fn end(&self, worker: &mut Covering, _: Option<&mut Graph>) -> Seam {
        worker.close();
        let back = worker.leave();
        Seam { back, ..std::mem::take(&mut worker.seam) }
    }

    fn sum(&self, mut worker: Covering, _: &Graph) -> Coverage {
        worker.expand();
        Coverage { blocks: worker.blocks, edges: worker.edges, ..Coverage::default() }
    }
}

impl DecodedTrace {
    /// Adds the blocks and edges of steps `start..stop`, which follow those that `coverage` has.
    pub fn coverage(
        &self,
        start: u64,
        stop: u64,
        coverage: &mut Coverage,
        ask: Ask<'_>,
    ) -> Result<(), Interrupted> {
        let pieces = self.cut(start, stop, false);
        let sums = self.in_pieces(&Asked(Cover), &pieces, ask, |seam| {
            coverage.meet(seam);
            true
        })?;
        for sum in sums {
            coverage.add(sum.blocks, sum.edges);
        }
        Ok(())
    }
}
