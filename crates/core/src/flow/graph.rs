//! The graph of decision points.
//!
//! A node holds what runs from its address up to and including the next instruction that needs the
//! trace: direct jumps and calls are followed, return sites are noted. Nodes, addresses and what is
//! known of each instruction stand in three arenas; a node is 32 bytes, so that walking touches one
//! cache line. Links are filled in when they are first taken.
//!
//! This file is long because it holds one structure, the graph of nodes, and the walk that learns them; both work on its private tables.

use serde::{Deserialize, Serialize};
use std::any::Any;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::code::{Chunk, Code, CodeError, Space, SpaceId, PAGE};
use super::return_stack::{ReturnSite, ReturnStack};
use super::window::Windows;
use crate::asid::Asid;
use crate::error::PtError;
use crate::image::Image;
use crate::instruction::{self, Detail, ExecMode, Instruction, InstructionClass, Undecoded};

/// Index of a node; 0 is no node.
pub type NodeId = u32;

/// How a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NodeKind {
    /// Not learned yet: only the address is known.
    Stub,
    /// A conditional branch: one bit decides.
    Conditional,
    /// A near return: a set bit if compressed, else a TIP.
    Return,
    /// Needs a TIP: indirect jump or call, any far transfer, JMPABS.
    Tip,
    /// The node is full or meets known code; `next` goes on without trace.
    Split,
    /// The instruction after the last one could not be read or decoded.
    Stuck,
    /// Linear code came back to an address of this node: it never ends by itself.
    Endless,
}

#[derive(Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Node {
    /// Address of the first instruction.
    pub ip: u64,
    /// Where a taken branch goes; for `Tip` nodes, the target seen last.
    pub taken: NodeId,
    /// Where a branch not taken goes; for `Split` nodes, the continuation.
    pub next: NodeId,
    /// First instruction in the arenas.
    pub first: u32,
    /// First entry of the return sites pushed on the way.
    pub pushes: u32,
    /// Number of instructions, at most [`NODE_LIMIT`].
    pub count: u16,
    /// Number of return sites pushed on the way.
    pub push_count: u16,
    pub kind: NodeKind,
    /// The libipt number of the error of a `Stuck` node.
    pub error: u8,
}

/// What only learning and the rarer passes need to know of a node.
#[derive(Clone, Copy, Default)]
struct Cold {
    taken_ip: u64,
    next_ip: u64,
    space: SpaceId,
    mode: ExecMode,
}

/// What is known of one executed instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstructionMeta {
    size: u8,
    class: InstructionClass,
    detail: Detail,
    truncated: bool,
}

impl InstructionMeta {
    /// Length in bytes, 1 to 15.
    #[inline]
    pub fn size(self) -> u8 {
        self.size
    }

    /// libipt's instruction class.
    #[inline]
    pub fn class(self) -> InstructionClass {
        self.class
    }

    /// What events may bind to it.
    #[inline]
    pub fn detail(self) -> Detail {
        self.detail
    }

    /// The bytes continue in another section.
    pub fn truncated(self) -> bool {
        self.truncated
    }
}

/// A return site that is pushed when the instruction at `at` in the arenas executes.
#[derive(Clone, Copy)]
struct Push {
    at: u32,
    node: NodeId,
}

#[derive(Clone, Copy)]
struct SectionRun {
    /// First instruction in the arenas that lies in this section.
    from: u32,
    isid: i32,
    section: u64,
}

/// Most instructions in one node.
pub const NODE_LIMIT: usize = 4096;
/// Every so many instructions of a long node its middle can be found again.
const ANCHOR_EVERY: usize = 64;
/// When the arenas are evicted. The sum stays below about half a gigabyte.
const MOST_NODES: usize = 1 << 22;
const MOST_INSTRUCTIONS: usize = 1 << 25;

/// Pieces of code at hand, by page; a power of two.
const CHUNKS: usize = 256;

type Key = (u64, u64);

