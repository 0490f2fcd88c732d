//! The return-address stack that compressed RETs are resolved with.

use super::graph::{Graph, NodeId};

/// Where a return goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnSite {
    /// To a node of the graph.
    Node(NodeId),
    /// To an address that has to be looked up.
    Ip(u64),
}

/// Most sites held.
pub(super) const DEPTH: usize = 64;
/// Room to grow before what is left is moved down.
const ROOM: usize = 1024;
/// Most sites that are looked at or pushed at once.
pub(super) const AT_ONCE: usize = 4;

/// The nodes of return sites, 0 where only the address is known.
pub(super) type Nodes = [NodeId; ROOM];

/// Where the newest return site lies, and the oldest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Behind the newest site.
    top: usize,
    /// The highest that `top` has been since the sites were moved down.
    peak: usize,
}

impl Ends {
    /// The oldest site that is left.
    #[inline]
    fn floor(self) -> usize {
        self.peak.saturating_sub(DEPTH).max(AT_ONCE)
    }

    /// Does what a number of pops and pushes do together: takes `pops` sites if they are `popped`, the oldest of them
    /// first, and pushes the first `pushes` of `pushed`. In between there were up to `rise` sites more than now. False,
    /// and nothing happens, if those sites are not there or [`ReturnStack::make_room`] is due.
    #[inline(always)]
    #[must_use]
    pub fn exchange(
        &mut self,
        nodes: &mut Nodes,
        (popped, pops): (&[NodeId; AT_ONCE], u8),
        (pushed, pushes): (&[NodeId; AT_ONCE], u8),
        rise: u8,
    ) -> bool {
        let peak = self.peak.max(self.top + usize::from(rise));
        let left = self.top.wrapping_sub(usize::from(pops));
        if left < (Ends { peak, ..*self }).floor() || left > ROOM - 2 * AT_ONCE {
            return false;
        }
        let Some(here) = nodes.get(self.top - AT_ONCE..self.top) else { return false };
        // What is not popped is 0 in `popped` and not compared.
        let differs = here
            .iter()
            .zip(popped)
            .fold(0, |all, (&here, &popped)| all | if popped == 0 { 0 } else { here ^ popped });
        if differs != 0 {
            return false;
        }
        if let Some(room) = nodes.get_mut(left..left + AT_ONCE) {
            room.copy_from_slice(pushed);
        }
        *self = Ends { top: left + usize::from(pushes), peak };
        true
    }
}

/// Sixty-four entries; a push onto a full stack drops the oldest, as the processor does.
/// Source: Intel SDM volume 3C, "Return Compression"; depth as in libipt.
///
/// Sites are nodes of the graph where possible. They lie one behind the other in a larger array, so that a few of them
/// can be compared or written at once.
#[derive(Clone, Debug)]
pub struct ReturnStack {
    /// 0 where only the address is known.
    nodes: Box<[NodeId; ROOM]>,
    ips: Box<[u64; ROOM]>,
    ends: Ends,
    /// Most sites held at once before they were moved down last.
    highest: usize,
    /// A site was asked for where there was none.
    ran_out: bool,
}

/// The first sites that are compared may lie below the oldest.
const EMPTY: Ends = Ends { top: AT_ONCE, peak: AT_ONCE };

impl Default for ReturnStack {
    fn default() -> Self {
        ReturnStack {
            nodes: Box::new([0; ROOM]),
            ips: Box::new([0; ROOM]),
            ends: EMPTY,
            highest: 0,
            ran_out: false,
        }
    }
}

impl ReturnStack {
    #[cold]
    fn move_down(&mut self) {
        let from = self.ends.floor().min(self.ends.top);
        self.nodes.copy_within(from..self.ends.top, AT_ONCE);
        self.ips.copy_within(from..self.ends.top, AT_ONCE);
        self.highest = self.highest();
        self.ends.top = self.ends.top - from + AT_ONCE;
        self.ends.peak = self.ends.top;
    }

    /// Most sites held at once.
    fn highest(&self) -> usize {
        self.highest.max((self.ends.peak - AT_ONCE).min(DEPTH))
    }

    /// Remembers a return site.
    #[inline]
    pub fn push(&mut self, node: NodeId) {
        if self.ends.top >= ROOM - AT_ONCE {
            self.move_down();
        }
        if let Some(slot) = self.nodes.get_mut(self.ends.top) {
            *slot = node;
            self.ends.top += 1;
            self.ends.peak = self.ends.peak.max(self.ends.top);
        }
    }

    /// Remembers a return site by its address.
    pub fn push_ip(&mut self, ip: u64) {
        self.push(0);
        if let Some(slot) = self.ips.get_mut(self.ends.top.wrapping_sub(1)) {
            *slot = ip;
        }
    }

    fn at(&self, index: usize) -> Option<ReturnSite> {
        match *self.nodes.get(index)? {
            0 => self.ips.get(index).map(|&ip| ReturnSite::Ip(ip)),
            node => Some(ReturnSite::Node(node)),
        }
    }

    /// Takes the newest return site; None if there is none.
    #[inline]
    pub fn pop(&mut self) -> Option<ReturnSite> {
        if self.ends.top <= self.ends.floor() {
            self.ran_out = true;
            return None;
        }
        self.ends.top -= 1;
        self.at(self.ends.top)
    }

