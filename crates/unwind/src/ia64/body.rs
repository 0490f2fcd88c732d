//! A body: labels are the region's business, what remains is saves anywhere and an epilogue.

use super::descriptor::Descriptor;
use super::region::{Change, Effect};
use super::status::Status;

/// A body whose descriptors are being read.
#[derive(Clone, Debug)]
pub(super) struct Body {
    length: u64,
    changes: Vec<Change>,
    /// Prologues that are left at its end.
    pub(super) leaves: Option<u64>,
}

impl Body {
    pub(super) fn new(length: u64) -> Self {
        Body { length, changes: Vec::new(), leaves: None }
    }

    /// Takes the next descriptor.
    pub(super) fn add(&mut self, descriptor: Descriptor<'_>) -> Result<(), Status> {
        match descriptor {
            Descriptor::Epilogue { time, count } => {
                // The instruction that restores the stack pointer stands `time` slots before the last one.
                let at = i128::from(self.length) - 1 - i128::from(time);
                self.changes.push(Change::new(at, Effect::FrameGivenBack));
                self.leaves = Some(count.saturating_add(1));
            }
            Descriptor::Spill { .. } => self.changes.push(Change::of_spill(descriptor, self.length)?),
            _ => return Err(Status::BadDescriptor),
        }
        Ok(())
    }

    /// All changes of the state, in no order.
    pub(super) fn finish(self) -> Vec<Change> {
        self.changes
    }
}
