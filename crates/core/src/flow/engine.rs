//! The walk: events on one side, the graph of code on the other, executed runs out.
//!
//! Bits are consumed as they come: after each packet the engine stands at the start of the node that
//! the last decision led to, and what runs there is reported with the next decision, event or the
//! end of the trace. An event that names an address cuts the node there.

use std::any::Any;
use std::sync::Arc;

use super::code::CodeError;
use super::graph::{Graph, InstructionMeta, NodeId, NodeKind, NODE_LIMIT};
use super::passed::Passed;
use super::return_stack::ReturnStack;
use super::sink::{Gap, GapCause, RunState, Sink, Where};
use crate::asid::Asid;
use crate::config::TraceConfig;
use crate::error::PtError;
use crate::event::{Event, EventDecoder, EventKind, FlowItem};
use crate::image::Image;
use crate::instruction::{Detail, ExecMode, InstructionClass};

/// An image and the time from which it holds.
#[derive(Clone)]
pub struct Moment {
    /// The image holds from this TSC on; 0 for the first.
    pub tsc: u64,
    /// Memory of the traced program from then on.
    pub image: Image,
}

/// The images of a trace, in order of time; at least one.
#[derive(Clone)]
pub struct Timeline {
    moments: Arc<Vec<Moment>>,
}

impl Timeline {
    /// One image for the whole trace.
    pub fn constant(image: Image) -> Self {
        Timeline { moments: Arc::new(vec![Moment { tsc: 0, image }]) }
    }

    /// Several, sorted by time here; an empty list means an empty image.
    pub fn new(mut moments: Vec<Moment>) -> Self {
        moments.sort_by_key(|moment| moment.tsc);
        if moments.is_empty() {
            moments.push(Moment { tsc: 0, image: Image::default() });
        }
        Timeline { moments: Arc::new(moments) }
    }

    /// The image in force at the start.
    pub fn first_image(&self) -> Image {
        self.moments.first().map(|moment| moment.image.clone()).unwrap_or_default()
    }

    fn get(&self, at: usize) -> Option<&Moment> {
        self.moments.get(at)
    }
}

/// How an engine decodes.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The mode before the trace has named one. A history assumes 64 bit.
    pub initial_mode: ExecMode,
    /// Bytes of trace without a PSB after which a checkpoint is offered all the same.
    pub checkpoint_every: u64,
    /// Most instructions without a packet before a walk counts as endless; never less than a decision
    /// point may hold, 4096.
    pub linear_limit: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            initial_mode: ExecMode::Bits64,
            checkpoint_every: 1 << 18,
            linear_limit: LINEAR_LIMIT,
        }
    }
}

/// Why a walk stopped.
#[derive(Clone)]
pub enum FlowError {
    /// The flow cannot be followed; after [`Engine::lose`] it can go on.
    Flow {
        /// Why.
        cause: GapCause,
        /// libipt's number, if it has one.
        code: Option<PtError>,
        /// Where, if known.
        ip: Option<u64>,
    },
    /// The events cannot be decoded further; only a PSB helps.
    Events(PtError),
    /// An exception from a read-memory callback.
    Foreign(Arc<dyn Any + Send + Sync>),
}

impl FlowError {
    fn at(code: PtError, ip: u64) -> Self {
        FlowError::Flow { cause: GapCause::of(code), code: Some(code), ip: Some(ip) }
    }

    /// libipt's number for the error, if it has one.
    pub fn code(&self) -> Option<PtError> {
        match self {
            FlowError::Flow { code, .. } => *code,
            FlowError::Events(code) => Some(*code),
            FlowError::Foreign(_) => None,
        }
    }
}

impl From<CodeError> for FlowError {
    fn from(error: CodeError) -> Self {
        match error {
            CodeError::Pt(code) => FlowError::Flow { cause: GapCause::of(code), code: Some(code), ip: None },
            CodeError::Foreign(object) => FlowError::Foreign(object),
        }
    }
}

/// Whether there is more to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Call again.
    More,
    /// The trace is at its end.
    End,
}

/// Whether instructions are being traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Tracing is off.
    Disabled,
    /// Tracing is on and the address is known.
    Enabled,
    /// After damage, until a packet names an address.
    Lost,
}

/// Where to synchronise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronisation {
    /// At the next PSB.
    Forward,
    /// At the PSB before.
    Backward,
    /// At the PSB at this offset.
    At(u64),
}

/// What an engine looked like at a PSB or between two packets; an engine made from it goes on there.
#[derive(Clone)]
pub struct Checkpoint {
    pub(super) events: Box<EventDecoder>,
    pub(super) position: Position,
    /// Address of the next instruction or, `at_decision`, of the branch that has been reported already.
    pub(super) ip: u64,
    pub(super) at_decision: bool,
    pub(super) held: Option<Held>,
    pub(super) bits: u64,
    pub(super) bits_left: u8,
    pub(super) state_known: bool,
    pub(super) mode_known: bool,
    pub(super) asid: Asid,
    pub(super) mode: ExecMode,
    pub(super) speculative: bool,
    pub(super) moment: usize,
    pub(super) stack: Box<[u64]>,
    pub(super) resume_ip: Option<u64>,
    pub(super) pending: Option<Box<Event>>,
    pub(super) damage: Option<Gap>,
    /// Instructions executed before it.
    pub step: u64,
    /// Trace offset at which decoding goes on.
    pub offset: u64,
    /// TSC estimate there, if there is one.
    pub tsc: Option<u64>,
}

