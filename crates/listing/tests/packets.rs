//! Packet listings: packets in, text out.

use odograph_core::config::{CpuChoice, TraceConfig};
use odograph_core::cpu::Cpu;
use odograph_core::packet::{encode, IpCompression, IpPayload, Packet, Tnt};
use odograph_listing::packets::{PacketListing, PacketOptions, Progress};
use proptest::prelude::*;

fn trace(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        encode(packet, &mut bytes).unwrap();
    }
    bytes
}

fn options(names: &str) -> PacketOptions {
    let mut options = PacketOptions::default();
    for name in names.split_whitespace() {
        assert!(options.set(name), "{name}");
    }
    options
}

fn list_bytes(trace: &[u8], config: &TraceConfig, names: &str) -> String {
    let mut listing = PacketListing::new(config, options(names));
    let mut text = Vec::new();
    while listing.next_piece(trace, None, &mut text) != Progress::End {}
    String::from_utf8(text).unwrap()
}

fn list(packets: &[Packet], config: &TraceConfig, names: &str) -> Vec<String> {
    list_bytes(&trace(packets), config, &format!("{names} no-offset")).lines().map(str::to_owned).collect()
}

fn plain(packets: &[Packet], names: &str) -> Vec<String> {
    list(packets, &TraceConfig::default(), &format!("no-sync {names}"))
}

fn ip(compression: IpCompression, ip: u64) -> IpPayload {
    IpPayload { compression, ip }
}

/// Four TSC ticks to a crystal tick, an MTC packet every 16 crystal ticks.
fn clock() -> TraceConfig {
    TraceConfig { mtc_freq: 4, cpuid_0x15_eax: 1, cpuid_0x15_ebx: 4, ..TraceConfig::default() }
}

#[test]
fn every_payload() {
    let pwrx =
        |interrupt, store, autonomous| Packet::Pwrx { last: 0, deepest: 15, interrupt, store, autonomous };
    let cfe = |kind, vector, ip| Packet::Cfe { kind, vector, ip };
    let trig =
        |ip, icntv, mult| Packet::Trig { trbv: 0xa, icnt: if icntv { 23 } else { 0 }, ip, icntv, mult };
    let cases = [
        (Packet::Pad, "pad"),
        (Packet::Psb, "psb"),
        (Packet::Psbend, "psbend"),
        (Packet::Ovf, "ovf"),
        (Packet::Stop, "stop"),
        (Packet::Fup(ip(IpCompression::Suppressed, 0)), "fup        0: ????????????????"),
        (Packet::Tip(ip(IpCompression::Update16, 0x1002)), "tip        1: ????????????1002"),
        (Packet::TipPge(ip(IpCompression::Update32, 0x1001)), "tip.pge    2: ????????00001001"),
        (Packet::TipPgd(ip(IpCompression::Sext48, 0xffff_ffff_1000)), "tip.pgd    3: ffffffffffff1000"),
        (Packet::Tip(ip(IpCompression::Sext48, 0x1000)), "tip        3: 0000000000001000"),
        (Packet::Tip(ip(IpCompression::Update48, 0xffff_ffff_4000)), "tip        4: ????ffffffff4000"),
        (Packet::Fup(ip(IpCompression::Full, 0xcc_cccc_4000)), "fup        6: 000000cccccc4000"),
        (Packet::Tnt8(Tnt { size: 5, bits: 0b10001 }), "tnt.8      !...!"),
        (Packet::Tnt64(Tnt { size: 8, bits: 0b0110_1011 }), "tnt.64     .!!.!.!!"),
        (Packet::ModeExec { csl: true, csd: true, iflag: true }, "mode.exec  cs.d, cs.l, if"),
        (Packet::ModeExec { csl: false, csd: false, iflag: false }, "mode.exec"),
        (Packet::ModeTsx { intx: true, abrt: true }, "mode.tsx   intx, abrt"),
        (Packet::ModeTsx { intx: false, abrt: false }, "mode.tsx"),
        (
            Packet::Pip { cr3: 0xaf_afa0, nr: true },
            "pip        afafa0, nr                cr3  0000000000afafa0",
        ),
        (Packet::Vmcs { base: 0xabc_d000 }, "vmcs       abcd000                   vmcs 000000000abcd000"),
        (Packet::Tsc { tsc: 0x12345 }, "tsc        12345"),
        (Packet::Cbr { ratio: 0x24 }, "cbr        24"),
        (Packet::Tma { ctc: 0x12, fc: 0x34 }, "tma        12, 34"),
        (Packet::Mtc { ctc: 0x94 }, "mtc        94"),
        (Packet::Cyc { value: 0x57 }, "cyc        57"),
        (Packet::Mnt { payload: 0x2a22_42e5_d4c3_b2a1 }, "mnt        2a2242e5d4c3b2a1"),
        (Packet::Exstop { ip: false }, "exstop"),
        (Packet::Exstop { ip: true }, "exstop     ip"),
        (Packet::Mwait { hints: 0xb, ext: 1 }, "mwait      0000000b, 00000001"),
        (pwrx(true, false, false), "pwrx       int: c1, c0"),
        (pwrx(false, true, false), "pwrx        st: c1, c0"),
        (pwrx(false, false, true), "pwrx        hw: c1, c0"),
        (pwrx(false, false, false), "pwrx       bad: c1, c0"),
        (pwrx(true, true, false), "pwrx       bad: c1, c0"),
        (Packet::Ptw { payload: 0x90ab_cdef, plc: 0, ip: true }, "ptw        0: 90abcdef, ip"),
        (Packet::Ptw { payload: u64::MAX, plc: 1, ip: false }, "ptw        1: ffffffffffffffff"),
        (cfe(1, 14, false), "cfe        1: 14                     type intr"),
        (cfe(3, 0xf0, true), "cfe        3, ip                     type smi"),
        (cfe(5, 0xab, false), "cfe        5: ab                     type sipi"),
        (cfe(9, 16, true), "cfe        9: 16, ip                 type vmexit_intr"),
        (cfe(11, 0, false), "cfe        11                        type unknown"),
        (Packet::Evd { kind: 2, payload: 0xf0_0baa }, "evd        2: f00baa                 type vmxr"),
        (Packet::Evd { kind: 3, payload: 1 }, "evd        3: 1                      type unknown"),
        (trig(false, false, true), "trig       0a, mult"),
        (trig(true, true, true), "trig       0a, ip, mult, icnt: 23"),
    ];
    for (packet, expected) in cases {
        assert_eq!(plain(&[packet], ""), [expected]);
    }
    // The core state of a PWRE packet counts from 1, and HW is looked for where libipt looks.
    assert_eq!(
        list_bytes(&[2, 0x22, 0x08, 0xf1], &TraceConfig::default(), "no-sync no-offset"),
        "pwre       c0.2, hw\n"
    );
}

