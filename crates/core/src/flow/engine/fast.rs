//! The walk over what is nearly all of a trace: TNT and TIP.

use super::{Engine, FlowError};
use crate::event::FlowItem;
use crate::flow::graph::{Graph, NodeId, NodeKind};
use crate::flow::return_stack::ReturnStack;
use crate::flow::sink::{Runs, Sink};
use crate::flow::window::{Bytes, Sites, Walk, Window};

impl Engine {
    /// Decodes until something rarer than TNT and TIP comes up, at most `budget` packets.
    pub(super) fn run_fast<S: Sink>(
        &mut self,
        trace: &[u8],
        sink: &mut S,
        budget: u32,
    ) -> Result<bool, FlowError> {
        let mut left = budget;
        // Packets of a window that is not remembered: they are walked one by one, so that windows keep their places.
        let mut owed = 0;
        while left > 0 {
            if self.bits_left > 0 {
                self.decided = true;
                self.walk_bits(trace, sink)?;
            }
            if S::RUNS != Runs::All && owed == 0 {
                let (used, missed) = self.walk_windows(trace, sink, left);
                self.decided |= used > 0;
                left = left.saturating_sub(used);
                owed = missed;
                if missed == 0 && used > 0 && self.events.pass_time(trace) {
                    continue;
                }
            }
            left = left.saturating_sub(1);
            owed = owed.saturating_sub(1);
            match self.events.next_flow(trace) {
                FlowItem::Tnt { bits, size } => {
                    self.decided = true;
                    self.bits = bits;
                    self.bits_left = size;
                    // Execution goes on: no later event binds to the last instruction.
                    self.held = None;
                    if self.events.tsc() >= self.next_moment {
                        self.catch_up(sink, self.events.offset());
                        self.change_thread(sink, self.events.offset(), None);
                    }
                }
                FlowItem::Tip { ip } => {
                    let mut before = None;
                    if self.events.tsc() >= self.next_moment {
                        before = self.node_ip();
                        self.catch_up(sink, self.events.offset());
                    }
                    self.decided = true;
                    if let Err(error) = self.take_tip(sink, ip) {
                        self.pending = Some(self.tip_event(ip));
                        return Err(error);
                    }
                    if self.events.tsc() >= self.next_moment {
                        self.change_thread(sink, self.events.offset(), before);
                    }
                }
                FlowItem::Other => return Ok(true),
            }
        }
        if self.bits_left > 0 {
            self.walk_bits(trace, sink)?;
        }
        Ok(false)
    }

    /// Uses up the bits at hand.
    #[inline]
    fn walk_bits<S: Sink>(&mut self, trace: &[u8], sink: &mut S) -> Result<(), FlowError> {
        while self.bits_left > 0 {
            if self.emitted == 0 {
                self.walk_known(sink);
            }
            if self.bits_left > 0 {
                self.decide(trace, sink)?;
            }
        }
        Ok(())
    }

    /// Uses up bits while it is known where they lead; begins at the start of a node.
    #[inline]
    fn walk_known<S: Sink>(&mut self, sink: &mut S) {
        let mut state = self.state();
        let Engine { graph, stack, .. } = self;
        let (mut at, mut left) = (self.node, self.bits_left);
        while left > 0 {
            let Some(node) = graph.nodes().get(at as usize) else { break };
            let bit = self.bits >> (left - 1) & 1 != 0;
            let mut next = if bit { node.taken } else { node.next };
            match node.kind {
                NodeKind::Conditional if next != 0 => {}
                NodeKind::Return if bit && node.push_count == 0 => match stack.pop_node() {
                    Some(site) => next = site,
                    None => break,
                },
                _ => break,
            }
            if S::RUNS != Runs::Any {
                sink.run(graph, at, 0, node.count, &state);
            }
            state.step += u64::from(node.count);
            if node.push_count > 0 {
                graph.push_return_sites(at, 0, node.count, stack);
            }
            left -= 1;
            at = next;
        }
        (self.node, self.bits_left, self.step) = (at, left, state.step);
    }

