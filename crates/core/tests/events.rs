//! Events: what packets mean together, by examples, and the promises of the decoder by generated traces.
//!
//! This file is long because it holds a test for each kind of event.

mod common;

use common::*;
use odograph_core::config::{CpuChoice, TraceConfig, UnknownPackets};
use odograph_core::cpu::Cpu;
use odograph_core::error::PtError;
use odograph_core::event::{Event, EventDecoder, EventKind, FlowItem};
use odograph_core::packet::{self, Packet};
use proptest::prelude::*;

/// `status` and `suppressed` as words around the kind, addresses in hex.
fn show(event: &Event) -> String {
    let mut text = format!("{:x?}", event.kind).replace(", resumed: false", "");
    if event.status_update {
        text.insert_str(0, "status ");
    }
    if event.ip_suppressed {
        text.push_str(" suppressed");
    }
    text
}

fn all_events(config: &TraceConfig, bytes: &[u8]) -> (Vec<Event>, PtError) {
    let mut decoder = EventDecoder::new(config);
    let mut events = Vec::new();
    if let Err(error) = decoder.sync_forward(bytes) {
        return (events, error);
    }
    loop {
        match decoder.next(bytes) {
            Ok(event) => events.push(event),
            Err(error) => return (events, error),
        }
    }
}

fn run_with(config: &TraceConfig, packets: &[Packet]) -> Vec<String> {
    let (events, error) = all_events(config, &trace(packets));
    let mut lines: Vec<String> = events.iter().map(show).collect();
    if error != PtError::Eos {
        lines.push(error.name().to_owned());
    }
    lines
}

/// What these packets give behind a PSB+ at 1000 in 64-bit mode.
fn on(packets: &[Packet]) -> Vec<String> {
    on_with(&TraceConfig::default(), packets)
}

fn on_with(config: &TraceConfig, packets: &[Packet]) -> Vec<String> {
    let start = [Packet::Psb, fup(0x1000), BITS64, Packet::Psbend];
    let lines = run_with(config, &[&start[..], packets].concat());
    let head = ["status Enabled { ip: 1000 }", "status ExecMode { mode: Bits64, ip: 1000 }"];
    assert_eq!(lines[..2], head);
    lines[2..].to_vec()
}

/// What these packets give behind a PSB+ with tracing off.
fn off(packets: &[Packet]) -> Vec<String> {
    off_with(&TraceConfig::default(), packets)
}

fn off_with(config: &TraceConfig, packets: &[Packet]) -> Vec<String> {
    let lines = run_with(config, &[&[Packet::Psb, Packet::Psbend], packets].concat());
    assert_eq!(lines[0], "status Disabled { ip: 0 } suppressed");
    lines[1..].to_vec()
}

fn iflags() -> TraceConfig {
    TraceConfig { enable_iflags_events: true, ..TraceConfig::default() }
}

fn on_cpu(family: u16, model: u8) -> TraceConfig {
    let cpu = CpuChoice::Exactly(Cpu { family, model, stepping: 0 });
    TraceConfig { cpu, ..TraceConfig::default() }
}

const PIP: Packet = Packet::Pip { cr3: 0xa000, nr: false };
const VMCS: Packet = Packet::Vmcs { base: 0xb000 };
const BEGIN: Packet = Packet::ModeTsx { intx: true, abrt: false };
const ABORT: Packet = Packet::ModeTsx { intx: false, abrt: true };
const NOTHING: &[&str] = &[];

fn cfe(kind: u8, ip: bool) -> Packet {
    Packet::Cfe { kind, vector: 0xe, ip }
}

fn evd(kind: u8) -> Packet {
    Packet::Evd { kind, payload: 0x99 }
}

fn pwre(state: u8) -> Packet {
    Packet::Pwre { state, sub_state: 0, hw: false }
}

const PWRX: Packet = Packet::Pwrx { last: 1, deepest: 2, interrupt: false, store: false, autonomous: true };
const MWAIT: Packet = Packet::Mwait { hints: 1, ext: 2 };

fn ptw(ip: bool) -> Packet {
    Packet::Ptw { payload: 7, plc: 1, ip }
}

#[test]
fn branches_and_switching_on_and_off() {
    assert_eq!(on(&[tip(0x2000)]), ["Tip { ip: 2000 }"]);
    assert_eq!(on(&[Packet::Tip(NONE)]), ["Tip { ip: 0 } suppressed"]);
    assert_eq!(on(&[tnt("10"), tnt("1")]), ["Tnt { bits: 2, size: 2 }", "Tnt { bits: 1, size: 1 }"]);
    assert_eq!(off(&[tip(0x2000)]), ["bad_context"]);
    assert_eq!(off(&[tnt("1")]), ["bad_context"]);
    assert_eq!(off(&[pge(0x2000)]), ["Enabled { ip: 2000 }"]);
    assert_eq!(off(&[Packet::TipPge(NONE)]), ["Enabled { ip: 0 } suppressed"]);
    assert_eq!(on(&[pgd(0x2000), tnt("1")]), ["Disabled { ip: 2000 }", "bad_context"]);
    assert_eq!(on(&[Packet::TipPgd(NONE)]), ["Disabled { ip: 0 } suppressed"]);
    assert_eq!(on(&[fup(0x1004), tip(0x2000)]), ["AsyncBranch { from: 1004, to: 2000 }"]);
    assert_eq!(on(&[fup(0x1004), Packet::Tip(NONE)]), ["AsyncBranch { from: 1004, to: 0 } suppressed"]);
    assert_eq!(on(&[fup(0x1004), pgd(0x2000)]), ["AsyncDisabled { at: 1004, ip: 2000 }"]);
    assert_eq!(on(&[Packet::Fup(NONE)]), ["ip_suppressed"]);
    assert_eq!(on(&[ptw(true), Packet::Fup(NONE)]), ["Ptwrite { ip: 0, size: 8, payload: 7 } suppressed"]);
    assert_eq!(off(&[Packet::Fup(NONE), tip(0x2000)]), ["noip"]);
}

