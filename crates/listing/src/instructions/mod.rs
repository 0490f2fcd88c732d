//! The listing of instructions, blocks and events, as libipt's `ptxed` prints it.
//!
//! The caller brings the trace, always the same bytes, its configuration, an image and options; back comes text in
//! pieces, which end at events where the caller may want another image. Error lines name the trace offset and the address to blame.

mod blame;
mod check;
mod code;
mod disassembly;
mod events;
mod flow;
mod options;

use std::any::Any;
use std::sync::Arc;

use odograph_core::config::TraceConfig;
use odograph_core::error::PtError;
use odograph_core::event::{Event, Status};
use odograph_core::flow::CodeError;
use odograph_core::image::Image;

use blame::{error_line, Blame, Last, Retries};
use code::Page;
use disassembly::Writer;
use flow::Flow;

pub use events::{event_line, EventColumns};
pub use options::InstructionOptions;

/// About how much text a piece has. A block is not divided, so pieces may be larger.
const PIECE: usize = 1 << 16;
/// Most blocks or instructions for a piece, whether they have text or not.
const PIECE_STEPS: usize = 1 << 18;

/// Why a piece of the listing ended.
pub enum Progress {
    /// There is more to list.
    More,
    /// An event the caller waits for has been taken, after its line.
    Event(Event),
    /// An exception out of a read-memory callback. Listing may go on; it asks for the same memory again.
    Foreign(Arc<dyn Any + Send + Sync>),
    /// The listing is complete.
    End,
}

/// At which events the listing stops for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopAt {
    /// At none.
    Never,
    /// At each whose time has reached this.
    Tsc(u64),
    /// At every event.
    Always,
}

impl StopAt {
    fn wants(self, event: &Event) -> bool {
        match self {
            StopAt::Never => false,
            // What happened at no known time may be earlier than anything.
            StopAt::Tsc(limit) => limit <= if event.has_tsc { event.tsc } else { 0 },
            StopAt::Always => true,
        }
    }
}

/// What a step found that the caller may want to know.
enum Found {
    Nothing,
    Event(Event),
    Foreign(Arc<dyn Any + Send + Sync>),
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Sync,
    Events(Standing),
    Code,
    Resync(Blame),
    Done,
}

/// What a status says.
#[derive(Clone, Copy, Debug)]
struct Standing {
    event_pending: bool,
    disabled: bool,
    eos: bool,
}

impl From<Status> for Standing {
    fn from(status: Status) -> Standing {
        Standing {
            event_pending: status.event_pending(),
            disabled: status.ip_suppressed(),
            eos: status.eos(),
        }
    }
}

/// A listing on its way through a trace.
pub struct InstructionListing {
    options: InstructionOptions,
    flow: Flow,
    step: Step,
    last: Last,
    /// The time of the last event that had one, 0 before.
    time: u64,
    /// Where the last failed synchronisation stood.
    failed_sync: u64,
    retries: Retries,
    instructions: u64,
    blocks: u64,
}

impl InstructionListing {
    /// A listing that has not begun.
    pub fn new(config: &TraceConfig, options: InstructionOptions, image: Image) -> InstructionListing {
        InstructionListing {
            flow: Flow::new(options.insn_decoder, config, options.blocks, image),
            options,
            step: Step::Sync,
            last: Last::default(),
            time: 0,
            failed_sync: 0,
            retries: Retries::default(),
            instructions: 0,
            blocks: 0,
        }
    }

    /// The number of instructions listed so far.
    pub fn instructions(&self) -> u64 {
        self.instructions
    }

    /// The number of blocks listed so far, empty ones included; 0 with the instruction decoder.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// From now on reads code from another image.
    pub fn set_image(&mut self, image: Image) {
        self.flow.set_image(image);
    }

    /// Appends the next piece to `out`. It ends early behind an event at which to stop, and behind its line.
    pub fn next_piece(&mut self, trace: &[u8], stop_at: StopAt, out: &mut Vec<u8>) -> Progress {
        let enough = out.len().saturating_add(PIECE);
        let mut writer = Writer::new(self.options.att);
        for _ in 0..PIECE_STEPS {
            if out.len() >= enough {
                break;
            }
            let found = match self.step {
                Step::Sync => self.sync(trace, out),
                Step::Events(standing) => self.events(trace, standing, out),
                Step::Code => self.code(trace, &mut writer, out),
                Step::Resync(blame) => self.resync(trace, blame, out),
                Step::Done => return Progress::End,
            };
            match found {
                Found::Nothing => {}
                Found::Event(event) if stop_at.wants(&event) => return Progress::Event(event),
                Found::Event(_) => {}
                Found::Foreign(object) => return Progress::Foreign(object),
            }
        }
        Progress::More
    }

