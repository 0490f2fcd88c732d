//! Blocks and instructions one at a time: code, packets and what comes out, in one place.
//!
//! A line is `[ips]` for a block, the event's name with what matters of it, or an error with the address to blame.
//!
//! This file is long because it holds a test for each rule of blocks.

mod common;

use std::sync::Arc;

use common::*;
use odograph_core::asid::Asid;
use odograph_core::config::{CpuChoice, FilterRange, TraceConfig};
use odograph_core::cpu::Cpu;
use odograph_core::error::PtError;
use odograph_core::event::{Event, EventKind, Status};
use odograph_core::flow::{Block, BlockDecoder, BlockOptions, CodeError, Insn, InstructionDecoder, Timeline};
use odograph_core::history::{decode, DecodeOptions};
use odograph_core::image::Image;
use odograph_core::memory::{MemoryError, ReadMemory};
use odograph_core::packet::Packet;

const NOP: u8 = 0x90;
const HLT: u8 = 0xf4;
const RET: u8 = 0xc3;
const JMP_RAX: [u8; 2] = [0xff, 0xe0];
const MOV_CR3: [u8; 3] = [0x0f, 0x22, 0xd8];
const PTWRITE: [u8; 4] = [0xf3, 0x0f, 0xae, 0xe0];

const NO_OPTIONS: BlockOptions = BlockOptions { end_on_call: false, end_on_jump: false, tick_events: false };

/// Code at an address, in sections.
fn image(sections: &[(u64, &[u8])]) -> Image {
    let mut image = Image::new(None);
    for (vaddr, bytes) in sections {
        image.add_bytes(*bytes, *vaddr, &Asid::default(), None).unwrap();
    }
    image
}

/// PSB+ at an address in 64-bit mode, and more packets.
fn from(ip: u64, packets: &[Packet]) -> Vec<u8> {
    let mut all = vec![Packet::Psb, BITS64, fup(ip), Packet::Psbend];
    all.extend_from_slice(packets);
    trace(&all)
}

fn show(event: &Event) -> String {
    let name = event.name().to_owned();
    let ip = event.ip().filter(|_| !event.ip_suppressed).map_or(String::new(), |ip| format!(" {ip:x}"));
    match event.kind {
        EventKind::Enabled { resumed: true, .. } => format!("resumed{ip}"),
        EventKind::AsyncBranch { from, .. } => format!("{name} {from:x} ->{ip}"),
        EventKind::AsyncDisabled { at, .. } => format!("{name} at {at:x}"),
        EventKind::Paging { cr3, .. } => format!("{name} cr3={cr3:x}"),
        EventKind::Trig { trbv, .. } => format!("{name}{ip} {trbv:x}"),
        EventKind::Tick { .. } => format!("{name}{ip} at {:x}", event.tsc),
        EventKind::Tsx { aborted, speculative, .. } => {
            format!(
                "{name}{ip} {}",
                if aborted {
                    "abort"
                } else if speculative {
                    "begin"
                } else {
                    "commit"
                }
            )
        }
        _ => format!("{name}{ip}"),
    }
}

fn named(error: &CodeError) -> PtError {
    match error {
        CodeError::Pt(error) => *error,
        CodeError::Foreign(_) => panic!("no callback is used here"),
    }
}

/// Either decoder, as far as a listing needs it.
trait Layer {
    fn sync_forward(&mut self, trace: &[u8]) -> Result<Status, CodeError>;
    fn resync(&mut self, trace: &[u8]) -> Result<Status, CodeError>;
    fn event(&mut self, trace: &[u8]) -> Result<(Event, Status), CodeError>;
    /// Addresses, status, and the address to blame.
    fn next(&mut self, trace: &[u8]) -> (Vec<u64>, Result<Status, CodeError>, u64);
}

