//! The find pass: executions of an address, of some addresses, or of a range.

use crate::flow::{Graph, NodeId, RunState, Sink};
use crate::history::decode::decoded_trace::{DecodedTrace, Pass};
use crate::history::passes::nodes::PerNode;
use crate::history::passes::parallel::{Ask, Interrupted, Piece, Verb, Walker};

/// What counts as a hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The instruction that starts at this address.
    Start(u64),
    /// Instructions that start at one of these addresses, which ascend.
    Starts(Vec<u64>),
    /// Any instruction of which a byte lies in this closed interval.
    Range(u64, u64),
}

impl Wanted {
    fn hit(&self, ip: u64, size: u8) -> bool {
        match *self {
            Wanted::Start(address) => ip == address,
            Wanted::Starts(ref addresses) => addresses.binary_search(&ip).is_ok(),
            Wanted::Range(first, last) => {
                let end = ip.wrapping_add(u64::from(size).saturating_sub(1));
                // An instruction may wrap around the end of the address space.
                if end >= ip {
                    ip <= last && end >= first
                } else {
                    ip <= last || first <= end
                }
            }
        }
    }
}

/// Where the hits of a node stand among all; `end` is more than `begin` by one once that is known.
#[derive(Clone, Copy, Default)]
struct Hits {
    begin: u32,
    end: u32,
}

struct Find<'a> {
    wanted: &'a Wanted,
    limit: usize,
    base: i64,
    nodes: PerNode<Hits>,
    /// Numbers of instructions in their nodes.
    hits: Vec<u16>,
    generation: u64,
    steps: Vec<i64>,
}

impl Find<'_> {
    /// Looks for hits in a node, once.
    fn look(&mut self, graph: &Graph, node: NodeId) -> Hits {
        let begin = self.hits.len() as u32;
        for (nth, (&ip, meta)) in graph.ips(node).iter().zip(graph.metas(node)).enumerate() {
            if self.wanted.hit(ip, meta.size()) {
                self.hits.push(nth as u16);
            }
        }
        let hits = Hits { begin, end: self.hits.len() as u32 + 1 };
        if let Some(known) = self.nodes.at(node) {
            *known = hits;
        }
        hits
    }
}

impl Sink for Find<'_> {
    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        if self.generation != graph.generation() {
            self.generation = graph.generation();
            self.nodes.clear();
            self.hits.clear();
        }
        let Some(&mut mut hits) = self.nodes.at(node) else { return };
        if hits.end == 0 {
            hits = self.look(graph, node);
        }
        if hits.end == hits.begin + 1 {
            return;
        }
        let inside = self.hits.get(hits.begin as usize..hits.end as usize - 1).unwrap_or(&[]);
        for &nth in inside {
            if nth >= from && nth < to && self.steps.len() < self.limit {
                self.steps.push((state.step + u64::from(nth - from)) as i64 + self.base);
            }
        }
    }
}

impl Pass for Find<'_> {
    fn done(&self) -> bool {
        self.steps.len() >= self.limit
    }
}

/// Steps that hit, `base` added, and at most `limit` a piece.
struct Finding<'a> {
    wanted: &'a Wanted,
    base: i64,
    limit: usize,
}

impl<'a> Verb for Finding<'a> {
    type Worker = Find<'a>;
    type Part = Vec<i64>;
    type Sum = ();

    fn worker(&self) -> Find<'a> {
        Find {
            wanted: self.wanted,
            limit: self.limit,
            base: self.base,
            nodes: PerNode::default(),
            hits: Vec::new(),
            generation: 0,
            steps: Vec::new(),
        }
    }

    fn piece(&self, worker: &mut Find<'a>, walker: &mut Walker<'_>, _: usize, piece: Piece) -> Vec<i64> {
        walker.walk(piece, worker);
        std::mem::take(&mut worker.steps)
    }

    fn sum(&self, _: Find<'a>, _: &Graph) {}
}

impl DecodedTrace {
    /// Appends the steps among `start..stop` that hit, in order, until `steps` holds `limit` of them;
    /// `base` is added to each.
    pub fn find(
        &self,
        wanted: &Wanted,
        (start, stop): (u64, u64),
        base: i64,
        limit: usize,
        steps: &mut Vec<i64>,
        ask: Ask<'_>,
    ) -> Result<(), Interrupted> {
        let limit = limit.saturating_sub(steps.len());
        if limit == 0 {
            return Ok(());
        }
        let first_only = limit < 1 << 16;
        let pieces = self.cut(start, stop, first_only);
        let most = steps.len().saturating_add(limit);
        self.in_pieces(&Finding { wanted, base, limit }, &pieces, ask, |part| {
            steps.extend(part.into_iter().take(most - steps.len()));
            steps.len() < most
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_byte_of_the_instruction_counts() {
        let wanted = Wanted::Range(0x1004, 0x1004);
        assert!(wanted.hit(0x1000, 5) && wanted.hit(0x1004, 1));
        assert!(!wanted.hit(0x1000, 4) && !wanted.hit(0x1005, 2));
        assert!(!Wanted::Start(0x1004).hit(0x1000, 5));
    }

    #[test]
    fn some_addresses_are_starts() {
        let wanted = Wanted::Starts(vec![0x1000, 0x1004]);
        assert!(wanted.hit(0x1000, 5) && wanted.hit(0x1004, 1));
        assert!(!wanted.hit(0x1001, 5));
    }

    #[test]
    fn an_instruction_may_wrap_around() {
        assert!(Wanted::Range(0, 0).hit(u64::MAX, 2));
        assert!(Wanted::Range(u64::MAX, u64::MAX).hit(u64::MAX, 2));
        assert!(!Wanted::Range(5, 6).hit(u64::MAX, 2));
    }
}
