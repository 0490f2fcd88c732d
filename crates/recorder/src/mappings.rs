//! Which mappings a process has told of, and whether they still hold.
//!
//! A mapping is told when its first instruction is about to run. It holds until a system call may have
//! changed something: then the kernel is asked again, once, for all of them. While such a call is under
//! way in some thread, the kernel's answer may be outdated at once, and it is asked each time.

use std::collections::HashSet;

use crate::maps::{self, Mapping};
use crate::system::now;

/// System calls that can change what lies at an address, or what may be executed there.
const CHANGING: [i64; 9] = [
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_pkey_mprotect,
    libc::SYS_brk,
    libc::SYS_shmat,
    libc::SYS_shmdt,
    libc::SYS_remap_file_pages,
];

/// True if the system call of this number can change mappings.
pub fn changes(syscall: i64) -> bool {
    CHANGING.contains(&syscall)
}

/// A mapping that has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fresh {
    /// The mapping.
    pub map: Mapping,
    /// A time in ns at which it was there and nothing of it had been executed.
    pub since: u64,
    /// Something else was told to lie at one of its addresses.
    pub replaces: bool,
}

/// The mappings of one process.
#[derive(Clone, Debug, Default)]
pub struct Mappings {
    /// What was told, without what was replaced.
    told: Vec<Mapping>,
    /// What there is, each with whether it is told, if that is known.
    current: Option<(Vec<Mapping>, Vec<bool>)>,
    /// Threads that are in a system call that may change mappings.
    changing: HashSet<i32>,
    /// When the last such call ended.
    changed: u64,
    /// How often the kernel was asked.
    asked: u64,
}

impl Mappings {
    /// Those of the child of a fork.
    pub fn child(&self) -> Mappings {
        Mappings { told: self.told.clone(), ..Mappings::default() }
    }

    /// Thread `tid` makes a system call that may change mappings.
    pub fn begin(&mut self, tid: i32) {
        self.changing.insert(tid);
    }

    /// That call has come back, failed, or its thread has ended. Nothing happens if there was none.
    pub fn end(&mut self, tid: i32) {
        if self.changing.remove(&tid) {
            self.current = None;
            self.changed = now();
        }
    }

    /// What there is, in addresses of the program, and a number that is another when the kernel was asked again.
    /// `base` added to an address gives one of `read_maps`.
    pub fn current(&mut self, base: u64, read_maps: impl FnOnce() -> Vec<u8>) -> (&[Mapping], u64) {
        if !self.changing.is_empty() {
            self.current = None;
        }
        let asked = &mut self.asked;
        let (maps, _) = self.current.get_or_insert_with(|| {
            *asked += 1;
            let mut maps = maps::parse(&read_maps());
            for map in &mut maps {
                map.start = map.start.wrapping_sub(base);
                map.end = map.end.wrapping_sub(base);
            }
            maps.retain(|map| map.start < map.end);
            maps.sort_by_key(|map| map.start);
            let told = vec![false; maps.len()];
            (maps, told)
        });
        (maps, *asked)
    }

    /// True if a mapping of the file with this inode was told and not replaced.
    pub fn has_told(&self, inode: u64) -> bool {
        inode != 0 && self.told.iter().any(|map| map.inode == inode)
    }

