//! Recognising the start of a signal handler and where the program was interrupted.
//!
//! On entry of a handler of x86-64 Linux (and of QEMU, which imitates it) the stack pointer points to
//! a frame of return address, ucontext and siginfo; rdi is the signal, rsi the address of the
//! siginfo and rdx that of the ucontext, which is 8 above the stack pointer. That is checked.

/// Offsets in the frame, from the stack pointer.
const REGISTERS: u64 = 8 + 40;
/// Number of the registers' words: r8 to r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip.
const WORDS: usize = 17;

/// Registers that a handler's entry shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Address of the handler.
    pub ip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// First argument.
    pub rdi: u64,
    /// Second argument.
    pub rsi: u64,
    /// Third argument.
    pub rdx: u64,
}

/// A signal that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Address of the handler.
    pub handler: u64,
    /// Where it interrupted the program.
    pub interrupted: u64,
    /// True if the instruction there caused it.
    pub fault: bool,
    /// What the interrupted place looked like.
    pub before: Entry,
}

/// True for signals that an instruction can cause.
pub fn is_fault(signal: u64) -> bool {
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP]
        .iter()
        .any(|one| *one as u64 == signal)
}

/// The delivery whose handler starts at `entry`, if that is what it is. `peek` reads memory of the program.
pub fn delivery(entry: &Entry, peek: impl Fn(u64, usize) -> Vec<u8>) -> Option<Delivery> {
    let above = entry.rsi.wrapping_sub(entry.rsp);
    if !(1..=64).contains(&entry.rdi) || entry.rdx != entry.rsp.wrapping_add(8) || above > 0x4000 {
        return None;
    }
    let saved = peek(entry.rsp.wrapping_add(REGISTERS), WORDS * 8);
    let word = |at: usize| Some(u64::from_le_bytes(saved.get(at * 8..at * 8 + 8)?.try_into().ok()?));
    let information = peek(entry.rsi, 16);
    let number = |at: usize| Some(i32::from_le_bytes(information.get(at..at + 4)?.try_into().ok()?));
    let before = Entry { ip: word(16)?, rsp: word(15)?, rdi: word(8)?, rsi: word(9)?, rdx: word(12)? };
    // QEMU fills the siginfo only for handlers that ask for it.
    let filled = number(0)? as u64 == entry.rdi;
    let fault = is_fault(entry.rdi) && (!filled || number(8)? > 0);
    Some(Delivery { handler: entry.ip, interrupted: before.ip, fault, before })
}

/// All deliveries that happened at once, the outermost (first) first: a second signal finds the
/// handler of the first not yet begun.
pub fn deliveries(
    entry: &Entry,
    peek: impl Fn(u64, usize) -> Vec<u8>,
    is_handler: impl Fn(u64) -> bool,
) -> Vec<Delivery> {
    let mut all = Vec::new();
    let mut entry = *entry;
    while let Some(one) = delivery(&entry, &peek) {
        entry = one.before;
        all.push(one);
        if !is_handler(entry.ip) || all.len() >= 64 {
            break;
        }
    }
    all.reverse();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory with one frame at `rsp`.
    fn frame(rsp: u64, signal: i32, code: i32, saved: [(usize, u64); 5]) -> impl Fn(u64, usize) -> Vec<u8> {
        let mut memory = vec![0u8; 0x400];
        for (word, value) in saved {
            let at = REGISTERS as usize + 8 * word;
            memory[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        memory[0x200..0x204].copy_from_slice(&signal.to_le_bytes());
        memory[0x208..0x20c].copy_from_slice(&code.to_le_bytes());
        move |address, size| {
            let at = address.wrapping_sub(rsp) as usize;
            memory.get(at..at + size).map(<[u8]>::to_vec).unwrap_or_default()
        }
    }

    #[test]
    fn a_fault_tells_its_instruction() {
        let memory = frame(0x7000, 11, 1, [(16, 0x401000), (15, 0x8000), (8, 0), (9, 0), (12, 0)]);
        let entry = Entry { ip: 0x402000, rsp: 0x7000, rdi: 11, rsi: 0x7200, rdx: 0x7008 };
        let one = delivery(&entry, &memory).unwrap();
        assert_eq!((one.interrupted, one.fault, one.before.rsp), (0x401000, true, 0x8000));
        assert_eq!(delivery(&Entry { rdx: 0x7010, ..entry }, &memory), None);
        assert_eq!(delivery(&Entry { rdi: 0, ..entry }, &memory), None);
        assert_eq!(deliveries(&entry, &memory, |_| false).len(), 1);
    }
}