/// Walks a trace. It does not hold the trace: every call brings the same bytes.
pub struct Engine {
    events: EventDecoder,
    graph: Graph,
    options: EngineOptions,
    timeline: Timeline,
    moment: usize,
    next_moment: u64,
    position: Position,
    /// Node the engine stands in, 0 if none.
    node: NodeId,
    /// Instructions of that node already reported.
    emitted: u16,
    /// The last reported instruction, if more events may bind to it.
    held: Option<Held>,
    /// The address space or mode changed after the last decision was reported and before it was taken:
    /// where it leads is looked up anew.
    crossed: bool,
    bits: u64,
    bits_left: u8,
    mode: ExecMode,
    asid: Asid,
    speculative: bool,
    stack: ReturnStack,
    /// Where execution is expected to go on after tracing was switched off.
    resume_ip: Option<u64>,
    pending: Option<Event>,
    /// A gap that is still growing.
    damage: Option<Gap>,
    step: u64,
    last_checkpoint: u64,
    /// PSB+ must agree with whether tracing is on.
    state_known: bool,
    /// PSB+ must agree with the mode: the trace has named it and nothing was lost since.
    mode_known: bool,
}

/// An executed instruction that events have bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Its address.
    pub ip: u64,
    /// What it is.
    pub meta: InstructionMeta,
    /// The kinds of events that have bound to it, a set of `bind` bits.
    pub kinds: u8,
}

/// Most instructions without a packet before a walk counts as endless.
const LINEAR_LIMIT: u64 = 1 << 24;

/// The kinds of events of which at most one binds to the same instruction.
mod bind {
    pub const PAGING: u8 = 1;
    pub const VMCS: u8 = 2;
    pub const PTWRITE: u8 = 4;
    pub const IRET: u8 = 8;
    pub const VMENTRY: u8 = 16;
    pub const UIRET: u8 = 32;
    pub const SWINTR: u8 = 64;
    pub const SYSCALL: u8 = 128;
}

fn is_far(meta: InstructionMeta) -> bool {
    matches!(
        meta.class(),
        InstructionClass::FarCall | InstructionClass::FarReturn | InstructionClass::FarJump
    )
}

fn needs_trace(meta: InstructionMeta) -> bool {
    match meta.class() {
        InstructionClass::CondJump | InstructionClass::Return => true,
        InstructionClass::Call | InstructionClass::Jump => meta.detail() != Detail::Direct,
        _ => is_far(meta),
    }
}

/// Where tracing is expected to go on after it stopped at a branch: behind a call that was not traced.
fn resume_after(ip: u64, meta: InstructionMeta) -> Option<u64> {
    matches!(meta.class(), InstructionClass::Call | InstructionClass::FarCall)
        .then(|| ip.wrapping_add(u64::from(meta.size())))
}

impl Engine {
    /// An engine that is not synchronised yet.
    pub fn new(config: &TraceConfig, options: EngineOptions, timeline: Timeline, graph: Graph) -> Self {
        let mut engine = Engine {
            events: EventDecoder::new(config),
            graph,
            mode: options.initial_mode,
            options,
            timeline,
            moment: 0,
            next_moment: u64::MAX,
            position: Position::Disabled,
            node: 0,
            emitted: 0,
            held: None,
            crossed: false,
            bits: 0,
            bits_left: 0,
            asid: Asid::default(),
            speculative: false,
            stack: ReturnStack::default(),
            resume_ip: None,
            pending: None,
            damage: None,
            step: 0,
            last_checkpoint: 0,
            state_known: false,
            mode_known: false,
        };
        engine.set_moment(0);
        engine
    }

    /// The learned code, for a later walk over the same trace.
    pub fn into_graph(self) -> Graph {
        self.graph
    }

    /// The learned code.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The packets and events behind the flow.
    pub fn events(&self) -> &EventDecoder {
        &self.events
    }

    /// Instructions executed so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The address space.
    pub fn asid(&self) -> Asid {
        self.asid
    }

    /// The execution mode.
    pub fn mode(&self) -> ExecMode {
        self.mode
    }

    /// Whether instructions are traced.
    pub fn position(&self) -> Position {
        self.position
    }

    /// TSC estimate, if a TSC has been seen.
    pub fn tsc(&self) -> Option<u64> {
        self.events.has_tsc().then(|| self.events.tsc())
    }

    fn image(&self) -> Image {
        self.timeline.get(self.moment).map(|moment| moment.image.clone()).unwrap_or_default()
    }

    fn set_moment(&mut self, moment: usize) {
        self.moment = moment;
        self.next_moment = self.timeline.get(moment + 1).map_or(u64::MAX, |next| next.tsc);
        self.enter();
    }

    /// Replaces the images, from the next block on.
    pub fn set_timeline(&mut self, timeline: Timeline) {
        self.timeline = timeline;
        self.set_moment(0);
        self.catch_up(&mut Ignore);
    }

    /// Goes over to the image of the present moment.
    fn catch_up<S: Sink>(&mut self, sink: &mut S) {
        if self.events.has_tsc() {
            let now = self.events.tsc();
            let mut moment = self.moment;
            while self.timeline.get(moment + 1).is_some_and(|next| next.tsc <= now) {
                moment += 1;
            }
            if moment != self.moment {
                self.set_moment(moment);
                sink.moment(moment, self.step);
            }
        }
    }

    /// Addresses have come to mean something else (image, address space or mode changed).
    fn enter(&mut self) {
        let here = self.ip_here();
        let image = self.image();
        self.graph.enter(&image, self.asid, self.mode);
        self.stack.forget_nodes();
        if self.node == 0 || self.position != Position::Enabled {
            return;
        }
        match here {
            Some(ip) => {
                self.make_room();
                self.node = self.graph.node_at(ip);
                self.emitted = 0;
            }
            // The branch has been reported but not taken: it stays, and leads into the new space.
            None => self.crossed = true,
        }
    }

    /// Evicts the graph if it is full. The caller sets the current node anew.
    fn make_room(&mut self) {
        if self.graph.is_full() {
            self.graph.evict();
            self.stack.forget_nodes();
            self.node = 0;
        }
    }

