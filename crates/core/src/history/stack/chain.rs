//! Frames that share what lies below them.
//!
//! A stack is a link to its innermost frame, and each frame links to the one below: pushing makes a frame, popping makes
//! nothing, and a stack that was remembered stays what it was.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A link to a frame; 0 is no frame.
pub(super) type Link = u32;

/// Most open calls of one stack: the oldest of more are forgotten.
pub(super) const MOST_OPEN: u32 = 1 << 20;

/// Most landmarks of one frame: with more, what lies below is in doubt.
pub(super) const MOST_MARKS: usize = 64;

/// Steps from a call of a thunk to the return that it jumps with: the call in the thunk and what overwrites its return address
/// lie between.
const THUNK_STEPS: u64 = 3;

/// What lies on a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// A call.
    Call,
    /// A call of a function that returns twice.
    CallTwice,
    /// A jump to the entry of another function, which returns to where the frame below does; with the address of the jump.
    /// It lies on that frame, and looking for frames passes it by.
    Tail,
    /// What was interrupted.
    Interrupted,
    /// No frame: a function that returns twice came back to this address, and may do so again.
    Landmark,
    /// An edge: frames may be missing here, those of calls that were not traced. What lies below is right.
    Hidden,
    /// An edge: what lies below may not be what is there. Nothing below it: nothing is known of that.
    Doubt,
    /// The system call that ends a handler, where the kernel is traced: it does not come back.
    HandlerEnd,
}

/// Something on a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    pub kind: Kind,
    /// Where execution goes on in the frame below; of an edge, its number.
    pub ip: u64,
    /// The step of the call, or the last one before the interrupt.
    pub step: u64,
    /// What was called is in no function that is known, as stubs are that jump to where the call was meant to go.
    pub is_stub: bool,
    /// Steps from its own to the first one of what was called: more than one where stubs or thunks lie between.
    pub way: u32,
    /// Every stack that this may be has such a frame here, made by calls of its own.
    pub is_common: bool,
}

impl Item {
    /// An edge with a number: it is no frame.
    pub fn edge(kind: Kind, number: u64) -> Item {
        Item::new(kind, number, 0)
    }

    pub fn new(kind: Kind, ip: u64, step: u64) -> Item {
        Item { kind, ip, step, is_stub: false, way: 1, is_common: false }
    }

    /// The same call, which went to another function by way of a stub that jumped there at a step.
    pub fn by_stub(self, step: u64) -> Item {
        let way = step.wrapping_sub(self.step).wrapping_add(1);
        Item { is_stub: false, way: u32::try_from(way).unwrap_or(u32::MAX), ..self }
    }

    /// A thunk was all that what was called executed before its branch at a step.
    pub fn is_thunk_before(&self, step: u64) -> bool {
        (self.is_call() || self.kind == Kind::Tail) && self.step.wrapping_add(THUNK_STEPS) == step
    }

    /// Something is kept of it until it ends: it is a frame, or a jump to another function.
    pub fn is_open(&self) -> bool {
        self.is_frame() || self.kind == Kind::Tail
    }

    /// Looking for the innermost frame passes it by.
    pub fn is_passed_by(&self) -> bool {
        matches!(self.kind, Kind::Landmark | Kind::Tail)
    }

    /// It is no frame, and the frames above it end in ignorance.
    pub fn is_edge(&self) -> bool {
        matches!(self.kind, Kind::Hidden | Kind::Doubt)
    }

    /// It is a frame.
    pub fn is_frame(&self) -> bool {
        matches!(self.kind, Kind::Call | Kind::CallTwice | Kind::Interrupted | Kind::HandlerEnd)
    }

    /// It is a call.
    pub fn is_call(&self) -> bool {
        matches!(self.kind, Kind::Call | Kind::CallTwice)
    }
}

#[derive(Clone, Copy, Debug)]
struct Node<N> {
    below: Link,
    /// Items from here to the bottom.
    depth: u32,
    /// The nearest edge and landmark from here on, and the item at the bottom.
    edge: Link,
    landmark: Link,
    bottom: Link,
    item: Item,
    /// That of the innermost frame from here on.
    note: N,
}

/// All items of some stacks, each with a note. Those of `base` are shared and never change.
#[derive(Clone, Debug, Default)]
pub(super) struct Chains<N> {
    base: Arc<Vec<Node<N>>>,
    own: Vec<Node<N>>,
}

