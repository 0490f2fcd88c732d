//! What a few packets do, remembered.
//!
//! Programs repeat themselves, and so do their traces: the same TNT and TIP bytes at the same node lead to the same
//! node by the same number of instructions. A [`Window`] remembers that for up to eight bytes of trace. It holds only
//! if the return stack gives what it gave before, which is checked: what the window pops from below its own pushes is
//! part of it, and so is the address a TIP leads to. Windows serve walks that need to know where execution goes and how
//! far, not each run on the way.

use super::graph::NodeId;
use super::return_stack::{Ends, Nodes, ReturnStack, AT_ONCE};
use crate::event::Cursor;

/// Return sites a window may pop or push.
const SITES: usize = AT_ONCE;
/// How many short TNT packets a window may hold: at first, at least and at most.
const TNTS: (u32, u32, u32) = (3, 2, 4);
/// Windows after which that is thought over.
const THINK_EVERY: u32 = 1 << 15;
/// Room for windows, at first and at most; powers of two. More than fit the processor's caches would be slower.
const FIRST_SLOTS: usize = 1 << 8;
const MOST_SLOTS: usize = 1 << 14;

/// The packets at the start of eight bytes of trace that a window can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bytes {
    /// The bytes, the first in the low bits; zero behind the packets.
    pub word: u64,
    /// How many.
    pub length: u32,
    /// How many of them are short TNTs; what follows is a TIP.
    pub tnts: u32,
}

/// Sizes of TIP packets by their first byte; 0 for other packets and for TIPs that fill the eight bytes or say nothing.
const TIP_SIZES: [u8; 256] = {
    let mut sizes = [0; 256];
    sizes[0x2d] = 3;
    sizes[0x4d] = 5;
    sizes[0x6d] = 7;
    sizes[0x8d] = 7;
    sizes
};

impl Bytes {
    /// Up to `most` short TNTs and a TIP, if the next thing is one of them and all lies in the eight bytes.
    #[inline]
    pub fn at(word: u64, most: u32) -> Option<Bytes> {
        const LOW: u64 = 0x0101_0101_0101_0101;
        // A short TNT is even and neither 00 nor 02. The lowest zero byte is found exactly; those above need not be.
        let odd = (word & LOW) << 7;
        let pad = word & !(LOW << 1);
        let zero = pad.wrapping_sub(LOW) & !pad & (LOW << 7);
        let others = (odd | zero).trailing_zeros() >> 3;
        let tnts = others.min(most);
        let opcode = (word >> (8 * others.min(7))) as u8;
        let size = u32::from(TIP_SIZES[usize::from(opcode)]);
        let fits = others == tnts && others + size <= 8;
        let length = tnts + if fits { size } else { 0 };
        if length == 0 {
            return None;
        }
        Some(Bytes { word: word & (u64::MAX >> (64 - 8 * length)), length, tnts })
    }

    /// There is a TIP.
    #[inline]
    pub fn has_tip(self) -> bool {
        self.length > self.tnts
    }

    /// How many packets.
    #[inline]
    pub fn packets(self) -> u32 {
        self.tnts + u32::from(self.has_tip())
    }

    /// Where the TIP leads if the last address was `last`, or `last` without one; and which bits of `last` are part of
    /// that, as an index of [`KEEPS`].
    pub fn target(self, last: u64) -> (u64, u8) {
        let payload = self.word.checked_shr(8 * (self.tnts + 1)).unwrap_or(0);
        match self.length - self.tnts {
            0 => (last, 0),
            3 => (last & KEEPS[1] | payload, 1),
            5 => (last & KEEPS[2] | payload, 2),
            _ if self.word >> (8 * self.tnts) & 0xff == 0x6d => (((payload << 16) as i64 >> 16) as u64, 0),
            _ => (last & KEEPS[3] | payload, 3),
        }
    }
}

/// The bits of an address that a TIP can leave out.
const KEEPS: [u64; 4] = [0, !0xffff, !0xffff_ffff, !0xffff_ffff_ffff];

/// What some packets do at a node: 64 bytes, a line of the processor's caches.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Window {
    word: u64,
    /// The last address: where the TIP leads, if there is one.
    last: u64,
    node: NodeId,
    end: NodeId,
    /// Instructions executed.
    steps: u32,
    /// The bits of the last address before that `last` depends on, as an index of [`KEEPS`].
    keeps: u8,
    pops: u8,
    pushes: u8,
    /// How far the return stack grows in between.
    rise: u8,
    popped: [NodeId; SITES],
    pushed: [NodeId; SITES],
}

