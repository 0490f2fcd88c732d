//! Time: an estimate of the TSC from TSC, TMA, MTC, CYC and CBR packets, and its calibration.
//!
//! Source: Intel SDM volume 3C, "Intel Processor Trace", timing packets; the arithmetic is libipt's.
//!
//! This file is long because it holds one clock: TSC, CBR, TMA, MTC and CYC correct each other.

mod packets;

pub use packets::PacketClock;

use crate::config::TraceConfig;
use crate::cpu::Errata;
use crate::error::PtError;
use serde::{Deserialize, Serialize};

/// Cycle ratios are kept shifted left by this.
const RATIO_SHIFT: u32 = 8;

/// Bits of the time stamp counter in a TSC packet.
const TSC_BITS: u32 = 56;

/// The TSC whose low bits a TSC packet holds, closest to one that is known; none is negative.
fn widened(low: u64, near: u64) -> u64 {
    let wrap = 1u64 << TSC_BITS;
    let ahead = low.wrapping_sub(near) & (wrap - 1);
    if ahead < wrap / 2 {
        near.wrapping_add(ahead)
    } else {
        near.checked_sub(wrap - ahead).unwrap_or(near.wrapping_add(ahead))
    }
}

/// The clock of a trace. Cheap to copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    tsc: u64,
    base: u64,
    fast: u64,
    ctc: u32,
    ctc_cyc: u32,
    lost_mtc: u32,
    lost_cyc: u32,
    ratio: Option<u8>,
    have_tsc: bool,
    have_tma: bool,
    have_mtc: bool,
    mtc_freq: u8,
    nom_freq: u8,
    eax: u32,
    ebx: u32,
    skl168: bool,
    /// Nothing is learned about cycles.
    uncalibrated: bool,
    /// The time is what TSC packets hold: it begins anew where that wraps.
    narrow: bool,
    /// The last TSC, with all its bits; synchronising does not forget it.
    near: Option<u64>,
    /// A CYC packet was met since this was asked last.
    met_cyc: bool,
    calibration: Calibration,
}

/// What an MTC packet could not do, for packet listings. Event decoding goes on in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MtcEffect {
    /// `bad_config` if the TSC to crystal-clock ratio is unknown, so cycles could not be calibrated.
    pub calibration: Result<(), PtError>,
    /// `bad_config` if that ratio is unknown, so the estimate stays.
    pub time: Result<(), PtError>,
}

/// TSC ticks per core cycle, learned from the packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Calibration {
    ratio: Option<u64>,
    have_mtc: bool,
    seen_mtc: bool,
    ctc: u32,
    cycles_since_mtc: u64,
    tsc: Option<u64>,
    cycles_since_tsc: u64,
    lost_mtc: u32,
    /// The next MTC is the first behind a PSB.
    behind_psb: bool,
}

/// CYC packets lose at most this many cycles at a PSB (SKL168).
const SKL168_CYCLES: u64 = 0xf00;

/// `(dividend << RATIO_SHIFT) / divisor` in 64 bits, as libipt has it; none for divisor 0.
fn shifted_quotient(dividend: u64, divisor: u64) -> Option<u64> {
    (dividend << RATIO_SHIFT).checked_div(divisor)
}

impl Time {
    /// The clock at the start of a trace: nothing is known.
    pub fn new(config: &TraceConfig) -> Self {
        Time {
            mtc_freq: config.mtc_freq,
            nom_freq: config.nom_freq,
            eax: config.cpuid_0x15_eax,
            ebx: config.cpuid_0x15_ebx,
            skl168: Errata::chosen(config.cpu).skl168,
            narrow: config.libipt_compat,
            near: config.tsc_near,
            ..Time::default()
        }
    }

    /// Forgets everything but the configuration, and how often the TSC has wrapped.
    pub fn reset(&mut self) {
        *self = Time {
            mtc_freq: self.mtc_freq,
            nom_freq: self.nom_freq,
            eax: self.eax,
            ebx: self.ebx,
            skl168: self.skl168,
            uncalibrated: self.uncalibrated,
            narrow: self.narrow,
            near: self.near,
            ..Time::default()
        };
    }

