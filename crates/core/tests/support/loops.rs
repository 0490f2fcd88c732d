//! Random loops of direct jumps and calls, which write no packets, and runs through them with their own truth.

use odograph_core::packet::{encode, mark, IpCompression, IpPayload, Packet, Tnt};

use super::random::Random;

/// Where the code lies.
pub const BASE: u64 = 0x40_0000;
/// Bytes for each stretch of code.
const SLOT: usize = 0x10000;
/// A return, which pops what the loop pushed.
const RETURN: u64 = BASE + 0x20;
/// Most return sites that are remembered.
const DEPTH: usize = 64;

/// Code that goes round by direct jumps and calls: a conditional jump at [`BASE`] leads to its first instruction.
pub struct Loop {
    pub bytes: Vec<u8>,
    /// Addresses of the instructions in the order in which they are first executed.
    chain: Vec<u64>,
    /// Behind the last instruction comes this one.
    head: usize,
    /// For each instruction where it returns to, if it is a call.
    sites: Vec<Option<u64>>,
}

impl Loop {
    /// One to five stretches in any order, each of which ends in a jump or a call to the next; the last leads back to
    /// any of them. Some are a jump to itself, some longer than what a decoder takes in one go.
    pub fn random(random: &mut Random) -> Loop {
        let count = 1 + random.below(5);
        let mut places: Vec<usize> = (1..=count).collect();
        for nth in (1..count).rev() {
            places.swap(nth, random.below(nth + 1));
        }
        let starts: Vec<usize> = places.iter().map(|place| place * SLOT + random.below(64)).collect();
        let back = random.below(count);
        let mut code =
            Loop { bytes: vec![0xcc; (count + 1) * SLOT], chain: Vec::new(), head: 0, sites: Vec::new() };
        code.bytes[0x20] = 0xc3;
        code.branch(0, &[0x0f, 0x84], starts[0]);
        let longest = if random.once_in(12) { 5000 } else { random.pick(&[1, 4, 4, 100]) };
        for (nth, &start) in starts.iter().enumerate() {
            if nth == back {
                code.head = code.chain.len();
            }
            let mut at = start;
            for _ in 0..random.below(longest) {
                let plain: &[u8] =
                    random.pick(&[&[0x90], &[0x31, 0xc0], &[0x0f, 0x1f, 0x44, 0, 0], &[0xe8, 0, 0, 0, 0]]);
                code.bytes[at..at + plain.len()].copy_from_slice(plain);
                code.step(at, None);
                at += plain.len();
            }
            let target = starts.get(nth + 1).copied().unwrap_or(starts[back]);
            let call = random.once_in(2);
            code.branch(at, if call { &[0xe8] } else { &[0xe9] }, target);
            // Behind a call stands a return.
            code.bytes[at + 5] = 0xc3;
            code.step(at, call.then_some(BASE + at as u64 + 5));
        }
        code
    }

    fn branch(&mut self, at: usize, opcode: &[u8], target: usize) {
        let end = at + opcode.len() + 4;
        self.bytes[at..at + opcode.len()].copy_from_slice(opcode);
        self.bytes[end - 4..end].copy_from_slice(&(target as i32 - end as i32).to_le_bytes());
    }

    fn step(&mut self, at: usize, site: Option<u64>) {
        self.chain.push(BASE + at as u64);
        self.sites.push(site);
    }

    /// Number in the chain of what is executed behind `steps` instructions.
    fn nth(&self, steps: usize) -> usize {
        let (length, head) = (self.chain.len(), self.head);
        if steps < length {
            steps
        } else {
            head + (steps - head) % (length - head)
        }
    }
}

/// A trace of runs through a loop, and what it has to give.
#[derive(Default)]
pub struct Known {
    pub trace: Vec<u8>,
    /// Addresses of the executed instructions; without marks only up to each first arrival.
    pub ips: Vec<u64>,
    /// Steps at which it is not certain how often the loop was gone round, with the address there.
    pub notes: Vec<(u64, u64)>,
    /// Return sites that a return may be compressed with.
    stack: Vec<u64>,
}

impl Known {
    fn put(&mut self, packet: Packet) {
        encode(&packet, &mut self.trace).expect("the packet can be encoded");
    }

    fn address(&mut self, packet: fn(IpPayload) -> Packet, ip: u64) {
        self.put(packet(IpPayload { compression: IpCompression::Full, ip }));
    }

    /// Executes from number `from` of the loop on `count` instructions, as far as a decoder can know.
    ///
    /// Gives where execution is behind them.
    fn go(&mut self, code: &Loop, from: usize, count: usize, marked: bool) -> usize {
        let end = code.nth(from + count);
        let mut at = from;
        let mut left = count;
        while if marked { left > 0 } else { code.nth(at) != end } {
            let nth = code.nth(at);
            self.ips.push(code.chain[nth]);
            self.stack.extend(code.sites[nth]);
            at += 1;
            left = left.saturating_sub(1);
        }
        let site = self.stack.len().saturating_sub(DEPTH);
        self.stack.drain(..site);
        if !marked && end >= code.head {
            self.notes.push((self.ips.len() as u64, code.chain[end]));
        }
        end
    }

    /// Several runs through a loop that end in interrupts of every kind, with PSBs in the middle of some of them.
    pub fn random(code: &Loop, random: &mut Random, marked: bool) -> Known {
        let mut known = Known::default();
        known.put(Packet::Psb);
        known.put(Packet::Psbend);
        let mut on = false;
        for _ in 0..1 + random.below(12) {
            if !on {
                known.put(Packet::ModeExec { csl: true, csd: false, iflag: false });
                known.address(Packet::TipPge, BASE);
            }
            known.put(Packet::Tnt8(Tnt { size: 1, bits: 1 }));
            known.ips.push(BASE);
            let mut at = 0;
            loop {
                let most = random.pick(&[1, 4, 3 * code.chain.len(), 400, 20_000]);
                let count = random.below(most + 1);
                at = known.go(code, at, count, marked);
                if marked {
                    known.put(mark(count as u64));
                }
                if !random.once_in(3) {
                    break;
                }
                known.put(Packet::Psb);
                known.put(Packet::ModeExec { csl: true, csd: false, iflag: false });
                known.address(Packet::Fup, code.chain[at]);
                known.put(Packet::Psbend);
                known.stack.clear();
            }
            known.address(Packet::Fup, code.chain[at]);
            on = false;
            if random.once_in(2) {
                known.put(Packet::TipPgd(IpPayload { compression: IpCompression::Suppressed, ip: 0 }));
            } else if random.once_in(2) || !marked {
                known.address(Packet::Tip, BASE);
                on = true;
            } else {
                known.return_from(random);
            }
        }
        if on {
            // The conditional jump is the last that is certain to be reached.
            known.ips.push(BASE);
        }
        known
    }

    /// Goes to a return, which leads back to the last calls of the loop.
    fn return_from(&mut self, random: &mut Random) {
        self.address(Packet::Tip, RETURN);
        let mut ip = RETURN;
        for _ in 0..random.below(self.stack.len() + 1) {
            self.ips.push(ip);
            self.put(Packet::Tnt8(Tnt { size: 1, bits: 1 }));
            ip = self.stack.pop().expect("so many were pushed");
        }
        self.put(mark(0));
        self.address(Packet::Fup, ip);
        self.put(Packet::TipPgd(IpPayload { compression: IpCompression::Suppressed, ip: 0 }));
    }
}