/// Where a walk by windows stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// The next packet.
    pub cursor: Cursor,
    /// The node it is met at.
    pub node: NodeId,
    /// Instructions executed.
    pub step: u64,
    /// Windows used.
    pub hits: u32,
}

/// Notes what a walk does to the return stack.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sites {
    popped: [NodeId; SITES],
    pops: usize,
    pushed: [NodeId; SITES],
    pushes: usize,
    rise: usize,
}

impl Sites {
    /// False if there are more than a window can hold.
    #[must_use]
    pub fn push(&mut self, site: NodeId) -> bool {
        let Some(slot) = self.pushed.get_mut(self.pushes) else { return false };
        *slot = site;
        self.pushes += 1;
        self.rise = self.rise.max(self.pushes.saturating_sub(self.pops));
        true
    }

    /// The site that a return goes to, if the window has pushed it.
    pub fn pop(&mut self) -> Option<NodeId> {
        self.pushes = self.pushes.checked_sub(1)?;
        self.pushed.get(self.pushes).copied()
    }

    /// How many sites have been popped from below.
    pub fn below(&self) -> usize {
        self.pops
    }

    /// Notes a site popped from below. False if there are more than a window can hold.
    #[must_use]
    pub fn pop_below(&mut self, site: NodeId) -> bool {
        let Some(slot) = self.popped.get_mut(self.pops) else { return false };
        *slot = site;
        self.pops += 1;
        true
    }

    pub fn into_window(self, node: NodeId, bytes: Bytes, end: NodeId, steps: u32, last: u64) -> Window {
        let (last, keeps) = bytes.target(last);
        // The oldest of those popped last, as they lie in the stack.
        let mut popped = [0; SITES];
        for (nth, &site) in self.popped.iter().take(self.pops).enumerate() {
            popped[SITES - 1 - nth] = site;
        }
        Window {
            word: bytes.word,
            last,
            keeps,
            node,
            end,
            steps,
            pops: self.pops as u8,
            pushes: self.pushes as u8,
            rise: self.rise as u8,
            popped,
            pushed: self.pushed,
        }
    }
}

/// Windows by node and bytes; a new one takes the place of an old one, which moves over to the slot beside it.
#[derive(Default)]
pub(super) struct Windows {
    slots: Vec<Window>,
    /// What was met last and not remembered, per slot: once if the number is even, else twice.
    seen: Vec<u32>,
    /// How many have been remembered since there were so many slots.
    remembered: usize,
    /// How many short TNTs are taken at once, less the first choice.
    tnts: i32,
    /// Windows that held and that did not since that was thought over last.
    hits: u32,
    misses: u32,
}

impl Windows {
    /// How many short TNTs to take at once.
    #[inline]
    pub fn tnts(&self) -> u32 {
        TNTS.0.saturating_add_signed(self.tnts)
    }

    /// Notes how windows did. Long ones save more where a trace repeats itself, and are in vain where it does not.
    #[inline]
    pub fn note(&mut self, hits: u32, misses: u32) {
        self.hits += hits;
        self.misses += misses;
        if self.hits + self.misses >= THINK_EVERY {
            if 16 * self.misses > self.hits && self.tnts() > TNTS.1 {
                self.tnts -= 1;
            } else if 48 * self.misses < self.hits && self.tnts() < TNTS.2 {
                self.tnts += 1;
            }
            (self.hits, self.misses) = (0, 0);
        }
    }

    /// The first of the two slots for these packets at this node, and what marks them as seen.
    #[inline(always)]
    fn slot(&self, node: NodeId, word: u64) -> (usize, u32) {
        // The node comes in last: it is what the next look-up waits for.
        let mixed = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let slot = ((mixed >> 40) as usize ^ node as usize) & self.slots.len().wrapping_sub(1);
        (slot, (mixed >> 8) as u32 ^ node.rotate_left(16) | 1)
    }

