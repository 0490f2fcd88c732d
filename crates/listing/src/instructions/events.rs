//! The line of an event.

use std::io::Write;

use odograph_core::event::{Event, EventKind};
use odograph_core::instruction::ExecMode;

use crate::text::hex_digits;

/// What event lines show beside what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventColumns {
    /// The time of an event that has one.
    pub time: bool,
    /// The addresses of an event.
    pub ip: bool,
}

/// Appends the line of `event`; `offset` is shown in front if there is one.
pub fn event_line(out: &mut Vec<u8>, event: &Event, columns: EventColumns, offset: Option<u64>) {
    out.push(b'[');
    if let Some(offset) = offset {
        hex_digits(out, offset, 16);
        out.extend_from_slice(b"  ");
    }
    if columns.time && event.has_tsc {
        hex_digits(out, event.tsc, 16);
        out.extend_from_slice(b"  ");
    }
    body(out, event, columns.ip);
    out.extend_from_slice(b"]\n");
}

/// Appends formatted text; writing to a vector cannot fail.
macro_rules! put {
    ($out:expr, $($what:tt)*) => { let _ = write!($out, $($what)*); };
}

fn body(out: &mut Vec<u8>, event: &Event, ips: bool) {
    let always = |out: &mut Vec<u8>, name: &str, ip: u64| {
        if ips {
            put!(out, ", {name}: {ip:016x}");
        }
    };
    let shown = |out: &mut Vec<u8>, name: &str, ip: u64| {
        if ips && !event.ip_suppressed {
            put!(out, ", {name}: {ip:016x}");
        }
    };
    let named = |out: &mut Vec<u8>, name: &str, ip: u64| {
        put!(out, "{name}");
        shown(out, "ip", ip);
    };
    match event.kind {
        EventKind::Enabled { ip, resumed } => {
            put!(out, "{}", if resumed { "resumed" } else { "enabled" });
            always(out, "ip", ip);
        }
        EventKind::Disabled { ip } => named(out, "disabled", ip),
        EventKind::AsyncDisabled { at, ip } => {
            put!(out, "disabled");
            always(out, "at", at);
            shown(out, "ip", ip);
        }
        EventKind::AsyncBranch { from, to } => {
            put!(out, "interrupt");
            always(out, "from", from);
            shown(out, "to", to);
        }
        EventKind::Paging { cr3, non_root } => paging(out, cr3, non_root),
        EventKind::AsyncPaging { cr3, non_root, ip } => {
            paging(out, cr3, non_root);
            always(out, "ip", ip);
        }
        EventKind::Overflow { ip } => named(out, "overflow", ip),
        EventKind::ExecMode { mode, ip } => named(out, exec_mode(mode), ip),
        EventKind::Tsx { ip, speculative, aborted } => {
            let what = match (aborted, speculative) {
                (true, _) => "aborted",
                (false, true) => "begin transaction",
                (false, false) => "committed",
            };
            named(out, what, ip);
        }
        EventKind::Stop => put_text(out, "stopped"),
        EventKind::Vmcs { base } => {
            put!(out, "vmcs, base: {base:016x}");
        }
        EventKind::AsyncVmcs { base, ip } => {
            put!(out, "vmcs, base: {base:016x}");
            always(out, "ip", ip);
        }
        EventKind::Exstop { ip } => named(out, "exstop", ip),
        EventKind::Mwait { ip, hints, ext } => {
            put!(out, "mwait {hints:x} {ext:x}");
            shown(out, "ip", ip);
        }
        EventKind::Pwre { state, sub_state, hw } => {
            let hw = if hw { " hw" } else { "" };
            put!(out, "pwre c{}.{}{hw}", c_state(state), c_state(sub_state));
        }
        EventKind::Pwrx { last, deepest, interrupt, store, autonomous } => {
            put_text(out, "pwrx ");
            for (why, name) in [(interrupt, "int: "), (store, "st: "), (autonomous, "hw: ")] {
                put_text(out, if why { name } else { "" });
            }
            put!(out, "c{} (c{})", c_state(last), c_state(deepest));
        }
        EventKind::Ptwrite { ip, payload, .. } => {
            put!(out, "ptwrite: {payload:x}");
            shown(out, "ip", ip);
        }
        EventKind::Tick { ip } => named(out, "tick", ip),
        EventKind::Cbr { ratio } => {
            put!(out, "cbr: {ratio:x}");
        }
        EventKind::Mnt { payload } => {
            put!(out, "mnt: {payload:x}");
        }
        EventKind::Tip { ip } => {
            put!(out, "tip: {ip:x}");
        }
        EventKind::Tnt { bits, size } => {
            put_text(out, "tnt: ");
            out.extend((0..size.min(64)).rev().map(|bit| if bits >> bit & 1 == 1 { b'!' } else { b'.' }));
        }
        EventKind::Iflags { iflag, ip } => {
            named(out, if iflag { "interrupts enabled" } else { "interrupts disabled" }, ip);
        }
        EventKind::Interrupt { vector, cr2, ip } => {
            put!(out, "interrupt {vector}");
            if let Some(cr2) = cr2 {
                put!(out, ", cr2: {cr2:016x}");
            }
            shown(out, "ip", ip);
        }
        EventKind::Iret { ip } => named(out, "iret", ip),
        EventKind::Smi { ip } => named(out, "smi", ip),
        EventKind::Rsm => put_text(out, "rsm"),
        EventKind::Sipi { vector } => {
            put!(out, "sipi: {vector:x}");
        }
        EventKind::Init { ip } => named(out, "init", ip),
        EventKind::Vmentry { ip } => named(out, "vmentry", ip),
        EventKind::Vmexit { vector, vmxr, vmxq, ip } => {
            put_text(out, "vmexit");
            if let Some(vector) = vector {
                put!(out, ", intr: {vector}");
            }
            for (name, value) in [("vmxr", vmxr), ("vmxq", vmxq)] {
                if let Some(value) = value {
                    put!(out, ", {name}: {value:016x}");
                }
            }
            shown(out, "ip", ip);
        }
        EventKind::Shutdown { ip } => named(out, "shutdown", ip),
        EventKind::Uintr { vector, ip } => {
            put!(out, "uintr {vector}");
            shown(out, "ip", ip);
        }
        EventKind::Uiret { ip } => named(out, "uiret", ip),
        EventKind::Trig { trbv, icnt, ip, mult } => {
            put!(out, "trig {trbv:02x}{}", if mult { ", mult" } else { "" });
            shown(out, "ip", ip);
            if icnt != 0 {
                put!(out, ", icnt: {icnt}");
            }
        }
        EventKind::Swintr { vector, ip } => {
            put!(out, "swintr {vector}");
            shown(out, "ip", ip);
        }
        EventKind::Syscall { ip } => named(out, "syscall", ip),
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn paging(out: &mut Vec<u8>, cr3: u64, non_root: bool) {
    put!(out, "paging, cr3: {cr3:016x}{}", if non_root { ", nr" } else { "" });
}

fn exec_mode(mode: ExecMode) -> &'static str {
    match mode {
        ExecMode::Bits64 => "exec mode: 64-bit",
        ExecMode::Bits32 => "exec mode: 32-bit",
        ExecMode::Bits16 => "exec mode: 16-bit",
        ExecMode::Unknown => "exec mode: <unknown>",
    }
}

/// The number of a C-state by its MWAIT encoding, which counts C1 as 0 (Intel SDM volume 2, MWAIT).
fn c_state(encoded: u8) -> u8 {
    encoded.wrapping_add(1) & 15
}
