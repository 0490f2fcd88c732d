//! The walk that finds what happens to stacks.

use std::ops::Range;

use super::super::nodes::PerNode;
use super::super::parallel::{Piece, Verb, Walker};
use super::super::stream::Pass;
use super::chain::{Item, Kind};
use super::code::{look, Exit, Loaded, Manner, NodeSites, Site, What};
use super::ops::{Leap, Off, Op, Ops, Pending};
use crate::event::{Event, EventKind};
use crate::flow::{Engine, Gap, Graph, NodeId, RunState, Sink, Where};

/// Collects the operations of a piece.
pub(super) struct Follow {
    base: i64,
    /// Trace offsets of the events that count.
    within: Range<u64>,
    /// Nothing behind this step counts.
    limit: u64,
    nodes: PerNode<NodeSites>,
    sites: Vec<Site>,
    generation: u64,
    ops: Ops,
    pending: Option<Pending>,
    /// Where the piece begins is not known yet, and the part before may wait for it.
    front: bool,
    /// The stack pointer was loaded since the last call or return.
    loaded: Loaded,
    /// Why nothing is traced.
    off: Option<Off>,
    /// Tracing was switched on or off in this piece.
    switched: bool,
    /// What it means if nothing is traced behind the last instruction that was executed in this piece.
    left: Option<Off>,
    /// The address of the instruction behind which nothing counts.
    ip: Option<u64>,
}

impl Follow {
    fn new(base: i64, within: Range<u64>, limit: u64) -> Follow {
        Follow {
            base,
            within,
            limit,
            nodes: PerNode::default(),
            sites: Vec::new(),
            generation: 0,
            ops: Ops::default(),
            pending: None,
            front: true,
            loaded: Loaded::Before,
            off: None,
            switched: false,
            left: None,
            ip: None,
        }
    }

    #[cold]
    fn learn(&mut self, graph: &Graph, node: NodeId) -> NodeSites {
        let found = look(graph, node, &mut self.sites);
        if let Some(known) = self.nodes.at(node) {
            *known = found;
        }
        found
    }

    /// Where execution goes on is known, or that it never will be.
    fn arrive(&mut self, to: Option<u64>) {
        if std::mem::take(&mut self.front) && self.pending.is_none() {
            self.ops.settle(Op::Arrive(to));
        }
        let (Some(pending), Some(to)) = (self.pending.take(), to) else { return };
        match pending {
            Pending::Call { back, step } => self.ops.push(Item { kind: Kind::Call, ip: back, step }),
            Pending::Leap(leap) => self.ops.leap(Leap { to, ..leap }),
            Pending::FarCall { back, step } => {
                self.ops.push(Item { kind: Kind::Interrupted, ip: back, step })
            }
            Pending::FarReturn { step } => self.ops.far_return(to, step),
        }
    }

    /// The operations since the last call, at the end of a piece.
    fn take(&mut self) -> Vec<Op> {
        if let Some(pending) = self.pending.take() {
            self.ops.settle(Op::Wait(pending));
        }
        if let Some(off) = self.off.take() {
            self.ops.settle(Op::Off(off));
        }
        let loaded = match self.loaded {
            Loaded::Before => None,
            known => Some(known == Loaded::Yes),
        };
        if loaded.is_some() || self.left.is_some() {
            self.ops.settle(Op::End { loaded, left: self.left });
        }
        (self.front, self.loaded, self.switched, self.left) = (true, Loaded::Before, false, None);
        self.ops.take()
    }
}