    /// Walks on while windows are remembered that hold, up to trace offset `until`. Returns the packets that it stopped
    /// at, if a window could hold them.
    #[inline(always)]
    pub fn walk(
        &self,
        trace: &[u8],
        until: usize,
        walk: &mut Walk,
        stack: &mut ReturnStack,
    ) -> Option<Bytes> {
        let tnts = self.tnts();
        let Walk { mut cursor, mut node, mut step, mut hits } = *walk;
        let (nodes, ends_after) = stack.parts();
        let mut ends = *ends_after;
        let stopped = loop {
            if cursor.pos > until {
                break None;
            }
            let Some(bytes) = cursor.word(trace).and_then(|word| Bytes::at(word, tnts)) else { break None };
            let (slot, _) = self.slot(node, bytes.word);
            let holds = |window: &Window, ends: &mut Ends, nodes: &mut Nodes| {
                window.node == node
                    && window.word == bytes.word
                    && (cursor.last_ip ^ window.last) & KEEPS[usize::from(window.keeps & 3)] == 0
                    && ends.exchange(
                        nodes,
                        (&window.popped, window.pops),
                        (&window.pushed, window.pushes),
                        window.rise,
                    )
            };
            let mut at = |slot: usize| self.slots.get(slot).filter(|window| holds(window, &mut ends, nodes));
            let Some(window) = at(slot).or_else(|| at(slot ^ 1)) else { break Some(bytes) };
            step += u64::from(window.steps);
            node = window.end;
            cursor.pos += bytes.length as usize;
            if bytes.has_tip() {
                cursor.tip = true;
                cursor.last_ip = window.last;
            }
            hits += 1;
        };
        *ends_after = ends;
        *walk = Walk { cursor, node, step, hits };
        stopped
    }

    /// Whether the same packets were met at the same node before, lately and often enough, and not remembered then. Where
    /// windows are much in vain that is twice, else once: what comes twice there often does not come again, and costs
    /// more to remember than it saves.
    pub fn seen_enough(&mut self, node: NodeId, bytes: Bytes) -> bool {
        if self.slots.is_empty() {
            self.resize(FIRST_SLOTS);
        }
        let in_vain = self.tnts() == TNTS.1;
        let (slot, mark) = self.slot(node, bytes.word);
        let Some(seen) = self.seen.get_mut(slot) else { return false };
        let once = *seen == mark ^ 1;
        let enough = *seen == mark || (once && !in_vain);
        // Seen, remembered and in vain: then it takes as many sights again.
        *seen = if enough { 0 } else { mark ^ u32::from(!once) };
        enough
    }

    pub fn remember(&mut self, window: Window) {
        if self.remembered >= self.slots.len() && self.slots.len() < MOST_SLOTS {
            // What was remembered is soon learned again.
            self.resize(4 * self.slots.len());
        }
        self.remembered += 1;
        let (slot, _) = self.slot(window.node, window.word);
        let Some(before) = self.slots.get_mut(slot).map(|slot| std::mem::replace(slot, window)) else {
            return;
        };
        if let Some(other) = self.slots.get_mut(slot ^ 1) {
            *other = before;
        }
    }

    fn resize(&mut self, slots: usize) {
        self.slots = vec![Window::default(); slots];
        self.seen = vec![0; slots];
        self.remembered = 0;
    }

