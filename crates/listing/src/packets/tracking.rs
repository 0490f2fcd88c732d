//! What a listing remembers from packet to packet, and the last column that shows it.

use odograph_core::config::TraceConfig;
use odograph_core::error::PtError;
use odograph_core::packet::{IpPayload, LastIp, Packet};
use odograph_core::time::Time;

use super::options::PacketOptions;
use super::payload::{cfe_type, evd_type};
use crate::text::{hex, hex_digits};

/// Last IP, time, and the values that differences are shown to.
#[derive(Clone, Debug)]
pub struct Tracking {
    last_ip: LastIp,
    time: Time,
    in_psb: bool,
    shown_tsc: u64,
    shown_fcr: u64,
    keep_tcal: bool,
    nominal: bool,
}

/// The text of the last column: what it is and its value. Nothing if the name is empty.
#[derive(Clone, Debug, Default)]
pub struct Column {
    /// What it is.
    pub name: &'static str,
    /// Its value.
    pub value: Vec<u8>,
}

impl Column {
    fn set(&mut self, name: &'static str, value: &str) {
        self.name = name;
        self.value.extend_from_slice(value.as_bytes());
    }

    fn set_number(&mut self, name: &'static str, value: u64) {
        self.name = name;
        hex_digits(&mut self.value, value, 16);
    }
}

/// A place where things go wrong: its offset, and the text that says so.
pub struct Complaints<'a> {
    /// Offset of the packet.
    pub offset: usize,
    /// Where the lines go.
    pub out: &'a mut Vec<u8>,
}

impl Complaints<'_> {
    /// One line.
    pub fn add(&mut self, text: &str, code: Option<PtError>) {
        self.out.push(b'[');
        hex(self.out, self.offset as u64);
        for word in [Some(text), code.map(PtError::message)].into_iter().flatten() {
            self.out.extend_from_slice(b": ");
            self.out.extend_from_slice(word.as_bytes());
        }
        self.out.extend_from_slice(b"]\n");
    }

    fn check(&mut self, text: &str, result: Result<(), PtError>) {
        if let Err(code) = result {
            self.add(text, Some(code));
        }
    }
}

const CALIBRATING: &str = "error calibrating time";
const UPDATING: &str = "error updating time";

impl Tracking {
    /// At the start of a trace.
    pub fn new(config: &TraceConfig, options: &PacketOptions) -> Self {
        let time = Time::new(&TraceConfig { libipt_compat: true, ..config.clone() });
        Tracking {
            last_ip: LastIp::default(),
            time: if options.no_tcal { time.without_calibration() } else { time },
            in_psb: false,
            shown_tsc: 0,
            shown_fcr: 0,
            keep_tcal: config.keep_tcal_on_ovf,
            nominal: config.nom_freq != 0,
        }
    }

    /// Forgets everything, behind an error.
    pub fn reset(&mut self) {
        self.last_ip.reset();
        self.time.reset();
        self.in_psb = false;
        self.shown_tsc = 0;
        self.shown_fcr = 0;
    }

    /// The estimate of the TSC.
    pub fn tsc(&self) -> u64 {
        self.time.tsc()
    }

    /// Takes in a packet and fills the last column. True if the packet moved time on.
    pub fn take(
        &mut self,
        packet: &Packet,
        options: &PacketOptions,
        column: &mut Column,
        complaints: &mut Complaints<'_>,
    ) -> bool {
        match *packet {
            Packet::Psb => {
                self.last_ip.reset();
                self.time.on_psb();
                self.in_psb = true;
            }
            Packet::Psbend => self.in_psb = false,
            Packet::Ovf => {
                self.last_ip.reset();
                self.time.on_overflow(self.keep_tcal);
                self.in_psb = false;
            }
            Packet::Fup(payload)
            | Packet::Tip(payload)
            | Packet::TipPge(payload)
            | Packet::TipPgd(payload) => self.ip(payload, options, column, complaints),
            Packet::ModeExec { csl, csd, .. } if options.exec_mode => column.set(
                "em",
                match (csl, csd) {
                    (true, false) => "64-bit",
                    (false, true) => "32-bit",
                    (false, false) => "16-bit",
                    (true, true) => "unknown",
                },
            ),
            Packet::Pip { cr3, .. } => column.set_number("cr3", cr3),
            Packet::Vmcs { base } => column.set_number("vmcs", base),
            Packet::Cfe { kind, .. } => column.set("type", cfe_type(kind)),
            Packet::Evd { kind, .. } => column.set("type", evd_type(kind)),
            _ if options.track_time() => return self.timing(packet, options, column, complaints),
            _ => {}
        }
        false
    }

