//! Runs a random program, deciding its branches at random, and writes what a processor would trace.

use odograph_core::packet::{encode, IpCompression, IpPayload, Packet, Tnt};

use super::program::{Kind, Program};
use super::random::Random;

/// A run and its trace.
pub struct Run {
    /// The trace.
    pub trace: Vec<u8>,
    /// Addresses of the executed instructions.
    pub ips: Vec<u64>,
    /// Events that are not part of PSB+: name and instructions executed before them.
    pub events: Vec<(&'static str, u64)>,
    /// Steps at which execution was lost by an overflow.
    pub overflows: Vec<u64>,
}

struct Writer<'a> {
    random: &'a mut Random,
    trace: Vec<u8>,
    last_ip: u64,
    bits: u64,
    count: u8,
    longest: u8,
    deferred: Option<u64>,
    stack: Vec<u64>,
    tsc: u64,
}

impl Writer<'_> {
    fn put(&mut self, packet: Packet) {
        encode(&packet, &mut self.trace).expect("the packet can be encoded");
        if self.random.once_in(40) {
            self.trace.push(0);
        }
    }

    fn payload(&mut self, ip: u64) -> IpPayload {
        let last = std::mem::replace(&mut self.last_ip, ip);
        let sign = (ip as i64) << 16 >> 16 == ip as i64;
        let mut fits = vec![IpCompression::Full];
        if last >> 16 == ip >> 16 {
            fits.push(IpCompression::Update16);
        }
        if last >> 32 == ip >> 32 {
            fits.push(IpCompression::Update32);
        }
        if last >> 48 == ip >> 48 {
            fits.push(IpCompression::Update48);
        }
        if sign {
            fits.push(IpCompression::Sext48);
        }
        let compression = self.random.pick(&fits);
        let bits = match compression {
            IpCompression::Update16 => 16,
            IpCompression::Update32 => 32,
            IpCompression::Full => 64,
            _ => 48,
        };
        IpPayload { compression, ip: if bits == 64 { ip } else { ip & ((1 << bits) - 1) } }
    }

    fn flush(&mut self) {
        if self.count > 0 {
            let tnt = Tnt { size: self.count, bits: self.bits };
            self.put(if self.count > 6 { Packet::Tnt64(tnt) } else { Packet::Tnt8(tnt) });
        }
        self.bits = 0;
        self.count = 0;
        if let Some(ip) = self.deferred.take() {
            let payload = self.payload(ip);
            self.put(Packet::Tip(payload));
        }
    }

    fn bit(&mut self, taken: bool) {
        self.bits = self.bits << 1 | u64::from(taken);
        self.count += 1;
        if self.count == self.longest {
            self.flush();
        }
    }

    fn tip(&mut self, ip: u64, may_wait: bool) {
        if may_wait && self.count > 0 && self.deferred.is_none() && self.random.once_in(3) {
            // It must stand behind a TNT with a later bit, or the decoder meets it in time anyway.
            self.deferred = Some(ip);
            return;
        }
        self.flush();
        let payload = self.payload(ip);
        self.put(Packet::Tip(payload));
    }

    fn fup(&mut self, ip: u64) {
        let payload = self.payload(ip);
        self.put(Packet::Fup(payload));
    }

    fn push(&mut self, ip: u64) {
        self.stack.push(ip);
        if self.stack.len() > 64 {
            self.stack.remove(0);
        }
    }

    fn psb(&mut self, ip: Option<u64>, cr3: u64) {
        self.flush();
        self.put(Packet::Psb);
        self.last_ip = 0;
        self.stack.clear();
        self.tsc += 50;
        if self.random.once_in(2) {
            let tsc = self.tsc;
            self.put(Packet::Tsc { tsc });
        }
        self.put(Packet::ModeExec { csl: true, csd: false, iflag: true });
        if cr3 != 0 {
            self.put(Packet::Pip { cr3, nr: false });
        }
        if let Some(ip) = ip {
            self.fup(ip);
        }
        self.put(Packet::Psbend);
    }
}

