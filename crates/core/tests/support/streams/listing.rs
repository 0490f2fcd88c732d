//! What the decoders here say of a case, in the words of the judge.

use std::fmt::Write as _;

use odograph_core::error::PtError;
use odograph_core::event::{Event, EventDecoder, EventKind, QueryDecoder, Status};
use odograph_core::flow::{Block, BlockDecoder, BlockOptions, CodeError, Insn, InstructionDecoder};

use super::case::{Cached, Case, Layer};

/// So much of a case is listed at most, as by the judge.
pub const MOST_CALLS: usize = 6000;
/// So many instructions are listed at most.
pub const MOST_INSTRUCTIONS: usize = 1500;

/// The event and its fields.
pub fn event(event: &Event) -> String {
    let mut text = event.name().to_owned();
    let mut put = |more: std::fmt::Arguments<'_>| {
        let _ = text.write_fmt(more);
    };
    match event.kind {
        EventKind::Enabled { resumed, .. } => put(format_args!(" resumed={}", u8::from(resumed))),
        EventKind::AsyncDisabled { at, .. } => put(format_args!(" at={at:x}")),
        EventKind::AsyncBranch { from, .. } => put(format_args!(" from={from:x}")),
        EventKind::Paging { cr3, non_root } | EventKind::AsyncPaging { cr3, non_root, .. } => {
            put(format_args!(" cr3={cr3:x} nr={}", u8::from(non_root)));
        }
        EventKind::ExecMode { mode, .. } => put(format_args!(" mode={}", mode as u8)),
        EventKind::Tsx { speculative, aborted, .. } => {
            put(format_args!(" speculative={} aborted={}", u8::from(speculative), u8::from(aborted)));
        }
        EventKind::Vmcs { base } | EventKind::AsyncVmcs { base, .. } => put(format_args!(" base={base:x}")),
        EventKind::Mwait { hints, ext, .. } => put(format_args!(" hints={hints:x} ext={ext:x}")),
        EventKind::Pwre { state, sub_state, hw } => {
            put(format_args!(" state={state}.{sub_state} hw={}", u8::from(hw)));
        }
        EventKind::Pwrx { last, deepest, interrupt, store, autonomous } => put(format_args!(
            " last={last} deepest={deepest} reason={}{}{}",
            u8::from(interrupt),
            u8::from(store),
            u8::from(autonomous)
        )),
        EventKind::Ptwrite { size, payload, .. } => put(format_args!(" size={size} payload={payload:x}")),
        EventKind::Cbr { ratio } => put(format_args!(" ratio={ratio}")),
        EventKind::Mnt { payload } => put(format_args!(" payload={payload:x}")),
        EventKind::Interrupt { vector, cr2, .. } => put(format_args!(" vector={vector} cr2={cr2:x?}")),
        EventKind::Iflags { iflag, .. } => put(format_args!(" iflag={}", u8::from(iflag))),
        EventKind::Vmexit { vector, vmxr, vmxq, .. } => {
            put(format_args!(" vector={vector:?} vmxr={vmxr:x?} vmxq={vmxq:x?}"));
        }
        EventKind::Sipi { vector } | EventKind::Uintr { vector, .. } | EventKind::Swintr { vector, .. } => {
            put(format_args!(" vector={vector}"));
        }
        EventKind::Trig { trbv, icnt, mult, .. } => {
            put(format_args!(" trbv={trbv} icnt={icnt} mult={}", u8::from(mult)));
        }
        _ => {}
    }
    match event.ip() {
        Some(_) if event.ip_suppressed => text.push_str(" suppressed"),
        Some(ip) => {
            let _ = write!(text, " ip={ip:x}");
        }
        None => {}
    }
    if event.status_update {
        text.push_str(" status");
    }
    let known = if event.has_tsc { "" } else { "?" };
    let _ = write!(text, " tsc={:x}{known} mtc={} cyc={}", event.tsc, event.lost_mtc, event.lost_cyc);
    text
}

/// Closes a line.
fn end(text: String, status: Result<u8, PtError>, offset: u64) -> String {
    match status {
        Ok(status) => format!("{text} | {status} {offset:x}"),
        Err(error) => format!("{text} | -{} {offset:x}", error.code()),
    }
}

