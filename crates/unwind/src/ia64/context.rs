//! The registers of a frame, and where each of them lies.

use super::register::{Location, Register, Special};
use super::rse::{add_to_bsp, collection, rotated};
use super::status::{Failure, Status};
use super::target::{Request, Target};

/// A floating-point register that calls preserve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Float {
    /// As in the initial context.
    #[default]
    Initial,
    Value([u64; 2]),
    /// On the memory stack; not read yet.
    At(u64),
}

/// The NaT bit of a general register that calls preserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nat {
    Known(bool),
    /// That of the register at a backing store address; not read yet.
    Stacked(u64),
}

/// A context: what is known without asking is here, the rest is that of the initial context.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) special: [Option<u64>; 16],
    /// General registers 4 to 7.
    pub(super) general: [Option<u64>; 4],
    pub(super) nat: [Nat; 4],
    /// Branch registers 1 to 5.
    pub(super) branch: [Option<u64>; 5],
    /// Floating-point registers 2 to 5 and 16 to 31.
    pub(super) float: [Float; 20],
    pub(super) history: History,
}

/// Where the values of a context lie.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) special: [Location; 16],
    pub(super) general: [Location; 4],
    pub(super) branch: [Location; 5],
    pub(super) float: [Location; 20],
}

impl Default for History {
    /// Everything in its own register.
    fn default() -> Self {
        History {
            special: Special::ALL.map(|special| Location::Register(Register::Special(special))),
            general: [4, 5, 6, 7].map(|number| Location::Register(Register::General(number))),
            branch: [1, 2, 3, 4, 5].map(|number| Location::Register(Register::Branch(number))),
            float: std::array::from_fn(|index| {
                let number = u8::try_from(index).unwrap_or(0);
                Location::Register(Register::Float(if index < 4 { number + 2 } else { number + 12 }))
            }),
        }
    }
}

impl Default for Context {
    fn default() -> Self {
        Context {
            special: [None; 16],
            general: [None; 4],
            nat: [Nat::Known(false); 4],
            branch: [None; 5],
            float: [Float::Initial; 20],
            history: History::default(),
        }
    }
}

/// The place of general register 4 to 7 in a table.
pub(super) fn general_index(number: u8) -> Option<usize> {
    matches!(number, 4..=7).then(|| usize::from(number) - 4)
}

/// The place of branch register 1 to 5.
pub(super) fn branch_index(number: u8) -> Option<usize> {
    matches!(number, 1..=5).then(|| usize::from(number) - 1)
}

/// The place of floating-point register 2 to 5 or 16 to 31.
pub(super) fn float_index(number: u8) -> Option<usize> {
    match number {
        2..=5 => Some(usize::from(number) - 2),
        16..=31 => Some(usize::from(number) - 12),
        _ => None,
    }
}

/// A word of one of the stacks.
pub(super) fn word(target: &mut dyn Target, request: Request, address: u64) -> Result<u64, Failure> {
    let status = match request {
        Request::RegisterStack => Status::CopyInRegisterStack,
        _ => Status::CopyInMemoryStack,
    };
    let mut bytes = [0; 8];
    if !address.is_multiple_of(8) || !target.copy_in(request, address, &mut bytes)? {
        return Err(status.into());
    }
    Ok(u64::from_le_bytes(bytes))
}

/// A floating-point register on the memory stack: two words.
pub(super) fn spilled_float(target: &mut dyn Target, address: u64) -> Result<[u64; 2], Failure> {
    let significand = word(target, Request::MemoryStack, address)?;
    Ok([significand, word(target, Request::MemoryStack, address.wrapping_add(8))?])
}

/// A register of the initial context.
fn initial(target: &mut dyn Target, register: Register) -> Result<u64, Failure> {
    let mut bytes = [0; 8];
    if !target.copy_in(Request::Register, register.code(), &mut bytes)? {
        return Err(Status::CopyInRegister.into());
    }
    Ok(u64::from_le_bytes(bytes))
}

impl Context {
    /// Whether enough is known to unwind.
    pub(super) fn is_complete(&self) -> bool {
        [Special::Ip, Special::Sp, Special::Bsp, Special::Cfm]
            .iter()
            .all(|special| self.known(*special).is_some())
    }

    /// A special register that is known without asking.
    pub(super) fn known(&self, special: Special) -> Option<u64> {
        self.special.get(special as usize).copied().flatten()
    }

    /// One of ip, sp, bsp and cfm.
    pub(super) fn basic(&self, special: Special) -> Result<u64, Failure> {
        self.known(special).ok_or(Failure::Status(Status::NoContext))
    }

    pub(super) fn set(&mut self, special: Special, value: Option<u64>, location: Location) {
        if let (Some(slot), Some(place)) =
            (self.special.get_mut(special as usize), self.history.special.get_mut(special as usize))
        {
            (*slot, *place) = (value, location);
        }
    }

    pub(super) fn location(&self, special: Special) -> Location {
        self.history.special.get(special as usize).copied().unwrap_or(Location::Nowhere)
    }

