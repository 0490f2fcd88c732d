//! What a judge says, and the comparison of ours with it.

use odograph_core::instruction::{decode, Detail, ExecMode, Instruction, InstructionClass};

use crate::{accepted, iced, yaxpeax};

pub const MODES: [ExecMode; 3] = [ExecMode::Bits16, ExecMode::Bits32, ExecMode::Bits64];

/// Address at which both sides see the bytes, far from any end of the narrower address spaces.
pub const IP: u64 = 0x4000;

/// An instruction as a judge sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub size: u8,
    pub class: InstructionClass,
    /// `Jmpabs`, `Erets` and the like only where the judge knows them.
    pub detail: Detail,
    /// Target of a direct near branch and the mask of the address width it was cut to.
    pub target: Option<(u64, u64)>,
}

/// What a judge makes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    Known(Verdict),
    Unknown,
    TooShort,
}

/// Ours as a verdict, to compare with a judge's.
fn agrees(ours: &Instruction, judge: &Verdict) -> bool {
    let target = match (ours.target(IP), judge.target) {
        (Some(ours), Some((theirs, mask))) => ours & mask == theirs & mask,
        (None, None) => true,
        _ => false,
    };
    ours.size == judge.size && ours.class == judge.class && ours.detail == judge.detail && target
}

/// Compares ours with both judges. The error says what differs.
pub fn compare(bytes: &[u8], mode: ExecMode) -> Result<(), String> {
    let ours = decode(bytes, mode);
    for (name, opinion) in [("iced", iced::opinion(bytes, mode)), ("yaxpeax", yaxpeax::opinion(bytes, mode))]
    {
        let same = match (&ours, &opinion) {
            (Ok(ours), Opinion::Known(judge)) => agrees(ours, judge),
            (Err(_), Opinion::Known(_)) => false,
            (_, Opinion::Unknown) => true,
            // Judges may want a byte more before they see that there is no instruction; what ours
            // calls truncated and what invalid is tested by itself.
            (ours, Opinion::TooShort) => ours.is_err(),
        };
        if !same && accepted::difference(name, bytes, mode).is_none() {
            return Err(format!("{bytes:02x?} in {mode:?}: ours {ours:?}, {name} {opinion:?}"));
        }
    }
    Ok(())
}
