//! The executed code: every instruction once, however often it was executed, and the search for some of them.

use std::collections::HashMap;

use crate::flow::{Graph, NodeId, RunState, Runs, Sink};
use crate::history::decode::decoded_trace::{slice, DecodedTrace, Pass};
use crate::history::passes::columns::tsc_or_none;
use crate::history::passes::nodes::PerNode;
use crate::history::passes::parallel::{Ask, Interrupted, Piece, Verb, Walker};
use crate::instruction::ExecMode;

/// Longest instruction, and one more.
const RAW: usize = 16;
/// Steps from which on a search remembers what it need not look at.
const FAR_STEPS: u64 = 1 << 22;

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
    index: HashMap<CodeRow, u32, foldhash::fast::RandomState>,
}

impl CodeTable {
    /// The rows; their order means nothing.
    pub fn rows(&self) -> &[CodeRow] {
        &self.rows
    }

    /// The number of a row; None if it was never executed.
    pub fn number(&self, row: &CodeRow) -> Option<u32> {
        self.index.get(row).copied()
    }

    fn add(&mut self, row: CodeRow) {
        self.index.entry(row).or_insert_with(|| {
            self.rows.push(row);
            self.rows.len() as u32 - 1
        });
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

#[derive(Default)]
struct Executed {
    generation: u64,
    /// Whether all of a node was executed.
    whole: PerNode<bool>,
    table: CodeTable,
}

impl Executed {
    fn agree(&mut self, graph: &Graph) {
        if self.generation != graph.generation() {
            self.generation = graph.generation();
            self.whole.clear();
        }
    }
}

impl Sink for Executed {
    const RUNS: Runs = Runs::Wanted;

    fn wants(&mut self, graph: &Graph, node: NodeId) -> bool {
        self.agree(graph);
        self.whole.at(node).is_some_and(|whole| !*whole)
    }

    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, _: &RunState) {
        self.agree(graph);
        let Some(whole) = self.whole.at(node) else { return };
        if *whole {
            return;
        }
        *whole = from == 0 && to == graph.count(node);
        for row in rows_of(graph, node, from, to) {
            self.table.add(row);
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

    fn sum(&self, worker: Executed, _: &Graph) -> CodeTable {
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
    /// TSC estimates, all ones if no TSC was seen.
    pub tsc: Vec<u64>,
}

/// Where the wanted instructions of a node stand among all; `end` is more than `begin` by one once that is known.
#[derive(Clone, Copy, Default)]
struct Inside {
    begin: u32,
    end: u32,
}

/// `FAR`: the search goes so far that it pays to remember what has none of the wanted rows.
struct FindRows<'a, const FAR: bool> {
    question: &'a FindingRows<'a>,
    generation: u64,
    nodes: PerNode<Inside>,
    /// Instructions by number in their node, and their rows.
    inside: Vec<(u16, u32)>,
    hits: Hits,
}

impl<const FAR: bool> FindRows<'_, FAR> {
    #[inline]
    fn inside(&mut self, graph: &Graph, node: NodeId) -> Option<Inside> {
        if self.generation != graph.generation() {
            self.generation = graph.generation();
            self.nodes.clear();
            self.inside.clear();
        }
        let inside = *self.nodes.at(node)?;
        Some(if inside.end == 0 { self.look(graph, node) } else { inside })
    }

    #[cold]
    fn look(&mut self, graph: &Graph, node: NodeId) -> Inside {
        let begin = self.inside.len() as u32;
        // Nearly all nodes have none of the addresses, and need no look at their bytes.
        if graph.ips(node).iter().any(|&ip| self.question.has_at(ip)) {
            for (nth, row) in rows_of(graph, node, 0, graph.count(node)).iter().enumerate() {
                let Some(number) = self.question.table.number(row) else { continue };
                if self.question.wanted.get(number as usize).copied().unwrap_or(false) {
                    self.inside.push((nth as u16, number));
                }
            }
        }
        let inside = Inside { begin, end: self.inside.len() as u32 + 1 };
        if let Some(known) = self.nodes.at(node) {
            *known = inside;
        }
        inside
    }
}

impl<const FAR: bool> Sink for FindRows<'_, FAR> {
    const RUNS: Runs = if FAR { Runs::Wanted } else { Runs::All };

    fn wants(&mut self, graph: &Graph, node: NodeId) -> bool {
        self.inside(graph, node).is_some_and(|inside| inside.end != inside.begin + 1)
    }

    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        let Some(inside) = self.inside(graph, node) else { return };
        if inside.end == inside.begin + 1 {
            return;
        }
        let limit = self.question.limit;
        for &(nth, row) in self.inside.get(inside.begin as usize..inside.end as usize - 1).unwrap_or(&[]) {
            if nth >= from && nth < to && self.hits.steps.len() < limit {
                self.hits.steps.push((state.step + u64::from(nth - from)) as i64 + self.question.base);
                self.hits.rows.push(row);
                self.hits.tsc.push(tsc_or_none(state));
            }
        }
    }
}

