//! The walk that finds what happens to stacks.
//!
//! This file is long because it holds one sink of the walk, which most runs pass through.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use super::called::{Begins, Met};
use super::chain::{Item, Kind};
use super::code::{look, Exit, Loaded, Manner, NodeSites, Site, What};
use super::entries::{Called, Entries};
use super::ledger::{Instant, Ledger};
use super::ops::{Jump, Leap, Off, Op, Ops, Pending};
use super::thunks::Code;
use crate::event::{Event, EventKind};
use crate::flow::{Engine, Gap, Graph, NodeId, RunState, Sink, Where};
use crate::history::decode::decoded_trace::Pass;
use crate::history::passes::nodes::PerNode;
use crate::history::passes::parallel::Piece;
use crate::history::passes::question::Question;
use crate::instruction::InstructionClass;

/// What most runs need to know of their node: whether it [does nothing to the stack](NodeSites::is_dull), whether a
/// function begins with it or may begin, and whether it ends with a jump.
#[derive(Clone, Copy, Debug, Default)]
struct Glance {
    dull: bool,
    begins: bool,
    jumps: bool,
}

/// What is known of the nodes of a graph. It stays with the graph.
#[derive(Default)]
struct Learned {
    generation: u64,
    nodes: PerNode<NodeSites>,
    glances: PerNode<Glance>,
    sites: Vec<Site>,
    /// What begins with them.
    begins: PerNode<Begins>,
    /// Where jumps went to code that no file knows, each once.
    landed: Vec<Called>,
    /// Numbers, from 1 on, of the jumps that nodes end with; 0: not looked at yet.
    numbers: PerNode<u32>,
    /// These jumps; None: that is no way from one function to another.
    jumps: Vec<Option<Jump>>,
    /// The functions that this was learned with.
    functions: Arc<Entries>,
    /// How some of them are left.
    left: Vec<Off>,
}

impl Learned {
    #[cold]
    fn learn(&mut self, graph: &Graph, node: NodeId, tsc: u64) -> NodeSites {
        let functions = self.functions.clone();
        let (space, mode) = graph.place(node);
        let space = graph.code().get(space);
        let code = Code { space: space.as_deref(), mode };
        let begins = |ip| Begins::at(ip, tsc, &functions, code);
        let (mut found, left) = look(graph, node, &mut self.sites, &mut self.landed, (&functions, tsc));
        let first = graph.ips(node).first().map_or(Begins::Nothing, |&ip| begins(ip));
        if first != Begins::Nothing {
            found.begins = matches!(first, Begins::Function(_) | Begins::Unknown(_));
            if let Some(known) = self.begins.at(node) {
                *known = first;
            }
        }
        if let Some(left) = left {
            self.left.push(left);
            found.left = self.left.len() as u32;
        }
        if let Some(known) = self.nodes.at(node) {
            *known = found;
        }
        if let Some(glance) = self.glances.at(node) {
            *glance = Glance { dull: found.is_dull(), begins: found.begins, jumps: jumps(graph, node) };
        }
        found
    }

    #[inline]
    fn glance(&self, node: NodeId) -> Glance {
        self.glances.get(node).copied().unwrap_or_default()
    }

    /// A jump goes to the beginning of a node; that is noted once.
    fn land(&mut self, node: NodeId, ip: u64, program: u32) {
        if let Some(known) = self.nodes.at(node).filter(|known| known.begins) {
            known.begins = false;
            self.landed.push((program, ip));
        }
        if let Some(glance) = self.glances.at(node) {
            glance.begins = false;
        }
    }
}

/// Whether a node ends with a jump, conditional or not.
fn jumps(graph: &Graph, node: NodeId) -> bool {
    let last = graph.metas(node).last();
    last.is_some_and(|meta| matches!(meta.class(), InstructionClass::Jump | InstructionClass::CondJump))
}

/// What it means if nothing is traced from here on, by the node that ran last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// No node has run.
    Unknown,
    /// It branched to where nothing is traced.
    Away,
    /// A number in the list of what is learned, as in [`NodeSites::left`].
    By(u32),
}

