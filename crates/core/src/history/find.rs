//! The find pass: executions of an address or a range.

use super::stream::{clip, slice, Pass, Stream};
use crate::flow::{Graph, NodeId, RunState, Sink};

/// What counts as a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The instruction that starts at this address.
    Start(u64),
    /// Any instruction of which a byte lies in this closed interval.
    Range(u64, u64),
}

impl Wanted {
    fn hit(self, ip: u64, size: u8) -> bool {
        match self {
            Wanted::Start(address) => ip == address,
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

struct Find<'a> {
    wanted: Wanted,
    start: u64,
    stop: u64,
    base: i64,
    reached: u64,
    limit: usize,
    /// Per node: 0 not looked at, 1 no hit inside, 2 some hit inside.
    verdicts: Vec<u8>,
    generation: u64,
    steps: &'a mut Vec<i64>,
}

impl Find<'_> {
    fn verdict(&mut self, graph: &Graph, node: NodeId) -> u8 {
        if self.generation != graph.generation() {
            self.generation = graph.generation();
            self.verdicts.clear();
        }
        let at = node as usize;
        if at >= self.verdicts.len() {
            self.verdicts.resize(at + 1, 0);
        }
        let Some(verdict) = self.verdicts.get_mut(at) else { return 2 };
        if *verdict == 0 {
            let mut all = graph.ips(node).iter().zip(graph.metas(node));
            *verdict = 1 + u8::from(all.any(|(&ip, meta)| self.wanted.hit(ip, meta.size())));
        }
        *verdict
    }
}

impl Sink for Find<'_> {
    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        self.reached = state.step + u64::from(to - from);
        if self.verdict(graph, node) == 1 {
            return;
        }
        let Some((from, to, step)) = clip(state, from, to, self.start, self.stop) else { return };
        let ips = slice(graph.ips(node), from, to);
        let metas = slice(graph.metas(node), from, to);
        for (nth, (&ip, meta)) in ips.iter().zip(metas).enumerate() {
            if self.wanted.hit(ip, meta.size()) && self.steps.len() < self.limit {
                self.steps.push((step + nth as u64) as i64 + self.base);
            }
        }
    }
}

impl Pass for Find<'_> {
    fn done(&self) -> bool {
        self.reached >= self.stop || self.steps.len() >= self.limit
    }
}

impl Stream {
    /// Appends the steps among `start..stop` that hit, in order, until `steps` holds `limit` of them;
    /// `base` is added to each.
    pub fn find(&self, wanted: Wanted, start: u64, stop: u64, base: i64, limit: usize, steps: &mut Vec<i64>) {
        if start < stop && steps.len() < limit {
            let generation = 0;
            let verdicts = Vec::new();
            self.walk(
                start,
                &mut Find { wanted, start, stop, base, reached: 0, limit, verdicts, generation, steps },
            );
        }
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
    fn an_instruction_may_wrap_around() {
        assert!(Wanted::Range(0, 0).hit(u64::MAX, 2));
        assert!(Wanted::Range(u64::MAX, u64::MAX).hit(u64::MAX, 2));
        assert!(!Wanted::Range(5, 6).hit(u64::MAX, 2));
    }
}
