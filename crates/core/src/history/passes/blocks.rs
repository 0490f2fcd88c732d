//! The blocks pass.

use crate::flow::{Engine, Gap, Graph, NodeId, NodeKind, RunState, Sink, Where};
use crate::history::decode::decoded_trace::{slice, DecodedTrace, Pass};
use crate::history::passes::columns::tsc_or_none;
use crate::history::passes::parallel::{Ask, Interrupted, Piece, Verb, Walker};

/// One row per block: instructions executed without a decision, an event, or a change of section
/// between them; the instruction that needed the trace is the last.
#[derive(Clone, Debug, Default)]
pub struct BlockColumns {
    /// Step of the first instruction.
    pub step: Vec<i64>,
    /// Address of the first instruction.
    pub ip: Vec<u64>,
    /// Address of the last instruction.
    pub end_ip: Vec<u64>,
    /// Number of instructions, 1 to 65535.
    pub ninsn: Vec<u16>,
    /// libipt's class of the last instruction.
    pub iclass: Vec<u8>,
    /// libipt's execution mode.
    pub mode: Vec<u8>,
    /// Identifier in an image section cache, 0 if the section is not from one.
    pub isid: Vec<i32>,
    /// TSC estimate, all ones if no TSC was seen.
    pub tsc: Vec<u64>,
    /// Inside a transaction that may have been aborted.
    pub speculative: Vec<u8>,
}

impl BlockColumns {
    fn append(&mut self, mut more: BlockColumns) {
        self.step.append(&mut more.step);
        self.ip.append(&mut more.ip);
        self.end_ip.append(&mut more.end_ip);
        self.ninsn.append(&mut more.ninsn);
        self.iclass.append(&mut more.iclass);
        self.mode.append(&mut more.mode);
        self.isid.append(&mut more.isid);
        self.tsc.append(&mut more.tsc);
        self.speculative.append(&mut more.speculative);
    }
}

#[derive(Default)]
struct Blocks {
    base: i64,
    /// The next run continues the last block.
    open: bool,
    last_section: (i32, u64),
    columns: BlockColumns,
}

impl Blocks {
    fn append(&mut self, step: u64, ips: &[u64], class: u8, mode: u8, section: (i32, u64), state: &RunState) {
        let (Some(&first), Some(&last)) = (ips.first(), ips.last()) else { return };
        let columns = &mut self.columns;
        if self.open && self.last_section == section {
            let room = columns.ninsn.last().is_some_and(|&count| usize::from(count) + ips.len() <= 65535);
            if room {
                if let (Some(count), Some(end), Some(iclass)) =
                    (columns.ninsn.last_mut(), columns.end_ip.last_mut(), columns.iclass.last_mut())
                {
                    *count += ips.len() as u16;
                    *end = last;
                    *iclass = class;
                    return;
                }
            }
        }
        self.last_section = section;
        columns.step.push(step as i64 + self.base);
        columns.ip.push(first);
        columns.end_ip.push(last);
        columns.ninsn.push(ips.len() as u16);
        columns.iclass.push(class);
        columns.mode.push(mode);
        columns.isid.push(section.0);
        columns.tsc.push(tsc_or_none(state));
        columns.speculative.push(u8::from(state.speculative));
    }
}

impl Sink for Blocks {
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        let mut step = state.step;
        let (_, mode) = graph.place(node);
        let mut at = from;
        while at < to {
            // Cut where the section changes.
            let section = graph.section(node, at);
            let end = graph.section_end(node, at).clamp(at + 1, to);
            let ips = slice(graph.ips(node), at, end);
            let class = graph.metas(node).get(end as usize - 1).map_or(0, |meta| meta.class() as u8);
            self.append(step, ips, class, mode as u8, section, state);
            self.open = true;
            step += u64::from(end - at);
            at = end;
        }
        let decided = matches!(graph.kind(node), NodeKind::Conditional | NodeKind::Return | NodeKind::Tip);
        self.open = !(decided && to == graph.count(node));
    }

    fn event(&mut self, _: &crate::event::Event, _: Where, _: &Engine) {
        self.open = false;
    }

    fn gap(&mut self, _: Gap) {
        self.open = false;
    }
}

impl Pass for Blocks {}

struct Listing {
    base: i64,
}

impl Verb for Listing {
    type Worker = ();
    type Part = BlockColumns;
    type Sum = ();

    fn worker(&self) {}

    fn piece(&self, (): &mut (), walker: &mut Walker<'_>, _: usize, piece: Piece) -> BlockColumns {
        let mut pass = Blocks { base: self.base, ..Blocks::default() };
        walker.walk(piece, &mut pass);
        pass.columns
    }

    fn sum(&self, (): (), _: &Graph) {}
}

impl DecodedTrace {
    /// Appends the blocks of steps `start..stop`; `base` is added to the step column.
    pub fn blocks(
        &self,
        start: u64,
        stop: u64,
        base: i64,
        columns: &mut BlockColumns,
        ask: Ask<'_>,
    ) -> Result<(), Interrupted> {
        let pieces = self.cut(start, stop, false);
        self.in_pieces(&Listing { base }, &pieces, ask, |part| {
            columns.append(part);
            true
        })?;
        Ok(())
    }
}
