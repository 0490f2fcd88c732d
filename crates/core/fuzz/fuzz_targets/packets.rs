//! Any bytes are packets or an error, what can be decoded can be encoded, and PSBs are found from both ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use odograph_core::cpu::Errata;
use odograph_core::packet::{count_kinds, decode, encode, sync, BlockContext, Packet};

fuzz_target!(|bytes: &[u8]| {
    let mut context = BlockContext::default();
    let mut offset = 0;
    while let Some(rest) = bytes.get(offset..) {
        let before = context;
        let Ok((packet, size)) = decode(rest, &mut context) else { break };
        assert!(size > 0 && size <= rest.len());
        let mut again = Vec::new();
        // Reserved bits are not kept, so the bytes may differ; the packet may not.
        if encode(&packet, &mut again).is_ok() {
            let mut context = before;
            let (decoded, _) = decode(&again, &mut context).expect("our own packet");
            assert_eq!(decoded, packet);
        } else {
            assert!(matches!(packet, Packet::Trig { .. }), "{packet:?}");
        }
        offset += size;
    }
    count_kinds(bytes, &Errata::named(&["skd007", "skz84"]));
    if let Some(first) = sync::forward(bytes, 0) {
        let last = sync::backward(bytes, bytes.len()).expect("a PSB");
        assert!(last >= first);
    }
});