#[test]
fn columns() {
    let packets = [Packet::Psb, Packet::Fup(ip(IpCompression::Sext48, 0x1000)), Packet::Psbend];
    assert_eq!(
        list_bytes(&trace(&packets), &TraceConfig::default(), "raw"),
        "0000000000000000  02820282028202820282028202820282  psb\n\
         0000000000000010  7d001000000000                    fup        3: 0000000000001000\n\
         0000000000000017  0223                              psbend\n"
    );
    assert_eq!(plain(&packets, "quiet"), [""; 0]);
}

#[test]
fn hidden_packets() {
    let timing = [
        Packet::Tsc { tsc: 1 },
        Packet::Cbr { ratio: 1 },
        Packet::Tma { ctc: 1, fc: 1 },
        Packet::Mtc { ctc: 1 },
    ];
    let mut all = vec![Packet::Pad, Packet::Stop, Packet::Cyc { value: 1 }];
    all.extend(timing);
    assert_eq!(plain(&all, "no-timing"), ["pad", "stop"]);
    assert_eq!(plain(&all, "no-pad no-timing"), ["stop"]);
    assert_eq!(plain(&all, "no-pad no-cyc").len(), 5);
}

#[test]
fn the_last_ip() {
    let packets = [
        Packet::TipPgd(ip(IpCompression::Suppressed, 0)),
        Packet::Fup(ip(IpCompression::Full, 0x0a00_cccc_dddd_eeee)),
        Packet::Tip(ip(IpCompression::Update48, 0xffff_eeee_ffff)),
        Packet::TipPgd(ip(IpCompression::Suppressed, 0)),
        Packet::TipPge(ip(IpCompression::Update16, 0xdddd)),
        Packet::Ovf,
        Packet::Tip(ip(IpCompression::Update16, 0x1234)),
    ];
    assert_eq!(
        plain(&packets, "lastip"),
        [
            "[0: error tracking last-ip: no ip]",
            "tip.pgd    0: ????????????????       ip   <unavailable>",
            "fup        6: 0a00ccccddddeeee       ip   0a00ccccddddeeee",
            "tip        4: ????ffffeeeeffff       ip   0a00ffffeeeeffff",
            "tip.pgd    0: ????????????????       ip   <suppressed>",
            "tip.pge    1: ????????????dddd       ip   0a00ffffeeeedddd",
            "ovf",
            "tip        1: ????????????1234       ip   0000000000001234",
        ]
    );
}

