//! Where one block ends and the next begins.

use crate::flow::{Graph, NodeId};
use crate::history::decode::decoded_trace::slice;

/// First address, last address and number of instructions.
pub(in crate::history) type Bounds = (u64, u64, u16);

/// Puts runs together to blocks, as [`super::BlockColumns`] describes them; its user closes a block at decisions,
/// events and gaps.
#[derive(Default)]
pub(in crate::history) struct BlockSplitter {
    /// The block that the next run may continue, and its section.
    open: Option<(Bounds, (i32, u64))>,
}

impl BlockSplitter {
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.open.is_none()
    }

    /// The next run begins a block; gives the one that has ended here.
    #[inline]
    pub fn close(&mut self) -> Option<Bounds> {
        self.open.take().map(|(bounds, _)| bounds)
    }

    /// Takes instructions `from..to` of a node; tells the blocks that have ended before the last of them.
    pub fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, mut ended: impl FnMut(Bounds)) {
        let mut at = from;
        while at < to {
            let section = graph.section(node, at);
            let end = graph.section_end(node, at).clamp(at + 1, to);
            let ips = slice(graph.ips(node), at, end);
            let (Some(&first), Some(&last)) = (ips.first(), ips.last()) else { return };
            let count = ips.len() as u16;
            match &mut self.open {
                Some(((_, end_ip, ninsn), same))
                    if *same == section && ninsn.checked_add(count).is_some() =>
                {
                    *end_ip = last;
                    *ninsn += count;
                }
                open => {
                    if let Some((bounds, _)) = open.replace(((first, last, count), section)) {
                        ended(bounds);
                    }
                }
            }
            at = end;
        }
    }

    /// Takes a whole node so many times in a row.
    pub fn rounds(&mut self, graph: &Graph, node: NodeId, rounds: u64, mut ended: impl FnMut(Bounds)) {
        let count = graph.count(node);
        let one_section = graph.section_end(node, 0) >= count;
        let mut left = rounds;
        while left > 0 {
            self.run(graph, node, 0, count, &mut ended);
            left -= 1;
            if let (Some(((_, _, ninsn), _)), true) = (&mut self.open, one_section) {
                // As many as fit into the block that is open.
                let more = left.min(u64::from((u16::MAX - *ninsn) / count.max(1)));
                *ninsn += more as u16 * count;
                left -= more;
            }
        }
    }
}