    /// Takes the newest return site if there is one and it is a node.
    #[inline]
    pub fn pop_node(&mut self) -> Option<NodeId> {
        let node = self.node_below(0)?;
        self.ends.top -= 1;
        Some(node)
    }

    /// The site with `nth` newer ones above it, if there is one and it is a node.
    #[inline]
    pub fn node_below(&self, nth: usize) -> Option<NodeId> {
        let index = self.ends.top.checked_sub(nth + 1).filter(|&index| index >= self.ends.floor())?;
        self.nodes.get(index).copied().filter(|&node| node != 0)
    }

    /// The nodes of the sites, and where they end; for [`Ends::exchange`].
    #[inline]
    pub(super) fn parts(&mut self) -> (&mut Nodes, &mut Ends) {
        (&mut self.nodes, &mut self.ends)
    }

    /// Makes room for [`Ends::exchange`].
    #[inline]
    pub fn make_room(&mut self) {
        if self.ends.top >= ROOM - 2 * AT_ONCE {
            self.move_down();
        }
    }

    /// A site was asked for where there was none: what was pushed before the first push matters.
    pub fn ran_out(&self) -> bool {
        self.ran_out
    }

    /// How many sites that were there before the first push are still there, at most.
    pub fn room_below(&self) -> usize {
        DEPTH.saturating_sub(self.highest())
    }

    /// Forgets all sites, those too that were there before the first push.
    pub fn clear(&mut self) {
        self.ends = EMPTY;
        self.highest = DEPTH;
    }

    /// The addresses held, oldest first.
    pub fn addresses(&self, graph: &Graph) -> Vec<u64> {
        let sites = (self.ends.floor()..self.ends.top).filter_map(|index| self.at(index));
        sites.map(|site| graph.ip_of(site)).collect()
    }

    /// A stack that holds these addresses, oldest first.
    pub fn from_addresses(addresses: &[u64]) -> Self {
        let mut stack = Self::default();
        for &ip in addresses {
            stack.push_ip(ip);
        }
        stack
    }

    /// Forgets the graph nodes, not the addresses. Due before the graph forgets them.
    pub fn forget_nodes(&mut self, graph: &Graph) {
        for index in self.ends.floor()..self.ends.top {
            if let (Some(node), Some(ip)) = (self.nodes.get_mut(index), self.ips.get_mut(index)) {
                if *node != 0 {
                    *ip = graph.ip(*node);
                    *node = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(
        stack: &mut ReturnStack,
        popped: ([NodeId; 4], u8),
        pushed: ([NodeId; 4], u8),
        rise: u8,
    ) -> bool {
        let (nodes, ends) = stack.parts();
        ends.exchange(nodes, (&popped.0, popped.1), (&pushed.0, pushed.1), rise)
    }

    fn all(stack: &mut ReturnStack) -> Vec<ReturnSite> {
        std::iter::from_fn(|| stack.pop()).collect()
    }

    #[test]
    fn the_oldest_of_65_is_dropped() {
        let mut stack = ReturnStack::default();
        for ip in 0..65 {
            stack.push_ip(ip);
        }
        assert_eq!(all(&mut stack), (1..65).rev().map(ReturnSite::Ip).collect::<Vec<_>>());
        assert_eq!(stack.pop(), None);
    }

    #[test]
    fn what_is_cleared_leaves_no_room_below() {
        let mut stack = ReturnStack::default();
        stack.push_ip(1);
        assert_eq!(stack.room_below(), 63);
        stack.clear();
        assert_eq!((stack.room_below(), stack.pop(), stack.ran_out()), (0, None, true));
        stack.clear();
        assert!(stack.ran_out(), "it did");
    }

    #[test]
    fn depth_has_nothing_to_do_with_how_much_was_pushed() {
        let mut stack = ReturnStack::default();
        for round in 0..1000u32 {
            stack.push(2 * round + 1);
            stack.push(2 * round + 2);
            assert_eq!(stack.pop(), Some(ReturnSite::Node(2 * round + 2)));
        }
        assert_eq!(all(&mut stack).len(), 63, "the last push made room for itself");
    }

    #[test]
    fn an_exchange_is_pops_and_pushes() {
        let mut stack = ReturnStack::default();
        for node in 1..=3 {
            stack.push(node);
        }
        assert!(!exchange(&mut stack, ([0, 0, 2, 2], 2), ([7, 8, 0, 0], 2), 0), "other sites lie there");
        assert!(!exchange(&mut stack, ([9, 1, 2, 3], 4), ([0; 4], 0), 0), "there are not so many");
        assert!(exchange(&mut stack, ([0, 0, 2, 3], 2), ([7, 8, 0, 0], 2), 0));
        assert_eq!(all(&mut stack), [8, 7, 1].map(ReturnSite::Node));
    }

    #[test]
    fn what_rose_in_between_pushed_the_oldest_out() {
        let mut stack = ReturnStack::default();
        for node in 1..=64 {
            stack.push(node);
        }
        assert!(exchange(&mut stack, ([0; 4], 0), ([0; 4], 0), 2), "two were pushed and popped again");
        assert_eq!(all(&mut stack).len(), 62);
    }
}