#[test]
fn the_execution_mode() {
    let mode = |csl, csd| Packet::ModeExec { csl, csd, iflag: false };
    assert_eq!(
        plain(&[mode(true, false), mode(false, true), mode(false, false), mode(true, true)], "exec-mode"),
        [
            "mode.exec  cs.l                      em   64-bit",
            "mode.exec  cs.d                      em   32-bit",
            // Without a payload the name is not padded.
            "mode.exec                           em   16-bit",
            "mode.exec  cs.d, cs.l                em   unknown",
        ]
    );
}

#[test]
fn time_absolute_and_as_differences() {
    let packets = [
        Packet::Psb,
        Packet::Tsc { tsc: 0x1000 },
        Packet::Tma { ctc: 0x10, fc: 0x40 },
        Packet::Cbr { ratio: 3 },
        Packet::Psbend,
        Packet::Mtc { ctc: 2 },
        Packet::Cyc { value: 0x100 },
        Packet::Mtc { ctc: 3 },
        Packet::Cyc { value: 0x80 },
        Packet::Tsc { tsc: 0x1050 },
    ];
    assert_eq!(
        list(&packets, &clock(), "time"),
        [
            "psb",
            "tsc        1000                      tsc  0000000000001000",
            "tma        10, 40                    tsc  0000000000001000",
            "cbr        3",
            "psbend",
            "mtc        2                         tsc  0000000000001000",
            "[27: calibration error: no timing information]",
            "[27: error updating time: no calibration]",
            "cyc        100                       tsc  0000000000001000",
            "mtc        3                         tsc  0000000000001040",
            "cyc        80                        tsc  0000000000001060",
            "tsc        1050                      tsc  0000000000001050",
        ]
    );
    let deltas = list(&packets, &clock(), "time time-delta");
    let values: Vec<&str> =
        deltas.iter().filter_map(|line| line.rsplit_once(" tsc  ").map(|(_, value)| value)).collect();
    assert_eq!(values, ["+1000", "+0", "+0", "+0", "+40", "+20", "-10"]);
}

#[test]
fn cycle_ratios() {
    let packets = [
        Packet::Psb,
        Packet::Psbend,
        Packet::Tsc { tsc: 1 },
        Packet::Cbr { ratio: 16 },
        Packet::Mtc { ctc: 1 },
        Packet::Cyc { value: 0x80 },
        Packet::Mtc { ctc: 2 },
    ];
    let config = TraceConfig { nom_freq: 17, ..clock() };
    assert_eq!(
        list(&packets, &config, "tcal"),
        [
            "psb",
            "psbend",
            "[12: error printing time: no timing information]",
            "tsc        1                         fcr  <unavailable>",
            "cbr        10                        fcr  1.062",
            "mtc        1                         fcr  1.062",
            "cyc        80",
            "mtc        2                         fcr  0.500",
        ]
    );
    let deltas = list(&packets, &config, "tcal time-delta");
    let values: Vec<&str> =
        deltas.iter().filter_map(|line| line.rsplit_once(" fcr  ").map(|(_, value)| value)).collect();
    assert_eq!(values, ["<unavailable>", "+1.062", "+0.000", "-0.562"]);
}