/// Events, bits and targets in the order of the trace, as the event layer gives them.
pub fn events(case: &Case) -> Vec<String> {
    let trace = case.trace();
    let mut decoder = EventDecoder::new(&case.config());
    let mut lines = Vec::new();
    let mut synced = false;
    while lines.len() < MOST_CALLS {
        if !synced {
            let status = decoder.sync_forward(&trace);
            lines.push(end("sync".into(), status.map(|()| 0), decoder.sync_offset()));
            if status == Err(PtError::Eos) {
                break;
            }
            synced = status.is_ok();
            continue;
        }
        let offset = decoder.offset();
        match decoder.next(&trace) {
            Err(error) => {
                lines.push(end("error".into(), Err(error), offset));
                synced = false;
            }
            Ok(found) => match found.kind {
                EventKind::Tnt { bits, size } => {
                    for bit in (0..size).rev() {
                        lines.push(end(format!("bit {}", bits >> bit & 1), Ok(0), offset));
                    }
                }
                EventKind::Tip { .. } if found.ip_suppressed => {
                    lines.push(end("tip suppressed".into(), Ok(0), offset));
                }
                EventKind::Tip { ip } => lines.push(end(format!("tip ip={ip:x}"), Ok(0), offset)),
                _ => lines.push(end(event(&found), Ok(0), offset)),
            },
        }
    }
    lines
}

/// The same as the query layer gives it to somebody who asks for whatever comes next.
pub fn query(case: &Case) -> Vec<String> {
    let trace = case.trace();
    let mut decoder = QueryDecoder::new(&case.config());
    let mut lines = Vec::new();
    let mut status = Err(PtError::Nosync);
    while lines.len() < MOST_CALLS {
        let (text, found) = match status {
            Err(_) => {
                let found = decoder.sync_forward(&trace).map(|(_, status)| status);
                ("sync".into(), found)
            }
            Ok(before) if Status::event_pending(before) => match decoder.event(&trace) {
                Ok((found, status)) => (event(&found), Ok(status)),
                Err(error) => ("error".into(), Err(error)),
            },
            Ok(_) => match decoder.cond_branch(&trace) {
                Ok((taken, status)) => (format!("bit {}", u8::from(taken)), Ok(status)),
                Err(PtError::BadQuery) => match decoder.indirect_branch(&trace) {
                    Ok((Some(ip), status)) => (format!("tip ip={ip:x}"), Ok(status)),
                    Ok((None, status)) => ("tip suppressed".into(), Ok(status)),
                    Err(error) => ("error".into(), Err(error)),
                },
                Err(error) => ("error".into(), Err(error)),
            },
        };
        let offset = if text == "sync" { decoder.events().sync_offset() } else { decoder.events().offset() };
        let last = text == "sync" && found == Err(PtError::Eos);
        lines.push(end(text, found.map(Status::bits), offset));
        if last {
            break;
        }
        status = found;
    }
    lines
}

/// What the case's layer gives.
pub fn list(case: &Case, cached: &Cached) -> Vec<String> {
    match case.layer {
        Layer::Query => query(case),
        Layer::Instruction => instructions(case, cached),
        Layer::Block => blocks(case, cached),
    }
}

fn code(error: CodeError) -> PtError {
    match error {
        CodeError::Pt(error) => error,
        CodeError::Foreign(_) => unreachable!("no callback of a case raises anything"),
    }
}

