//! One case: code, configuration and packets, for the decoders here and for the judge.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::sync::Arc;

use odograph_core::asid::Asid;
use odograph_core::config::{CpuChoice, FilterRange, TraceConfig};
use odograph_core::cpu::{Cpu, Errata};
use odograph_core::image::{Image, SectionCache};
use odograph_core::memory::{MemoryError, ReadMemory};
use odograph_core::packet::{encode, Packet};

/// Which decoder a case is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    Query = 0,
    Instruction = 1,
    Block = 2,
}

/// How the memory of a piece is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    File = 0,
    Cache = 1,
    Callback = 2,
}

/// Some memory.
#[derive(Clone, Debug)]
pub struct Piece {
    pub vaddr: u64,
    pub cr3: Option<u64>,
    pub source: Source,
    pub bytes: Vec<u8>,
}

/// A part of a trace.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Packet(Packet),
    Raw(Vec<u8>),
}

/// Everything a decoder is given.
#[derive(Clone, Debug)]
pub struct Case {
    pub layer: Layer,
    /// No processor wrote this.
    pub damaged: bool,
    /// It may hold packets that libipt 2.0.5 does not know.
    pub later: bool,
    pub end_on_call: bool,
    pub end_on_jump: bool,
    pub tick_events: bool,
    pub cpu: Option<Cpu>,
    pub mtc_freq: u8,
    pub nom_freq: u8,
    pub eax: u32,
    pub ebx: u32,
    pub filters: Vec<FilterRange>,
    pub pieces: Vec<Piece>,
    pub parts: Vec<Part>,
}

/// The pieces that only a callback knows.
struct Behind(Vec<Piece>);

impl ReadMemory for Behind {
    fn read(&self, address: u64, size: usize, _: &Asid) -> Result<Vec<u8>, MemoryError> {
        for piece in &self.0 {
            let offset = address.wrapping_sub(piece.vaddr) as usize;
            if address >= piece.vaddr && offset < piece.bytes.len() {
                let end = (offset + size).min(piece.bytes.len());
                return Ok(piece.bytes[offset..end].to_vec());
            }
        }
        Ok(Vec::new())
    }
}

impl Case {
    /// The bytes of the trace.
    pub fn trace(&self) -> Vec<u8> {
        let mut trace = Vec::new();
        for part in &self.parts {
            match part {
                Part::Packet(packet) => drop(encode(packet, &mut trace)),
                Part::Raw(bytes) => trace.extend_from_slice(bytes),
            }
        }
        trace
    }

    /// The configuration, for the decoders here.
    pub fn config(&self) -> TraceConfig {
        TraceConfig {
            cpu: self.cpu.map_or(CpuChoice::NoErrata, CpuChoice::Exactly),
            mtc_freq: self.mtc_freq,
            nom_freq: self.nom_freq,
            cpuid_0x15_eax: self.eax,
            cpuid_0x15_ebx: self.ebx,
            filters: self.filters.clone(),
            libipt_compat: !self.later,
            ..TraceConfig::default()
        }
    }

    /// The image, for the decoders here. Pieces of files are bytes, which decode the same.
    pub fn image(&self, cached: &Cached) -> Image {
        let mut image = Image::new(None);
        for (nth, piece) in self.pieces.iter().enumerate() {
            let asid = Asid { cr3: piece.cr3, vmcs: None };
            match piece.source {
                Source::File => {
                    let _ = image.add_bytes(piece.bytes.clone(), piece.vaddr, &asid, None);
                }
                Source::Cache => {
                    if let Some(isid) = cached.isids[nth] {
                        let _ = image.add_cached(&cached.cache, isid, &asid);
                    }
                }
                Source::Callback => {}
            }
        }
        let behind = self.pieces.iter().filter(|piece| piece.source == Source::Callback).cloned().collect();
        image.set_callback(Some(Arc::new(Behind(behind))));
        image
    }

