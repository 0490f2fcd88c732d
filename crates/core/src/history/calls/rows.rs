//! Which rows of an answer are wanted.

use crate::history::calls::call_tree::{CallNode, CallTree};
use crate::history::calls::pairs::CallPair;

/// Which rows are wanted of what was asked; what those say does not depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Only of code in these intervals, ends included, in ascending order and apart; None is all code.
    pub within: Option<Vec<(u64, u64)>>,
    /// Only calls around which fewer calls are open.
    pub depth: Option<u64>,
    /// Only calls, functions and paths that cost so many instructions or more, callees included.
    pub min_cost: u64,
}

impl Rows {
    /// Code at an address is wanted.
    pub fn has(&self, ip: u64) -> bool {
        let Some(within) = &self.within else { return true };
        let after = within.partition_point(|&(first, _)| first <= ip);
        after.checked_sub(1).and_then(|at| within.get(at)).is_some_and(|&(_, last)| ip <= last)
    }

    /// An edge leads from or to code that is wanted.
    pub fn touches(&self, from: u64, to: u64) -> bool {
        self.has(from) || self.has(to)
    }

    /// What costs so much, callees included, is wanted.
    pub fn is_dear(&self, inclusive: u64) -> bool {
        inclusive >= self.min_cost
    }

    /// A call is wanted.
    pub fn has_call(&self, pair: &CallPair) -> bool {
        self.depth.is_none_or(|depth| u64::from(pair.depth) < depth)
            && self.is_dear(pair.inclusive)
            && self.has(pair.callee)
    }

    /// The paths that are wanted, with those that lead to them, the root always; parents before children.
    pub fn paths(&self, tree: &CallTree) -> Vec<CallNode> {
        if *self == Rows::default() {
            return tree.nodes.clone();
        }
        let count = tree.nodes.len();
        let (mut depth, mut inclusive) = (vec![0u64; count], vec![0u64; count]);
        for (at, node) in tree.nodes.iter().enumerate().skip(1) {
            let above = depth.get(node.parent as usize).copied().unwrap_or(0);
            if let Some(depth) = depth.get_mut(at) {
                *depth = above + 1;
            }
        }
        let mut kept = vec![false; count];
        for (at, node) in tree.nodes.iter().enumerate().rev() {
            let whole = inclusive.get(at).copied().unwrap_or(0) + node.own;
            let level = depth.get(at).copied().unwrap_or(0);
            let wanted = at == 0
                || (self.depth.is_none_or(|most| level <= most) && self.is_dear(whole) && self.has(node.ip));
            let keep = wanted || kept.get(at).copied().unwrap_or(false);
            if let Some(kept) = kept.get_mut(at) {
                *kept = keep;
            }
            let parent = node.parent as usize;
            if at > 0 {
                if let (Some(above), Some(kept)) = (inclusive.get_mut(parent), kept.get_mut(parent)) {
                    *above += whole;
                    *kept |= keep;
                }
            }
        }
        let mut numbers = vec![0u32; count];
        let mut chosen: Vec<CallNode> = Vec::new();
        for (at, (node, _)) in tree.nodes.iter().zip(&kept).enumerate().filter(|(_, (_, kept))| **kept) {
            let parent = numbers.get(node.parent as usize).copied().unwrap_or(0);
            if let Some(number) = numbers.get_mut(at) {
                *number = chosen.len() as u32;
            }
            chosen.push(CallNode { parent, ..*node });
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_both_ends() {
        let rows = Rows { within: Some(vec![(10, 19), (30, 30)]), ..Rows::default() };
        let has: Vec<u64> = (0..40).filter(|&ip| rows.has(ip)).collect();
        assert_eq!(has, (10..20).chain([30]).collect::<Vec<u64>>());
        assert!(rows.touches(5, 30) && rows.touches(30, 5) && !rows.touches(5, 6));
        assert!(Rows::default().has(0) && Rows::default().has(u64::MAX));
        assert!(!Rows { within: Some(Vec::new()), ..Rows::default() }.has(1));
    }

    #[test]
    fn paths_to_what_is_wanted_stay() {
        let node = |parent, ip, own| CallNode { parent, ip, own, calls: 1, ..CallNode::default() };
        // root -> a(5) -> b(100); root -> c(1) -> d(1)
        let mut tree = CallTree::default();
        tree.nodes =
            vec![node(0, 0, 1), node(0, 0xa, 5), node(0, 0xc, 1), node(1, 0xb, 100), node(2, 0xd, 1)];
        let ips =
            |rows: Rows| rows.paths(&tree).iter().map(|node| (node.parent, node.ip)).collect::<Vec<_>>();
        assert_eq!(ips(Rows::default()), [(0, 0), (0, 0xa), (0, 0xc), (1, 0xb), (2, 0xd)]);
        assert_eq!(ips(Rows { min_cost: 3, ..Rows::default() }), [(0, 0), (0, 0xa), (1, 0xb)]);
        assert_eq!(ips(Rows { depth: Some(1), ..Rows::default() }), [(0, 0), (0, 0xa), (0, 0xc)]);
        let within = Some(vec![(0xd, 0xd)]);
        assert_eq!(ips(Rows { within, ..Rows::default() }), [(0, 0), (0, 0xc), (1, 0xd)]);
    }
}
