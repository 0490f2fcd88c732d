//! What a decode read of memory, without the bytes: enough to find out whether another memory is the same.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::code::{Code, CodeError, Space};
use super::timeline::Timeline;
use crate::asid::Asid;
use crate::error::PtError;

/// The code bytes that were read, by address space, as digests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    spaces: Vec<SpaceReads>,
}

/// What was read of one address space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SpaceReads {
    /// The first moment of the timeline that has its image.
    moment: usize,
    asid: Asid,
    /// Address, length and digest of what was read in one piece, the highest address first.
    chunks: Vec<(u64, u16, u128)>,
    /// Addresses at which nothing could be read, and why.
    unreadable: Vec<(u64, PtError)>,
}

/// Memory is another one than was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherMemory {
    /// The address space.
    pub asid: Asid,
    /// Where it is not the same.
    pub address: u64,
}

impl Reads {
    /// What has been read of the images of a timeline.
    pub fn of(code: &Code, timeline: &Timeline) -> Reads {
        let outline = timeline.outline();
        let mut moments = HashMap::new();
        for (at, &(.., same)) in outline.iter().enumerate() {
            if let (true, Some(version)) = (at == same, timeline.version(at)) {
                moments.insert(version, at);
            }
        }
        let mut spaces: Vec<SpaceReads> = Vec::new();
        for space in code.spaces() {
            // The code is shared with decodes that had other images later.
            let Some(&moment) = moments.get(&space.version()) else { continue };
            let known = space.known();
            if known.chunks.is_empty() && known.unreadable.is_empty() {
                continue;
            }
            spaces.push(SpaceReads {
                moment,
                asid: space.asid(),
                chunks: known
                    .chunks
                    .values()
                    .rev()
                    .map(|chunk| (chunk.start, chunk.bytes.len() as u16, xxh3_128(&chunk.bytes)))
                    .collect(),
                unreadable: known.unreadable.iter().map(|(&address, &error)| (address, error)).collect(),
            });
        }
        spaces.sort_unstable_by_key(|space| (space.moment, space.asid.cr3, space.asid.vmcs));
        Reads { spaces }
    }

    /// Reads everything again, from the images of a timeline: the code, if it is what it was.
    pub fn again(&self, timeline: &Timeline) -> Result<Arc<Code>, OtherMemory> {
        let code = Arc::new(Code::default());
        for reads in &self.spaces {
            let other = |address| OtherMemory { asid: reads.asid, address };
            timeline.version(reads.moment).ok_or(other(0))?;
            let image = timeline.image(reads.moment);
            let (_, space) = code.space(&image, reads.asid);
            // From the highest address down: what is read in one piece ends where something is known already.
            let mut bytes = Vec::new();
            for &(start, length, digest) in &reads.chunks {
                bytes.resize(usize::from(length), 0);
                if space.copy(start, &mut bytes) != bytes.len() || xxh3_128(&bytes) != digest {
                    return Err(other(start));
                }
            }
            for &(address, error) in &reads.unreadable {
                if !is_unreadable(&space, address, error) {
                    return Err(other(address));
                }
            }
        }
        Ok(code)
    }
}

fn is_unreadable(space: &Space, address: u64, error: PtError) -> bool {
    matches!(space.chunk_at(address), Err(CodeError::Pt(now)) if now == error)
}