impl Layer for BlockDecoder {
    fn sync_forward(&mut self, trace: &[u8]) -> Result<Status, CodeError> {
        BlockDecoder::sync_forward(self, trace)
    }
    fn resync(&mut self, trace: &[u8]) -> Result<Status, CodeError> {
        BlockDecoder::resync(self, trace)
    }
    fn event(&mut self, trace: &[u8]) -> Result<(Event, Status), CodeError> {
        BlockDecoder::event(self, trace)
    }
    fn next(&mut self, trace: &[u8]) -> (Vec<u64>, Result<Status, CodeError>, u64) {
        let mut block = Block::default();
        let status = BlockDecoder::next(self, trace, &mut block);
        let ips: Vec<u64> = self.instructions().iter().map(|insn| insn.ip).collect();
        assert_eq!(usize::from(block.ninsn), ips.len());
        if let (Some(first), Some(last)) = (ips.first(), ips.last()) {
            assert_eq!((block.ip, block.end_ip), (*first, *last));
        }
        (ips, status, self.ip())
    }
}

impl Layer for InstructionDecoder {
    fn sync_forward(&mut self, trace: &[u8]) -> Result<Status, CodeError> {
        InstructionDecoder::sync_forward(self, trace)
    }
    fn resync(&mut self, trace: &[u8]) -> Result<Status, CodeError> {
        InstructionDecoder::resync(self, trace)
    }
    fn event(&mut self, trace: &[u8]) -> Result<(Event, Status), CodeError> {
        InstructionDecoder::event(self, trace)
    }
    fn next(&mut self, trace: &[u8]) -> (Vec<u64>, Result<Status, CodeError>, u64) {
        let mut insn = Insn::default();
        match InstructionDecoder::next(self, trace, &mut insn) {
            Err(CodeError::Pt(PtError::EventIgnored)) => (vec![], Ok(Status::new(true, false, false)), 0),
            Err(error) => (vec![], Err(error), insn.ip),
            ok => (vec![insn.ip], ok, insn.ip),
        }
    }
}

/// Lists a trace up to its end or the first error; behind an error `resync` goes on.
fn list(layer: &mut dyn Layer, trace: &[u8], resync: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut ips: Vec<u64> = Vec::new();
    let mut status = layer.sync_forward(trace).map_err(|error| (named(&error), 0));
    loop {
        status = match status {
            Ok(now) if now.event_pending() => match layer.event(trace) {
                Ok((event, now)) => {
                    if !ips.is_empty() {
                        lines.push(format!("{:x?}", std::mem::take(&mut ips)));
                    }
                    if !event.status_update {
                        lines.push(show(&event));
                    }
                    Ok(now)
                }
                Err(error) => Err((named(&error), 0)),
            },
            Ok(now) if now.eos() => break,
            Ok(_) => {
                let (more, now, blamed) = layer.next(trace);
                ips.extend(more);
                now.map_err(|error| (named(&error), blamed))
            }
            Err((error, blamed)) => {
                if !ips.is_empty() {
                    lines.push(format!("{:x?}", std::mem::take(&mut ips)));
                }
                let place = if blamed == 0 { String::new() } else { format!(" {blamed:x}") };
                lines.push(format!("{}{place}", error.name()));
                if !resync || lines.len() > 50 {
                    break;
                }
                match layer.resync(trace) {
                    Ok(now) => Ok(now),
                    Err(error) => {
                        lines.push(format!("resync: {}", named(&error).name()));
                        break;
                    }
                }
            }
        };
    }
    if !ips.is_empty() {
        lines.push(format!("{ips:x?}"));
    }
    lines
}

/// What both decoders list; they must agree.
fn listed_with(
    config: &TraceConfig,
    options: BlockOptions,
    image: &Image,
    trace: &[u8],
    resync: bool,
) -> Vec<String> {
    let blocks = list(&mut BlockDecoder::new(config, options, image.clone()), trace, resync);
    let instructions = list(&mut InstructionDecoder::new(config, options, image.clone()), trace, resync);
    assert_eq!(blocks, instructions, "blocks on the left, instructions on the right");
    let listed: Vec<&str> =
        blocks.iter().filter_map(|line| line.strip_prefix('[')?.strip_suffix(']')).collect();
    if blocks.iter().all(|line| !PtError::ALL.iter().any(|error| line.starts_with(error.name()))) {
        let listed = listed.join(", ");
        let history = in_history(config, image, trace);
        assert!(history.starts_with(&listed), "blocks {listed}, history {history}");
    }
    blocks
}

