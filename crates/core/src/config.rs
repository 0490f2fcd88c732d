//! What a decoder has to be told because the trace does not say it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

use crate::error::PtError;

pub use crate::cpu::CpuChoice;

/// One address filter range; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterRange {
    /// True for a TraceStop range, false for a range that is traced.
    pub stop: bool,
    /// First address.
    pub first: u64,
    /// Last address, included.
    pub last: u64,
}

type SizeAt = dyn Fn(&[u8], u64) -> Result<u64, PtError> + Send + Sync;

/// Says how large packets with unknown opcodes are.
#[derive(Clone)]
pub struct UnknownPackets(Arc<SizeAt>);

impl UnknownPackets {
    /// `size` gets a trace and the offset of an unknown opcode in it, and gives the packet's size in bytes.
    pub fn new(size: impl Fn(&[u8], u64) -> Result<u64, PtError> + Send + Sync + 'static) -> Self {
        UnknownPackets(Arc::new(size))
    }

    /// The size of the packet at `offset`, 0 to 255. `invalid` if it would be larger, `eos` if it does not end
    /// inside the trace, and the error that the caller's function returned.
    pub fn size(&self, trace: &[u8], offset: usize) -> Result<usize, PtError> {
        let size = usize::from(u8::try_from((self.0)(trace, offset as u64)?).map_err(|_| PtError::Invalid)?);
        if trace.len().saturating_sub(offset) < size {
            return Err(PtError::Eos);
        }
        Ok(size)
    }
}

impl fmt::Debug for UnknownPackets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnknownPackets")
    }
}

impl PartialEq for UnknownPackets {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for UnknownPackets {}

/// Decoder configuration. Zero means unknown, as in libipt's `pt_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceConfig {
    /// Errata selection.
    pub cpu: CpuChoice,
    /// MTC frequency as in IA32_RTIT_CTL.MTCFreq.
    pub mtc_freq: u8,
    /// Nominal (maximum non-turbo) frequency in units of the bus clock.
    pub nom_freq: u8,
    /// CPUID leaf 15h EAX: denominator of the TSC to crystal-clock ratio.
    pub cpuid_0x15_eax: u32,
    /// CPUID leaf 15h EBX: numerator of that ratio.
    pub cpuid_0x15_ebx: u32,
    /// A TSC of 64 bits, not half of 2^56 ticks away from the first TSC packet, which holds 56 bits. None: the upper
    /// bits are zero.
    pub tsc_near: Option<u64>,
    /// At most four address filters in force while recording.
    pub filters: Vec<FilterRange>,
    /// Keep the calibrated cycle ratio over an overflow.
    pub keep_tcal_on_ovf: bool,
    /// Report changes of the interrupt flag (needs Event Trace).
    pub enable_iflags_events: bool,
    /// Do as libipt does where it differs from the processor manual or from what serves recovery best: BBP, BIP and
    /// BEP are unknown, PWRE's HW flag is looked for in bit 3, a PSB that comes too early is passed over, a stray
    /// FUP in PSB+ leaves no last IP behind, and the time is the 56 bits of TSC packets.
    pub libipt_compat: bool,
    /// Sizes of packets with unknown opcodes, which are then passed over; without it they are errors.
    #[serde(skip)]
    pub unknown_packets: Option<UnknownPackets>,
}
