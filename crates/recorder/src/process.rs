//! One process image: what is told about it as a whole.
//!
//! `PID.N.events` has lines of fields separated by tabs: kind, time in ns, then
//!
//! | kind | fields |
//! |---|---|
//! | `start` | pid, parent pid, `first`, `fork` or `exec`, name, and for `fork` the parent's image and its length of code |
//! | `map` | address, length, file offset, device, inode, path |
//! | `thread` | tid, parent tid, stream file |
//! | `comm` | tid, name |
//! | `exit` | tid |
//! | `killed` | tid, signal, ip or 0 |
//! | `gap` | tid, reason, text |
//!
//! Bytes other than printable ASCII, and `%`, are written as `%XX`.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::code::{Code, Learned};
use crate::mapped::AppendFile;
use crate::mappings::Mappings;
use crate::maps;
use crate::system::now;

/// How an image came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The recorded command.
    First,
    /// The child of a fork.
    Fork,
    /// By exec, in place of another.
    Exec,
}

impl Origin {
    /// The word for it in files and options.
    pub fn word(self) -> &'static str {
        match self {
            Origin::First => "first",
            Origin::Fork => "fork",
            Origin::Exec => "exec",
        }
    }
}

/// Everything a process image writes that is not a stream.
#[derive(Debug)]
pub struct Process {
    spool: PathBuf,
    pid: i32,
    image: u64,
    events: AppendFile,
    code: Code,
    mappings: Mappings,
    streams: u32,
    guest_base: u64,
}

impl Process {
    /// Starts the files of a new image of process `pid` in the directory `spool`.
    pub fn start(spool: &Path, pid: i32, parent: i32, origin: Origin, name: &[u8]) -> io::Result<Process> {
        let image = now();
        let mut process = Process {
            spool: spool.to_owned(),
            pid,
            image,
            events: AppendFile::create(&spool.join(format!("{pid}.{image}.events")))?,
            code: Code::create(&spool.join(format!("{pid}.{image}.code")))?,
            mappings: Mappings::default(),
            streams: 0,
            guest_base: 0,
        };
        let name = quoted(name);
        process.event("start", &format!("{pid}\t{parent}\t{}\t{name}", origin.word()))?;
        Ok(process)
    }

    /// Makes of this value, copied by fork into `pid`, the child's own.
    pub fn fork(&mut self, pid: i32, name: &[u8]) -> io::Result<()> {
        let (parent, parent_image, length) = (self.pid, self.image, self.code.length());
        self.pid = pid;
        self.image = now();
        let image = self.image;
        self.streams = 0;
        self.mappings = self.mappings.child();
        // The parent's file is never ours.
        self.events = AppendFile::none();
        self.code.fork(&self.spool.join(format!("{pid}.{image}.code")))?;
        self.events = AppendFile::create(&self.spool.join(format!("{pid}.{image}.events")))?;
        let name = quoted(name);
        self.event("start", &format!("{pid}\t{parent}\tfork\t{name}\t{parent}.{parent_image}\t{length}"))
    }

    /// The child `pid` of a fork, with a copy of what is known.
    pub fn child(&self, pid: i32, name: &[u8]) -> io::Result<Process> {
        let image = now();
        let mut child = Process {
            spool: self.spool.clone(),
            pid,
            image,
            events: AppendFile::create(&self.spool.join(format!("{pid}.{image}.events")))?,
            code: self.code.child(&self.spool.join(format!("{pid}.{image}.code")))?,
            mappings: self.mappings.child(),
            streams: 0,
            guest_base: self.guest_base,
        };
        let (name, parent, length) = (quoted(name), self.pid, self.code.length());
        child.event("start", &format!("{pid}\t{parent}\tfork\t{name}\t{parent}.{}\t{length}", self.image))?;
        Ok(child)
    }

    /// Something of this process could not be written: leaves an empty file that says so, for which a full disk has room.
    pub fn mark_lost(&self) {
        mark_lost(&self.spool, self.pid);
    }

