//! The hash pass: what independent recorders compare.

use crate::flow::{Graph, NodeId, RunState, Sink};
use crate::history::decode::decoded_trace::{slice, DecodedTrace, Pass};
use crate::history::passes::parallel::{Ask, Interrupted};

/// A hash over the addresses of all instructions, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashing {
    /// `h = (rotl(h, 5) ^ ip) * 0x9E3779B97F4A7C15`, from 0: what recorders keep.
    Rotating(u64),
    /// FNV-1a over the little-endian bytes, from 1469598103934665603.
    Fnv(u64),
}

impl Hashing {
    /// The rotating hash of nothing.
    pub const ROTATING: Hashing = Hashing::Rotating(0);
    /// The FNV hash of nothing.
    pub const FNV: Hashing = Hashing::Fnv(1_469_598_103_934_665_603);

    /// The value so far.
    pub fn value(self) -> u64 {
        match self {
            Hashing::Rotating(value) | Hashing::Fnv(value) => value,
        }
    }

    fn take(&mut self, ips: &[u64]) {
        match self {
            Hashing::Rotating(hash) => {
                for &ip in ips {
                    *hash = (hash.rotate_left(5) ^ ip).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                }
            }
            Hashing::Fnv(hash) => {
                for byte in ips.iter().flat_map(|ip| ip.to_le_bytes()) {
                    *hash = (*hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211);
                }
            }
        }
    }
}

impl Sink for Hashing {
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, _: &RunState) {
        self.take(slice(graph.ips(node), from, to));
    }

    fn rounds(&mut self, graph: &Graph, node: NodeId, rounds: u64, _: &RunState) {
        let ips = graph.ips(node);
        for _ in 0..rounds {
            self.take(ips);
        }
    }
}

impl Pass for Hashing {}

impl DecodedTrace {
    /// Hashes the addresses of steps `start..stop`, onto `hashing`. Each depends on the one before, so this takes
    /// one thread.
    pub fn hash(
        &self,
        start: u64,
        stop: u64,
        mut hashing: Hashing,
        ask: Ask<'_>,
    ) -> Result<Hashing, Interrupted> {
        self.serially(start, stop, &mut hashing, ask)?;
        Ok(hashing)
    }
}
