//! Blocks and events, one at a time, exactly as libipt's block decoder gives them.
//!
//! The caller brings a trace, a configuration and an image, and pulls: [`BlockDecoder::next`] fills a [`Block`] with
//! what ran up to the next decision, event or change of section, [`BlockDecoder::event`] takes the event that the
//! status announces. Events belong between the instructions before and behind the call. Errors come with libipt's
//! codes; [`BlockDecoder::resync`] or a synchronisation lets decoding go on. Out of scope: histories, gaps, images over
//! time; those are the [`super::Engine`]'s, which walks the same graph of code for speed.
//!
//! Source: the observable behaviour of libipt's `pt_blk_*` functions; Intel SDM volume 3C, "Intel Processor Trace".

mod binding;
mod block;
mod branch;
mod effect;
mod resync;
mod walk;

pub use block::{Block, BlockInstruction, BlockOptions};

use std::collections::HashSet;
use std::sync::Arc;

use super::binding::Held;
use super::code::{Code, CodeError};
use super::graph::Graph;
use super::repair::Repair;
use super::return_stack::ReturnStack;
use super::visited::Passed;
use crate::asid::Asid;
use crate::config::TraceConfig;
use crate::error::PtError;
use crate::event::{Event, EventDecoder, EventKind, EventTime, Status};
use crate::image::Image;
use crate::instruction::ExecMode;

/// An event that was looked at although one before it is not used up yet.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    event: Result<Event, PtError>,
    /// Where the packets stood before.
    offset: u64,
}

/// Gives blocks and events. It does not hold the trace: every call brings the same bytes.
pub struct BlockDecoder {
    events: EventDecoder,
    ahead: Option<Ahead>,
    options: BlockOptions,
    repair: Repair,
    image: Image,
    graph: Graph,
    /// The event that comes next, or why there is none.
    current: Result<Event, PtError>,
    /// `current` was an asynchronous disable before SKD022 was recognised.
    stray_fup: bool,
    /// Bits of `current` that are not used up, if it is a TNT.
    bits_left: u8,
    /// A tick that stands before `current`.
    tick: Option<Event>,
    /// The status announces an event: it belongs here.
    pending: bool,
    enabled: bool,
    /// The next instruction, or `held`; where tracing is expected to resume while it is off.
    ip: u64,
    mode: ExecMode,
    asid: Asid,
    speculative: bool,
    stack: ReturnStack,
    /// The last instruction listed, if events may still bind behind it.
    held: Option<Executed>,
    /// Instructions since the last packet with a place, if there was one: what TRIG counts from.
    anchor: Option<u64>,
    /// Instructions before the place of a current TRIG that counts.
    trig_left: Option<u64>,
    /// Addresses passed since the last use of the trace.
    passed: Passed,
    /// Addresses at which blocks ended since then although nothing was to be decided.
    cuts: HashSet<u64>,
    last_tsc: u64,
    time: EventTime,
    core_bus_ratio: Option<u8>,
    list: Vec<BlockInstruction>,
    place: Place,
}

/// An executed instruction with what is needed to leave it.
#[derive(Clone, Copy, Debug)]
struct Executed {
    held: Held,
    /// Where it goes if taken or not conditional.
    target: u64,
    /// It is a branch that needs the trace.
    needs_trace: bool,
}

/// What all instructions of the block at hand share.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    isid: i32,
    section: u64,
    mode: ExecMode,
    speculative: bool,
    start: u64,
}

impl BlockDecoder {
    /// A decoder that is not synchronised.
    pub fn new(config: &TraceConfig, options: BlockOptions, image: Image) -> Self {
        let graph = Graph::new(Arc::new(Code::default()), &image, Asid::default(), ExecMode::Unknown);
        BlockDecoder {
            events: EventDecoder::new(config),
            ahead: None,
            options,
            repair: Repair::new(config),
            image,
            graph,
            current: Err(PtError::Nosync),
            stray_fup: false,
            bits_left: 0,
            tick: None,
            pending: false,
            enabled: false,
            ip: 0,
            mode: ExecMode::Unknown,
            asid: Asid::default(),
            speculative: false,
            stack: ReturnStack::default(),
            held: None,
            anchor: None,
            trig_left: None,
            passed: Passed::default(),
            cuts: HashSet::new(),
            last_tsc: 0,
            time: EventTime::default(),
            core_bus_ratio: None,
            list: Vec::new(),
            place: Place::default(),
        }
    }

    /// Synchronises at the next PSB. `eos` if there is none; an error inside its PSB+ is returned, and the next call
    /// looks behind it.
    pub fn sync_forward(&mut self, trace: &[u8]) -> Result<Status, CodeError> {
        let synced = self.events.sync_forward(trace);
        self.start(trace, synced)
    }

