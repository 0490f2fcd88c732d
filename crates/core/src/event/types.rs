//! Events.

use crate::instruction::ExecMode;
use serde::{Deserialize, Serialize};

/// What happened, with the fields libipt's `pt_event` has for it.
///
/// An `ip` is 0 where the event's `ip_suppressed` is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum EventKind {
    /// Tracing was switched on at `ip`; `resumed`: where it had been switched off. The event layer does not know
    /// that and says false, the block layer fills it in.
    Enabled {
        ip: u64,
        resumed: bool,
    },
    Disabled {
        ip: u64,
    },
    /// Tracing was switched off at `at`, asynchronously; execution went on at `ip`.
    AsyncDisabled {
        at: u64,
        ip: u64,
    },
    AsyncBranch {
        from: u64,
        to: u64,
    },
    Paging {
        cr3: u64,
        non_root: bool,
    },
    AsyncPaging {
        cr3: u64,
        non_root: bool,
        ip: u64,
    },
    Overflow {
        ip: u64,
    },
    ExecMode {
        mode: ExecMode,
        ip: u64,
    },
    Tsx {
        ip: u64,
        speculative: bool,
        aborted: bool,
    },
    Stop,
    Vmcs {
        base: u64,
    },
    AsyncVmcs {
        base: u64,
        ip: u64,
    },
    Exstop {
        ip: u64,
    },
    Mwait {
        ip: u64,
        hints: u32,
        ext: u32,
    },
    Pwre {
        state: u8,
        sub_state: u8,
        hw: bool,
    },
    Pwrx {
        last: u8,
        deepest: u8,
        interrupt: bool,
        store: bool,
        autonomous: bool,
    },
    Ptwrite {
        ip: u64,
        size: u8,
        payload: u64,
    },
    /// Time has advanced; only from the block layer, if asked for. `ip` is the branch of a TIP, or where the first
    /// branch of a TNT led.
    Tick {
        ip: u64,
    },
    Cbr {
        ratio: u8,
    },
    Mnt {
        payload: u64,
    },
    Tip {
        ip: u64,
    },
    Tnt {
        bits: u64,
        size: u8,
    },
    Iflags {
        iflag: bool,
        ip: u64,
    },
    Interrupt {
        vector: u8,
        cr2: Option<u64>,
        ip: u64,
    },
    Iret {
        ip: u64,
    },
    Smi {
        ip: u64,
    },
    Rsm,
    Sipi {
        vector: u8,
    },
    Init {
        ip: u64,
    },
    Vmentry {
        ip: u64,
    },
    Vmexit {
        vector: Option<u8>,
        vmxr: Option<u64>,
        vmxq: Option<u64>,
        ip: u64,
    },
    Shutdown {
        ip: u64,
    },
    Uintr {
        vector: u8,
        ip: u64,
    },
    Uiret {
        ip: u64,
    },
    Trig {
        trbv: u8,
        icnt: u16,
        ip: u64,
        mult: bool,
    },
    Swintr {
        vector: u8,
        ip: u64,
    },
    Syscall {
        ip: u64,
    },
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The packet did not give an IP.
    pub ip_suppressed: bool,
    /// It stands in PSB+ and says how things are rather than that they changed.
    pub status_update: bool,
    /// TSC estimate; relative to the start of the trace if not `has_tsc`.
    pub tsc: u64,
    /// A TSC packet had been seen.
    pub has_tsc: bool,
    /// MTC packets lost so far.
    pub lost_mtc: u32,
    /// CYC packets lost so far.
    pub lost_cyc: u32,
    /// Offset of the packet that completed it; of the PSB for status updates.
    pub offset: u64,
}

/// The time of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventTime {
    /// TSC estimate; relative to the start of the trace if not `has_tsc`.
    pub tsc: u64,
    /// A TSC packet had been seen.
    pub has_tsc: bool,
    /// MTC packets lost so far.
    pub lost_mtc: u32,
    /// CYC packets lost so far.
    pub lost_cyc: u32,
}

