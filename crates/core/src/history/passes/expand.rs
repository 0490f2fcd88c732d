//! The expand pass: steps to addresses and instructions.

use std::sync::{Arc, Mutex, PoisonError};

use crate::flow::{Engine, Graph, NodeId, RunState, Sink, Space, SpaceId, Where};
use crate::history::decode::decoded_trace::{slice, DecodedTrace, Pass};
use crate::history::passes::columns::{tsc_or_none, InstructionColumns};
use crate::history::passes::parallel::{Ask, Interrupted, Piece, Verb, Walker};

/// Writes addresses to where they belong.
struct Ips<'a> {
    left: &'a mut [u64],
}

impl Sink for Ips<'_> {
    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, _: &RunState) {
        let left = std::mem::take(&mut self.left);
        let count = usize::from(to - from).min(left.len());
        let (here, rest) = left.split_at_mut(count);
        // A cut at the end of the room.
        here.copy_from_slice(slice(graph.ips(node), from, from + count as u16));
        self.left = rest;
    }
}

impl Pass for Ips<'_> {}

/// The room for each piece, until it is filled.
struct Writing<'a> {
    rooms: Vec<Mutex<&'a mut [u64]>>,
}

impl Verb for Writing<'_> {
    type Worker = ();
    type Part = ();
    type Sum = ();

    fn worker(&self) {}

    fn piece(&self, (): &mut (), walker: &mut Walker<'_>, at: usize, piece: Piece) {
        let Some(room) = self.rooms.get(at) else { return };
        let mut room = room.lock().unwrap_or_else(PoisonError::into_inner);
        walker.walk(piece, &mut Ips { left: &mut room });
    }

    fn sum(&self, (): (), _: &Graph) {}
}

#[derive(Default)]
struct Instructions {
    base: i64,
    space: Option<(SpaceId, Arc<Space>)>,
    columns: InstructionColumns,
}

impl Sink for Instructions {
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        let (space_id, mode) = graph.place(node);
        if self.space.as_ref().is_none_or(|(id, _)| *id != space_id) {
            self.space = graph.code().get(space_id).map(|space| (space_id, space));
        }
        let Some((_, space)) = &self.space else { return };
        let asid = space.asid();
        let columns = &mut self.columns;
        let ips = slice(graph.ips(node), from, to);
        let metas = slice(graph.metas(node), from, to);
        for (nth, (&ip, meta)) in ips.iter().zip(metas).enumerate() {
            columns.step.push((state.step + nth as u64) as i64 + self.base);
            columns.ip.push(ip);
            columns.size.push(meta.size());
            let mut raw = [0u8; 16];
            let size = usize::from(meta.size());
            if let Some(bytes) = raw.get_mut(..size) {
                space.copy(ip, bytes);
            }
            columns.raw.extend_from_slice(&raw);
            columns.iclass.push(meta.class() as u8);
            columns.mode.push(mode as u8);
            columns.cr3.push(asid.cr3.unwrap_or(u64::MAX));
            columns.vmcs.push(asid.vmcs.unwrap_or(u64::MAX));
            columns.isid.push(graph.section(node, from + nth as u16).0);
            columns.tsc.push(tsc_or_none(state));
            columns.speculative.push(u8::from(state.speculative));
            columns.truncated.push(u8::from(meta.truncated()));
        }
    }
}

impl Pass for Instructions {}

struct Listing {
    base: i64,
}

impl Verb for Listing {
    type Worker = ();
    type Part = InstructionColumns;
    type Sum = ();

    fn worker(&self) {}

    fn piece(&self, (): &mut (), walker: &mut Walker<'_>, _: usize, piece: Piece) -> InstructionColumns {
        let mut pass = Instructions { base: self.base, ..Instructions::default() };
        walker.walk(piece, &mut pass);
        pass.columns
    }

    fn sum(&self, (): (), _: &Graph) {}
}

struct Time {
    wanted: u64,
    found: Option<u64>,
    last: u64,
}

impl Sink for Time {
    fn run(&mut self, _: &Graph, _: NodeId, from: u16, to: u16, state: &RunState) {
        if self.found.is_none() && state.has_tsc && state.tsc >= self.wanted {
            self.found = Some(state.step);
        }
        self.last = state.step + u64::from(to - from);
    }

    fn event(&mut self, _: &crate::event::Event, _: Where, _: &Engine) {}
}

impl Pass for Time {
    fn done(&self) -> bool {
        self.found.is_some()
    }
}

impl DecodedTrace {
    /// Writes the addresses of the steps from `start` on, as many as there is room for in `ips`; what lies past the last
    /// step stays as it is.
    pub fn write_ips(&self, start: u64, ips: &mut [u64], ask: Ask<'_>) -> Result<(), Interrupted> {
        let stop = start.saturating_add(ips.len() as u64).min(self.steps());
        let pieces = self.cut(start, stop, false);
        let mut left = ips;
        let mut rooms = Vec::with_capacity(pieces.len());
        for piece in &pieces {
            let count = ((piece.stop - piece.start) as usize).min(left.len());
            let (here, rest) = std::mem::take(&mut left).split_at_mut(count);
            rooms.push(Mutex::new(here));
            left = rest;
        }
        self.in_pieces(&Writing { rooms }, &pieces, ask, |()| true)?;
        Ok(())
    }

    /// Appends the addresses of steps `start..stop`.
    pub fn ips(&self, start: u64, stop: u64, ips: &mut Vec<u64>, ask: Ask<'_>) -> Result<(), Interrupted> {
        let count = stop.min(self.steps()).saturating_sub(start);
        let at = ips.len();
        ips.resize(at + count as usize, 0);
        ips.get_mut(at..).map_or(Ok(()), |room| self.write_ips(start, room, ask))
    }

    /// Appends the instructions of steps `start..stop`; `base` is added to the step column.
    pub fn instructions(
        &self,
        start: u64,
        stop: u64,
        base: i64,
        columns: &mut InstructionColumns,
        ask: Ask<'_>,
    ) -> Result<(), Interrupted> {
        let pieces = self.cut(start, stop, false);
        self.in_pieces(&Listing { base }, &pieces, ask, |part| {
            columns.append(part);
            true
        })?;
        Ok(())
    }

    /// The first step whose TSC estimate is not before `tsc`; the number of steps if there is none.
    pub fn step_at_tsc(&self, tsc: u64) -> u64 {
        let mut time = Time { wanted: tsc, found: None, last: 0 };
        self.walk_from(self.checkpoint_before(tsc), &mut time);
        time.found.map_or(self.steps(), |found| found.min(self.steps()))
    }
}
