//! The block decoder or the instruction decoder, whichever gives the instructions of a listing.

use odograph_core::config::TraceConfig;
use odograph_core::event::{Event, Status};
use odograph_core::flow::{BlockDecoder, BlockOptions, CodeError, InstructionDecoder};
use odograph_core::image::Image;

/// One of the two decoders; they are asked in the same way for everything but instructions.
pub enum Flow {
    /// Gives blocks.
    Blocks(BlockDecoder),
    /// Gives single instructions.
    Instructions(InstructionDecoder),
}

macro_rules! either {
    ($flow:expr, $decoder:ident => $answer:expr) => {
        match $flow {
            Flow::Blocks($decoder) => $answer,
            Flow::Instructions($decoder) => $answer,
        }
    };
}

impl Flow {
    pub fn new(insn_decoder: bool, config: &TraceConfig, options: BlockOptions, image: Image) -> Flow {
        if insn_decoder {
            Flow::Instructions(InstructionDecoder::new(config, options, image))
        } else {
            Flow::Blocks(BlockDecoder::new(config, options, image))
        }
    }

    pub fn sync_forward(&mut self, trace: &[u8]) -> Result<Status, CodeError> {
        either!(self, decoder => decoder.sync_forward(trace))
    }

    pub fn resync(&mut self, trace: &[u8]) -> Result<Status, CodeError> {
        either!(self, decoder => decoder.resync(trace))
    }

    pub fn event(&mut self, trace: &[u8]) -> Result<(Event, Status), CodeError> {
        either!(self, decoder => decoder.event(trace))
    }

    pub fn offset(&self) -> u64 {
        either!(self, decoder => decoder.offset())
    }

    pub fn set_image(&mut self, image: Image) {
        either!(self, decoder => decoder.set_image(image));
    }
}