#[test]
fn complaints_about_time() {
    let tma = Packet::Tma { ctc: 1, fc: 1 };
    let zero = Packet::Cbr { ratio: 0 };
    let mtc = |ctc| Packet::Mtc { ctc };
    let cyc = Packet::Cyc { value: 0x13 };
    let complaints = |packets: &[Packet], config: &TraceConfig, names: &str| -> Vec<String> {
        list(packets, config, &format!("no-sync quiet {names}"))
    };
    let none = TraceConfig::default();
    let nominal = TraceConfig { nom_freq: 4, ..none.clone() };
    let no_time = "[0: error printing time: no timing information]";
    let no_context = "[0: error updating time: unexpected packet context]";
    assert_eq!(complaints(&[tma], &none, ""), [""; 0]);
    assert_eq!(complaints(&[tma], &none, "time"), [no_context, no_time]);
    assert_eq!(complaints(&[tma], &none, "time no-wall-clock"), [no_context]);
    assert_eq!(complaints(&[zero], &none, "time"), ["[0: error updating time: unknown packet]"]);
    assert_eq!(
        complaints(&[zero], &nominal, "time"),
        ["[0: error calibrating time: unknown packet]", "[0: error updating time: unknown packet]"]
    );
    assert_eq!(complaints(&[zero], &nominal, "time no-tcal"), ["[0: error updating time: unknown packet]"]);
    // Without the crystal's ratio neither two MTC nor the cycles between them say anything.
    assert_eq!(
        complaints(&[mtc(1), mtc(2), cyc, mtc(3)], &none, "sideband"),
        [
            "[2: error updating time: bad configuration]",
            "[4: calibration error: no timing information]",
            "[4: error updating time: no calibration]",
            "[5: error calibrating time: bad configuration]",
            "[5: error updating time: bad configuration]",
        ]
    );
    let no_calibration = "[0: error updating time: no calibration]";
    assert_eq!(complaints(&[cyc], &none, "sideband no-tcal"), [no_calibration]);
    assert_eq!(complaints(&[cyc], &none, "sideband no-cyc"), [""; 0]);
    assert_eq!(complaints(&[cyc], &none, "sideband no-timing no-tcal"), [no_calibration]);
}

#[test]
fn overflows_keep_the_time_and_on_demand_the_calibration() {
    let cyc = Packet::Cyc { value: 0x80 };
    let packets = [Packet::Tsc { tsc: 0x1000 }, Packet::Cbr { ratio: 1 }, cyc, Packet::Ovf, cyc];
    let config = TraceConfig { nom_freq: 1, ..TraceConfig::default() };
    let kept = TraceConfig { keep_tcal_on_ovf: true, ..config.clone() };
    let last = |config| list(&packets, config, "no-sync time").pop().unwrap();
    assert!(last(&config).ends_with("1080"));
    assert!(last(&kept).ends_with("1100"));
    assert_eq!(list(&packets, &config, "no-sync sideband quiet").len(), 2);
}

#[test]
fn skl168_and_skz84_are_processors_mistakes() {
    let cpu = |model| CpuChoice::Exactly(Cpu { family: 6, model, stepping: 0 });
    let corrupt = [2, 0x73, 1, 1, 1, 1, 0, 0, 2, 0xf3];
    let of = |config: &TraceConfig| list_bytes(&corrupt, config, "no-sync");
    let xeon = TraceConfig { cpu: cpu(0x55), ..TraceConfig::default() };
    assert_eq!(of(&xeon), "0000000000000000  <invalid>\n0000000000000008  ovf\n");
    assert_eq!(of(&TraceConfig::default()), "[0: error decoding packet: unknown packet]\n");

    let mtc = |ctc| Packet::Mtc { ctc };
    let cyc = |value| Packet::Cyc { value };
    let packets = [mtc(1), cyc(0x100), mtc(2), cyc(0x80), Packet::Psb, Packet::Psbend, cyc(0x100), mtc(4)];
    let ratio = |cpu| list(&packets, &TraceConfig { cpu, ..clock() }, "no-sync tcal").pop().unwrap();
    assert!(ratio(cpu(0x5e)).ends_with("0.250"));
    assert!(ratio(CpuChoice::NoErrata).ends_with("0.332"));
}

