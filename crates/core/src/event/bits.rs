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
    fn there_is_room_for_64() {
        let mut bits = Bits::default();
        assert!(bits.push(1, 47) && bits.push(0, 17));
        assert!(!bits.push(1, 1));
        let all: Vec<bool> = std::iter::from_fn(|| bits.pop()).collect();
        assert_eq!((all.len(), all.iter().position(|&bit| bit)), (64, Some(46)));
        assert!(!Bits::default().push(0, 64));
    }
}
