//! Any trace over code that any bytes may be: blocks and instructions come to an end and agree.

#![no_main]

use libfuzzer_sys::fuzz_target;
use odograph_core::asid::Asid;
use odograph_core::config::{CpuChoice, FilterRange, TraceConfig};
use odograph_core::cpu::Cpu;
use odograph_core::error::PtError;
use odograph_core::event::{Event, Status};
use odograph_core::flow::{Block, BlockDecoder, BlockOptions, CodeError, Insn, InstructionDecoder};
use odograph_core::image::Image;
use odograph_core::packet::PSB;

const ORG: u64 = 0x10_0000;
/// A loop with a TRIG that counts, or one at the end of the trace, may go round for long.
const MOST: usize = 3000;

/// What either layer tells.
#[derive(Debug, PartialEq)]
enum Told {
    Step(u64, u8, bool),
    Event(Event),
    Error(PtError),
}

fn code(error: CodeError) -> PtError {
    match error {
        CodeError::Pt(error) => error,
        CodeError::Foreign(_) => unreachable!("there is no callback"),
    }
}

/// Goes on behind an error, by whichever means gets anywhere.
fn again(error: PtError, resync: Result<Status, CodeError>) -> Option<Status> {
    if error == PtError::Eos {
        return None;
    }
    resync.ok()
}

fn blocks(decoder: &mut BlockDecoder, trace: &[u8]) -> Vec<Told> {
    let mut told = Vec::new();
    let mut status = decoder.sync_forward(trace).map_err(code);
    for _ in 0..MOST {
        status = match status {
            Ok(now) if now.event_pending() => decoder.event(trace).map_err(code).map(|(event, next)| {
                told.push(Told::Event(event));
                next
            }),
            Ok(_) => {
                let mut block = Block::default();
                let next = decoder.next(trace, &mut block).map_err(code);
                assert_eq!(usize::from(block.ninsn), decoder.instructions().len());
                let steps = decoder.instructions().iter();
                told.extend(steps.map(|insn| Told::Step(insn.ip, insn.size, block.speculative)));
                next
            }
            Err(error) => {
                told.push(Told::Error(error));
                let resync = decoder.resync(trace);
                match again(error, resync) {
                    Some(next) => Ok(next),
                    None => match decoder.sync_forward(trace).map_err(code) {
                        Err(PtError::Eos) => break,
                        synced => synced,
                    },
                }
            }
        };
        if told.len() > MOST {
            break;
        }
    }
    told
}

fn instructions(decoder: &mut InstructionDecoder, trace: &[u8]) -> Vec<Told> {
    let mut told = Vec::new();
    let mut status = decoder.sync_forward(trace).map_err(code);
    for _ in 0..2 * MOST {
        status = match status {
            Ok(now) if now.event_pending() => decoder.event(trace).map_err(code).map(|(event, next)| {
                told.push(Told::Event(event));
                next
            }),
            Ok(_) => {
                let mut insn = Insn::default();
                match decoder.next(trace, &mut insn).map_err(code) {
                    // An event hid behind an empty block.
                    Err(PtError::EventIgnored) => Ok(Status::EVENT_PENDING),
                    Ok(next) => {
                        told.push(Told::Step(insn.ip, insn.size, insn.speculative));
                        Ok(next)
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) => {
                told.push(Told::Error(error));
                let resync = decoder.resync(trace);
                match again(error, resync) {
                    Some(next) => Ok(next),
                    None => match decoder.sync_forward(trace).map_err(code) {
                        Err(PtError::Eos) => break,
                        synced => synced,
                    },
                }
            }
        };
        if told.len() > MOST {
            break;
        }
    }
    told
}

// The first bytes choose options, processor and how many of the rest are code, in two sections; the others are the
// trace behind a PSB+ at the code.
fuzz_target!(|data: &[u8]| {
    let [choice, flags, split, border, rest @ ..] = data else { return };
    let (bytes, packets) = rest.split_at(usize::from(*split).min(rest.len()));
    let border = usize::from(*border).min(bytes.len());
    let mut image = Image::new(None);
    for (at, piece) in [(0, &bytes[..border]), (border, &bytes[border..])] {
        if image.add_bytes(piece.to_vec(), ORG + at as u64, &Asid::default(), None).is_err() {
            return;
        }
    }
    let mut trace = PSB.to_vec();
    trace.extend([0xdd, 0, 0, 0x10, 0, 0, 0, 0, 0, 0x99, choice >> 6, 0x02, 0x23]);
    trace.extend_from_slice(packets);
    let models = [0x3d, 0x4e, 0x55, 0x5c, 0x7a, 0x97];
    let cpu = models.get(usize::from(*choice) % 8).map(|&model| Cpu { family: 6, model, stepping: 0 });
    let filter = FilterRange { stop: flags & 16 != 0, first: ORG, last: ORG + 40 };
    let config = TraceConfig {
        cpu: cpu.map_or(CpuChoice::NoErrata, CpuChoice::Exactly),
        enable_iflags_events: flags & 1 != 0,
        libipt_compat: flags & 2 != 0,
        filters: if flags & 8 != 0 { vec![filter] } else { Vec::new() },
        ..TraceConfig::default()
    };
    let options = BlockOptions { end_on_call: false, end_on_jump: false, tick_events: flags & 4 != 0 };
    let by_block = blocks(&mut BlockDecoder::new(&config, options, image.clone()), &trace);
    let by_step = instructions(&mut InstructionDecoder::new(&config, options, image.clone()), &trace);
    let common = by_block.len().min(by_step.len());
    if by_block.len() < MOST && by_step.len() < MOST {
        assert_eq!(by_block.len(), by_step.len());
    }
    assert_eq!(by_block[..common], by_step[..common]);
    // Other options come to an end as well.
    let options = BlockOptions { end_on_call: flags & 32 != 0, end_on_jump: flags & 64 != 0, ..options };
    blocks(&mut BlockDecoder::new(&config, options, image), &trace);
});
