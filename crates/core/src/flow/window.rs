//! What a few packets do, remembered.
//!
//! Programs repeat themselves, and so do their traces: the same TNT and TIP bytes at the same node lead to the same
//! node by the same number of instructions. A [`Window`] remembers that for up to eight bytes of trace. It holds only
//! if the return stack gives what it gave before, which is checked: what the window pops from below its own pushes is
//! part of it, and so is the address a TIP leads to. Windows serve walks that need to know where execution goes and how
//! far, not each run on the way.

use super::graph::NodeId;
use super::return_stack::AT_ONCE;

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

    /// Where the TIP leads if the last address was `last`, or `last` without one; and which bits of `last` are part of
    /// that.
    #[inline]
    pub fn target(self, last: u64) -> (u64, u64) {
        let payload = self.word.checked_shr(8 * (self.tnts + 1)).unwrap_or(0);
        match self.length - self.tnts {
            0 => (last, u64::MAX),
            3 => (last & !0xffff | payload, !0xffff),
            5 => (last & !0xffff_ffff | payload, !0xffff_ffff),
            _ if self.word >> (8 * self.tnts) & 0xff == 0x6d => (((payload << 16) as i64 >> 16) as u64, 0),
            _ => (last & !0xffff_ffff_ffff | payload, !0xffff_ffff_ffff),
        }
    }
}

/// What some packets do at a node.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Window {
    pub word: u64,
    /// The last address: where the TIP leads, if there is one.
    pub last: u64,
    /// The bits of the last address before that `last` depends on.
    pub keeps: u64,
    pub node: NodeId,
    pub end: NodeId,
    /// Instructions executed.
    pub steps: u32,
    pub length: u8,
    pub pops: u8,
    pub pushes: u8,
    /// How far the return stack grows in between.
    pub rise: u8,
    pub popped: [NodeId; SITES],
    pub pushed: [NodeId; SITES],
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
        let keeps = if bytes.has_tip() { keeps } else { 0 };
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
            length: bytes.length as u8,
            pops: self.pops as u8,
            pushes: self.pushes as u8,
            rise: self.rise as u8,
            popped,
            pushed: self.pushed,
        }
    }
}

/// Windows by node and bytes; a new one takes the place of an old one.
#[derive(Default)]
pub(super) struct Windows {
    slots: Vec<Window>,
    /// What was met last and not remembered, per slot.
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

    /// The slot, and what marks these packets at this node as seen.
    #[inline]
    fn slot(&self, node: NodeId, bytes: Bytes) -> (usize, u32) {
        let mixed = (bytes.word ^ u64::from(node).rotate_left(40) ^ u64::from(bytes.length) << 60)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed >> 40) as usize & self.slots.len().wrapping_sub(1), (mixed >> 8) as u32 | 1)
    }

    /// What these packets do at this node, if it is remembered.
    #[inline]
    pub fn find(&self, node: NodeId, bytes: Bytes) -> Option<&Window> {
        let window = self.slots.get(self.slot(node, bytes).0)?;
        (window.node == node && window.word == bytes.word && u32::from(window.length) == bytes.length)
            .then_some(window)
    }

    /// Whether the same packets were met at the same node before, lately.
    pub fn seen_before(&mut self, node: NodeId, bytes: Bytes) -> bool {
        if self.slots.is_empty() {
            self.resize(FIRST_SLOTS);
        }
        let (slot, mark) = self.slot(node, bytes);
        let Some(seen) = self.seen.get_mut(slot) else { return false };
        std::mem::replace(seen, mark) == mark
    }

    pub fn remember(&mut self, window: Window, bytes: Bytes) {
        if self.remembered >= self.slots.len() && self.slots.len() < MOST_SLOTS {
            // What was remembered is soon learned again.
            self.resize(4 * self.slots.len());
        }
        self.remembered += 1;
        let (slot, _) = self.slot(window.node, bytes);
        if let Some(slot) = self.slots.get_mut(slot) {
            *slot = window;
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
        let target =
            |bytes: [u8; 8], last| Bytes::at(u64::from_le_bytes(bytes), 4).map(|bytes| bytes.target(last));
        let last = 0xffff_1111_2222_3333;
        assert_eq!(
            target([0x06, 0x2d, 0xcd, 0xab, 9, 9, 9, 9], last),
            Some((0xffff_1111_2222_abcd, !0xffff))
        );
        assert_eq!(target([0x4d, 1, 2, 3, 4, 9, 9, 9], last), Some((0xffff_1111_0403_0201, !0xffff_ffff)));
        assert_eq!(target([0x6d, 1, 2, 3, 4, 5, 0x86, 9], last), Some((0xffff_8605_0403_0201, 0)));
        assert_eq!(target([0x8d, 1, 2, 3, 4, 5, 6, 9], last), Some((0xffff_0605_0403_0201, 0xffff << 48)));
        assert_eq!(target([0x06, 0x04, 9, 9, 9, 9, 9, 9], last), Some((last, u64::MAX)));
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

    #[test]
    fn a_window_is_remembered_on_second_sight() {
        let mut windows = Windows::default();
        let bytes = Bytes::at(0x06, 4).expect("a TNT");
        assert!(windows.find(5, bytes).is_none());
        assert!(!windows.seen_before(5, bytes));
        assert!(windows.seen_before(5, bytes));
        windows.remember(Sites::default().into_window(5, bytes, 7, 3, 0), bytes);
        let found = windows.find(5, bytes).expect("just remembered");
        assert_eq!((found.end, found.steps), (7, 3));
        assert!(windows.find(6, bytes).is_none());
        windows.clear();
        assert!(windows.find(5, bytes).is_none());
    }
}
