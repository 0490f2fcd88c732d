//! The executed code: every instruction once, whatever the number of its executions, and the search for some of them.

use std::collections::HashMap;

use super::nodes::PerNode;
use super::parallel::{Ask, Interrupted, Piece, Verb, Walker};
use super::stream::{slice, Pass, Stream};
use crate::flow::{Graph, NodeId, RunState, Sink};
use crate::instruction::ExecMode;

/// Longest instruction, and one more.
const RAW: usize = 16;

/// An instruction as it lay in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CodeRow {
    /// Address.
    pub ip: u64,
    /// Length in bytes, 1 to 15.
    pub size: u8,
    /// How it is executed.
    pub mode: ExecMode,
    /// libipt's instruction class.
    pub iclass: u8,
    /// Its bytes; zeros behind.
    pub raw: [u8; RAW],
}

impl CodeRow {
    /// Whether a byte of it lies in a closed interval. It may wrap around the end of the address space.
    pub fn intersects(&self, first: u64, last: u64) -> bool {
        let end = self.ip.wrapping_add(u64::from(self.size).saturating_sub(1));
        if end >= self.ip {
            self.ip <= last && end >= first
        } else {
            self.ip <= last || first <= end
        }
    }
}

/// Executed instructions, each once; other bytes at the same address are another row.
#[derive(Clone, Debug, Default)]
pub struct CodeTable {
    rows: Vec<CodeRow>,
    counts: Vec<u64>,
    index: HashMap<CodeRow, u32, foldhash::fast::RandomState>,
}

impl CodeTable {
    /// The rows; their order means nothing.
    pub fn rows(&self) -> &[CodeRow] {
        &self.rows
    }

    /// How often each was executed.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The number of a row; None if it was never executed.
    pub fn number(&self, row: &CodeRow) -> Option<u32> {
        self.index.get(row).copied()
    }

    fn add(&mut self, row: CodeRow, times: u64) {
        let number = *self.index.entry(row).or_insert_with(|| {
            self.rows.push(row);
            self.counts.push(0);
            self.rows.len() as u32 - 1
        });
        if let Some(count) = self.counts.get_mut(number as usize) {
            *count += times;
        }
    }
}

/// Instructions `from..to` of a node as rows.
fn rows_of(graph: &Graph, node: NodeId, from: u16, to: u16) -> Vec<CodeRow> {
    let (space, mode) = graph.place(node);
    let Some(space) = graph.code().get(space) else { return Vec::new() };
    let ips = slice(graph.ips(node), from, to);
    let metas = slice(graph.metas(node), from, to);
    let row = |(&ip, meta): (&u64, &crate::flow::InstructionMeta)| {
        let mut raw = [0; RAW];
        if let Some(bytes) = raw.get_mut(..usize::from(meta.size())) {
            space.copy(ip, bytes);
        }
        CodeRow { ip, size: meta.size(), mode, iclass: meta.class() as u8, raw }
    };
    ips.iter().zip(metas).map(row).collect()
}

/// Executions of a whole node.
#[derive(Clone, Default)]
struct Whole {
    /// Where its rows stand, plus 1.
    rows: u32,
    times: u64,
}

#[derive(Default)]
struct Executed {
    generation: u64,
    nodes: PerNode<Whole>,
    /// The nodes that were met, and where their rows end.
    met: Vec<(NodeId, usize)>,
    rows: Vec<CodeRow>,
    table: CodeTable,
}

impl Executed {
    /// The nodes mean something else from now on.
    fn settle(&mut self) {
        for (node, end) in std::mem::take(&mut self.met) {
            let Some(whole) = self.nodes.at(node).cloned() else { continue };
            for &row in self.rows.get(whole.rows as usize - 1..end).unwrap_or(&[]) {
                self.table.add(row, whole.times);
            }
        }
        self.nodes.clear();
        self.rows.clear();
    }
}

impl Sink for Executed {
    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, _: &RunState) {
        if self.generation != graph.generation() {
            self.settle();
            self.generation = graph.generation();
        }
        if from == 0 && to == graph.count(node) {
            if let Some(whole) = self.nodes.at(node) {
                if whole.times == 0 {
                    whole.rows = self.rows.len() as u32 + 1;
                    self.rows.extend(rows_of(graph, node, from, to));
                    self.met.push((node, self.rows.len()));
                }
                whole.times += 1;
            }
        } else {
            for row in rows_of(graph, node, from, to) {
                self.table.add(row, 1);
            }
        }
    }
}

impl Pass for Executed {}

struct Executing;

impl Verb for Executing {
    type Worker = Executed;
    type Part = ();
    type Sum = CodeTable;

    fn worker(&self) -> Executed {
        Executed::default()
    }

    fn piece(&self, worker: &mut Executed, walker: &mut Walker<'_>, _: usize, piece: Piece) {
        walker.walk(piece, worker);
    }

