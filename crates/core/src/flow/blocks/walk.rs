//! The walk along the code up to the next decision or event.

use super::{Block, BlockDecoder, BlockInstruction, Executed, Place};
use crate::error::PtError;
use crate::event::{Event, EventKind, Status};
use crate::flow::binding::{behind_kind, binds_behind, needs_trace, Held};
use crate::flow::code::CodeError;
use crate::flow::graph::{InstructionMeta, NodeId, NodeKind};
use crate::flow::visited::Passed;
use crate::instruction::{Detail, InstructionClass};

/// Most instructions in one block, as `pt_block` counts them.
const MOST: usize = 65535;
/// Most instructions without use of the trace, far more than any real code has.
const LINEAR_LIMIT: u64 = 1 << 24;

/// Why a walk through a node stopped.
enum Stop {
    /// The node was walked to its end.
    End,
    /// An event belongs before the next instruction.
    Before,
    /// An event belongs behind the last instruction.
    Behind,
    /// The block ends here for another reason.
    Cut,
}

impl BlockDecoder {
    /// Fills `block` with what ran up to the next decision or event. On an error it holds what ran before.
    ///
    /// With a status that announces an event nothing moves until [`BlockDecoder::event`] has taken it: the block is
    /// empty. `nosync` before any synchronisation; `eos` at the end of the trace while tracing is off; `no_enable` for
    /// a branch while it is off; `bad_query` where trace and code contradict each other or code goes round without end;
    /// else what reading memory or the packets gave.
    pub fn next(&mut self, trace: &[u8], block: &mut Block) -> Result<Status, CodeError> {
        self.list.clear();
        self.place =
            Place { start: self.ip, mode: self.mode, speculative: self.speculative, ..Place::default() };
        let walked = self.proceed(trace);
        self.fill(block);
        match walked {
            Ok(()) => Ok(self.status()),
            Err(error) => {
                self.pending = false;
                self.forget_passed();
                Err(error)
            }
        }
    }

    fn fill(&self, block: &mut Block) {
        let first = self.list.first().map_or(self.place.start, |first| first.ip);
        *block = Block {
            ip: first,
            end_ip: first,
            isid: self.place.isid,
            mode: self.place.mode,
            speculative: self.place.speculative,
            ninsn: self.list.len() as u16,
            ..Block::default()
        };
        if let Some(last) = self.list.last() {
            block.end_ip = last.ip;
            block.class = last.class;
            if last.truncated {
                block.truncated = true;
                block.size = last.size;
                let size = usize::from(last.size).min(block.raw.len());
                if let Some(raw) = block.raw.get_mut(..size) {
                    self.graph.copy(last.ip, raw);
                }
            }
        }
    }

    fn proceed(&mut self, trace: &[u8]) -> Result<(), CodeError> {
        if self.tick.is_none() {
            match self.current {
                Err(error) if error != PtError::Eos => return Err(CodeError::Pt(error)),
                Err(eos) if !self.enabled => return Err(CodeError::Pt(eos)),
                Ok(Event { kind: EventKind::Tnt { .. } | EventKind::Tip { .. }, .. }) if !self.enabled => {
                    return Err(CodeError::Pt(PtError::NoEnable));
                }
                _ => {}
            }
        }
        if self.announce() {
            return Ok(());
        }
        if let Some(executed) = self.held {
            self.leave(trace, &executed)?;
            if executed.needs_trace {
                self.arrive()?;
                return Ok(());
            }
            if self.announce() {
                return Ok(());
            }
        }
        self.walk(trace)
    }

    /// The event at hand, if it is one that a walk goes to rather than one that branches use up.
    fn goal(&self) -> Option<Event> {
        match self.current {
            Ok(Event { kind: EventKind::Tnt { .. } | EventKind::Tip { .. }, .. }) | Err(_) => None,
            Ok(event) => Some(event),
        }
    }

    fn walk(&mut self, trace: &[u8]) -> Result<(), CodeError> {
        let goal = self.goal();
        loop {
            if self.list.len() >= MOST {
                return self.cut(self.trig_left.is_some());
            }
            let node = self.node_here()?;
            let counted = self.trig_left.is_some();
            // TRIG may count rounds of a loop; what it can count is bounded by itself.
            let most = if counted { None } else { self.passed.enter(&self.graph, node, 0, LINEAR_LIMIT) };
            let (stop, executed) = self.walk_node(node, goal.as_ref(), most);
            match stop {
                Stop::Before => {
                    self.pending = true;
                    return Ok(());
                }
                Stop::Behind => {
                    if let Some(mut executed) = executed {
                        executed.held.kinds |= goal.as_ref().and_then(behind_kind).unwrap_or(0);
                        self.ip = executed.held.ip;
                        self.held = Some(executed);
                    }
                    self.pending = true;
                    return Ok(());
                }
                Stop::Cut => return self.cut(counted),
                Stop::End => {}
            }
            if most.is_some() {
                return Err(CodeError::Pt(PtError::BadQuery));
            }
            match (self.graph.kind(node), executed) {
                (NodeKind::Conditional | NodeKind::Return | NodeKind::Tip, Some(executed)) => {
                    self.ip = executed.held.ip;
                    self.branch(trace, &executed)?;
                    return self.arrive();
                }
                // An event may belong where there is no code.
                (NodeKind::Stuck, _)
                    if goal.as_ref().is_some_and(|event| self.belongs_before(event, self.ip)) =>
                {
                    self.pending = true;
                    return Ok(());
                }
                (NodeKind::Stuck, _) => return Err(CodeError::Pt(self.graph.error(node))),
                // Where the event would have bound has been looked at all around.
                (NodeKind::Endless, _) if !counted => return Err(CodeError::Pt(PtError::BadQuery)),
                _ => {}
            }
        }
    }

