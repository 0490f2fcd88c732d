//! Thunks, which branch by a return that no branch predictor foresees: a call whose return address is replaced, and a return to the new one.
//!
//! A thunk for a jump or call through a register calls a place in itself, where the return address is overwritten with the
//! register and "returned" to. A thunk for a return does the same, and drops that return address. They are known by their code,
//! not by their names, and not by where they stand.

use crate::flow::Space;
use crate::instruction::ExecMode;

/// Most bytes from the end of the call in a thunk to what it calls: what lies between stops speculation.
const MOST_BETWEEN: u64 = 64;
/// Size of a direct call.
const CALL: u64 = 5;

/// What the code that a thunk calls does with the return address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thunk {
    /// It is overwritten with the address to go to.
    Jump,
    /// It is dropped, and the one below is returned to.
    Return,
}

/// The inner code of a thunk, and its size without the return.
fn inner(raw: &[u8], mode: ExecMode) -> Option<(Thunk, u64)> {
    // mov %register,(%rsp): the ModRM byte says where to, the next one that it is the stack pointer.
    let on_top = |modrm: u8| modrm & 0xc7 == 4;
    match (mode, raw) {
        (ExecMode::Bits64, [0x48 | 0x4c, 0x89, modrm, 0x24, 0xc3, ..]) if on_top(*modrm) => {
            Some((Thunk::Jump, 4))
        }
        (ExecMode::Bits32, [0x89, modrm, 0x24, 0xc3, ..]) if on_top(*modrm) => Some((Thunk::Jump, 3)),
        // lea 8(%rsp),%rsp or add $8,%rsp
        (ExecMode::Bits64, [0x48, 0x8d, 0x64, 0x24, 8, 0xc3, ..]) => Some((Thunk::Return, 5)),
        (ExecMode::Bits64, [0x48, 0x83, 0xc4, 8, 0xc3, ..]) => Some((Thunk::Return, 4)),
        (ExecMode::Bits32, [0x8d, 0x64, 0x24, 4, 0xc3, ..]) => Some((Thunk::Return, 4)),
        (ExecMode::Bits32, [0x83, 0xc4, 4, 0xc3, ..]) => Some((Thunk::Return, 3)),
        _ => None,
    }
}

/// The code of a program, as far as it was read before.
#[derive(Clone, Copy)]
pub(super) struct Code<'a> {
    pub space: Option<&'a Space>,
    pub mode: ExecMode,
}

impl Code<'_> {
    fn inner(self, ip: u64) -> Option<(Thunk, u64)> {
        let mut raw = [0u8; 8];
        let known = self.known(ip, &mut raw);
        inner(raw.get(..known)?, self.mode)
    }

    /// How many of the bytes from an address on are known; they are written to `raw`. A walk reads no memory: what
    /// was not read before is not known.
    pub fn known(self, ip: u64, raw: &mut [u8]) -> usize {
        let Some(space) = self.space else { return 0 };
        let sizes = (1..=raw.len()).rev();
        let mut fits = |&size: &usize| raw.get_mut(..size).is_some_and(|room| space.copy_known(ip, room));
        sizes.into_iter().find(|size| fits(size)).unwrap_or(0)
    }

    /// Where the direct call at an address goes to, if there is one.
    fn call_at(self, ip: u64) -> Option<u64> {
        let mut raw = [0u8; CALL as usize];
        let is_known = self.space?.copy_known(ip, &mut raw);
        match raw {
            [0xe8, a, b, c, d] if is_known => {
                let by = i64::from(i32::from_le_bytes([a, b, c, d]));
                Some(ip.wrapping_add(CALL).wrapping_add_signed(by))
            }
            _ => None,
        }
    }

    /// The thunk that a direct call to `to` belongs to, if the address behind it is `back`.
    pub fn called_by(self, back: u64, to: u64) -> Option<Thunk> {
        let near = to.wrapping_sub(back) <= MOST_BETWEEN && to != back;
        near.then(|| self.inner(to)).flatten().map(|(thunk, _)| thunk)
    }

    /// The thunk that begins with a call at an address.
    pub fn begun_at(self, ip: u64) -> Option<Thunk> {
        self.called_by(ip.wrapping_add(CALL), self.call_at(ip)?)
    }

    /// The return at an address is the one that a thunk jumps with.
    pub fn jumps_at(self, ip: u64) -> bool {
        let starts = [4, 3].map(|size| ip.wrapping_sub(size));
        let found = starts.into_iter().find(|&start| {
            self.inner(start).is_some_and(|found| found == (Thunk::Jump, ip.wrapping_sub(start)))
        });
        found.is_some_and(|start| {
            let calls = (1..=MOST_BETWEEN).map(|between| start.wrapping_sub(CALL + between));
            calls.into_iter().any(|call| self.call_at(call) == Some(start))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thunks_are_known_by_their_code() {
        let known: &[(&[u8], Option<Thunk>)] = &[
            (b"\x48\x89\x04\x24\xc3", Some(Thunk::Jump)),
            (b"\x4c\x89\x1c\x24\xc3\xcc", Some(Thunk::Jump)),
            (b"\x48\x8d\x64\x24\x08\xc3", Some(Thunk::Return)),
            (b"\x48\x83\xc4\x08\xc3", Some(Thunk::Return)),
            // It goes on with something else, or writes elsewhere, or drops more.
            (b"\x48\x89\x04\x24\x90", None),
            (b"\x48\x89\x44\x24\xc3", None),
            (b"\x48\x8d\x64\x24\x10\xc3", None),
            (b"\x48\x89", None),
        ];
        for (raw, expected) in known {
            assert_eq!(inner(raw, ExecMode::Bits64).map(|found| found.0), *expected, "{raw:02x?}");
        }
        assert_eq!(inner(b"\x89\x04\x24\xc3", ExecMode::Bits32), Some((Thunk::Jump, 3)));
        assert_eq!(inner(b"\x8d\x64\x24\x04\xc3", ExecMode::Bits32), Some((Thunk::Return, 4)));
    }
}
