//! A packet's name and payload.

use odograph_core::packet::{IpCompression, IpPayload, Packet, Tnt};

use crate::text::{decimal, hex, hex_digits};

/// Appends the payload's text to `out`, which may be nothing, and returns the packet's name.
pub fn payload(packet: &Packet, out: &mut Vec<u8>) -> &'static str {
    match *packet {
        Packet::Pad => "pad",
        Packet::Psb => "psb",
        Packet::Psbend => "psbend",
        Packet::Ovf => "ovf",
        Packet::Stop => "stop",
        Packet::Fup(payload) => ip(payload, "fup", out),
        Packet::Tip(payload) => ip(payload, "tip", out),
        Packet::TipPge(payload) => ip(payload, "tip.pge", out),
        Packet::TipPgd(payload) => ip(payload, "tip.pgd", out),
        Packet::Tnt8(tnt) => {
            branches(tnt, out);
            "tnt.8"
        }
        Packet::Tnt64(tnt) => {
            branches(tnt, out);
            "tnt.64"
        }
        Packet::ModeExec { csl, csd, iflag } => {
            flags(&[(csd, "cs.d"), (csl, "cs.l"), (iflag, "if")], out);
            "mode.exec"
        }
        Packet::ModeTsx { intx, abrt } => {
            flags(&[(intx, "intx"), (abrt, "abrt")], out);
            "mode.tsx"
        }
        Packet::Pip { cr3, nr } => {
            hex(out, cr3);
            more(nr, ", nr", out);
            "pip"
        }
        Packet::Vmcs { base } => number(base, "vmcs", out),
        Packet::Cbr { ratio } => number(ratio.into(), "cbr", out),
        Packet::Tsc { tsc } => number(tsc, "tsc", out),
        Packet::Tma { ctc, fc } => {
            hex(out, ctc.into());
            out.extend_from_slice(b", ");
            number(fc.into(), "tma", out)
        }
        Packet::Mtc { ctc } => number(ctc.into(), "mtc", out),
        Packet::Cyc { value } => number(value, "cyc", out),
        Packet::Mnt { payload } => number(payload, "mnt", out),
        Packet::Exstop { ip } => {
            more(ip, "ip", out);
            "exstop"
        }
        Packet::Mwait { hints, ext } => {
            hex_digits(out, hints.into(), 8);
            out.extend_from_slice(b", ");
            hex_digits(out, ext.into(), 8);
            "mwait"
        }
        Packet::Pwre { state, sub_state, hw } => {
            c_state(state, out);
            out.push(b'.');
            decimal(out, u64::from(sub_state.wrapping_add(1) & 15));
            more(hw, ", hw", out);
            "pwre"
        }
        Packet::Pwrx { last, deepest, interrupt, store, autonomous } => {
            let cause = match (interrupt, store, autonomous) {
                (true, false, false) => "int: ",
                (false, true, false) => " st: ",
                (false, false, true) => " hw: ",
                _ => "bad: ",
            };
            out.extend_from_slice(cause.as_bytes());
            c_state(last, out);
            out.extend_from_slice(b", ");
            c_state(deepest, out);
            "pwrx"
        }
        Packet::Ptw { payload, plc, ip } => {
            pair(plc, payload, out);
            more(ip, ", ip", out);
            "ptw"
        }
        Packet::Cfe { kind, vector, ip } => {
            decimal(out, kind.into());
            match kind {
                1 | 9 | 12 | 14 => {
                    out.extend_from_slice(b": ");
                    decimal(out, vector.into());
                }
                5 => {
                    out.extend_from_slice(b": ");
                    hex(out, vector.into());
                }
                _ => {}
            }
            more(ip, ", ip", out);
            "cfe"
        }
        Packet::Evd { kind, payload } => {
            pair(kind, payload, out);
            "evd"
        }
        Packet::Trig { trbv, icnt, ip, icntv, mult } => {
            hex_digits(out, trbv.into(), 2);
            more(ip, ", ip", out);
            more(mult, ", mult", out);
            if icntv {
                out.extend_from_slice(b", icnt: ");
                decimal(out, icnt.into());
            }
            "trig"
        }
        // libipt knows no blocks, and this listing decodes as libipt does.
        Packet::Bbp { .. } | Packet::Bip { .. } | Packet::Bep { .. } | Packet::Unknown => "<unknown>",
    }
}

/// The name of a CFE packet's type.
pub fn cfe_type(kind: u8) -> &'static str {
    match kind {
        1 => "intr",
        2 => "iret",
        3 => "smi",
        4 => "rsm",
        5 => "sipi",
        6 => "init",
        7 => "vmentry",
        8 => "vmexit",
        9 => "vmexit_intr",
        10 => "shutdown",
        12 => "uintr",
        13 => "uiret",
        14 => "swintr",
        15 => "syscall",
        _ => "unknown",
    }
}

/// The name of an EVD packet's type.
pub fn evd_type(kind: u8) -> &'static str {
    match kind {
        0 => "cr2",
        1 => "vmxq",
        2 => "vmxr",
        _ => "unknown",
    }
}

fn number(value: u64, name: &'static str, out: &mut Vec<u8>) -> &'static str {
    hex(out, value);
    name
}

/// A decimal type and a value.
fn pair(kind: u8, value: u64, out: &mut Vec<u8>) {
    decimal(out, kind.into());
    out.extend_from_slice(b": ");
    hex(out, value);
}

fn more(set: bool, text: &str, out: &mut Vec<u8>) {
    if set {
        out.extend_from_slice(text.as_bytes());
    }
}

fn flags(flags: &[(bool, &str)], out: &mut Vec<u8>) {
    let start = out.len();
    for (_, name) in flags.iter().filter(|(set, _)| *set) {
        more(out.len() > start, ", ", out);
        out.extend_from_slice(name.as_bytes());
    }
}

/// A C-state as MWAIT hints count it: one less than its number.
fn c_state(state: u8, out: &mut Vec<u8>) {
    out.push(b'c');
    decimal(out, u64::from(state.wrapping_add(1) & 15));
}

/// The digits of the IP that the packet carries; those it leaves out are question marks.
fn ip(payload: IpPayload, name: &'static str, out: &mut Vec<u8>) -> &'static str {
    let (value, digits) = match payload.compression {
        IpCompression::Suppressed => (0, 0),
        IpCompression::Update16 => (payload.ip, 4),
        IpCompression::Update32 => (payload.ip, 8),
        IpCompression::Update48 => (payload.ip, 12),
        IpCompression::Sext48 => (((payload.ip << 16) as i64 >> 16) as u64, 16),
        IpCompression::Full => (payload.ip, 16),
    };
    decimal(out, payload.compression as u64);
    out.extend_from_slice(b": ");
    out.resize(out.len() + 16 - digits as usize, b'?');
    hex_digits(out, value, digits);
    name
}

/// The branches of a TNT packet, oldest first; `!` is taken.
pub fn branches(tnt: Tnt, out: &mut Vec<u8>) {
    out.extend((0..tnt.size.min(64)).rev().map(|at| if tnt.bits >> at & 1 == 1 { b'!' } else { b'.' }));
}