    /// Process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The directory all files are in.
    pub fn spool(&self) -> &Path {
        &self.spool
    }

    /// What is to be added to an address of the program to get one of this process.
    pub fn set_guest_base(&mut self, base: u64) {
        self.guest_base = base;
    }

    /// Writes one line.
    pub fn event(&mut self, kind: &str, fields: &str) -> io::Result<()> {
        self.event_at(now(), kind, fields)
    }

    fn event_at(&mut self, time: u64, kind: &str, fields: &str) -> io::Result<()> {
        self.events.append(format!("{kind}\t{time}\t{fields}\n").as_bytes())
    }

    /// A new thread; returns the path for its stream.
    pub fn thread(&mut self, tid: i32, parent: i32) -> io::Result<PathBuf> {
        let name = format!("{}.{}.{tid}.{}.stream", self.pid, self.image, self.streams);
        self.streams = self.streams.wrapping_add(1);
        self.event("thread", &format!("{tid}\t{parent}\t{name}"))?;
        Ok(self.spool.join(name))
    }

    /// Execution that could not be recorded, and why.
    pub fn gap(&mut self, tid: i32, reason: &str, text: &str) -> io::Result<()> {
        let text = quoted(text.as_bytes());
        self.event("gap", &format!("{tid}\t{reason}\t{text}"))
    }

    /// Thread `tid` makes a system call that may change mappings, until [`mappings_changed`](Self::mappings_changed).
    pub fn mappings_change(&mut self, tid: i32) {
        self.mappings.begin(tid);
    }

    /// The call has come back, failed, or its thread has ended.
    pub fn mappings_changed(&mut self, tid: i32) {
        self.mappings.end(tid);
    }

    /// The mappings as they are, and a number that is another when they may be others; `read_maps` gives the
    /// content of the proc file.
    pub fn current_mappings(&mut self, read_maps: impl FnOnce() -> Vec<u8>) -> (&[maps::Mapping], u64) {
        self.mappings.current(self.guest_base, read_maps)
    }

    /// True if code of the file with this inode was executed and still lies in memory.
    pub fn has_executed(&self, inode: u64) -> bool {
        self.mappings.has_told(inode)
    }

    /// `bytes` are going to be executed at `address`; `read_maps` gives the content of the proc file.
    /// [`Learned::Changed`] also where other bytes were not seen, but another file lay there.
    pub fn learn(
        &mut self,
        address: u64,
        bytes: &[u8],
        mut read_maps: impl FnMut() -> Vec<u8>,
    ) -> io::Result<Learned> {
        let mut learned = self.code.learn(address, bytes)?;
        let last = address.wrapping_add(bytes.len().saturating_sub(1) as u64);
        for address in [address, last] {
            let Some(fresh) = self.mappings.meet(address, self.guest_base, &mut read_maps) else { continue };
            let map = &fresh.map;
            let fields = format!(
                "{}\t{}\t{}\t{}\t{}\t{}",
                map.start,
                map.end.wrapping_sub(map.start),
                map.offset,
                map.device,
                map.inode,
                quoted(&map.path)
            );
            self.event_at(fresh.since, "map", &fields)?;
            if fresh.replaces {
                learned = Learned::Changed;
            }
        }
        Ok(learned)
    }
}

/// As [`Process::mark_lost`], for a process that could not be begun.
pub fn mark_lost(spool: &Path, pid: i32) {
    // There is nothing else that could be done.
    drop(std::fs::File::create(spool.join(format!("{pid}.lost"))));
}

/// `bytes` as printable text without tabs, line ends and percent signs.
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b' '..=b'$' | b'&'..=b'~' => text.push(char::from(*byte)),
            // Writing to a String does not fail.
            _ => drop(write!(text, "%{byte:02x}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_leaves_nothing_that_could_split_a_line() {
        assert_eq!(quoted(b"a b\t%\n\xff"), "a b%09%25%0a%ff");
    }
}
