//! The places in a node that the stack depends on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::called::Begins;
use super::entries::{Called, Entries};
use super::ops::Off;
use super::thunks::{Code, Thunk};
use super::touch::{touch, Touch};
use crate::flow::{Chunk, Graph, NodeId, NodeKind, Space};
use crate::instruction::{Detail, ExecMode, InstructionClass};

/// A place in a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub nth: u16,
    pub what: What,
}

/// What happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A call that comes back to this address.
    Call {
        /// Address of the call.
        from: u64,
        /// Where it goes, if it is a direct one.
        to: u64,
        /// The address behind the call.
        back: u64,
        /// Only the trace says where it goes.
        indirect: bool,
        /// It is a direct one, of a stub in no function that is known.
        is_stub: bool,
        /// It is a direct one, of code that no file knows.
        is_unknown: bool,
    },
    /// A jump to the entry of another function, or to a stub that leads to one.
    Tail {
        /// Where it goes.
        to: u64,
        /// It is a stub, in no function that is known.
        is_stub: bool,
    },
    /// The stack pointer gets another value.
    Load,
    /// It is the old one again.
    Restore,
    /// The function that was called is one that returns twice, like setjmp.
    Twice,
}

/// Whether the stack pointer was loaded since the last call or return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Loaded {
    #[default]
    No,
    Yes,
    /// Not in this part of the history: it is as it was before.
    Before,
}

/// What a branch at the end of a node does to the stack, if it is no ordinary one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manner {
    pub loaded: Loaded,
    /// What lay on top was overwritten.
    pub written: bool,
    /// Where it goes was pushed.
    pub pushed: bool,
    /// Something was popped just before.
    pub popped: bool,
    /// It is the return that a thunk jumps with.
    pub thunk: bool,
}

/// All of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NodeSites {
    pub begin: u32,
    /// More than the true end by one once it is known, 0 before.
    pub end: u32,
    /// How the branch at its end goes.
    pub manner: Manner,
    pub exit: Exit,
    /// What it means if nothing is traced behind its last instruction: a number in a list; 0 for [`Off::Away`].
    pub left: u32,
    /// A function begins with it.
    pub begins: bool,
}

impl NodeSites {
    /// What runs through all of it does nothing to the stack, unless a jump came there from another function.
    pub fn is_dull(&self) -> bool {
        self.begin + 1 == self.end && self.exit == Exit::Plain && self.left == 0
    }
}

/// How a node is left, as far as the stack is concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Exit {
    /// Without consequence.
    #[default]
    Plain,
    /// By a near return.
    Return,
    /// By a near jump through a register or memory.
    Jump,
    /// By a system call or another far call, which comes back to where it ends.
    FarCall,
    /// By a far return.
    FarReturn,
}

/// Bytes of instructions, most of which lie in the same chunk as the one before.
#[derive(Default)]
struct Bytes {
    chunk: Option<Arc<Chunk>>,
    raw: [u8; 16],
}

impl Bytes {
    /// Those of an instruction, as far as they are known.
    fn of(&mut self, space: &Space, ip: u64, size: u8) -> &[u8] {
        let size = usize::from(size);
        if self.chunk.as_ref().is_none_or(|chunk| chunk.from(ip).is_empty()) {
            self.chunk = space.chunk_at(ip).ok();
        }
        let here = self.chunk.as_ref().and_then(|chunk| chunk.from(ip).get(..size));
        let raw = self.raw.get_mut(..size);
        match (here, raw) {
            (Some(bytes), _) => bytes,
            (None, Some(raw)) => {
                let known = space.copy(ip, raw);
                raw.get(..known).unwrap_or(&[])
            }
            (None, None) => &[],
        }
    }
}

