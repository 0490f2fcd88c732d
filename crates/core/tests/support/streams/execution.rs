//! Executes random code and writes what a processor would trace of it.

use odograph_core::packet::Packet;

use super::super::random::Random;
use super::case::Part;
use super::code::{Code, Kind};
use super::writer::{mode_exec, Status, Writer};

/// The processor.
pub struct Execution<'a> {
    code: &'a Code,
    random: &'a mut Random,
    writer: Writer,
    at: usize,
    status: Status,
    returns: Vec<usize>,
    /// How often something besides the program happens; 0 is never.
    wild: usize,
    /// Event Trace, TRIG and PEBS blocks, too, which libipt 2.0.5 does not know.
    later: bool,
}

/// Traces about `steps` instructions, with packets of later processors if `later`.
pub fn trace(code: &Code, random: &mut Random, steps: usize, wild: usize, later: bool) -> Vec<Part> {
    let at = code.any(random);
    let writer = Writer::new(random);
    let status = Status {
        mode: code.instructions[at].mode,
        speculative: false,
        cr3: if random.once_in(2) { 0x1000 } else { 0 },
        vmcs: if random.once_in(4) { 0x2000 } else { 0 },
        ratio: 8,
    };
    let mut execution = Execution { code, random, writer, at, status, returns: Vec::new(), wild, later };
    execution.begin();
    for _ in 0..steps {
        execution.step();
    }
    execution.end();
    execution.writer.parts
}

