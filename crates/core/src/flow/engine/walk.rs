//! Walks without trace: to an address, past an instruction, to where tracing stopped.

use super::{Engine, FlowError};
use crate::error::PtError;
use crate::event::Event;
use crate::flow::binding::{behind_kind, binds_behind, needs_trace, resume_after, Held};
use crate::flow::graph::NodeKind;
use crate::flow::sink::Sink;
use crate::flow::visited::Passed;
use crate::instruction::Detail;

impl Engine {
    /// Proceeds without trace until the next instruction is the one at `ip`.
    pub(super) fn walk_to<S: Sink>(&mut self, ip: u64, sink: &mut S) -> Result<(), FlowError> {
        let mut passed = Passed::default();
        loop {
            let kind = self.learned(&mut passed)?;
            let from = self.emitted as usize;
            let found = match self.graph.ips(self.node).get(from..) {
                Some(rest) => rest.iter().position(|&at| at == ip),
                None => None,
            };
            if let Some(nth) = found.filter(|&nth| passed.reach(nth as u64, self.linear_limit())) {
                if nth + from > 0 {
                    self.emit(sink, (from + nth) as u16);
                    self.node = self.graph.node_at(ip);
                    self.emitted = 0;
                }
                self.held = None;
                return Ok(());
            }
            match kind {
                NodeKind::Conditional | NodeKind::Return | NodeKind::Tip if self.fits(&passed) => {
                    self.emit_all(sink);
                    return Err(self.contradiction(PtError::BadQuery));
                }
                NodeKind::Stuck if self.graph.next_ip(self.node) == ip => {
                    self.emit_all(sink);
                    self.node = self.graph.node_at(ip);
                    self.arrive();
                    return Ok(());
                }
                kind => self.pass(sink, kind, &mut passed)?,
            }
        }
    }

    /// Proceeds without trace by a number of instructions.
    pub(super) fn walk_on<S: Sink>(&mut self, instructions: u64, sink: &mut S) -> Result<(), FlowError> {
        let mut left = instructions;
        let mut passed = Passed::default();
        loop {
            let kind = self.learned(&mut passed)?;
            let here = u64::from(self.graph.count(self.node) - self.emitted);
            if left < here {
                self.emit(sink, self.emitted + left as u16);
                return Ok(());
            }
            self.emit_all(sink);
            left -= here;
            match kind {
                NodeKind::Split => self.split(),
                NodeKind::Stuck if left == 0 => return Ok(()),
                NodeKind::Stuck => return Err(self.stuck()),
                NodeKind::Endless => {
                    let head = self.graph.next_ip(self.node);
                    self.node = self.graph.node_at(head);
                    self.arrive();
                    left -= self.go_round(left, &mut passed, sink)?;
                }
                _ => return Err(self.contradiction(PtError::BadQuery)),
            }
        }
    }

    /// Proceeds without trace until an instruction that the event binds behind has been executed, and holds it.
    pub(super) fn walk_past<S: Sink>(&mut self, event: &Event, sink: &mut S) -> Result<(), FlowError> {
        if self.held.as_mut().is_some_and(|held| held.binds(event)) {
            return Ok(());
        }
        let mut passed = Passed::default();
        loop {
            let kind = self.learned(&mut passed)?;
            let from = self.emitted as usize;
            let found = {
                let ips = self.graph.ips(self.node).iter().skip(from);
                let mut all = ips.zip(self.graph.metas(self.node).iter().skip(from));
                all.position(|(&ip, &meta)| binds_behind(event, ip, meta))
            };
            if let Some(nth) = found.filter(|&nth| passed.reach(nth as u64, self.linear_limit())) {
                self.emit(sink, (from + nth + 1) as u16);
                let ip = self.graph.ips(self.node).get(from + nth);
                let meta = self.graph.metas(self.node).get(from + nth);
                if let (Some(&ip), Some(&meta)) = (ip, meta) {
                    self.held = Some(Held { ip, meta, kinds: behind_kind(event).unwrap_or(0) });
                }
                return Ok(());
            }
            match kind {
                NodeKind::Conditional | NodeKind::Return | NodeKind::Tip if self.fits(&passed) => {
                    self.emit_all(sink);
                    return Err(self.contradiction(PtError::BadQuery));
                }
                kind => self.pass(sink, kind, &mut passed)?,
            }
        }
    }

    /// The first instruction from number `from` of the node on, counted from there, at which tracing can have been
    /// switched off although it needs no trace: MOV CR3, and with SKL014 a branch that leaves the filter.
    fn first_to_disable(&self, from: usize) -> Option<usize> {
        let metas = self.graph.metas(self.node);
        let leaves = |nth: usize| {
            let next = self.graph.ips(self.node).get(nth + 1).copied();
            let target = next.unwrap_or_else(|| self.graph.next_ip(self.node));
            metas.get(nth).is_some_and(|&meta| self.repair.leaves_filter(meta, target))
        };
        let filtered = self.repair.looks_for_filter();
        (from..metas.len()).position(|nth| {
            metas.get(nth).is_some_and(|meta| meta.detail() == Detail::MovCr3) || filtered && leaves(nth)
        })
    }

    /// Proceeds to where tracing was switched off; returns where it is expected to resume.
    ///
    /// Without an IP that is behind the next MOV CR3 or the first instruction that needs trace; with
    /// one, where linear code reaches it, or the same.
    pub(super) fn walk_to_disable<S: Sink>(
        &mut self,
        ip: Option<u64>,
        sink: &mut S,
    ) -> Result<Option<u64>, FlowError> {
        if let Some(held) = self.held {
            if needs_trace(held.meta) {
                return Ok(resume_after(held.ip, held.meta));
            }
            if held.meta.detail() == Detail::MovCr3 && ip.is_none() {
                return Ok(Some(held.ip));
            }
        }
        let mut passed = Passed::default();
        loop {
            let kind = self.learned(&mut passed)?;
            let from = self.emitted as usize;
            let found = match ip {
                Some(ip) => self.graph.ips(self.node).iter().skip(from).position(|&at| at == ip),
                None => self.first_to_disable(from).map(|nth| nth + 1),
            };
            if let Some(nth) = found.filter(|&nth| passed.reach(nth as u64, self.linear_limit())) {
                self.emit(sink, (from + nth) as u16);
                let last = (from + nth).wrapping_sub(1);
                let at = self.graph.ips(self.node).get(last).zip(self.graph.metas(self.node).get(last));
                return Ok(match (ip, at) {
                    (Some(ip), _) => Some(ip),
                    (None, Some((&ip, meta))) => (meta.detail() == Detail::MovCr3).then_some(ip),
                    (None, None) => None,
                });
            }
            match kind {
                NodeKind::Conditional | NodeKind::Return | NodeKind::Tip if self.fits(&passed) => {
                    self.emit_all(sink);
                    let last = self.graph.count(self.node).wrapping_sub(1) as usize;
                    let ip = self.graph.ips(self.node).get(last);
                    let meta = self.graph.metas(self.node).get(last);
                    return Ok(ip.zip(meta).and_then(|(&ip, &meta)| resume_after(ip, meta)));
                }
                NodeKind::Stuck if ip == Some(self.graph.next_ip(self.node)) => {
                    self.emit_all(sink);
                    return Ok(ip);
                }
                kind => self.pass(sink, kind, &mut passed)?,
            }
        }
    }
}
