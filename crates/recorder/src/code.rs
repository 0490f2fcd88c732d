//! The bytes that were executed, each with the time from which on it was there.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use crate::mapped::AppendFile;
use crate::system::now;

const PAGE: usize = 4096;

/// What is new about bytes that are going to be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// Nothing: they are known.
    Known,
    /// Some were not known before.
    New,
    /// Some differ from what was executed there before.
    Changed,
}

#[derive(Clone, Debug)]
struct Page {
    bytes: [u8; PAGE],
    known: [bool; PAGE],
}

/// The executed bytes of one process, in memory and as a file of entries
/// (u64 time in ns, u64 address, u64 size, bytes). Time 0 means: since the program began.
#[derive(Debug)]
pub struct Code {
    pages: HashMap<u64, Box<Page>>,
    file: AppendFile,
}

impl Code {
    /// Makes the file.
    pub fn create(path: &Path) -> io::Result<Code> {
        Ok(Code { pages: HashMap::new(), file: AppendFile::create(path)? })
    }

    /// The same knowledge going into another file, in the child of a fork.
    pub fn fork(&mut self, path: &Path) -> io::Result<()> {
        // The parent's file is never ours.
        self.file = AppendFile::none();
        self.file = AppendFile::create(path)?;
        Ok(())
    }

    /// A copy of the knowledge, for the child of a fork that another process records.
    pub fn child(&self, path: &Path) -> io::Result<Code> {
        Ok(Code { pages: self.pages.clone(), file: AppendFile::create(path)? })
    }

    /// Length of the file so far.
    pub fn length(&self) -> u64 {
        self.file.length()
    }

    /// `bytes` are going to be executed at `address`.
    pub fn learn(&mut self, address: u64, bytes: &[u8]) -> io::Result<Learned> {
        let mut learned = Learned::Known;
        let mut fresh: Vec<std::ops::Range<usize>> = Vec::new();
        for (at, byte) in bytes.iter().enumerate() {
            let ip = address.wrapping_add(at as u64);
            let page = self
                .pages
                .entry(ip / PAGE as u64)
                .or_insert_with(|| Box::new(Page { bytes: [0; PAGE], known: [false; PAGE] }));
            let slot = (ip % PAGE as u64) as usize;
            if !page.known[slot] {
                page.known[slot] = true;
                match fresh.last_mut() {
                    Some(run) if run.end == at => run.end = at + 1,
                    _ => fresh.push(at..at + 1),
                }
                if learned == Learned::Known {
                    learned = Learned::New;
                }
            } else if page.bytes[slot] != *byte {
                learned = Learned::Changed;
            }
            page.bytes[slot] = *byte;
        }
        match learned {
            Learned::Known => {}
            // Those that were known may not have been there from the beginning.
            Learned::New => {
                for run in fresh {
                    let start = address.wrapping_add(run.start as u64);
                    self.write(0, start, bytes.get(run).unwrap_or(&[]))?;
                }
            }
            Learned::Changed => self.write(now(), address, bytes)?,
        }
        Ok(learned)
    }

    fn write(&mut self, since: u64, address: u64, bytes: &[u8]) -> io::Result<()> {
        let mut entry = Vec::with_capacity(24 + bytes.len());
        entry.extend_from_slice(&since.to_le_bytes());
        entry.extend_from_slice(&address.to_le_bytes());
        entry.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        entry.extend_from_slice(bytes);
        self.file.append(&entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_bytes_are_kept_once_and_changed_ones_get_a_time() {
        let path = std::env::temp_dir().join(format!("odograph-code-{}", std::process::id()));
        let mut code = Code::create(&path).unwrap();
        assert_eq!(code.learn(0x1ffe, &[1, 2, 3]).unwrap(), Learned::New);
        assert_eq!(code.learn(0x1fff, &[2, 3]).unwrap(), Learned::Known);
        assert_eq!(code.learn(0x2000, &[3, 4]).unwrap(), Learned::New);
        assert_eq!(code.learn(0x2000, &[3, 5]).unwrap(), Learned::Changed);
        let file = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(code.length(), 3 * 24 + 3 + 1 + 2);
        assert_eq!(file[8..16], [0; 8]);
        assert_eq!(file[8 + 27..][..16], [[0; 8], 0x2001u64.to_le_bytes()].concat());
        assert_ne!(file[8 + 27 + 25..][..8], [0; 8]);
    }
}