    /// An instruction at `address` is about to run: its mapping, if that has to be told.
    pub fn meet(&mut self, address: u64, base: u64, read_maps: impl FnOnce() -> Vec<u8>) -> Option<Fresh> {
        self.current(base, read_maps);
        let (maps, told) = self.current.as_mut()?;
        let at = maps.partition_point(|map| map.start <= address).checked_sub(1)?;
        let map = maps.get(at).filter(|map| map.contains(address))?;
        let told = told.get_mut(at)?;
        if *told {
            return None;
        }
        *told = true;
        if self.told.iter().any(|old| old.covers(map) && old.agrees(map)) {
            return None;
        }
        let replaces = self.told.iter().any(|old| old.overlaps(map) && !old.agrees(map));
        let map = map.clone();
        self.told = self.told.drain(..).flat_map(|old| old.without(&map)).collect();
        self.told.push(map.clone());
        let since = if self.changing.is_empty() && self.changed != 0 { self.changed } else { now() };
        Some(Fresh { map, since, replaces })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &[u8] = b"1000-5000 r-xp 00000000 fe:01 12 /lib/a\n";
    const B: &[u8] = b"1000-5000 r-xp 00000000 fe:01 13 /lib/b\n";
    const MIDDLE: &[u8] = b"1000-2000 r-xp 00000000 fe:01 12 /lib/a\n\
        2000-3000 r-xp 00000000 fe:01 13 /lib/b\n\
        3000-5000 r-xp 00002000 fe:01 12 /lib/a\n";

    fn meet(mappings: &mut Mappings, address: u64, maps: &[u8]) -> Option<(Vec<u8>, bool)> {
        mappings.meet(address, 0, || maps.to_vec()).map(|fresh| (fresh.map.path, fresh.replaces))
    }

    fn changed(mappings: &mut Mappings) {
        mappings.begin(1);
        mappings.end(1);
    }

    #[test]
    fn a_mapping_is_told_once() {
        let mut mappings = Mappings::default();
        assert_eq!(meet(&mut mappings, 0x1000, A), Some((b"/lib/a".to_vec(), false)));
        assert_eq!(mappings.meet(0x4fff, 0, || panic!("the kernel is asked once")), None);
        changed(&mut mappings);
        assert_eq!(meet(&mut mappings, 0x1000, A), None);
        assert_eq!(meet(&mut mappings, 0x8000, A), None);
    }

    #[test]
    fn another_file_at_the_same_address_is_told_whatever_was_asked_in_between() {
        let mut mappings = Mappings::default();
        let with_c = [A, b"7000-8000 r-xp 00000000 fe:01 14 /lib/c\n"].concat();
        let then = [B, b"7000-8000 r-xp 00000000 fe:01 14 /lib/c\n"].concat();
        meet(&mut mappings, 0x1000, &with_c);
        changed(&mut mappings);
        assert_eq!(meet(&mut mappings, 0x7000, &then), Some((b"/lib/c".to_vec(), false)));
        assert_eq!(meet(&mut mappings, 0x1000, &then), Some((b"/lib/b".to_vec(), true)));
        changed(&mut mappings);
        assert_eq!(meet(&mut mappings, 0x1000, A), Some((b"/lib/a".to_vec(), true)));
    }

    #[test]
    fn a_mapping_over_the_middle_of_another_leaves_its_ends() {
        let mut mappings = Mappings::default();
        meet(&mut mappings, 0x1000, A);
        changed(&mut mappings);
        assert_eq!(meet(&mut mappings, 0x1000, MIDDLE), None);
        assert_eq!(meet(&mut mappings, 0x2000, MIDDLE), Some((b"/lib/b".to_vec(), true)));
        assert_eq!(meet(&mut mappings, 0x4000, MIDDLE), None);
    }

    #[test]
    fn while_a_call_is_under_way_the_kernel_is_asked_each_time() {
        let mut mappings = Mappings::default();
        mappings.begin(1);
        mappings.begin(2);
        meet(&mut mappings, 0x1000, A);
        assert_eq!(meet(&mut mappings, 0x1000, B), Some((b"/lib/b".to_vec(), true)));
        mappings.end(1);
        assert_eq!(meet(&mut mappings, 0x1000, A), Some((b"/lib/a".to_vec(), true)));
        mappings.end(2);
        assert_eq!(meet(&mut mappings, 0x1000, A), None);
        assert_eq!(mappings.meet(0x1000, 0, || panic!("nothing has changed")), None);
    }

    #[test]
    fn addresses_are_the_programs() {
        let mut mappings = Mappings::default();
        let fresh = mappings.meet(0x400, 0xc00, || A.to_vec()).unwrap();
        assert_eq!((fresh.map.start, fresh.map.end), (0x400, 0x4400));
    }
}