    fn ip(
        &mut self,
        payload: IpPayload,
        options: &PacketOptions,
        column: &mut Column,
        complaints: &mut Complaints<'_>,
    ) {
        self.last_ip.update(payload);
        if !options.lastip {
            return;
        }
        match self.last_ip.ip() {
            Ok(ip) => column.set_number("ip", ip),
            Err(PtError::IpSuppressed) => column.set("ip", "<suppressed>"),
            Err(code) => {
                complaints.add("error tracking last-ip", Some(code));
                column.set("ip", "<unavailable>");
            }
        }
    }

    fn timing(
        &mut self,
        packet: &Packet,
        options: &PacketOptions,
        column: &mut Column,
        complaints: &mut Complaints<'_>,
    ) -> bool {
        let (has_tsc, has_fcr) = match *packet {
            Packet::Tsc { tsc } => {
                self.time.on_tsc(tsc, self.in_psb);
                (true, true)
            }
            Packet::Cbr { ratio } => {
                let result = self.time.on_cbr(ratio, self.in_psb);
                if self.nominal && !options.no_tcal {
                    complaints.check(CALIBRATING, result);
                }
                complaints.check(UPDATING, result);
                (false, true)
            }
            Packet::Tma { ctc, fc } => {
                complaints.check(UPDATING, self.time.on_tma(ctc, fc));
                (true, false)
            }
            Packet::Mtc { ctc } => {
                let effect = self.time.on_mtc(ctc);
                complaints.check(CALIBRATING, effect.calibration);
                complaints.check(UPDATING, effect.time);
                (true, true)
            }
            Packet::Cyc { value } if !options.no_cyc => {
                self.cycles(value, options, complaints);
                (true, false)
            }
            _ => return false,
        };
        if options.tcal {
            if has_fcr {
                self.show_fcr(options, column, complaints);
            }
        } else if options.time && has_tsc {
            self.show_tsc(options, column, complaints);
        }
        true
    }

    fn cycles(&mut self, value: u64, options: &PacketOptions, complaints: &mut Complaints<'_>) {
        let ratio = self.time.cycle_ratio();
        if ratio.is_none() && !options.no_tcal {
            complaints.add("calibration error", Some(PtError::NoTime));
        }
        match self.time.on_cyc(value) {
            Err(code) => complaints.add(UPDATING, Some(code)),
            Ok(()) if ratio.unwrap_or(0) == 0 => {
                complaints.add("error updating time: no calibration", None);
            }
            Ok(()) => {}
        }
    }

    fn show_tsc(&mut self, options: &PacketOptions, column: &mut Column, complaints: &mut Complaints<'_>) {
        if !self.time.has_tsc() && !options.no_wall_clock {
            unavailable("tsc", column, complaints);
            return;
        }
        let tsc = self.time.tsc();
        if !options.time_delta {
            column.set_number("tsc", tsc);
            return;
        }
        column.set("tsc", if tsc >= self.shown_tsc { "+" } else { "-" });
        hex(&mut column.value, tsc.abs_diff(self.shown_tsc));
        self.shown_tsc = tsc;
    }

    fn show_fcr(&mut self, options: &PacketOptions, column: &mut Column, complaints: &mut Complaints<'_>) {
        let Some(fcr) = self.time.cycle_ratio() else {
            unavailable("fcr", column, complaints);
            return;
        };
        // A fraction of 256, printed as a decimal number.
        if options.time_delta {
            column.set("fcr", &format!("{:+.3}", (fcr as f64 - self.shown_fcr as f64) / 256.0));
            self.shown_fcr = fcr;
        } else {
            column.set("fcr", &format!("{:.3}", fcr as f64 / 256.0));
        }
    }
}

fn unavailable(name: &'static str, column: &mut Column, complaints: &mut Complaints<'_>) {
    complaints.add("error printing time", Some(PtError::NoTime));
    column.set(name, "<unavailable>");
}