/// The learned code of one walker.
pub struct Graph {
    code: Arc<Code>,
    pub(super) nodes: Vec<Node>,
    cold: Vec<Cold>,
    ips: Vec<u64>,
    metas: Vec<InstructionMeta>,
    pushes: Vec<Push>,
    sections: Vec<SectionRun>,
    index: HashMap<Key, NodeId, RandomState>,
    anchors: HashMap<Key, (NodeId, u16), RandomState>,
    space_id: SpaceId,
    space: Arc<Space>,
    mode: ExecMode,
    /// The code read last, by page, with its space.
    chunks: Box<[(SpaceId, Arc<Chunk>)]>,
    most_nodes: usize,
    most_instructions: usize,
    generation: u64,
    windows: Windows,
    memo: Option<Box<dyn Any + Send + Sync>>,
}

const NO_NODE: Node = Node {
    ip: 0,
    taken: 0,
    next: 0,
    first: 0,
    pushes: 0,
    count: 0,
    push_count: 0,
    kind: NodeKind::Stub,
    error: 0,
};

impl Graph {
    /// An empty graph over shared code.
    pub fn new(code: Arc<Code>, image: &Image, asid: Asid, mode: ExecMode) -> Self {
        let (space_id, space) = code.space(image, asid);
        let no_chunk = Arc::new(Chunk { start: 0, bytes: Box::default(), isid: 0, section: 0, short: false });
        Graph {
            code,
            nodes: vec![NO_NODE],
            cold: vec![Cold::default()],
            ips: Vec::new(),
            metas: Vec::new(),
            pushes: Vec::new(),
            sections: Vec::new(),
            index: HashMap::default(),
            anchors: HashMap::default(),
            space_id,
            space,
            mode,
            chunks: vec![(SpaceId::MAX, no_chunk); CHUNKS].into_boxed_slice(),
            most_nodes: MOST_NODES,
            most_instructions: MOST_INSTRUCTIONS,
            generation: 1,
            windows: Windows::default(),
            memo: None,
        }
    }

    /// Sets when the arenas are evicted; for tests of eviction.
    pub fn set_limits(&mut self, nodes: usize, instructions: usize) {
        self.most_nodes = nodes;
        self.most_instructions = instructions;
    }

    /// The code bytes behind the graph.
    pub fn code(&self) -> &Arc<Code> {
        &self.code
    }

    /// Counts the evictions: a `NodeId` means the same while it does not change.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What the last walk kept of the nodes, for the next one; see [`generation`](Graph::generation).
    pub fn take_memo<T: Any>(&mut self) -> Option<T> {
        self.memo.take().and_then(|memo| memo.downcast().ok()).map(|memo| *memo)
    }

    /// Keeps something of the nodes for the next walk.
    pub fn keep_memo(&mut self, memo: impl Any + Send + Sync) {
        self.memo = Some(Box::new(memo));
    }

    /// From now on addresses mean this space and mode.
    pub fn enter(&mut self, image: &Image, asid: Asid, mode: ExecMode) {
        let (id, space) = self.code.space(image, asid);
        self.space_id = id;
        self.space = space;
        self.mode = mode;
    }

