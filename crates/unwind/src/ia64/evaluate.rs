//! From the place a register was saved in to its value.

use super::context::{spilled_float, word, Context, Float, Nat};
use super::place::{Place, Saved};
use super::region::Rules;
use super::register::{Location, Register, Special};
use super::status::{Failure, Status};
use super::target::{Request, Target};

/// The significand and exponent of NaTVal are these.
const NATVAL: [u64; 2] = [0, 0x1fffe];

/// A context with the rules of its frame, and the caller's stack pointer once that is known.
pub(super) struct Frame<'a> {
    pub(super) context: &'a Context,
    pub(super) rules: &'a Rules,
    pub(super) psp: Option<u64>,
}

/// The address of a place on the memory stack.
fn address(frame: &Frame<'_>, place: Place) -> Result<Option<u64>, Failure> {
    Ok(match place {
        Place::AtPsp(offset) => {
            Some(frame.psp.ok_or(Failure::Status(Status::BadDescriptor))?.wrapping_add(offset))
        }
        Place::AtSp(offset) => Some(frame.context.basic(Special::Sp)?.wrapping_add(offset)),
        _ => None,
    })
}

impl Frame<'_> {
    /// A word that was saved, with where it lies. None: it was not saved.
    pub(super) fn saved(
        &self,
        target: &mut dyn Target,
        saved: Saved,
    ) -> Result<Option<(u64, Location)>, Failure> {
        let place = self.rules.place(saved);
        if let Some(address) = address(self, place)? {
            let value = word(target, Request::MemoryStack, address)?;
            return Ok(Some((value, Location::MemoryStack(address))));
        }
        Ok(match place {
            Place::SpPlus(offset) => {
                Some((self.context.basic(Special::Sp)?.wrapping_add(offset), Location::Nowhere))
            }
            Place::General(number) => {
                let location = self.context.general_location(number)?;
                Some((self.context.general(target, number)?, location))
            }
            Place::Branch(number) => {
                Some((self.context.branch(target, number)?, self.context.branch_location(number)))
            }
            Place::Float(number) => {
                let [significand, _] = self.context.float(target, number)?;
                Some((significand, self.context.float_location(number)))
            }
            Place::Itself | Place::AtPsp(_) | Place::AtSp(_) => None,
        })
    }

    /// The caller's stack pointer.
    pub(super) fn stack_pointer(&self, target: &mut dyn Target) -> Result<(u64, Location), Failure> {
        match self.saved(target, Saved::PSP)? {
            Some(found) => Ok(found),
            None => Ok((self.context.basic(Special::Sp)?, self.context.location(Special::Sp))),
        }
    }

    /// The return pointer.
    pub(super) fn return_pointer(&self, target: &mut dyn Target) -> Result<(u64, Location), Failure> {
        match self.saved(target, Saved::RP)? {
            Some(found) => Ok(found),
            None => {
                let number = self.rules.return_branch;
                Ok((self.context.branch(target, number)?, self.context.branch_location(number)))
            }
        }
    }

    /// The caller's frame marker.
    pub(super) fn frame_marker(&self, target: &mut dyn Target) -> Result<(u64, Location), Failure> {
        match self.saved(target, Saved::PFS)? {
            Some(found) => Ok(found),
            None => self.context.special(target, Special::ArPfs),
        }
    }

    /// NaT bits of the general registers that the frame has spilled.
    pub(super) fn primary_unat(&self, target: &mut dyn Target) -> Result<(u64, Location), Failure> {
        match self.saved(target, Saved::PRIUNAT)? {
            Some(found) => Ok(found),
            None => self.context.special(target, Special::Unat),
        }
    }

    /// The NaT bit of a saved general register. `unat` is the primary unat if general registers lie in memory.
    pub(super) fn saved_nat(
        &self,
        target: &mut dyn Target,
        saved: Saved,
        location: Location,
        unat: u64,
    ) -> Result<Nat, Failure> {
        match (self.rules.place(saved), location) {
            (Place::AtPsp(_) | Place::AtSp(_), Location::MemoryStack(address)) => {
                Ok(Nat::Known(unat >> (address >> 3 & 63) & 1 == 1))
            }
            (Place::General(number), _) => self.context.nat(number),
            (Place::Float(number), _) => Ok(Nat::Known(self.context.float(target, number)? == NATVAL)),
            _ => Ok(Nat::Known(false)),
        }
    }

    /// A saved floating-point register. What lies in memory is read now only if `now`. None: it was not saved.
    pub(super) fn saved_float(
        &self,
        target: &mut dyn Target,
        saved: Saved,
        now: bool,
    ) -> Result<Option<(Float, Location)>, Failure> {
        let place = self.rules.place(saved);
        if let Some(address) = address(self, place)? {
            let float = if now { Float::Value(spilled_float(target, address)?) } else { Float::At(address) };
            return Ok(Some((float, Location::MemoryStack(address))));
        }
        match place {
            Place::Float(number) => {
                let value = self.context.float(target, number)?;
                Ok(Some((Float::Value(value), self.context.float_location(number))))
            }
            Place::Itself => Ok(None),
            _ => Err(Status::BadDescriptor.into()),
        }
    }

    /// Where the location of a register of the frame's own is told by another one: `sp` is general register 12.
    pub(super) fn own(register: Register) -> Register {
        match register {
            Register::General(12) => Register::Special(Special::Sp),
            other => other,
        }
    }
}
