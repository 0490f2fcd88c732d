//! From descriptors to rules: which registers are saved where when an instruction of a function is reached.
//!
//! A function is a row of regions. A prologue enters a new state, a body with an epilogue leaves one or more at its
//! end. What an instruction does is in force for all slots behind it.

use std::collections::HashMap;
use std::rc::Rc;

use super::body::Body;
use super::decode::Items;
use super::descriptor::{Descriptor, SpillTo};
use super::place::{Place, Saved, SAVED};
use super::prologue::Prologue;
use super::status::{Failure, Status};

/// The most prologues that may be entered, and the most labels.
pub const MOST_STATES: usize = 1024;

/// Where everything that a function has saved is found at one of its instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    places: [Place; SAVED],
    /// The branch register that holds the return pointer while it is not saved.
    pub return_branch: u8,
    /// The frame was interrupted: the system and its kind of context.
    pub abi: Option<(u8, u8)>,
}

impl Default for Rules {
    /// The rule for leaf functions: nothing is saved, branch register 0 returns.
    fn default() -> Self {
        Rules { places: [Place::Itself; SAVED], return_branch: 0, abi: None }
    }
}

impl Rules {
    /// Where a register is.
    pub fn place(&self, saved: Saved) -> Place {
        self.places.get(saved.index()).copied().unwrap_or_default()
    }

    fn set(&mut self, saved: Saved, place: Place) {
        if let Some(slot) = self.places.get_mut(saved.index()) {
            *slot = place;
        }
    }
}

/// The predicates that conditional saves ask for, read when the first one does.
pub struct Predicates<'a> {
    read: &'a mut dyn FnMut() -> Result<u64, Failure>,
    value: Option<u64>,
    /// The predicates that were asked for.
    pub used: u64,
}

impl<'a> Predicates<'a> {
    /// Predicates that are read by a function.
    pub fn new(read: &'a mut dyn FnMut() -> Result<u64, Failure>) -> Self {
        Predicates { read, value: None, used: 0 }
    }

    fn holds(&mut self, predicate: Option<u8>) -> Result<bool, Failure> {
        let Some(bit) = predicate.filter(|bit| *bit != 0) else { return Ok(true) };
        let value = match self.value {
            Some(value) => value,
            None => *self.value.insert((self.read)()?),
        };
        self.used |= 1 << (bit & 63);
        Ok(value >> (bit & 63) & 1 == 1)
    }
}

/// What an instruction changes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    /// A register is saved, or back in itself.
    Saved(Saved, Place),
    /// The stack pointer is the caller's again.
    FrameGivenBack,
}

/// A change and the slot of the region whose instruction makes it; -1 is before the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    time: i128,
    effect: Effect,
    predicate: Option<u8>,
}

impl Change {
    pub(super) fn new(time: i128, effect: Effect) -> Self {
        Change { time, effect, predicate: None }
    }

    /// The change of a [`Descriptor::Spill`] in a region of this length.
    pub(super) fn of_spill(descriptor: Descriptor<'_>, length: u64) -> Result<Self, Status> {
        let Descriptor::Spill { saved, time, to, predicate } = descriptor else {
            return Err(Status::BadDescriptor);
        };
        let place = match to {
            // The caller's stack pointer cannot be found with itself.
            SpillTo::AtPsp(_) if saved == Saved::PSP => return Err(Status::BadDescriptor),
            // Half of a floating-point register fits elsewhere, and half is not the register.
            SpillTo::General(_) | SpillTo::Branch(_) if saved.is_float() => {
                return Err(Status::BadDescriptor)
            }
            SpillTo::AtPsp(offset) => Place::psp_relative(offset),
            SpillTo::AtSp(offset) => Place::sp_relative(offset),
            SpillTo::General(number) => Place::General(number),
            SpillTo::Branch(number) => Place::Branch(number),
            SpillTo::Float(number) => Place::Float(number),
            SpillTo::Itself => Place::Itself,
        };
        Ok(Change { time: in_time(Some(time), length), effect: Effect::Saved(saved, place), predicate })
    }
}

/// The slot of a save: not behind the region, and its last one if nothing is said.
pub(super) fn in_time(time: Option<u64>, length: u64) -> i128 {
    let last = i128::from(length) - 1;
    time.map_or(last, |time| i128::from(time).min(last))
}

/// A prologue that was entered: the state before it, and the prologues around it.
struct Entered {
    before: Rules,
    outer: Option<Rc<Entered>>,
    depth: usize,
}

/// The state at some place of a function.
#[derive(Clone)]
struct State {
    rules: Rules,
    entered: Option<Rc<Entered>>,
}

impl State {
    fn enter(&mut self) -> Result<(), Status> {
        let depth = self.entered.as_ref().map_or(0, |entered| entered.depth) + 1;
        if depth > MOST_STATES {
            return Err(Status::NoMemory);
        }
        self.entered = Some(Rc::new(Entered { before: self.rules, outer: self.entered.take(), depth }));
        Ok(())
    }