/// The addresses of a history of the trace, which goes on to where code would need more trace.
fn in_history(config: &TraceConfig, image: &Image, trace: &[u8]) -> String {
    let timeline = Timeline::constant(image.clone());
    let stream = decode(Arc::new(trace.to_vec()), config, timeline, DecodeOptions::default(), |_| false);
    let stream = stream.unwrap_or_else(|_| panic!("nothing stops this decode"));
    let mut ips = Vec::new();
    stream.ips(0, stream.steps(), &mut ips, &mut || false).unwrap();
    let ips: Vec<String> = ips.iter().map(|ip| format!("{ip:x}")).collect();
    ips.join(", ")
}

fn no_errata() -> TraceConfig {
    TraceConfig { cpu: CpuChoice::NoErrata, ..TraceConfig::default() }
}

fn listed(code: &[u8], packets: &[Packet]) -> Vec<String> {
    let image = image(&[(0x1000, code)]);
    listed_with(&no_errata(), NO_OPTIONS, &image, &from(0x1000, packets), false)
}

fn resynced(code: &[u8], packets: &[Packet]) -> Vec<String> {
    let image = image(&[(0x1000, code)]);
    listed_with(&TraceConfig::default(), NO_OPTIONS, &image, &from(0x1000, packets), true)
}

fn on(model: u8) -> TraceConfig {
    TraceConfig { cpu: CpuChoice::Exactly(Cpu { family: 6, model, stepping: 0 }), ..TraceConfig::default() }
}

