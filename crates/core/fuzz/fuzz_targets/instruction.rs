//! Any bytes in any mode: no panic, a size within the bytes, and honest truncation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use odograph_core::instruction::{decode, ExecMode, Undecoded, MAX_SIZE};

fuzz_target!(|bytes: &[u8]| {
    for mode in [ExecMode::Unknown, ExecMode::Bits16, ExecMode::Bits32, ExecMode::Bits64] {
        match decode(bytes, mode) {
            Ok(found) => {
                let size = usize::from(found.size);
                assert!((1..=MAX_SIZE.min(bytes.len())).contains(&size));
                for end in 0..size {
                    assert_eq!(decode(&bytes[..end], mode), Err(Undecoded::Truncated));
                }
            }
            Err(Undecoded::Truncated) => assert!(bytes.len() < MAX_SIZE),
            Err(Undecoded::Invalid) => {
                // More bytes behind do not help.
                let mut longer = bytes.to_vec();
                longer.extend([0xc0; MAX_SIZE]);
                assert_eq!(decode(&longer, mode), Err(Undecoded::Invalid));
            }
        }
    }
});