impl<N: Copy + Default> Chains<N> {
    /// Makes all items shared, so that a copy costs nothing.
    pub fn share(&mut self) {
        if !self.own.is_empty() {
            Arc::make_mut(&mut self.base).append(&mut self.own);
        }
    }

    fn node(&self, link: Link) -> Option<&Node<N>> {
        let at = (link as usize).checked_sub(1)?;
        self.base.get(at).or_else(|| self.own.get(at - self.base.len()))
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.base.len() + self.own.len()
    }

    /// The item that a link leads to, and the link to the one below.
    pub fn get(&self, link: Link) -> Option<(Item, Link)> {
        self.node(link).map(|node| (node.item, node.below))
    }

    /// The note of the innermost frame from a link on; None if there is no item.
    pub fn note(&self, link: Link) -> Option<N> {
        self.node(link).map(|node| node.note)
    }

    /// How many items lie from here to the bottom.
    pub fn depth(&self, link: Link) -> u32 {
        self.node(link).map_or(0, |node| node.depth)
    }

    /// The nearest edge from here to the bottom.
    pub fn edge(&self, link: Link) -> Link {
        self.node(link).map_or(0, |node| node.edge)
    }

    /// The nearest landmark from here to the bottom.
    pub fn landmark(&self, link: Link) -> Link {
        self.node(link).map_or(0, |node| node.landmark)
    }

    /// The item at the bottom.
    pub fn bottom(&self, link: Link) -> Link {
        self.node(link).map_or(0, |node| node.bottom)
    }

    /// Puts an item on top.
    pub fn push(&mut self, below: Link, item: Item, note: N) -> Link {
        let depth = self.depth(below) + 1;
        let link = self.len() as Link + 1;
        let edge = if item.is_edge() { link } else { self.edge(below) };
        let landmark = if item.kind == Kind::Landmark { link } else { self.landmark(below) };
        let bottom = if below == 0 { link } else { self.bottom(below) };
        self.own.push(Node { below, depth, edge, landmark, bottom, item, note });
        link
    }

    /// Puts on top what another link leads to, with its note.
    pub fn push_again(&mut self, below: Link, link: Link) -> Link {
        match self.node(link).copied() {
            Some(Node { item, note, .. }) => self.push(below, item, note),
            None => below,
        }
    }

    /// The same where other stacks have that item, too, perhaps by calls of their own.
    pub fn push_common(&mut self, below: Link, link: Link, is_common: bool) -> Link {
        match self.node(link).copied() {
            Some(Node { item, note, .. }) => {
                let is_common = item.is_common || is_common;
                self.push(below, Item { is_common, ..item }, note)
            }
            None => below,
        }
    }

    /// Forgets the item last made, if nothing before number `kept` is concerned and there can be no link to it.
    pub fn drop_last(&mut self, link: Link, kept: usize) {
        if link as usize == self.len() && link as usize > kept {
            self.own.pop();
        }
    }