/// Collects the operations of a piece.
pub(super) struct Follow<L: Ledger> {
    following: Following,
    learned: Learned,
    ops: Ops<L>,
    pending: Option<Pending>,
    /// Where the piece begins is not known yet, and the part before may wait for it.
    front: bool,
    /// The stack pointer was loaded since the last call or return.
    loaded: Loaded,
    /// Why nothing is traced.
    off: Option<Off>,
    /// Tracing was switched on in this piece, and nothing was lost since.
    switched: bool,
    /// What it means if nothing is traced behind the last instruction that was executed in this piece.
    left: Left,
    /// The node that ran last and up to where, if nothing happened since.
    last: Option<(NodeId, u16)>,
    /// Whether that node ends with a jump; true where it is not known.
    jumps: bool,
    /// The first step that is not accounted for, and the time then, if it is known.
    reached: u64,
    tsc: u64,
    knows_time: bool,
    /// The last time that was known.
    code_tsc: u64,
    /// Calls of code that no file knows.
    met: Met,
    /// How many of the jumps to such code are told already.
    told: usize,
    /// The address of the instruction behind which nothing counts.
    ip: Option<u64>,
}

impl<L: Ledger> Follow<L> {
    fn new(following: Following) -> Self {
        Follow {
            following,
            learned: Learned::default(),
            ops: Ops::new(0),
            pending: None,
            front: true,
            loaded: Loaded::Before,
            off: None,
            switched: false,
            left: Left::Unknown,
            last: None,
            jumps: false,
            reached: 0,
            tsc: 0,
            knows_time: false,
            code_tsc: 0,
            met: Met::default(),
            told: 0,
            ip: None,
        }
    }

    /// A piece begins before a step.
    fn begin(&mut self, step: u64) {
        self.ops.take(step);
        (self.reached, self.knows_time, self.code_tsc) = (step, false, 0);
    }

    /// Steps and time have passed.
    #[inline]
    fn reach(&mut self) {
        self.ops.reach(Instant { step: self.reached, tsc: self.knows_time.then_some(self.tsc) });
    }

    /// An event before a step counts, and time passes up to it.
    fn pass(&mut self, event: &Event, step: u64) {
        if L::KEEPS {
            self.reached = step;
            if event.has_tsc {
                (self.tsc, self.knows_time) = (event.tsc, true);
            }
            self.reach();
        }
    }

    /// Goes back behind the innermost call, as most returns do; false if it does not.
    #[inline]
    fn goes_back(&mut self, to: u64) -> bool {
        let Some(Pending::Leap(leap)) = &self.pending else { return false };
        let goes = leap.manner.loaded == Loaded::No && self.ops.go_back(to);
        if goes {
            (self.pending, self.front) = (None, false);
        }
        goes
    }

    /// Where execution goes on is known, or that it never will be.
    fn arrive(&mut self, to: Option<u64>, begins: Begins) {
        if to.is_some_and(|to| self.goes_back(to)) {
            return;
        }
        if std::mem::take(&mut self.front) && self.pending.is_none() {
            self.ops.settle(Op::Arrive { to, begins });
        }
        let (Some(pending), Some(to)) = (self.pending.take(), to) else { return };
        match pending {
            Pending::Call { caller, back, step } => {
                self.met.call(to, begins);
                let is_stub = begins == Begins::Stub;
                self.ops.open(Item { is_stub, ..Item::new(Kind::Call, back, step) }, caller, to)
            }
            Pending::Leap(leap) => {
                let entry = begins.function();
                let enters =
                    entry.is_some() && entry != self.following.functions.owner(leap.from, self.code_tsc);
                self.ops.leap(Leap { to, enters, ..leap });
            }
            Pending::FarCall { back, step, kind } => self.ops.open(Item::new(kind, back, step), back, to),
            Pending::FarReturn { step } => self.ops.far_return(to, step),
        }
    }

    /// A call goes to code that no file knows.
    #[inline(never)]
    fn meet(&mut self, to: u64) {
        self.met.call(to, Begins::Unknown(self.following.functions.program(self.code_tsc)));
    }

    /// The jump that a node ends with. It is found out once for a node, as what begins with one.
    fn jump_of(&mut self, graph: &Graph, node: NodeId) -> Option<Jump> {
        let number = self.learned.numbers.get(node).copied().unwrap_or(0) as usize;
        if let Some(known) = number.checked_sub(1).and_then(|at| self.learned.jumps.get(at)) {
            return *known;
        }
        let found = self.find_jump(graph, node);
        self.learned.jumps.push(found);
        let number = self.learned.jumps.len() as u32;
        if let Some(known) = self.learned.numbers.at(node) {
            *known = number;
        }
        found
    }

