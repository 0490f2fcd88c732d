//! Walks without trace: to an address, past an instruction, to where tracing stopped.

use super::{Engine, FlowError};
use crate::error::PtError;
use crate::event::Event;
use crate::flow::binding::{behind_kind, binds_behind, needs_trace, resume_after, Held};
use crate::flow::graph::NodeKind;
use crate::flow::passed::Passed;
use crate::flow::sink::Sink;
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
                None => self
                    .graph
                    .metas(self.node)
                    .iter()
                    .skip(from)
                    .position(|meta| meta.detail() == Detail::MovCr3)
                    .map(|nth| nth + 1),
            };
            if let Some(nth) = found.filter(|&nth| passed.reach(nth as u64, self.linear_limit())) {
                self.emit(sink, (from + nth) as u16);
                return Ok(match ip {
                    Some(ip) => Some(ip),
                    None => self.graph.ips(self.node).get((from + nth).wrapping_sub(1)).copied(),
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
