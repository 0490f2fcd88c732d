//! Instructions and events, one at a time, exactly as libipt's instruction decoder gives them.
//!
//! The caller pulls [`InstructionDecoder::next`], and [`InstructionDecoder::event`] where the status announces one. It
//! goes through the blocks of a [`BlockDecoder`], so both layers agree by construction.

use super::blocks::{Block, BlockDecoder, BlockOptions};
use super::code::CodeError;
use crate::asid::Asid;
use crate::config::TraceConfig;
use crate::error::PtError;
use crate::event::{Event, EventTime, Status};
use crate::image::Image;
use crate::instruction::{ExecMode, InstructionClass};

/// One executed instruction; libipt's `pt_insn`. Behind an error: where it occurred, with class `Unknown`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Insn {
    /// Its address.
    pub ip: u64,
    /// Section cache identifier, 0 if the section is not from a cache.
    pub isid: i32,
    /// Execution mode.
    pub mode: ExecMode,
    /// How control leaves it.
    pub class: InstructionClass,
    /// Its bytes, `size` of them.
    pub raw: [u8; 15],
    /// Its length in bytes.
    pub size: u8,
    /// Executed inside a transaction.
    pub speculative: bool,
    /// Its bytes continue in another section.
    pub truncated: bool,
}

/// Gives instructions and events. It does not hold the trace: every call brings the same bytes.
pub struct InstructionDecoder {
    blocks: BlockDecoder,
    block: Block,
    /// The next instruction of the block.
    nth: usize,
    /// What the block ended with; told with its last instruction, or behind it if it is an error.
    ended: Result<Status, CodeError>,
}

impl InstructionDecoder {
    /// A decoder that is not synchronised. Blocks are cut nowhere; of the options only the ticks matter.
    pub fn new(config: &TraceConfig, options: BlockOptions, image: Image) -> Self {
        let options = BlockOptions { end_on_call: false, end_on_jump: false, ..options };
        InstructionDecoder {
            blocks: BlockDecoder::new(config, options, image),
            block: Block::default(),
            nth: 0,
            ended: Ok(Status::default()),
        }
    }

    fn started(&mut self, status: Result<Status, CodeError>) -> Result<Status, CodeError> {
        self.block = Block::default();
        self.nth = 0;
        self.ended = Ok(status.as_ref().copied().unwrap_or_default());
        status
    }

    /// As [`BlockDecoder::sync_forward`].
    pub fn sync_forward(&mut self, trace: &[u8]) -> Result<Status, CodeError> {
        let synced = self.blocks.sync_forward(trace);
        self.started(synced)
    }

    /// As [`BlockDecoder::sync_backward`].
    pub fn sync_backward(&mut self, trace: &[u8]) -> Result<Status, CodeError> {
        let synced = self.blocks.sync_backward(trace);
        self.started(synced)
    }

    /// As [`BlockDecoder::sync_set`].
    pub fn sync_set(&mut self, trace: &[u8], offset: u64) -> Result<Status, CodeError> {
        let synced = self.blocks.sync_set(trace, offset);
        self.started(synced)
    }

    /// As [`BlockDecoder::resync`]; what is left of the present block is dropped.
    pub fn resync(&mut self, trace: &[u8]) -> Result<Status, CodeError> {
        let synced = self.blocks.resync(trace);
        self.started(synced)
    }

    /// Instructions of the present block that have not been given yet.
    fn left(&self) -> usize {
        self.blocks.instructions().len().saturating_sub(self.nth).min(usize::from(self.block.ninsn))
    }