    /// True if the arenas have grown to their limit; [`Graph::evict`] is due.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.nodes.len() > self.most_nodes || self.ips.len() > self.most_instructions
    }

    /// Forgets all learned code. Every `NodeId` becomes invalid.
    pub fn evict(&mut self) {
        self.generation += 1;
        self.windows.clear();
        self.nodes.truncate(1);
        self.cold.truncate(1);
        self.ips.clear();
        self.metas.clear();
        self.pushes.clear();
        self.sections.clear();
        self.index.clear();
        self.anchors.clear();
    }

    fn key(&self, ip: u64) -> Key {
        (ip, u64::from(self.space_id) << 2 | self.mode as u64)
    }

    /// The current space and mode.
    pub fn here(&self) -> (&Space, ExecMode) {
        (&self.space, self.mode)
    }

    /// The node at an address of the current space and mode; a stub if it is new.
    pub fn node_at(&mut self, ip: u64) -> NodeId {
        let id = self.nodes.len() as NodeId;
        match self.index.entry(self.key(ip)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                place.insert(id);
                self.nodes.push(Node { ip, ..NO_NODE });
                self.cold.push(Cold { space: self.space_id, mode: self.mode, ..Cold::default() });
                id
            }
        }
    }

    /// All nodes, by number.
    #[inline]
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    #[inline]
    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id as usize).unwrap_or(&NO_NODE)
    }

    /// How a node ends.
    #[inline]
    pub fn kind(&self, id: NodeId) -> NodeKind {
        self.node(id).kind
    }

    /// Address of the first instruction of a node.
    #[inline]
    pub fn ip(&self, id: NodeId) -> u64 {
        self.node(id).ip
    }

    /// The address of a return site.
    pub fn ip_of(&self, site: ReturnSite) -> u64 {
        match site {
            ReturnSite::Node(node) => self.ip(node),
            ReturnSite::Ip(ip) => ip,
        }
    }

    /// The node of a return site.
    #[inline]
    pub(super) fn node_of(&mut self, site: ReturnSite) -> NodeId {
        match site {
            ReturnSite::Node(node) => node,
            ReturnSite::Ip(ip) => self.node_at(ip),
        }
    }

    /// Number of instructions in a node.
    #[inline]
    pub fn count(&self, id: NodeId) -> u16 {
        self.node(id).count
    }

    /// True if some instruction of the node is a call that pushes a return site.
    #[inline]
    pub fn pushes_return_sites(&self, id: NodeId) -> bool {
        self.node(id).push_count > 0
    }

    /// The error a `Stuck` node ends with.
    pub fn error(&self, id: NodeId) -> PtError {
        PtError::from_code(self.node(id).error).unwrap_or(PtError::Internal)
    }

    /// Address after the last instruction of a node (the return site, if it ends in a call).
    pub fn next_ip(&self, id: NodeId) -> u64 {
        self.cold.get(id as usize).map_or(0, |cold| cold.next_ip)
    }

    /// Where the branch at the end of a `Conditional` node goes if taken.
    pub fn taken_ip(&self, id: NodeId) -> u64 {
        self.cold.get(id as usize).map_or(0, |cold| cold.taken_ip)
    }

    /// Code bytes at an address of the current space; returns how many could be had.
    pub fn copy(&self, ip: u64, buffer: &mut [u8]) -> usize {
        self.space.copy(ip, buffer)
    }

    /// Space and execution mode of a node.
    pub fn place(&self, id: NodeId) -> (SpaceId, ExecMode) {
        self.cold.get(id as usize).map_or((0, ExecMode::Unknown), |cold| (cold.space, cold.mode))
    }

    fn range(&self, id: NodeId) -> std::ops::Range<usize> {
        let node = self.node(id);
        node.first as usize..node.first as usize + node.count as usize
    }

    /// Addresses of the instructions of a node, in order of execution.
    #[inline]
    pub fn ips(&self, id: NodeId) -> &[u64] {
        self.ips.get(self.range(id)).unwrap_or(&[])
    }

    /// What is known of the instructions of a node, in order of execution.
    #[inline]
    pub fn metas(&self, id: NodeId) -> &[InstructionMeta] {
        self.metas.get(self.range(id)).unwrap_or(&[])
    }

    /// Section cache identifier and section identity of instruction `nth` of a node.
    pub fn section(&self, id: NodeId, nth: u16) -> (i32, u64) {
        let at = self.node(id).first + u32::from(nth);
        let after = self.sections.partition_point(|run| run.from <= at);
        self.sections.get(after.wrapping_sub(1)).map_or((0, 0), |run| (run.isid, run.section))
    }

    /// The first instruction of a node behind `nth` that lies in another section than `nth`; the number of its
    /// instructions if there is none.
    pub fn section_end(&self, id: NodeId, nth: u16) -> u16 {
        let node = self.node(id);
        let at = node.first + u32::from(nth);
        let after = self.sections.partition_point(|run| run.from <= at);
        let end = self.sections.get(after).map_or(u32::MAX, |run| run.from);
        u16::try_from(end.saturating_sub(node.first)).map_or(node.count, |end| end.min(node.count))
    }

    /// Pushes the return sites of instructions `from..to` of a node.
    #[inline]
    pub(super) fn push_return_sites(&self, id: NodeId, from: u16, to: u16, stack: &mut ReturnStack) {
        let node = self.node(id);
        if node.push_count == 0 {
            return;
        }
        let all = node.pushes as usize..node.pushes as usize + node.push_count as usize;
        let pushes = self.pushes.get(all).unwrap_or(&[]);
        if from == 0 && to == node.count {
            for push in pushes {
                stack.push(push.node);
            }
            return;
        }
        for push in pushes {
            let nth = push.at.wrapping_sub(node.first);
            if nth >= u32::from(from) && nth < u32::from(to) {
                stack.push(push.node);
            }
        }
    }

    /// The return sites that a node pushes, in order.
    pub(super) fn return_sites(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let node = self.node(id);
        let all = node.pushes as usize..node.pushes as usize + node.push_count as usize;
        self.pushes.get(all).unwrap_or(&[]).iter().map(|push| push.node)
    }

    /// What is remembered of packets met before.
    #[inline]
    pub(super) fn windows(&self) -> &Windows {
        &self.windows
    }

    pub(super) fn windows_mut(&mut self) -> &mut Windows {
        &mut self.windows
    }

    /// The node behind a branch decided by one bit, looked up once.
    pub(super) fn follow(&mut self, id: NodeId, taken: bool) -> NodeId {
        let (node, cold) = match (self.nodes.get(id as usize), self.cold.get(id as usize)) {
            (Some(node), Some(cold)) => (*node, *cold),
            _ => return 0,
        };
        let known = if taken { node.taken } else { node.next };
        if known != 0 {
            return known;
        }
        let target = self.node_in_place_of(cold, if taken { cold.taken_ip } else { cold.next_ip });
        if let Some(node) = self.nodes.get_mut(id as usize) {
            if taken {
                node.taken = target;
            } else {
                node.next = target;
            }
        }
        target
    }

    /// A link never leaves the space and mode its node was learned in.
    fn node_in_place_of(&mut self, cold: Cold, ip: u64) -> NodeId {
        let current = (self.space_id, self.mode);
        (self.space_id, self.mode) = (cold.space, cold.mode);
        let target = self.node_at(ip);
        (self.space_id, self.mode) = current;
        target
    }

    /// The node at the target of a TIP taken from node `from`, with `from`'s last target as a guess.
    #[inline]
    pub(super) fn tip_target(&mut self, from: NodeId, ip: u64) -> NodeId {
        let guess = self.node(from).taken;
        if guess != 0 && self.node(guess).ip == ip {
            return guess;
        }
        let target = self.node_at(ip);
        // The guess is only good where the current space is the one of `from`.
        if self.place(from) == (self.space_id, self.mode) {
            if let Some(node) = self.nodes.get_mut(from as usize) {
                if node.kind != NodeKind::Conditional {
                    node.taken = target;
                }
            }
        }
        target
    }

    /// Learns a stub: reads and decodes its code. Does nothing for a node that is known.
    ///
    /// An error of libipt's kind is learned too (the node ends `Stuck`); a foreign one is returned
    /// and the node stays a stub.
    pub fn learn(&mut self, id: NodeId) -> Result<(), CodeError> {
        let Some(cold) = self.cold.get(id as usize).copied() else { return Ok(()) };
        if self.node(id).kind != NodeKind::Stub || id == 0 {
            return Ok(());
        }
        if (cold.space, cold.mode) == (self.space_id, self.mode) {
            return self.learn_here(id);
        }
        let current = (self.space_id, self.space.clone(), self.mode);
        if let Some(space) = self.code.get(cold.space) {
            self.space = space;
            self.space_id = cold.space;
        }
        self.mode = cold.mode;
        let learned = self.learn_here(id);
        (self.space_id, self.space, self.mode) = current;
        learned
    }

    fn learn_here(&mut self, id: NodeId) -> Result<(), CodeError> {
        let mut node = *self.node(id);
        let mut cold = Cold { space: self.space_id, mode: self.mode, ..Cold::default() };
        let start = self.ips.len();
        let push_start = self.pushes.len();
        let mut ip = node.ip;
        let mut jumped = false;
        let mut barrier = u64::MAX;
        node.first = start as u32;
        loop {
            let count = self.ips.len() - start;
            cold.next_ip = ip;
            // Linear code meets nothing before the next known address.
            if jumped || ip >= barrier {
                let seen = self.ips.get(start..).unwrap_or(&[]);
                let least = seen.iter().copied().filter(|&seen| seen >= ip).min();
                if least == Some(ip) {
                    node.kind = NodeKind::Endless;
                    break;
                }
                barrier = least.unwrap_or(u64::MAX);
            }
            if count >= NODE_LIMIT {
                node.kind = NodeKind::Split;
                break;
            }
            if count >= ANCHOR_EVERY {
                if let Some(&(long, nth)) = self.anchors.get(&self.key(ip)) {
                    node.kind = NodeKind::Split;
                    node.next = self.tail(long, nth, ip);
                    break;
                }
            }
            let insn = match self.decode(ip) {
                Ok(insn) => insn,
                Err(CodeError::Pt(error)) => {
                    node.kind = NodeKind::Stuck;
                    node.error = error.code();
                    break;
                }
                Err(foreign) => {
                    self.ips.truncate(start);
                    self.metas.truncate(start);
                    self.pushes.truncate(push_start);
                    while self.sections.last().is_some_and(|run| run.from as usize >= start) {
                        self.sections.pop();
                    }
                    return Err(foreign);
                }
            };
            let at = self.ips.len() as u32;
            self.ips.push(ip);
            self.metas.push(insn.meta);
            let after = ip.wrapping_add(u64::from(insn.meta.size()));
            let target = after.wrapping_add(insn.displacement as i64 as u64);
            cold.next_ip = after;
            jumped = after < ip;
            match insn.meta.class() {
                InstructionClass::Call | InstructionClass::Jump if insn.meta.detail() == Detail::Direct => {
                    if insn.meta.class() == InstructionClass::Call && insn.displacement != 0 {
                        let site = self.node_at(after);
                        self.pushes.push(Push { at, node: site });
                    }
                    ip = target;
                    jumped |= target != after;
                }
                InstructionClass::CondJump => {
                    cold.taken_ip = target;
                    node.kind = NodeKind::Conditional;
                    break;
                }
                InstructionClass::Return => {
                    node.kind = NodeKind::Return;
                    break;
                }
                InstructionClass::Call => {
                    let site = self.node_at(after);
                    self.pushes.push(Push { at, node: site });
                    node.kind = NodeKind::Tip;
                    break;
                }
                InstructionClass::Jump
                | InstructionClass::FarCall
                | InstructionClass::FarReturn
                | InstructionClass::FarJump => {
                    node.kind = NodeKind::Tip;
                    break;
                }
                _ => ip = after,
            }
        }
        let count = self.ips.len() - start;
        node.count = count as u16;
        node.pushes = push_start as u32;
        node.push_count = (self.pushes.len() - push_start) as u16;
        if count > ANCHOR_EVERY && node.kind != NodeKind::Endless {
            for nth in (ANCHOR_EVERY..count).step_by(ANCHOR_EVERY) {
                if let Some(&ip) = self.ips.get(start + nth) {
                    let key = self.key(ip);
                    self.anchors.entry(key).or_insert((id, nth as u16));
                }
            }
        }
        if let Some(slot) = self.nodes.get_mut(id as usize) {
            *slot = node;
        }
        if let Some(slot) = self.cold.get_mut(id as usize) {
            *slot = cold;
        }
        Ok(())
    }

    /// The node for instruction `nth` of a long node, which shares its arenas.
    fn tail(&mut self, long: NodeId, nth: u16, ip: u64) -> NodeId {
        let id = self.node_at(ip);
        let node = *self.node(long);
        if self.node(id).kind != NodeKind::Stub || nth >= node.count {
            return id;
        }
        let first = node.first + u32::from(nth);
        let all = node.pushes as usize..node.pushes as usize + node.push_count as usize;
        let pushes = self.pushes.get(all).unwrap_or(&[]);
        let skipped = pushes.iter().take_while(|push| push.at < first).count() as u16;
        let tail = Node {
            ip,
            first,
            count: node.count - nth,
            pushes: node.pushes + u32::from(skipped),
            push_count: node.push_count - skipped,
            ..node
        };
        if let (Some(slot), Some(&cold)) = (self.nodes.get_mut(id as usize), self.cold.get(long as usize)) {
            *slot = tail;
            if let Some(slot) = self.cold.get_mut(id as usize) {
                *slot = cold;
            }
        }
        id
    }

    /// Puts the code bytes at an address in their place among `chunks`; returns the place.
    fn fetch(&mut self, ip: u64) -> Result<usize, CodeError> {
        let place = (ip / PAGE) as usize % CHUNKS;
        if let Some((space, chunk)) = self.chunks.get_mut(place) {
            if *space != self.space_id || chunk.from(ip).is_empty() {
                *chunk = self.space.chunk_at(ip)?;
                *space = self.space_id;
            }
        }
        Ok(place)
    }

    fn decode(&mut self, ip: u64) -> Result<Decoded, CodeError> {
        let place = self.fetch(ip)?;
        let Some((_, chunk)) = self.chunks.get(place) else { return Err(CodeError::Pt(PtError::Internal)) };
        let (insn, truncated) = match instruction::decode(chunk.from(ip), self.mode) {
            Ok(insn) => (insn, false),
            Err(Undecoded::Invalid) => return Err(CodeError::Pt(PtError::BadInsn)),
            Err(Undecoded::Truncated) => self.decode_across(ip, chunk)?,
        };
        if self.sections.last().is_none_or(|run| run.section != chunk.section || run.isid != chunk.isid) {
            let from = self.ips.len() as u32;
            self.sections.push(SectionRun { from, isid: chunk.isid, section: chunk.section });
        }
        let meta = InstructionMeta { size: insn.size, class: insn.class, detail: insn.detail, truncated };
        Ok(Decoded { meta, displacement: insn.displacement })
    }

    /// Decodes an instruction that goes on in the next page or in what is mapped behind, and tells whether that is
    /// another section.
    #[cold]
    fn decode_across(&self, ip: u64, chunk: &Chunk) -> Result<(Instruction, bool), CodeError> {
        let mut truncated = false;
        let mut bytes = [0u8; 15];
        let mut have = 0;
        let mut ends = chunk.short;
        for (to, from) in bytes.iter_mut().zip(chunk.from(ip)) {
            *to = *from;
            have += 1;
        }
        loop {
            if have >= bytes.len() {
                return Err(CodeError::Pt(PtError::BadInsn));
            }
            let at = ip.wrapping_add(have as u64);
            let more = match self.space.chunk_at(at) {
                Ok(more) => more,
                Err(CodeError::Pt(_)) => return Err(CodeError::Pt(PtError::BadInsn)),
                Err(foreign) => return Err(foreign),
            };
            truncated |= more.section != chunk.section || ends;
            ends = more.short;
            for (to, from) in bytes.iter_mut().skip(have).zip(more.from(at)) {
                *to = *from;
                have += 1;
            }
            match instruction::decode(bytes.get(..have).unwrap_or(&bytes), self.mode) {
                Ok(insn) => return Ok((insn, truncated)),
                Err(Undecoded::Invalid) => return Err(CodeError::Pt(PtError::BadInsn)),
                Err(Undecoded::Truncated) => {}
            }
        }
    }
}

struct Decoded {
    meta: InstructionMeta,
    displacement: i32,
}
