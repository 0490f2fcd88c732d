//! The hash pass: what independent recorders compare.

use super::stream::{slice, Pass, Stream};
use crate::flow::{Graph, NodeId, RunState, Sink};

/// Hashes over the addresses of all instructions, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// `h = (rotl(h, 5) ^ ip) * 0x9E3779B97F4A7C15`, from 0.
    pub rotating: u64,
    /// FNV-1a over the little-endian bytes, from 1469598103934665603.
    pub fnv: u64,
}

impl Default for Hashes {
    fn default() -> Self {
        Hashes { rotating: 0, fnv: 1469598103934665603 }
    }
}

struct Hash {
    hashes: Hashes,
    start: u64,
    stop: u64,
    reached: u64,
}

impl Sink for Hash {
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        self.reached = state.step + u64::from(to - from);
        let Some((from, to, _)) = super::stream::clip(state, from, to, self.start, self.stop) else { return };
        let Hashes { mut rotating, mut fnv } = self.hashes;
        for &ip in slice(graph.ips(node), from, to) {
            rotating = (rotating.rotate_left(5) ^ ip).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            for byte in ip.to_le_bytes() {
                fnv = (fnv ^ u64::from(byte)).wrapping_mul(1_099_511_628_211);
            }
        }
        self.hashes = Hashes { rotating, fnv };
    }
}

impl Pass for Hash {
    fn done(&self) -> bool {
        self.reached >= self.stop
    }
}

impl Stream {
    /// Hashes the addresses of steps `start..stop`, continuing from `hashes`.
    pub fn hash(&self, start: u64, stop: u64, hashes: Hashes) -> Hashes {
        let mut hash = Hash { hashes, start, stop, reached: 0 };
        if start < stop {
            self.walk(start, &mut hash);
        }
        hash.hashes
    }
}