    /// The last TSC with all its bits, or what was known of them before the first.
    pub fn near(&self) -> Option<u64> {
        self.near
    }

    /// The next TSC packet is the closest to this TSC.
    pub fn set_near(&mut self, near: Option<u64>) {
        self.near = near;
    }

    /// The same clock without calibration: CYC packets add nothing.
    pub fn without_calibration(self) -> Self {
        Time { uncalibrated: true, calibration: Calibration::default(), ..self }
    }

    /// Whether a CYC packet was met since the last call. Without any, calibration makes no difference.
    pub fn take_met_cyc(&mut self) -> bool {
        std::mem::take(&mut self.met_cyc)
    }

    /// Both count in the same way.
    pub fn is_configured_as(&self, other: &Time) -> bool {
        (self.mtc_freq, self.nom_freq, self.eax, self.ebx)
            == (other.mtc_freq, other.nom_freq, other.eax, other.ebx)
            && (self.skl168, self.uncalibrated, self.narrow)
                == (other.skl168, other.uncalibrated, other.narrow)
    }

    /// Takes over the calibration of another clock.
    pub fn take_calibration(&mut self, other: &Time) {
        self.calibration = other.calibration.clone();
    }

    /// Both will tell the same time; with `calibration` false, as long as there are no CYC packets.
    pub fn agrees(&self, other: &Time, calibration: bool) -> bool {
        let plain = |time: &Time| {
            let kept = if calibration { time.calibration.clone() } else { Calibration::default() };
            Time { met_cyc: false, calibration: kept, ..time.clone() }
        };
        plain(self) == plain(other)
    }

    /// The estimate in TSC ticks; relative to the start while no TSC has been seen.
    #[inline]
    pub fn tsc(&self) -> u64 {
        self.tsc
    }

    /// A TSC packet has been seen.
    #[inline]
    pub fn has_tsc(&self) -> bool {
        self.have_tsc
    }

    /// Lost MTC and CYC packets: how far the estimate may be off.
    pub fn lost(&self) -> (u32, u32) {
        (self.lost_mtc, self.lost_cyc)
    }

    /// The core:bus ratio of the last CBR packet.
    pub fn core_bus_ratio(&self) -> Option<u8> {
        self.ratio
    }

    /// TSC ticks per core cycle, shifted left by 8, if known.
    pub fn cycle_ratio(&self) -> Option<u64> {
        self.calibration.ratio
    }

    /// A PSB packet, for packet listings. Erratum SKL168 loses CYC and MTC packets before a PSB; the first MTC
    /// behind it then does not calibrate. Event decoding, as in libipt, does not look out for that.
    pub fn on_psb(&mut self) {
        self.calibration.behind_psb = self.skl168;
    }

    /// A TSC packet; inside PSB+ it may calibrate cycles. Its 56 bits are taken for those of the TSC closest to the last
    /// one, so time goes on where they wrap.
    pub fn on_tsc(&mut self, tsc: u64, in_psb: bool) {
        let tsc = match self.near {
            Some(near) if !self.narrow => widened(tsc, near),
            _ => tsc,
        };
        self.near = Some(tsc);
        self.tsc = tsc;
        self.base = tsc;
        self.fast = 0;
        self.ctc = 0;
        // As in libipt, where the count of cycles began stays: without a TMA the first CYC may lose some.
        self.have_tsc = true;
        self.have_tma = false;
        self.have_mtc = false;
        self.lost_mtc = 0;
        self.lost_cyc = 0;
        let calibration = &mut self.calibration;
        if in_psb && !calibration.seen_mtc && !self.uncalibrated {
            if let (Some(last), cycles @ 1..) = (calibration.tsc, calibration.cycles_since_tsc) {
                let delta = tsc.wrapping_sub(last) & ((1 << TSC_BITS) - 1);
                calibration.ratio = shifted_quotient(delta, cycles);
            }
        }
        calibration.tsc = Some(tsc);
        calibration.cycles_since_tsc = 0;
    }

