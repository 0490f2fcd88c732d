//! Packets with all their fields: packets in, text out.

use odograph_core::packet::{encode, IpCompression, IpPayload, Packet, Tnt};
use odograph_listing::fields::{FieldListing, FieldOptions};

fn trace(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        encode(packet, &mut bytes).unwrap();
    }
    bytes
}

fn list(trace: &[u8], options: FieldOptions) -> String {
    let mut listing = FieldListing::new(options);
    let mut text = Vec::new();
    while listing.next_piece(trace, &mut text) {}
    String::from_utf8(text).unwrap()
}

fn sample() -> Vec<u8> {
    trace(&[
        Packet::Psb,
        Packet::ModeExec { csl: true, csd: false, iflag: false },
        Packet::Psbend,
        Packet::Tip(IpPayload { compression: IpCompression::Sext48, ip: 0xffff_ffff_1000 }),
        Packet::Tnt8(Tnt { size: 3, bits: 0b101 }),
        Packet::Cfe { kind: 1, vector: 14, ip: true },
        Packet::Bbp { short: true, kind: 4 },
        Packet::Bip { id: 1, short: true, payload: 0xab },
        Packet::TipPgd(IpPayload { compression: IpCompression::Suppressed, ip: 0 }),
    ])
}

#[test]
fn lines() {
    let expected = "00000000  psb\n\
                    00000010  mode.exec csl\n\
                    00000012  psbend\n\
                    00000014  tip       3: 0000ffffffff1000\n\
                    0000001b  tnt8      !.!\n\
                    0000001c  cfe       type 0x1  vector 0xe  ip\n\
                    00000020  bbp       type 0x4  short\n\
                    00000023  bip       id 0x1  short  payload 0xab\n\
                    00000028  tip.pgd   -\n";
    assert_eq!(list(&sample(), FieldOptions::default()), expected);
    let numbered = FieldOptions { stream: 3, numbered: true, end: Some(1), ..FieldOptions::default() };
    assert_eq!(list(&sample(), numbered), "3 00000000  psb\n");
}

#[test]
fn objects() {
    let options = FieldOptions {
        json: true,
        kinds: ["tip", "cfe", "tnt"].map(str::to_owned).to_vec(),
        ..FieldOptions::default()
    };
    assert_eq!(
        list(&sample(), options),
        "{\"stream\": 0, \"offset\": 20, \"size\": 7, \"kind\": \"tip\", \"compression\": 3, \
         \"ip\": 281474976649216},\n\
         {\"stream\": 0, \"offset\": 27, \"size\": 3, \"kind\": \"tnt8\", \"bits\": 5},\n\
         {\"stream\": 0, \"offset\": 28, \"size\": 4, \"kind\": \"cfe\", \"type\": 1, \"vector\": 14, \"ip\": true}"
    );
}

#[test]
fn parts_begin_at_a_psb_and_show_what_was_asked_for() {
    let twice = sample().repeat(2);
    let at = sample().len();
    let part = |first, end| list(&twice, FieldOptions { first, end, ..FieldOptions::default() });
    assert_eq!(part(at, Some(at + 1)), "00000029  psb\n");
    assert_eq!(part(at + 1, Some(at + 0x12)), "00000039  mode.exec csl\n");
    assert_eq!(part(0x1b, Some(0x1c)), "0000001b  tnt8      !.!\n");
    assert_eq!(part(1000, None), "");
    // What comes before the first PSB has no known beginning.
    assert_eq!(
        list(
            &[&[0x1c; 9][..], &sample()].concat(),
            FieldOptions { end: Some(10), ..FieldOptions::default() }
        ),
        "00000009  psb\n"
    );
    assert_eq!(list(&[0x1c; 9], FieldOptions::default()), "");
}

#[test]
fn damage_is_listed_whatever_kinds_are_asked_for() {
    let kinds = vec!["stop".to_owned()];
    let damaged = [&sample()[..0x14], &[2, 0xff], &sample(), &[0x19, 0]].concat();
    let options = FieldOptions { kinds, ..FieldOptions::default() };
    assert_eq!(
        list(&damaged, options.clone()),
        "00000014  [unknown opcode]\n0000003f  [the trace ends inside a packet]\n"
    );
    assert_eq!(
        list(&damaged, FieldOptions { json: true, first: 0x3f, ..options }),
        "{\"stream\": 0, \"offset\": 63, \"error\": \"the trace ends inside a packet\"}"
    );
}

#[test]
fn pieces_are_bounded() {
    let bytes = [trace(&[Packet::Psb]), trace(&[Packet::Stop]).repeat(50_000)].concat();
    let mut listing = FieldListing::new(FieldOptions::default());
    let mut lines = 0;
    loop {
        let mut text = Vec::new();
        let more = listing.next_piece(&bytes, &mut text);
        assert!(text.len() < 70_000);
        lines += text.iter().filter(|&&byte| byte == b'\n').count();
        if !more {
            break;
        }
    }
    assert_eq!(lines, 50_001);
}
