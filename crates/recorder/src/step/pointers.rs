//! Stack pointers beside a recording, for those who check call stacks.
//!
//! Where the environment variable `ODOGRAPH_STACK_POINTERS` names a directory, the stepper writes a file `TID.pointers`
//! there for each thread: for each instruction that is about to run its address and the stack pointer, 8 bytes each,
//! little-endian. Before the first instruction of a signal's handler stand all ones and the address that was
//! interrupted. An instruction that repeats itself or was interrupted stands there several times.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use super::trace;

/// The files of all threads.
pub struct Pointers {
    directory: PathBuf,
    files: HashMap<i32, BufWriter<File>>,
}

impl Pointers {
    /// Those that are asked for.
    pub fn wanted() -> Option<Pointers> {
        let directory = PathBuf::from(std::env::var_os("ODOGRAPH_STACK_POINTERS")?);
        Some(Pointers { directory, files: HashMap::new() })
    }

    fn write(&mut self, tid: i32, one: u64, other: u64) -> io::Result<()> {
        let file = match self.files.entry(tid) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                let path = self.directory.join(format!("{tid}.pointers"));
                new.insert(BufWriter::new(File::create(path)?))
            }
        };
        file.write_all(&one.to_le_bytes())?;
        file.write_all(&other.to_le_bytes())
    }

    /// A thread is about to run the instruction at `ip`.
    pub fn arrive(&mut self, tid: i32, ip: u64) -> io::Result<()> {
        let pointer = trace::stack_pointer(tid)?;
        self.write(tid, ip, pointer)
    }

    /// A handler is about to run that interrupts what is at this address.
    pub fn handle(&mut self, tid: i32, interrupted: u64, ip: u64) -> io::Result<()> {
        self.write(tid, u64::MAX, interrupted)?;
        self.arrive(tid, ip)
    }
}
