//! The code of a stepped process.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io;

use crate::block::Block;
use crate::code::Learned;
use crate::process::Process;

const PAGE: u64 = 4096;
const LONGEST: usize = 15;

/// Instructions that were executed, as blocks, and the bytes they were made of.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    blocks: HashMap<u64, (Vec<u8>, &'static Block)>,
    /// Pages that nobody can write to; code of others is read at every step.
    fixed: HashMap<u64, bool>,
    /// Instructions compared with memory since mappings last changed.
    checked: HashSet<u64>,
}

impl Memory {
    /// Mappings may have changed.
    pub fn forget_mappings(&mut self) {
        self.fixed.clear();
        self.checked.clear();
    }

    /// The instruction at `ip`, and whether other code was executed there before. `None` if there is none.
    pub fn instruction(
        &mut self,
        process: &mut Process,
        ip: u64,
    ) -> io::Result<Option<(&'static Block, bool)>> {
        let pid = process.pid();
        match self.fixed.entry(ip / PAGE) {
            Entry::Occupied(fixed) => {
                if let (true, true, Some((_, block))) =
                    (*fixed.get(), self.checked.contains(&ip), self.blocks.get(&ip))
                {
                    return Ok(Some((block, false)));
                }
            }
            Entry::Vacant(unknown) => {
                let maps = maps(pid);
                unknown.insert(is_fixed(&maps, ip) && is_fixed(&maps, ip.wrapping_add(LONGEST as u64)));
            }
        }
        let bytes = read(pid, ip, LONGEST);
        self.checked.insert(ip);
        if let Some((known, block)) = self.blocks.get(&ip) {
            if bytes.starts_with(known) {
                // In between, other code may have been executed that overlaps this.
                let learned = process.learn(ip, known, || maps(pid))?;
                return Ok(Some((block, learned == Learned::Changed)));
            }
        }
        let Some(block) = Block::new(ip, [bytes.as_slice()].into_iter()) else { return Ok(None) };
        let block: &'static Block = Box::leak(Box::new(block));
        let size = block.next.wrapping_sub(ip) as usize;
        let code = bytes.get(..size).unwrap_or(&bytes);
        self.blocks.insert(ip, (code.to_vec(), block));
        let learned = process.learn(ip, code, || maps(pid))?;
        Ok(Some((block, learned == Learned::Changed)))
    }
}

fn maps(pid: i32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/maps")).unwrap_or_default()
}

/// True if `ip` lies in a private mapping of a file that cannot be written.
fn is_fixed(maps: &[u8], ip: u64) -> bool {
    maps.split(|byte| *byte == b'\n').any(|line| {
        let Ok(line) = std::str::from_utf8(line) else { return false };
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some(mode)) = (words.next(), words.next()) else { return false };
        let Some((start, end)) = range.split_once('-') else { return false };
        let inside = |start: &str, end: &str| {
            Some(u64::from_str_radix(start, 16).ok()? <= ip && ip < u64::from_str_radix(end, 16).ok()?)
        };
        let file = words.nth(3).is_some_and(|path| path.starts_with('/') || path == "[vdso]");
        inside(start, end) == Some(true) && mode.ends_with('p') && !mode.contains('w') && file
    })
}

fn read(pid: i32, address: u64, size: usize) -> Vec<u8> {
    let one = |address: u64, size: usize| {
        let mut bytes = vec![0u8; size];
        let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: size };
        let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: size };
        // SAFETY: `local` describes `bytes`; the other side is the traced process's memory, which the kernel checks.
        let got = unsafe { libc::process_vm_readv(pid, &local, 1, &remote, 1, 0) };
        bytes.truncate(usize::try_from(got).unwrap_or(0));
        bytes
    };
    let whole = one(address, size);
    if whole.len() == size {
        return whole;
    }
    let room = (PAGE - address % PAGE) as usize;
    one(address, size.min(room))
}