    /// Fills `insn` with the next instruction.
    ///
    /// `event_ignored` if an event is to be taken first, which may also turn up only now; otherwise the errors of
    /// [`BlockDecoder::next`], with `insn` telling where.
    pub fn next(&mut self, trace: &[u8], insn: &mut Insn) -> Result<Status, CodeError> {
        *insn = Insn::default();
        if self.left() == 0 {
            match std::mem::replace(&mut self.ended, Ok(Status::default())) {
                Ok(status) if status.event_pending() => {
                    self.ended = Ok(status);
                    return Err(CodeError::Pt(PtError::EventIgnored));
                }
                Ok(_) => {}
                Err(error) => return self.failed(insn, error),
            }
            loop {
                self.nth = 0;
                match self.blocks.next(trace, &mut self.block) {
                    Err(error) if self.left() == 0 => return self.failed(insn, error),
                    ended => self.ended = ended,
                }
                if self.left() > 0 {
                    break;
                }
                // A branch that was left late leads to an empty block; an event hides behind another.
                if self.ended.as_ref().is_ok_and(|status| status.event_pending()) {
                    return Err(CodeError::Pt(PtError::EventIgnored));
                }
            }
        }
        let Some(found) = self.blocks.instructions().get(self.nth).copied() else {
            return Err(CodeError::Pt(PtError::Internal));
        };
        self.nth += 1;
        *insn = Insn {
            ip: found.ip,
            isid: self.block.isid,
            mode: self.block.mode,
            class: found.class,
            raw: [0; 15],
            size: found.size,
            speculative: self.block.speculative,
            truncated: found.truncated,
        };
        let size = usize::from(found.size).min(insn.raw.len());
        if let Some(raw) = insn.raw.get_mut(..size) {
            self.blocks.bytes(found.ip, raw);
        }
        match (&self.ended, self.left()) {
            (Ok(status), 0) => Ok(*status),
            _ => Ok(Status::default()),
        }
    }

    fn failed(&mut self, insn: &mut Insn, error: CodeError) -> Result<Status, CodeError> {
        *insn = Insn {
            ip: self.blocks.ip(),
            isid: self.block.isid,
            mode: self.blocks.mode(),
            speculative: self.blocks.speculative(),
            ..Insn::default()
        };
        Err(error)
    }

    /// As [`BlockDecoder::event`]; `bad_query` while instructions of the present block are left.
    pub fn event(&mut self, trace: &[u8]) -> Result<(Event, Status), CodeError> {
        if self.left() > 0 {
            return Err(CodeError::Pt(PtError::BadQuery));
        }
        let (event, status) = self.blocks.event(trace)?;
        self.ended = Ok(status);
        Ok((event, status))
    }

    /// As [`BlockDecoder::offset`].
    pub fn offset(&self) -> u64 {
        self.blocks.offset()
    }

    /// As [`BlockDecoder::is_synced`].
    pub fn is_synced(&self) -> bool {
        self.blocks.is_synced()
    }

    /// As [`BlockDecoder::sync_offset`].
    pub fn sync_offset(&self) -> u64 {
        self.blocks.sync_offset()
    }

    /// Address of the next instruction, or of the one to blame after an error.
    pub fn ip(&self) -> u64 {
        let next = self.blocks.instructions().get(self.nth).filter(|_| self.left() > 0);
        next.map_or(self.blocks.ip(), |next| next.ip)
    }

    /// As [`BlockDecoder::asid`].
    pub fn asid(&self) -> Asid {
        self.blocks.asid()
    }

    /// As [`BlockDecoder::time`].
    pub fn time(&self) -> EventTime {
        self.blocks.time()
    }

    /// As [`BlockDecoder::core_bus_ratio`].
    pub fn core_bus_ratio(&self) -> Option<u8> {
        self.blocks.core_bus_ratio()
    }

    /// As [`BlockDecoder::bytes`].
    pub fn bytes(&self, ip: u64, buffer: &mut [u8]) -> usize {
        self.blocks.bytes(ip, buffer)
    }

    /// As [`BlockDecoder::image`].
    pub fn image(&self) -> &Image {
        self.blocks.image()
    }

    /// Replaces the image, from the next block on.
    pub fn set_image(&mut self, image: Image) {
        self.blocks.set_image(image);
    }
}