    /// The block ends although nothing is to be decided. Code that does so twice at the same place goes round.
    fn cut(&mut self, counted: bool) -> Result<(), CodeError> {
        self.passed = Passed::default();
        if !counted && !self.cuts.insert(self.ip) {
            return Err(CodeError::Pt(PtError::BadQuery));
        }
        self.announce();
        Ok(())
    }

    /// From here on the walk has passed nothing yet.
    pub(super) fn forget_passed(&mut self) {
        self.passed = Passed::default();
        self.cuts.clear();
    }

    /// The learned node at the present address.
    fn node_here(&mut self) -> Result<NodeId, CodeError> {
        if self.graph.is_full() {
            self.passed.keep(&self.graph);
            self.stack.forget_nodes(&self.graph);
            self.graph.evict();
        }
        let node = self.graph.node_at(self.ip);
        self.graph.learn(node)?;
        Ok(node)
    }

    /// Lists the instructions of a node from its start on; returns why it stopped and the last one listed.
    fn walk_node(
        &mut self,
        node: NodeId,
        goal: Option<&Event>,
        most: Option<u16>,
    ) -> (Stop, Option<Executed>) {
        let count = most.unwrap_or_else(|| self.graph.count(node)).min(self.graph.count(node));
        let room = (MOST - self.list.len()).min(usize::from(u16::MAX)) as u16;
        let (isid, section) = self.graph.section(node, 0);
        if self.list.is_empty() {
            if count > 0 {
                self.place.isid = isid;
                self.place.section = section;
            }
        } else if count > 0 && (isid, section) != (self.place.isid, self.place.section) {
            return (Stop::Cut, None);
        }
        let end = count.min(room).min(self.graph.section_end(node, 0));
        let mut stop = if end < count { Stop::Cut } else { Stop::End };
        let mut executed = None;
        let mut to = end;
        for nth in 0..end {
            let ips = self.graph.ips(node);
            let (Some(&ip), Some(&meta)) =
                (ips.get(usize::from(nth)), self.graph.metas(node).get(usize::from(nth)))
            else {
                break;
            };
            if goal.is_some_and(|event| self.belongs_before(event, ip)) {
                self.ip = ip;
                to = nth;
                stop = Stop::Before;
                break;
            }
            let next = ips.get(usize::from(nth) + 1).copied();
            let target = next.unwrap_or_else(|| match self.graph.kind(node) {
                NodeKind::Conditional => self.graph.taken_ip(node),
                _ => self.graph.next_ip(node),
            });
            self.list.push(BlockInstruction {
                ip,
                size: meta.size(),
                class: meta.class(),
                truncated: meta.truncated(),
            });
            if let Some(anchor) = &mut self.anchor {
                *anchor += 1;
            }
            if let Some(left) = &mut self.trig_left {
                *left = left.saturating_sub(1);
            }
            let branches = needs_trace(meta);
            let here = Executed { held: Held { ip, meta, kinds: 0 }, target, needs_trace: branches };
            executed = Some(here);
            if goal.is_some_and(|event| self.belongs_behind(event, &here)) {
                to = nth + 1;
                stop = Stop::Behind;
                break;
            }
            if !branches {
                self.ip = target;
            }
            if meta.truncated() && !branches || self.ends_block(meta) {
                to = nth + 1;
                stop = Stop::Cut;
                break;
            }
        }
        self.graph.push_return_sites(node, 0, to, &mut self.stack);
        (stop, executed)
    }

    /// The options end a block behind this direct branch.
    fn ends_block(&self, meta: InstructionMeta) -> bool {
        meta.detail() == Detail::Direct
            && match meta.class() {
                InstructionClass::Call => self.options.end_on_call,
                InstructionClass::Jump => self.options.end_on_jump,
                _ => false,
            }
    }

    /// The event belongs before the instruction at `ip`, which is the next.
    fn belongs_before(&self, event: &Event, ip: u64) -> bool {
        match event.kind {
            EventKind::Disabled { ip: at } => !event.ip_suppressed && at == ip,
            EventKind::AsyncDisabled { at, .. } => at == ip,
            EventKind::AsyncBranch { from, .. } => from == ip,
            EventKind::Trig { ip: at, .. } => match self.trig_left {
                Some(left) => left == 0,
                None => at == ip,
            },
            _ if behind_kind(event).is_some() => false,
            _ => event.ip() == Some(ip),
        }
    }

    /// The event belongs behind an instruction.
    fn belongs_behind(&self, event: &Event, executed: &Executed) -> bool {
        let Held { ip, meta, .. } = executed.held;
        match event.kind {
            EventKind::Disabled { .. } => {
                executed.needs_trace
                    || event.ip_suppressed
                        && (meta.detail() == Detail::MovCr3
                            || self.repair.leaves_filter(meta, executed.target))
            }
            _ => binds_behind(event, ip, meta),
        }
    }
}
