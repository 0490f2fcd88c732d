//! The code of a stepped process.

use std::collections::HashMap;

use super::kind::Kind;
use super::trace;
use crate::block::Block;
use crate::code::Learned;
use crate::process::Process;

const LONGEST: usize = 15;

/// An instruction that is about to run.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    /// The instruction, as a block.
    pub block: &'static Block,
    /// What it means for stepping.
    pub kind: Kind,
    /// Other code was executed there before.
    pub changed: bool,
}

/// Instructions that were executed, as blocks.
///
/// Memory is read before every step: what lies at an address can be changed by others, through other
/// mappings of the same page, and by system calls.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    blocks: HashMap<u64, (&'static Block, Kind)>,
}

impl Memory {
    /// The instruction at `ip`, `None` if there is none.
    pub fn instruction(&mut self, process: &mut Process, ip: u64) -> Option<Next> {
        let pid = process.pid();
        let bytes = trace::read(pid, ip, LONGEST);
        if bytes.is_empty() {
            return None;
        }
        let known = self.blocks.get(&ip).filter(|(block, _)| bytes.starts_with(&block.code));
        let (block, kind) = match known {
            Some(known) => *known,
            None => {
                let block = Block::new(ip, [bytes.as_slice()].into_iter())?;
                let block: &'static Block = Box::leak(Box::new(block));
                let kind = Kind::of(&block.code);
                // An instruction that is cut off may be whole next time.
                if block.code.len() < bytes.len() || bytes.len() == LONGEST {
                    self.blocks.insert(ip, (block, kind));
                }
                (block, kind)
            }
        };
        let learned = process.learn(ip, &block.code, || maps(pid)).unwrap_or_else(|_| {
            process.mark_lost();
            Learned::New
        });
        Some(Next { block, kind, changed: learned == Learned::Changed })
    }
}

fn maps(pid: i32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/maps")).unwrap_or_default()
}
