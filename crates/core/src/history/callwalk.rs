//! The walk that finds calls and returns.

use super::callstack::{Call, Calls, Instant, Ledger, Next, Pending};
use super::nodes::PerNode;
use super::parallel::{Ask, Interrupted, Piece, Verb, Walker};
use super::stream::{Pass, Stream};
use crate::event::{Event, EventKind};
use crate::flow::{Engine, Gap, Graph, NodeId, NodeKind, RunState, Sink, Where};
use crate::instruction::{Detail, InstructionClass};

/// Bytes of trace in a piece. Whatever the number of threads: a path or call too many must be the same one.
const PIECE: u64 = 1 << 20;

/// A call in a node.
#[derive(Clone, Copy)]
struct Site {
    nth: u16,
    caller: u64,
    return_ip: u64,
    /// None if the trace tells.
    callee: Option<u64>,
}

/// The sites of a node among all; `end` is more than `begin` by one once they are known.
#[derive(Clone, Copy, Default)]
struct Sites {
    begin: u32,
    end: u32,
}

struct Follow<L: Ledger> {
    base: i64,
    nodes: PerNode<Sites>,
    sites: Vec<Site>,
    generation: u64,
    calls: Calls<L>,
    /// Before the first step that is not accounted for.
    reached: Instant,
}

impl<L: Ledger> Follow<L> {
    /// Looks for calls in a node, once.
    fn look(&mut self, graph: &Graph, node: NodeId) -> Sites {
        let begin = self.sites.len() as u32;
        let ips = graph.ips(node);
        for (nth, (&caller, meta)) in ips.iter().zip(graph.metas(node)).enumerate() {
            if meta.class() != InstructionClass::Call {
                continue;
            }
            let return_ip = caller.wrapping_add(u64::from(meta.size()));
            let direct = meta.detail() == Detail::Direct;
            let callee = direct.then(|| ips.get(nth + 1).copied().unwrap_or(graph.next_ip(node)));
            // A call of what comes next asks for its address.
            if callee != Some(return_ip) {
                self.sites.push(Site { nth: nth as u16, caller, return_ip, callee });
            }
        }
        let sites = Sites { begin, end: self.sites.len() as u32 + 1 };
        if let Some(known) = self.nodes.at(node) {
            *known = sites;
        }
        sites
    }
}

impl<L: Ledger> Sink for Follow<L> {
    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        let step = state.step.wrapping_add_signed(self.base);
        let tsc = state.has_tsc.then_some(state.tsc);
        if self.calls.is_waiting() {
            if let Some(&ip) = graph.ips(node).get(from as usize) {
                self.calls.arrive(Next::Ip(ip));
            }
        }
        if self.reached.tsc.is_some() != tsc.is_some() {
            self.calls.reach(self.reached);
            self.calls.reach(Instant { step, tsc });
        }
        if graph.pushes_return_sites(node) {
            if self.generation != graph.generation() {
                self.generation = graph.generation();
                self.nodes.clear();
                self.sites.clear();
            }
            let mut found = self.nodes.at(node).map_or(Sites::default(), |sites| *sites);
            if found.end == 0 {
                found = self.look(graph, node);
            }
            for at in found.begin..found.end - 1 {
                let Some(&Site { nth, caller, return_ip, callee }) = self.sites.get(at as usize) else {
                    break;
                };
                if nth >= from && nth < to {
                    let at = Instant { step: step + u64::from(nth - from) + 1, tsc };
                    let call = Call { caller, callee: callee.unwrap_or(0), return_ip, at };
                    match callee {
                        Some(_) => self.calls.call(&call),
                        None => self.calls.wait(Pending::Call(call)),
                    }
                }
            }
        }
        self.reached = Instant { step: step + u64::from(to - from), tsc };
        if graph.kind(node) == NodeKind::Return && to == graph.count(node) {
            self.calls.wait(Pending::Return(self.reached));
        }
    }

    fn rounds(&mut self, graph: &Graph, node: NodeId, rounds: u64, state: &RunState) {
        let count = graph.count(node);
        if !graph.pushes_return_sites(node) && graph.kind(node) == NodeKind::Endless && rounds > 1 {
            // After the first round nothing is new but how many there were.
            self.run(graph, node, 0, count, state);
            self.reached.step += (rounds - 1) * u64::from(count);
            return;
        }
        for round in 0..rounds {
            let step = state.step + round * u64::from(count);
            self.run(graph, node, 0, count, &RunState { step, ..*state });
        }
    }

    fn event(&mut self, event: &Event, place: Where, _: &Engine) {
        if !self.calls.is_waiting() {
            return;
        }
        self.calls.arrive(match event.kind {
            EventKind::Disabled { ip } if !event.ip_suppressed && !event.status_update => Next::Away(ip),
            EventKind::Disabled { .. } => Next::Lost,
            _ => place.ip.filter(|_| !place.after).map_or(Next::Unknown, Next::Ip),
        });
    }

    fn gap(&mut self, _: Gap) {
        self.calls.arrive(Next::Lost);
    }
}

impl<L: Ledger> Pass for Follow<L> {}

/// Follows calls; `base` is added to steps.
struct Following<L> {
    base: i64,
    ledger: std::marker::PhantomData<fn() -> L>,
}

impl<L: Ledger<Note: Send> + Send> Verb for Following<L> {
    type Worker = Follow<L>;
    type Part = Calls<L>;
    type Sum = ();

    fn worker(&self) -> Follow<L> {
        Follow {
            base: self.base,
            nodes: PerNode::default(),
            sites: Vec::new(),
            generation: 0,
            calls: Calls::later(),
            reached: Instant::default(),
        }
    }

    fn piece(&self, worker: &mut Follow<L>, walker: &mut Walker<'_>, _: usize, piece: Piece) -> Calls<L> {
        worker.reached = Instant { step: piece.start.wrapping_add_signed(self.base), tsc: None };
        worker.calls = Calls::later();
        worker.calls.reach(worker.reached);
        walker.walk(piece, worker);
        worker.calls.reach(worker.reached);
        std::mem::replace(&mut worker.calls, Calls::later())
    }

    fn sum(&self, _: Follow<L>, _: &Graph) {}
}

impl Stream {
    /// Adds the calls of steps `start..stop`, which follow those that `calls` has; `base` is added to steps.
    pub fn calls<L: Ledger<Note: Send> + Send>(
        &self,
        start: u64,
        stop: u64,
        base: i64,
        calls: &mut Calls<L>,
        ask: Ask<'_>,
    ) -> Result<(), Interrupted> {
        let pieces = self.cut_to(start, stop, PIECE);
        let following = Following { base, ledger: std::marker::PhantomData };
        self.in_pieces(&following, &pieces, ask, |part| {
            calls.merge(part);
            true
        })?;
        Ok(())
    }
}
