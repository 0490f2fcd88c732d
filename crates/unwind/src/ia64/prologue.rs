//! What the descriptors of a prologue come to: which register is saved where and when.

use super::descriptor::Descriptor;
use super::place::{Place, Saved, SAVED};
use super::region::{in_time, Change, Effect};
use super::spill::Spills;
use super::status::Status;

/// Registers that get a general register of their own where only the time of their save is told, in this order.
const IMPLICIT: [Saved; 8] =
    [Saved::RP, Saved::PFS, Saved::PSP, Saved::PREDS, Saved::UNAT, Saved::LC, Saved::FPSR, Saved::PRIUNAT];

/// A save of which either half may still be missing.
#[derive(Clone, Copy, Debug)]
struct Save {
    saved: Saved,
    time: Option<u64>,
    place: Option<Place>,
}

/// A prologue whose descriptors are being read.
#[derive(Clone, Debug)]
pub(super) struct Prologue<'a> {
    length: u64,
    saves: Vec<Save>,
    /// The last save of each register; the primary unat's to memory is a separate one, at the end.
    last: [Option<usize>; SAVED + 1],
    /// The next general register for a save without a place.
    next_general: u8,
    spills: Spills<'a>,
    changes: Vec<Change>,
    /// Another return register than branch register 0.
    pub(super) return_branch: Option<u8>,
    /// The interrupted context it marks.
    pub(super) abi: Option<(u8, u8)>,
}

impl<'a> Prologue<'a> {
    pub(super) fn new(length: u64) -> Self {
        Prologue {
            length,
            saves: Vec::new(),
            last: [None; SAVED + 1],
            next_general: 32,
            spills: Spills::default(),
            changes: Vec::new(),
            return_branch: None,
            abi: None,
        }
    }

    /// A prologue that saves registers in successive general registers.
    pub(super) fn with_general(mask: u8, first: u8, length: u64) -> Result<Self, Status> {
        let mut prologue = Prologue::new(length);
        prologue.next_general = first;
        for (bit, saved) in [(8, Saved::RP), (4, Saved::PFS), (2, Saved::PSP), (1, Saved::PREDS)] {
            if mask & bit != 0 {
                let place = prologue.general()?;
                prologue.placed(saved, place);
            }
        }
        Ok(prologue)
    }

    fn general(&mut self) -> Result<Place, Status> {
        let number = self.next_general;
        if number > 127 {
            return Err(Status::BadDescriptor);
        }
        self.next_general += 1;
        Ok(Place::General(number))
    }

    fn last(&mut self, saved: Saved, memory: bool) -> &mut Option<usize> {
        let own = saved == Saved::PRIUNAT && memory;
        // An index below SAVED always exists; the primary unat's second one stands behind them.
        let [firsts @ .., second] = &mut self.last;
        match firsts.get_mut(saved.index()) {
            Some(last) if !own => last,
            _ => second,
        }
    }

    fn timed(&mut self, saved: Saved, time: u64, memory: bool) {
        let last = *self.last(saved, memory);
        match last.and_then(|index| self.saves.get_mut(index)) {
            // A second time is that of a second save only if the first one is complete.
            Some(save) if save.time.is_none() || save.place.is_none() => save.time = Some(time),
            _ => self.push(Save { saved, time: Some(time), place: None }, memory),
        }
    }

    fn placed(&mut self, saved: Saved, place: Place) {
        let memory = matches!(place, Place::AtPsp(_) | Place::AtSp(_));
        let last = *self.last(saved, memory);
        match last.and_then(|index| self.saves.get_mut(index)) {
            Some(save) if save.place.is_none() => save.place = Some(place),
            _ => self.push(Save { saved, time: None, place: Some(place) }, memory),
        }
    }

    fn push(&mut self, save: Save, memory: bool) {
        *self.last(save.saved, memory) = Some(self.saves.len());
        self.saves.push(save);
    }

    /// Takes the next descriptor.
    pub(super) fn add(&mut self, descriptor: Descriptor<'a>) -> Result<(), Status> {
        match descriptor {
            Descriptor::BranchMemory { mask } => self.spills.branch_to_memory(mask),
            Descriptor::BranchGeneral { mask, general } => self.spills.branch_to_general(mask, general)?,
            Descriptor::SavedGeneral { saved, general } => self.placed(saved, Place::General(general)),
            Descriptor::ReturnBranch { branch } => self.return_branch = Some(branch),
            Descriptor::SpillMask { mask } => self.spills.set_mask(mask),
            Descriptor::FloatGeneralMemory { general, float } => {
                self.spills.general_to_memory(general);
                self.spills.float_to_memory(float);
            }
            Descriptor::FloatMemory { mask } => self.spills.float_to_memory(u32::from(mask)),
            Descriptor::GeneralMemory { mask } => self.spills.general_to_memory(mask),
            Descriptor::FixedFrame { time, size } => {
                let place = Some(Place::SpPlus(size.wrapping_mul(16)));
                self.push(Save { saved: Saved::PSP, time: Some(time), place }, false);
            }
            Descriptor::SpillBase { offset } => self.spills.set_base(offset),
            Descriptor::When { saved, time, memory } => self.timed(saved, time, memory),
            Descriptor::AtPsp { saved, offset } => self.placed(saved, Place::psp_relative(offset)),
            Descriptor::AtSp { saved, offset } => self.placed(saved, Place::sp_relative(offset)),
            Descriptor::GeneralGeneral { mask, general } => self.spills.general_to_general(mask, general)?,
            Descriptor::Abi { abi, context } => self.abi = Some((abi, context)),
            Descriptor::Spill { .. } => self.changes.push(Change::of_spill(descriptor, self.length)?),
            _ => return Err(Status::BadDescriptor),
        }
        Ok(())
    }

    /// All changes of the state, in no order.
    pub(super) fn finish(mut self) -> Result<Vec<Change>, Status> {
        for saved in IMPLICIT {
            let last = *self.last(saved, false);
            let unplaced =
                last.and_then(|index| self.saves.get(index)).is_some_and(|save| save.place.is_none());
            if unplaced {
                let place = self.general()?;
                self.placed(saved, place);
            }
        }
        let length = self.length;
        let mut changes = Vec::new();
        for save in self.saves {
            let place = save.place.ok_or(Status::BadDescriptor)?;
            changes.push(Change::new(in_time(save.time, length), Effect::Saved(save.saved, place)));
        }
        for (saved, place, time) in self.spills.finish() {
            changes.push(Change::new(in_time(time, length), Effect::Saved(saved, place)));
        }
        changes.append(&mut self.changes);
        Ok(changes)
    }
}