fn code(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn bits_and_targets_lead_from_block_to_block() {
    //  1000 nop   1001 je 1004   1003 hlt   1004 jmp rax   1006 call 100c   100b hlt   100c ret
    let code = code(&[&[NOP, 0x74, 1, HLT], &JMP_RAX, &[0xe8, 1, 0, 0, 0, HLT, RET]]);
    let packets = [tnt("1"), tip(0x1006), tnt("1")];
    assert_eq!(listed(&code, &packets), ["[1000, 1001, 1004, 1006, 100c]"]);
}

#[test]
fn a_tip_may_stand_behind_a_tnt_that_is_not_used_up() {
    //  1000 jmp rax   1002 je 1000
    let code = code(&[&JMP_RAX, &[0x74, 0xfc]]);
    assert_eq!(listed(&code, &[tnt("1"), tip(0x1002)]), ["[1000, 1002]"]);
    // Not two packets behind.
    assert_eq!(listed(&code, &[tnt("1"), tnt("1"), tip(0x1002)]), ["[1000]", "bad_query 1000"]);
}

#[test]
fn a_compressed_return_needs_a_set_bit_and_a_call() {
    assert_eq!(listed(&[RET], &[tnt("1")]), ["[1000]", "retstack_empty 1000"]);
    assert_eq!(listed(&[RET], &[tnt("0")]), ["[1000]", "bad_retcomp 1000"]);
    // A call to the next instruction pushes nothing.
    assert_eq!(listed(&[0xe8, 0, 0, 0, 0, RET], &[tnt("1")]), ["[1000, 1005]", "retstack_empty 1005"]);
}

#[test]
fn asynchronous_events_bind_before_the_instruction_at_their_address() {
    let interrupt = [fup(0x1002), tip(0x1010), fup(0x1011), Packet::TipPgd(NONE)];
    assert_eq!(
        listed(&[NOP; 0x20], &interrupt),
        ["[1000, 1001]", "async_branch 1002 -> 1010", "[1010]", "async_disabled at 1011"]
    );
    // Nobody can go there without the trace.
    assert_eq!(listed(&[0x74, 0], &interrupt), ["[1000]", "bad_query 1000"]);
}

#[test]
fn an_event_needs_no_code_at_its_address() {
    //  1000 nop   1001 jmp 1f00, where nothing is mapped
    let code = code(&[&[NOP, 0xe9], &0xefa_u32.to_le_bytes()]);
    let interrupt = [fup(0x1f00), Packet::TipPgd(NONE)];
    assert_eq!(listed(&code, &interrupt), ["[1000, 1001]", "async_disabled at 1f00"]);
    assert_eq!(listed(&code, &[pgd(0x1f00)]), ["[1000, 1001]", "disabled 1f00"]);
    assert_eq!(listed(&code, &[fup(0x1f01), tip(0x1000)]), ["[1000, 1001]", "nomap 1f00"]);
}

#[test]
fn paging_binds_behind_mov_cr3_once() {
    let pip = |cr3| Packet::Pip { cr3, nr: false };
    let code = code(&[&MOV_CR3, &[NOP], &MOV_CR3, &[NOP]]);
    assert_eq!(
        listed(&code, &[pip(0xa000), pip(0xb000), fup(0x1007), Packet::TipPgd(NONE)]),
        ["[1000]", "paging cr3=a000", "[1003, 1004]", "paging cr3=b000", "async_disabled at 1007"]
    );
}

#[test]
fn a_disable_without_address_binds_where_trace_would_be_needed() {
    // 1000 nop  1001 call rax  1003 nop
    let call = [NOP, 0xff, 0xd0, NOP];
    let off = Packet::TipPgd(NONE);
    assert_eq!(
        listed(&call, &[off, pge(0x1003)]),
        ["[1000, 1001]", "disabled", "resumed 1003"],
        "behind the call that was not traced"
    );
    assert_eq!(listed(&call, &[off, pge(0x1001)]), ["[1000, 1001]", "disabled", "enabled 1001"]);
    assert_eq!(listed(&MOV_CR3, &[off]), ["[1000]", "disabled"]);
    // With an address: where linear code comes to it.
    assert_eq!(listed(&[NOP; 8], &[pgd(0x1003)]), ["[1000, 1001, 1002]", "disabled 1003"]);
}

#[test]
fn a_ptwrite_without_address_binds_behind_the_next_ptwrite() {
    let code = code(&[&[NOP], &PTWRITE, &PTWRITE, &JMP_RAX]);
    let ptw = Packet::Ptw { payload: 7, plc: 0, ip: false };
    assert_eq!(
        listed(&code, &[ptw, ptw, tip(0x1000)]),
        ["[1000, 1001]", "ptwrite", "[1005]", "ptwrite", "[1009]"]
    );
    let with_ip = [Packet::Ptw { payload: 7, plc: 0, ip: true }, fup(0x1005)];
    assert_eq!(listed(&code, &with_ip), ["[1000, 1001, 1005]", "ptwrite 1005"]);
}

#[test]
fn trig_counts_instructions_from_the_last_place() {
    let trig = |trbv, icnt| Packet::Trig { trbv, icnt, ip: false, icntv: true, mult: false };
    // 1000 nop  1001 jmp 1004  1003 hlt  1004 nop  1005 nop
    let code = [NOP, 0xeb, 1, HLT, NOP, NOP, NOP];
    assert_eq!(
        listed(&code, &[trig(1, 3), trig(2, 1), fup(0x1006), Packet::TipPgd(NONE)]),
        ["[1000, 1001, 1004]", "trig 1005 1", "[1005]", "trig 1006 2", "async_disabled at 1006"]
    );
    // The second counts from the first, and nothing can be counted once it has passed.
    let ptw = Packet::Ptw { payload: 7, plc: 0, ip: false };
    let ptwrite = [&PTWRITE[..], &[NOP]].concat();
    assert_eq!(listed(&ptwrite, &[ptw, trig(1, 0)]), ["[1000]", "ptwrite", "bad_packet"]);
}

#[test]
fn ticks_tell_where_time_advanced() {
    let options = BlockOptions { tick_events: true, ..NO_OPTIONS };
    //  1000 je 1002  1002 je 1004  1004 jmp rax
    let image = image(&[(0x1000, &code(&[&[0x74, 0, 0x74, 0], &JMP_RAX, &[HLT]]))]);
    let tsc = |tsc| Packet::Tsc { tsc };
    let trace = from(0x1000, &[tsc(5), tnt("11"), tsc(7), tip(0x1000)]);
    assert_eq!(
        listed_with(&TraceConfig::default(), options, &image, &trace, false),
        ["[1000]", "tick 1002 at 5", "[1002, 1004]", "tick 1004 at 7"]
    );
}

#[test]
fn options_end_blocks_behind_direct_branches() {
    // 1000 jmp 1002  1002 call 1008  1007 hlt  1008 jmp rax
    let image = image(&[(0x1000, &code(&[&[0xeb, 0, 0xe8, 1, 0, 0, 0, HLT], &JMP_RAX]))]);
    let trace = from(0x1000, &[tip(0x1000)]);
    let blocks = |options| {
        let mut decoder = BlockDecoder::new(&TraceConfig::default(), options, image.clone());
        let mut status = decoder.sync_forward(&trace).ok().unwrap();
        let mut sizes = Vec::new();
        while !status.eos() {
            if status.event_pending() {
                status = decoder.event(&trace).ok().unwrap().1;
                continue;
            }
            let mut block = Block::default();
            status = decoder.next(&trace, &mut block).ok().unwrap();
            sizes.push(block.ninsn);
        }
        sizes
    };
    assert_eq!(blocks(NO_OPTIONS), [3]);
    assert_eq!(blocks(BlockOptions { end_on_call: true, ..NO_OPTIONS }), [2, 1]);
    assert_eq!(blocks(BlockOptions { end_on_jump: true, ..NO_OPTIONS }), [1, 2]);
}

#[test]
fn an_instruction_across_two_sections_ends_its_block() {
    // mov eax, imm32 lies across the border.
    let image = image(&[(0x1000, &[NOP, 0xb8, 1]), (0x1003, &[2, 3, 4, NOP, 0xff, 0xe0])]);
    let trace = from(0x1000, &[tip(0x1000)]);
    let mut decoder = BlockDecoder::new(&TraceConfig::default(), NO_OPTIONS, image);
    let mut status = decoder.sync_forward(&trace).ok().unwrap();
    while status.event_pending() {
        status = decoder.event(&trace).ok().unwrap().1;
    }
    let mut block = Block::default();
    decoder.next(&trace, &mut block).ok().unwrap();
    assert_eq!((block.ip, block.end_ip, block.ninsn, block.truncated), (0x1000, 0x1001, 2, true));
    assert_eq!(&block.raw[..usize::from(block.size)], [0xb8, 1, 2, 3, 4]);
    decoder.next(&trace, &mut block).ok().unwrap();
    assert_eq!((block.ip, block.end_ip, block.ninsn, block.truncated), (0x1006, 0x1007, 2, false));
}

/// Two pieces of memory that touch each other at 1003, behind a callback.
struct Pieces;

impl ReadMemory for Pieces {
    fn read(&self, address: u64, size: usize, _: &Asid) -> Result<Vec<u8>, MemoryError> {
        let (start, piece): (u64, &[u8]) =
            if address < 0x1003 { (0x1000, &[NOP, 0xb8, 1]) } else { (0x1003, &[2, 3, 4, NOP, 0xff, 0xe0]) };
        let rest = piece.get((address - start) as usize..).unwrap_or(&[]);
        Ok(rest[..size.min(rest.len())].to_vec())
    }
}

#[test]
fn an_instruction_is_truncated_where_a_callback_gives_less_than_it_was_asked_for() {
    let mut image = Image::new(None);
    image.set_callback(Some(Arc::new(Pieces)));
    let trace = from(0x1000, &[tip(0x1000)]);
    let mut decoder = BlockDecoder::new(&TraceConfig::default(), NO_OPTIONS, image);
    let mut status = decoder.sync_forward(&trace).ok().unwrap();
    while status.event_pending() {
        status = decoder.event(&trace).ok().unwrap().1;
    }
    let mut block = Block::default();
    decoder.next(&trace, &mut block).ok().unwrap();
    assert_eq!((block.end_ip, block.ninsn, block.truncated), (0x1001, 2, true));
    assert_eq!(&block.raw[..usize::from(block.size)], [0xb8, 1, 2, 3, 4]);
}

#[test]
fn the_mode_comes_with_its_event() {
    // dec eax; nop in 32 bit, one REX.W nop in 64 bit
    let packets = [BITS32, fup(0x1001), fup(0x1003), Packet::TipPgd(NONE)];
    assert_eq!(
        listed(&[NOP, 0x48, NOP, NOP], &packets),
        ["[1000]", "exec_mode 1001", "[1001, 1002]", "async_disabled at 1003"]
    );
}

#[test]
fn code_that_goes_round_ends_with_an_error() {
    assert_eq!(listed(&[NOP, 0xeb, 0xfd], &[tip(0x1000)]), ["[1000, 1001]", "bad_query 1000"]);
    // At a place in the loop: the first arrival.
    let interrupt = [fup(0x1001), Packet::TipPgd(NONE)];
    assert_eq!(listed(&[NOP, 0xeb, 0xfd], &interrupt), ["[1000]", "async_disabled at 1001"]);
    // Through two sections, where every block ends at the border.
    let image = image(&[(0x1000, &[NOP]), (0x1001, &[0xeb, 0xfd])]);
    let lines = listed_with(&TraceConfig::default(), NO_OPTIONS, &image, &from(0x1000, &[tip(0)]), false);
    assert_eq!(lines.last().unwrap().split(' ').next(), Some("bad_query"));
}

#[test]
fn contradictions_are_errors_with_libipts_numbers() {
    assert_eq!(listed(&[NOP; 4], &[pge(0x1000)]), ["bad_context"], "tracing is on already");
    assert_eq!(listed(&[NOP; 4], &[Packet::Stop]), ["bad_context"]);
    assert_eq!(listed(&[NOP, 0x74, 0], &[tip(0x1000)]), ["[1000, 1001]", "bad_query 1001"]);
    assert_eq!(listed(&JMP_RAX, &[Packet::Tip(NONE)]), ["[1000]", "bad_packet 1000"]);
    assert_eq!(listed(&[NOP], &[tip(0x1000)]), ["[1000]", "nomap 1001"]);
    assert_eq!(listed(&[NOP, 0x06], &[tip(0x1000)]), ["[1000]", "bad_insn 1001"]);
}

#[test]
fn resync_goes_to_the_next_event_with_a_place() {
    //  1000 jmp 1102, which is not mapped
    let lost: &[u8] = &[0xe9, 0xfd, 0, 0, 0, NOP, NOP, NOP];
    let end = [fup(0x1007), Packet::TipPgd(NONE)];
    let from = |packets: &[Packet]| resynced(lost, &[packets, &end].concat());
    let head = ["[1000]", "nomap 1102"];
    let tail = "async_disabled at 1007";
    assert_eq!(
        from(&[fup(0x2000), tip(0x1005)]),
        [head[0], head[1], "async_branch 2000 -> 1005", "[1005, 1006]", tail]
    );
    assert_eq!(from(&[tnt("101"), tip(0x1006)]), [head[0], head[1], "[1006]", tail]);
    assert_eq!(
        from(&[tnt("1"), Packet::Ovf, fup(0x1006)]),
        [head[0], head[1], "overflow 1006", "[1006]", tail]
    );
    assert_eq!(from(&[pgd(0x1005), pge(0x1006)]), [head[0], head[1], "enabled 1006", "[1006]", tail]);
    let begin = [Packet::ModeTsx { intx: true, abrt: false }, fup(0x1006)];
    assert_eq!(from(&begin), [head[0], head[1], "tsx 1006 begin", "[1006]", tail]);
    // A PTW without address has to be read before resynchronising goes on.
    let lines = from(&[tnt("1"), Packet::Ptw { payload: 1, plc: 0, ip: false }, tip(0x1006)]);
    assert_eq!(lines[..2], head);
    assert_eq!(lines[2], "resync: event_ignored");
}

#[test]
fn resync_at_a_status_update_starts_anew_at_its_psb() {
    let lost: &[u8] = &[0xe9, 0xfd, 0, 0, 0, NOP, NOP];
    let packets = [Packet::Psb, BITS64, fup(0x1005), Packet::Psbend, fup(0x1006), Packet::TipPgd(NONE)];
    assert_eq!(resynced(lost, &packets), ["[1000]", "nomap 1102", "[1005]", "async_disabled at 1006"]);
}

#[test]
fn bdm64_a_branch_before_an_abort_went_elsewhere() {
    //  1000 je 1003   1002 hlt (not reached)   1003 je 1003   1005 nop
    let image = image(&[(0x1000, &[0x74, 1, HLT, 0x74, 0xfe, NOP, NOP])]);
    let abort = [tnt("1"), Packet::ModeTsx { intx: false, abrt: true }, fup(0x1005), tip(0x1006)];
    let list = |config: &TraceConfig| listed_with(config, NO_OPTIONS, &image, &from(0x1000, &abort), false);
    assert_eq!(list(&on(0x3d)), ["[1000]", "tsx 1005 abort", "async_branch 1005 -> 1006"]);
    assert_eq!(list(&TraceConfig::default()), ["[1000, 1003]", "bad_query 1003"]);
}

#[test]
fn skd022_a_virtual_machine_entry_is_no_asynchronous_disable() {
    let image = image(&[(0x1000, &[NOP, 0x0f, 0x01, 0xc3, NOP])]);
    let entry = from(0x1000, &[fup(0x1001), Packet::TipPgd(NONE)]);
    let list = |config: &TraceConfig| listed_with(config, NO_OPTIONS, &image, &entry, false);
    assert_eq!(list(&on(0x4e)), ["[1000, 1001]", "disabled"], "the VMRESUME has run");
    assert_eq!(list(&TraceConfig::default()), ["[1000]", "async_disabled at 1001"]);
}

#[test]
fn skl014_a_direct_branch_leaves_the_filter() {
    //  1000 jmp 1100   1100 hlt
    let image = image(&[(0x1000, &[0xe9, 0xfb, 0, 0, 0]), (0x1100, &[0x74, 0])]);
    let filters = vec![FilterRange { stop: false, first: 0x1000, last: 0x10ff }];
    let config = TraceConfig { filters, ..on(0x4e) };
    let off = from(0x1000, &[Packet::TipPgd(NONE)]);
    assert_eq!(listed_with(&config, NO_OPTIONS, &image, &off, false), ["[1000]", "disabled"]);
    assert_eq!(listed_with(&on(0x4e), NO_OPTIONS, &image, &off, false), ["[1000, 1100]", "disabled"]);
}

#[test]
fn nothing_can_be_asked_before_synchronising() {
    let mut decoder = BlockDecoder::new(&TraceConfig::default(), NO_OPTIONS, Image::new(None));
    let error = decoder.next(&[], &mut Block::default()).err();
    assert_eq!(error.as_ref().map(named), Some(PtError::Nosync));
    assert_eq!(decoder.event(&[]).err().as_ref().map(named), Some(PtError::BadQuery));
    assert_eq!(decoder.sync_forward(&[]).err().as_ref().map(named), Some(PtError::Eos));
}