    /// Address of the next instruction to report, if it is known without trace.
    fn ip_here(&self) -> Option<u64> {
        if self.node == 0 || self.position != Position::Enabled {
            return None;
        }
        if self.emitted == 0 {
            return Some(self.graph.ip(self.node));
        }
        if let Some(&ip) = self.graph.ips(self.node).get(self.emitted as usize) {
            return Some(ip);
        }
        match self.graph.kind(self.node) {
            NodeKind::Split | NodeKind::Stuck | NodeKind::Endless => Some(self.graph.next_ip(self.node)),
            _ => None,
        }
    }

    fn stand_at(&mut self, ip: u64) {
        self.make_room();
        self.node = self.graph.node_at(ip);
        self.emitted = 0;
        self.held = None;
        self.crossed = false;
        self.bits_left = 0;
        self.position = Position::Enabled;
    }

    fn stand_nowhere(&mut self) {
        self.node = 0;
        self.emitted = 0;
        self.held = None;
        self.crossed = false;
        self.bits_left = 0;
        self.position = Position::Disabled;
    }

    #[inline]
    fn state(&self) -> RunState {
        RunState {
            step: self.step,
            tsc: self.events.tsc(),
            has_tsc: self.events.has_tsc(),
            speculative: self.speculative,
        }
    }

    /// Reports the instructions of the current node up to `to` (exclusive).
    #[inline]
    fn emit<S: Sink>(&mut self, sink: &mut S, to: u16) {
        let from = self.emitted;
        if to > from {
            sink.run(&self.graph, self.node, from, to, &self.state());
            self.graph.push_return_sites(self.node, from, to, &mut self.stack);
            self.step += u64::from(to - from);
            self.emitted = to;
            self.held = None;
        }
    }

    #[inline]
    fn emit_all<S: Sink>(&mut self, sink: &mut S) {
        let count = self.graph.count(self.node);
        self.emit(sink, count);
    }

    /// Makes sure the current node is learned.
    #[inline]
    fn learned(&mut self, passed: &mut Passed) -> Result<NodeKind, FlowError> {
        let kind = self.graph.kind(self.node);
        if kind != NodeKind::Stub {
            return Ok(kind);
        }
        self.learn(passed)
    }

    #[cold]
    fn learn(&mut self, passed: &mut Passed) -> Result<NodeKind, FlowError> {
        if self.graph.is_full() {
            passed.keep(&self.graph);
            let ip = self.graph.ip(self.node);
            self.make_room();
            self.node = self.graph.node_at(ip);
            self.emitted = 0;
        }
        self.graph.learn(self.node)?;
        Ok(self.graph.kind(self.node))
    }

    fn stuck(&self) -> FlowError {
        FlowError::at(self.graph.error(self.node), self.graph.next_ip(self.node))
    }

    fn endless(&self) -> FlowError {
        FlowError::Flow { cause: GapCause::Endless, code: None, ip: Some(self.graph.next_ip(self.node)) }
    }

    /// The flow needs something the trace does not say, at the last instruction reported.
    fn contradiction(&self, code: PtError) -> FlowError {
        let ip = self.graph.ips(self.node).last().copied().unwrap_or(self.graph.ip(self.node));
        FlowError::at(code, ip)
    }

    /// Goes on to the continuation of a full node.
    fn split(&mut self) {
        self.node = self.graph.follow(self.node, false);
        self.emitted = 0;
        self.held = None;
    }

    /// Consumes one decision from the bits at hand; the caller has made sure there is one.
    fn decide<S: Sink>(&mut self, trace: &[u8], sink: &mut S) -> Result<(), FlowError> {
        let mut passed = Passed::default();
        loop {
            match self.learned(&mut passed)? {
                NodeKind::Conditional if self.fits(&passed) => {
                    self.emit_all(sink);
                    self.bits_left -= 1;
                    let taken = self.bits >> self.bits_left & 1 != 0;
                    self.node = self.graph.follow(self.node, taken);
                    self.arrive();
                    return Ok(());
                }
                NodeKind::Return if self.fits(&passed) => {
                    self.emit_all(sink);
                    self.bits_left -= 1;
                    if self.bits >> self.bits_left & 1 == 0 {
                        return Err(self.contradiction(PtError::BadRetcomp));
                    }
                    let Some(site) = self.stack.pop() else {
                        return Err(self.contradiction(PtError::RetstackEmpty));
                    };
                    self.node = if site.node != 0 { site.node } else { self.graph.node_at(site.ip) };
                    self.arrive();
                    return Ok(());
                }
                NodeKind::Tip if self.fits(&passed) => {
                    // A deferred TIP: it stands behind the TNT whose bits are at hand.
                    self.emit_all(sink);
                    let ip = match self.events.next_flow(trace) {
                        FlowItem::Tip { ip } => ip,
                        FlowItem::Tnt { .. } => return Err(self.contradiction(PtError::BadQuery)),
                        FlowItem::Other => match self.events.next(trace) {
                            Ok(Event { kind: EventKind::Tip { ip }, ip_suppressed: false, .. }) => ip,
                            Ok(event) => {
                                self.pending = Some(event);
                                return Err(self.contradiction(PtError::BadQuery));
                            }
                            Err(_) => return Err(self.contradiction(PtError::BadQuery)),
                        },
                    };
                    self.node = self.graph.tip_target(self.node, ip);
                    self.arrive();
                    return Ok(());
                }
                kind => self.pass(sink, kind, &mut passed)?,
            }
        }
    }

    /// The engine has come to the start of a node.
    #[inline]
    fn arrive(&mut self) {
        self.emitted = 0;
        self.held = None;
        if self.crossed {
            self.crossed = false;
            let ip = self.graph.ip(self.node);
            self.node = self.graph.node_at(ip);
        }
    }

    fn linear_limit(&self) -> u64 {
        self.options.linear_limit.max(NODE_LIMIT as u64)
    }

    /// The rest of the current node does not make the walk too long.
    #[inline]
    fn fits(&self, passed: &Passed) -> bool {
        passed.reach(u64::from(self.graph.count(self.node) - self.emitted), self.linear_limit())
    }

