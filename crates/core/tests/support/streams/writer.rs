//! Writes packets as a processor does: bits are gathered, addresses compressed, time passes.

use odograph_core::instruction::ExecMode;
use odograph_core::packet::{IpCompression, IpPayload, Packet, Tnt};

use super::super::random::Random;
use super::case::Part;

/// Which packets of time a trace has.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub tsc: bool,
    pub mtc: bool,
    pub cyc: bool,
}

/// What PSB+ tells of the processor.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    pub mode: ExecMode,
    pub speculative: bool,
    pub cr3: u64,
    pub vmcs: u64,
    pub ratio: u8,
}

/// No address.
pub const NO_IP: IpPayload = IpPayload { compression: IpCompression::Suppressed, ip: 0 };

/// A MODE.Exec packet for `mode`.
pub fn mode_exec(mode: ExecMode, iflag: bool) -> Packet {
    let (csl, csd) = match mode {
        ExecMode::Bits64 => (true, false),
        ExecMode::Bits32 => (false, true),
        ExecMode::Bits16 => (false, false),
        ExecMode::Unknown => (true, true),
    };
    Packet::ModeExec { csl, csd, iflag }
}

/// The packets so far and what they have told.
pub struct Writer {
    pub parts: Vec<Part>,
    pub stack: Vec<u64>,
    pub timing: Timing,
    last_ip: u64,
    bits: u64,
    count: u8,
    longest: u8,
    deferred: Option<u64>,
    tsc: u64,
    tma: bool,
}

impl Writer {
    pub fn new(random: &mut Random) -> Writer {
        let timing = Timing { tsc: random.once_in(2), mtc: random.once_in(3), cyc: random.once_in(3) };
        Writer {
            parts: Vec::new(),
            stack: Vec::new(),
            timing,
            last_ip: 0,
            bits: 0,
            count: 0,
            longest: random.pick(&[1, 6, 6, 47]),
            deferred: None,
            tsc: random.next() >> random.pick(&[20, 40, 60]),
            tma: false,
        }
    }

    /// Appends a packet, now and then with a packet of time or a PAD before it.
    pub fn put(&mut self, random: &mut Random, packet: Packet) {
        if random.once_in(6) {
            self.tick(random);
        }
        self.parts.push(Part::Packet(packet));
        if random.once_in(40) {
            self.parts.push(Part::Packet(Packet::Pad));
        }
    }

    /// Packets of time.
    pub fn tick(&mut self, random: &mut Random) {
        if self.timing.cyc && random.once_in(2) {
            let value = random.next() >> (64 - random.pick(&[1, 3, 5, 8, 12, 20]));
            self.parts.push(Part::Packet(Packet::Cyc { value }));
            self.tsc += value & 0xffff;
        }
        if self.timing.mtc && random.once_in(2) {
            self.tsc += 0x100;
            let ctc = (self.tsc >> 8) as u8;
            self.parts.push(Part::Packet(Packet::Mtc { ctc }));
        }
        if self.timing.tsc && random.once_in(4) {
            self.time_of_day(random);
        }
    }

    fn time_of_day(&mut self, random: &mut Random) {
        self.tsc = (self.tsc + random.below(500) as u64) & ((1 << 56) - 1);
        let tsc = self.tsc;
        self.parts.push(Part::Packet(Packet::Tsc { tsc }));
        self.tma = false;
        if self.timing.mtc && !random.once_in(8) {
            self.tma = true;
            let (ctc, fc) = (self.tsc as u16, random.below(0x200) as u16);
            self.parts.push(Part::Packet(Packet::Tma { ctc, fc }));
        }
    }

    /// Compresses an address.
    pub fn payload(&mut self, random: &mut Random, ip: u64) -> IpPayload {
        let last = std::mem::replace(&mut self.last_ip, ip);
        let mut fits = vec![IpCompression::Full];
        let sign = (ip as i64) << 16 >> 16 == ip as i64;
        if sign {
            fits.push(IpCompression::Sext48);
        }
        for (shift, compression) in
            [(16, IpCompression::Update16), (32, IpCompression::Update32), (48, IpCompression::Update48)]
        {
            if last >> shift == ip >> shift {
                fits.push(compression);
            }
        }
        let compression = random.pick(&fits);
        let bits = match compression {
            IpCompression::Update16 => 16,
            IpCompression::Update32 => 32,
            IpCompression::Full => 64,
            _ => 48,
        };
        IpPayload { compression, ip: if bits == 64 { ip } else { ip & ((1 << bits) - 1) } }
    }