    /// The items from the top down, with their links.
    pub fn walk(&self, top: Link) -> impl Iterator<Item = (Link, Item)> + '_ {
        let mut at = top;
        std::iter::from_fn(move || {
            let (item, below) = self.get(at)?;
            let link = at;
            at = below;
            Some((link, item))
        })
    }

    /// A copy of the upper half of a stack, on top of an edge, and what is left out of it.
    pub fn halve(&mut self, top: Link, edge: Item, bottom: N) -> (Link, Link) {
        let keep = self.depth(top) as usize / 2;
        let upper: Vec<Link> = self.walk(top).take(keep).map(|(link, _)| link).collect();
        let left_out = upper.last().and_then(|&last| self.get(last)).map_or(top, |(_, below)| below);
        let below = self.push(0, edge, bottom);
        let half = upper.into_iter().rev().fold(below, |below, link| self.push_again(below, link));
        (half, left_out)
    }

    /// A copy of what the links lead to, with no notes, and changes them accordingly.
    pub fn copied<M: Copy + Default>(&self, links: Vec<&mut Link>) -> Chains<M> {
        let mut copy = Chains::default();
        let mut number: HashMap<Link, Link, foldhash::fast::RandomState> = HashMap::default();
        for link in links {
            let new: Vec<(Link, Item)> =
                self.walk(*link).take_while(|(link, _)| !number.contains_key(link)).collect();
            let rest = match new.last() {
                Some(&(last, _)) => self.get(last).map_or(0, |(_, below)| below),
                None => *link,
            };
            let mut at = number.get(&rest).copied().unwrap_or(0);
            for &(link, item) in new.iter().rev() {
                at = copy.push(at, item, M::default());
                number.insert(link, at);
            }
            *link = at;
        }
        copy
    }

    /// Keeps only what the links lead to, and changes them accordingly.
    pub fn compact(&mut self, mut links: Vec<&mut Link>) {
        self.share();
        let mut number = vec![0 as Link; self.base.len() + 1];
        for link in &links {
            let mut at = **link;
            while let (Some(mark @ 0), Some(node)) = (number.get_mut(at as usize), self.node(at)) {
                *mark = 1;
                at = node.below;
            }
        }
        let mut kept = Vec::new();
        for (node, at) in self.base.iter().zip(1..) {
            if let Some(mark @ 1..) = number.get_mut(at) {
                *mark = kept.len() as Link + 1;
                // What lies below was made before.
                let now = |link: Link| number.get(link as usize).copied().unwrap_or(0);
                let (below, edge) = (now(node.below), now(node.edge));
                let (landmark, bottom) = (now(node.landmark), now(node.bottom));
                kept.push(Node { below, edge, landmark, bottom, ..*node });
            }
        }
        for link in &mut links {
            **link = number.get(**link as usize).copied().unwrap_or(0);
        }
        self.base = Arc::new(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(ip: u64) -> Item {
        Item::new(Kind::Call, ip, ip)
    }

    fn ips(chains: &Chains<()>, top: Link) -> Vec<u64> {
        chains.walk(top).map(|(_, item)| item.ip).collect()
    }

    #[test]
    fn what_is_remembered_stays() {
        let mut chains = Chains::<()>::default();
        let one = chains.push(0, call(1), ());
        let two = chains.push(one, call(2), ());
        let other = chains.push(one, call(3), ());
        chains.share();
        let mut fork = chains.clone();
        let three = fork.push(two, call(4), ());
        assert_eq!(ips(&chains, other), [3, 1]);
        assert_eq!(ips(&fork, three), [4, 2, 1]);
        assert_eq!((fork.depth(three), chains.len(), fork.len()), (3, 3, 4));
    }

    #[test]
    fn compacting_keeps_what_is_wanted() {
        let mut chains = Chains::<()>::default();
        let one = chains.push(0, call(1), ());
        chains.push(one, call(2), ());
        let mut three = chains.push(one, call(3), ());
        chains.push(three, call(4), ());
        let mut again = three;
        let mut none = 0;
        chains.compact(vec![&mut three, &mut none, &mut again]);
        assert_eq!((chains.len(), three, again, none), (2, 2, 2, 0));
        assert_eq!(ips(&chains, three), [3, 1]);
    }

    #[test]
    fn a_copy_holds_what_is_wanted() {
        let mut chains = Chains::<()>::default();
        let one = chains.push(0, call(1), ());
        chains.push(one, call(2), ());
        let mut three = chains.push(one, call(3), ());
        let (mut top, mut again, mut none) = (chains.push(three, call(4), ()), one, 0);
        let copy: Chains<u8> = chains.copied(vec![&mut three, &mut top, &mut again, &mut none]);
        assert_eq!((copy.len(), none), (3, 0));
        let ips = |top| copy.walk(top).map(|(_, item)| item.ip).collect::<Vec<_>>();
        assert_eq!((ips(top), ips(three), ips(again)), (vec![4, 3, 1], vec![3, 1], vec![1]));
    }

    #[test]
    fn half_a_stack_lies_on_an_edge() {
        let mut chains = Chains::default();
        let top = (1..=10).fold(0, |below, ip| chains.push(below, call(ip), ()));
        let (half, rest) = chains.halve(top, Item::edge(Kind::Doubt, 99), ());
        assert_eq!(ips(&chains, rest), [5, 4, 3, 2, 1]);
        assert_eq!(ips(&chains, half), [10, 9, 8, 7, 6, 99]);
    }
}