    /// Leaves a node that does not end in a decision, or ends a walk that has become too long.
    fn pass<S: Sink>(&mut self, sink: &mut S, kind: NodeKind, passed: &mut Passed) -> Result<(), FlowError> {
        let from = self.emitted;
        if let Some(to) = passed.enter(&self.graph, self.node, from, self.linear_limit()) {
            self.emit(sink, to);
            let ip = self.graph.ips(self.node).get(to as usize).copied();
            return Err(FlowError::Flow { cause: GapCause::Endless, code: None, ip });
        }
        self.emit_all(sink);
        match kind {
            NodeKind::Split => self.split(),
            NodeKind::Stuck => return Err(self.stuck()),
            // The part of the loop before the place the walk began at has not been passed yet.
            NodeKind::Endless if from > 0 => {
                passed.look_closely();
                let head = self.graph.next_ip(self.node);
                self.node = self.graph.node_at(head);
                self.arrive();
            }
            _ => return Err(self.endless()),
        }
        Ok(())
    }

    /// A TIP that belongs to no event: the target of the next branch that needs one.
    fn take_tip<S: Sink>(&mut self, sink: &mut S, ip: u64) -> Result<(), FlowError> {
        let mut passed = Passed::default();
        loop {
            match self.learned(&mut passed)? {
                NodeKind::Tip | NodeKind::Return if self.fits(&passed) => {
                    self.emit_all(sink);
                    self.node = self.graph.tip_target(self.node, ip);
                    self.arrive();
                    return Ok(());
                }
                NodeKind::Conditional if self.fits(&passed) => {
                    self.emit_all(sink);
                    return Err(self.contradiction(PtError::BadQuery));
                }
                kind => self.pass(sink, kind, &mut passed)?,
            }
        }
    }

    /// Decodes until something rarer than TNT and TIP comes up, at most `budget` packets.
    fn run_fast<S: Sink>(&mut self, trace: &[u8], sink: &mut S, budget: u32) -> Result<bool, FlowError> {
        for _ in 0..budget {
            while self.bits_left > 0 {
                let node = *self.graph.node(self.node);
                match node.kind {
                    NodeKind::Conditional if self.emitted == 0 => {
                        sink.run(&self.graph, self.node, 0, node.count, &self.state());
                        self.step += u64::from(node.count);
                        if node.push_count > 0 {
                            self.graph.push_return_sites(self.node, 0, node.count, &mut self.stack);
                        }
                        self.bits_left -= 1;
                        let taken = self.bits >> self.bits_left & 1 != 0;
                        let known = if taken { node.taken } else { node.next };
                        self.node = if known != 0 { known } else { self.graph.follow(self.node, taken) };
                    }
                    _ => self.decide(trace, sink)?,
                }
            }
            match self.events.next_flow(trace) {
                FlowItem::Tnt { bits, size } => {
                    self.bits = bits;
                    self.bits_left = size;
                    // Execution goes on: no later event binds to the last instruction.
                    self.held = None;
                    if self.events.tsc() >= self.next_moment {
                        self.catch_up(sink);
                    }
                }
                FlowItem::Tip { ip } => {
                    if self.events.tsc() >= self.next_moment {
                        self.catch_up(sink);
                    }
                    if let Err(error) = self.take_tip(sink, ip) {
                        self.pending = Some(self.tip_event(ip));
                        return Err(error);
                    }
                }
                FlowItem::Other => return Ok(true),
            }
        }
        Ok(false)
    }

    /// Decodes a bounded piece of the trace: at most `budget` packets, or one rarer event.
    ///
    /// After an error the state stands where it occurred: call [`Engine::lose`] and go on.
    pub fn advance<S: Sink>(
        &mut self,
        trace: &[u8],
        sink: &mut S,
        budget: u32,
    ) -> Result<Progress, FlowError> {
        if self.position == Position::Enabled
            && self.pending.is_none()
            && !self.run_fast(trace, sink, budget)?
        {
            self.offer_checkpoint(sink);
            return Ok(Progress::More);
        }
        self.one_event(trace, sink)
    }

    /// Decodes one decision or one event.
    pub fn advance_one<S: Sink>(&mut self, trace: &[u8], sink: &mut S) -> Result<Progress, FlowError> {
        if self.position == Position::Enabled && self.bits_left > 0 {
            self.decide(trace, sink)?;
            return Ok(Progress::More);
        }
        self.one_event(trace, sink)
    }

    fn offer_checkpoint<S: Sink>(&mut self, sink: &mut S) {
        let offset = self.events.offset();
        if offset.saturating_sub(self.last_checkpoint) >= self.options.checkpoint_every && !self.crossed {
            self.last_checkpoint = offset;
            sink.checkpoint(self);
        }
    }

    fn one_event<S: Sink>(&mut self, trace: &[u8], sink: &mut S) -> Result<Progress, FlowError> {
        let event = match self.pending.take() {
            Some(event) => event,
            None => match self.events.next(trace) {
                Ok(event) => event,
                Err(PtError::Eos) => return self.finish(trace, sink),
                Err(code) => return Err(FlowError::Events(code)),
            },
        };
        if self.events.tsc() >= self.next_moment {
            self.catch_up(sink);
        }
        let lost = self.position == Position::Lost;
        if lost && !self.find_position(&event, sink) {
            return Ok(Progress::More);
        }
        match self.handle(event, sink) {
            Ok(()) => Ok(Progress::More),
            Err(error) => {
                // The event may tell where to go on, and a callback's exception changes nothing; but
                // one that was looked at for that already must not come a third time.
                if !lost || matches!(error, FlowError::Foreign(_)) {
                    self.pending = Some(event);
                }
                Err(error)
            }
        }
    }

