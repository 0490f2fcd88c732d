//! Taken / not-taken bits that have been read and not been asked for.

/// At most 64 bits, the oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits {
    /// The oldest is the most significant of the `left` low bits; those above are not looked at.
    bits: u64,
    left: u8,
}

impl Bits {
    pub fn is_empty(self) -> bool {
        self.left == 0
    }

    /// Appends the `size` low bits of `bits`, at most 63; false, and no change, if there is no room for them.
    pub fn push(&mut self, bits: u64, size: u8) -> bool {
        let left = self.left.saturating_add(size);
        if left > 64 || size > 63 {
            return false;
        }
        self.bits = self.bits << size | bits & ((1 << size) - 1);
        self.left = left;
        true
    }

    /// Takes all of them out: the bits, and how many. None if there are none.
    pub fn take(&mut self) -> Option<(u64, u8)> {
        let Bits { bits, left } = std::mem::take(self);
        let unused = 64u8.checked_sub(left).filter(|_| left > 0)?;
        Some((bits & (u64::MAX >> unused), left))
    }

    /// Takes the oldest out.
    pub fn pop(&mut self) -> Option<bool> {
        self.left = self.left.checked_sub(1)?;
        Some(self.bits >> self.left & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out() {
        let mut bits = Bits::default();
        assert_eq!(bits.pop(), None);
        assert!(bits.push(0b10, 2) && bits.push(0b011, 3));
        assert_eq!([(); 6].map(|()| bits.pop()), [1, 0, 0, 1, 1, 2].map(|bit| (bit < 2).then_some(bit == 1)));
        assert!(bits.is_empty());
    }

    #[test]
    fn all_at_once() {
        let mut bits = Bits::default();
        assert_eq!(bits.take(), None);
        assert!(bits.push(0b1011, 4));
        bits.pop();
        assert_eq!((bits.take(), bits.take()), (Some((0b011, 3)), None));
        assert!(bits.push(u64::MAX, 63) && bits.push(1, 1));
        assert_eq!(bits.take(), Some((u64::MAX, 64)));
    }

    #[test]
    fn there_is_room_for_64() {
        let mut bits = Bits::default();
        assert!(bits.push(1, 47) && bits.push(0, 17));
        assert!(!bits.push(1, 1));
        let all: Vec<bool> = std::iter::from_fn(|| bits.pop()).collect();
        assert_eq!((all.len(), all.iter().position(|&bit| bit)), (64, Some(46)));
        assert!(!Bits::default().push(0, 64));
    }
}