    fn sum(&self, mut worker: Executed, _: &Graph) -> CodeTable {
        worker.settle();
        worker.table
    }
}

/// Where wanted instructions were executed: steps in order, and for each the row of the table.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    /// Steps.
    pub steps: Vec<i64>,
    /// Numbers of rows.
    pub rows: Vec<u32>,
}

/// Where the wanted instructions of a node stand among all; `end` is more than `begin` by one once that is known.
#[derive(Clone, Copy, Default)]
struct Inside {
    begin: u32,
    end: u32,
}

struct FindRows<'a> {
    question: &'a FindingRows<'a>,
    generation: u64,
    nodes: PerNode<Inside>,
    /// Instructions by number in their node, and their rows.
    inside: Vec<(u16, u32)>,
    hits: Hits,
}

impl FindRows<'_> {
    #[cold]
    fn look(&mut self, graph: &Graph, node: NodeId) -> Inside {
        let begin = self.inside.len() as u32;
        for (nth, row) in rows_of(graph, node, 0, graph.count(node)).iter().enumerate() {
            let Some(number) = self.question.table.number(row) else { continue };
            if self.question.wanted.get(number as usize).copied().unwrap_or(false) {
                self.inside.push((nth as u16, number));
            }
        }
        let inside = Inside { begin, end: self.inside.len() as u32 + 1 };
        if let Some(known) = self.nodes.at(node) {
            *known = inside;
        }
        inside
    }
}

impl Sink for FindRows<'_> {
    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        if self.generation != graph.generation() {
            self.generation = graph.generation();
            self.nodes.clear();
            self.inside.clear();
        }
        let Some(&mut mut inside) = self.nodes.at(node) else { return };
        if inside.end == 0 {
            inside = self.look(graph, node);
        }
        if inside.end == inside.begin + 1 {
            return;
        }
        let limit = self.question.limit;
        for &(nth, row) in self.inside.get(inside.begin as usize..inside.end as usize - 1).unwrap_or(&[]) {
            if nth >= from && nth < to && self.hits.steps.len() < limit {
                self.hits.steps.push((state.step + u64::from(nth - from)) as i64 + self.question.base);
                self.hits.rows.push(row);
            }
        }
    }
}

impl Pass for FindRows<'_> {
    fn done(&self) -> bool {
        self.hits.steps.len() >= self.question.limit
    }
}

/// Executions of wanted rows, `base` added to their steps, and at most `limit` a piece.
struct FindingRows<'a> {
    table: &'a CodeTable,
    wanted: &'a [bool],
    base: i64,
    limit: usize,
}

impl<'a> Verb for &'a FindingRows<'a> {
    type Worker = FindRows<'a>;
    type Part = Hits;
    type Sum = ();

    fn worker(&self) -> FindRows<'a> {
        let (nodes, inside, hits) = Default::default();
        FindRows { question: self, generation: 0, nodes, inside, hits }
    }

    fn piece(&self, worker: &mut FindRows<'a>, walker: &mut Walker<'_>, _: usize, piece: Piece) -> Hits {
        walker.walk(piece, worker);
        std::mem::take(&mut worker.hits)
    }

    fn sum(&self, _: FindRows<'a>, _: &Graph) {}
}

impl Stream {
    /// Adds the instructions executed in steps `start..stop` to a table.
    pub fn executed(
        &self,
        (start, stop): (u64, u64),
        table: &mut CodeTable,
        ask: Ask<'_>,
    ) -> Result<(), Interrupted> {
        let pieces = self.cut(start, stop, false);
        for sum in self.in_pieces(&Executing, &pieces, ask, |()| true)? {
            for (&row, &times) in sum.rows.iter().zip(&sum.counts) {
                table.add(row, times);
            }
        }
        Ok(())
    }

    /// Appends the executions among steps `start..stop` of the rows for which `wanted` holds, in order, until there are
    /// `limit` of them; `base` is added to each step.
    pub fn find_rows(
        &self,
        (table, wanted): (&CodeTable, &[bool]),
        (start, stop): (u64, u64),
        base: i64,
        limit: usize,
        hits: &mut Hits,
        ask: Ask<'_>,
    ) -> Result<(), Interrupted> {
        if hits.steps.len() >= limit || !wanted.contains(&true) {
            return Ok(());
        }
        let question = FindingRows { table, wanted, base, limit: limit - hits.steps.len() };
        let pieces = self.cut(start, stop, limit < usize::MAX);
        let take = |part: Hits| {
            let room = limit - hits.steps.len();
            hits.steps.extend(part.steps.into_iter().take(room));
            hits.rows.extend(part.rows.into_iter().take(room));
            hits.steps.len() < limit
        };
        self.in_pieces(&&question, &pieces, ask, take)?;
        Ok(())
    }
}