#[test]
fn addresses_are_relative_to_the_last_one() {
    let lines = on(&[Packet::Tip(low16(0x1234)), tip(0x7f00_0000_1000), Packet::Tip(low16(0x2000))]);
    assert_eq!(lines, ["Tip { ip: 1234 }", "Tip { ip: 7f0000001000 }", "Tip { ip: 7f0000002000 }"]);
}

#[test]
fn paging_and_vmcs() {
    assert_eq!(on(&[PIP]), ["Paging { cr3: a000, non_root: false }"]);
    assert_eq!(on(&[VMCS]), ["Vmcs { base: b000 }"]);
    assert_eq!(
        on(&[fup(0x1004), PIP, VMCS, tip(0x2000)]),
        [
            "AsyncBranch { from: 1004, to: 2000 }",
            "AsyncVmcs { base: b000, ip: 2000 }",
            "AsyncPaging { cr3: a000, non_root: false, ip: 2000 }",
        ]
    );
    // In order of arrival, but VMCS takes the place of PIP, which then comes last.
    assert_eq!(
        on(&[fup(0x1004), PIP, BITS32, VMCS, tip(0x2000)]),
        [
            "AsyncBranch { from: 1004, to: 2000 }",
            "AsyncVmcs { base: b000, ip: 2000 }",
            "ExecMode { mode: Bits32, ip: 2000 }",
            "AsyncPaging { cr3: a000, non_root: false, ip: 2000 }",
        ]
    );
    assert_eq!(
        on(&[fup(0x1004), PIP, VMCS, BITS32, pgd(0x2000)]),
        [
            "AsyncDisabled { at: 1004, ip: 2000 }",
            "AsyncVmcs { base: b000, ip: 0 } suppressed",
            "AsyncPaging { cr3: a000, non_root: false, ip: 0 } suppressed",
            "ExecMode { mode: Bits32, ip: 0 } suppressed",
        ]
    );
}

#[test]
fn execution_mode() {
    assert_eq!(on(&[BITS32, tip(0x2000)]), ["Tip { ip: 2000 }", "ExecMode { mode: Bits32, ip: 2000 }"]);
    assert_eq!(
        on(&[fup(0x1004), BITS32, tip(0x2000)]),
        ["AsyncBranch { from: 1004, to: 2000 }", "ExecMode { mode: Bits32, ip: 2000 }"]
    );
    assert_eq!(on(&[BITS32, fup(0x1004)]), ["ExecMode { mode: Bits32, ip: 1004 }"]);
    assert_eq!(off(&[BITS32, pge(0x2000)]), ["Enabled { ip: 2000 }", "ExecMode { mode: Bits32, ip: 2000 }"]);
    let disabled = ["ExecMode { mode: Bits32, ip: 0 } suppressed", "Disabled { ip: 2000 }"];
    assert_eq!(on(&[BITS32, pgd(0x2000)]), disabled);
    // Nothing changed: no event, but the FUP is used up all the same.
    assert_eq!(on(&[BITS64, fup(0x1004), tip(0x2000)]), ["Tip { ip: 2000 }"]);
    assert_eq!(on(&[BITS64, pgd(0x2000)]), ["bad_context"]);
    let interrupts = Packet::ModeExec { csl: true, csd: false, iflag: true };
    assert_eq!(on(&[interrupts, pgd(0x2000)]), ["bad_context"]);
    assert_eq!(on(&[interrupts, tip(0x2000)]), ["Tip { ip: 2000 }"]);
    let lines = run_with(
        &iflags(),
        &[Packet::Psb, fup(0x1000), BITS64, Packet::Psbend, interrupts, fup(0x1004), interrupts, tip(0x2000)],
    );
    assert_eq!(
        lines,
        [
            "status Enabled { ip: 1000 }",
            "status ExecMode { mode: Bits64, ip: 1000 }",
            "status Iflags { iflag: false, ip: 1000 }",
            "Iflags { iflag: true, ip: 1004 }",
            "Tip { ip: 2000 }",
        ]
    );
}

#[test]
fn what_has_no_place_at_a_tip_pgd_comes_after_what_has() {
    let both = Packet::ModeExec { csl: false, csd: true, iflag: true };
    let changed = "ExecMode { mode: Bits32, ip: 0 } suppressed";
    assert_eq!(off_with(&iflags(), &[both, pgd(0x2000)]), [changed, "bad_context"]);
    assert_eq!(
        off_with(&iflags(), &[fup(0x1004), both, pgd(0x2000)]),
        ["AsyncDisabled { at: 1004, ip: 2000 }", changed, "bad_context"]
    );
}

#[test]
fn nothing_may_be_half_said_at_a_tip_pge() {
    for packet in [fup(0x1004), ptw(true), Packet::Exstop { ip: true }, MWAIT, pwre(1), evd(1)] {
        assert_eq!(off(&[packet, pge(0x2000)]), ["Enabled { ip: 2000 }", "bad_context"], "{packet:?}");
    }
}

#[test]
fn transactions() {
    assert_eq!(on(&[BEGIN, fup(0x1004)]), ["Tsx { ip: 1004, speculative: true, aborted: false }"]);
    assert_eq!(
        on(&[ABORT, fup(0x1004), tip(0x2000)]),
        ["Tsx { ip: 1004, speculative: false, aborted: true }", "AsyncBranch { from: 1004, to: 2000 }"]
    );
    assert_eq!(off(&[BEGIN]), ["Tsx { ip: 0, speculative: true, aborted: false } suppressed"]);
}

