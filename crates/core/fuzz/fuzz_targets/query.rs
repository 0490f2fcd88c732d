//! Any bytes, asked in any order, end in an error; asked as the status says, the answers are the events.
#![no_main]

use libfuzzer_sys::fuzz_target;
use odograph_core::config::{CpuChoice, TraceConfig};
use odograph_core::cpu::Cpu;
use odograph_core::error::PtError;
use odograph_core::event::{Event, EventDecoder, EventKind, QueryDecoder, Status};
use odograph_core::packet;

fn matched(events: &mut EventDecoder, queries: &mut QueryDecoder, trace: &[u8], mut status: Status) {
    loop {
        match events.next(trace) {
            Ok(Event { kind: EventKind::Tnt { bits, size }, .. }) => {
                for bit in (0..size).rev() {
                    let (taken, next) = queries.cond_branch(trace).expect("a bit");
                    assert_eq!(taken, bits >> bit & 1 != 0);
                    status = next;
                }
            }
            Ok(Event { kind: EventKind::Tip { ip }, ip_suppressed, .. }) => {
                let (target, next) = queries.indirect_branch(trace).expect("a target");
                assert_eq!(target, (!ip_suppressed).then_some(ip));
                status = next;
            }
            Ok(event) => {
                assert!(status.event_pending());
                let (found, next) = queries.event(trace).expect("an event");
                assert_eq!((found, queries.time()), (event, event.time()));
                status = next;
            }
            Err(error) => {
                assert_eq!(status.eos(), error == PtError::Eos);
                assert_eq!(queries.event(trace), Err(error));
                return;
            }
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [choice, flags, rest @ ..] = bytes else { return };
    // Finding a PSB takes a fuzzer long.
    let start = [&packet::PSB[..], &[0x7d, 0, 0x10, 0, 0, 0, 0, 0x02, 0x23]].concat();
    let trace = &match choice & 16 {
        0 => [&start, rest].concat(),
        _ => rest.to_vec(),
    };
    let models = [0x3d, 0x4e, 0x55, 0x5c, 0x7a, 0x97];
    let cpu = models.get(usize::from(*choice) % 8).map(|&model| Cpu { family: 6, model, stepping: 0 });
    let config = TraceConfig {
        cpu: cpu.map_or(CpuChoice::NoErrata, CpuChoice::Exactly),
        mtc_freq: flags & 15,
        cpuid_0x15_eax: 2,
        cpuid_0x15_ebx: 100,
        enable_iflags_events: flags & 16 != 0,
        libipt_compat: flags & 32 != 0,
        ..TraceConfig::default()
    };
    let mut events = EventDecoder::new(&config);
    let mut queries = QueryDecoder::new(&config);
    loop {
        let synced = events.sync_forward(trace);
        let started = queries.sync_forward(trace);
        assert_eq!(started.map(|_| ()), synced);
        match started {
            Err(PtError::Eos) => break,
            Err(error) => assert_eq!(queries.event(trace), Err(error)),
            Ok((_, status)) => matched(&mut events, &mut queries, trace, status),
        }
    }
    // In an order that means nothing, which the trace itself gives.
    let _ = queries.sync_set(trace, 0).or_else(|_| queries.sync_forward(trace));
    for question in trace.iter().chain(&[0; 64]) {
        match question % 5 {
            0 => drop(queries.cond_branch(trace)),
            1 => drop(queries.indirect_branch(trace)),
            2 => drop(queries.event(trace)),
            3 => drop(queries.next(trace)),
            _ => drop(queries.sync_backward(trace)),
        }
    }
});