    /// A TIP that the fast path took and the flow has no use for.
    fn tip_event(&self, ip: u64) -> Event {
        let (lost_mtc, lost_cyc) = self.events.time().lost();
        Event {
            kind: EventKind::Tip { ip },
            ip_suppressed: false,
            status_update: false,
            tsc: self.events.tsc(),
            has_tsc: self.events.has_tsc(),
            lost_mtc,
            lost_cyc,
            offset: self.events.offset(),
        }
    }

    /// The end of the trace: linear code runs on to the first instruction that needs trace.
    fn finish<S: Sink>(&mut self, trace: &[u8], sink: &mut S) -> Result<Progress, FlowError> {
        if self.position == Position::Lost {
            self.position = Position::Disabled;
            self.close_damage(trace.len() as u64, sink);
        }
        let mut passed = Passed::default();
        while self.position == Position::Enabled {
            match self.learned(&mut passed)? {
                NodeKind::Conditional | NodeKind::Return | NodeKind::Tip if self.fits(&passed) => {
                    self.emit_all(sink);
                    self.stand_nowhere();
                }
                kind => {
                    if let Err(error) = self.pass(sink, kind, &mut passed) {
                        self.stand_nowhere();
                        return Err(error);
                    }
                }
            }
        }
        Ok(Progress::End)
    }

    /// Gives up the position after an error; a gap grows until a packet names an address again.
    ///
    /// `to_psb`: nothing before the next PSB is used.
    pub fn lose<S: Sink>(&mut self, trace: &[u8], error: &FlowError, to_psb: bool, sink: &mut S) {
        let (cause, code, ip, offset) = match error {
            FlowError::Flow { cause, code, ip } => (*cause, *code, *ip, self.events.offset()),
            FlowError::Events(code) => {
                (GapCause::of(*code), Some(*code), self.ip_here(), self.events.offset())
            }
            FlowError::Foreign(_) => return,
        };
        if self.damage.is_none() {
            self.damage = Some(Gap {
                step: self.step,
                cause,
                code,
                offset,
                bytes_lost: 0,
                ip,
                asid: self.asid,
                tsc: self.tsc(),
            });
        }
        self.stand_nowhere();
        self.position = Position::Lost;
        if to_psb || matches!(error, FlowError::Events(_)) {
            self.pending = None;
            self.stack.clear();
            self.mode_known = false;
            self.synchronise(trace, sink);
        }
    }

    /// Looks for the next PSB whose PSB+ is whole. At the end of the trace there is none.
    fn synchronise<S: Sink>(&mut self, trace: &[u8], sink: &mut S) {
        let mut last = None;
        loop {
            match self.events.sync_forward(trace) {
                Ok(_) => break,
                Err(PtError::Eos) => {
                    self.close_damage(trace.len() as u64, sink);
                    self.stand_nowhere();
                    self.events.end(trace);
                    break;
                }
                Err(_) if last == Some(self.events.sync_offset()) => {
                    self.events.end(trace);
                    break;
                }
                Err(_) => last = Some(self.events.sync_offset()),
            }
        }
    }

    /// Starts at the first PSB. False if the trace has none.
    pub fn start(&mut self, trace: &[u8]) -> bool {
        let mut last = None;
        loop {
            match self.events.sync_forward(trace) {
                Ok(_) => return true,
                Err(PtError::Eos) => return false,
                Err(_) if last == Some(self.events.sync_offset()) => return false,
                Err(_) => last = Some(self.events.sync_offset()),
            }
        }
    }

    /// Forgets the flow and synchronises anew. `eos` if there is no such PSB; `nosync` if `offset` is
    /// none; or the error inside its PSB+.
    pub fn sync(&mut self, trace: &[u8], to: Synchronisation) -> Result<(), PtError> {
        let synced = match to {
            Synchronisation::Forward => self.events.sync_forward(trace),
            Synchronisation::Backward => self.events.sync_backward(trace),
            Synchronisation::At(offset) => self.events.sync_set(trace, offset),
        };
        self.stand_nowhere();
        self.stack.clear();
        self.pending = None;
        self.damage = None;
        self.speculative = false;
        self.resume_ip = None;
        self.asid = Asid::default();
        self.mode = self.options.initial_mode;
        self.last_checkpoint = 0;
        self.state_known = false;
        self.mode_known = false;
        self.set_moment(0);
        synced
    }

    fn close_damage<S: Sink>(&mut self, offset: u64, sink: &mut S) {
        if let Some(mut gap) = self.damage.take() {
            gap.bytes_lost = offset.saturating_sub(gap.offset);
            sink.gap(gap);
        }
    }

    /// While the position is lost: does this event give one? Applies what needs no position.
    ///
    /// Source: the rules of libipt's `pt_blk_resync`.
    fn find_position<S: Sink>(&mut self, event: &Event, sink: &mut S) -> bool {
        let found = match event.kind {
            // PSB+ closes the gap itself, and says whether tracing is on.
            EventKind::Enabled { .. } | EventKind::Disabled { .. } if event.status_update => return true,
            EventKind::Enabled { .. } | EventKind::Overflow { .. } => None,
            EventKind::Disabled { .. } => {
                // What ran up to here is not known; from here on nothing runs.
                self.close_damage(event.offset, sink);
                self.stand_nowhere();
                self.resume_ip = None;
                self.report(event, sink);
                return false;
            }
            EventKind::AsyncDisabled { at, .. } => Some(at),
            EventKind::AsyncBranch { from, .. } => Some(from),
            EventKind::Tip { ip } if !event.ip_suppressed => {
                self.close_damage(event.offset, sink);
                self.stand_at(ip);
                return false;
            }
            EventKind::Tip { .. } | EventKind::Tnt { .. } | EventKind::Trig { .. } => return false,
            EventKind::Paging { cr3, .. } => {
                self.set_cr3(cr3);
                return false;
            }
            EventKind::Vmcs { base } => {
                self.set_vmcs(base);
                return false;
            }
            _ => match event.ip() {
                Some(ip) if !event.ip_suppressed => Some(ip),
                _ => {
                    // Facts that need no address are kept; what they say is applied.
                    self.apply(event);
                    let place = Where { step: self.step, after: false, ip: None, resumed: false };
                    sink.event(event, place, self);
                    return false;
                }
            },
        };
        self.close_damage(event.offset, sink);
        match found {
            Some(ip) => self.stand_at(ip),
            None => self.stand_nowhere(),
        }
        true
    }