#[test]
fn ptwrite_and_power() {
    assert_eq!(on(&[ptw(false)]), ["Ptwrite { ip: 0, size: 8, payload: 7 } suppressed"]);
    assert_eq!(on(&[ptw(true), fup(0x1004)]), ["Ptwrite { ip: 1004, size: 8, payload: 7 }"]);
    assert_eq!(on(&[Packet::Exstop { ip: false }]), ["Exstop { ip: 0 } suppressed"]);
    assert_eq!(on(&[Packet::Exstop { ip: true }, fup(0x1004)]), ["Exstop { ip: 1004 }"]);
    assert_eq!(
        on(&[MWAIT, Packet::Exstop { ip: false }]),
        ["Mwait { ip: 0, hints: 1, ext: 2 } suppressed", "Exstop { ip: 0 } suppressed"]
    );
    assert_eq!(
        on(&[MWAIT, Packet::Exstop { ip: true }, fup(0x1004)]),
        ["Mwait { ip: 1004, hints: 1, ext: 2 }", "Exstop { ip: 1004 }"]
    );
    let woken = "Pwrx { last: 1, deepest: 2, interrupt: false, store: false, autonomous: true }";
    assert_eq!(on(&[PWRX]), [woken]);
    assert_eq!(
        on(&[pwre(3), pwre(4), PWRX]),
        ["Pwre { state: 3, sub_state: 0, hw: false }", "Pwre { state: 4, sub_state: 0, hw: false }", woken]
    );
}

#[test]
fn immediate_events() {
    assert_eq!(on(&[Packet::Cbr { ratio: 0x20 }]), ["Cbr { ratio: 20 }"]);
    assert_eq!(on(&[Packet::Cbr { ratio: 0 }]), ["bad_packet"]);
    assert_eq!(on(&[Packet::Mnt { payload: 5 }]), ["Mnt { payload: 5 }"]);
    assert_eq!(on(&[Packet::Stop]), ["Stop"]);
    assert_eq!(on(&[Packet::Pad, Packet::Mtc { ctc: 1 }, Packet::Cyc { value: 9 }]), NOTHING);
    assert_eq!(on(&[Packet::Tma { ctc: 1, fc: 1 }]), ["bad_context"]);
    assert_eq!(on(&[Packet::Psbend]), ["bad_context"]);
}

#[test]
fn triggers() {
    let trig = |ip, icntv, icnt| Packet::Trig { trbv: 1, icnt, ip, icntv, mult: false };
    assert_eq!(on(&[trig(false, true, 5)]), ["Trig { trbv: 1, icnt: 5, ip: 0, mult: false }"]);
    assert_eq!(on(&[trig(false, false, 0)]), ["Trig { trbv: 1, icnt: 0, ip: 0, mult: false } suppressed"]);
    let at = ["Trig { trbv: 1, icnt: 0, ip: 1004, mult: false }"];
    assert_eq!(on(&[trig(true, true, 0), fup(0x1004)]), at);
    assert_eq!(on(&[trig(true, false, 0)]), ["bad_packet"]);
    assert_eq!(on(&[trig(true, true, 1)]), ["bad_packet"]);
    assert_eq!(off(&[trig(false, true, 1)]), ["bad_packet"]);
}

#[test]
fn control_flow_events() {
    let interrupt = "Interrupt { vector: e, cr2: None, ip: 1004 }";
    let branch = "AsyncBranch { from: 1004, to: 2000 }";
    // With its own IP a CFE uses up the FUP, else it shares it.
    assert_eq!(on(&[cfe(1, true), fup(0x1004), tip(0x2000)]), [interrupt, "Tip { ip: 2000 }"]);
    assert_eq!(on(&[cfe(1, false), fup(0x1004), tip(0x2000)]), [interrupt, branch]);
    assert_eq!(off(&[cfe(1, false)]), ["Interrupt { vector: e, cr2: None, ip: 0 } suppressed"]);
    assert_eq!(
        on(&[evd(0), cfe(1, true), fup(0x1004)]),
        ["Interrupt { vector: e, cr2: Some(99), ip: 1004 }"]
    );
    let vmexit = ["Vmexit { vector: None, vmxr: Some(99), vmxq: Some(99), ip: 1004 }", branch];
    assert_eq!(on(&[evd(1), evd(2), cfe(8, false), fup(0x1004), tip(0x2000)]), vmexit);
    assert_eq!(
        off(&[cfe(9, false)]),
        ["Vmexit { vector: Some(e), vmxr: None, vmxq: None, ip: 0 } suppressed"]
    );
    assert_eq!(on(&[cfe(4, false), fup(0x1004), tip(0x2000)]), ["Rsm suppressed", branch]);
    assert_eq!(on(&[cfe(5, false), fup(0x1004)]), ["Sipi { vector: e } suppressed"]);
    assert_eq!(on(&[cfe(4, true)]), ["bad_packet"]);
    assert_eq!(on(&[cfe(5, true)]), ["bad_packet"]);
    for (kind, name) in [(2, "Iret"), (7, "Vmentry"), (0xa, "Shutdown"), (0xd, "Uiret"), (0xf, "Syscall")] {
        assert_eq!(on(&[cfe(kind, false)]), [format!("{name} {{ ip: 0 }} suppressed")]);
        assert_eq!(on(&[cfe(kind, true), fup(0x1004)]), [format!("{name} {{ ip: 1004 }}")]);
    }
    for (kind, name) in [(3, "Smi"), (6, "Init")] {
        assert_eq!(on(&[cfe(kind, false), fup(0x1004)]), [format!("{name} {{ ip: 1004 }}")]);
    }
    for (kind, name) in [(0xc, "Uintr"), (0xe, "Swintr")] {
        assert_eq!(on(&[cfe(kind, false), fup(0x1004)]), [format!("{name} {{ vector: e, ip: 1004 }}")]);
    }
    // Unknown types are ignored, and swallow their FUP.
    assert_eq!(on(&[cfe(0x1f, true), fup(0x1004), tip(0x2000)]), ["Tip { ip: 2000 }"]);
    assert_eq!(on(&[cfe(0x1f, false), fup(0x1004), tip(0x2000)]), [branch]);
}