    /// Writes the bits that wait.
    pub fn flush(&mut self, random: &mut Random) {
        if self.count > 0 {
            let tnt = Tnt { size: self.count, bits: self.bits };
            let short = self.count <= 6 && !random.once_in(8);
            self.put(random, if short { Packet::Tnt8(tnt) } else { Packet::Tnt64(tnt) });
        }
        self.bits = 0;
        self.count = 0;
        if let Some(ip) = self.deferred.take() {
            let payload = self.payload(random, ip);
            self.put(random, Packet::Tip(payload));
        }
    }

    /// A conditional branch or a compressed RET.
    pub fn bit(&mut self, random: &mut Random, taken: bool) {
        self.bits = self.bits << 1 | u64::from(taken);
        self.count += 1;
        if self.count == self.longest || random.once_in(9) {
            self.flush(random);
        }
    }

    /// The target of an indirect branch; it may wait for later bits.
    pub fn tip(&mut self, random: &mut Random, ip: u64, may_wait: bool) {
        if may_wait && self.count > 0 && self.deferred.is_none() && random.once_in(3) {
            self.deferred = Some(ip);
            return;
        }
        self.flush(random);
        let payload = self.payload(random, ip);
        self.put(random, Packet::Tip(payload));
    }

    pub fn fup(&mut self, random: &mut Random, ip: u64) {
        let payload = self.payload(random, ip);
        self.put(random, Packet::Fup(payload));
    }

    pub fn pge(&mut self, random: &mut Random, ip: u64) {
        let payload = self.payload(random, ip);
        self.put(random, Packet::TipPge(payload));
    }

    /// Tracing ends; the address may be told or not.
    pub fn pgd(&mut self, random: &mut Random, ip: Option<u64>) {
        let payload = match ip {
            Some(ip) => self.payload(random, ip),
            None => NO_IP,
        };
        self.put(random, Packet::TipPgd(payload));
        self.stack.clear();
    }

    /// A call: its return may be compressed.
    pub fn push(&mut self, ip: u64) {
        self.stack.push(ip);
        if self.stack.len() > 64 {
            self.stack.remove(0);
        }
    }

    /// OVF: what was known is forgotten.
    pub fn ovf(&mut self, random: &mut Random) {
        // Bits are lost as well.
        if random.once_in(2) {
            self.flush(random);
        }
        self.bits = 0;
        self.count = 0;
        self.deferred = None;
        self.put(random, Packet::Ovf);
        self.last_ip = 0;
        self.stack.clear();
    }

    /// PSB+; `ip` if tracing is on. It may end in an OVF instead of a PSBEND.
    pub fn psb(&mut self, random: &mut Random, ip: Option<u64>, status: &Status, overflow: bool) {
        self.flush(random);
        let first = self.parts.is_empty();
        self.parts.push(Part::Packet(Packet::Psb));
        self.last_ip = 0;
        self.stack.clear();
        if self.timing.tsc {
            self.time_of_day(random);
        }
        if random.once_in(3) {
            self.put(random, Packet::Cbr { ratio: status.ratio });
        }
        if first || !random.once_in(20) {
            self.put(random, mode_exec(status.mode, false));
        }
        if status.speculative || random.once_in(4) {
            self.put(random, Packet::ModeTsx { intx: status.speculative, abrt: false });
        }
        if status.vmcs != 0 {
            self.put(random, Packet::Vmcs { base: status.vmcs });
        }
        if status.cr3 != 0 {
            let nr = random.once_in(4);
            self.put(random, Packet::Pip { cr3: status.cr3, nr });
        }
        if random.once_in(10) {
            let payload = random.next();
            self.put(random, Packet::Mnt { payload });
        }
        if let Some(ip) = ip {
            self.fup(random, ip);
        }
        if overflow {
            self.ovf(random);
        } else {
            self.put(random, Packet::Psbend);
        }
    }
}
