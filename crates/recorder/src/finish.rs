//! Bringing a stream in order after its process has gone, however it went.

use std::fs::OpenOptions;
use std::io::{self, Seek, SeekFrom, Write};
use std::mem::size_of;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::stream::{mark_bytes, Stream, DATA, MAGIC};

/// What is in a stream file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Thread id.
    pub tid: i32,
    /// Where packets begin in the file.
    pub offset: u64,
    /// Size of the packets in bytes.
    pub size: u64,
    /// Executed instructions, those of earlier streams of the thread included.
    pub count: u64,
    /// Their hash.
    pub hash: u64,
    /// Bytes of packets that had to be given up because the process was killed while writing.
    pub dropped: u64,
    /// Instructions that were executed before there was no more room for packets; `None` if there always was.
    pub written: Option<u64>,
    /// Where execution was when the process was killed in the middle of code, else 0.
    pub last_ip: u64,
}

/// Completes the stream in the file `path` (the last TNT bits, and the end of tracing where the
/// process was killed in the middle of code) and cuts off the room reserved behind it.
pub fn finish(path: &Path) -> io::Result<Summary> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "not a stream of packets");
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut head = [0u8; size_of::<Stream>()];
    file.read_exact_at(&mut head, 0)?;
    let field = |offset: usize| {
        head.get(offset..offset + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
    };
    if field(std::mem::offset_of!(Stream, magic)) != MAGIC {
        return Err(damaged());
    }
    let tid = field(std::mem::offset_of!(Stream, tid)) as i32;
    let (position, address, window) = Stream::place(&head);
    let mut length = window.wrapping_add(position).wrapping_sub(address);
    let mut count = field(std::mem::offset_of!(Stream, count));
    let mut hash = field(std::mem::offset_of!(Stream, hash));
    let mut current = field(std::mem::offset_of!(Stream, current));
    let mut decided = field(std::mem::offset_of!(Stream, decided));
    let mut tnt = field(std::mem::offset_of!(Stream, tnt));
    let mut dropped = 0;
    let lost = field(std::mem::offset_of!(Stream, lost_length));
    let written = (lost != 0).then(|| field(std::mem::offset_of!(Stream, lost_count)));
    if lost != 0 {
        length = lost;
        current = 0;
        tnt = 1;
    } else if field(std::mem::offset_of!(Stream, busy)) != 0 {
        let psb = field(std::mem::offset_of!(Stream, psb_length));
        dropped = length.saturating_sub(psb).max(1);
        length = psb;
        count = field(std::mem::offset_of!(Stream, psb_count));
        hash = field(std::mem::offset_of!(Stream, psb_hash));
        current = field(std::mem::offset_of!(Stream, psb_ip));
        decided = count;
        tnt = 1;
    }
    if length < DATA || length > file.metadata()?.len() {
        return Err(damaged());
    }
    let mut tail = Vec::new();
    if tnt > 1 {
        tail.push((tnt << 1) as u8);
    }
    if current != 0 {
        tail.extend(mark_bytes(count.wrapping_sub(decided)));
        tail.push(0x1d | 6 << 5);
        tail.extend_from_slice(&current.to_le_bytes());
        tail.push(0x01);
    }
    file.set_len(length)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(&tail)?;
    let size = (length - DATA).wrapping_add(tail.len() as u64);
    Ok(Summary { tid, offset: DATA, size, count, hash, dropped, written, last_ip: current })
}