#[test]
fn event_data_goes_with_its_own_control_flow_event_only() {
    for packets in [
        vec![evd(0), evd(0)],
        vec![evd(1), evd(0)],
        vec![evd(0), evd(1)],
        vec![evd(2), evd(2)],
        vec![evd(0), cfe(8, false)],
        vec![evd(1), cfe(1, false)],
        vec![evd(1), cfe(0x1f, false)],
        vec![evd(1), Packet::Psb],
    ] {
        assert_eq!(on(&packets), ["bad_context"], "{packets:?}");
    }
    assert_eq!(on(&[evd(3), tip(0x2000)]), ["Tip { ip: 2000 }"]);
}

#[test]
fn nothing_may_be_half_said_at_a_psb() {
    for packet in [fup(0x1004), BITS32, BEGIN, ptw(true), Packet::Exstop { ip: true }, MWAIT, pwre(1), evd(1)]
    {
        assert_eq!(on(&[packet, Packet::Psb, Packet::Psbend]), ["bad_context"], "{packet:?}");
    }
    // Decoding goes on at that PSB; libipt has passed it by then.
    let bytes = trace(&[Packet::Psb, Packet::Psbend, MWAIT, Packet::Psb, Packet::Psbend]);
    for (libipt_compat, again) in [(false, Ok(())), (true, Err(PtError::Eos))] {
        let mut decoder = EventDecoder::new(&TraceConfig { libipt_compat, ..TraceConfig::default() });
        decoder.sync_forward(&bytes).unwrap();
        decoder.next(&bytes).unwrap();
        assert_eq!(decoder.next(&bytes), Err(PtError::BadContext));
        assert_eq!(decoder.sync_forward(&bytes), again);
    }
}

#[test]
fn at_most_fourteen_events_wait() {
    let many = vec![pwre(1); 14];
    assert_eq!(on(&[&many[..], &[PWRX]].concat()).len(), 15);
    assert_eq!(on(&[&many[..], &[pwre(1)]].concat()), ["nomem"]);
}

#[test]
fn unknown_packets_have_the_size_that_the_caller_says() {
    let sizes = |size: Result<u64, PtError>| TraceConfig {
        unknown_packets: Some(UnknownPackets::new(move |trace, offset| {
            assert_eq!(trace[offset as usize], 0xc9);
            size
        })),
        ..TraceConfig::default()
    };
    let start = trace(&[Packet::Psb, fup(0x1000), Packet::Psbend]);
    let run = |config: &TraceConfig, middle: &[u8], behind: &[u8]| {
        let (events, error) = all_events(config, &[&start[..], middle, behind].concat());
        (events.iter().skip(1).map(show).collect::<Vec<_>>(), error)
    };
    let bit = vec!["Tnt { bits: 1, size: 1 }".to_owned()];
    let taken = trace(&[tnt("1")]);
    assert_eq!(run(&TraceConfig::default(), &[0xc9, 1, 2], &taken), (vec![], PtError::BadOpc));
    assert_eq!(run(&sizes(Ok(3)), &[0xc9, 1, 2], &taken), (bit.clone(), PtError::Eos));
    assert_eq!(run(&sizes(Ok(4)), &[0xc9, 1, 2], &[]), (vec![], PtError::Eos));
    assert_eq!(run(&sizes(Ok(0)), &[0xc9, 1, 2], &taken), (vec![], PtError::BadPacket));
    assert_eq!(run(&sizes(Ok(256)), &[0xc9, 1, 2], &[0; 300]), (vec![], PtError::Invalid));
    assert_eq!(run(&sizes(Err(PtError::BadConfig)), &[0xc9], &taken), (vec![], PtError::BadConfig));
    // Inside PSB+ nothing unknown may stand; behind an OVF it may.
    assert_eq!(run(&sizes(Ok(1)), &[&packet::PSB[..], &[0xc9]].concat(), &[]), (vec![], PtError::BadContext));
    let overflow = [0x02, 0xf3, 0xc9];
    let found = vec!["Overflow { ip: 2000 }".to_owned()];
    assert_eq!(run(&sizes(Ok(1)), &overflow, &trace(&[fup(0x2000)])), (found, PtError::Eos));
    assert_eq!(run(&sizes(Ok(0)), &overflow, &trace(&[fup(0x2000)])), (vec![], PtError::BadPacket));
}