    /// Walks by remembered windows as far as they go, at most `most` bytes of trace and some; returns how many bytes that
    /// were, and how many packets are in the window that is not remembered.
    #[inline]
    fn walk_windows<S: Sink>(&mut self, trace: &[u8], sink: &mut S, most: u32) -> (u32, u32) {
        if self.bits_left > 0 || self.emitted != 0 || self.node == 0 || self.events.tsc() >= self.next_moment
        {
            return (0, 0);
        }
        let Some(cursor) = self.events.cursor() else { return (0, 0) };
        let from = cursor.pos;
        let until = from.saturating_add(most as usize);
        let mut walk = Walk { cursor, node: self.node, step: self.step, hits: 0 };
        let missed = loop {
            let Some(bytes) = self.graph.windows().walk(trace, until, &mut walk, &mut self.stack) else {
                break 0;
            };
            self.stack.make_room();
            let seen = self.graph.windows_mut().seen_enough(walk.node, bytes);
            let Engine { graph, stack, .. } = self;
            let last = walk.cursor.last_ip;
            let window = seen.then(|| record(graph, stack, sink, (walk.node, bytes, last)));
            match window.flatten() {
                Some(window) => self.graph.windows_mut().remember(window),
                None => break bytes.packets(),
            }
        };
        self.graph.windows_mut().note(walk.hits, u32::from(missed > 0));
        let used = walk.cursor.pos - from;
        if used > 0 {
            self.events.go_on(walk.cursor);
            self.node = walk.node;
            self.step = walk.step;
            self.held = None;
        }
        (used as u32, missed)
    }
}

/// What the packets do from a node on, if it is something that a window can hold and no run on the way is wanted.
/// Nothing changes but links. `last` is the last address.
#[cold]
fn record<S: Sink>(
    graph: &mut Graph,
    stack: &ReturnStack,
    sink: &mut S,
    (start, bytes, last): (NodeId, Bytes, u64),
) -> Option<Window> {
    let mut sites = Sites::default();
    let mut at = start;
    let mut steps = 0u32;
    for nth in 0..bytes.tnts {
        let tnt = crate::packet::short_tnt((bytes.word >> (8 * nth)) as u8);
        for bit in (0..tnt.size).rev() {
            let taken = tnt.bits >> bit & 1 != 0;
            let kind = settle(graph, sink, &mut sites, &mut at, &mut steps)?;
            at = match kind {
                NodeKind::Conditional => graph.follow(at, taken),
                NodeKind::Return if taken => match sites.pop() {
                    Some(site) => site,
                    None => {
                        let site = stack.node_below(sites.below())?;
                        sites.pop_below(site).then_some(site)?
                    }
                },
                _ => return None,
            };
        }
    }
    if bytes.has_tip() {
        match settle(graph, sink, &mut sites, &mut at, &mut steps)? {
            NodeKind::Return | NodeKind::Tip => at = graph.tip_target(at, bytes.target(last).0),
            _ => return None,
        }
    }
    Some(sites.into_window(start, bytes, at, steps, last))
}

/// Walks to the next decision; notes instructions and return sites up to and including it.
fn settle<S: Sink>(
    graph: &mut Graph,
    sink: &mut S,
    sites: &mut Sites,
    at: &mut NodeId,
    steps: &mut u32,
) -> Option<NodeKind> {
    for _ in 0..4 {
        let kind = graph.kind(*at);
        match kind {
            NodeKind::Stub | NodeKind::Stuck | NodeKind::Endless => return None,
            _ if S::RUNS == Runs::Wanted && sink.wants(graph, *at) => return None,
            _ => {}
        }
        *steps += u32::from(graph.count(*at));
        if !graph.return_sites(*at).all(|site| sites.push(site)) {
            return None;
        }
        if kind != NodeKind::Split {
            return Some(kind);
        }
        *at = graph.follow(*at, false);
    }
    None
}