impl Execution<'_> {
    fn ip(&self, nth: usize) -> u64 {
        self.code.instructions[nth].ip
    }

    fn put(&mut self, packet: Packet) {
        self.writer.put(self.random, packet);
    }

    fn flush(&mut self) {
        self.writer.flush(self.random);
    }

    fn fup(&mut self, ip: u64) {
        self.writer.fup(self.random, ip);
    }

    fn begin(&mut self) {
        let ip = self.ip(self.at);
        if self.random.once_in(3) {
            self.writer.psb(self.random, None, &self.status, false);
            self.while_off();
            self.writer.pge(self.random, ip);
        } else {
            self.writer.psb(self.random, Some(ip), &self.status, false);
        }
    }

    fn end(&mut self) {
        self.flush();
        match self.random.below(3) {
            0 => {}
            1 => {
                let ip = self.ip(self.at);
                self.fup(ip);
                self.writer.pgd(self.random, None);
            }
            _ => {
                let ip = self.ip(self.at);
                self.writer.psb(self.random, Some(ip), &self.status, false);
            }
        }
    }

    /// Goes to an instruction that something other than the program chose; its mode may differ, which
    /// is announced before the packet that says where.
    fn elsewhere(&mut self) -> usize {
        let to = if self.random.once_in(3) {
            self.code.any(self.random)
        } else {
            self.code.any_in(self.random, self.status.mode)
        };
        let mode = self.code.instructions[to].mode;
        if mode != self.status.mode {
            self.put(mode_exec(mode, false));
            self.status.mode = mode;
        }
        to
    }

    fn new_space(&mut self) {
        if self.random.once_in(3) {
            self.status.vmcs = (1 + self.random.below(3) as u64) << 12;
            let base = self.status.vmcs;
            self.put(Packet::Vmcs { base });
        }
        if self.random.once_in(2) {
            self.status.cr3 = (1 + self.random.below(3) as u64) << 12;
            let cr3 = self.status.cr3;
            let nr = self.random.once_in(4);
            self.put(Packet::Pip { cr3, nr });
        }
    }

    /// What can be traced while tracing is off.
    fn while_off(&mut self) {
        while self.random.once_in(3) {
            match self.random.below(10) {
                0 => self.writer.psb(self.random, None, &self.status, false),
                1 => self.put(Packet::Stop),
                2 => self.new_space(),
                3 => {
                    self.status.speculative = self.random.once_in(2);
                    let intx = self.status.speculative;
                    self.put(Packet::ModeTsx { intx, abrt: false });
                }
                4 => self.power(false),
                5 => self.put(Packet::Cbr { ratio: 9 }),
                6 => self.put(Packet::Mnt { payload: 77 }),
                7 => {
                    self.writer.ovf(self.random);
                    self.writer.tick(self.random);
                }
                8 => self.put(Packet::Exstop { ip: false }),
                _ => self.writer.tick(self.random),
            }
        }
    }

    /// MWAIT, PWRE, EXSTOP and PWRX in their usual order, some left out.
    fn power(&mut self, on: bool) {
        let ip = self.ip(self.at);
        if on && self.random.once_in(2) {
            self.put(Packet::Mwait { hints: 0x20, ext: 1 });
            if self.random.once_in(2) {
                self.put(Packet::Pwre { state: 2, sub_state: 1, hw: false });
            }
            self.put(Packet::Exstop { ip: true });
            self.fup(ip);
        } else if self.random.once_in(2) {
            self.put(Packet::Pwre { state: 3, sub_state: 0, hw: true });
            self.writer.tick(self.random);
        }
        let reason = self.random.once_in(2);
        self.put(Packet::Pwrx { last: 1, deepest: 2, interrupt: reason, store: !reason, autonomous: false });
    }

    /// Tracing is off; it comes on again somewhere.
    fn off(&mut self) {
        self.while_off();
        let to = self.elsewhere();
        let ip = self.ip(to);
        self.writer.pge(self.random, ip);
        self.at = to;
    }

    /// Something that the program did not do.
    fn disturbance(&mut self) {
        let ip = self.ip(self.at);
        self.flush();
        if self.later && self.random.once_in(2) {
            self.later_disturbance();
            return;
        }
        match self.random.below(16) {
            0 | 1 => self.writer.psb(self.random, Some(ip), &self.status, false),
            2 | 3 => {
                self.fup(ip);
                self.new_space();
                let to = self.elsewhere();
                let target = self.ip(to);
                let payload = self.writer.payload(self.random, target);
                self.put(Packet::Tip(payload));
                self.at = to;
            }
            4 => {
                self.fup(ip);
                self.new_space();
                let to = self.random.once_in(2).then(|| self.random.next() >> 20);
                self.writer.pgd(self.random, to);
                self.off();
            }
            5 | 6 => self.overflow(),
            7 => {
                self.status.speculative = !self.status.speculative;
                let intx = self.status.speculative;
                self.put(Packet::ModeTsx { intx, abrt: false });
                self.fup(ip);
            }
            8 => {
                self.status.speculative = false;
                self.put(Packet::ModeTsx { intx: false, abrt: true });
                self.fup(ip);
                if self.random.once_in(4) {
                    self.writer.pgd(self.random, None);
                    self.off();
                } else {
                    let to = self.elsewhere();
                    let target = self.ip(to);
                    let payload = self.writer.payload(self.random, target);
                    self.put(Packet::Tip(payload));
                    self.at = to;
                }
            }
            9 => {
                self.status.ratio = 1 + self.random.below(40) as u8;
                let ratio = self.status.ratio;
                self.put(Packet::Cbr { ratio });
            }
            10 => self.put(Packet::Mnt { payload: 5 }),
            11 => self.power(true),
            12 => {
                let with_ip = self.random.once_in(2);
                self.put(Packet::Exstop { ip: with_ip });
                if with_ip {
                    self.fup(ip);
                }
            }
            13 => {
                let overflow = self.random.once_in(2);
                self.writer.psb(self.random, Some(ip), &self.status, overflow);
                if overflow {
                    self.behind_overflow();
                }
            }
            _ => self.writer.tick(self.random),
        }
    }

    /// The same, told by packets of later processors.
    fn later_disturbance(&mut self) {
        let ip = self.ip(self.at);
        let vector = self.random.next() as u8;
        match self.random.below(9) {
            0..=2 => {
                // An interrupt, SMI, VM exit and so on, by itself or with the FUP that names its place.
                let kind = self.random.pick(&[1, 1, 3, 4, 5, 6, 8, 9, 0xc, 0xe]);
                if kind == 1 && self.random.once_in(2) {
                    self.put(Packet::Evd { kind: 0, payload: 0x7000 });
                }
                if matches!(kind, 8 | 9) && self.random.once_in(2) {
                    self.put(Packet::Evd { kind: 1, payload: 1 });
                    self.put(Packet::Evd { kind: 2, payload: 2 });
                }
                let with_ip = !matches!(kind, 4 | 5) && self.random.once_in(2);
                self.put(Packet::Cfe { kind, vector, ip: with_ip });
                self.fup(ip);
                if !with_ip {
                    self.new_space();
                    let to = self.elsewhere();
                    let target = self.ip(to);
                    let payload = self.writer.payload(self.random, target);
                    self.put(Packet::Tip(payload));
                    self.at = to;
                }
            }
            3 => {
                let icnt = self.random.below(3) as u16;
                self.put(Packet::Trig { trbv: 1, icnt, ip: false, icntv: true, mult: false });
            }
            4 => self.put(Packet::Trig { trbv: 2, icnt: 0, ip: false, icntv: false, mult: true }),
            5 => {
                self.put(Packet::Trig { trbv: 4, icnt: 0, ip: true, icntv: true, mult: false });
                self.fup(ip);
            }
            6 => {
                let iflag = self.random.once_in(2);
                self.put(mode_exec(self.status.mode, iflag));
                self.fup(ip);
            }
            7 => {
                let kind = self.random.pick(&[0x2, 0x7, 0xa, 0xd, 0xf, 0xb]);
                self.put(Packet::Cfe { kind, vector, ip: true });
                self.fup(ip);
            }
            _ => {
                let short = self.random.once_in(2);
                self.put(Packet::Bbp { short, kind: 4 });
                self.put(Packet::Bip { id: 1, short, payload: 5 });
                let with_ip = self.random.once_in(2);
                self.put(Packet::Bep { ip: with_ip });
                if with_ip {
                    self.fup(ip);
                }
            }
        }
    }

    fn overflow(&mut self) {
        self.writer.ovf(self.random);
        self.behind_overflow();
    }

    fn behind_overflow(&mut self) {
        if self.random.once_in(3) {
            self.off();
            return;
        }
        self.writer.tick(self.random);
        if self.random.once_in(6) {
            self.put(Packet::Cbr { ratio: 10 });
        }
        let to = self.code.any_in(self.random, self.status.mode);
        if self.code.instructions[to].mode != self.status.mode {
            self.off();
            return;
        }
        let ip = self.ip(to);
        self.fup(ip);
        self.at = to;
    }

    /// A far transfer: mode and address space may change with it.
    fn far(&mut self) {
        self.flush();
        self.new_space();
        if self.random.once_in(4) {
            self.writer.pgd(self.random, None);
            self.off();
            return;
        }
        let to = self.elsewhere();
        let ip = self.ip(to);
        self.writer.tip(self.random, ip, false);
        self.at = to;
    }

    fn step(&mut self) {
        if self.wild > 0 && self.random.once_in(self.wild) {
            self.disturbance();
            return;
        }
        let instruction = self.code.instructions[self.at];
        let behind = instruction.ip.wrapping_add(u64::from(instruction.size));
        // Behind the last instruction of a region nothing is known; go on somewhere by interrupt.
        let Some(next) = instruction.next.or(match instruction.kind {
            Kind::Plain | Kind::CallNext | Kind::Conditional(_) | Kind::Ptwrite => None,
            _ => Some(self.at),
        }) else {
            self.interrupt();
            return;
        };
        let needs_trace = matches!(
            instruction.kind,
            Kind::Conditional(_) | Kind::JumpIndirect | Kind::CallIndirect | Kind::Return
        );
        if needs_trace && self.wild > 0 && self.random.once_in(30) {
            self.flush();
            // Where it went is told: a filter was left.
            let to = if self.random.once_in(10) { None } else { Some(self.random.next() >> 30) };
            self.writer.pgd(self.random, to);
            self.off();
            return;
        }
        match instruction.kind {
            Kind::Plain | Kind::CallNext => self.at = next,
            Kind::Conditional(to) => {
                let taken = self.random.once_in(2);
                self.writer.bit(self.random, taken);
                self.at = if taken { to } else { next };
            }
            Kind::Jump(to) | Kind::Call(to) => {
                if matches!(instruction.kind, Kind::Call(_)) {
                    self.returns.push(next);
                    self.writer.push(behind);
                }
                // A direct branch out of the filter says where to.
                if self.wild > 0 && self.random.once_in(30) {
                    self.flush();
                    let ip = self.ip(to);
                    let told = if self.random.once_in(12) { None } else { Some(ip) };
                    self.writer.pgd(self.random, told);
                    self.off();
                } else {
                    self.at = to;
                }
            }
            Kind::JumpIndirect | Kind::CallIndirect => {
                if instruction.kind == Kind::CallIndirect {
                    self.returns.push(next);
                    self.writer.push(behind);
                }
                let to = self.code.any_in(self.random, self.status.mode);
                if self.code.instructions[to].mode == self.status.mode {
                    let ip = self.ip(to);
                    self.writer.tip(self.random, ip, true);
                    self.at = to;
                } else {
                    self.interrupt();
                }
            }
            Kind::Return => self.ret(),
            Kind::Far | Kind::Entry => self.far(),
            Kind::MovCr3 => {
                self.flush();
                if !self.random.once_in(6) {
                    self.status.cr3 = (1 + self.random.below(3) as u64) << 12;
                    let cr3 = self.status.cr3;
                    self.put(Packet::Pip { cr3, nr: false });
                    if self.random.once_in(8) {
                        self.writer.pgd(self.random, None);
                        self.off();
                        return;
                    }
                }
                self.at = next;
            }
            Kind::Vmptrld => {
                self.flush();
                if !self.random.once_in(6) {
                    self.status.vmcs = (1 + self.random.below(3) as u64) << 12;
                    let base = self.status.vmcs;
                    self.put(Packet::Vmcs { base });
                }
                self.at = next;
            }
            Kind::Ptwrite => {
                if !self.random.once_in(5) {
                    self.flush();
                    let ip = self.random.once_in(2);
                    let plc = u8::from(self.random.once_in(2));
                    self.put(Packet::Ptw { payload: 0x1234, plc, ip });
                    if ip {
                        self.fup(instruction.ip);
                    }
                }
                self.at = next;
            }
        }
        self.returns.truncate(256);
    }

    fn ret(&mut self) {
        let to = match self.returns.pop() {
            Some(to) if !self.random.once_in(10) => to,
            _ => self.code.any_in(self.random, self.status.mode),
        };
        if self.code.instructions[to].mode != self.status.mode {
            self.interrupt();
            return;
        }
        let ip = self.ip(to);
        if self.writer.stack.last() == Some(&ip) && !self.random.once_in(10) {
            self.writer.stack.pop();
            self.writer.bit(self.random, true);
        } else {
            self.writer.tip(self.random, ip, false);
        }
        self.at = to;
    }

    fn interrupt(&mut self) {
        self.flush();
        let ip = self.ip(self.at);
        self.fup(ip);
        let to = self.elsewhere();
        let target = self.ip(to);
        let payload = self.writer.payload(self.random, target);
        self.put(Packet::Tip(payload));
        self.at = to;
    }
}