#[test]
fn a_psb_says_how_things_are() {
    let lines = run_with(
        &TraceConfig::default(),
        &[
            Packet::Psb,
            PIP,
            BEGIN,
            VMCS,
            Packet::Cbr { ratio: 9 },
            BITS64,
            Packet::Mnt { payload: 1 },
            fup(0x5000),
            fup(0x1000),
            Packet::Psbend,
        ],
    );
    assert_eq!(
        lines,
        [
            "status Enabled { ip: 1000 }",
            "status AsyncPaging { cr3: a000, non_root: false, ip: 1000 }",
            "status Tsx { ip: 1000, speculative: true, aborted: false }",
            "status AsyncVmcs { base: b000, ip: 1000 }",
            "status Cbr { ratio: 9 }",
            "status ExecMode { mode: Bits64, ip: 1000 }",
            "Mnt { payload: 1 }",
        ]
    );
    for stray in [Packet::Psb, tip(1), tnt("1"), ptw(false), cfe(1, false), Packet::Stop] {
        assert_eq!(on(&[Packet::Psb, stray]), ["bad_context"], "{stray:?}");
    }
    assert_eq!(on(&[Packet::Psb, fup(0x1000), BITS32, Packet::Psbend]), ["bad_status_update"]);
    let lines = run_with(
        &TraceConfig::default(),
        &[Packet::Psb, Packet::Cbr { ratio: 9 }, Packet::Mnt { payload: 1 }, BEGIN, Packet::Psbend],
    );
    assert_eq!(
        lines,
        [
            "status Disabled { ip: 0 } suppressed",
            "status Cbr { ratio: 9 }",
            "Mnt { payload: 1 }",
            "status Tsx { ip: 0, speculative: true, aborted: false } suppressed",
        ]
    );
    // A FUP without an address does not say that tracing is on.
    let lines = run_with(&TraceConfig::default(), &[Packet::Psb, Packet::Fup(NONE), BITS64, Packet::Psbend]);
    assert_eq!(
        lines,
        ["status Disabled { ip: 0 } suppressed", "status ExecMode { mode: Bits64, ip: 0 } suppressed"]
    );
    let many: Vec<_> = (0..14).map(|payload| Packet::Mnt { payload }).collect();
    assert_eq!(on(&[&[Packet::Psb], &many[..], &[Packet::Psbend]].concat()), ["nomem"]);
}

#[test]
fn an_overflow_may_end_a_psb() {
    let psb = |packets: &[Packet]| run_with(&TraceConfig::default(), packets);
    assert_eq!(
        psb(&[Packet::Psb, fup(0x1000), BITS64, Packet::Ovf, fup(0x2000)]),
        [
            "status Enabled { ip: 1000 }",
            "status ExecMode { mode: Bits64, ip: 1000 }",
            "Overflow { ip: 2000 }"
        ]
    );
    assert_eq!(
        psb(&[Packet::Psb, BITS64, Packet::Ovf, pge(0x2000)]),
        [
            "status ExecMode { mode: Bits64, ip: 0 } suppressed",
            "Overflow { ip: 0 } suppressed",
            "Enabled { ip: 2000 }"
        ]
    );
}

#[test]
fn overflow_with_tracing_on_and_off() {
    let lost = "Overflow { ip: 0 } suppressed";
    assert_eq!(
        on(&[Packet::Ovf, fup(0x2000), tnt("1")]),
        ["Overflow { ip: 2000 }", "Tnt { bits: 1, size: 1 }"]
    );
    assert_eq!(
        on(&[Packet::Ovf, Packet::Fup(NONE), tnt("1")]),
        ["Overflow { ip: 0 } suppressed", "Tnt { bits: 1, size: 1 }"]
    );
    assert_eq!(on(&[Packet::Ovf]), [lost]);
    assert_eq!(on(&[Packet::Ovf, pge(0x2000)]), [lost, "Enabled { ip: 2000 }"]);
    assert_eq!(
        on(&[Packet::Ovf, Packet::Cbr { ratio: 5 }, fup(0x2000)]),
        ["Cbr { ratio: 5 }", "Overflow { ip: 2000 }"]
    );
    assert_eq!(
        on(&[Packet::Ovf, Packet::Cbr { ratio: 5 }, PIP]),
        [lost, "Cbr { ratio: 5 }", "Paging { cr3: a000, non_root: false }"]
    );
    for misplaced in [Packet::Psbend, tip(0x2000), pgd(0x2000), tnt("1")] {
        assert_eq!(on(&[Packet::Ovf, misplaced]), ["bad_context"], "{misplaced:?}");
    }
    // What waits is lost with tracing on, and reported without a place with tracing off.
    assert_eq!(
        on(&[ptw(true), pwre(3), fup(0x1004), Packet::Ovf]),
        ["Ptwrite { ip: 1004, size: 8, payload: 7 }", lost]
    );
    assert_eq!(
        off(&[ptw(true), pwre(3), BITS32, Packet::Ovf]),
        [
            "Ptwrite { ip: 0, size: 8, payload: 7 } suppressed",
            "Pwre { state: 3, sub_state: 0, hw: false }",
            "ExecMode { mode: Bits32, ip: 0 } suppressed",
            lost
        ]
    );
}

#[test]
fn times_of_waiting_events() {
    let tsc = |tsc| Packet::Tsc { tsc };
    let times = |packets: &[Packet]| -> Vec<(bool, u64)> {
        let start = [Packet::Psb, tsc(0x10), fup(0x1000), tsc(0x20), Packet::Psbend];
        let (events, _) = all_events(&TraceConfig::default(), &trace(&[&start[..], packets].concat()));
        assert_eq!((events[0].has_tsc, events[0].tsc), (true, 0x20));
        events[1..].iter().map(|event| (event.has_tsc, event.tsc)).collect()
    };
    assert_eq!(times(&[ptw(true), tsc(0x30), fup(0x1004)]), [(true, 0x30)]);
    assert_eq!(times(&[pwre(1), tsc(0x30), PWRX]), [(true, 0x20), (true, 0x30)]);
    assert_eq!(times(&[Packet::Ovf, tsc(0x30), fup(0x1004)]), [(true, 0x20)]);
    let off = [pgd(0), ptw(true), pwre(1), tsc(0x30), Packet::Ovf];
    assert_eq!(times(&off), [(true, 0x20), (false, 0), (true, 0x20), (true, 0x30)]);
}