    fn leave(&mut self, count: u64) -> Result<(), Status> {
        for _ in 0..count {
            let entered = self.entered.take().ok_or(Status::PrologueUnderflow)?;
            self.rules = entered.before;
            self.entered.clone_from(&entered.outer);
        }
        Ok(())
    }

    /// Makes the changes before a slot in the order of their times; None: all.
    fn change(
        &mut self,
        mut changes: Vec<Change>,
        slot: Option<u64>,
        predicates: &mut Predicates<'_>,
    ) -> Result<(), Failure> {
        changes.sort_by_key(|change| change.time);
        for change in changes {
            if slot.is_some_and(|slot| i128::from(slot) <= change.time) {
                break;
            }
            if !predicates.holds(change.predicate)? {
                continue;
            }
            match change.effect {
                Effect::Saved(saved, place) => self.rules.set(saved, place),
                Effect::FrameGivenBack => self.give_frame_back(),
            }
        }
        Ok(())
    }

    fn give_frame_back(&mut self) {
        self.rules.set(Saved::PSP, Place::Itself);
        for place in &mut self.rules.places {
            if place.dies_with_frame() {
                *place = Place::Itself;
            }
        }
    }
}

/// The region whose descriptors are being read.
enum Open<'a> {
    Nothing,
    Prologue(Box<Prologue<'a>>),
    Body(Body),
}

/// The rules for a slot of the function that `data` describes; None if no region reaches to it.
///
/// `data` begins behind the info block's header. A slot is the third of a bundle, counted from the function's start.
/// An error behind the region that holds the slot is not noticed.
pub fn rules(data: &[u8], slot: u64, predicates: &mut Predicates<'_>) -> Result<Option<Rules>, Failure> {
    let mut walk = Walk {
        state: State { rules: Rules::default(), entered: None },
        labels: HashMap::new(),
        open: Open::Nothing,
        start: 0,
        length: 0,
        slot,
    };
    for item in Items::new(data) {
        if let Some(rules) = walk.take(item?.descriptor, predicates)? {
            return Ok(Some(rules));
        }
    }
    walk.close(predicates)
}

struct Walk<'a> {
    state: State,
    labels: HashMap<u64, State>,
    open: Open<'a>,
    /// Slots before the open region, and its own.
    start: u64,
    length: u64,
    slot: u64,
}

impl<'a> Walk<'a> {
    fn take(
        &mut self,
        descriptor: Descriptor<'a>,
        predicates: &mut Predicates<'_>,
    ) -> Result<Option<Rules>, Failure> {
        let (open, length) = match descriptor {
            Descriptor::Prologue { length } => (Open::Prologue(Box::new(Prologue::new(length))), length),
            Descriptor::PrologueGeneral { mask, general, length } => {
                (Open::Prologue(Box::new(Prologue::with_general(mask, general, length)?)), length)
            }
            Descriptor::Body { length } => (Open::Body(Body::new(length)), length),
            inside => return self.inside(inside).map(|()| None),
        };
        let found = self.close(predicates)?;
        if found.is_none() {
            // No function has that many slots, but a sum of lengths may.
            self.start = self.start.saturating_add(self.length);
            self.length = length;
            if matches!(open, Open::Prologue(_)) {
                self.state.enter()?;
            }
            self.open = open;
        }
        Ok(found)
    }

    fn inside(&mut self, descriptor: Descriptor<'a>) -> Result<(), Failure> {
        match (&mut self.open, descriptor) {
            (Open::Body(_), Descriptor::LabelState { label }) => {
                if self.labels.len() >= MOST_STATES {
                    return Err(Status::NoMemory.into());
                }
                self.labels.insert(label, self.state.clone());
            }
            (Open::Body(_), Descriptor::CopyState { label }) => {
                self.state = self.labels.get(&label).ok_or(Status::UndefinedLabel)?.clone();
            }
            (Open::Body(body), descriptor) => body.add(descriptor)?,
            (Open::Prologue(prologue), descriptor) => prologue.add(descriptor)?,
            (Open::Nothing, _) => return Err(Status::BadDescriptor.into()),
        }
        Ok(())
    }

    /// Ends the open region; the rules if it holds the slot.
    fn close(&mut self, predicates: &mut Predicates<'_>) -> Result<Option<Rules>, Failure> {
        let slot = self.slot.checked_sub(self.start).filter(|slot| *slot < self.length);
        let leaves = match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => return Ok(None),
            Open::Prologue(prologue) => {
                if let Some(branch) = prologue.return_branch {
                    self.state.rules.return_branch = branch;
                }
                self.state.rules.abi = prologue.abi.or(self.state.rules.abi);
                self.state.change(prologue.finish()?, slot, predicates)?;
                None
            }
            Open::Body(body) => {
                let leaves = body.leaves;
                self.state.change(body.finish(), slot, predicates)?;
                leaves
            }
        };
        let rules = self.state.rules;
        if let Some(count) = leaves {
            self.state.leave(count)?;
        }
        Ok(slot.map(|_| rules))
    }
}
