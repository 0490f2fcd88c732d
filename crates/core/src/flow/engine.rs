//! The walk: events on one side, the graph of code on the other, executed runs out.
//!
//! Bits are consumed as they come: after each packet the engine stands at the start of the node that
//! the last decision led to, and what runs there is reported with the next decision, event or the
//! end of the trace. An event that names an address cuts the node there.
//!
//! This file is long because it holds the loop that walks the trace, whose parts the compiler puts into one function.

use serde::{Deserialize, Serialize};
use std::any::Any;
use std::sync::Arc;

mod around;
mod checkpoint;
mod damage;
mod events;
mod fast;
mod walk;

pub use checkpoint::Checkpoint;

use super::binding::Held;
use super::code::CodeError;
use super::graph::{Graph, NodeId, NodeKind, NODE_LIMIT};
use super::repair::Repair;
use super::return_stack::ReturnStack;
use super::sink::{Gap, GapCause, RunState, Sink};
use super::timeline::{Timeline, When};
use super::visited::Passed;
use crate::asid::Asid;
use crate::config::TraceConfig;
use crate::error::PtError;
use crate::event::{Event, EventDecoder, EventKind, FlowItem};
use crate::image::Image;
use crate::instruction::ExecMode;
use crate::packet::MARK_PERIOD;

/// How an engine decodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Position {
    /// Tracing is off.
    Disabled,
    /// Tracing is on and the address is known.
    Enabled,
    /// After damage, until a packet names an address.
    Lost,
}

/// Walks a trace. It does not hold the trace: every call brings the same bytes.
pub struct Engine {
    events: EventDecoder,
    repair: Repair,
    graph: Graph,
    options: EngineOptions,
    timeline: Timeline,
    moment: usize,
    /// The image of that moment.
    image: Image,
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
    /// The step of the last event with a place, if there was one: what TRIG counts from.
    anchor: Option<u64>,
    /// The trace has decided something since: it is the present step that TRIG counts from.
    decided: bool,
    /// The count of the recorder's mark that stands directly before what comes next.
    mark: Option<u64>,
    /// At a PSB: many instructions lie between it and the last decision.
    far: bool,
    /// The step of the last note since a PSB.
    noted: Option<u64>,
    last_checkpoint: u64,
    /// PSB+ must agree with whether tracing is on.
    state_known: bool,
    /// PSB+ must agree with the mode: the trace has named it and nothing was lost since.
    mode_known: bool,
}

/// Addresses from here on are the kernel's on x86-64.
const KERNEL_START: u64 = 1 << 63;

/// Instructions from the last decision to a PSB that are many.
const FAR: u64 = MARK_PERIOD / 2;

/// Most instructions without a packet before a walk counts as endless.
const LINEAR_LIMIT: u64 = 1 << 24;

impl Engine {
    /// An engine that is not synchronised yet.
    pub fn new(config: &TraceConfig, options: EngineOptions, timeline: Timeline, graph: Graph) -> Self {
        let mut engine = Engine {
            events: EventDecoder::new(config),
            repair: Repair::new(config),
            graph,
            mode: options.initial_mode,
            options,
            image: timeline.first_image(),
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
            anchor: None,
            decided: false,
            mark: None,
            far: false,
            noted: None,
            last_checkpoint: 0,
            state_known: false,
            mode_known: false,
        };
        engine.set_moment(0);
        engine
    }

    /// Forgets what was remembered of packets, but not the code.
    pub fn forget_windows(&mut self) {
        self.graph.windows_mut().clear();
    }

    /// The learned code, for a later walk over the same trace.
    pub fn into_graph(self) -> Graph {
        self.graph
    }

    /// The learned code.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The graph of the code, to keep something in it.
    pub fn graph_mut(&mut self) -> &mut Graph {
        &mut self.graph
    }

    /// The packets and events behind the flow.
    pub fn events(&self) -> &EventDecoder {
        &self.events
    }

    /// Instructions executed so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// In [`Sink::checkpoint`] at a PSB: whether many instructions lie between it and the last place that the trace
    /// told of. To walk there again takes longer than the few bytes of trace say.
    pub fn has_come_far(&self) -> bool {
        self.far
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

    fn set_moment(&mut self, moment: usize) {
        if self.moment != moment {
            self.image = self.timeline.image_after(&self.image, self.moment, moment);
        }
        self.moment = moment;
        self.next_moment = self.timeline.get(moment + 1).map_or(u64::MAX, |next| next.tsc);
        self.enter();
    }

    /// Goes over to the image of the present moment; `offset` is where what comes next lies in the trace.
    ///
    /// While instructions are traced, only the memory of the thread that runs may change: its time and that of
    /// the records that tell of threads have errors of their own. Who runs changes with [`Engine::change_thread`].
    fn catch_up<S: Sink>(&mut self, sink: &mut S, offset: u64) {
        let owner = self.timeline.get(self.moment).map(|moment| moment.owner);
        let anybody = self.position != Position::Enabled;
        self.go_to_moment(sink, offset, |moment| anybody || Some(moment.owner) == owner);
    }

    /// Another thread may run, behind a packet that was reached from `before`: in the kernel, or where nothing is
    /// traced. What comes next lies at `offset`.
    fn change_thread<S: Sink>(&mut self, sink: &mut S, offset: u64, before: Option<u64>) {
        let in_kernel = |ip: u64| ip >= KERNEL_START;
        if self.position != Position::Enabled
            || before.is_some_and(in_kernel)
            || self.node_ip().is_some_and(in_kernel)
        {
            self.go_to_moment(sink, offset, |_| true);
        }
    }

    /// Goes over to the last moment that has come and is `fit`.
    fn go_to_moment<S: Sink>(&mut self, sink: &mut S, offset: u64, fit: impl Fn(&When) -> bool) {
        if !self.events.has_tsc() {
            return;
        }
        let now = self.events.tsc();
        let mut found = self.moment;
        let mut next = self.moment + 1;
        while let Some(moment) = self.timeline.get(next).filter(|moment| moment.tsc <= now) {
            if fit(&moment) {
                found = next;
            }
            next += 1;
        }
        if found != self.moment {
            self.set_moment(found);
            sink.moment(found, self.step, offset);
        }
    }

    /// Where the engine stands, roughly: the first address of its node.
    fn node_ip(&self) -> Option<u64> {
        (self.node != 0).then(|| self.graph.ip(self.node))
    }

    /// Addresses have come to mean something else (image, address space or mode changed).
    fn enter(&mut self) {
        let here = self.ip_here();
        self.stack.forget_nodes(&self.graph);
        self.graph.enter(&self.image, self.asid, self.mode);
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
            self.stack.forget_nodes(&self.graph);
            self.graph.evict();
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
                    self.node = self.graph.node_of(site);
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
        let mut before = None;
        if self.events.tsc() >= self.next_moment {
            before = self.node_ip();
            self.catch_up(sink, event.offset);
        }
        let lost = self.position == Position::Lost;
        if lost && !self.find_position(&event, sink) {
            return Ok(Progress::More);
        }
        match self.handle(event, sink) {
            Ok(()) => {
                if self.events.tsc() >= self.next_moment {
                    self.change_thread(sink, event.offset.saturating_add(1), before);
                }
                Ok(Progress::More)
            }
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
}