#[test]
fn a_block_is_passed_over_with_the_fup_of_its_end() {
    let block = [
        Packet::Bbp { short: false, kind: 1 },
        Packet::Bip { id: 1, short: false, payload: 7 },
        Packet::Bep { ip: true },
        fup(0x1004),
        tip(0x2000),
    ];
    assert_eq!(on(&block), ["Tip { ip: 2000 }"]);
    let libipt = TraceConfig { libipt_compat: true, ..TraceConfig::default() };
    assert_eq!(on_with(&libipt, &block), ["bad_opc"]);
}

#[test]
fn bdm70_a_stray_fup_before_a_tip_pge() {
    let packets = [Packet::Psb, fup(0x1000), BITS64, Packet::Psbend, Packet::Mtc { ctc: 1 }, pge(0x1000)];
    let repaired = [
        "status Disabled { ip: 0 } suppressed",
        "status ExecMode { mode: Bits64, ip: 0 } suppressed",
        "Enabled { ip: 1000 }",
    ];
    assert_eq!(run_with(&on_cpu(6, 0x3d), &packets), repaired);
    // The stream shows it too, if the addresses are the same, however they are compressed.
    assert_eq!(run_with(&TraceConfig::default(), &packets), repaired);
    let compressed = [Packet::Psb, fup(0x7f00_1000), Packet::Psbend, Packet::TipPge(low16(0x1000))];
    let lines = run_with(&TraceConfig::default(), &compressed);
    assert_eq!(lines, ["status Disabled { ip: 0 } suppressed", "Enabled { ip: 7f001000 }"]);
    let none = TraceConfig { cpu: CpuChoice::NoErrata, ..TraceConfig::default() };
    assert_eq!(run_with(&none, &packets)[0], "status Enabled { ip: 1000 }");
    let elsewhere = [Packet::Psb, fup(0x1000), Packet::Psbend, pge(0x2000)];
    assert_eq!(run_with(&TraceConfig::default(), &elsewhere)[0], "status Enabled { ip: 1000 }");
    assert_eq!(run_with(&on_cpu(6, 0x3d), &elsewhere)[0], "status Disabled { ip: 0 } suppressed");
    // libipt forgets the address of the stray FUP.
    let libipt = TraceConfig { libipt_compat: true, ..on_cpu(6, 0x3d) };
    assert_eq!(run_with(&libipt, &compressed)[1], "Enabled { ip: 1000 }");
}

#[test]
fn skd007_an_overflow_in_the_tail_of_a_cyc() {
    let mut bytes = trace(&[Packet::Psb, fup(0x1000), Packet::Psbend]);
    bytes.extend([0x07, 0x02, 0xf3]);
    bytes.extend(trace(&[fup(0x2000)]));
    let (events, error) = all_events(&on_cpu(6, 0x4e), &bytes);
    assert_eq!((show(&events[1]).as_str(), error), ("Overflow { ip: 2000 }", PtError::Eos));
}

#[test]
fn skd010_the_fup_behind_an_overflow_is_missing() {
    let skylake = on_cpu(6, 0x4e);
    let lost = "Overflow { ip: 0 } suppressed";
    let found = "Overflow { ip: 2000 }";
    let bit = "Tnt { bits: 1, size: 1 }";
    assert_eq!(on_with(&skylake, &[Packet::Ovf, BITS64, tip(0x2000), tnt("1")]), [found, bit]);
    assert_eq!(
        on_with(&skylake, &[Packet::Ovf, PIP, fup(0x2000), tip(0x3000)]),
        [found, "AsyncBranch { from: 2000, to: 3000 }"]
    );
    assert_eq!(
        on_with(&skylake, &[Packet::Ovf, BEGIN, fup(0x2000), tnt("1")]),
        [found, "Tsx { ip: 2000, speculative: true, aborted: false }", bit]
    );
    assert_eq!(on_with(&skylake, &[Packet::Ovf, pgd(0x2000), pge(0x3000)]), [lost, "Enabled { ip: 3000 }"]);
    assert_eq!(
        on_with(&skylake, &[Packet::Ovf, Packet::Psb, fup(0x2000), Packet::Psbend]),
        [found, "status Enabled { ip: 2000 }"]
    );
    assert_eq!(
        on_with(&skylake, &[Packet::Ovf, Packet::Psb, Packet::Psbend]),
        [lost, "status Disabled { ip: 0 } suppressed"]
    );
    assert_eq!(on_with(&skylake, &[Packet::Ovf, tnt("1")]), ["bad_context"]);
}

#[test]
fn apl11_a_stray_tip_pgd_behind_an_overflow() {
    let goldmont = on_cpu(6, 0x7a);
    let packets = [Packet::Ovf, Packet::Mnt { payload: 1 }, pgd(0x2000), pge(0x3000)];
    assert_eq!(on_with(&goldmont, &packets), ["Overflow { ip: 0 } suppressed", "Enabled { ip: 3000 }"]);
    assert_eq!(on_with(&goldmont, &[Packet::Ovf, tip(0x2000)]), ["bad_context"]);
}

