//! The lines of instructions and blocks.

use std::io::Write;

use odograph_core::error::PtError;
use odograph_core::event::Status;
use odograph_core::flow::{Block, BlockDecoder, BlockInstruction, CodeError, Insn, InstructionDecoder};
use odograph_core::instruction::InstructionClass;

use super::blame::{error_line, Blame, Last};
use super::check::{check, Executed};
use super::disassembly::{Decoded, Writer};
use super::options::InstructionOptions;
use crate::text::hex_digits;

/// Where lines go, and where the trace stands.
pub struct Page<'a> {
    pub options: &'a InstructionOptions,
    pub writer: &'a mut Writer,
    pub out: &'a mut Vec<u8>,
    /// Where the trace stood before.
    pub offset: u64,
    /// The time of the last event.
    pub time: u64,
}

/// What was listed in one go.
pub struct Run {
    /// The number of instructions.
    pub instructions: u64,
    /// There was a block; it may have been empty.
    pub block: bool,
    /// What the next error comes behind.
    pub last: Last,
    /// What the decoder says.
    pub status: Result<Status, CodeError>,
}

impl Page<'_> {
    /// Lists the next instruction; `last` is what was listed before.
    pub fn instruction(&mut self, decoder: &mut InstructionDecoder, trace: &[u8], last: Last) -> Run {
        let mut insn = Insn::default();
        let status = decoder.next(trace, &mut insn);
        if insn.class == InstructionClass::Unknown {
            let last = match status {
                Ok(_) | Err(CodeError::Pt(PtError::EventIgnored)) => last,
                Err(_) => last.or_place(insn.ip),
            };
            return Run { instructions: 0, block: false, last, status };
        }
        let raw = insn.raw.get(..usize::from(insn.size)).unwrap_or(&[]);
        let executed = Executed { ip: insn.ip, mode: insn.mode, class: insn.class, raw };
        if !self.options.quiet {
            self.columns(insn.speculative, insn.ip);
            if !self.options.no_inst {
                self.text(&executed);
            }
            self.out.push(b'\n');
        }
        if self.options.check {
            check(self.out, self.offset, &executed);
        }
        Run { instructions: 1, block: false, last: Last::instruction(insn.ip, raw, insn.mode), status }
    }

    /// Lists the next block, the `number`th; `last` is what was listed before.
    pub fn block(&mut self, decoder: &mut BlockDecoder, trace: &[u8], number: u64, last: Last) -> Run {
        let mut block = Block::default();
        let status = decoder.next(trace, &mut block);
        if status.is_err() && block.ninsn == 0 {
            return Run { instructions: 0, block: false, last: last.or_place(block.ip), status };
        }
        let code = Code { decoder, block: &block };
        let end = decoder.instructions().last().map(|end| {
            let mut buffer = [0; 15];
            Last::instruction(end.ip, code.bytes(end, &mut buffer).unwrap_or(&[]), block.mode)
        });
        if !self.options.quiet {
            self.block_lines(&code, number);
        }
        if self.options.check {
            self.check_block(&code);
        }
        Run { instructions: u64::from(block.ninsn), block: true, last: end.unwrap_or(last), status }
    }

    fn block_lines(&mut self, code: &Code<'_>, number: u64) {
        if self.options.show_blocks {
            let _ = match self.options.stat {
                true => writeln!(self.out, "[block {number:x}]"),
                false => writeln!(self.out, "[block]"),
            };
        }
        let mut buffer = [0; 15];
        for insn in code.decoder.instructions() {
            self.columns(code.block.speculative, insn.ip);
            let Some(raw) = code.bytes(insn, &mut buffer) else {
                let _ = writeln!(self.out, " [fetch error: {}]", PtError::Nomap);
                break;
            };
            let known = self.text(&code.executed(insn, raw));
            self.out.push(b'\n');
            if !known {
                // ptxed finds the rest of the block by decoding what was just not understood.
                let blame = Blame { offset: self.offset, ip: insn.ip };
                error_line(self.out, blame, "reconstruct error", PtError::Nosync);
                break;
            }
        }
    }

    fn check_block(&mut self, code: &Code<'_>) {
        let mut buffer = [0; 15];
        for insn in code.decoder.instructions() {
            let (offset, ip) = (self.offset, insn.ip);
            let Some(raw) = code.bytes(insn, &mut buffer) else {
                let _ = writeln!(self.out, "[{offset:x}, {ip:x}: fetch error: {}]", PtError::Nomap);
                break;
            };
            if !check(self.out, offset, &code.executed(insn, raw)) {
                break;
            }
        }
    }

    /// What stands in front of the bytes and the text of an instruction.
    fn columns(&mut self, speculative: bool, ip: u64) {
        for (shown, value) in [(self.options.offset, self.offset), (self.options.time, self.time)] {
            if shown {
                hex_digits(self.out, value, 16);
                self.out.extend_from_slice(b"  ");
            }
        }
        if speculative {
            self.out.extend_from_slice(b"? ");
        }
        hex_digits(self.out, ip, 16);
    }

    /// Bytes and text of an instruction as far as they are wanted; false if it has no text.
    fn text(&mut self, executed: &Executed<'_>) -> bool {
        let decoded = Decoded::new(executed.raw, executed.ip, executed.mode);
        let shown = !self.options.no_inst;
        if decoded.is_err() || shown && self.options.raw_insn {
            for &byte in executed.raw {
                self.out.push(b' ');
                hex_digits(self.out, u64::from(byte), 2);
            }
        }
        match decoded {
            Ok(_) if !shown => true,
            Ok(decoded) => {
                if self.options.raw_insn {
                    let missing = 15usize.saturating_sub(executed.raw.len());
                    self.out.extend(std::iter::repeat_n(b' ', 3 * missing));
                }
                self.out.extend_from_slice(b"  ");
                self.out.extend_from_slice(self.writer.text(&decoded).as_bytes());
                true
            }
            Err(why) => {
                let _ = write!(self.out, " [xed decode error: ({}) {}]", why.number(), why.name());
                false
            }
        }
    }
}

/// A block and the decoder that knows its instructions.
struct Code<'a> {
    decoder: &'a BlockDecoder,
    block: &'a Block,
}

impl Code<'_> {
    /// The bytes of an instruction, `None` if they cannot be read any more.
    fn bytes<'b>(&self, insn: &BlockInstruction, buffer: &'b mut [u8; 15]) -> Option<&'b [u8]> {
        let raw = buffer.get_mut(..usize::from(insn.size))?;
        if insn.truncated {
            raw.copy_from_slice(self.block.raw.get(..raw.len())?);
            return Some(raw);
        }
        (self.decoder.bytes(insn.ip, raw) == raw.len()).then_some(raw)
    }

    fn executed<'b>(&self, insn: &BlockInstruction, raw: &'b [u8]) -> Executed<'b> {
        Executed { ip: insn.ip, mode: self.block.mode, class: insn.class, raw }
    }
}