    fn set_cr3(&mut self, cr3: u64) {
        if self.asid.cr3 != Some(cr3) {
            self.asid.cr3 = Some(cr3);
            self.enter();
        }
    }

    fn set_vmcs(&mut self, base: u64) {
        if self.asid.vmcs != Some(base) {
            self.asid.vmcs = Some(base);
            self.enter();
        }
    }

    /// State changes that need no position.
    fn apply(&mut self, event: &Event) {
        match event.kind {
            EventKind::Paging { cr3, .. } | EventKind::AsyncPaging { cr3, .. } => self.set_cr3(cr3),
            EventKind::Vmcs { base } | EventKind::AsyncVmcs { base, .. } => self.set_vmcs(base),
            EventKind::ExecMode { mode, .. } if self.mode != mode && mode != ExecMode::Unknown => {
                self.mode = mode;
                self.enter();
            }
            EventKind::Tsx { speculative, .. } => self.speculative = speculative,
            _ => {}
        }
    }

    fn report<S: Sink>(&mut self, event: &Event, sink: &mut S) {
        let after = self.held.is_some();
        let ip = self.held.map_or_else(|| self.ip_here(), |held| Some(held.ip));
        let resumed = match event.kind {
            EventKind::Enabled { ip } => self.resume_ip == Some(ip) || event.status_update,
            _ => false,
        };
        sink.event(event, Where { step: self.step, after, ip, resumed }, self);
    }

    /// Walks to where the event belongs, reports it, and applies what it says.
    fn handle<S: Sink>(&mut self, event: Event, sink: &mut S) -> Result<(), FlowError> {
        let enabled = self.position == Position::Enabled;
        let ip = if event.ip_suppressed { None } else { event.ip() };
        match event.kind {
            EventKind::Tnt { bits, size } => {
                if !enabled {
                    return Err(FlowError::Flow {
                        cause: GapCause::Contradiction,
                        code: Some(PtError::NoEnable),
                        ip: None,
                    });
                }
                self.bits = bits;
                self.bits_left = size;
                self.held = None;
                return Ok(());
            }
            EventKind::Tip { ip } => {
                if !enabled || event.ip_suppressed {
                    let code = if enabled { PtError::BadPacket } else { PtError::NoEnable };
                    return Err(FlowError::Flow {
                        cause: GapCause::Contradiction,
                        code: Some(code),
                        ip: None,
                    });
                }
                return self.take_tip(sink, ip);
            }
            EventKind::Enabled { ip } if event.status_update => return self.psb(&event, Some(ip), sink),
            EventKind::Disabled { .. } if event.status_update => return self.psb(&event, None, sink),
            EventKind::Enabled { ip } => {
                if event.ip_suppressed || enabled {
                    let code = if enabled { PtError::BadContext } else { PtError::Noip };
                    return Err(FlowError::Flow {
                        cause: GapCause::Contradiction,
                        code: Some(code),
                        ip: None,
                    });
                }
                self.stand_at(ip);
                self.state_known = true;
                self.report(&event, sink);
                self.resume_ip = None;
                return Ok(());
            }
            EventKind::Disabled { .. } => {
                if enabled {
                    self.resume_ip = self.walk_to_disable(ip, sink)?;
                } else {
                    return Err(FlowError::Flow {
                        cause: GapCause::Contradiction,
                        code: Some(PtError::BadContext),
                        ip,
                    });
                }
                self.report(&event, sink);
                self.stand_nowhere();
                return Ok(());
            }
            EventKind::AsyncDisabled { at, .. } => {
                if !enabled {
                    return Err(FlowError::at(PtError::BadContext, at));
                }
                self.walk_to(at, sink)?;
                self.report(&event, sink);
                self.resume_ip = Some(at);
                self.stand_nowhere();
                return Ok(());
            }
            EventKind::AsyncBranch { from, to } => {
                if !enabled {
                    return Err(FlowError::at(PtError::BadContext, from));
                }
                self.walk_to(from, sink)?;
                self.report(&event, sink);
                if event.ip_suppressed {
                    return Err(FlowError::at(PtError::IpSuppressed, from));
                }
                self.stand_at(to);
                return Ok(());
            }
            EventKind::Overflow { .. } => {
                self.report(&event, sink);
                sink.gap(Gap {
                    step: self.step,
                    cause: GapCause::Overflow,
                    code: Some(PtError::Overflow),
                    offset: event.offset,
                    bytes_lost: 0,
                    ip,
                    asid: self.asid,
                    tsc: self.tsc(),
                });
                self.speculative = false;
                self.resume_ip = None;
                self.mode_known = false;
                self.state_known = ip.is_some();
                match ip {
                    Some(ip) => self.stand_at(ip),
                    None => self.stand_nowhere(),
                }
                return Ok(());
            }
            EventKind::AsyncPaging { .. }
            | EventKind::AsyncVmcs { .. }
            | EventKind::Tsx { .. }
            | EventKind::ExecMode { .. }
            | EventKind::Iflags { .. }
            | EventKind::Interrupt { .. }
            | EventKind::Smi { .. }
            | EventKind::Init { .. }
            | EventKind::Vmexit { .. }
            | EventKind::Shutdown { .. }
            | EventKind::Uintr { .. }
            | EventKind::Exstop { .. }
            | EventKind::Mwait { .. } => {
                if let (true, Some(ip)) = (enabled, ip) {
                    self.walk_to(ip, sink)?;
                }
                if let EventKind::ExecMode { mode, .. } = event.kind {
                    // PSB+ says how to go on, so nothing more is lost than what the wrong mode hid.
                    if event.status_update && enabled && self.mode_known && self.mode != mode {
                        self.note(PtError::BadStatusUpdate, ip, event.offset, sink);
                    }
                    self.mode_known = true;
                }
            }
            EventKind::Paging { .. } if enabled => self.walk_past(bind::PAGING, sink, |_, meta| {
                is_far(meta) || matches!(meta.detail(), Detail::MovCr3 | Detail::Vmlaunch | Detail::Vmresume)
            })?,
            EventKind::Vmcs { .. } if enabled => self.walk_past(bind::VMCS, sink, |_, meta| {
                is_far(meta) || matches!(meta.detail(), Detail::Vmptrld | Detail::Vmlaunch | Detail::Vmresume)
            })?,
            EventKind::Ptwrite { .. } if enabled => {
                self.walk_past(bind::PTWRITE, sink, |at, meta| match ip {
                    Some(ip) => at == ip,
                    None => meta.class() == InstructionClass::Ptwrite,
                })?
            }
            EventKind::Iret { .. } if enabled => self.walk_past(bind::IRET, sink, |at, meta| match ip {
                Some(ip) => at == ip,
                None => matches!(
                    meta.detail(),
                    Detail::Iret | Detail::Sysret | Detail::Sysexit | Detail::Erets | Detail::Eretu
                ),
            })?,
            EventKind::Vmentry { .. } if enabled => {
                self.walk_past(bind::VMENTRY, sink, |at, meta| match ip {
                    Some(ip) => at == ip,
                    None => matches!(meta.detail(), Detail::Vmlaunch | Detail::Vmresume),
                })?;
            }
            EventKind::Uiret { .. } if enabled => self.walk_past(bind::UIRET, sink, |at, meta| match ip {
                Some(ip) => at == ip,
                None => meta.detail() == Detail::Uiret,
            })?,
            EventKind::Swintr { .. } if enabled => match ip {
                Some(ip) => self.walk_to(ip, sink)?,
                None => self.walk_past(bind::SWINTR, sink, |_, meta| meta.detail() == Detail::Int)?,
            },
            EventKind::Syscall { .. } if enabled => match ip {
                Some(ip) => self.walk_to(ip, sink)?,
                None => self.walk_past(bind::SYSCALL, sink, |_, meta| meta.detail() == Detail::Syscall)?,
            },
            EventKind::Trig { .. } => {
                if let (true, Some(ip)) = (enabled, ip.filter(|&ip| ip != 0)) {
                    self.walk_to(ip, sink)?;
                }
            }
            _ => {}
        }
        self.report(&event, sink);
        self.apply(&event);
        Ok(())
    }