    /// A special register that is none of the basic ones, with where it lies.
    pub(super) fn special(
        &self,
        target: &mut dyn Target,
        special: Special,
    ) -> Result<(u64, Location), Failure> {
        match (self.known(special), special) {
            (Some(value), _) => Ok((value, self.location(special))),
            (None, Special::Pfs | Special::ArPfs) => self.initial_pfs(target),
            (None, _) => {
                let register = Register::Special(special);
                Ok((initial(target, register)?, Location::Register(register)))
            }
        }
    }

    /// `ar.pfs` of the initial context. Callbacks know it by one number or by the other.
    fn initial_pfs(&self, target: &mut dyn Target) -> Result<(u64, Location), Failure> {
        if let Some(value) = self.known(Special::ArPfs) {
            return Ok((value, self.location(Special::ArPfs)));
        }
        let register = Register::Special(Special::Pfs);
        match initial(target, register) {
            Ok(value) => Ok((value, Location::Register(register))),
            Err(Failure::Status(_)) => {
                let register = Register::Special(Special::ArPfs);
                Ok((initial(target, register)?, Location::Register(register)))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Where a stacked general register lies.
    pub(super) fn stacked(&self, number: u8) -> Result<u64, Failure> {
        let index = rotated(self.basic(Special::Cfm)?, u64::from(number.saturating_sub(32)));
        Ok(add_to_bsp(self.basic(Special::Bsp)?, i64::try_from(index).unwrap_or(0)))
    }

    /// Where a general register lies.
    pub(super) fn general_location(&self, number: u8) -> Result<Location, Failure> {
        if let Some(location) = general_index(number).and_then(|index| self.history.general.get(index)) {
            return Ok(*location);
        }
        Ok(match number {
            0 => Location::Nowhere,
            12 => self.location(Special::Sp),
            32.. => Location::RegisterStack(self.stacked(number)?),
            _ => Location::Register(Register::General(number)),
        })
    }

    /// A general register.
    pub(super) fn general(&self, target: &mut dyn Target, number: u8) -> Result<u64, Failure> {
        if let Some(Some(value)) = general_index(number).and_then(|index| self.general.get(index)) {
            return Ok(*value);
        }
        match number {
            0 => Ok(0),
            12 => self.basic(Special::Sp),
            32.. => word(target, Request::RegisterStack, self.stacked(number)?),
            _ => initial(target, Register::General(number)),
        }
    }

    /// The NaT bit of a general register, as far as it was followed.
    pub(super) fn nat(&self, number: u8) -> Result<Nat, Failure> {
        if let Some(nat) = general_index(number).and_then(|index| self.nat.get(index)) {
            return Ok(*nat);
        }
        match number {
            32.. => Ok(Nat::Stacked(self.stacked(number)?)),
            _ => Ok(Nat::Known(false)),
        }
    }

    /// Where a branch register lies.
    pub(super) fn branch_location(&self, number: u8) -> Location {
        let known = branch_index(number).and_then(|index| self.history.branch.get(index));
        known.copied().unwrap_or(Location::Register(Register::Branch(number)))
    }

    /// A branch register.
    pub(super) fn branch(&self, target: &mut dyn Target, number: u8) -> Result<u64, Failure> {
        match branch_index(number).and_then(|index| self.branch.get(index)) {
            Some(Some(value)) => Ok(*value),
            _ => initial(target, Register::Branch(number)),
        }
    }

    /// Where a floating-point register lies.
    pub(super) fn float_location(&self, number: u8) -> Location {
        match (number, float_index(number).and_then(|index| self.history.float.get(index))) {
            (0 | 1, _) => Location::Nowhere,
            (_, Some(location)) => *location,
            (_, None) => Location::Register(Register::Float(number)),
        }
    }

    /// A floating-point register.
    pub(super) fn float(&self, target: &mut dyn Target, number: u8) -> Result<[u64; 2], Failure> {
        match number {
            0 => return Ok([0, 0]),
            1 => return Ok([1 << 63, 0xffff]),
            _ => {}
        }
        match float_index(number).and_then(|index| self.float.get(index)) {
            Some(Float::Value(value)) => Ok(*value),
            Some(Float::At(address)) => spilled_float(target, *address),
            _ => {
                let mut bytes = [0; 16];
                let code = Register::Float(number).code();
                if !target.copy_in(Request::Register, code, &mut bytes)? {
                    return Err(Status::CopyInRegister.into());
                }
                let both = u128::from_le_bytes(bytes);
                let low = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
                Ok([low(both), low(both >> 64)])
            }
        }
    }
}

/// A NaT bit, read now if it was not.
pub(super) fn read_nat(target: &mut dyn Target, nat: Nat) -> Result<bool, Failure> {
    match nat {
        Nat::Known(nat) => Ok(nat),
        Nat::Stacked(address) => {
            let (collection, bit) = collection(address);
            Ok(word(target, Request::RegisterStack, collection)? >> bit & 1 == 1)
        }
    }
}
