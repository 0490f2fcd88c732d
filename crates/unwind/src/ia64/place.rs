//! Registers a function saves for its caller, and where.

use super::register::{Register, Special};

/// A register that unwind information speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Saved(u8);

/// How many there are.
pub(super) const SAVED: usize = 40;

const GENERAL: u8 = 11;
const BRANCH: u8 = 15;
const FLOAT: u8 = 20;

impl Saved {
    /// Stack pointer of the caller.
    pub const PSP: Saved = Saved(0);
    /// Return pointer.
    pub const RP: Saved = Saved(1);
    /// Frame marker of the caller.
    pub const PFS: Saved = Saved(2);
    /// Predicates.
    pub const PREDS: Saved = Saved(3);
    /// `ar.unat`.
    pub const UNAT: Saved = Saved(4);
    /// `ar.lc`.
    pub const LC: Saved = Saved(5);
    /// `ar.fpsr`.
    pub const FPSR: Saved = Saved(6);
    /// NaT bits of the general registers the function itself has spilled.
    pub const PRIUNAT: Saved = Saved(7);
    /// `ar.rnat`.
    pub const RNAT: Saved = Saved(8);
    /// `ar.bsp`.
    pub const BSP: Saved = Saved(9);
    /// `ar.bspstore`.
    pub const BSPSTORE: Saved = Saved(10);

    /// General register 4 to 7 by its number less 4.
    pub fn general(index: u8) -> Option<Saved> {
        (index < 4).then_some(Saved(GENERAL + index))
    }

    /// Branch register 1 to 5 by its number less 1.
    pub fn branch(index: u8) -> Option<Saved> {
        (index < 5).then_some(Saved(BRANCH + index))
    }

    /// Floating-point register by its place among 2 to 5 and 16 to 31.
    pub fn float(index: u8) -> Option<Saved> {
        (index < 20).then_some(Saved(FLOAT + index))
    }

    /// The register of an `abreg` field of the formats X1 to X4 (runtime architecture, table B-16).
    pub(super) fn from_abreg(abreg: u8) -> Option<Saved> {
        match abreg {
            4..=7 => Saved::general(abreg - 4),
            0x22..=0x25 => Saved::float(abreg - 0x22),
            0x30..=0x3f => Saved::float(abreg - 0x30 + 4),
            0x41..=0x45 => Saved::branch(abreg - 0x41),
            0x60 => Some(Saved::PREDS),
            0x61 => Some(Saved::PSP),
            0x62 => Some(Saved::PRIUNAT),
            0x63 => Some(Saved::RP),
            0x64 => Some(Saved::BSP),
            0x65 => Some(Saved::BSPSTORE),
            0x66 => Some(Saved::RNAT),
            0x67 => Some(Saved::UNAT),
            0x68 => Some(Saved::FPSR),
            0x69 => Some(Saved::PFS),
            0x6a => Some(Saved::LC),
            _ => None,
        }
    }

    /// Its place in tables of all saved registers, below [`SAVED`].
    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Whether it is a floating-point register.
    pub fn is_float(self) -> bool {
        self.0 >= FLOAT
    }

    /// The register as the engine's users know it.
    pub fn register(self) -> Register {
        match self.0 {
            0 => Register::Special(Special::Psp),
            1 => Register::Special(Special::Rp),
            2 => Register::Special(Special::Pfs),
            3 => Register::Special(Special::Preds),
            4 => Register::Special(Special::Unat),
            5 => Register::Special(Special::Lc),
            6 => Register::Special(Special::Fpsr),
            7 => Register::Special(Special::PriUnat),
            8 => Register::Special(Special::Rnat),
            9 => Register::Special(Special::Bsp),
            10 => Register::Special(Special::Bspstore),
            number @ GENERAL..BRANCH => Register::General(number - GENERAL + 4),
            number @ BRANCH..FLOAT => Register::Branch(number - BRANCH + 1),
            number if number < FLOAT + 4 => Register::Float(number - FLOAT + 2),
            number => Register::Float(number - FLOAT - 4 + 16),
        }
    }
}

/// Where a saved register is found. Distances are in bytes and wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// In itself: it was not saved, or is restored already.
    #[default]
    Itself,
    /// It is the stack pointer plus this; only the caller's stack pointer is found so.
    SpPlus(u64),
    /// In a general register.
    General(u8),
    /// In a branch register.
    Branch(u8),
    /// In a floating-point register.
    Float(u8),
    /// In memory at the caller's stack pointer plus this.
    AtPsp(u64),
    /// In memory at the stack pointer plus this.
    AtSp(u64),
}

impl Place {
    /// The place of a `psprel` field, which counts four bytes downwards from the caller's scratch area.
    pub(super) fn psp_relative(field: u64) -> Place {
        Place::AtPsp(16u64.wrapping_sub(field.wrapping_mul(4)))
    }

    /// The place of a `sprel` field, which counts four bytes upwards.
    pub(super) fn sp_relative(field: u64) -> Place {
        Place::AtSp(field.wrapping_mul(4))
    }

    /// Whether it lies in the part of the memory stack that an epilogue gives back.
    pub(super) fn dies_with_frame(self) -> bool {
        match self {
            Place::AtSp(_) => true,
            Place::AtPsp(offset) => (offset as i64) < 16,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_saved_register_has_an_index_and_a_name_of_its_own() {
        let specials = (0..11).map(Saved);
        let general = (0..4).filter_map(Saved::general);
        let branch = (0..5).filter_map(Saved::branch);
        let float = (0..20).filter_map(Saved::float);
        let all: Vec<Saved> = specials.chain(general).chain(branch).chain(float).collect();
        assert_eq!(all.iter().map(|saved| saved.index()).collect::<Vec<_>>(), (0..SAVED).collect::<Vec<_>>());
        let names: std::collections::HashSet<Register> = all.iter().map(|saved| saved.register()).collect();
        assert_eq!(names.len(), SAVED);
        assert_eq!(Saved::float(3).map(Saved::register), Some(Register::Float(5)));
        assert_eq!(Saved::float(4).map(Saved::register), Some(Register::Float(16)));
        assert_eq!(Saved::float(19).map(Saved::register), Some(Register::Float(31)));
        assert_eq!((Saved::general(4), Saved::branch(5), Saved::float(20)), (None, None, None));
    }

    #[test]
    fn registers_of_the_x_formats() {
        let register = |abreg| Saved::from_abreg(abreg).map(Saved::register);
        assert_eq!(register(4), Some(Register::General(4)));
        assert_eq!(register(7), Some(Register::General(7)));
        assert_eq!(register(0x25), Some(Register::Float(5)));
        assert_eq!(register(0x30), Some(Register::Float(16)));
        assert_eq!(register(0x3f), Some(Register::Float(31)));
        assert_eq!(register(0x41), Some(Register::Branch(1)));
        assert_eq!(register(0x63), Some(Register::Special(Special::Rp)));
        assert_eq!(register(0x69), Some(Register::Special(Special::Pfs)));
        for none in [0, 3, 8, 0x21, 0x26, 0x2f, 0x40, 0x46, 0x6b, 0x7f] {
            assert_eq!(register(none), None);
        }
    }

    #[test]
    fn places_in_memory() {
        assert_eq!(Place::psp_relative(0), Place::AtPsp(16));
        assert_eq!(Place::psp_relative(6), Place::AtPsp(8u64.wrapping_neg()));
        assert_eq!(Place::sp_relative(4), Place::AtSp(16));
        assert!(!Place::psp_relative(0).dies_with_frame());
        assert!(Place::psp_relative(1).dies_with_frame());
        assert!(!Place::General(33).dies_with_frame());
    }
}