    /// Reports a contradiction after which decoding can go on at once.
    fn note<S: Sink>(&mut self, code: PtError, ip: Option<u64>, offset: u64, sink: &mut S) {
        sink.gap(Gap {
            step: self.step,
            cause: GapCause::of(code),
            code: Some(code),
            offset,
            bytes_lost: 0,
            ip,
            asid: self.asid,
            tsc: self.tsc(),
        });
    }

    /// The first event of a PSB+: tracing is on at `ip`, or off.
    fn psb<S: Sink>(&mut self, event: &Event, ip: Option<u64>, sink: &mut S) -> Result<(), FlowError> {
        let ip = if event.ip_suppressed { None } else { ip };
        let contradiction = match (self.position, ip) {
            (Position::Enabled, Some(ip)) => self.walk_to(ip, sink).err(),
            (Position::Enabled, None) | (Position::Disabled, Some(_)) if self.state_known => {
                Some(FlowError::Flow {
                    cause: GapCause::Contradiction,
                    code: Some(PtError::BadStatusUpdate),
                    ip,
                })
            }
            _ => None,
        };
        match contradiction {
            Some(FlowError::Foreign(object)) => return Err(FlowError::Foreign(object)),
            Some(FlowError::Flow { cause, code, ip }) => sink.gap(Gap {
                step: self.step,
                cause,
                code,
                offset: event.offset,
                bytes_lost: 0,
                ip,
                asid: self.asid,
                tsc: self.tsc(),
            }),
            _ => {}
        }
        self.close_damage(event.offset, sink);
        match ip {
            Some(ip) => self.stand_at(ip),
            None => self.stand_nowhere(),
        }
        self.state_known = true;
        self.last_checkpoint = self.events.offset();
        self.pending = Some(*event);
        sink.checkpoint(self);
        self.pending = None;
        self.report(event, sink);
        Ok(())
    }

    /// Proceeds without trace until the next instruction is the one at `ip`.
    fn walk_to<S: Sink>(&mut self, ip: u64, sink: &mut S) -> Result<(), FlowError> {
        let mut passed = Passed::default();
        loop {
            let kind = self.learned(&mut passed)?;
            let from = self.emitted as usize;
            let found = match self.graph.ips(self.node).get(from..) {
                Some(rest) => rest.iter().position(|&at| at == ip),
                None => None,
            };
            if let Some(nth) = found.filter(|&nth| passed.reach(nth as u64, self.linear_limit())) {
                if nth + from > 0 {
                    self.emit(sink, (from + nth) as u16);
                    self.node = self.graph.node_at(ip);
                    self.emitted = 0;
                }
                self.held = None;
                return Ok(());
            }
            match kind {
                NodeKind::Conditional | NodeKind::Return | NodeKind::Tip if self.fits(&passed) => {
                    self.emit_all(sink);
                    return Err(self.contradiction(PtError::BadQuery));
                }
                NodeKind::Stuck if self.graph.next_ip(self.node) == ip => {
                    self.emit_all(sink);
                    self.node = self.graph.node_at(ip);
                    self.arrive();
                    return Ok(());
                }
                kind => self.pass(sink, kind, &mut passed)?,
            }
        }
    }

