//! Packets: every one there and back, broken ones, and the packet counts of recordings.

mod common;

use common::{any_packet, recordings, trace};
use odograph_core::cpu::Errata;
use odograph_core::error::PtError;
use odograph_core::packet::{
    count_kinds, decode, encode, encode_into, BlockContext, IpCompression, IpPayload, Packet, Tnt,
};
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Result<(Packet, usize), PtError> {
    decode(bytes, &mut BlockContext::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_is_encoded_is_decoded(packet in any_packet(), tail in prop::collection::vec(any::<u8>(), 0..12)) {
        let mut bytes = Vec::new();
        let size = encode(&packet, &mut bytes).unwrap();
        prop_assert_eq!(size, bytes.len());
        for cut in 0..size {
            prop_assert_eq!(read(&bytes[..cut]), Err(PtError::Eos));
        }
        let mut room = vec![0xff; size];
        prop_assert_eq!(encode_into(&packet, &mut room), Ok(size));
        prop_assert_eq!(&room, &bytes);
        prop_assert_eq!(encode_into(&packet, &mut room[1..]), Err(PtError::Eos));
        bytes.extend(tail);
        prop_assert_eq!(read(&bytes), Ok((packet, size)));
    }

    #[test]
    fn any_bytes_are_a_packet_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
        for mut context in [
            BlockContext::default(),
            BlockContext { short_items: Some(true), libipt: false },
            BlockContext { short_items: Some(false), libipt: false },
            BlockContext { short_items: None, libipt: true },
        ] {
            if let Ok((_, size)) = decode(&bytes, &mut context) {
                prop_assert!(size > 0 && size <= bytes.len());
            }
        }
    }
}

#[test]
fn broken_packets_say_what_is_wrong() {
    use PtError::*;
    let cases: &[(&[u8], PtError)] = &[
        (&[], Eos),
        (&[0x02], Eos),
        (&[0x02, 0xc3], Eos),
        (&[0xc9], BadOpc),
        (&[0x02, 0x04], BadOpc),
        (&[0x02, 0xc3, 0x00], BadOpc),
        // Compressions 5 and 7 are diagnosed before the length.
        (&[0xad], BadPacket),
        (&[0xfd], BadPacket),
        (&[0x6d, 1, 2, 3, 4, 5], Eos),
        // So is the size of a PTW.
        (&[0x02, 0x52], BadPacket),
        (&[0x02, 0x72], BadPacket),
        (&[0x02, 0x12, 0], Eos),
        // A long TNT, PSB, MODE and TMA must be whole first.
        (&[0x02, 0xa3, 0, 0, 0, 0, 0], Eos),
        (&[0x02, 0xa3, 0, 0, 0, 0, 0, 0], BadPacket),
        (&[0x02, 0xa3, 1, 0, 0, 0, 0, 0], BadPacket),
        (&[0x02, 0x82, 0, 0], Eos),
        (&[0x02, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 2, 0x82, 0, 0x82], BadPacket),
        (&[0x99], Eos),
        (&[0x99, 0x40], BadPacket),
        (&[0x02, 0x73, 0, 0, 1, 0], Eos),
        (&[0x02, 0x73, 0, 0, 1, 0, 0], BadPacket),
        (&[0x02, 0x73, 0, 0, 0, 0, 2], BadPacket),
        // A CYC is read byte by byte.
        (&[0x07, 1, 1, 1, 1, 1, 1, 1, 1], Eos),
        (&[0x07, 1, 1, 1, 1, 1, 1, 1, 1, 0], BadPacket),
    ];
    for (bytes, error) in cases {
        assert_eq!(read(bytes), Err(*error), "{bytes:02x?}");
    }
}

#[test]
fn packets_byte_by_byte() {
    let cases: &[(&[u8], Packet)] = &[
        (&[0x04], Packet::Tnt8(Tnt { size: 1, bits: 0 })),
        (&[0x06], Packet::Tnt8(Tnt { size: 1, bits: 1 })),
        (&[0xfe], Packet::Tnt8(Tnt { size: 6, bits: 0x3f })),
        (&[0x02, 0xa3, 0b101, 0, 0, 0, 0, 0], Packet::Tnt64(Tnt { size: 2, bits: 1 })),
        (&[0x2d, 0x34, 0x12], Packet::Tip(IpPayload { compression: IpCompression::Update16, ip: 0x1234 })),
        (&[0x01], Packet::TipPgd(IpPayload { compression: IpCompression::Suppressed, ip: 0 })),
        (&[0x99, 0x1d], Packet::ModeExec { csl: true, csd: false, iflag: true }),
        (&[0x99, 0x23], Packet::ModeTsx { intx: true, abrt: true }),
        (&[0x02, 0x43, 0x03, 0, 0, 0, 0, 0], Packet::Pip { cr3: 0x20, nr: true }),
        (&[0x02, 0xc8, 0x01, 0, 0, 0, 0], Packet::Vmcs { base: 0x1000 }),
        (&[0x02, 0x73, 0x34, 0x12, 0, 0xff, 1], Packet::Tma { ctc: 0x1234, fc: 0x1ff }),
        (&[0x1f, 0x04], Packet::Cyc { value: 0x43 }),
        (&[0x02, 0x03, 0x20, 0xff], Packet::Cbr { ratio: 0x20 }),
        (&[0x02, 0x22, 0x80, 0x34], Packet::Pwre { state: 3, sub_state: 4, hw: true }),
        (
            &[0x02, 0xa2, 0x21, 0x0d, 0, 0, 0],
            Packet::Pwrx { deepest: 1, last: 2, interrupt: true, store: true, autonomous: true },
        ),
        (&[0x02, 0x92, 1, 2, 3, 4], Packet::Ptw { payload: 0x0403_0201, plc: 0, ip: true }),
        (&[0x02, 0x13, 0x81, 0x0e], Packet::Cfe { kind: 1, vector: 14, ip: true }),
        (&[0xd9, 0x60, 7, 2, 1], Packet::Trig { trbv: 7, icnt: 0x102, ip: false, icntv: true, mult: true }),
        (&[0xd9, 0x80, 7], Packet::Trig { trbv: 7, icnt: 0, ip: true, icntv: false, mult: false }),
    ];
    for (bytes, packet) in cases {
        assert_eq!(read(bytes), Ok((*packet, bytes.len())), "{bytes:02x?}");
    }
}