    /// Writes the case as the judge reads it.
    pub fn put(&self, out: &mut Vec<u8>) -> Placed {
        let mut numbers = vec![
            self.layer as u64,
            u64::from(self.end_on_call) | u64::from(self.tick_events) << 1 | u64::from(self.end_on_jump) << 2,
            self.errata_bits(),
            u64::from(self.eax),
            u64::from(self.ebx),
            u64::from(self.mtc_freq),
            u64::from(self.nom_freq),
        ];
        let mut ranges = [0; 8];
        let mut ctl = 0;
        for (nth, filter) in self.filters.iter().take(4).enumerate() {
            ctl |= (if filter.stop { 2 } else { 1 }) << (4 * nth);
            ranges[2 * nth] = filter.first;
            ranges[2 * nth + 1] = filter.last;
        }
        numbers.push(ctl);
        numbers.extend_from_slice(&ranges);
        let trace = self.trace();
        numbers.push(self.pieces.len() as u64);
        numbers.push(trace.len() as u64);
        for piece in &self.pieces {
            let size = piece.bytes.len() as u64;
            numbers.extend_from_slice(&[
                piece.vaddr,
                piece.cr3.unwrap_or(u64::MAX),
                piece.source as u64,
                size,
            ]);
        }
        out.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
        let mut offsets = Vec::new();
        for piece in &self.pieces {
            offsets.push(out.len() as u64);
            out.extend_from_slice(&piece.bytes);
        }
        out.extend_from_slice(&trace);
        out.resize(out.len().next_multiple_of(8), 0);
        Placed(offsets)
    }

    fn errata_bits(&self) -> u64 {
        let e = self.cpu.and_then(Errata::of).unwrap_or_default();
        // SKL168 is looked for by libipt 2.0.5, not by later event decoders and not here.
        let skl168 = false;
        let all =
            [e.bdm70, e.bdm64, e.skd007, e.skd022, e.skd010, e.skl014, e.apl12, e.apl11, skl168, e.skz84];
        all.iter().enumerate().map(|(bit, &set)| u64::from(set) << bit).sum()
    }

    /// The case for a reader.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{:?} call={} jump={} tick={} cpu={:x?} mtc_freq={} nom_freq={} ratio={}/{} filters={:x?}",
            self.layer,
            self.end_on_call,
            self.end_on_jump,
            self.tick_events,
            self.cpu.map(|cpu| (cpu.family, cpu.model)),
            self.mtc_freq,
            self.nom_freq,
            self.ebx,
            self.eax,
            self.filters
        );
        for piece in &self.pieces {
            let _ = write!(text, "{:x} {:?}", piece.vaddr, piece.source);
            if let Some(cr3) = piece.cr3 {
                let _ = write!(text, " cr3={cr3:x}");
            }
            text.push(':');
            for byte in &piece.bytes {
                let _ = write!(text, " {byte:02x}");
            }
            text.push('\n');
        }
        let mut at = 0;
        for part in &self.parts {
            let mut bytes = Vec::new();
            match part {
                Part::Packet(packet) => {
                    let _ = encode(packet, &mut bytes);
                    let _ = writeln!(text, "  {at:4x} {packet:x?}");
                }
                Part::Raw(raw) => {
                    bytes.extend_from_slice(raw);
                    let _ = writeln!(text, "  {at:4x} {raw:02x?}");
                }
            }
            at += bytes.len();
        }
        text
    }
}

/// Where the bytes of a case's pieces stand in the file of cases.
pub struct Placed(Vec<u64>);

/// Sections in a cache, as the judge has them.
pub struct Cached {
    cache: SectionCache,
    isids: Vec<Option<i32>>,
}

impl Cached {
    /// Nothing: pieces for a cache are not there.
    pub fn none(case: &Case) -> Cached {
        Cached { cache: SectionCache::new(None, None), isids: vec![None; case.pieces.len()] }
    }

    /// A cache of those pieces of `case` that are for one.
    pub fn new(case: &Case, file: &OsStr, placed: &Placed) -> Cached {
        let cache = SectionCache::new(None, None);
        let pieces = case.pieces.iter().zip(&placed.0);
        let isids = pieces.map(|(piece, &offset)| match piece.source {
            Source::Cache => cache.add_file(file, offset, piece.bytes.len() as u64, piece.vaddr).ok(),
            _ => None,
        });
        let isids = isids.collect();
        Cached { cache, isids }
    }
}