    fn sync(&mut self, trace: &[u8], out: &mut Vec<u8>) -> Found {
        match self.flow.sync_forward(trace) {
            Ok(status) => self.step = Step::Events(status.into()),
            Err(CodeError::Pt(PtError::Eos)) => self.step = Step::Done,
            Err(CodeError::Pt(code)) => {
                let offset = self.flow.offset();
                error_line(out, Blame { offset, ip: 0 }, "sync error", code);
                if offset <= self.failed_sync {
                    self.step = Step::Done;
                }
                self.failed_sync = offset;
            }
            Err(CodeError::Foreign(object)) => return Found::Foreign(object),
        }
        Found::Nothing
    }

    /// Takes one pending event, or goes on to code or to the end.
    fn events(&mut self, trace: &[u8], standing: Standing, out: &mut Vec<u8>) -> Found {
        if !standing.event_pending {
            self.step = if standing.eos { Step::Done } else { Step::Code };
            if standing.eos && !standing.disabled && !self.options.quiet {
                out.extend_from_slice(b"[end of trace]\n");
            }
            return Found::Nothing;
        }
        match self.event(trace, out) {
            Ok((event, status)) => {
                self.step = Step::Events(status.into());
                Found::Event(event)
            }
            Err(error) => self.failed(error, out),
        }
    }

    fn event(&mut self, trace: &[u8], out: &mut Vec<u8>) -> Result<(Event, Status), CodeError> {
        let offset = self.options.offset.then(|| self.flow.offset());
        let (event, status) = self.flow.event(trace)?;
        self.retries.succeeded();
        if event.has_tsc {
            self.time = event.tsc;
        }
        if !self.options.quiet && !event.status_update {
            event_line(out, &event, self.options.events, offset);
        }
        Ok((event, status))
    }

    fn code(&mut self, trace: &[u8], writer: &mut Writer, out: &mut Vec<u8>) -> Found {
        let offset = self.flow.offset();
        let mut page = Page { options: &self.options, writer, out, offset, time: self.time };
        let run = match &mut self.flow {
            Flow::Blocks(decoder) => page.block(decoder, trace, self.blocks + 1, self.last),
            Flow::Instructions(decoder) => page.instruction(decoder, trace, self.last),
        };
        self.instructions += run.instructions;
        self.blocks += u64::from(run.block);
        self.last = run.last;
        if run.instructions > 0 {
            self.retries.succeeded();
        }
        match run.status {
            Ok(status) => {
                self.step = Step::Events(status.into());
                Found::Nothing
            }
            // There are events before the next instruction.
            Err(CodeError::Pt(PtError::EventIgnored)) => {
                self.step = Step::Events(Standing { event_pending: true, disabled: false, eos: false });
                Found::Nothing
            }
            Err(error) => self.failed(error, out),
        }
    }

    /// After an error of an event or of code.
    fn failed(&mut self, error: CodeError, out: &mut Vec<u8>) -> Found {
        let code = match error {
            CodeError::Foreign(object) => return Found::Foreign(object),
            CodeError::Pt(PtError::Eos) => {
                self.step = Step::Done;
                return Found::Nothing;
            }
            CodeError::Pt(code) => code,
        };
        let blame = Blame { offset: self.flow.offset(), ip: self.last.blame(code) };
        error_line(out, blame, "error", code);
        self.step = match self.options.resync_on_error && self.retries.may_retry(blame) {
            true => Step::Resync(blame),
            false => Step::Sync,
        };
        Found::Nothing
    }

    fn resync(&mut self, trace: &[u8], blame: Blame, out: &mut Vec<u8>) -> Found {
        match self.flow.resync(trace) {
            Ok(status) => {
                if status.ip_suppressed() && !self.options.quiet {
                    out.extend_from_slice(b"[disabled]\n");
                }
                self.step = Step::Events(status.into());
                Found::Nothing
            }
            // An event without a place comes first.
            Err(CodeError::Pt(PtError::EventIgnored)) => match self.event(trace, out) {
                Ok((event, _)) => Found::Event(event),
                Err(CodeError::Foreign(object)) => Found::Foreign(object),
                Err(CodeError::Pt(code)) => self.lost(blame, code, out),
            },
            Err(CodeError::Foreign(object)) => Found::Foreign(object),
            Err(CodeError::Pt(code)) => self.lost(blame, code, out),
        }
    }

    fn lost(&mut self, blame: Blame, code: PtError, out: &mut Vec<u8>) -> Found {
        error_line(out, Blame { offset: self.flow.offset(), ..blame }, "resync error", code);
        self.step = Step::Sync;
        Found::Nothing
    }
}
