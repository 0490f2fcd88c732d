//! Any trace over code that any bytes may be: the listing ends, and both decoders give the same text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use odograph_core::asid::Asid;
use odograph_core::config::TraceConfig;
use odograph_core::image::Image;
use odograph_core::packet::PSB;
use odograph_listing::instructions::{InstructionListing, InstructionOptions, Progress, StopAt};

const ORG: u64 = 0x10_0000;
/// Code may go round for a while at each error, so a listing may be long.
const ENOUGH: usize = 1 << 20;

fn listed(trace: &[u8], image: &Image, options: InstructionOptions) -> Vec<u8> {
    let config = TraceConfig { libipt_compat: true, ..TraceConfig::default() };
    let mut listing = InstructionListing::new(&config, options, image.clone());
    let mut text = Vec::new();
    while text.len() < ENOUGH && !matches!(listing.next_piece(trace, StopAt::Never, &mut text), Progress::End)
    {
    }
    text.truncate(ENOUGH);
    text
}

// The first byte chooses options, the next two say how many of the rest are code; the others are the trace behind a
// PSB+ at the code.
fuzz_target!(|data: &[u8]| {
    let Some((&[chosen, low, high], rest)) = data.split_first_chunk::<3>() else { return };
    let split = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
    let (code, packets) = rest.split_at(split);
    let mut image = Image::new(None);
    // Two sections, so that code crosses from one to the other.
    let (first, second) = code.split_at(code.len() / 2);
    for (bytes, at) in [(first, 0), (second, first.len() as u64)] {
        if image.add_bytes(bytes.to_vec(), ORG + at, &Asid::default(), None).is_err() {
            return;
        }
    }
    let mut trace = PSB.to_vec();
    trace.extend([0xdd, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x99, 0x01, 0x02, 0x23]);
    trace.extend_from_slice(packets);
    let mut options = InstructionOptions { no_inst: true, ..InstructionOptions::default() };
    options.resync_on_error = chosen & 1 != 0;
    options.blocks.tick_events = chosen & 2 != 0;
    options.events.time = chosen & 4 != 0;
    options.events.ip = chosen & 8 != 0;
    options.check = chosen & 16 != 0;
    options.time = chosen & 128 != 0;
    // Blocks that end earlier notice later that code goes round without end.
    let mut shorter = options;
    shorter.blocks.end_on_call = chosen & 32 != 0;
    shorter.blocks.end_on_jump = chosen & 64 != 0;
    listed(&trace, &image, shorter);
    let by_block = listed(&trace, &image, options);
    let by_instruction = listed(&trace, &image, InstructionOptions { insn_decoder: true, ..options });
    let by_block = String::from_utf8_lossy(&by_block);
    // A block ends in the listing where iced-x86 cannot decode it, whatever was executed behind; and where it sees
    // other instructions, as in code whose mode is unknown, it says so behind the block.
    if by_block.contains("reconstruct error") || by_block.contains("did not reach end") {
        return;
    }
    let by_instruction = String::from_utf8_lossy(&by_instruction);
    assert!(by_block == by_instruction, "blocks:\n{by_block}\ninstructions:\n{by_instruction}");
});
