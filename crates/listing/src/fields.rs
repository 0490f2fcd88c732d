//! Packets with all their fields by name, one a line or one a JSON object, as `odograph packets` shows them.
//!
//! Unlike [`crate::packets`] it reads packets as the processor manual and not as libipt does.

use odograph_core::error::PtError;
use odograph_core::packet::{self, sync, BlockContext, Packet};

use crate::text::{decimal, hex, hex_digits, pad};

/// A piece ends when it has at least this many bytes, or was made of this many packets.
const PIECE_BYTES: usize = 1 << 16;
const PIECE_PACKETS: usize = 1 << 20;

/// What is listed, and how.
#[derive(Clone, Debug, Default)]
pub struct FieldOptions {
    /// Names of packets; `tnt` and `mode` stand for all of theirs. None: all packets.
    pub kinds: Vec<String>,
    /// Packets that begin at this offset or behind it.
    pub first: usize,
    /// Packets that begin before this offset.
    pub end: Option<usize>,
    /// JSON objects with `,` and a newline between them rather than lines.
    pub json: bool,
    /// The stream's number; lines show it only if `numbered`.
    pub stream: u64,
    /// There are several streams.
    pub numbered: bool,
}

/// A listing in progress. It holds no trace: every call brings the same bytes.
#[derive(Clone, Debug)]
pub struct FieldListing {
    options: FieldOptions,
    context: BlockContext,
    offset: Option<usize>,
    synchronised: usize,
    begun: bool,
}

impl FieldListing {
    /// A listing of a stream.
    pub fn new(options: FieldOptions) -> Self {
        FieldListing {
            options,
            context: BlockContext::default(),
            offset: None,
            synchronised: 0,
            begun: false,
        }
    }

    /// Appends the next piece; false at the end.
    pub fn next_piece(&mut self, trace: &[u8], out: &mut Vec<u8>) -> bool {
        if !std::mem::replace(&mut self.begun, true) {
            self.begin(trace);
        }
        let start = out.len();
        for _ in 0..PIECE_PACKETS {
            let end = self.options.end.unwrap_or(usize::MAX).min(trace.len());
            let Some(offset) = self.offset.filter(|&offset| offset < end) else { return false };
            if out.len().saturating_sub(start) >= PIECE_BYTES {
                break;
            }
            let wanted = offset >= self.options.first;
            match packet::decode(trace.get(offset..).unwrap_or(&[]), &mut self.context) {
                Ok((packet, size)) => {
                    if packet == Packet::Psb {
                        self.synchronised = offset;
                    }
                    self.offset = Some(offset.saturating_add(size));
                    if wanted && self.matches(packet.name()) {
                        self.packet(&packet, offset, size, start, out);
                    }
                }
                Err(code) => {
                    let cut = code == PtError::Eos;
                    if wanted {
                        let text = if cut { "the trace ends inside a packet" } else { code.message() };
                        self.damage(text, offset, start, out);
                    }
                    let from = offset.saturating_sub(15).max(self.synchronised.saturating_add(16));
                    self.offset = if cut { None } else { sync::forward(trace, from) };
                    self.synchronised = self.offset.unwrap_or(0);
                    self.context = BlockContext::default();
                }
            }
        }
        true
    }

    /// Packets have a known beginning only from a PSB on, so those from the PSB before the first one are read.
    fn begin(&mut self, trace: &[u8]) {
        let before = self.options.first.saturating_add(1).min(trace.len());
        self.offset = sync::backward(trace, before).or_else(|| sync::forward(trace, 0));
        self.synchronised = self.offset.unwrap_or(0);
    }

    fn matches(&self, name: &str) -> bool {
        self.options.kinds.is_empty()
            || self.options.kinds.iter().any(|kind| {
                kind == name || matches!(kind.as_str(), "tnt" | "mode") && name.starts_with(kind.as_str())
            })
    }

    /// What comes before a packet's own text.
    fn head(&self, offset: usize, start: usize, out: &mut Vec<u8>) {
        if self.options.json {
            if out.len() > start {
                out.extend_from_slice(b",\n");
            }
            out.extend_from_slice(b"{\"stream\": ");
            decimal(out, self.options.stream);
            out.extend_from_slice(b", \"offset\": ");
            decimal(out, offset as u64);
            return;
        }
        if self.options.numbered {
            decimal(out, self.options.stream);
            out.push(b' ');
        }
        if offset as u64 >> 32 == 0 {
            hex_digits(out, offset as u64, 8);
        } else {
            hex(out, offset as u64);
        }
        out.extend_from_slice(b"  ");
    }

    fn damage(&self, text: &str, offset: usize, start: usize, out: &mut Vec<u8>) {
        self.head(offset, start, out);
        let (open, close) = if self.options.json { (", \"error\": \"", "\"}") } else { ("[", "]\n") };
        for part in [open, text, close] {
            out.extend_from_slice(part.as_bytes());
        }
    }

    fn packet(&self, packet: &Packet, offset: usize, size: usize, start: usize, out: &mut Vec<u8>) {
        self.head(offset, start, out);
        if self.options.json {
            json(packet, size, out);
        } else {
            line(packet, out);
        }
    }
}

fn json(packet: &Packet, size: usize, out: &mut Vec<u8>) {
    // The size of a TNT packet is the number of its branches.
    let (branches, size) = match *packet {
        Packet::Tnt8(tnt) | Packet::Tnt64(tnt) => (true, tnt.size.into()),
        _ => (false, size as u64),
    };
    out.extend_from_slice(b", \"size\": ");
    decimal(out, size);
    out.extend_from_slice(format!(", \"kind\": \"{}\"", packet.name()).as_bytes());
    packet.fields(|name, value| {
        if branches && name == "size" {
            return;
        }
        out.extend_from_slice(format!(", \"{name}\": ").as_bytes());
        match value {
            packet::Field::Number(number) => decimal(out, number),
            packet::Field::Flag(flag) => out.extend_from_slice(if flag { b"true" } else { b"false" }),
        }
    });
    out.push(b'}');
}

fn line(packet: &Packet, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(packet.name().as_bytes());
    pad(out, start, 10);
    match *packet {
        Packet::Fup(payload) | Packet::Tip(payload) | Packet::TipPge(payload) | Packet::TipPgd(payload) => {
            if payload.compression == packet::IpCompression::Suppressed {
                out.push(b'-');
            } else {
                decimal(out, payload.compression as u64);
                out.extend_from_slice(b": ");
                hex_digits(out, payload.ip, 16);
            }
        }
        Packet::Tnt8(tnt) | Packet::Tnt64(tnt) => crate::packets::branches(tnt, out),
        _ => {
            let start = out.len();
            packet.fields(|name, value| {
                let mut word = |text: &str| {
                    if out.len() > start {
                        out.extend_from_slice(b"  ");
                    }
                    out.extend_from_slice(text.as_bytes());
                };
                match value {
                    packet::Field::Flag(false) => {}
                    packet::Field::Flag(true) => word(name),
                    packet::Field::Number(number) => word(&format!("{name} {number:#x}")),
                }
            });
        }
    }
    while out.last() == Some(&b' ') {
        out.pop();
    }
    out.push(b'\n');
}
