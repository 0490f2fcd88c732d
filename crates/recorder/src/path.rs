//! Packets for a path: instructions that another program executes and reports, one by one.
//!
//! Nothing here needs the system. Returns are not compressed, and time is the number of instructions executed.

use std::collections::HashMap;

use odograph_core::instruction::{decode, Detail, ExecMode, Instruction, InstructionClass};
use odograph_core::packet::{encode, mark, IpCompression, IpPayload, Packet, Tnt, MARK_PERIOD};

/// Bytes between two PSBs, at least.
const PSB_PERIOD: usize = 4096;
/// Bits of a short TNT packet.
const TNT_BITS: u8 = 6;
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// A piece of code as it was first executed, or executed again with other bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeChange {
    /// Time from which on it is so; 1, the beginning, for what was there first.
    pub tsc: u64,
    /// Address of the first byte.
    pub address: u64,
    /// The bytes of one instruction.
    pub bytes: Vec<u8>,
}

/// Writes the trace of one path.
#[derive(Debug)]
pub struct Path {
    mode: ExecMode,
    out: Vec<u8>,
    bits: u64,
    size: u8,
    before: Option<(u64, Instruction)>,
    last_psb: usize,
    steps: u64,
    hash: u64,
    /// Steps before the last place that the packets so far tell of.
    decided: u64,
    known: HashMap<u64, Vec<u8>>,
    code: Vec<CodeChange>,
}

fn full(ip: u64) -> IpPayload {
    IpPayload { compression: IpCompression::Full, ip }
}

impl Path {
    /// A path of code in one execution mode.
    pub fn new(mode: ExecMode) -> Self {
        let mut path = Path {
            mode,
            out: Vec::new(),
            bits: 0,
            size: 0,
            before: None,
            last_psb: 0,
            steps: 0,
            hash: 0,
            decided: 0,
            known: HashMap::new(),
            code: Vec::new(),
        };
        path.psb(None);
        path
    }

    /// The time; 0 is no time.
    fn now(&self) -> u64 {
        self.steps + 1
    }

    fn put(&mut self, packet: Packet) {
        // Every packet made here can be encoded: sizes and fields are in range.
        let _ = encode(&packet, &mut self.out);
    }

    fn flush(&mut self) {
        if self.size > 0 {
            self.put(Packet::Tnt8(Tnt { size: self.size, bits: self.bits }));
            (self.bits, self.size) = (0, 0);
        }
    }

    fn tnt(&mut self, taken: bool) {
        self.bits = self.bits << 1 | u64::from(taken);
        self.size += 1;
        self.decided = self.steps;
        if self.size == TNT_BITS {
            self.flush();
        }
    }

    fn flow(&mut self, packet: Packet) {
        self.flush();
        self.put(packet);
        self.decided = self.steps;
    }

    /// A FUP, with how often code that writes no packets has been run through.
    fn fup(&mut self, ip: u64) {
        self.flush();
        self.put(mark(self.steps - self.decided));
        self.flow(Packet::Fup(full(ip)));
    }

    fn exec_mode(&mut self) {
        let (csl, csd) = (self.mode == ExecMode::Bits64, self.mode == ExecMode::Bits32);
        self.put(Packet::ModeExec { csl, csd, iflag: false });
    }

    fn psb(&mut self, ip: Option<u64>) {
        self.flush();
        if ip.is_some() {
            self.put(mark(self.steps - self.decided));
        }
        self.decided = self.steps;
        self.last_psb = self.out.len();
        self.put(Packet::Psb);
        self.put(Packet::Tsc { tsc: self.now() });
        if let Some(ip) = ip {
            self.exec_mode();
            self.put(Packet::Fup(full(ip)));
        }
        self.put(Packet::Psbend);
    }

    /// The instruction at `ip`, with these bytes, was executed after the one before.
    pub fn step(&mut self, ip: u64, bytes: &[u8]) {
        self.arrive(ip);
        if self.known.get(&ip).is_none_or(|known| known != bytes) {
            let changed = self.known.insert(ip, bytes.to_vec()).is_some();
            if changed {
                // Other code from here on: the trace has to tell when.
                self.psb(Some(ip));
            }
            let tsc = if changed { self.now() } else { 1 };
            self.code.push(CodeChange { tsc, address: ip, bytes: bytes.to_vec() });
        }
        self.steps += 1;
        self.hash = (self.hash.rotate_left(5) ^ ip).wrapping_mul(MULTIPLIER);
        let plain = Instruction {
            size: u8::try_from(bytes.len()).unwrap_or(15),
            class: InstructionClass::Other,
            detail: Detail::None,
            displacement: 0,
        };
        self.before = Some((ip, decode(bytes, self.mode).unwrap_or(plain)));
    }

    /// Control arrives at `ip`.
    fn arrive(&mut self, ip: u64) {
        let Some((from, instruction)) = self.before.take() else {
            self.flush();
            self.put(Packet::Tsc { tsc: self.now() });
            self.exec_mode();
            self.flow(Packet::TipPge(full(ip)));
            return;
        };
        let next = from.wrapping_add(u64::from(instruction.size));
        let on = match instruction.class {
            InstructionClass::CondJump => {
                let target = instruction.target(from).unwrap_or(next);
                let taken = ip != next;
                if ip != next && ip != target {
                    self.tnt(false);
                    next
                } else {
                    self.tnt(taken);
                    ip
                }
            }
            InstructionClass::Call | InstructionClass::Jump if instruction.detail == Detail::Direct => {
                instruction.target(from).unwrap_or(next)
            }
            InstructionClass::Unknown | InstructionClass::Other | InstructionClass::Ptwrite => next,
            _ => {
                self.flow(Packet::Tip(full(ip)));
                ip
            }
        };
        if on != ip {
            // It went elsewhere, as interrupts do.
            self.fup(on);
            self.flow(Packet::Tip(full(ip)));
        }
        if self.out.len() - self.last_psb >= PSB_PERIOD || self.steps - self.decided >= MARK_PERIOD {
            self.psb(Some(ip));
        }
    }

    /// Execution was stopped before the instruction at `ip`; it may go on anywhere.
    pub fn stop(&mut self, ip: u64) {
        if self.before.is_some() {
            self.arrive(ip);
            self.fup(ip);
            self.flow(Packet::TipPgd(IpPayload { compression: IpCompression::Suppressed, ip: 0 }));
            self.before = None;
        }
    }

    /// The packets so far, which are not told again.
    pub fn take(&mut self) -> Vec<u8> {
        let taken = std::mem::take(&mut self.out);
        // Where the last PSB stands counts from what is taken now.
        self.last_psb = 0;
        taken
    }

    /// Number and hash of the executed instructions, as recorders keep them.
    pub fn truth(&self) -> (u64, u64) {
        (self.steps, self.hash)
    }

    /// The code that was executed, in the order in which it was met.
    pub fn code(&self) -> &[CodeChange] {
        &self.code
    }
}
