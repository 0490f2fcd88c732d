//! The expand pass: steps to addresses and instructions.

use std::sync::Arc;

use super::columns::{tsc_or_none, InstructionColumns};
use super::stream::{clip, slice, Pass, Stream};
use crate::flow::{Engine, Graph, NodeId, RunState, Sink, Space, SpaceId, Where};

/// Addresses that are worth a thread.
const IPS_A_THREAD: usize = 1 << 20;

struct Ips<'a> {
    /// Step of the first address that is still to be written.
    start: u64,
    left: &'a mut [u64],
}

impl Sink for Ips<'_> {
    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        let left = std::mem::take(&mut self.left);
        let count = usize::from(to - from);
        if state.step == self.start && count <= left.len() {
            let (here, rest) = left.split_at_mut(count);
            here.copy_from_slice(slice(graph.ips(node), from, to));
            self.start += count as u64;
            self.left = rest;
            return;
        }
        let stop = self.start + left.len() as u64;
        let Some((from, to, _)) = clip(state, from, to, self.start, stop) else {
            self.left = left;
            return;
        };
        let (here, rest) = left.split_at_mut(usize::from(to - from));
        here.copy_from_slice(slice(graph.ips(node), from, to));
        self.start += u64::from(to - from);
        self.left = rest;
    }
}

impl Pass for Ips<'_> {
    fn done(&self) -> bool {
        self.left.is_empty()
    }
}

struct Instructions<'a> {
    start: u64,
    stop: u64,
    base: i64,
    reached: u64,
    space: Option<(SpaceId, Arc<Space>)>,
    columns: &'a mut InstructionColumns,
}

impl Sink for Instructions<'_> {
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        self.reached = state.step + u64::from(to - from);
        let Some((from, to, step)) = clip(state, from, to, self.start, self.stop) else { return };
        let (space_id, mode) = graph.place(node);
        if self.space.as_ref().is_none_or(|(id, _)| *id != space_id) {
            self.space = graph.code().get(space_id).map(|space| (space_id, space));
        }
        let Some((_, space)) = &self.space else { return };
        let asid = space.asid();
        let columns = &mut *self.columns;
        let ips = slice(graph.ips(node), from, to);
        let metas = slice(graph.metas(node), from, to);
        for (nth, (&ip, meta)) in ips.iter().zip(metas).enumerate() {
            columns.step.push((step + nth as u64) as i64 + self.base);
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

impl Pass for Instructions<'_> {
    fn done(&self) -> bool {
        self.reached >= self.stop
    }
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

impl Stream {
    /// Writes the addresses of the steps from `start` on, as many as there is room for in `ips`; what lies past the last
    /// step stays as it is.
    pub fn write_ips(&self, start: u64, ips: &mut [u64], threads: usize) {
        let there = usize::try_from(self.steps().saturating_sub(start)).unwrap_or(usize::MAX);
        let room = there.min(ips.len());
        let Some(mut left) = ips.get_mut(..room).filter(|ips| !ips.is_empty()) else { return };
        let each = room.div_ceil(threads.clamp(1, room.div_ceil(IPS_A_THREAD)));
        let mut start = start;
        std::thread::scope(|scope| {
            while left.len() > each {
                let (here, rest) = left.split_at_mut(each);
                scope.spawn(move || self.walk(start, &mut Ips { start, left: here }));
                start += each as u64;
                left = rest;
            }
            self.walk(start, &mut Ips { start, left });
        });
    }

    /// Appends the addresses of steps `start..stop`.
    pub fn ips(&self, start: u64, stop: u64, ips: &mut Vec<u64>) {
        let count = stop.min(self.steps()).saturating_sub(start);
        let at = ips.len();
        ips.resize(at + count as usize, 0);
        if let Some(room) = ips.get_mut(at..) {
            self.write_ips(start, room, 1);
        }
    }

    /// Appends the instructions of steps `start..stop`; `base` is added to the step column.
    pub fn instructions(&self, start: u64, stop: u64, base: i64, columns: &mut InstructionColumns) {
        if start < stop {
            self.walk(start, &mut Instructions { start, stop, base, reached: 0, space: None, columns });
        }
    }

    /// The first step whose TSC estimate is not before `tsc`; the number of steps if there is none.
    pub fn step_at_tsc(&self, tsc: u64) -> u64 {
        let mut time = Time { wanted: tsc, found: None, last: 0 };
        self.walk_from(self.checkpoint_before(tsc), &mut time);
        time.found.map_or(self.steps(), |found| found.min(self.steps()))
    }
}