#[test]
fn apl12_a_stray_fup_behind_an_overflow() {
    let apollo = on_cpu(6, 0x5c);
    let lost = "Overflow { ip: 0 } suppressed";
    assert_eq!(
        on_with(&apollo, &[Packet::Ovf, fup(0x2000), VMCS, BITS64, pge(0x3000)]),
        [lost, "Vmcs { base: b000 }", "Enabled { ip: 3000 }", "ExecMode { mode: Bits64, ip: 3000 }"]
    );
    assert_eq!(
        on_with(&apollo, &[Packet::Ovf, fup(0x2000), Packet::Psb, Packet::Psbend]),
        [lost, "status Disabled { ip: 0 } suppressed"]
    );
    let kept = ["Overflow { ip: 2000 }", "Tnt { bits: 1, size: 1 }"];
    assert_eq!(on_with(&apollo, &[Packet::Ovf, fup(0x2000), tnt("1")]), kept);
    // A PSB+ that the end of the trace cuts off does not tell.
    let mut bytes = trace(&[Packet::Psb, Packet::Psbend, Packet::Ovf, fup(0x2000), Packet::Psb]);
    let (events, _) = all_events(&apollo, &bytes);
    assert_eq!(events.last().map(show).unwrap(), "Overflow { ip: 2000 }");
    bytes.extend(trace(&[Packet::Cbr { ratio: 9 }]));
    let (events, _) = all_events(&apollo, &bytes);
    assert_eq!(events.last().map(show).unwrap(), "Overflow { ip: 2000 }");
}

#[test]
fn skz84_a_corrupt_tma_and_the_byte_behind_it() {
    let mut bytes = trace(&[Packet::Psb, fup(0x1000), Packet::Psbend]);
    bytes.extend([0x02, 0x73, 1, 1, 1, 1, 0, 0xff]);
    bytes.extend(trace(&[tip(0x2000)]));
    let (events, error) = all_events(&on_cpu(6, 0x55), &bytes);
    assert_eq!((show(&events[1]).as_str(), error), ("Tip { ip: 2000 }", PtError::Eos));
    assert_eq!(all_events(&TraceConfig::default(), &bytes).1, PtError::BadPacket);
}

#[test]
fn synchronising() {
    let part = [Packet::Psb, fup(0x1000), Packet::Psbend, tnt("1")];
    let bytes = trace(&[&part[..], &[Packet::Pad, Packet::Pad], &part, &[Packet::Psb]].concat());
    let size = trace(&part).len() as u64;
    let mut decoder = EventDecoder::new(&TraceConfig::default());
    assert_eq!(decoder.next(&bytes), Err(PtError::Nosync));
    assert_eq!(decoder.sync_set(&bytes, 1), Err(PtError::Nosync));
    assert_eq!(decoder.sync_set(&bytes, bytes.len() as u64), Err(PtError::Eos));
    assert_eq!(decoder.sync_set(&bytes, bytes.len() as u64 - 15), Err(PtError::Nosync));
    assert_eq!(decoder.sync_set(&bytes[..15], 0), Err(PtError::Eos));
    assert_eq!(decoder.sync_set(&[&bytes[..15], &[0]].concat(), 0), Err(PtError::BadPacket));
    assert_eq!(decoder.sync_set(&bytes, bytes.len() as u64 + 1), Err(PtError::Eos));
    // PADs in front do not matter.
    assert_eq!(decoder.sync_set(&bytes, size), Ok(()));
    assert_eq!(decoder.sync_offset(), size + 2);
    // Events of PSB+ are not delivered yet: the decoder stands on PSBEND, until another event is asked for.
    assert_eq!(decoder.offset(), size + 2 + size - 3);
    decoder.next(&bytes).unwrap();
    assert_eq!(decoder.offset(), size + 2 + size - 3);
    decoder.next(&bytes).unwrap();
    assert_eq!(decoder.offset(), size + 2 + size);
    // The last PSB+ is cut off.
    assert_eq!(decoder.sync_forward(&bytes), Err(PtError::Eos));
    assert_eq!(decoder.next(&bytes), Err(PtError::Eos));
    assert_eq!(decoder.sync_backward(&bytes), Ok(()));
    assert_eq!(decoder.sync_offset(), size + 2);
    assert_eq!(decoder.sync_backward(&bytes), Ok(()));
    assert_eq!(decoder.sync_offset(), 0);
    assert_eq!(decoder.sync_backward(&bytes), Err(PtError::Eos));
    assert_eq!(decoder.sync_offset(), 0);
    let mut fresh = EventDecoder::new(&TraceConfig::default());
    assert_eq!(fresh.sync_backward(&bytes), Ok(()));
    assert_eq!(fresh.sync_offset(), size + 2);
    // Only if asked to, a PSB+ that is cut off is an error.
    let mut strict = EventDecoder::new(&TraceConfig::default());
    assert_eq!(strict.sync_backward_to_any(&bytes), Err(PtError::Eos));
    assert_eq!(strict.sync_offset(), 2 * (size + 1));
    assert_eq!(strict.sync_backward_to_any(&bytes), Ok(()));
    assert_eq!(strict.sync_offset(), size + 2);
}

#[test]
fn a_run_of_psbs_can_be_entered_at_its_head() {
    let bytes = [&packet::PSB[..], &trace(&[Packet::Psb, fup(0x1000), Packet::Psbend])].concat();
    let mut decoder = EventDecoder::new(&TraceConfig::default());
    assert_eq!(decoder.sync_set(&bytes, 0), Err(PtError::BadContext));
    assert_eq!(decoder.sync_forward(&bytes), Ok(()));
    assert_eq!(decoder.sync_offset(), 16);
}

#[test]
fn padding_behind_a_packet_belongs_to_it() {
    let bytes =
        trace(&[Packet::Psb, fup(0x1000), Packet::Psbend, tnt("1"), Packet::Pad, Packet::Pad, tnt("0")]);
    let mut decoder = EventDecoder::new(&TraceConfig::default());
    decoder.sync_forward(&bytes).unwrap();
    decoder.next(&bytes).unwrap();
    decoder.next(&bytes).unwrap();
    assert_eq!(decoder.offset(), bytes.len() as u64 - 1);
}

