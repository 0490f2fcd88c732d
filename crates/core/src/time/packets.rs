//! The clock for a reader of packets.

use super::Time;
use crate::config::TraceConfig;
use crate::packet::Packet;

/// Follows time from packet to packet, as event decoding does.
///
/// What cannot be worked out (no configuration, a packet out of place) leaves the estimate as it is: a list
/// of packets has no errors but those of the packets themselves.
#[derive(Clone, Debug)]
pub struct PacketClock {
    time: Time,
    in_psb: bool,
    keep_calibration: bool,
}

impl PacketClock {
    /// The clock at the start of a trace: nothing is known.
    pub fn new(config: &TraceConfig) -> Self {
        PacketClock { time: Time::new(config), in_psb: false, keep_calibration: config.keep_tcal_on_ovf }
    }

    /// Forgets everything but the configuration.
    pub fn reset(&mut self) {
        self.time.reset();
        self.in_psb = false;
    }

    /// The time behind the last packet.
    pub fn time(&self) -> &Time {
        &self.time
    }

    /// Takes in the next packet.
    pub fn take(&mut self, packet: &Packet) {
        match *packet {
            Packet::Psb => self.in_psb = true,
            Packet::Psbend => self.in_psb = false,
            Packet::Ovf => {
                self.time.on_overflow(self.keep_calibration);
                self.in_psb = false;
            }
            Packet::Tsc { tsc } => self.time.on_tsc(tsc, self.in_psb),
            Packet::Cbr { ratio } => drop(self.time.on_cbr(ratio, self.in_psb)),
            Packet::Tma { ctc, fc } => drop(self.time.on_tma(ctc, fc)),
            Packet::Mtc { ctc } => drop(self.time.on_mtc(ctc)),
            Packet::Cyc { value } => drop(self.time.on_cyc(value)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::PtError;
    use crate::event::EventDecoder;
    use crate::packet::{self, BlockContext, IpCompression, IpPayload};

    fn trace(packets: &[Packet]) -> Vec<u8> {
        let mut trace = Vec::new();
        for packet in packets {
            packet::encode(packet, &mut trace).expect("the packet can be written");
        }
        trace
    }

    #[test]
    fn tells_the_time_of_events() {
        let config = TraceConfig {
            mtc_freq: 3,
            nom_freq: 20,
            cpuid_0x15_eax: 2,
            cpuid_0x15_ebx: 4,
            ..TraceConfig::default()
        };
        let tip = |ip| Packet::Tip(IpPayload { compression: IpCompression::Full, ip });
        let trace = trace(&[
            Packet::Psb,
            Packet::Tsc { tsc: 0x1000 },
            Packet::Tma { ctc: 0x10, fc: 3 },
            Packet::Cbr { ratio: 10 },
            Packet::Fup(IpPayload { compression: IpCompression::Full, ip: 0x400 }),
            Packet::Psbend,
            Packet::Mtc { ctc: 3 },
            Packet::Cyc { value: 7 },
            tip(0x500),
            Packet::Cbr { ratio: 20 },
            Packet::Cyc { value: 5 },
            tip(0x600),
            Packet::Ovf,
            Packet::Fup(IpPayload { compression: IpCompression::Full, ip: 0x700 }),
            Packet::Cyc { value: 9 },
            tip(0x800),
            Packet::Tsc { tsc: 0x9000 },
            tip(0x900),
        ]);
        let mut events = EventDecoder::new(&config);
        events.sync_forward(&trace).expect("there is a PSB");
        let mut expected = Vec::new();
        loop {
            match events.next(&trace) {
                Ok(event) if event.name() == "tip" => {
                    expected.push((event.offset, event.tsc, event.lost_cyc))
                }
                Ok(_) => {}
                Err(PtError::Eos) => break,
                Err(code) => panic!("{code:?}"),
            }
        }
        let mut clock = PacketClock::new(&config);
        let mut context = BlockContext::default();
        let (mut at, mut told) = (0, Vec::new());
        while let Ok((packet, size)) = packet::decode(&trace[at..], &mut context) {
            clock.take(&packet);
            if matches!(packet, Packet::Tip(_)) {
                told.push((at as u64, clock.time().tsc(), clock.time().lost().1));
            }
            at += size;
        }
        assert_eq!(told, expected);
        let times: Vec<u64> = told.iter().map(|told| told.1).collect();
        assert!(
            times.windows(2).all(|pair| pair[0] <= pair[1]) && times.first() < times.get(1),
            "{times:x?}"
        );
        assert_eq!((told.len(), at), (4, trace.len()));
    }

    #[test]
    fn wrong_times_stop_nothing() {
        let mut clock = PacketClock::new(&TraceConfig::default());
        for packet in
            [Packet::Cbr { ratio: 0 }, Packet::Tma { ctc: 0, fc: 0 }, Packet::Cyc { value: u64::MAX }]
        {
            clock.take(&packet);
        }
        assert_eq!((clock.time().tsc(), clock.time().has_tsc()), (0, false));
        clock.take(&Packet::Tsc { tsc: 5 });
        assert_eq!((clock.time().tsc(), clock.time().has_tsc()), (5, true));
        clock.reset();
        assert!(!clock.time().has_tsc());
    }
}