    /// Synchronises at the last PSB whose PSB+ ends before the present position. `eos` if there is none.
    pub fn sync_backward(&mut self, trace: &[u8]) -> Result<Status, CodeError> {
        let synced = self.events.sync_backward(trace);
        self.start(trace, synced)
    }

    /// Synchronises at the PSB at `offset`. `nosync` if there is none.
    pub fn sync_set(&mut self, trace: &[u8], offset: u64) -> Result<Status, CodeError> {
        let synced = self.events.sync_set(trace, offset);
        self.start(trace, synced)
    }

    fn start(&mut self, trace: &[u8], synced: Result<(), PtError>) -> Result<Status, CodeError> {
        self.ahead = None;
        self.tick = None;
        self.pending = false;
        self.enabled = false;
        self.ip = 0;
        self.mode = ExecMode::Unknown;
        self.asid = Asid::default();
        self.speculative = false;
        self.stack.clear();
        self.held = None;
        self.anchor = None;
        self.forget_passed();
        self.last_tsc = 0;
        self.time = EventTime::default();
        self.core_bus_ratio = None;
        self.list.clear();
        self.enter();
        if let Err(error) = synced {
            self.current = Err(PtError::Nosync);
            return Err(CodeError::Pt(error));
        }
        self.fetch(trace);
        if let Ok(Event {
            kind: EventKind::Enabled { ip, .. },
            status_update: true,
            ip_suppressed: false,
            ..
        }) = self.current
        {
            self.enabled = true;
            self.ip = ip;
        }
        self.announce();
        Ok(self.status())
    }

    /// Offset of the packet at hand: the first that has not been used up.
    pub fn offset(&self) -> u64 {
        self.ahead.map_or_else(|| self.events.offset(), |ahead| ahead.offset)
    }

    /// It has been synchronised, perhaps without success.
    pub fn is_synced(&self) -> bool {
        self.events.is_synced()
    }

    /// Offset of the last PSB.
    pub fn sync_offset(&self) -> u64 {
        self.events.sync_offset()
    }

    /// Address of the next instruction, of the instruction to blame after an error, or of where tracing is expected to
    /// resume (0: not known) while it is off.
    pub fn ip(&self) -> u64 {
        self.ip
    }

    /// Execution mode; unknown until the trace has named it.
    pub fn mode(&self) -> ExecMode {
        self.mode
    }

    /// Inside a transaction.
    pub fn speculative(&self) -> bool {
        self.speculative
    }

    /// Address space.
    pub fn asid(&self) -> Asid {
        self.asid
    }

    /// Time of the last event that was used.
    pub fn time(&self) -> EventTime {
        self.time
    }

    /// Core to bus clock ratio from the last CBR event that was taken.
    pub fn core_bus_ratio(&self) -> Option<u8> {
        self.core_bus_ratio
    }

    /// Instructions of the block that [`BlockDecoder::next`] filled last, in order.
    pub fn instructions(&self) -> &[BlockInstruction] {
        &self.list
    }

    /// Code bytes at an address of the present address space; returns how many could be had.
    pub fn bytes(&self, ip: u64, buffer: &mut [u8]) -> usize {
        self.graph.copy(ip, buffer)
    }

    /// Memory of the traced program.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Replaces the image, from the next block on.
    pub fn set_image(&mut self, image: Image) {
        self.image = image;
        self.enter();
    }

    /// Addresses have come to mean something else: image, address space or mode changed.
    fn enter(&mut self) {
        self.graph.enter(&self.image, self.asid, self.mode);
    }

    /// What holds now.
    fn status(&self) -> Status {
        let eos = self.tick.is_none() && self.current == Err(PtError::Eos);
        Status::new(self.pending, !self.enabled, eos)
    }

    /// Goes on to the next event of the trace.
    fn fetch(&mut self, trace: &[u8]) {
        self.current = match self.ahead.take() {
            Some(ahead) => ahead.event,
            None => self.events.next(trace),
        };
        self.trig_left = None;
        self.stray_fup = false;
        let Ok(event) = self.current else { return };
        match event.kind {
            EventKind::Tnt { size, .. } => self.bits_left = size,
            EventKind::AsyncDisabled { at, ip } if self.repair.enters_vm(&mut self.graph, at) => {
                self.stray_fup = true;
                self.current = Ok(Event { kind: EventKind::Disabled { ip }, ..event });
            }
            EventKind::Trig { icnt, ip: 0, .. } if self.enabled && !event.ip_suppressed => {
                let passed = self.anchor.and_then(|passed| u64::from(icnt).checked_sub(passed));
                match passed {
                    Some(left) => self.trig_left = Some(left),
                    None => self.current = Err(PtError::BadPacket),
                }
            }
            _ => {}
        }
    }
}
