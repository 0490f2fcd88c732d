//! What is known of the frames below the edges of stacks, by what execution came back to later.
//!
//! Each entry belongs to an edge: while that was the nearest one, execution went to a frame below it. So at any step before
//! that at which the same edge is the nearest one, this frame lies right below it, or below the frames revealed in between.

use std::collections::HashMap;

use super::chain::{Chains, Kind, Link};
use super::stacks::{FrameKind, StackFrame};

/// Most frames that are remembered; an edge that more lie below is known no further.
const MOST: usize = 1 << 18;

/// A frame below an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Revealed {
    pub ip: u64,
    /// The step of the return that went there, or the last one before what was interrupted went on.
    pub step: u64,
    /// By a return; else what was interrupted went on there.
    pub is_return: bool,
    /// What was thought to lie below this frame does: there is no edge any more.
    pub resolves: bool,
    /// And so do all that were thought to lie below the edge before.
    pub as_thought: bool,
    /// There was no frame below: the stack had ended.
    pub is_end: bool,
}

impl Revealed {
    /// The frame.
    pub fn frame(self, is_guess: bool) -> StackFrame {
        let kind = if self.is_return { FrameKind::Call } else { FrameKind::Interrupted };
        StackFrame { ip: self.ip, step: None, entered: None, kind, is_guess }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    revealed: Revealed,
    /// What is thought to lie below.
    below: Link,
}

#[derive(Clone, Copy, Debug)]
struct AtBottom {
    /// Numbers of the edge at the bottom and of the nearest one.
    bottom: u64,
    edge: u64,
    revealed: Revealed,
}

/// All of a history.
#[derive(Clone, Debug, Default)]
pub(super) struct Below {
    /// By number of the edge, in order of steps.
    by_edge: HashMap<u64, Vec<Entry>, foldhash::fast::RandomState>,
    /// What was revealed where nothing but the edge at the bottom was left below, in order of steps.
    at_bottom: Vec<AtBottom>,
    len: usize,
}

impl Below {
    /// A frame below an edge was revealed, and `below` lies below that.
    pub fn add<N: Copy + Default>(&mut self, chains: &Chains<N>, edge: u64, below: Link, revealed: Revealed) {
        if self.len >= MOST {
            return;
        }
        self.len += 1;
        let entries = self.by_edge.entry(edge).or_default();
        entries.push(Entry { revealed, below });
        let mut bottom = Some(edge);
        for (_, item) in chains.walk(below) {
            if item.is_frame() {
                return;
            }
            bottom = Some(item.ip).filter(|_| item.kind == Kind::Doubt).or(bottom);
        }
        self.at_bottom.extend(bottom.map(|bottom| AtBottom { bottom, edge, revealed }));
    }

    /// Takes back the frame that was revealed last, if it is this one and belongs to the edge.
    pub fn forget(&mut self, edge: u64, ip: u64) {
        let Some(entries) = self.by_edge.get_mut(&edge) else { return };
        if let Some(last) = entries.pop_if(|entry| entry.revealed.ip == ip) {
            self.len -= 1;
            self.at_bottom.pop_if(|one| one.revealed == last.revealed);
        }
    }

    /// The frames right below an edge as it is before a step, and the link to what is thought to lie below those.
    pub fn of(&self, edge: u64, step: u64) -> (impl Iterator<Item = Revealed> + '_, Option<Link>) {
        let entries = self.by_edge.get(&edge).map_or(&[][..], Vec::as_slice);
        let later = entries.partition_point(|entry| entry.revealed.step < step);
        let entries = entries.get(later..).unwrap_or(&[]);
        (entries.iter().map(|entry| entry.revealed), entries.last().map(|entry| entry.below))
    }

    /// What was thought to lie below an edge as it is before a step proved right.
    pub fn is_as_thought(&self, edge: u64, step: u64) -> bool {
        let last = self.by_edge.get(&edge).and_then(|entries| entries.last());
        last.is_some_and(|last| last.revealed.as_thought && last.revealed.step >= step)
    }

    /// What was revealed above a bottom from a step on while another edge was the nearest one, perhaps of another stack.
    pub fn at_bottom(
        &self,
        bottom: u64,
        edge: Option<u64>,
        step: u64,
    ) -> impl Iterator<Item = Revealed> + '_ {
        let later = self.at_bottom.partition_point(|one| one.revealed.step < step);
        let all = self.at_bottom.get(later..).unwrap_or(&[]).iter();
        all.filter(move |one| one.bottom == bottom && Some(one.edge) != edge).map(|one| one.revealed)
    }

    /// Something is known of what lies below an edge.
    pub fn has(&self, edge: u64) -> bool {
        self.by_edge.contains_key(&edge)
    }

    /// Bytes that it occupies, roughly.
    pub fn size(&self) -> usize {
        self.len * (size_of::<Entry>() + size_of::<AtBottom>())
    }

    /// All links.
    pub fn links(&mut self) -> impl Iterator<Item = &mut Link> + '_ {
        self.by_edge.values_mut().flatten().map(|entry| &mut entry.below)
    }
}