    /// Proceeds without trace until an instruction of the wanted kind has been executed, and holds it.
    fn walk_past<S: Sink>(
        &mut self,
        kind_bit: u8,
        sink: &mut S,
        wanted: impl Fn(u64, InstructionMeta) -> bool,
    ) -> Result<(), FlowError> {
        if let Some(held) = &mut self.held {
            if held.kinds & kind_bit == 0 && wanted(held.ip, held.meta) {
                held.kinds |= kind_bit;
                return Ok(());
            }
        }
        let mut passed = Passed::default();
        loop {
            let kind = self.learned(&mut passed)?;
            let from = self.emitted as usize;
            let found = {
                let ips = self.graph.ips(self.node).iter().skip(from);
                let mut all = ips.zip(self.graph.metas(self.node).iter().skip(from));
                all.position(|(&ip, &meta)| wanted(ip, meta))
            };
            if let Some(nth) = found.filter(|&nth| passed.reach(nth as u64, self.linear_limit())) {
                self.emit(sink, (from + nth + 1) as u16);
                let ip = self.graph.ips(self.node).get(from + nth);
                let meta = self.graph.metas(self.node).get(from + nth);
                if let (Some(&ip), Some(&meta)) = (ip, meta) {
                    self.held = Some(Held { ip, meta, kinds: kind_bit });
                }
                return Ok(());
            }
            match kind {
                NodeKind::Conditional | NodeKind::Return | NodeKind::Tip if self.fits(&passed) => {
                    self.emit_all(sink);
                    return Err(self.contradiction(PtError::BadQuery));
                }
                kind => self.pass(sink, kind, &mut passed)?,
            }
        }
    }

    /// Proceeds to where tracing was switched off; returns where it is expected to resume.
    ///
    /// Without an IP that is behind the next MOV CR3 or the first instruction that needs trace; with
    /// one, where linear code reaches it, or the same.
    fn walk_to_disable<S: Sink>(&mut self, ip: Option<u64>, sink: &mut S) -> Result<Option<u64>, FlowError> {
        if let Some(held) = self.held {
            if needs_trace(held.meta) {
                return Ok(resume_after(held.ip, held.meta));
            }
            if held.meta.detail() == Detail::MovCr3 && ip.is_none() {
                return Ok(Some(held.ip));
            }
        }
        let mut passed = Passed::default();
        loop {
            let kind = self.learned(&mut passed)?;
            let from = self.emitted as usize;
            let found = match ip {
                Some(ip) => self.graph.ips(self.node).iter().skip(from).position(|&at| at == ip),
                None => self
                    .graph
                    .metas(self.node)
                    .iter()
                    .skip(from)
                    .position(|meta| meta.detail() == Detail::MovCr3)
                    .map(|nth| nth + 1),
            };
            if let Some(nth) = found.filter(|&nth| passed.reach(nth as u64, self.linear_limit())) {
                self.emit(sink, (from + nth) as u16);
                return Ok(match ip {
                    Some(ip) => Some(ip),
                    None => self.graph.ips(self.node).get((from + nth).wrapping_sub(1)).copied(),
                });
            }
            match kind {
                NodeKind::Conditional | NodeKind::Return | NodeKind::Tip if self.fits(&passed) => {
                    self.emit_all(sink);
                    let last = self.graph.count(self.node).wrapping_sub(1) as usize;
                    let ip = self.graph.ips(self.node).get(last);
                    let meta = self.graph.metas(self.node).get(last);
                    return Ok(ip.zip(meta).and_then(|(&ip, &meta)| resume_after(ip, meta)));
                }
                NodeKind::Stuck if ip == Some(self.graph.next_ip(self.node)) => {
                    self.emit_all(sink);
                    return Ok(ip);
                }
                kind => self.pass(sink, kind, &mut passed)?,
            }
        }
    }

    /// Everything needed to go on from here with another engine over the same trace.
    pub fn checkpoint(&self) -> Checkpoint {
        let here = self.ip_here();
        Checkpoint {
            events: Box::new(self.events.clone()),
            position: self.position,
            ip: here.or_else(|| self.graph.ips(self.node).last().copied()).unwrap_or(0),
            at_decision: here.is_none() && self.position == Position::Enabled,
            held: self.held,
            bits: self.bits,
            bits_left: self.bits_left,
            state_known: self.state_known,
            mode_known: self.mode_known,
            asid: self.asid,
            mode: self.mode,
            speculative: self.speculative,
            moment: self.moment,
            stack: self.stack.addresses().into_boxed_slice(),
            resume_ip: self.resume_ip,
            pending: self.pending.map(Box::new),
            damage: self.damage,
            step: self.step,
            offset: self.events.offset(),
            tsc: self.tsc(),
        }
    }

    /// Goes back (or on) to a checkpoint of the same trace.
    pub fn restore(&mut self, checkpoint: &Checkpoint) {
        self.events = (*checkpoint.events).clone();
        self.node = 0;
        self.asid = checkpoint.asid;
        self.mode = checkpoint.mode;
        self.stack = ReturnStack::from_addresses(&checkpoint.stack);
        self.set_moment(checkpoint.moment);
        match checkpoint.position {
            Position::Enabled => self.stand_at(checkpoint.ip),
            position => {
                self.stand_nowhere();
                self.position = position;
            }
        }
        self.speculative = checkpoint.speculative;
        self.resume_ip = checkpoint.resume_ip;
        self.pending = checkpoint.pending.as_deref().cloned();
        self.damage = checkpoint.damage;
        self.step = checkpoint.step;
        self.last_checkpoint = checkpoint.offset;
        self.state_known = checkpoint.state_known;
        self.mode_known = checkpoint.mode_known;
        self.bits = checkpoint.bits;
        self.bits_left = checkpoint.bits_left;
        // The code is known to whoever made the checkpoint; learning it again asks nobody.
        if checkpoint.at_decision && self.learned(&mut Passed::default()).is_ok() {
            self.emitted = self.graph.count(self.node);
        }
        self.held = checkpoint.held;
    }
}

struct Ignore;

impl Sink for Ignore {}
