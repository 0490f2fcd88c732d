//! framehop, for what it can say: frames whose row is plain, and chains of frame pointers.
//!
//! framehop knows stack pointer, frame pointer and return address only. So it cannot follow rows that need another
//! register or memory (realigned stacks, signal frames), it takes every caller for one that made a call, reads one
//! section where a file may have two, and where anything fails it falls back to the frame pointer without a word. It
//! also ends a stack where a frame pointer is 0 or lies lower than before, though registers may hold anything in code
//! that uses none, and runs an endless expression for ever. Therefore it is asked only where a row is plain, by sections
//! in which no address has two entries, and its answer counts if the stack pointer is the one that the row gives.

use std::ops::Range;
use std::sync::Arc;

use framehop::aarch64::{CacheAarch64, PtrAuthMask, UnwindRegsAarch64, UnwinderAarch64};
use framehop::x86_64::{CacheX86_64, Reg, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, Unwinder};

use super::machine::{Machine, Registers};
use super::memory::{Memory, Pages};
use super::modules::Module;

/// Return address, stack pointer and frame pointer of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The return address, without a signature.
    pub pc: u64,
    /// The stack pointer.
    pub sp: u64,
    /// The frame pointer.
    pub fp: u64,
}

/// The address bits of a signed pointer of a user, unless modules lie higher (Arm ARM, "Pointer authentication").
const USER_ADDRESS: u64 = (1 << 48) - 1;

/// What a return address is without the signature that AArch64 may put into its upper bits.
pub fn stripped(machine: Machine, address: u64, highest: u64) -> u64 {
    match machine {
        Machine::X86_64 => address,
        // Bit 55 tells user addresses, whose upper bits are zeros, from the kernel's, whose are ones.
        Machine::Aarch64 if address >> 55 & 1 == 1 => address | !USER_ADDRESS,
        Machine::Aarch64 => address & PtrAuthMask::from_max_known_address(highest | USER_ADDRESS).0,
    }
}

enum Kind {
    X86_64(Box<(UnwinderX86_64<Arc<[u8]>>, CacheX86_64)>),
    Aarch64(Box<(UnwinderAarch64<Arc<[u8]>>, CacheAarch64)>),
}

/// framehop for one process.
pub struct Plain {
    kind: Kind,
    highest: u64,
}

impl Plain {
    /// No modules yet.
    pub fn new(machine: Machine) -> Plain {
        let kind = match machine {
            Machine::X86_64 => Kind::X86_64(Box::new((UnwinderX86_64::new(), CacheX86_64::new()))),
            Machine::Aarch64 => Kind::Aarch64(Box::new((UnwinderAarch64::new(), CacheAarch64::new()))),
        };
        Plain { kind, highest: 0 }
    }

    /// Adds a module that lies where none does, if framehop can work with it.
    pub fn add(&mut self, module: &Module) {
        self.highest = self.highest.max(module.range.end);
        let Some((section, is_eh)) = module.tables.plain_section() else { return };
        // It counts addresses from the base, which therefore cannot lie above the module.
        if module.bias > module.range.start {
            return;
        }
        let data = Some(Arc::clone(&section.data));
        let end = section.address.saturating_add(section.data.len() as u64);
        let info = ExplicitModuleSectionInfo {
            eh_frame_svma: is_eh.then_some(Range { start: section.address, end }),
            eh_frame: if is_eh { data.clone() } else { None },
            debug_frame: if is_eh { None } else { data },
            ..ExplicitModuleSectionInfo::default()
        };
        let module = framehop::Module::new(String::new(), module.range.clone(), module.bias, info);
        match &mut self.kind {
            Kind::X86_64(pair) => pair.0.add_module(module),
            Kind::Aarch64(pair) => pair.0.add_module(module),
        }
    }

    /// Forgets a module.
    pub fn remove(&mut self, module: &Module) {
        match &mut self.kind {
            Kind::X86_64(pair) => pair.0.remove_module(module.range.start),
            Kind::Aarch64(pair) => pair.0.remove_module(module.range.start),
        }
    }

    /// What framehop makes of a frame; None if nothing, or if it takes the frame for the last one.
    ///
    /// `is_return`: a call will return to the frame's address.
    pub fn caller<M: Memory>(
        &mut self,
        is_return: bool,
        registers: &Registers,
        memory: &mut Pages<'_, M>,
    ) -> Result<Option<Caller>, M::Error> {
        let mut failure = None;
        let mut read = |address: u64| match memory.word(address) {
            Ok(Some(word)) => Ok(word),
            Ok(None) => Err(()),
            Err(error) => {
                failure = Some(error);
                Err(())
            }
        };
        let found = match &mut self.kind {
            Kind::X86_64(pair) => {
                let (unwinder, cache) = &mut **pair;
                let Some((pc, sp)) = registers.get(16).zip(registers.get(7)) else { return Ok(None) };
                let Some(address) = frame_address(pc, is_return) else { return Ok(None) };
                let mut its = UnwindRegsX86_64::new(pc, sp, registers.get(6).unwrap_or(0));
                let found = unwinder.unwind_frame(address, &mut its, cache, &mut read);
                found.map(|pc| pc.map(|pc| Caller { pc, sp: its.sp(), fp: its.get(Reg::RBP) }))
            }
            Kind::Aarch64(pair) => {
                let (unwinder, cache) = &mut **pair;
                let Some((pc, sp)) = registers.get(32).zip(registers.get(31)) else { return Ok(None) };
                let Some(address) = frame_address(pc, is_return) else { return Ok(None) };
                // It adds to the frame pointer without a look at where numbers end.
                let fp = registers.get(29).filter(|fp| *fp < u64::MAX - 16).unwrap_or(0);
                let mask = PtrAuthMask::from_max_known_address(self.highest | USER_ADDRESS);
                let lr = registers.get(30).unwrap_or(0);
                let mut its = UnwindRegsAarch64::new_with_ptr_auth_mask(mask, lr, sp, fp);
                let found = unwinder.unwind_frame(address, &mut its, cache, &mut read);
                found.map(|pc| pc.map(|pc| Caller { pc, sp: its.sp(), fp: its.fp() }))
            }
        };
        match failure {
            Some(error) => Err(error),
            None => Ok(found.ok().flatten()),
        }
    }
}

fn frame_address(pc: u64, is_return: bool) -> Option<FrameAddress> {
    if is_return {
        FrameAddress::from_return_address(pc)
    } else {
        Some(FrameAddress::from_instruction_pointer(pc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_of_pointers_are_taken_off() {
        let strip = |address| stripped(Machine::Aarch64, address, 0xaaaa_bbbb_0000);
        assert_eq!(strip(0x0012_aaaa_bbbb_cccc), 0xaaaa_bbbb_cccc);
        assert_eq!(strip(0xff12_aaaa_bbbb_cccc), 0xaaaa_bbbb_cccc);
        assert_eq!(strip(0x0092_8000_0008_1234), 0xffff_8000_0008_1234);
        assert_eq!(stripped(Machine::X86_64, u64::MAX, 0), u64::MAX);
        // With 52 bits of address.
        assert_eq!(
            stripped(Machine::Aarch64, 0xf00f_0000_0000_1000, 0x000f_0000_0001_0000),
            0x000f_0000_0000_1000
        );
    }
}
