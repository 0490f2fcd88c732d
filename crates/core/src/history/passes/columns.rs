//! Instructions as columns.

/// One row per executed instruction; all columns have the same length.
#[derive(Clone, Debug, Default)]
pub struct InstructionColumns {
    /// Position in the history.
    pub step: Vec<i64>,
    /// Address.
    pub ip: Vec<u64>,
    /// Length in bytes, 1 to 15.
    pub size: Vec<u8>,
    /// The instruction's bytes, 16 per row, the rest zero.
    pub raw: Vec<u8>,
    /// libipt's instruction class.
    pub iclass: Vec<u8>,
    /// libipt's execution mode.
    pub mode: Vec<u8>,
    /// CR3, or all ones if unknown.
    pub cr3: Vec<u64>,
    /// VMCS base, or all ones if unknown.
    pub vmcs: Vec<u64>,
    /// Identifier in an image section cache, 0 if the section is not from one.
    pub isid: Vec<i32>,
    /// TSC estimate, all ones if no TSC was seen.
    pub tsc: Vec<u64>,
    /// Inside a transaction that may have been aborted.
    pub speculative: Vec<u8>,
    /// The bytes continue in another section.
    pub truncated: Vec<u8>,
}

impl InstructionColumns {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ip.len()
    }

    pub(in crate::history) fn append(&mut self, mut more: InstructionColumns) {
        self.step.append(&mut more.step);
        self.ip.append(&mut more.ip);
        self.size.append(&mut more.size);
        self.raw.append(&mut more.raw);
        self.iclass.append(&mut more.iclass);
        self.mode.append(&mut more.mode);
        self.cr3.append(&mut more.cr3);
        self.vmcs.append(&mut more.vmcs);
        self.isid.append(&mut more.isid);
        self.tsc.append(&mut more.tsc);
        self.speculative.append(&mut more.speculative);
        self.truncated.append(&mut more.truncated);
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.ip.is_empty()
    }
}

/// The TSC of a run, all ones if none is known.
pub(in crate::history) fn tsc_or_none(state: &crate::flow::RunState) -> u64 {
    if state.has_tsc {
        state.tsc
    } else {
        u64::MAX
    }
}
