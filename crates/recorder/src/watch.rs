//! Code that can change without QEMU noticing.
//!
//! QEMU translates code once and translates it again when the program writes to the page it came from,
//! by that page's own address, or maps something else there. It does not notice (QEMU 7.2) that code changes
//! through another mapping of the same file or memory, in this process or another; by a system call
//! that writes to a mapped file; or that writes to memory from outside (`/proc/PID/mem`,
//! `process_vm_writev`). It then goes on to run what was there before. What another process writes to memory
//! from outside cannot be seen here. Blocks that this can happen to are watched: see [`crate::block::Block::watch`].

use std::collections::HashSet;

use crate::maps::Mapping;

/// What can change so.
#[derive(Debug, Default)]
pub struct Watch {
    /// Inodes of files that are mapped shared or were written to.
    files: HashSet<u64>,
    /// Memory was written to from outside.
    everything: bool,
}

impl Watch {
    /// True if code of this mapping can change without QEMU noticing.
    pub fn includes(&self, map: &Mapping) -> bool {
        self.everything || map.shared || (map.inode != 0 && self.files.contains(&map.inode))
    }

    /// These mappings exist. True if more code than before is to be watched.
    pub fn learn(&mut self, maps: &[Mapping]) -> bool {
        let shared = maps.iter().filter(|map| map.shared && map.inode != 0).map(|map| map.inode);
        let new: Vec<u64> = shared.filter(|inode| self.files.insert(*inode)).collect();
        // Most files that are mapped shared, the recorder's own among them, hold no code.
        !new.is_empty() && maps.iter().any(|map| !map.shared && new.contains(&map.inode))
    }

    /// The file with this inode is written to. True if more code than before is to be watched.
    pub fn written(&mut self, inode: u64) -> bool {
        self.files.insert(inode)
    }

    /// Memory is written to from outside. True if more code than before is to be watched.
    pub fn memory_written(&mut self) -> bool {
        !std::mem::replace(&mut self.everything, true)
    }
}

/// The file that a system call with these arguments writes to, as a descriptor.
pub fn written_descriptor(syscall: i64, arguments: [u64; 3]) -> Option<i32> {
    let argument = match syscall {
        libc::SYS_write
        | libc::SYS_pwrite64
        | libc::SYS_writev
        | libc::SYS_pwritev
        | libc::SYS_pwritev2
        | libc::SYS_ftruncate
        | libc::SYS_fallocate
        | libc::SYS_sendfile => arguments[0],
        libc::SYS_splice | libc::SYS_copy_file_range => arguments[2],
        _ => return None,
    };
    Some(argument as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maps;

    #[test]
    fn code_is_watched_whose_file_is_mapped_shared_or_written() {
        let maps = maps::parse(
            b"1000-2000 r-xp 00000000 fe:01 12 /tmp/a\n\
            2000-3000 r-xp 00000000 fe:01 13 /tmp/b\n\
            3000-4000 rw-s 00000000 fe:01 12 /tmp/a\n\
            4000-5000 rwxp 00000000 00:00 0 \n\
            5000-6000 r-xs 00000000 00:05 77 /memfd:jit (deleted)\n",
        );
        let mut watch = Watch::default();
        let watched = |watch: &Watch| maps.iter().map(|map| watch.includes(map)).collect::<Vec<_>>();
        assert_eq!(watched(&watch), [false, false, true, false, true]);
        assert!(watch.learn(&maps) && !watch.learn(&maps));
        assert_eq!(watched(&watch), [true, false, true, false, true]);
        assert!(watch.written(13) && !watch.written(13));
        assert_eq!(watched(&watch), [true, true, true, false, true]);
        assert!(watch.memory_written() && !watch.memory_written());
        assert_eq!(watched(&watch), [true; 5]);
    }
}