macro_rules! with_ip {
    ($kind:expr, $ip:ident => $some:expr, $none:expr) => {
        match $kind {
            EventKind::Enabled { ip: $ip, .. }
            | EventKind::Disabled { ip: $ip }
            | EventKind::AsyncDisabled { ip: $ip, .. }
            | EventKind::AsyncBranch { to: $ip, .. }
            | EventKind::AsyncPaging { ip: $ip, .. }
            | EventKind::Overflow { ip: $ip }
            | EventKind::ExecMode { ip: $ip, .. }
            | EventKind::Tsx { ip: $ip, .. }
            | EventKind::AsyncVmcs { ip: $ip, .. }
            | EventKind::Exstop { ip: $ip }
            | EventKind::Mwait { ip: $ip, .. }
            | EventKind::Ptwrite { ip: $ip, .. }
            | EventKind::Tick { ip: $ip }
            | EventKind::Tip { ip: $ip }
            | EventKind::Iflags { ip: $ip, .. }
            | EventKind::Interrupt { ip: $ip, .. }
            | EventKind::Iret { ip: $ip }
            | EventKind::Smi { ip: $ip }
            | EventKind::Init { ip: $ip }
            | EventKind::Vmentry { ip: $ip }
            | EventKind::Vmexit { ip: $ip, .. }
            | EventKind::Shutdown { ip: $ip }
            | EventKind::Uintr { ip: $ip, .. }
            | EventKind::Uiret { ip: $ip }
            | EventKind::Trig { ip: $ip, .. }
            | EventKind::Swintr { ip: $ip, .. }
            | EventKind::Syscall { ip: $ip } => $some,
            _ => $none,
        }
    };
}

impl Event {
    /// The event's IP field, if its kind has one (the target, for branches); look at `ip_suppressed`.
    pub fn ip(&self) -> Option<u64> {
        with_ip!(self.kind, ip => Some(ip), None)
    }

    /// When it happened.
    pub fn time(&self) -> EventTime {
        EventTime { tsc: self.tsc, has_tsc: self.has_tsc, lost_mtc: self.lost_mtc, lost_cyc: self.lost_cyc }
    }

    /// Sets the IP field, if the kind has one.
    pub(super) fn set_ip(&mut self, value: u64) {
        with_ip!(&mut self.kind, ip => *ip = value, ());
    }

    /// libipt's name of the kind.
    pub fn name(&self) -> &'static str {
        match self.kind {
            EventKind::Enabled { .. } => "enabled",
            EventKind::Disabled { .. } => "disabled",
            EventKind::AsyncDisabled { .. } => "async_disabled",
            EventKind::AsyncBranch { .. } => "async_branch",
            EventKind::Paging { .. } => "paging",
            EventKind::AsyncPaging { .. } => "async_paging",
            EventKind::Overflow { .. } => "overflow",
            EventKind::ExecMode { .. } => "exec_mode",
            EventKind::Tsx { .. } => "tsx",
            EventKind::Stop => "stop",
            EventKind::Vmcs { .. } => "vmcs",
            EventKind::AsyncVmcs { .. } => "async_vmcs",
            EventKind::Exstop { .. } => "exstop",
            EventKind::Mwait { .. } => "mwait",
            EventKind::Pwre { .. } => "pwre",
            EventKind::Pwrx { .. } => "pwrx",
            EventKind::Ptwrite { .. } => "ptwrite",
            EventKind::Tick { .. } => "tick",
            EventKind::Cbr { .. } => "cbr",
            EventKind::Mnt { .. } => "mnt",
            EventKind::Tip { .. } => "tip",
            EventKind::Tnt { .. } => "tnt",
            EventKind::Iflags { .. } => "iflags",
            EventKind::Interrupt { .. } => "interrupt",
            EventKind::Iret { .. } => "iret",
            EventKind::Smi { .. } => "smi",
            EventKind::Rsm => "rsm",
            EventKind::Sipi { .. } => "sipi",
            EventKind::Init { .. } => "init",
            EventKind::Vmentry { .. } => "vmentry",
            EventKind::Vmexit { .. } => "vmexit",
            EventKind::Shutdown { .. } => "shutdown",
            EventKind::Uintr { .. } => "uintr",
            EventKind::Uiret { .. } => "uiret",
            EventKind::Trig { .. } => "trig",
            EventKind::Swintr { .. } => "swintr",
            EventKind::Syscall { .. } => "syscall",
        }
    }
}