    /// A CBR packet. `bad_packet` for ratio 0.
    pub fn on_cbr(&mut self, ratio: u8, in_psb: bool) -> Result<(), PtError> {
        if !in_psb {
            self.calibration = Calibration::default();
        }
        if ratio == 0 {
            return Err(PtError::BadPacket);
        }
        self.ratio = Some(ratio);
        if self.nom_freq != 0 && !self.uncalibrated {
            self.calibration.ratio = Some((u64::from(self.nom_freq) << RATIO_SHIFT) / u64::from(ratio));
        }
        Ok(())
    }

    fn ctc_mask(&self) -> u32 {
        1u32.checked_shl(u32::from(self.mtc_freq) + 8).map_or(u32::MAX, |wrap| wrap.wrapping_sub(1))
    }

    /// A TMA packet. `bad_context` without a TSC, or for a second one.
    pub fn on_tma(&mut self, ctc: u16, fc: u16) -> Result<(), PtError> {
        if !self.have_tsc || self.have_tma {
            return Err(PtError::BadContext);
        }
        self.base = self.base.wrapping_sub(u64::from(fc));
        self.fast = self.fast.wrapping_add(u64::from(fc));
        let ctc = u32::from(ctc) & self.ctc_mask();
        self.ctc = ctc;
        self.ctc_cyc = ctc;
        if self.mtc_freq <= 8 {
            self.have_mtc = true;
        }
        self.have_tma = true;
        Ok(())
    }

    /// TSC ticks of some CTC ticks; None if the ratio is not configured.
    fn ticks(&self, ctc: u32) -> Option<u64> {
        if self.eax == 0 || self.ebx == 0 {
            return None;
        }
        Some(u64::from(ctc) * u64::from(self.ebx) / u64::from(self.eax))
    }

    fn ctc_delta(&self, to: u32, from: u32) -> u32 {
        if to >= from {
            to - from
        } else {
            // One wrap; more cannot be seen.
            (u64::from(to) + u64::from(self.ctc_mask()) + 1 - u64::from(from)) as u32
        }
    }

    /// An MTC packet.
    pub fn on_mtc(&mut self, ctc: u8) -> MtcEffect {
        MtcEffect { calibration: self.calibrate_mtc(ctc), time: self.update_mtc(ctc) }
    }

    fn update_mtc(&mut self, ctc: u8) -> Result<(), PtError> {
        if self.have_tsc && !self.have_tma {
            return Ok(());
        }
        let new = u32::from(ctc).checked_shl(self.mtc_freq.into()).unwrap_or(0);
        if self.fast != 0 || self.lost_cyc != 0 || !self.have_mtc {
            self.ctc_cyc = new;
        }
        let had_mtc = self.have_mtc;
        let mut last = self.ctc;
        self.have_mtc = true;
        self.fast = 0;
        self.ctc = new;
        self.lost_cyc = 0;
        if !had_mtc {
            if !self.have_tma {
                return Ok(());
            }
            let low = new & 0xffff;
            let mut high = new & !0xffff;
            if low < last {
                high = high.wrapping_sub(0x10000) & 0xffu32.checked_shl(self.mtc_freq.into()).unwrap_or(0);
            }
            last |= high;
        }
        let ticks = self.ticks(self.ctc_delta(new, last)).ok_or(PtError::BadConfig)?;
        self.base = self.base.wrapping_add(ticks);
        self.tsc = self.base;
        Ok(())
    }