impl Sink for Follow {
    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        if self.generation != graph.generation() {
            self.generation = graph.generation();
            self.nodes.clear();
            self.sites.clear();
        }
        if self.front || self.pending.is_some() {
            if let Some(&ip) = graph.ips(node).get(from as usize) {
                self.arrive(Some(ip));
            }
        }
        let mut known = self.nodes.at(node).map_or(NodeSites::default(), |known| *known);
        if known.end == 0 {
            known = self.learn(graph, node);
        }
        self.left = Some(if to == graph.count(node) { known.left } else { Off::Away });
        // The step behind `from`, as the history counts.
        let step = state.step.wrapping_add_signed(self.base);
        let last_step = |nth: u16| step + u64::from(nth - from);
        if self.limit.wrapping_sub(step) < u64::from(to - from) {
            let nth = usize::from(from) + (self.limit - step) as usize;
            self.ip = graph.ips(node).get(nth).copied();
        }
        for at in known.begin..known.end - 1 {
            let Some(&Site { nth, what }) = self.sites.get(at as usize) else { break };
            if nth < from || nth >= to || last_step(nth) >= self.limit {
                continue;
            }
            match what {
                What::Call { back, indirect } => {
                    self.loaded = Loaded::No;
                    let step = last_step(nth);
                    if indirect {
                        self.pending = Some(Pending::Call { back, step });
                    } else {
                        self.ops.push(Item { kind: Kind::Call, ip: back, step });
                    }
                }
                What::Load => self.loaded = Loaded::Yes,
                What::Restore => self.loaded = Loaded::No,
                What::Twice => self.ops.twice(),
            }
        }
        if known.exit == Exit::Plain || to != graph.count(node) || to == 0 || last_step(to - 1) >= self.limit
        {
            return;
        }
        let step = last_step(to - 1);
        let nth = usize::from(to - 1);
        self.pending = match known.exit {
            Exit::Plain => None,
            Exit::Return | Exit::Jump => {
                let is_return = known.exit == Exit::Return;
                let loaded = self.loaded;
                if is_return || loaded != Loaded::No || known.manner.popped {
                    let from = graph.ips(node).get(nth).copied().unwrap_or(0);
                    self.loaded = Loaded::No;
                    let manner = Manner { loaded, ..known.manner };
                    Some(Pending::Leap(Leap { from, to: 0, step, is_return, manner }))
                } else {
                    None
                }
            }
            Exit::FarCall => Some(Pending::FarCall { back: graph.next_ip(node), step }),
            Exit::FarReturn => Some(Pending::FarReturn { step }),
        };
    }

    fn rounds(&mut self, graph: &Graph, node: NodeId, rounds: u64, state: &RunState) {
        let count = graph.count(node);
        let end = state.step.wrapping_add_signed(self.base) + rounds * u64::from(count);
        let mut left = rounds;
        while left > 0 {
            let step = state.step + (rounds - left) * u64::from(count);
            self.run(graph, node, 0, count, &RunState { step, ..*state });
            let sites = self.nodes.at(node).map_or(NodeSites::default(), |known| *known);
            // Where nothing in the node matters, the other rounds are the same.
            let idle = sites.end == sites.begin + 1 && sites.exit == Exit::Plain && end <= self.limit;
            left = if idle { 0 } else { left - 1 };
        }
    }

    fn event(&mut self, event: &Event, place: Where, _: &Engine) {
        let step = place.step.wrapping_add_signed(self.base);
        if !self.within.contains(&event.offset) || step > self.limit || event.status_update {
            return;
        }
        match event.kind {
            EventKind::Disabled { ip } => {
                let off = self.left.unwrap_or(Off::Before);
                let to = (!event.ip_suppressed).then_some(ip);
                match self.pending {
                    Some(Pending::FarCall { .. } | Pending::FarReturn { .. }) => self.pending = None,
                    Some(_) => self.arrive(to),
                    None if std::mem::take(&mut self.front) => self.ops.settle(Op::Leave(to)),
                    None => {}
                }
                self.pending = None;
                (self.off, self.switched) = (Some(off), true);
            }
            EventKind::AsyncDisabled { at, .. } => {
                self.arrive(Some(at));
                (self.off, self.switched) = (Some(Off::Interrupted(at)), true);
            }
            EventKind::AsyncBranch { from, to } => {
                self.arrive(Some(from));
                if !event.ip_suppressed && from != to {
                    self.ops.push(Item { kind: Kind::Interrupted, ip: from, step: step.saturating_sub(1) });
                }
            }
            EventKind::Enabled { ip, .. } if !event.ip_suppressed => {
                if std::mem::take(&mut self.front) {
                    self.ops.settle(Op::Arrive(None));
                }
                // Where that went was not traced.
                self.pending = None;
                let off = self.off.take();
                if off.is_some() || !self.switched {
                    self.ops.enter(ip, step, off.unwrap_or(Off::Unknown), event.tsc);
                }
                self.switched = true;
            }
            _ => {}
        }
    }

    fn gap(&mut self, gap: Gap) {
        let step = gap.step.wrapping_add_signed(self.base);
        if !self.within.contains(&gap.offset) || step > self.limit {
            return;
        }
        (self.pending, self.off, self.front) = (None, None, false);
        (self.loaded, self.left) = (Loaded::Before, None);
        self.ops.settle(Op::Lost(step));
    }
}

impl Pass for Follow {}

/// Follows the stacks of pieces; `base` is added to steps.
pub(super) struct Following {
    pub base: i64,
    /// Trace offsets of the events that count.
    pub within: Range<u64>,
    /// Nothing that the instruction of this step does counts, and nothing behind it.
    pub limit: u64,
}

impl Verb for Following {
    type Worker = Follow;
    type Part = (Vec<Op>, Option<u64>);
    type Sum = ();

    fn worker(&self) -> Follow {
        Follow::new(self.base, self.within.clone(), self.limit)
    }

    fn piece(&self, worker: &mut Follow, walker: &mut Walker<'_>, _: usize, piece: Piece) -> Self::Part {
        walker.walk(piece, worker);
        (worker.take(), worker.ip.take())
    }

    fn sum(&self, _: Follow, _: &Graph) {}
}
