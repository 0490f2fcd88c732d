//! The packets of a trace, one a line.
//!
//! The caller brings the trace's bytes, always the same, and options; back comes text in pieces. What goes wrong
//! in a packet is a line in front of the packet's. Behind bytes that are no packet the listing goes on at the
//! next PSB.

mod options;
mod payload;
mod tracking;

use odograph_core::config::TraceConfig;
use odograph_core::cpu::Errata;
use odograph_core::error::PtError;
use odograph_core::packet::{self, sync, BlockContext, Packet};

pub use options::PacketOptions;
pub(crate) use payload::branches;
use tracking::{Column, Complaints, Tracking};

use crate::text::{hex_digits, pad};

/// A piece ends when it has at least this many bytes, or is made of this many packets.
const PIECE_BYTES: usize = 1 << 16;
const PIECE_PACKETS: usize = 1 << 20;

/// Why a piece ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is long enough; there may be more.
    More,
    /// The time has reached the limit, and is this; a packet that moved it there comes next.
    Reached(u64),
    /// The trace has ended.
    End,
}

/// A listing in progress. It holds no trace: every call brings the same bytes.
#[derive(Clone, Debug)]
pub struct PacketListing {
    options: PacketOptions,
    errata: Errata,
    tracking: Tracking,
    context: BlockContext,
    /// None before the first PSB was looked for.
    offset: Option<usize>,
    ended: bool,
    /// Where the trace was synchronised last.
    synchronised: usize,
    /// A line that waits for what must stand in front of it.
    held: Vec<u8>,
    payload: Vec<u8>,
    column: Column,
}

impl PacketListing {
    /// A listing of a trace that was made under this configuration.
    pub fn new(config: &TraceConfig, options: PacketOptions) -> Self {
        PacketListing {
            options,
            errata: Errata::chosen(config.cpu),
            tracking: Tracking::new(config, &options),
            context: BlockContext { libipt: true, ..BlockContext::default() },
            offset: options.no_sync.then_some(0),
            ended: false,
            synchronised: 0,
            held: Vec::new(),
            payload: Vec::new(),
            column: Column::default(),
        }
    }

    /// Appends the next piece to `out`. It ends early, in front of the line of a TSC, CBR, TMA, MTC or CYC packet,
    /// when time is followed and has reached `limit`; that line begins the next piece.
    pub fn next_piece(&mut self, trace: &[u8], limit: Option<u64>, out: &mut Vec<u8>) -> Progress {
        out.append(&mut self.held);
        let enough = out.len().saturating_add(PIECE_BYTES);
        for _ in 0..PIECE_PACKETS {
            if out.len() >= enough {
                break;
            }
            let Some(offset) = self.here(trace) else { return Progress::End };
            let rest = trace.get(offset..).unwrap_or(&[]);
            match packet::decode_repaired(rest, &mut self.context, &self.errata) {
                Ok((packet, size)) => {
                    self.offset = Some(offset.saturating_add(size));
                    let moved = packet.as_ref().is_some_and(|packet| self.follow(packet, offset, out));
                    let reached = moved && limit.is_some_and(|limit| self.tracking.tsc() >= limit);
                    let raw = trace.get(offset..offset.saturating_add(size)).unwrap_or(&[]);
                    if reached {
                        let mut held = std::mem::take(&mut self.held);
                        self.line(packet.as_ref(), offset, raw, &mut held);
                        self.held = held;
                        return Progress::Reached(self.tracking.tsc());
                    }
                    self.line(packet.as_ref(), offset, raw, out);
                }
                Err(PtError::Eos) => self.ended = true,
                Err(code) => {
                    Complaints { offset, out }.add("error decoding packet", Some(code));
                    self.resync(trace, offset);
                }
            }
        }
        Progress::More
    }

    /// Where the next packet begins; None at the end.
    fn here(&mut self, trace: &[u8]) -> Option<usize> {
        if self.ended {
            return None;
        }
        if self.offset.is_none() {
            self.offset = sync::forward(trace, 0);
            self.synchronised = self.offset.unwrap_or(0);
        }
        self.ended = self.offset.is_none();
        self.offset
    }

    /// Takes in a packet; true if it moved time on.
    fn follow(&mut self, packet: &Packet, offset: usize, out: &mut Vec<u8>) -> bool {
        self.column.name = "";
        self.column.value.clear();
        self.tracking.take(packet, &self.options, &mut self.column, &mut Complaints { offset, out })
    }

    /// Goes to the next PSB. One whose first bytes were taken for the end of a broken packet counts; the one where
    /// the trace was synchronised last does not.
    fn resync(&mut self, trace: &[u8], offset: usize) {
        let behind = if offset == self.synchronised { offset.saturating_add(16) } else { offset };
        self.offset = sync::forward(trace, behind.saturating_sub(15));
        self.ended = self.offset.is_none();
        self.synchronised = self.offset.unwrap_or(offset);
        self.context = BlockContext { libipt: true, ..BlockContext::default() };
        self.tracking.reset();
    }

    fn hidden(&self, packet: Option<&Packet>) -> bool {
        let options = &self.options;
        options.quiet
            || match packet {
                Some(Packet::Pad) => options.no_pad,
                Some(Packet::Cyc { .. }) => options.no_cyc || options.no_timing,
                Some(Packet::Tsc { .. } | Packet::Cbr { .. } | Packet::Tma { .. } | Packet::Mtc { .. }) => {
                    options.no_timing
                }
                _ => false,
            }
    }

    /// The packet's line, if it is to be shown.
    fn line(&mut self, packet: Option<&Packet>, offset: usize, raw: &[u8], out: &mut Vec<u8>) {
        if self.hidden(packet) {
            return;
        }
        if !self.options.no_offset {
            hex_digits(out, offset as u64, 16);
            out.extend_from_slice(b"  ");
        }
        if self.options.raw {
            let start = out.len();
            for &byte in raw {
                hex_digits(out, byte.into(), 2);
            }
            pad(out, start, 34);
        }
        let Some(packet) = packet else {
            out.extend_from_slice(b"<invalid>\n");
            return;
        };
        self.payload.clear();
        let opcode = payload::payload(packet, &mut self.payload);
        let start = out.len();
        out.extend_from_slice(opcode.as_bytes());
        // Without a payload the name is not padded, even if another column follows.
        if !self.payload.is_empty() {
            pad(out, start, 10);
            out.push(b' ');
        }
        let start = out.len();
        out.extend_from_slice(&self.payload);
        if !self.column.name.is_empty() {
            pad(out, start, if self.payload.is_empty() { 26 } else { 25 });
            out.push(b' ');
            let start = out.len();
            out.extend_from_slice(self.column.name.as_bytes());
            pad(out, start, 5);
            out.extend_from_slice(&self.column.value);
        }
        out.push(b'\n');
    }
}