impl<const FAR: bool> Pass for FindRows<'_, FAR> {
    fn done(&self) -> bool {
        self.hits.steps.len() >= self.question.limit
    }
}

/// Executions of wanted rows, `base` added to their steps, and at most `limit` a piece.
struct FindingRows<'a> {
    table: &'a CodeTable,
    wanted: &'a [bool],
    /// The addresses of wanted rows, ascending.
    addresses: Vec<u64>,
    base: i64,
    limit: usize,
}

impl<'a> FindingRows<'a> {
    fn new(table: &'a CodeTable, wanted: &'a [bool], base: i64, limit: usize) -> Self {
        let rows = table.rows.iter().zip(wanted);
        let mut addresses: Vec<u64> = rows.filter(|(_, &wanted)| wanted).map(|(row, _)| row.ip).collect();
        addresses.sort_unstable();
        FindingRows { table, wanted, addresses, base, limit }
    }

    /// Whether a wanted row may lie at an address.
    fn has_at(&self, ip: u64) -> bool {
        self.addresses.first().is_some_and(|&first| first <= ip)
            && self.addresses.last().is_some_and(|&last| ip <= last)
            && self.addresses.binary_search(&ip).is_ok()
    }
}

struct Search<'a, const FAR: bool>(&'a FindingRows<'a>);

impl<'a, const FAR: bool> Verb for Search<'a, FAR> {
    type Worker = FindRows<'a, FAR>;
    type Part = Hits;
    type Sum = ();

    fn worker(&self) -> FindRows<'a, FAR> {
        let (nodes, inside, hits) = Default::default();
        FindRows { question: self.0, generation: 0, nodes, inside, hits }
    }

    fn piece(&self, worker: &mut FindRows<'a, FAR>, walker: &mut Walker<'_>, _: usize, piece: Piece) -> Hits {
        walker.walk(piece, worker);
        std::mem::take(&mut worker.hits)
    }

    fn sum(&self, _: FindRows<'a, FAR>, _: &Graph) {}
}

impl DecodedTrace {
    /// Adds the instructions executed in steps `start..stop` to a table.
    pub fn executed(
        &self,
        (start, stop): (u64, u64),
        table: &mut CodeTable,
        ask: Ask<'_>,
    ) -> Result<(), Interrupted> {
        let pieces = self.cut(start, stop, false);
        for sum in self.in_pieces(&Executing, &pieces, ask, |()| true)? {
            for row in sum.rows {
                table.add(row);
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
        let question = FindingRows::new(table, wanted, base, limit - hits.steps.len());
        let pieces = self.cut(start, stop, limit <= 1 << 16);
        let take = |part: Hits| {
            let room = limit - hits.steps.len();
            hits.steps.extend(part.steps.into_iter().take(room));
            hits.rows.extend(part.rows.into_iter().take(room));
            hits.tsc.extend(part.tsc.into_iter().take(room));
            hits.steps.len() < limit
        };
        if stop.min(self.steps).saturating_sub(start) >= FAR_STEPS {
            self.in_pieces(&Search::<true>(&question), &pieces, ask, take)?;
        } else {
            self.in_pieces(&Search::<false>(&question), &pieces, ask, take)?;
        }
        Ok(())
    }
}
