//! The spill area of a prologue, and when each register is spilled.
//!
//! From its top downwards: floating-point registers, 16 bytes each, then branch registers, then general registers, 8
//! bytes each; of each kind the highest number at the highest address.

use super::place::{Place, Saved};
use super::status::Status;

/// How a general or branch register is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Memory,
    General(u8),
}

/// What the descriptors of a prologue say of spills.
#[derive(Clone, Debug, Default)]
pub(super) struct Spills<'a> {
    general: [Option<Way>; 4],
    branch: [Option<Way>; 5],
    float: [bool; 20],
    base: u64,
    mask: Option<&'a [u8]>,
}

/// A register, where it is saved, and in which slot if that is said.
pub(super) type Spill = (Saved, Place, Option<u64>);

impl<'a> Spills<'a> {
    pub(super) fn general_to_memory(&mut self, mask: u8) {
        to_memory(&mut self.general, mask);
    }

    pub(super) fn branch_to_memory(&mut self, mask: u8) {
        to_memory(&mut self.branch, mask);
    }

    pub(super) fn general_to_general(&mut self, mask: u8, first: u8) -> Result<(), Status> {
        to_general(&mut self.general, mask, first)
    }

    pub(super) fn branch_to_general(&mut self, mask: u8, first: u8) -> Result<(), Status> {
        to_general(&mut self.branch, mask, first)
    }

    /// Bit 0: floating-point register 2, bit 4: 16.
    pub(super) fn float_to_memory(&mut self, mask: u32) {
        for (index, spilled) in self.float.iter_mut().enumerate() {
            *spilled |= mask >> index & 1 == 1;
        }
    }

    /// Four bytes each, downwards from the caller's scratch area.
    pub(super) fn set_base(&mut self, base: u64) {
        self.base = base;
    }

    pub(super) fn set_mask(&mut self, mask: &'a [u8]) {
        self.mask = Some(mask);
    }

    /// All spills.
    pub(super) fn finish(&self) -> Vec<Spill> {
        let mut spills = Vec::new();
        let mut area = Area { top: 16u64.wrapping_sub(self.base.wrapping_mul(4)) };
        let floats = self.float.map(|spilled| spilled.then_some(Way::Memory));
        area.place(&floats, 16, Saved::float, self.times(1), &mut spills);
        area.place(&self.branch, 8, Saved::branch, self.times(3), &mut spills);
        area.place(&self.general, 8, Saved::general, self.times(2), &mut spills);
        spills
    }

    /// The slots that the mask marks with a code: 1 floating-point, 2 general, 3 branch registers.
    fn times(&self, code: u8) -> impl Iterator<Item = u64> + 'a {
        let codes =
            self.mask.unwrap_or_default().iter().flat_map(|byte| [6, 4, 2, 0].map(|shift| byte >> shift & 3));
        (0u64..).zip(codes).filter(move |(_, marked)| *marked == code).map(|(slot, _)| slot)
    }
}

fn to_memory(ways: &mut [Option<Way>], mask: u8) {
    for (index, way) in ways.iter_mut().enumerate() {
        if mask >> index & 1 == 1 {
            *way = Some(Way::Memory);
        }
    }
}

fn to_general(ways: &mut [Option<Way>], mask: u8, first: u8) -> Result<(), Status> {
    let mut next = first;
    for (index, way) in ways.iter_mut().enumerate() {
        if mask >> index & 1 == 1 {
            if next > 127 {
                return Err(Status::BadDescriptor);
            }
            *way = Some(Way::General(next));
            next += 1;
        }
    }
    Ok(())
}

/// The part of the spill area that is not given away yet, below `top`.
struct Area {
    top: u64,
}

impl Area {
    /// Places one kind of registers. Those saved in general registers take a slot of the mask, but no memory.
    fn place(
        &mut self,
        ways: &[Option<Way>],
        size: u64,
        saved: impl Fn(u8) -> Option<Saved>,
        mut times: impl Iterator<Item = u64>,
        spills: &mut Vec<Spill>,
    ) {
        let spilled = ways.iter().filter(|way| **way == Some(Way::Memory)).count();
        let bytes = u64::try_from(spilled).unwrap_or(0) * size;
        self.top = self.top.wrapping_sub(bytes);
        let mut address = self.top;
        for (number, way) in (0..).zip(ways) {
            let (Some(way), Some(saved)) = (way, saved(number)) else { continue };
            let place = match way {
                Way::General(general) => Place::General(*general),
                Way::Memory => {
                    let place = Place::AtPsp(address);
                    address = address.wrapping_add(size);
                    place
                }
            };
            spills.push((saved, place, times.next()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ia64::register::Register;

    fn told(spills: &Spills<'_>) -> Vec<(Register, Place, Option<u64>)> {
        spills.finish().into_iter().map(|(saved, place, time)| (saved.register(), place, time)).collect()
    }

    fn below(bytes: u64) -> Place {
        Place::AtPsp(16u64.wrapping_sub(bytes))
    }

    #[test]
    fn the_order_of_the_area() {
        let mut spills = Spills::default();
        spills.general_to_memory(0b1001);
        spills.branch_to_memory(0b00011);
        spills.float_to_memory(0b1_0010);
        spills.set_base(8);
        assert_eq!(
            told(&spills),
            [
                (Register::Float(3), below(64), None),
                (Register::Float(16), below(48), None),
                (Register::Branch(1), below(80), None),
                (Register::Branch(2), below(72), None),
                (Register::General(4), below(96), None),
                (Register::General(7), below(88), None),
            ]
        );
    }

    #[test]
    fn the_mask_counts_saves_in_general_registers_too() {
        let mut spills = Spills::default();
        assert!(spills.general_to_general(0b0001, 35).is_ok());
        spills.general_to_memory(0b0110);
        assert!(spills.branch_to_general(0b00101, 40).is_ok());
        // -g-b gf-b g: slots 1, 4, 8 general; 3, 7 branch; 5 float.
        spills.set_mask(&[0b0010_0011, 0b1001_0011, 0b1000_0000]);
        assert_eq!(
            told(&spills),
            [
                (Register::Branch(1), Place::General(40), Some(3)),
                (Register::Branch(3), Place::General(41), Some(7)),
                (Register::General(4), Place::General(35), Some(1)),
                (Register::General(5), below(16), Some(4)),
                (Register::General(6), below(8), Some(8)),
            ]
        );
    }

    #[test]
    fn general_registers_end_at_127() {
        let mut spills = Spills::default();
        assert_eq!(spills.general_to_general(0b0011, 127), Err(Status::BadDescriptor));
        assert_eq!(spills.branch_to_general(0b0001, 127), Ok(()));
    }
}