fn options(case: &Case) -> BlockOptions {
    BlockOptions {
        end_on_call: case.end_on_call,
        end_on_jump: case.end_on_jump,
        tick_events: case.tick_events,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn flags(speculative: bool, truncated: bool) -> String {
    let mut text = String::new();
    text.push_str(if speculative { " speculative" } else { "" });
    text.push_str(if truncated { " truncated" } else { "" });
    text
}

/// One instruction.
fn instruction(insn: &Insn) -> String {
    let (mode, class) = (insn.mode as u8, insn.class as u8);
    let mut text = format!("step ip={:x} isid={} mode={mode} class={class}", insn.ip, insn.isid);
    let _ = write!(text, " raw={}", hex(&insn.raw[..usize::from(insn.size)]));
    text + &flags(insn.speculative, insn.truncated)
}

/// Instructions and events as the instruction layer gives them.
pub fn instructions(case: &Case, cached: &Cached) -> Vec<String> {
    let trace = case.trace();
    let mut decoder = InstructionDecoder::new(&case.config(), options(case), case.image(cached));
    let mut lines = Vec::new();
    let mut status = Err(PtError::Nosync);
    let mut instructions = 0;
    while lines.len() < MOST_CALLS && instructions < MOST_INSTRUCTIONS {
        let mut offset = 0;
        let (text, found) = match status {
            Ok(before) if before & 1 != 0 => match decoder.event(&trace) {
                Ok((found, status)) => (event(&found), Ok(status)),
                Err(error) => ("error".into(), Err(code(error))),
            },
            Ok(_) => {
                let mut insn = Insn::default();
                let found = decoder.next(&trace, &mut insn);
                instructions += usize::from(found.is_ok());
                if matches!(found, Err(CodeError::Pt(PtError::EventIgnored))) {
                    // An event hid behind an empty block.
                    status = Ok(1);
                    continue;
                }
                let text = if found.is_ok() { instruction(&insn) } else { format!("error ip={:x}", insn.ip) };
                (text, found.map_err(code))
            }
            _ => {
                let found = decoder.sync_forward(&trace);
                offset = decoder.sync_offset();
                ("sync".into(), found.map_err(code))
            }
        };
        let last = text == "sync" && found == Err(PtError::Eos);
        status = found.map(|status| status.bits());
        lines.push(end(text, status, offset));
        if last {
            break;
        }
    }
    lines
}

/// Blocks and events as the block layer gives them.
pub fn blocks(case: &Case, cached: &Cached) -> Vec<String> {
    let trace = case.trace();
    let mut decoder = BlockDecoder::new(&case.config(), options(case), case.image(cached));
    let mut lines = Vec::new();
    let mut status = Err(PtError::Nosync);
    let mut instructions = 0;
    while lines.len() < MOST_CALLS && instructions < MOST_INSTRUCTIONS {
        let mut offset = 0;
        let (text, found) = match status {
            Ok(before) if before & 1 != 0 => match decoder.event(&trace) {
                Ok((found, status)) => (event(&found), Ok(status)),
                Err(error) => ("error".into(), Err(code(error))),
            },
            Ok(_) => {
                let mut block = Block::default();
                let found = decoder.next(&trace, &mut block);
                instructions += usize::from(block.ninsn);
                let word = if found.is_err() { "error " } else { "" };
                let mut text = format!("{word}block ninsn={}", block.ninsn);
                if block.ninsn > 0 {
                    let (mode, class) = (block.mode as u8, block.class as u8);
                    let _ = write!(text, " ip={:x} end={:x}", block.ip, block.end_ip);
                    let _ = write!(text, " isid={} mode={mode} class={class}", block.isid);
                    if block.truncated {
                        let _ = write!(text, " raw={}", hex(&block.raw[..usize::from(block.size)]));
                    }
                    text.push_str(&flags(block.speculative, block.truncated));
                }
                (text, found.map_err(code))
            }
            _ => {
                let found = decoder.sync_forward(&trace);
                offset = decoder.sync_offset();
                ("sync".into(), found.map_err(code))
            }
        };
        let last = text == "sync" && found == Err(PtError::Eos);
        status = found.map(|status| status.bits());
        lines.push(end(text, status, offset));
        if last {
            break;
        }
    }
    lines
}

/// Instructions and events as the block layer gives them, block by block.
pub fn expanded(case: &Case, cached: &Cached) -> Vec<String> {
    let trace = case.trace();
    let mut decoder = BlockDecoder::new(&case.config(), options(case), case.image(cached));
    let mut lines = Vec::new();
    let mut status = Err(PtError::Nosync);
    let mut instructions = 0;
    while lines.len() < MOST_CALLS && instructions < MOST_INSTRUCTIONS {
        let found = match status {
            Ok(before) if before & 1 != 0 => match decoder.event(&trace) {
                Ok((found, status)) => {
                    lines.push(event(&found));
                    Ok(status)
                }
                Err(error) => Err(code(error)),
            },
            Ok(_) => {
                let mut block = Block::default();
                let found = decoder.next(&trace, &mut block);
                instructions += usize::from(block.ninsn);
                for insn in decoder.instructions() {
                    let (mode, class) = (block.mode as u8, insn.class as u8);
                    let mut raw = vec![0; usize::from(insn.size)];
                    decoder.bytes(insn.ip, &mut raw);
                    let text = format!("step ip={:x} isid={} mode={mode} class={class}", insn.ip, block.isid);
                    let flags = flags(block.speculative, insn.truncated);
                    lines.push(format!("{text} raw={}{flags}", hex(&raw)));
                }
                found.map_err(code)
            }
            Err(_) => {
                let found = decoder.sync_forward(&trace).map_err(code);
                lines.push(format!("sync {:x}", decoder.sync_offset()));
                if found == Err(PtError::Eos) {
                    break;
                }
                found
            }
        };
        if let Err(error) = found {
            lines.push(format!("error {}", error.name()));
        }
        status = found.map(|status| status.bits());
    }
    lines
}