    /// Forgets everything; node numbers mean something else.
    pub fn clear(&mut self) {
        *self = Windows::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(bytes: &[u8]) -> Option<(u32, u32)> {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        Bytes::at(u64::from_le_bytes(word), 4).map(|bytes| (bytes.tnts, bytes.length))
    }

    #[test]
    fn a_window_holds_short_tnts_and_one_tip() {
        assert_eq!(at(&[0x06, 0x80, 0xfe]), Some((3, 3)), "a PAD ends it");
        assert_eq!(at(&[0x06; 8]), Some((4, 4)), "no more than four");
        assert_eq!(at(&[0x06, 0x2d, 1, 2, 0x06]), Some((1, 4)), "a TIP ends it");
        assert_eq!(at(&[0x06, 0x6d, 1, 2, 3, 4, 5, 6]), Some((1, 8)));
        assert_eq!(at(&[0x06, 0x06, 0x6d, 1, 2, 3, 4, 5]), Some((2, 2)), "the TIP does not fit");
        assert_eq!(at(&[0x4d, 1, 2, 3, 4]), Some((0, 5)));
        for other in [0x00, 0x02, 0x0d, 0xcd, 0x59, 0x03, 0x1d, 0x11, 0x01, 0x99] {
            assert_eq!(at(&[other]), None, "{other:x}");
            assert_eq!(at(&[0x06, other, 0x06]), Some((1, 1)), "{other:x}");
        }
    }

    #[test]
    fn targets_keep_what_the_tip_leaves_out() {
        let target = |bytes: [u8; 8], last| {
            let bytes = Bytes::at(u64::from_le_bytes(bytes), 4)?;
            let (target, keeps) = bytes.target(last);
            Some((target, KEEPS[usize::from(keeps)]))
        };
        let last = 0xffff_1111_2222_3333;
        assert_eq!(
            target([0x06, 0x2d, 0xcd, 0xab, 9, 9, 9, 9], last),
            Some((0xffff_1111_2222_abcd, !0xffff))
        );
        assert_eq!(target([0x4d, 1, 2, 3, 4, 9, 9, 9], last), Some((0xffff_1111_0403_0201, !0xffff_ffff)));
        assert_eq!(target([0x6d, 1, 2, 3, 4, 5, 0x86, 9], last), Some((0xffff_8605_0403_0201, 0)));
        assert_eq!(target([0x8d, 1, 2, 3, 4, 5, 6, 9], last), Some((0xffff_0605_0403_0201, 0xffff << 48)));
        assert_eq!(target([0x06, 0x04, 9, 9, 9, 9, 9, 9], last), Some((last, 0)));
    }

    #[test]
    fn windows_are_as_long_as_it_pays() {
        let mut windows = Windows::default();
        assert_eq!(windows.tnts(), 3);
        windows.note(THINK_EVERY, 0);
        windows.note(THINK_EVERY, 0);
        assert_eq!(windows.tnts(), 4);
        for tnts in [3, 2, 2] {
            windows.note(THINK_EVERY, THINK_EVERY / 10);
            assert_eq!(windows.tnts(), tnts);
        }
        windows.note(THINK_EVERY, THINK_EVERY / 30);
        assert_eq!(windows.tnts(), 2);
    }

    /// Walks over one TNT at a node: the node and step behind it, and whether packets are left.
    fn walked(windows: &Windows, node: NodeId, stack: &mut ReturnStack) -> (NodeId, u64, bool) {
        let cursor = Cursor { pos: 0, last_ip: 0, tip: false };
        let mut walk = Walk { cursor, node, step: 10, hits: 0 };
        let left = windows.walk(&[6, 0, 0, 0, 0, 0, 0, 0], 0, &mut walk, stack).is_some();
        (walk.node, walk.step, left)
    }

    #[test]
    fn a_window_is_remembered_on_second_sight() {
        let mut windows = Windows::default();
        let mut stack = ReturnStack::default();
        let bytes = Bytes::at(0x06, 4).expect("a TNT");
        assert_eq!(walked(&windows, 5, &mut stack), (5, 10, true));
        assert!(!windows.seen_enough(5, bytes));
        assert!(windows.seen_enough(5, bytes));
        assert!(!windows.seen_enough(5, bytes), "and as often again");
        windows.remember(Sites::default().into_window(5, bytes, 7, 3, 0));
        assert_eq!(walked(&windows, 5, &mut stack), (7, 13, false));
        assert_eq!(walked(&windows, 6, &mut stack), (6, 10, true));
        windows.clear();
        assert_eq!(walked(&windows, 5, &mut stack), (5, 10, true));
    }

    #[test]
    fn where_many_are_in_vain_it_takes_three_sights() {
        let mut windows = Windows::default();
        windows.note(THINK_EVERY, THINK_EVERY / 10);
        assert_eq!(windows.tnts(), TNTS.1);
        let bytes = Bytes::at(0x06, 4).expect("a TNT");
        let seen: Vec<bool> = (0..6).map(|_| windows.seen_enough(5, bytes)).collect();
        assert_eq!(seen, [false, false, true, false, false, true]);
    }

    #[test]
    fn where_a_return_goes_tells_two_windows_apart() {
        let mut windows = Windows::default();
        let bytes = Bytes::at(0x06, 4).expect("a TNT");
        assert!(!windows.seen_enough(5, bytes));
        for site in [20, 21] {
            let mut sites = Sites::default();
            assert!(sites.pop_below(site));
            windows.remember(sites.into_window(5, bytes, site, 1, 0));
        }
        for (site, known) in [(20, true), (21, true), (22, false)] {
            let mut stack = ReturnStack::default();
            stack.push(site);
            let end = if known { (site, 11, false) } else { (5, 10, true) };
            assert_eq!(walked(&windows, 5, &mut stack), end);
            assert_eq!(stack.pop().is_none(), known);
        }
    }
}