#[test]
fn errors_go_on_at_the_next_psb() {
    // The PSB is the payload of an MNT that was cut off.
    let mut bytes = trace(&[Packet::Pad, Packet::Psb]);
    bytes.extend([2, 0xc3, 0x88]);
    bytes.extend(trace(&[Packet::Psb, Packet::Tsc { tsc: 1 }]));
    bytes.extend([2, 0xff]);
    assert_eq!(
        list_bytes(&bytes, &clock(), "no-offset time time-delta"),
        "psb\n\
         mnt        8202820282028202\n\
         [1c: error decoding packet: unknown packet]\n\
         psb\n\
         tsc        1                         tsc  +1\n\
         [2c: error decoding packet: unknown opcode]\n"
    );
    // What was known is forgotten.
    let twice = [bytes.clone(), trace(&[Packet::Psb, Packet::Psbend, Packet::Tsc { tsc: 5 }])].concat();
    let last = list_bytes(&twice, &clock(), "time time-delta no-offset");
    assert!(last.ends_with("tsc        5                         tsc  +5\n"));
    // Nothing is said about a trace without PSB, and about packets that are cut off at its end.
    assert_eq!(list_bytes(b"\x99\x01", &clock(), ""), "");
    assert_eq!(list_bytes(&trace(&[Packet::Psb])[..15], &clock(), "no-sync"), "");
    // A PSB is not found twice.
    let broken = [trace(&[Packet::Psb]), vec![2, 0xff]].concat();
    assert_eq!(
        list_bytes(&broken, &clock(), "no-offset"),
        "psb\n[10: error decoding packet: unknown opcode]\n"
    );
}

#[test]
fn a_piece_ends_where_the_time_reaches_a_limit() {
    let bytes = trace(&[
        Packet::Tsc { tsc: 5 },
        Packet::Pad,
        Packet::Tsc { tsc: 9 },
        Packet::Cbr { ratio: 1 },
        Packet::Tsc { tsc: 20 },
    ]);
    let mut listing = PacketListing::new(&TraceConfig::default(), options("no-sync no-offset sideband"));
    let mut next = |limit| {
        let mut text = Vec::new();
        let progress = listing.next_piece(&bytes, limit, &mut text);
        (progress, String::from_utf8(text).unwrap())
    };
    assert_eq!(next(Some(8)), (Progress::Reached(9), "tsc        5\npad\n".to_owned()));
    assert_eq!(next(Some(9)), (Progress::Reached(9), "tsc        9\n".to_owned()));
    assert_eq!(next(Some(20)), (Progress::Reached(20), "cbr        1\n".to_owned()));
    assert_eq!(next(None), (Progress::End, "tsc        14\n".to_owned()));
    assert_eq!(next(None), (Progress::End, String::new()));
}

#[test]
fn pieces_are_bounded() {
    let bytes = trace(&[Packet::Stop]).repeat(100_000);
    let mut listing = PacketListing::new(&TraceConfig::default(), options("no-sync"));
    let (mut count, mut lines) = (0, 0);
    loop {
        let mut text = Vec::new();
        let progress = listing.next_piece(&bytes, None, &mut text);
        assert!(text.len() < 70_000);
        lines += text.iter().filter(|&&byte| byte == b'\n').count();
        count += 1;
        if progress == Progress::End {
            break;
        }
    }
    assert_eq!(lines, 100_000);
    assert!(count > 30);
}

proptest! {
    #[test]
    fn any_bytes_are_listed_and_limits_lose_nothing(
        body in prop::collection::vec(any::<u8>(), 0..300),
        psb in 0usize..300,
        names in prop::collection::vec(prop::sample::select(vec![
            "no-sync", "quiet", "no-pad", "no-timing", "no-cyc", "no-offset", "raw", "lastip", "exec-mode",
            "time", "tcal", "time-delta", "no-tcal", "no-wall-clock", "sideband",
        ]), 0..15),
        numbers in any::<(u8, u8, u32, u32, u64)>(),
    ) {
        let mut bytes = body;
        let psb = psb.min(bytes.len());
        bytes.splice(psb..psb, trace(&[Packet::Psb]));
        let (mtc_freq, nom_freq, cpuid_0x15_eax, cpuid_0x15_ebx, limit) = numbers;
        let config =
            TraceConfig { mtc_freq, nom_freq, cpuid_0x15_eax, cpuid_0x15_ebx, ..TraceConfig::default() };
        let names = names.join(" ");
        let whole = list_bytes(&bytes, &config, &names);
        prop_assert!(whole.is_empty() || whole.ends_with('\n'));
        let mut listing = PacketListing::new(&config, options(&names));
        let mut text = Vec::new();
        for round in 0.. {
            prop_assert!(round < 2000);
            let progress = listing.next_piece(&bytes, Some(limit), &mut text);
            if let Progress::Reached(tsc) = progress {
                prop_assert!(tsc >= limit);
            }
            if progress == Progress::End {
                break;
            }
        }
        prop_assert_eq!(String::from_utf8(text).unwrap(), whole);
    }
}
