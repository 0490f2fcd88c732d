//! Errata that spoil packets: what a processor wrote, and what it meant.
//!
//! Source: Intel's specification updates; erratum names as in [`crate::cpu`].

use super::decode::{decode, BlockContext};
use super::Packet;
use crate::cpu::Errata;
use crate::error::PtError;

/// A corrupt TMA packet and the bogus byte behind it.
const CORRUPT_TMA: usize = 8;
/// A CYC packet whose second byte was replaced by the two bytes of an OVF packet.
const CUT_CYC: usize = 3;

/// As [`decode`], on a processor with these errata.
///
/// SKD007: an OVF packet that replaced the tail of a CYC packet is one OVF packet of three bytes, which begins where
/// the CYC packet began. SKZ84: a TMA packet with reserved bits set and the byte behind it are no packet: None, with
/// their size.
pub fn decode_repaired(
    bytes: &[u8],
    context: &mut BlockContext,
    errata: &Errata,
) -> Result<(Option<Packet>, usize), PtError> {
    match decode(bytes, context) {
        Err(PtError::BadPacket) if errata.skz84 && bytes.starts_with(&[0x02, 0x73]) => {
            if bytes.len() < CORRUPT_TMA {
                return Err(PtError::Eos);
            }
            Ok((None, CORRUPT_TMA))
        }
        Ok((Packet::Cyc { .. }, 2)) if errata.skd007 && bytes.get(1..CUT_CYC) == Some(&[0x02, 0xf3]) => {
            Ok((Some(Packet::Ovf), CUT_CYC))
        }
        decoded => decoded.map(|(packet, size)| (Some(packet), size)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repaired(bytes: &[u8], names: &[&str]) -> Result<(Option<Packet>, usize), PtError> {
        decode_repaired(bytes, &mut BlockContext::default(), &Errata::named(names))
    }

    #[test]
    fn skd007_gives_one_ovf_in_place_of_a_cyc() {
        for first in (0..32).map(|value| value << 3 | 0b111) {
            let bytes = [first, 0x02, 0xf3, 0x00];
            assert_eq!(repaired(&bytes, &["skd007"]), Ok((Some(Packet::Ovf), 3)));
            assert!(matches!(repaired(&bytes, &[]), Ok((Some(Packet::Cyc { .. }), 2))));
            // Another second byte, another third byte, no third byte, a longer CYC.
            for other in
                [&[first, 0x04, 0xf3][..], &[first, 0x02, 0xf2], &[first, 0x02], &[first, 0x03, 0x02, 0xf3]]
            {
                assert!(matches!(repaired(other, &["skd007"]), Ok((Some(Packet::Cyc { .. }), 2..))));
            }
        }
    }

    #[test]
    fn skz84_passes_over_a_corrupt_tma() {
        let bytes = [0x02, 0x73, 0x12, 0x34, 0xff, 1, 2, 0xcc, 0x00];
        assert_eq!(repaired(&bytes, &["skz84"]), Ok((None, 8)));
        assert_eq!(repaired(&bytes[..7], &["skz84"]), Err(PtError::Eos));
        assert_eq!(repaired(&bytes, &["skd007"]), Err(PtError::BadPacket));
    }
}
