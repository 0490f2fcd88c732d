//! Images over each other: what lies in a range vanishes, or comes to lie over it again.

use std::sync::Arc;

use super::section::Part;
use super::{asid_of, next_number, AsidKey, Image};

impl Image {
    /// Nothing lies in `first..=last` any more, in any address space. The callback stays.
    pub fn clear(&mut self, first: u64, last: u64) {
        let spaces = Arc::make_mut(&mut self.spaces);
        for space in spaces.values_mut() {
            Arc::make_mut(space).carve(first, last);
        }
        spaces.retain(|_, space| !space.is_empty());
        self.is_new();
    }

    /// Puts the sections of `over` that have a byte in `first..=last` over what lies here, as wholes. No bytes
    /// are copied. A section that was put here before becomes a later one.
    pub fn overlay(&mut self, over: &Image, first: u64, last: u64) {
        let mut parts: Vec<(AsidKey, Part)> = Vec::new();
        for (key, space) in over.spaces.iter() {
            parts.extend(space.overlapping(first, last).map(|part| (*key, part.clone())));
        }
        if parts.is_empty() {
            return;
        }
        for (key, part) in parts {
            self.place(&asid_of(&key), Part { section: next_number(), ..part });
        }
        self.is_new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asid::Asid;

    fn image(sections: &[(u64, &[u8])]) -> Image {
        let mut image = Image::default();
        for (address, bytes) in sections {
            assert!(image.add_bytes(*bytes, *address, &Asid::default(), None).is_ok());
        }
        image
    }

    fn byte(image: &Image, address: u64) -> Option<u8> {
        let mut byte = [0];
        image.read(&Asid::default(), address, &mut byte).ok().map(|_| byte[0])
    }

    #[test]
    fn what_is_cleared_is_gone_and_what_lies_around_stays() {
        let mut one = image(&[(0x1000, &[1; 16]), (u64::MAX, &[9])]);
        let before = one.clone();
        one.clear(0x1004, 0x1007);
        let bytes: Vec<_> = [0x1003, 0x1004, 0x1007, 0x1008].map(|at| byte(&one, at)).to_vec();
        assert_eq!(bytes, [Some(1), None, None, Some(1)]);
        one.clear(0, u64::MAX);
        assert!(one.is_empty() && byte(&before, 0x1004) == Some(1));
    }

    #[test]
    fn an_overlay_brings_back_what_a_later_section_covered() {
        let code = image(&[(0x1000, &[1; 4]), (0x2000, &[2; 4]), (0x3000, &[3; 4])]);
        let mut memory = image(&[(0x1000, &[7; 0x1002]), (0x3000, &[7; 4])]);
        memory.overlay(&code, 0x1003, 0x2000);
        let bytes: Vec<_> = [0x1000, 0x1004, 0x2001, 0x2003, 0x3000].map(|at| byte(&memory, at)).to_vec();
        assert_eq!(bytes, [Some(1), Some(7), Some(2), Some(2), Some(7)]);
    }
}
