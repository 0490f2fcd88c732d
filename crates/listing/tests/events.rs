//! The lines of events, with and without their addresses.

use odograph_core::event::{Event, EventKind};
use odograph_core::instruction::ExecMode;
use odograph_listing::instructions::{event_line, EventColumns};

fn event(kind: EventKind) -> Event {
    Event {
        kind,
        ip_suppressed: false,
        status_update: false,
        tsc: 0xa08,
        has_tsc: true,
        lost_mtc: 0,
        lost_cyc: 0,
        offset: 0,
    }
}

fn line(event: &Event, columns: EventColumns, offset: Option<u64>) -> String {
    let mut out = Vec::new();
    event_line(&mut out, event, columns, offset);
    String::from_utf8(out).expect("text")
}

const PLAIN: EventColumns = EventColumns { time: false, ip: false };
const IPS: EventColumns = EventColumns { time: false, ip: true };

/// The line without addresses, with them, and with them where the IP is suppressed.
fn lines(kind: EventKind) -> [String; 3] {
    let known = event(kind);
    let suppressed = Event { ip_suppressed: true, ..known };
    [line(&known, PLAIN, None), line(&known, IPS, None), line(&suppressed, IPS, None)]
        .map(|line| line.trim_end().to_owned())
}

#[test]
fn columns_stand_inside_the_bracket() {
    let tick = event(EventKind::Tick { ip: 0x1000 });
    let time = EventColumns { time: true, ip: false };
    assert_eq!(line(&tick, time, None), "[0000000000000a08  tick]\n");
    assert_eq!(line(&tick, time, Some(0x1f)), "[000000000000001f  0000000000000a08  tick]\n");
    assert_eq!(line(&Event { has_tsc: false, ..tick }, time, None), "[tick]\n");
}

#[test]
fn tracing_on_and_off() {
    let ip = 0x1000;
    let with_ip = "[enabled, ip: 0000000000001000]";
    assert_eq!(lines(EventKind::Enabled { ip, resumed: false }), ["[enabled]", with_ip, with_ip]);
    assert_eq!(lines(EventKind::Enabled { ip, resumed: true })[0], "[resumed]");
    assert_eq!(
        lines(EventKind::Disabled { ip }),
        ["[disabled]", "[disabled, ip: 0000000000001000]", "[disabled]"]
    );
    assert_eq!(
        lines(EventKind::AsyncDisabled { at: 0x2000, ip }),
        [
            "[disabled]",
            "[disabled, at: 0000000000002000, ip: 0000000000001000]",
            "[disabled, at: 0000000000002000]"
        ]
    );
    assert_eq!(lines(EventKind::Stop), ["[stopped]"; 3]);
    assert_eq!(
        lines(EventKind::Overflow { ip }),
        ["[overflow]", "[overflow, ip: 0000000000001000]", "[overflow]"]
    );
}

#[test]
fn branches_and_address_spaces() {
    assert_eq!(
        lines(EventKind::AsyncBranch { from: 0x2000, to: 0x1000 }),
        [
            "[interrupt]",
            "[interrupt, from: 0000000000002000, to: 0000000000001000]",
            "[interrupt, from: 0000000000002000]"
        ]
    );
    let paging = "[paging, cr3: 000000000000a000]";
    assert_eq!(lines(EventKind::Paging { cr3: 0xa000, non_root: false }), [paging; 3]);
    let in_guest = lines(EventKind::AsyncPaging { cr3: 0xa000, non_root: true, ip: 0x1000 });
    let with_ip = "[paging, cr3: 000000000000a000, nr, ip: 0000000000001000]";
    assert_eq!(in_guest, ["[paging, cr3: 000000000000a000, nr]", with_ip, with_ip]);
    assert_eq!(lines(EventKind::Vmcs { base: 0xb000 }), ["[vmcs, base: 000000000000b000]"; 3]);
    assert_eq!(
        lines(EventKind::AsyncVmcs { base: 0xb000, ip: 0x1000 })[1],
        "[vmcs, base: 000000000000b000, ip: 0000000000001000]"
    );
}

#[test]
fn modes_and_transactions() {
    let mode = |mode| lines(EventKind::ExecMode { mode, ip: 0x1000 });
    assert_eq!(
        mode(ExecMode::Bits64),
        ["[exec mode: 64-bit]", "[exec mode: 64-bit, ip: 0000000000001000]", "[exec mode: 64-bit]"]
    );
    assert_eq!(mode(ExecMode::Bits32)[0], "[exec mode: 32-bit]");
    assert_eq!(mode(ExecMode::Bits16)[0], "[exec mode: 16-bit]");
    assert_eq!(mode(ExecMode::Unknown)[0], "[exec mode: <unknown>]");
    let tsx = |speculative, aborted| lines(EventKind::Tsx { ip: 0x1000, speculative, aborted })[0].clone();
    assert_eq!(tsx(true, false), "[begin transaction]");
    assert_eq!(tsx(false, false), "[committed]");
    assert_eq!(tsx(false, true), "[aborted]");
    assert_eq!(tsx(true, true), "[aborted]");
}