    fn calibrate_mtc(&mut self, ctc: u8) -> Result<(), PtError> {
        if self.uncalibrated {
            return Ok(());
        }
        let new = u32::from(ctc).checked_shl(self.mtc_freq.into()).unwrap_or(0);
        let had = self.calibration.have_mtc;
        let last = self.calibration.ctc;
        let cycles = self.calibration.cycles_since_mtc;
        self.calibration.seen_mtc = true;
        if had && cycles == 0 {
            return Ok(());
        }
        let mut result = Ok(());
        let behind_psb = std::mem::take(&mut self.calibration.behind_psb);
        if had {
            let delta = self.ctc_delta(new, last);
            let ticks = self.ticks(delta);
            match ticks {
                Some(ticks) if !(behind_psb && self.lost_before_psb(delta, ticks, cycles)) => {
                    self.calibration.ratio = shifted_quotient(ticks, cycles);
                    self.calibration.lost_mtc = 0;
                }
                _ => self.calibration.lost_mtc = self.calibration.lost_mtc.saturating_add(1),
            }
            result = ticks.map(|_| ()).ok_or(PtError::BadConfig);
        }
        self.calibration.have_mtc = true;
        self.calibration.ctc = new;
        self.calibration.cycles_since_mtc = 0;
        result
    }

    /// SKL168: whether MTC or CYC packets seem to be missing in front of the PSB.
    fn lost_before_psb(&self, ctc: u32, ticks: u64, cycles: u64) -> bool {
        let period = 1u64.checked_shl(self.mtc_freq.into()).unwrap_or(u64::MAX);
        if u64::from(ctc) > period {
            return true;
        }
        let Some(ratio) = self.calibration.ratio.filter(|_| self.mtc_freq < 10) else { return false };
        let most = (u128::from(ratio) * (u128::from(cycles) + u128::from(SKL168_CYCLES))) >> RATIO_SHIFT;
        most < u128::from(ticks)
    }

    /// A CYC packet. Without a known, non-zero cycle ratio it adds nothing and counts as lost. `bad_config` if
    /// it covers earlier MTC periods and the TSC to crystal-clock ratio is unknown; the estimate stays then.
    #[inline]
    pub fn on_cyc(&mut self, value: u64) -> Result<(), PtError> {
        self.met_cyc = true;
        let calibration = &mut self.calibration;
        calibration.cycles_since_mtc = calibration.cycles_since_mtc.saturating_add(value);
        calibration.cycles_since_tsc = calibration.cycles_since_tsc.saturating_add(value);
        let Some(ratio) = calibration.ratio.filter(|&ratio| ratio != 0) else {
            self.lost_cyc = self.lost_cyc.saturating_add(1);
            return Ok(());
        };
        let mut cycles = value;
        if self.fast == 0 && self.ctc != self.ctc_cyc {
            let ticks = self.ticks(self.ctc_delta(self.ctc, self.ctc_cyc)).ok_or(PtError::BadConfig)?;
            cycles = cycles.saturating_sub(shifted_quotient(ticks, ratio).unwrap_or(0));
        }
        // Time that jumps makes absurd ratios; like libipt's they wrap.
        self.fast = self.fast.wrapping_add(cycles.wrapping_mul(ratio) >> RATIO_SHIFT);
        self.tsc = self.base.wrapping_add(self.fast);
        Ok(())
    }