/// Executes about `steps` instructions of a program.
pub fn run(program: &Program, random: &mut Random, steps: usize, calm: bool) -> Run {
    let mut out = Run { trace: Vec::new(), ips: Vec::new(), events: Vec::new(), overflows: Vec::new() };
    let longest = random.pick(&[6, 6, 47]);
    let mut seed = Random::new(random.next());
    let mut writer = Writer {
        random: &mut seed,
        trace: Vec::new(),
        last_ip: 0,
        bits: 0,
        count: 0,
        longest,
        deferred: None,
        stack: Vec::new(),
        tsc: 1000,
    };
    let all = &program.instructions;
    let ip_of = |nth: usize| all[nth].ip;
    let mut at = random.below(all.len());
    let mut cr3 = 0;
    let mut returns: Vec<usize> = Vec::new();
    // What ran since the trace last said where execution is; a second visit could not be told apart.
    let mut passed = std::collections::HashSet::new();
    let mut anchor = 0;
    let mut after_cr3 = false;
    writer.psb(Some(ip_of(at)), cr3);
    while out.ips.len() < steps {
        let now = out.ips.len() as u64;
        let forced = match all[at].kind {
            Kind::Plain | Kind::CallNext => Some(at + 1),
            Kind::Jump(to) | Kind::Call(to) => Some(to),
            _ => None,
        };
        passed.insert(at);
        if forced.is_some_and(|next| passed.contains(&next)) {
            writer.flush();
            let to = random.below(all.len());
            writer.fup(ip_of(at));
            let payload = writer.payload(ip_of(to));
            writer.put(Packet::Tip(payload));
            out.events.push(("async_branch", now));
            (at, anchor, after_cr3) = (to, now, false);
            passed.clear();
            continue;
        }
        if !calm && random.once_in(25) {
            let to = random.below(all.len());
            let what = random.below(9);
            if what == 4 && anchor != now {
                continue;
            }
            if !matches!(what, 6 | 8) {
                (anchor, after_cr3) = (now, false);
                passed.clear();
            }
            match what {
                0 | 1 => writer.psb(Some(ip_of(at)), cr3),
                2 => {
                    writer.flush();
                    writer.fup(ip_of(at));
                    let payload = writer.payload(ip_of(to));
                    writer.put(Packet::Tip(payload));
                    out.events.push(("async_branch", now));
                    at = to;
                }
                3 => {
                    writer.flush();
                    writer.fup(ip_of(at));
                    writer.put(Packet::TipPgd(IpPayload { compression: IpCompression::Suppressed, ip: 0 }));
                    out.events.push(("async_disabled", now));
                    if random.once_in(3) {
                        writer.psb(None, cr3);
                    }
                    let payload = writer.payload(ip_of(to));
                    writer.put(Packet::TipPge(payload));
                    out.events.push(("enabled", now));
                    at = to;
                }
                4 => {
                    writer.flush();
                    writer.put(Packet::Ovf);
                    writer.last_ip = 0;
                    writer.fup(ip_of(to));
                    out.events.push(("overflow", now));
                    out.overflows.push(now);
                    // The processor has forgotten its calls.
                    writer.stack.clear();
                    at = to;
                }
                5 => {
                    writer.flush();
                    writer.put(Packet::ModeTsx { intx: random.once_in(2), abrt: false });
                    writer.fup(ip_of(at));
                    out.events.push(("tsx", now));
                }
                6 => {
                    writer.flush();
                    writer.put(Packet::Cbr { ratio: 20 });
                    out.events.push(("cbr", anchor));
                }
                7 => {
                    writer.flush();
                    writer.put(Packet::Exstop { ip: true });
                    writer.fup(ip_of(at));
                    out.events.push(("exstop", now));
                }
                _ => {
                    writer.flush();
                    writer.tsc += 7;
                    let tsc = writer.tsc;
                    writer.put(Packet::Tsc { tsc });
                }
            }
            continue;
        }
        let instruction = all[at];
        out.ips.push(instruction.ip);
        let after = out.ips.len() as u64;
        let next = at + 1;
        let after_ip = instruction.ip.wrapping_add(u64::from(instruction.size));
        let is_located = forced.is_none();
        let was_after_cr3 = after_cr3;
        if is_located {
            (anchor, after_cr3) = (after, instruction.kind == Kind::MovCr3);
            passed.clear();
        }
        // Tracing is switched off at a branch now and then: a filter, or a system call.
        let needs_trace = matches!(
            instruction.kind,
            Kind::Conditional(_) | Kind::JumpIndirect | Kind::CallIndirect | Kind::Return | Kind::Far
        );
        // (Right after MOV CR3 that would be taken for the place.)
        if needs_trace && !calm && !was_after_cr3 && random.once_in(30) {
            writer.flush();
            writer.stack.clear();
            writer.put(Packet::TipPgd(IpPayload { compression: IpCompression::Suppressed, ip: 0 }));
            out.events.push(("disabled", after));
            let to = random.below(all.len());
            let payload = writer.payload(ip_of(to));
            writer.put(Packet::TipPge(payload));
            out.events.push(("enabled", after));
            at = to;
            continue;
        }
        at = match instruction.kind {
            Kind::Plain => next,
            Kind::Conditional(to) => {
                let taken = random.once_in(2);
                writer.bit(taken);
                if taken {
                    to
                } else {
                    next
                }
            }
            Kind::Jump(to) => to,
            Kind::Call(to) => {
                returns.push(next);
                writer.push(after_ip);
                to
            }
            Kind::CallNext => next,
            Kind::JumpIndirect => {
                let to = random.below(all.len());
                writer.tip(ip_of(to), true);
                to
            }
            Kind::CallIndirect => {
                let to = random.below(all.len());
                returns.push(next);
                writer.push(after_ip);
                writer.tip(ip_of(to), true);
                to
            }
            Kind::Return => {
                let to = match returns.pop() {
                    Some(to) if !random.once_in(10) => to,
                    _ => random.below(all.len()),
                };
                if writer.stack.last() == Some(&ip_of(to)) && !random.once_in(10) {
                    writer.stack.pop();
                    writer.bit(true);
                } else {
                    writer.tip(ip_of(to), false);
                }
                to
            }
            Kind::Far => {
                writer.flush();
                if random.once_in(3) {
                    cr3 = (1 + random.below(3) as u64) << 12;
                    writer.put(Packet::Pip { cr3, nr: false });
                    out.events.push(("paging", after));
                }
                let to = random.below(all.len());
                writer.tip(ip_of(to), false);
                to
            }
            Kind::MovCr3 => {
                writer.flush();
                cr3 = (1 + random.below(3) as u64) << 12;
                writer.put(Packet::Pip { cr3, nr: false });
                out.events.push(("paging", after));
                next
            }
            Kind::Ptwrite => {
                writer.flush();
                let with_ip = random.once_in(2);
                writer.put(Packet::Ptw { payload: 5, plc: 0, ip: with_ip });
                if with_ip {
                    writer.fup(instruction.ip);
                }
                out.events.push(("ptwrite", after));
                next
            }
        };
        returns.truncate(256);
    }
    writer.flush();
    writer.fup(ip_of(at));
    writer.put(Packet::TipPgd(IpPayload { compression: IpCompression::Suppressed, ip: 0 }));
    out.events.push(("async_disabled", out.ips.len() as u64));
    out.trace = writer.trace;
    out
}
