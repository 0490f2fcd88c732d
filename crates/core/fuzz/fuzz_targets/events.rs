//! Any bytes end in an error, the fast path agrees with the slow one, and decoding can start at any PSB.
#![no_main]

use libfuzzer_sys::fuzz_target;
use odograph_core::config::{CpuChoice, TraceConfig};
use odograph_core::cpu::Cpu;
use odograph_core::error::PtError;
use odograph_core::event::{EventDecoder, EventKind, FlowItem};

fuzz_target!(|bytes: &[u8]| {
    let [choice, flags, trace @ ..] = bytes else { return };
    let models = [0x3d, 0x4e, 0x55, 0x5c, 0x7a, 0x97];
    let cpu = match models.get(usize::from(*choice) % 8) {
        Some(&model) => CpuChoice::Exactly(Cpu { family: 6, model, stepping: 0 }),
        None if choice & 8 == 0 => CpuChoice::Auto,
        None => CpuChoice::NoErrata,
    };
    let config = TraceConfig {
        cpu,
        mtc_freq: flags & 15,
        nom_freq: 12,
        cpuid_0x15_eax: 2,
        cpuid_0x15_ebx: 100,
        enable_iflags_events: flags & 16 != 0,
        keep_tcal_on_ovf: flags & 32 != 0,
        libipt_compat: flags & 64 != 0,
        ..TraceConfig::default()
    };
    let mut slow = EventDecoder::new(&config);
    let mut fast = EventDecoder::new(&config);
    let mut resumed = EventDecoder::new(&config);
    loop {
        let synced = slow.sync_forward(trace);
        assert_eq!(fast.sync_forward(trace), synced);
        if synced == Err(PtError::Eos) {
            break;
        }
        let mut psb = None;
        loop {
            let expected = slow.next(trace);
            if psb != Some(slow.sync_offset()) && expected.is_ok() {
                psb = Some(slow.sync_offset());
                // Only if this is the first event of the PSB+.
                if expected.is_ok_and(|event| event.status_update && event.offset == slow.sync_offset()) {
                    let at = slow.sync_offset();
                    resumed.resume(trace, at, &slow.psb_carry()).expect("a PSB");
                    assert_eq!(resumed.next(trace), expected);
                }
            }
            match fast.next_flow(trace) {
                FlowItem::Tnt { bits, size } => {
                    assert_eq!(expected.map(|event| event.kind), Ok(EventKind::Tnt { bits, size }));
                }
                FlowItem::Tip { ip } => {
                    assert_eq!(expected.map(|event| event.kind), Ok(EventKind::Tip { ip }));
                }
                FlowItem::Other => assert_eq!(fast.next(trace), expected),
            }
            assert_eq!((fast.tsc(), fast.has_tsc()), (slow.tsc(), slow.has_tsc()));
            if expected.is_err() {
                break;
            }
        }
    }
    let mut back = EventDecoder::new(&config);
    let mut last = None;
    while back.sync_backward(trace) != Err(PtError::Eos) {
        assert!(last.is_none_or(|last| back.sync_offset() < last));
        last = Some(back.sync_offset());
    }
});