    /// An overflow: the time stays, calibration goes (with `keep`, only its running counts).
    pub fn on_overflow(&mut self, keep: bool) {
        let kept = std::mem::take(&mut self.calibration);
        if keep {
            self.calibration =
                Calibration { ratio: kept.ratio, behind_psb: kept.behind_psb, ..Calibration::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CpuChoice;
    use crate::cpu::Cpu;

    fn config(mtc_freq: u8, ebx: u32, eax: u32, nom_freq: u8) -> TraceConfig {
        TraceConfig { mtc_freq, nom_freq, cpuid_0x15_eax: eax, cpuid_0x15_ebx: ebx, ..TraceConfig::default() }
    }

    #[test]
    fn cycles_count_from_the_nominal_frequency() {
        let mut time = Time::new(&config(8, 4, 1, 4));
        time.on_tsc(0xa0000, false);
        time.on_tma(0x102, 8).unwrap();
        time.on_cbr(2, false).unwrap();
        time.on_mtc(2);
        assert_eq!(time.tsc(), 0xa03f0);
        time.on_cyc(3).unwrap();
        assert_eq!(time.tsc(), 0xa03f6);
        time.on_cyc(1).unwrap();
        assert_eq!(time.tsc(), 0xa03f8);
    }

    #[test]
    fn mtc_calibrates_cycles() {
        let mut time = Time::new(&config(4, 4, 1, 0));
        time.on_tsc(0x1000, false);
        time.on_tma(0x10, 0x40).unwrap();
        time.on_mtc(2);
        assert_eq!(time.tsc(), 0x1000);
        time.on_cyc(0x100).unwrap();
        assert_eq!((time.tsc(), time.lost()), (0x1000, (0, 1)));
        time.on_mtc(3);
        assert_eq!(time.tsc(), 0x1040);
        time.on_cyc(0x80).unwrap();
        assert_eq!(time.tsc(), 0x1060);
        time.on_cyc(0x80).unwrap();
        time.on_mtc(4);
        assert_eq!(time.tsc(), 0x1080);
        let mut kept = time.clone();
        time.on_overflow(false);
        time.on_cyc(0x80).unwrap();
        assert_eq!(time.tsc(), 0x1080);
        kept.on_overflow(true);
        kept.on_cyc(0x80).unwrap();
        assert_eq!(kept.tsc(), 0x10a0);
    }

    #[test]
    fn the_first_mtc_completes_the_ctc_of_a_tma() {
        let mut time = Time::new(&config(12, 1, 2, 0));
        time.on_tsc(0xa0018, false);
        time.on_tma(0xe020, 8).unwrap();
        time.on_mtc(0xaf);
        assert_eq!(time.tsc(), 0xa0800);
        time.on_mtc(0xb0);
        assert_eq!(time.tsc(), 0xa1000);

        let mut wrapped = Time::new(&config(12, 1, 2, 0));
        wrapped.on_tsc(0xa0018, false);
        wrapped.on_tma(0xf020, 8).unwrap();
        wrapped.on_mtc(0xa0);
        assert_eq!(wrapped.tsc(), 0xa0800);
    }

    #[test]
    fn a_tma_needs_a_tsc_and_only_one() {
        let mut time = Time::new(&config(4, 1, 1, 0));
        assert_eq!(time.on_tma(1, 1), Err(PtError::BadContext));
        time.on_tsc(5, false);
        assert_eq!(time.on_tma(1, 1), Ok(()));
        assert_eq!(time.on_tma(1, 1), Err(PtError::BadContext));
    }

    #[test]
    fn cycles_behind_a_tsc_without_tma_count_from_the_last_tma() {
        // libipt 2.0.5 says the same.
        let mut time = Time::new(&config(0, 4, 1, 4));
        time.on_tsc(0x1000, true);
        time.on_tma(0xcc, 0x22).unwrap();
        time.on_cbr(8, true).unwrap();
        time.on_tsc(0x2000, true);
        // Of these cycles, those between CTC cc and 0 belong before the TSC: 34h CTC ticks of 4 TSC ticks, of which
        // a cycle is half a one.
        time.on_cyc(0x34 * 4 * 2 - 1).unwrap();
        assert_eq!(time.tsc(), 0x2000);
        time.on_cyc(0x34 * 4 * 2 + 6).unwrap();
        assert_eq!(time.tsc(), 0x2003);
    }

    #[test]
    fn a_tsc_that_goes_back_gives_what_64_bits_hold() {
        // What libipt 2.0.5 says.
        let mut time = Time::new(&config(0, 0, 0, 0));
        time.on_tsc(0x4e3817b, true);
        time.on_cyc(0x4b).unwrap();
        time.on_tsc(0xe3835a, true);
        time.on_cyc(0x274).unwrap();
        assert_eq!(time.tsc(), 0x5f_92c5_d891_a77d);
    }

    #[test]
    fn without_mtc_the_tsc_in_psb_calibrates() {
        let mut time = Time::new(&config(0, 0, 0, 0));
        time.on_tsc(0xa0000, true);
        time.on_cyc(0x100).unwrap();
        time.on_tsc(0xa0200, false);
        time.on_cyc(0x100).unwrap();
        assert_eq!(time.tsc(), 0xa0200);
        time.on_tsc(0xa0300, true);
        time.on_cyc(0x100).unwrap();
        assert_eq!(time.tsc(), 0xa0400);
    }

    /// The estimates after each MTC of a trace that begins with this TSC and TMA.
    fn after_mtcs(mut time: Time, tsc: u64, tma: (u16, u16), mtcs: &[u8]) -> Vec<u64> {
        time.on_tsc(tsc, false);
        time.on_tma(tma.0, tma.1).unwrap();
        let mut times = vec![time.tsc()];
        for &mtc in mtcs {
            time.on_mtc(mtc);
            times.push(time.tsc());
        }
        times
    }

    #[test]
    fn mtc_of_many_frequencies() {
        let half = |freq| Time::new(&config(freq, 1, 2, 0));
        let wrapped = after_mtcs(half(12), 0xa0018, (0xf020, 8), &[0xa0, 0xa1]);
        assert_eq!(wrapped, [0xa0018, 0xa0800, 0xa1000]);
        assert_eq!(after_mtcs(half(4), 0xa0000, (0xf012, 6), &[2, 3]), [0xa0000, 0xa0001, 0xa0009]);
        let whole = Time::new(&config(0, 1, 1, 0));
        assert_eq!(after_mtcs(whole, 0xa0000, (0xff08, 1), &[9, 0xa]), [0xa0000, 0xa0000, 0xa0001]);
        // The counter wraps between two MTCs.
        let whole = Time::new(&config(0, 1, 1, 0));
        assert_eq!(after_mtcs(whole, 0x100, (0xfe, 0), &[0xff, 2]), [0x100, 0x101, 0x104]);
    }

    #[test]
    fn a_tsc_without_tma_switches_mtc_off() {
        let mut time = Time::new(&config(0, 1, 1, 0));
        time.on_mtc(1);
        time.on_mtc(5);
        assert_eq!((time.tsc(), time.has_tsc()), (4, false));
        time.on_tsc(0x100, false);
        time.on_mtc(9);
        assert_eq!((time.tsc(), time.has_tsc()), (0x100, true));
    }

    #[test]
    fn an_unknown_crystal_ratio_leaves_the_time_alone() {
        let mut time = Time::new(&config(0, 0, 0, 0));
        time.on_tsc(0x100, false);
        time.on_tma(1, 0).unwrap();
        time.on_mtc(9);
        assert_eq!((time.tsc(), time.lost()), (0x100, (0, 0)));
    }

    #[test]
    fn cycles_of_earlier_mtc_periods_count_once() {
        // One TSC tick per cycle. The CYC covers the period before the second MTC and 8 cycles after it.
        let mut time = Time::new(&config(4, 1, 1, 4));
        time.on_cbr(4, false).unwrap();
        time.on_mtc(1);
        time.on_mtc(2);
        assert_eq!(time.tsc(), 0x10);
        time.on_cyc(0x18).unwrap();
        assert_eq!(time.tsc(), 0x18);
        time.on_cyc(1).unwrap();
        assert_eq!(time.tsc(), 0x19);
    }

    #[test]
    fn without_cycles_a_period_is_calibrated_with_the_next() {
        let mut time = Time::new(&config(4, 4, 1, 0));
        time.on_mtc(1);
        time.on_mtc(2);
        assert_eq!(time.cycle_ratio(), None);
        time.on_cyc(0x100).unwrap();
        time.on_mtc(3);
        assert_eq!(time.cycle_ratio(), Some(0x80));
    }

    #[test]
    fn cbr_starts_calibration_anew_outside_psb_only() {
        let mut time = Time::new(&config(4, 4, 1, 0));
        time.on_mtc(1);
        time.on_cyc(0x100).unwrap();
        time.on_mtc(2);
        assert_eq!(time.cycle_ratio(), Some(0x40));
        time.on_cbr(9, true).unwrap();
        assert_eq!((time.cycle_ratio(), time.core_bus_ratio()), (Some(0x40), Some(9)));
        time.on_cbr(8, false).unwrap();
        assert_eq!((time.cycle_ratio(), time.core_bus_ratio()), (None, Some(8)));
        assert_eq!(time.on_cbr(0, false), Err(PtError::BadPacket));
    }

    #[test]
    fn skl168_an_mtc_lost_before_a_psb_does_not_calibrate() {
        let cpu = CpuChoice::Exactly(Cpu { family: 6, model: 0x4e, stepping: 3 });
        for (cpu, expected) in [(cpu, 0x40), (CpuChoice::NoErrata, 0x55)] {
            let mut time = Time::new(&TraceConfig { cpu, ..config(4, 4, 1, 0) });
            time.on_mtc(1);
            time.on_cyc(0x100).unwrap();
            time.on_mtc(2);
            time.on_cyc(0x80).unwrap();
            time.on_psb();
            time.on_cyc(0x100).unwrap();
            time.on_mtc(4);
            assert_eq!(time.cycle_ratio(), Some(expected));
            time.on_cyc(0x100).unwrap();
            time.on_mtc(5);
            assert_eq!(time.cycle_ratio(), Some(0x40));
        }
    }

    #[test]
    fn what_the_crystal_ratio_is_needed_for_fails_without_it() {
        let mut time = Time::new(&config(4, 0, 0, 4));
        time.on_cbr(2, true).unwrap();
        let fine = MtcEffect { calibration: Ok(()), time: Ok(()) };
        assert_eq!(time.on_mtc(1), fine);
        // No cycles were counted, so there was nothing to calibrate with.
        let bad = Err(PtError::BadConfig);
        assert_eq!(time.on_mtc(2), MtcEffect { time: bad, ..fine });
        // Some of these cycles belong to the period before.
        assert_eq!((time.on_cyc(3), time.on_cyc(1), time.tsc()), (bad, bad, 0));
        assert_eq!(time.on_mtc(3), MtcEffect { calibration: bad, time: bad });
    }

    #[test]
    fn without_calibration_cycles_add_nothing() {
        let mut time = Time::new(&config(4, 4, 1, 4)).without_calibration();
        time.on_tsc(0x1000, true);
        time.on_cbr(2, false).unwrap();
        for ctc in 1..4 {
            time.on_cyc(0x100).unwrap();
            time.on_mtc(ctc);
        }
        time.on_tsc(0x2000, true);
        time.on_cyc(0x100).unwrap();
        assert_eq!((time.tsc(), time.cycle_ratio(), time.lost()), (0x2000, None, (0, 1)));
        time.reset();
        time.on_cbr(2, false).unwrap();
        assert_eq!(time.cycle_ratio(), None);
    }

    #[test]
    fn any_values_are_survived() {
        for freq in [0, 8, 15, 24, 40, 255] {
            let mut time = Time::new(&config(freq, u32::MAX, 1, 255));
            for _ in 0..3 {
                time.on_mtc(0xff);
                let _ = time.on_cyc(u64::MAX >> 3);
                time.on_tsc(u64::MAX >> 8, true);
                time.on_tma(u16::MAX, 0x1ff).unwrap();
                time.on_mtc(0);
                let _ = time.on_cyc(u64::MAX >> 3);
                time.on_cbr(1, true).unwrap();
                let _ = time.on_cyc(u64::MAX >> 3);
                time.on_overflow(true);
            }
            assert!(time.has_tsc());
        }
    }
}
