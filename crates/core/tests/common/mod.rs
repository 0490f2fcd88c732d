//! Packets by short names, generated packets, and the recordings that lie beside the repository.
#![allow(dead_code)] // every test file uses its own part

use std::path::PathBuf;

use odograph_core::packet::{encode, IpCompression, IpPayload, Packet, Tnt};
use proptest::prelude::*;

/// Where recordings of real processors lie, if they are there.
pub fn recordings() -> Option<PathBuf> {
    let shared = match std::env::var_os("ODOGRAPH_SHARED") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    Some(shared.join("traces")).filter(|path| path.is_dir())
}

/// The bytes of some packets.
pub fn trace(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        encode(packet, &mut bytes).unwrap();
    }
    bytes
}

/// A whole address.
pub fn full(ip: u64) -> IpPayload {
    IpPayload { compression: IpCompression::Full, ip }
}

/// The low 16 bits of an address.
pub fn low16(ip: u64) -> IpPayload {
    IpPayload { compression: IpCompression::Update16, ip }
}

/// No address.
pub const NONE: IpPayload = IpPayload { compression: IpCompression::Suppressed, ip: 0 };

/// A FUP with a whole address.
pub fn fup(ip: u64) -> Packet {
    Packet::Fup(full(ip))
}

/// A TIP with a whole address.
pub fn tip(ip: u64) -> Packet {
    Packet::Tip(full(ip))
}

/// A TIP.PGE with a whole address.
pub fn pge(ip: u64) -> Packet {
    Packet::TipPge(full(ip))
}

/// A TIP.PGD with a whole address.
pub fn pgd(ip: u64) -> Packet {
    Packet::TipPgd(full(ip))
}

/// A short TNT from its bits in order, for example `"110"`.
pub fn tnt(bits: &str) -> Packet {
    Packet::Tnt8(Tnt { size: bits.len() as u8, bits: u64::from_str_radix(bits, 2).unwrap() })
}

/// MODE.Exec for 64 bit.
pub const BITS64: Packet = Packet::ModeExec { csl: true, csd: false, iflag: false };
/// MODE.Exec for 32 bit.
pub const BITS32: Packet = Packet::ModeExec { csl: false, csd: true, iflag: false };

fn any_payload() -> impl Strategy<Value = IpPayload> {
    use IpCompression::*;
    let forms = [(Suppressed, 0), (Update16, 16), (Update32, 32), (Sext48, 48), (Update48, 48), (Full, 64)];
    (prop::sample::select(forms.to_vec()), any::<u64>()).prop_map(|((compression, bits), ip)| IpPayload {
        compression,
        ip: if bits == 0 { 0 } else { ip >> (64 - bits) },
    })
}

/// A number of at most `bits` bits, of any magnitude.
fn number(bits: u32) -> impl Strategy<Value = u64> {
    (any::<u64>(), 64 - bits..64).prop_map(|(value, shift)| value >> shift)
}

fn any_tnt(longest: u8) -> impl Strategy<Value = Tnt> {
    (1..=longest, any::<u64>()).prop_map(|(size, bits)| Tnt { size, bits: bits & ((1 << size) - 1) })
}

/// Any packet outside a block; BIP is meaningful inside one only.
pub fn any_packet() -> BoxedStrategy<Packet> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    prop_oneof![
        Just(Packet::Pad),
        Just(Packet::Psb),
        Just(Packet::Psbend),
        Just(Packet::Ovf),
        Just(Packet::Stop),
        any_payload().prop_map(Packet::Fup),
        any_payload().prop_map(Packet::Tip),
        any_payload().prop_map(Packet::TipPge),
        any_payload().prop_map(Packet::TipPgd),
        any_tnt(6).prop_map(Packet::Tnt8),
        any_tnt(47).prop_map(Packet::Tnt64),
        flags.prop_map(|(csl, csd, iflag)| Packet::ModeExec { csl, csd, iflag }),
        flags.prop_map(|(intx, abrt, _)| Packet::ModeTsx { intx, abrt }),
        (number(47), any::<bool>()).prop_map(|(cr3, nr)| Packet::Pip { cr3: cr3 << 5, nr }),
        number(40).prop_map(|base| Packet::Vmcs { base: base << 12 }),
        any::<u8>().prop_map(|ratio| Packet::Cbr { ratio }),
        number(56).prop_map(|tsc| Packet::Tsc { tsc }),
        (any::<u16>(), 0..0x200u16).prop_map(|(ctc, fc)| Packet::Tma { ctc, fc }),
        any::<u8>().prop_map(|ctc| Packet::Mtc { ctc }),
        number(61).prop_map(|value| Packet::Cyc { value }),
        any::<u64>().prop_map(|payload| Packet::Mnt { payload }),
        any::<bool>().prop_map(|ip| Packet::Exstop { ip }),
        (any::<u32>(), any::<u32>()).prop_map(|(hints, ext)| Packet::Mwait { hints, ext }),
        (0..16u8, 0..16u8, any::<bool>()).prop_map(|(state, sub_state, hw)| Packet::Pwre {
            state,
            sub_state,
            hw
        }),
        (0..16u8, 0..16u8, flags).prop_map(|(last, deepest, (interrupt, store, autonomous))| {
            Packet::Pwrx { last, deepest, interrupt, store, autonomous }
        }),
        (number(32), any::<bool>()).prop_map(|(payload, ip)| Packet::Ptw { payload, plc: 0, ip }),
        (any::<u64>(), any::<bool>()).prop_map(|(payload, ip)| Packet::Ptw { payload, plc: 1, ip }),
        (0..16u8, any::<u8>(), any::<bool>()).prop_map(|(kind, vector, ip)| Packet::Cfe { kind, vector, ip }),
        (0..4u8, any::<u64>()).prop_map(|(kind, payload)| Packet::Evd { kind, payload }),
        (any::<u8>(), any::<u16>(), flags).prop_map(|(trbv, icnt, (ip, icntv, mult))| Packet::Trig {
            trbv,
            icnt: if icntv { icnt } else { 0 },
            ip,
            icntv,
            mult
        }),
    ]
    .boxed()
}
