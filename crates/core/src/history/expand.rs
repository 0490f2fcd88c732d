//! The expand pass: steps to addresses and instructions.

use std::sync::Arc;

use super::columns::{tsc_or_none, InstructionColumns};
use super::stream::{clip, slice, Pass, Stream};
use crate::flow::{Engine, Graph, NodeId, RunState, Sink, Space, SpaceId, Where};

struct Ips<'a> {
    start: u64,
    stop: u64,
    reached: u64,
    ips: &'a mut Vec<u64>,
}

impl Sink for Ips<'_> {
    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        self.reached = state.step + u64::from(to - from);
        if state.step >= self.start && self.reached <= self.stop {
            self.ips.extend_from_slice(slice(graph.ips(node), from, to));
        } else if let Some((from, to, _)) = clip(state, from, to, self.start, self.stop) {
            self.ips.extend_from_slice(slice(graph.ips(node), from, to));
        }
    }
}

impl Pass for Ips<'_> {
    fn done(&self) -> bool {
        self.reached >= self.stop
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
    /// Appends the addresses of steps `start..stop`.
    pub fn ips(&self, start: u64, stop: u64, ips: &mut Vec<u64>) {
        if start < stop {
            self.walk(start, &mut Ips { start, stop, reached: 0, ips });
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
        time.found.unwrap_or(self.steps())
    }
}
