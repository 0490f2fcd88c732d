//! Listings of instructions in pieces: where they end, and what may happen between them.
//!
//! What the lines say is tested on command lines, in tests/dropins.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use odograph_core::asid::Asid;
use odograph_core::config::TraceConfig;
use odograph_core::event::Event;
use odograph_core::image::Image;
use odograph_core::memory::{MemoryError, ReadMemory};
use odograph_core::packet::{encode, IpCompression, IpPayload, Packet, Tnt};
use odograph_listing::instructions::{InstructionListing, InstructionOptions, Progress, StopAt};

const ORG: u64 = 0x1000;
const NOP: u8 = 0x90;
const SYSCALL: [u8; 2] = [0x0f, 0x05];

fn full(ip: u64) -> IpPayload {
    IpPayload { compression: IpCompression::Full, ip }
}

const OFF: Packet = Packet::TipPgd(IpPayload { compression: IpCompression::Suppressed, ip: 0 });

/// A trace from ORG on, at time 10.
fn trace(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mode = Packet::ModeExec { csl: true, csd: false, iflag: false };
    let start = [Packet::Psb, Packet::Fup(full(ORG)), mode, Packet::Tsc { tsc: 10 }, Packet::Psbend];
    for packet in start.iter().chain(packets) {
        encode(packet, &mut bytes).expect("a good packet");
    }
    bytes
}

fn image(code: &[u8]) -> Image {
    let mut image = Image::new(None);
    image.add_bytes(code, ORG, &Asid::default(), None).expect("room for code");
    image
}

fn listing(insn_decoder: bool, image: Image) -> InstructionListing {
    let options = InstructionOptions { insn_decoder, no_inst: true, ..InstructionOptions::default() };
    InstructionListing::new(&TraceConfig::default(), options, image)
}

/// The listing up to its next stop, without addresses of instructions.
fn until(listing: &mut InstructionListing, trace: &[u8], stop_at: StopAt) -> (String, Option<Event>) {
    let mut out = Vec::new();
    let event = loop {
        match listing.next_piece(trace, stop_at, &mut out) {
            Progress::More => {}
            Progress::Event(event) => break Some(event),
            Progress::End => break None,
            Progress::Foreign(_) => panic!("nothing foreign is asked"),
        }
    };
    (String::from_utf8(out).expect("text"), event)
}

#[test]
fn pieces_are_parts_of_the_whole() {
    // 1000 nop   1001 jne 1000
    let code = [NOP, 0x75, 0xfd];
    let bits = Packet::Tnt64(Tnt { size: 47, bits: (1 << 47) - 1 });
    let trace = trace(&vec![bits; 400]);
    for insn_decoder in [false, true] {
        let (whole, _) = until(&mut listing(insn_decoder, image(&code)), &trace, StopAt::Never);
        assert_eq!(whole.lines().count(), 400 * 47 * 2 + 1);
        let mut pieces = Vec::new();
        let mut listing = listing(insn_decoder, image(&code));
        loop {
            let mut piece = Vec::new();
            let progress = listing.next_piece(&trace, StopAt::Never, &mut piece);
            pieces.push(piece);
            if matches!(progress, Progress::End) {
                break;
            }
        }
        assert!(pieces.len() > 5);
        assert!(pieces.iter().all(|piece| piece.len() < 1 << 17));
        assert_eq!(pieces.concat(), whole.as_bytes());
        assert_eq!(listing.instructions(), 400 * 47 * 2);
        assert_eq!(listing.blocks() == 0, insn_decoder);
    }
}

#[test]
fn a_listing_without_lines_comes_in_pieces_too() {
    let code = [NOP, 0x75, 0xfd];
    let bits = Packet::Tnt64(Tnt { size: 47, bits: (1 << 47) - 1 });
    let trace = trace(&vec![bits; 12_000]);
    let options = InstructionOptions { quiet: true, ..InstructionOptions::default() };
    let mut listing = InstructionListing::new(&TraceConfig::default(), options, image(&code));
    let mut out = Vec::new();
    let mut pieces = 1;
    while !matches!(listing.next_piece(&trace, StopAt::Never, &mut out), Progress::End) {
        pieces += 1;
    }
    assert!(pieces > 2 && out.is_empty());
    assert_eq!(listing.instructions(), 12_000 * 47 * 2);
}

#[test]
fn it_stops_behind_events() {
    let code = [&[NOP][..], &SYSCALL, &[NOP]].concat();
    let trace = trace(&[OFF, Packet::Tsc { tsc: 20 }, Packet::TipPge(full(ORG)), OFF]);
    let names = |stop_at| {
        let mut listing = listing(false, image(&code));
        std::iter::from_fn(|| until(&mut listing, &trace, stop_at).1).map(|event| event.name()).collect()
    };
    let every: Vec<&str> = names(StopAt::Always);
    assert_eq!(every, ["enabled", "exec_mode", "disabled", "enabled", "disabled"]);
    let late: Vec<&str> = names(StopAt::Tsc(20));
    assert_eq!(late, ["enabled", "disabled"]);
    let later: Vec<&str> = names(StopAt::Tsc(21));
    assert!(later.is_empty());
}

#[test]
fn the_image_may_change_at_a_stop() {
    let trace = trace(&[OFF, Packet::TipPge(full(ORG)), OFF]);
    for insn_decoder in [false, true] {
        let mut listing = listing(insn_decoder, image(&SYSCALL));
        let stop = StopAt::Always;
        assert_eq!(until(&mut listing, &trace, stop).0, "");
        assert_eq!(until(&mut listing, &trace, stop).0, "");
        assert_eq!(until(&mut listing, &trace, stop).0, "0000000000001000\n[disabled]\n");
        listing.set_image(image(&[NOP, SYSCALL[0], SYSCALL[1]]));
        assert_eq!(until(&mut listing, &trace, stop).0, "[enabled]\n");
        let two = "0000000000001000\n0000000000001001\n[disabled]\n";
        assert_eq!(until(&mut listing, &trace, stop).0, two);
    }
}

/// Memory that fails with an exception until it is mended.
struct Failing(AtomicBool);

impl ReadMemory for Failing {
    fn read(&self, address: u64, size: usize, _: &Asid) -> Result<Vec<u8>, MemoryError> {
        if self.0.load(Ordering::Relaxed) {
            return Err(MemoryError::Foreign(Arc::new("an exception")));
        }
        Ok((0..size as u64).map(|at| if address + at == ORG { NOP } else { 0xf4 }).collect())
    }
}

#[test]
fn an_exception_comes_out_and_the_listing_goes_on() {
    let trace = trace(&[Packet::Fup(full(ORG + 1)), OFF]);
    for insn_decoder in [false, true] {
        let memory = Arc::new(Failing(AtomicBool::new(true)));
        let mut image = Image::new(None);
        image.set_callback(Some(memory.clone()));
        let mut listing = listing(insn_decoder, image);
        let mut out = Vec::new();
        for _ in 0..2 {
            let Progress::Foreign(object) = listing.next_piece(&trace, StopAt::Never, &mut out) else {
                panic!("memory cannot be read");
            };
            assert_eq!(object.downcast_ref::<&str>(), Some(&"an exception"));
        }
        memory.0.store(false, Ordering::Relaxed);
        assert_eq!(until(&mut listing, &trace, StopAt::Never).0, "0000000000001000\n[disabled]\n");
    }
}
