//! What a decoder has to be told because the trace does not say it.

pub use crate::cpu::CpuChoice;

/// One address filter range; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterRange {
    /// True for a TraceStop range, false for a range that is traced.
    pub stop: bool,
    /// First address.
    pub first: u64,
    /// Last address, included.
    pub last: u64,
}

/// Decoder configuration. Zero means unknown, as in libipt's `pt_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// At most four address filters in force while recording.
    pub filters: Vec<FilterRange>,
    /// Keep the calibrated cycle ratio over an overflow.
    pub keep_tcal_on_ovf: bool,
    /// Report changes of the interrupt flag (needs Event Trace).
    pub enable_iflags_events: bool,
    /// Read packets as libipt does where it differs from the processor manual: BBP, BIP and BEP are unknown, and
    /// PWRE's HW flag is looked for in bit 3.
    pub libipt_compat: bool,
}
