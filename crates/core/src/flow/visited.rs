//! The addresses a walk without trace has passed.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::graph::{Graph, NodeId, NODE_LIMIT};

/// A set of addresses; neighbours share an entry.
#[derive(Default)]
struct Addresses {
    lines: HashMap<u64, u64, RandomState>,
}

impl Addresses {
    /// False if the address was there already.
    fn insert(&mut self, ip: u64) -> bool {
        let line = self.lines.entry(ip >> 6).or_default();
        let bit = 1u64 << (ip & 63);
        let new = *line & bit == 0;
        *line |= bit;
        new
    }
}

/// Guards a walk without trace: it ends where it comes back to an address it has passed, and when it
/// has become too long.
///
/// A single node never holds an address twice, and a node that meets one of its own addresses ends
/// there, so the first few nodes are only noted. A loop can go through several nodes only if one of
/// them is full or was entered in its middle; from then on each address is looked at.
#[derive(Default)]
pub(super) struct Passed {
    instructions: u64,
    recent: [(NodeId, u16); 4],
    noted: usize,
    look: bool,
    addresses: Option<Addresses>,
}

impl Passed {
    /// Notes that instructions `from..` of a node are about to be passed.
    ///
    /// Some(n): only those before number `n` may, as number `n` was passed before or the walk would
    /// become longer than `limit`.
    pub fn enter(&mut self, graph: &Graph, node: NodeId, from: u16, limit: u64) -> Option<u16> {
        let ips = graph.ips(node).get(from as usize..).unwrap_or(&[]);
        if self.look || self.noted >= self.recent.len() {
            self.keep(graph);
        }
        if let Some(addresses) = &mut self.addresses {
            if let Some(nth) = ips.iter().position(|&ip| !addresses.insert(ip)) {
                return Some(from + nth as u16);
            }
        } else if let Some(slot) = self.recent.get_mut(self.noted) {
            *slot = (node, from);
            self.noted += 1;
            self.look = graph.count(node) as usize >= NODE_LIMIT;
        }
        let room = limit.saturating_sub(self.instructions);
        self.instructions += ips.len() as u64;
        (ips.len() as u64 > room).then(|| from + room as u16)
    }

    /// Whether `more` instructions still keep the walk within `limit`.
    #[inline]
    pub fn reach(&self, more: u64, limit: u64) -> bool {
        self.instructions + more <= limit
    }

    /// The walk began in the middle of the node it has just left: look at every address from now on.
    pub fn look_closely(&mut self) {
        self.look = true;
    }

    /// Keeps the addresses of the nodes noted so far; due before the graph forgets them.
    pub fn keep(&mut self, graph: &Graph) {
        if self.addresses.is_none() {
            let mut addresses = Addresses::default();
            for &(node, from) in self.recent.iter().take(self.noted) {
                for &ip in graph.ips(node).get(from as usize..).unwrap_or(&[]) {
                    addresses.insert(ip);
                }
            }
            self.addresses = Some(addresses);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_told_apart() {
        let mut addresses = Addresses::default();
        for ip in [0, 1, 63, 64, u64::MAX] {
            assert!(addresses.insert(ip));
            assert!(!addresses.insert(ip));
        }
        assert!(addresses.insert(2));
    }
}