    #[cold]
    fn find_jump(&self, graph: &Graph, node: NodeId) -> Option<Jump> {
        if !jumps(graph, node) {
            return None;
        }
        let (&ip, meta) = (graph.ips(node).last()?, graph.metas(node).last()?);
        let is_conditional = meta.class() == InstructionClass::CondJump;
        let behind = is_conditional.then(|| ip.wrapping_add(u64::from(meta.size())));
        let functions = &self.following.functions;
        let owner = functions.owner(ip, self.code_tsc);
        // What a stub pushes is for who finds out where the call is to go: that has not gone there yet.
        let is_pushed = self.learned.nodes.get(node).is_some_and(|known| known.manner.pushed);
        (!is_pushed || functions.is_named(ip, self.code_tsc)).then_some(Jump { from: ip, behind, owner })
    }

    /// Execution came to where a function begins: from another one by a jump?
    fn enter(&mut self, graph: &Graph, to: u64, entry: u64) {
        let Some((last, _)) = self.last.take().filter(|&(node, to)| to == graph.count(node)) else { return };
        let Some(jump) = self.jump_of(graph, last) else { return };
        if jump.enters(to, entry) {
            let step = self.reached.saturating_sub(1);
            self.reach();
            self.ops.tail(jump.from, to, step, false);
        }
    }

    /// Execution goes on at an instruction of a node: tells the branch that waits for that, or the jump from another function.
    #[inline(never)]
    fn come(&mut self, graph: &Graph, node: NodeId, from: u16) {
        let Some(&ip) = graph.ips(node).get(from as usize) else { return };
        if self.goes_back(ip) {
            return;
        }
        let begins = if from == 0 { self.learned.begins.get(node).copied() } else { None };
        let begins = begins.unwrap_or_default();
        if let Begins::Unknown(program) = begins {
            if self.is_jump() {
                self.learned.land(node, ip, program);
            }
        }
        if self.front || self.pending.is_some() {
            self.arrive(Some(ip), begins);
        } else if let Begins::Function(entry) = begins {
            self.enter(graph, ip, entry);
        }
    }

    /// Execution stands before an instruction, and something else comes between: what leads there is told now.
    fn stand(&mut self, event: &Event, at: u64, engine: &Engine) {
        let graph = engine.graph();
        if self.learned.generation != graph.generation() {
            self.unlearn(graph);
        }
        let (space, mode) = graph.here();
        let code = Code { space: Some(space), mode };
        let tsc = if event.has_tsc { event.tsc } else { self.code_tsc };
        let begins = Begins::at(at, tsc, &self.following.functions, code);
        if let Begins::Unknown(program) = begins {
            if self.is_jump() {
                self.met.land(&[(program, at)]);
            }
        }
        if self.front || self.pending.is_some() {
            self.arrive(Some(at), begins);
        } else if let Begins::Function(entry) = begins {
            self.enter(graph, at, entry);
        }
        self.last = None;
    }

    /// Whether what leads to the next instruction may be a jump.
    fn is_jump(&self) -> bool {
        match self.pending {
            Some(Pending::Leap(leap)) => leap.is_jump(),
            Some(_) => false,
            None => self.front || self.jumps,
        }
    }

    /// What it means if nothing is traced from here on, as far as the piece knows.
    fn left_by(&self) -> Option<Off> {
        match self.left {
            Left::Unknown => None,
            Left::Away => Some(Off::Away),
            Left::By(number) => self.learned.left.get(number as usize - 1).copied(),
        }
    }