#[test]
fn errors_stay_until_the_decoder_is_synchronised_again() {
    let broken = [&trace(&[Packet::Psb, fup(0x1000), Packet::Psbend])[..], &[0xc9]].concat();
    let bytes = [&broken[..], &trace(&[Packet::Psb, Packet::Psbend])].concat();
    let mut decoder = EventDecoder::new(&TraceConfig::default());
    decoder.sync_forward(&bytes).unwrap();
    decoder.next(&bytes).unwrap();
    for _ in 0..3 {
        assert_eq!(decoder.next(&bytes), Err(PtError::BadOpc));
        assert_eq!(decoder.next_flow(&bytes), FlowItem::Other);
    }
    assert_eq!(decoder.offset(), broken.len() as u64 - 1);
    decoder.sync_forward(&bytes).unwrap();
    assert_eq!(decoder.sync_offset(), broken.len() as u64);
}

/// PSB+, then packets that mostly make sense.
fn some_trace() -> impl Strategy<Value = Vec<u8>> {
    let likely = prop_oneof![
        6 => prop::sample::select(vec![tnt("1"), tnt("10"), tip(0x2000), Packet::Tip(low16(0x10)), Packet::Pad]),
        3 => prop::sample::select(vec![
            Packet::Mtc { ctc: 3 },
            Packet::Cyc { value: 40 },
            Packet::Cyc { value: 4 },
            Packet::Tsc { tsc: 0x5000 },
        ]),
        1 => prop::sample::select(vec![fup(0x1000), pge(0x1000), pgd(0x1000), BITS64, BITS32, Packet::Ovf]),
        1 => Just(Packet::Psb),
        1 => any_packet(),
    ];
    let pieces = prop::collection::vec(
        prop_oneof![
            20 => likely.prop_map(|packet| trace(&[packet])),
            2 => Just(trace(&[Packet::Psb, fup(0x1000), Packet::Psbend])),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ],
        0..60,
    );
    pieces.prop_map(|pieces| [trace(&[Packet::Psb, fup(0x1000), Packet::Psbend]), pieces.concat()].concat())
}

/// An event without what the fast path does not say.
fn bare(event: &Event) -> (EventKind, u64, bool, bool) {
    (event.kind, event.tsc, event.has_tsc, event.ip_suppressed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn the_fast_path_gives_the_same_events(
        bytes in some_trace(),
        choices in prop::collection::vec(0..2u8, 1..20),
        cpu in prop::sample::select(vec![0x00u8, 0x3d, 0x4e, 0x5c, 0x7a]),
    ) {
        let cpu = if cpu == 0 { CpuChoice::Auto } else { on_cpu(6, cpu).cpu };
        let config = TraceConfig { cpu, mtc_freq: 3, cpuid_0x15_eax: 2, cpuid_0x15_ebx: 100, nom_freq: 12,
            ..TraceConfig::default() };
        let (expected, error) = all_events(&config, &bytes);
        let mut decoder = EventDecoder::new(&config);
        prop_assert!(decoder.sync_forward(&bytes).is_ok() || expected.is_empty());
        let mut found = Vec::new();
        for choice in choices.iter().cycle() {
            let fast = match choice {
                0 => decoder.next_flow(&bytes),
                _ => FlowItem::Other,
            };
            let (tsc, has_tsc) = (decoder.tsc(), decoder.has_tsc());
            match fast {
                FlowItem::Tnt { bits, size } => found.push((EventKind::Tnt { bits, size }, tsc, has_tsc, false)),
                FlowItem::Tip { ip } => found.push((EventKind::Tip { ip }, tsc, has_tsc, false)),
                FlowItem::Other => match decoder.next(&bytes) {
                    Ok(event) => found.push(bare(&event)),
                    Err(last) => {
                        prop_assert_eq!(last, error);
                        break;
                    }
                },
            }
        }
        prop_assert_eq!(found, expected.iter().map(bare).collect::<Vec<_>>());
    }

    #[test]
    fn a_decoder_resumed_at_a_psb_goes_on_as_if_it_had_never_stopped(bytes in some_trace(), stop in 0..40usize) {
        let config = TraceConfig { mtc_freq: 3, cpuid_0x15_eax: 2, cpuid_0x15_ebx: 100, nom_freq: 12,
            ..TraceConfig::default() };
        let mut decoder = EventDecoder::new(&config);
        if decoder.sync_forward(&bytes).is_ok() {
            for _ in 0..stop {
                if decoder.next(&bytes).is_err() {
                    break;
                }
            }
            let psb = decoder.sync_offset();
            let mut resumed = EventDecoder::new(&config);
            resumed.resume(&bytes, psb, &decoder.psb_carry()).unwrap();
            let (all, _) = all_events(&config, &bytes);
            let behind = all.iter().filter(|event| event.offset >= psb);
            // What waited when the PSB came is an error for one and unknown to the other.
            for event in behind {
                prop_assert_eq!(resumed.next(&bytes), Ok(*event));
            }
        }
    }

    #[test]
    fn any_bytes_end_in_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), model in any::<u8>()) {
        let bytes = [trace(&[Packet::Psb]), bytes].concat();
        let mut decoder = EventDecoder::new(&on_cpu(6, model));
        let mut count = 0;
        loop {
            match decoder.sync_forward(&bytes) {
                Err(PtError::Eos) => break,
                _ => while decoder.next(&bytes).is_ok() {
                    count += 1;
                },
            }
            prop_assert!(count < 10_000);
        }
    }
}
