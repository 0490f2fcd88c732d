//! The processor a trace was made on, and its errata.

/// A processor by CPUID family, model and stepping. The vendor is always Intel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cpu {
    /// CPUID family with the extended family added.
    pub family: u16,
    /// CPUID model with the extended model in its upper half.
    pub model: u8,
    /// CPUID stepping; errata do not depend on it.
    pub stepping: u8,
}