    /// The operations since the last call, at the end of a piece.
    fn take(&mut self, graph: Option<&Graph>) -> Ops<L> {
        let jump = self.last.take().zip(graph).and_then(|((last, to), graph)| {
            let is_known = graph.generation() == self.learned.generation && to == graph.count(last);
            is_known.then(|| self.jump_of(graph, last)).flatten()
        });
        let left = self.left_by();
        self.reach();
        if let Some(pending) = self.pending.take() {
            self.ops.settle(Op::Wait(pending));
        }
        if let Some(off) = self.off.take() {
            self.ops.settle(Op::Off(off));
        }
        let loaded = match self.loaded {
            Loaded::Before => None,
            known => Some(known == Loaded::Yes),
        };
        if loaded.is_some() || left.is_some() || jump.is_some() {
            self.ops.settle(Op::End { loaded, left, jump });
        }
        (self.last, self.front, self.loaded, self.switched, self.left) =
            (None, true, Loaded::Before, false, Left::Unknown);
        self.met.land(self.learned.landed.get(self.told..).unwrap_or(&[]));
        self.told = self.learned.landed.len();
        self.ops.met = std::mem::take(&mut self.met);
        self.ops.take(0)
    }

    /// The nodes of the graph are others now.
    #[cold]
    fn unlearn(&mut self, graph: &Graph) {
        self.met.land(self.learned.landed.get(self.told..).unwrap_or(&[]));
        self.told = 0;
        let functions = self.following.functions.clone();
        // It is a node of before.
        self.last = None;
        let left: Vec<Off> = match self.left {
            Left::By(_) => self.left_by().into_iter().collect(),
            _ => Vec::new(),
        };
        if !left.is_empty() {
            self.left = Left::By(1);
        }
        self.learned = Learned { generation: graph.generation(), functions, left, ..Learned::default() };
    }

    /// What the instructions of a run do to the stack; `WHOLE`: they are all of the node, and all count.
    #[inline(never)]
    fn run_all<const WHOLE: bool>(
        &mut self,
        graph: &Graph,
        node: NodeId,
        from: u16,
        to: u16,
        state: &RunState,
    ) {
        if state.has_tsc {
            self.code_tsc = state.tsc;
        }
        let known = match self.learned.nodes.get(node) {
            Some(known) if known.end != 0 => *known,
            _ => self.learned.learn(graph, node, self.code_tsc),
        };
        if self.front || self.pending.is_some() || known.begins && self.jumps {
            self.come(graph, node, from);
        }
        (self.last, self.jumps) = (Some((node, to)), true);
        self.left = Left::Away;
        if known.left != 0 && (WHOLE || to == graph.count(node)) {
            self.left = Left::By(known.left);
        }
        // The step behind `from`, as the history counts.
        let step = state.step.wrapping_add_signed(self.following.base);
        let tsc = state.has_tsc.then_some(state.tsc);
        if L::KEEPS && self.knows_time != state.has_tsc {
            self.reach();
            self.ops.reach(Instant { step, tsc });
        }
        let limit = self.following.limit;
        let last_step = |nth: u16| step + u64::from(nth - from);
        if !WHOLE && limit.wrapping_sub(step) < u64::from(to - from) {
            let nth = usize::from(from) + (limit - step) as usize;
            self.ip = graph.ips(node).get(nth).copied();
        }
        for at in known.begin..known.end - 1 {
            let Some(&Site { nth, what }) = self.learned.sites.get(at as usize) else { break };
            if !WHOLE && (nth < from || nth >= to || last_step(nth) >= limit) {
                continue;
            }
            match what {
                What::Tail { to, is_stub } => {
                    let step = last_step(nth);
                    self.ops.reach(Instant { step: step + 1, tsc });
                    let from = graph.ips(node).get(usize::from(nth)).copied().unwrap_or(0);
                    self.ops.tail(from, to, step, is_stub);
                }
                What::Call { from, to, back, indirect, is_stub, is_unknown } => {
                    self.loaded = Loaded::No;
                    let step = last_step(nth);
                    self.ops.reach(Instant { step: step + 1, tsc });
                    if indirect {
                        self.pending = Some(Pending::Call { caller: from, back, step });
                    } else {
                        if is_unknown {
                            self.meet(to);
                        }
                        self.ops.open(Item { is_stub, ..Item::new(Kind::Call, back, step) }, from, to);
                    }
                }
                What::Load => self.loaded = Loaded::Yes,
                What::Restore => self.loaded = Loaded::No,
                What::Twice => self.ops.twice(),
            }
        }
        (self.reached, self.tsc, self.knows_time) = (step + u64::from(to - from), state.tsc, state.has_tsc);
        let is_left = WHOLE || to == graph.count(node) && to > 0 && last_step(to - 1) < limit;
        if known.exit == Exit::Plain || !is_left {
            return;
        }
        let step = last_step(to - 1);
        let nth = usize::from(to - 1);
        self.pending = match known.exit {
            Exit::Plain => None,
            Exit::Return | Exit::Jump => {
                let is_return = known.exit == Exit::Return;
                let loaded = self.loaded;
                if is_return || loaded != Loaded::No || known.manner.popped {
                    let from = graph.ips(node).get(nth).copied().unwrap_or(0);
                    self.loaded = Loaded::No;
                    let manner = Manner { loaded, ..known.manner };
                    Some(Pending::Leap(Leap { from, to: 0, step, is_return, manner, enters: false }))
                } else {
                    None
                }
            }
            Exit::FarCall => {
                let ends = matches!(self.left_by(), Some(Off::HandlerEnd(_)));
                let kind = if ends { Kind::HandlerEnd } else { Kind::Interrupted };
                Some(Pending::FarCall { back: graph.next_ip(node), step, kind })
            }
            Exit::FarReturn => Some(Pending::FarReturn { step }),
        };
        if self.pending.is_some() {
            self.reach();
        }
    }
}

