//! What a packet listing shows.

/// The options of `ptdump`, by their names there; all off at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketOptions {
    /// Begin at offset 0 instead of at the first PSB.
    pub no_sync: bool,
    /// No packet lines, only what went wrong.
    pub quiet: bool,
    /// No PAD lines.
    pub no_pad: bool,
    /// No TSC, CBR, TMA, MTC and CYC lines.
    pub no_timing: bool,
    /// No CYC lines, and no CYC in the time.
    pub no_cyc: bool,
    /// No offset column.
    pub no_offset: bool,
    /// A column with the bytes of the packet.
    pub raw: bool,
    /// The last IP behind FUP and TIP packets.
    pub lastip: bool,
    /// The execution mode behind MODE.Exec.
    pub exec_mode: bool,
    /// The TSC behind TSC, TMA, MTC and CYC. Ignored with `tcal`.
    pub time: bool,
    /// The TSC ticks per core cycle behind TSC, CBR and MTC.
    pub tcal: bool,
    /// Times as differences to the one shown before.
    pub time_delta: bool,
    /// No calibration, so CYC packets add nothing.
    pub no_tcal: bool,
    /// Times without a TSC are relative to the start and no mistake.
    pub no_wall_clock: bool,
    /// Time is needed although no column shows it, for sideband records.
    pub sideband: bool,
}

impl PacketOptions {
    /// Switches on the option of that name, written as on the command line without its dashes; false if there
    /// is none.
    pub fn set(&mut self, name: &str) -> bool {
        let option = match name {
            "no-sync" => &mut self.no_sync,
            "quiet" => &mut self.quiet,
            "no-pad" => &mut self.no_pad,
            "no-timing" => &mut self.no_timing,
            "no-cyc" => &mut self.no_cyc,
            "no-offset" => &mut self.no_offset,
            "raw" => &mut self.raw,
            "lastip" => &mut self.lastip,
            "exec-mode" => &mut self.exec_mode,
            "time" => &mut self.time,
            "tcal" => &mut self.tcal,
            "time-delta" => &mut self.time_delta,
            "no-tcal" => &mut self.no_tcal,
            "no-wall-clock" => &mut self.no_wall_clock,
            "sideband" => &mut self.sideband,
            _ => return false,
        };
        *option = true;
        true
    }

    /// Time is followed.
    pub(super) fn track_time(&self) -> bool {
        self.time || self.tcal || self.sideband
    }
}
