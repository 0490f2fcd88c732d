//! Intel PT packets: their types, decoding, encoding, last-IP and the search for PSB.
//!
//! The caller brings bytes and an offset; back come packets and their sizes. What packets mean
//! together is the business of [`crate::event`].
//! Source: Intel SDM volume 3C, chapter "Intel Processor Trace", section "Packet definitions".

mod decode;
mod encode;
mod fields;
mod kind;
mod last_ip;
mod mark;
mod overlap;
mod repair;
pub mod sync;

pub(crate) use decode::{cyc, ip};
pub use decode::{decode, short_tnt, BlockContext};
pub use encode::{encode, encode_into};
pub use fields::Field;
pub use kind::count_kinds;
pub use last_ip::LastIp;
pub use mark::{mark, marked, MARK_PERIOD};
pub use overlap::{overlap, Overlap};
pub use repair::decode_repaired;

/// The bytes of a PSB.
pub const PSB: [u8; 16] =
    [0x02, 0x82, 0x02, 0x82, 0x02, 0x82, 0x02, 0x82, 0x02, 0x82, 0x02, 0x82, 0x02, 0x82, 0x02, 0x82];

/// How an IP payload is compressed (the packet's IPBytes field).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum IpCompression {
    /// No payload; the IP is out of context.
    Suppressed = 0,
    /// Replaces bits 15:0 of the last IP.
    Update16 = 1,
    /// Replaces bits 31:0 of the last IP.
    Update32 = 2,
    /// 48 bits, sign-extended.
    Sext48 = 3,
    /// Replaces bits 47:0 of the last IP.
    Update48 = 4,
    /// All 64 bits.
    Full = 6,
}

/// An IP as it stands in the packet: compressed, zero-extended to 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpPayload {
    /// How the payload relates to the last IP.
    pub compression: IpCompression,
    /// The raw payload bits.
    pub ip: u64,
}

/// Taken / not-taken bits, oldest in the most significant of the `size` low bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tnt {
    /// Number of bits, 1 to 6 (short) or 1 to 47 (long).
    pub size: u8,
    /// The bits without the stop bit; 1 is taken, or a compressed RET.
    pub bits: u64,
}

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the fields are named as the SDM's packet definitions name them
pub enum Packet {
    Pad,
    Psb,
    Psbend,
    Ovf,
    /// TraceStop.
    Stop,
    Fup(IpPayload),
    Tip(IpPayload),
    TipPge(IpPayload),
    TipPgd(IpPayload),
    Tnt8(Tnt),
    Tnt64(Tnt),
    /// MODE.Exec; `iflag` needs Event Trace.
    ModeExec {
        csl: bool,
        csd: bool,
        iflag: bool,
    },
    /// MODE.TSX.
    ModeTsx {
        intx: bool,
        abrt: bool,
    },
    /// `cr3` is the full CR3 value with bits 4:0 clear.
    Pip {
        cr3: u64,
        nr: bool,
    },
    /// `base` is the VMCS base address, bits 11:0 clear.
    Vmcs {
        base: u64,
    },
    Cbr {
        ratio: u8,
    },
    Tsc {
        tsc: u64,
    },
    Tma {
        ctc: u16,
        fc: u16,
    },
    Mtc {
        ctc: u8,
    },
    Cyc {
        value: u64,
    },
    Mnt {
        payload: u64,
    },
    /// `ip`: a FUP follows.
    Exstop {
        ip: bool,
    },
    Mwait {
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
    /// PTWRITE; `plc` 0: 4 bytes, 1: 8 bytes.
    Ptw {
        payload: u64,
        plc: u8,
        ip: bool,
    },
    /// Control-flow event (Event Trace).
    Cfe {
        kind: u8,
        vector: u8,
        ip: bool,
    },
    /// Event data (Event Trace).
    Evd {
        kind: u8,
        payload: u64,
    },
    /// Trigger; `icnt` is meaningful if `icntv`.
    Trig {
        trbv: u8,
        icnt: u16,
        ip: bool,
        icntv: bool,
        mult: bool,
    },
    /// Block begin (PEBS via PT); `short`: items carry 4 bytes rather than 8.
    Bbp {
        short: bool,
        kind: u8,
    },
    /// Block item.
    Bip {
        id: u8,
        short: bool,
        payload: u64,
    },
    /// Block end; `ip`: a FUP follows.
    Bep {
        ip: bool,
    },
    /// An opcode that only the caller knows: see [`crate::config::UnknownPackets`]. [`decode`] never gives it.
    Unknown,
}