impl<L: Ledger> Sink for Follow<L> {
    // What most runs need, in the loop of the walk itself.
    #[inline(always)]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        if self.learned.generation != graph.generation() {
            self.unlearn(graph);
        }
        let step = state.step.wrapping_add_signed(self.following.base);
        let count = u64::from(to - from);
        let is_inside = self.following.limit.wrapping_sub(step) >= count;
        let glance = self.learned.glance(node);
        if is_inside && glance.dull && (!L::KEEPS || self.knows_time == state.has_tsc) {
            if self.front || self.pending.is_some() || glance.begins && self.jumps {
                self.come(graph, node, from);
            }
            self.left = Left::Away;
            (self.last, self.jumps) = (Some((node, to)), glance.jumps);
            if L::KEEPS {
                (self.reached, self.tsc) = (step + count, state.tsc);
            }
        } else if is_inside && from == 0 && to == graph.count(node) {
            self.run_all::<true>(graph, node, 0, to, state);
        } else {
            self.run_all::<false>(graph, node, from, to, state);
        }
    }

    fn rounds(&mut self, graph: &Graph, node: NodeId, rounds: u64, state: &RunState) {
        let count = graph.count(node);
        let length = u64::from(count);
        let begin = state.step.wrapping_add_signed(self.following.base);
        let end = begin + rounds * length;
        let mut left = rounds;
        while left > 0 {
            let step = state.step + (rounds - left) * length;
            self.run(graph, node, 0, count, &RunState { step, ..*state });
            // Where nothing in the node matters, the other rounds are the same.
            let sites = self.learned.nodes.at(node).map_or(NodeSites::default(), |known| *known);
            let idle = sites.end == sites.begin + 1 && sites.exit == Exit::Plain;
            if idle && end <= self.following.limit {
                self.reached = end;
                return;
            }
            left -= 1;
        }
    }

    fn event(&mut self, event: &Event, place: Where, engine: &Engine) {
        let step = place.step.wrapping_add_signed(self.following.base);
        if !self.following.counts(event.offset, step) || event.status_update {
            return;
        }
        match event.kind {
            EventKind::Disabled { ip } => {
                self.last = None;
                let off = self.left_by().unwrap_or(Off::Before);
                let to = (!event.ip_suppressed).then_some(ip);
                match self.pending {
                    Some(Pending::FarCall { .. } | Pending::FarReturn { .. }) => self.pending = None,
                    Some(_) => self.arrive(to, Begins::Nothing),
                    None if std::mem::take(&mut self.front) => self.ops.settle(Op::Leave(to)),
                    None => {}
                }
                self.pending = None;
                self.off = Some(off);
            }
            EventKind::AsyncDisabled { at, .. } => {
                self.stand(event, at, engine);
                self.off = Some(Off::Interrupted(at));
            }
            EventKind::AsyncBranch { from, to } => {
                self.stand(event, from, engine);
                if !event.ip_suppressed && from != to {
                    self.pass(event, step);
                    let step = step.saturating_sub(1);
                    self.ops.open(Item::new(Kind::Interrupted, from, step), from, to);
                }
            }
            EventKind::Enabled { ip, .. } if !event.ip_suppressed => {
                self.last = None;
                if std::mem::take(&mut self.front) {
                    self.ops.settle(Op::Arrive { to: None, begins: Begins::Nothing });
                }
                // Where that went was not traced.
                self.pending = None;
                self.pass(event, step);
                let off = self.off.take();
                match off {
                    // Which program runs may have changed, even if this is nothing but going on.
                    _ if !self.switched => {
                        let off = off.unwrap_or(Off::Unknown);
                        self.ops.settle(Op::Enter { to: ip, step, off, tsc: event.tsc });
                    }
                    Some(off) => self.ops.enter(ip, step, off, event.tsc),
                    None => {}
                }
                self.switched = true;
            }
            // These tell something, and execution goes on as it would without them.
            EventKind::Tick { .. }
            | EventKind::Cbr { .. }
            | EventKind::Mnt { .. }
            | EventKind::Ptwrite { .. }
            | EventKind::Tip { .. }
            | EventKind::Tnt { .. }
            | EventKind::Iflags { .. }
            | EventKind::Trig { .. }
            | EventKind::Exstop { .. }
            | EventKind::Mwait { .. }
            | EventKind::Pwre { .. }
            | EventKind::Pwrx { .. }
            // Where it goes on after these, another event tells.
            | EventKind::Interrupt { .. }
            | EventKind::Swintr { .. }
            | EventKind::Uintr { .. }
            | EventKind::Syscall { .. }
            | EventKind::Iret { .. }
            | EventKind::Uiret { .. }
            | EventKind::Smi { .. } => {}
            _ => self.last = None,
        }
    }

    fn gap(&mut self, gap: Gap) {
        let step = gap.step.wrapping_add_signed(self.following.base);
        if !self.following.counts(gap.offset, step) {
            return;
        }
        self.reach();
        self.last = None;
        (self.pending, self.off, self.front) = (None, None, false);
        (self.loaded, self.left, self.switched) = (Loaded::Before, Left::Unknown, false);
        self.ops.lose(step);
    }
}