#[test]
fn power() {
    assert_eq!(
        lines(EventKind::Mwait { ip: 0x1000, hints: 0x50, ext: 1 }),
        ["[mwait 50 1]", "[mwait 50 1, ip: 0000000000001000]", "[mwait 50 1]"]
    );
    assert_eq!(lines(EventKind::Exstop { ip: 0x1000 })[1], "[exstop, ip: 0000000000001000]");
    assert_eq!(lines(EventKind::Pwre { state: 5, sub_state: 15, hw: true }), ["[pwre c6.0 hw]"; 3]);
    assert_eq!(lines(EventKind::Pwre { state: 0, sub_state: 0, hw: false }), ["[pwre c1.1]"; 3]);
    let pwrx = |interrupt, store, autonomous| {
        lines(EventKind::Pwrx { last: 0, deepest: 15, interrupt, store, autonomous })[0].clone()
    };
    assert_eq!(pwrx(true, false, false), "[pwrx int: c1 (c0)]");
    assert_eq!(pwrx(false, true, false), "[pwrx st: c1 (c0)]");
    assert_eq!(pwrx(false, false, true), "[pwrx hw: c1 (c0)]");
}

#[test]
fn values() {
    assert_eq!(
        lines(EventKind::Ptwrite { ip: 0x1000, size: 8, payload: 0xabcd }),
        ["[ptwrite: abcd]", "[ptwrite: abcd, ip: 0000000000001000]", "[ptwrite: abcd]"]
    );
    assert_eq!(lines(EventKind::Cbr { ratio: 0x1f }), ["[cbr: 1f]"; 3]);
    assert_eq!(lines(EventKind::Mnt { payload: 0xa }), ["[mnt: a]"; 3]);
    let trig = |icnt, mult| lines(EventKind::Trig { trbv: 0xa, icnt, ip: 0x1000, mult });
    assert_eq!(trig(0, false), ["[trig 0a]", "[trig 0a, ip: 0000000000001000]", "[trig 0a]"]);
    assert_eq!(trig(3, true)[1], "[trig 0a, mult, ip: 0000000000001000, icnt: 3]");
    assert_eq!(lines(EventKind::Tip { ip: 0x1000 })[0], "[tip: 1000]");
    assert_eq!(lines(EventKind::Tnt { bits: 0b011, size: 3 })[0], "[tnt: .!!]");
}

#[test]
fn event_trace() {
    let ip = 0x1000;
    let iflags = |iflag| lines(EventKind::Iflags { iflag, ip });
    assert_eq!(iflags(true)[1], "[interrupts enabled, ip: 0000000000001000]");
    assert_eq!(iflags(false)[2], "[interrupts disabled]");
    assert_eq!(
        lines(EventKind::Interrupt { vector: 14, cr2: Some(0xf00), ip }),
        [
            "[interrupt 14, cr2: 0000000000000f00]",
            "[interrupt 14, cr2: 0000000000000f00, ip: 0000000000001000]",
            "[interrupt 14, cr2: 0000000000000f00]"
        ]
    );
    assert_eq!(lines(EventKind::Interrupt { vector: 128, cr2: None, ip })[0], "[interrupt 128]");
    assert_eq!(
        lines(EventKind::Vmexit { vector: Some(14), vmxr: Some(0xa), vmxq: Some(0xb), ip })[1],
        "[vmexit, intr: 14, vmxr: 000000000000000a, vmxq: 000000000000000b, ip: 0000000000001000]"
    );
    assert_eq!(lines(EventKind::Vmexit { vector: None, vmxr: None, vmxq: None, ip })[2], "[vmexit]");
    assert_eq!(lines(EventKind::Sipi { vector: 0xce }), ["[sipi: ce]"; 3]);
    assert_eq!(lines(EventKind::Rsm), ["[rsm]"; 3]);
    assert_eq!(lines(EventKind::Uintr { vector: 4, ip })[1], "[uintr 4, ip: 0000000000001000]");
    assert_eq!(lines(EventKind::Swintr { vector: 3, ip })[1], "[swintr 3, ip: 0000000000001000]");
    let words = [
        (EventKind::Iret { ip }, "iret"),
        (EventKind::Smi { ip }, "smi"),
        (EventKind::Init { ip }, "init"),
        (EventKind::Vmentry { ip }, "vmentry"),
        (EventKind::Shutdown { ip }, "shutdown"),
        (EventKind::Uiret { ip }, "uiret"),
        (EventKind::Syscall { ip }, "syscall"),
    ];
    for (kind, word) in words {
        let plain = format!("[{word}]");
        assert_eq!(lines(kind), [plain.clone(), format!("[{word}, ip: 0000000000001000]"), plain]);
    }
}