#[test]
fn libipt_looks_for_the_hw_flag_of_pwre_elsewhere_and_knows_no_blocks() {
    let libipt = || BlockContext { short_items: None, libipt: true };
    let hw = |bytes: &[u8]| decode(bytes, &mut libipt()).map(|(packet, _)| packet);
    assert_eq!(hw(&[0x02, 0x22, 0x80, 0]), Ok(Packet::Pwre { state: 0, sub_state: 0, hw: false }));
    assert_eq!(hw(&[0x02, 0x22, 0x08, 0]), Ok(Packet::Pwre { state: 0, sub_state: 0, hw: true }));
    assert_eq!(hw(&[0x02, 0x63, 0]), Err(PtError::BadOpc));
    assert_eq!(hw(&[0x02, 0x33]), Err(PtError::BadOpc));
    assert_eq!(hw(&[0x02, 0xb3]), Err(PtError::BadOpc));
}

#[test]
fn inside_a_block_items_are_told_from_tnt() {
    let packets = [
        Packet::Bbp { short: true, kind: 4 },
        Packet::Bip { id: 3, short: true, payload: 0x1234_5678 },
        Packet::Mtc { ctc: 1 },
        Packet::Bip { id: 4, short: true, payload: 5 },
        Packet::Bep { ip: true },
        Packet::Tnt8(Tnt { size: 1, bits: 0 }),
        Packet::Bbp { short: false, kind: 4 },
        Packet::Bip { id: 31, short: false, payload: u64::MAX },
        Packet::Bep { ip: false },
    ];
    let bytes = trace(&packets);
    let mut context = BlockContext::default();
    let mut offset = 0;
    for packet in packets {
        let (found, size) = decode(&bytes[offset..], &mut context).unwrap();
        assert_eq!(found, packet);
        offset += size;
    }
    assert_eq!(offset, bytes.len());
}

#[test]
fn what_does_not_fit_is_not_encoded() {
    let cases = [
        (Packet::Tnt8(Tnt { size: 7, bits: 0 }), PtError::BadPacket),
        (Packet::Tnt8(Tnt { size: 0, bits: 0 }), PtError::BadPacket),
        (Packet::Tnt64(Tnt { size: 48, bits: 0 }), PtError::Invalid),
        (Packet::Tnt64(Tnt { size: 3, bits: 8 }), PtError::Invalid),
        (Packet::Tma { ctc: 0, fc: 0x200 }, PtError::BadPacket),
        (Packet::Ptw { payload: 0, plc: 2, ip: false }, PtError::BadPacket),
        (Packet::Cyc { value: 1 << 61 }, PtError::Invalid),
    ];
    for (packet, error) in cases {
        let mut bytes = vec![1, 2, 3];
        assert_eq!(encode(&packet, &mut bytes), Err(error), "{packet:?}");
        assert_eq!(bytes, [1, 2, 3]);
    }
}

/// `"packet_kinds": {"pad": 1, ...}` out of a recording's description.
fn expected_counts(meta: &str) -> Option<Vec<(String, u64)>> {
    let kinds = meta.split_once("\"packet_kinds\"")?.1;
    let body = kinds.split_once('{')?.1.split_once('}')?.0;
    body.split(',')
        .map(|item| {
            let (name, count) = item.split_once(':')?;
            Some((name.trim().trim_matches('"').to_owned(), count.trim().parse().ok()?))
        })
        .collect()
}

#[test]
fn recordings_have_the_packets_they_are_said_to_have() {
    let Some(folder) = recordings() else {
        eprintln!("skipped: no recordings");
        return;
    };
    let mut seen = 0;
    for set in std::fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        for recording in std::fs::read_dir(set.path()).unwrap().flatten() {
            let Ok(meta) = std::fs::read_to_string(recording.path().join("meta.json")) else { continue };
            let Some(mut expected) = expected_counts(&meta) else { continue };
            let bytes = std::fs::read(recording.path().join("pt.bin")).unwrap();
            let (counts, errors) = count_kinds(&bytes, &Errata::default());
            let mut found: Vec<_> = Packet::KINDS
                .iter()
                .zip(counts)
                .filter(|&(_, count)| count > 0)
                .map(|(name, count)| (name.to_string(), count))
                .collect();
            expected.sort();
            found.sort();
            assert_eq!(found, expected, "{}", recording.path().display());
            assert_eq!(errors, 0);
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} recordings");
}