/// Looks for the sites of a node, which are appended to `sites`, and for how it may be left, if that is a system call.
///
/// `functions` are those known at a time. Where jumps in it lead to code that no file knows is added to `landed`.
pub(super) fn look(
    graph: &Graph,
    node: NodeId,
    sites: &mut Vec<Site>,
    landed: &mut Vec<Called>,
    (functions, tsc): (&Entries, u64),
) -> (NodeSites, Option<Off>) {
    let begin = sites.len() as u32;
    let (space, mode) = graph.place(node);
    let space = graph.code().get(space);
    let ips = graph.ips(node);
    let code = Code { space: space.as_deref(), mode };
    let begins = |ip| Begins::at(ip, tsc, functions, code);
    let mut bytes = Bytes::default();
    let mut touch_at = |ip: u64, size: u8| {
        space.as_ref().map_or(Touch::Nothing, |space| touch(bytes.of(space, ip, size), mode))
    };
    let mut manner = Manner::default();
    let mut exit = Exit::Plain;
    // What a function that returns twice does before it changes the stack: both, in any order.
    let mut seen = (false, false);
    let mut changed = false;
    // What a call pushed may be popped at once, where no function begins: such code only asks for an address.
    let mut called = false;
    // A direct call of a function went here.
    let mut begun = false;
    for (nth, (&ip, meta)) in ips.iter().zip(graph.metas(node)).enumerate() {
        let nth = nth as u16;
        let back = ip.wrapping_add(u64::from(meta.size()));
        let touched = match meta.class() {
            // Those that matter are neither calls nor jumps.
            InstructionClass::Other => touch_at(ip, meta.size()),
            _ => Touch::Nothing,
        };
        if std::mem::take(&mut called) && matches!(touched, Touch::Pop | Touch::Drop) {
            sites.pop();
        }
        let is_first = std::mem::take(&mut begun);
        match touched {
            Touch::Load => sites.push(Site { nth, what: What::Load }),
            Touch::Restore => sites.push(Site { nth, what: What::Restore }),
            Touch::ReadTop => seen.0 |= !changed,
            Touch::BehindTop => seen.1 |= !changed,
            // The return address, which is pushed again later.
            Touch::Pop if is_first => seen.0 = true,
            _ => {}
        }
        if seen == (true, true) {
            seen = (false, false);
            sites.push(Site { nth, what: What::Twice });
        }
        match touched {
            Touch::Nothing | Touch::ReadTop | Touch::BehindTop => {}
            Touch::Pop if is_first => manner.popped = true,
            Touch::WriteTop => manner.written = true,
            _ => {
                changed = true;
                manner.written = false;
                manner.pushed = touched == Touch::Push;
                manner.popped = touched == Touch::Pop;
            }
        }
        match meta.class() {
            InstructionClass::Call => {
                let indirect = meta.detail() != Detail::Direct;
                let next = ips.get(usize::from(nth) + 1).copied();
                // A call of what comes next asks for its address.
                let callee = next.unwrap_or(graph.next_ip(node));
                if indirect || callee != back && code.called_by(back, callee).is_none() {
                    let begins = if indirect { Begins::Nothing } else { begins(callee) };
                    let is_stub = begins == Begins::Stub;
                    let is_unknown = matches!(begins, Begins::Unknown(_));
                    let what = What::Call { from: ip, to: callee, back, indirect, is_stub, is_unknown };
                    sites.push(Site { nth, what });
                    called = !indirect && begins.function().is_none();
                    begun = !indirect && !called;
                }
                (manner, seen, changed) = (Manner::default(), (false, false), false);
            }
            InstructionClass::Jump if meta.detail() == Detail::Direct => {
                // The last one leads to another node, which begins at the entry.
                let Some(to) = ips.get(usize::from(nth) + 1).copied() else { continue };
                let is_stub = match begins(to) {
                    Begins::Function(entry) if functions.owner(ip, tsc) != Some(entry) => false,
                    // In code that no file knows it may well be a part of a function.
                    Begins::Stub if functions.is_named(ip, tsc) => true,
                    Begins::Unknown(program) => {
                        landed.push((program, to));
                        continue;
                    }
                    _ => continue,
                };
                sites.push(Site { nth, what: What::Tail { to, is_stub } });
            }
            InstructionClass::Return => {
                exit = Exit::Return;
                if (nth == 0 || manner.written) && code.jumps_at(ip) {
                    manner = Manner { thunk: true, pushed: true, ..Manner::default() };
                }
            }
            InstructionClass::Jump if meta.detail() != Detail::Direct => exit = Exit::Jump,
            InstructionClass::FarCall => exit = Exit::FarCall,
            InstructionClass::FarReturn => exit = Exit::FarReturn,
            _ => {}
        }
    }
    if !matches!(graph.kind(node), NodeKind::Return | NodeKind::Tip) {
        exit = Exit::Plain;
    }
    let mut left = None;
    if let (Some(&ip), Some(meta)) = (ips.last(), graph.metas(node).last()) {
        if meta.class() == InstructionClass::FarCall {
            // The instruction before it may belong to another node.
            let mut raw = [0u8; 16];
            let sets = |size: u8| {
                let before = ip.wrapping_sub(u64::from(size));
                let bytes = raw.get_mut(..usize::from(size))?;
                let known = space.as_ref()?.copy_known(before, bytes);
                (known && ends_handler(bytes, mode)).then_some(Off::HandlerEnd(before))
            };
            let behind = ip.wrapping_add(u64::from(meta.size()));
            left = [7, 5].into_iter().find_map(sets).or(Some(Off::Syscall(ip, behind)));
        }
    }
    (NodeSites { begin, end: sites.len() as u32 + 1, manner, exit, left: 0, begins: false }, left)
}

/// A thunk begins at an address that returns for the function that jumps there.
pub(super) fn returns(code: Code<'_>, ip: u64) -> bool {
    code.begun_at(ip) == Some(Thunk::Return)
}

/// An instruction that makes the system call behind it the one that ends a handler of a signal: sigreturn or rt_sigreturn.
fn ends_handler(raw: &[u8], mode: ExecMode) -> bool {
    match mode {
        ExecMode::Bits64 => matches!(raw, [0x48, 0xc7, 0xc0, 15, 0, 0, 0] | [0xb8, 15, 0, 0, 0]),
        _ => matches!(raw, [0xb8, 119 | 173, 0, 0, 0]),
    }
}