impl<L: Ledger> Pass for Follow<L> {}

/// Which part of a stream is followed.
#[derive(Clone, Debug)]
pub(super) struct Following {
    /// Where functions begin.
    pub functions: Arc<Entries>,
    /// Added to steps.
    pub base: i64,
    /// Trace offsets of the events that count.
    pub within: Range<u64>,
    /// Those before steps from this one on, and before this one; as the history counts.
    pub steps: Range<u64>,
    /// Nothing that the instruction of this step does counts, and nothing behind it.
    pub limit: u64,
}

impl Following {
    /// What happens at an offset before a step counts.
    fn counts(&self, offset: u64, step: u64) -> bool {
        self.within.contains(&offset) && self.steps.contains(&step) && step <= self.limit
    }
}

/// Follows the stacks of pieces, and keeps of their calls what a ledger keeps.
pub(super) struct Keeping<L> {
    pub following: Following,
    pub ledger: PhantomData<fn() -> L>,
}

impl<L> Question for Keeping<L>
where
    L: Ledger<Note: Send, Line: Send> + Send,
{
    type Worker = Follow<L>;
    type Part = (Ops<L>, Option<u64>);
    type Sum = ();

    fn worker(&self) -> Follow<L> {
        Follow::new(self.following.clone())
    }

    fn begin(&self, worker: &mut Follow<L>, graph: Option<&mut Graph>, piece: &Piece) {
        worker.begin(piece.start.wrapping_add_signed(self.following.base));
        if let Some(learned) = graph.and_then(Graph::take_memo) {
            worker.learned = learned;
        }
        if !Arc::ptr_eq(&worker.learned.functions, &worker.following.functions) {
            worker.told = 0;
            worker.learned = Learned::default();
        }
    }

    fn end(&self, worker: &mut Follow<L>, graph: Option<&mut Graph>) -> Self::Part {
        let ops = worker.take(graph.as_deref());
        if let Some(graph) = graph {
            graph.keep_memo(std::mem::take(&mut worker.learned));
        }
        (ops, worker.ip.take())
    }

    fn sum(&self, _: Follow<L>, _: &Graph) {}
}
