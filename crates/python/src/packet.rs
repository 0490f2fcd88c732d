//! Packets: one at a time, and counted.

use odograph_core::config::UnknownPackets;
use odograph_core::cpu::Errata;
use odograph_core::error::PtError;
use odograph_core::packet::{self, sync, BlockContext, Field, IpCompression, IpPayload, Packet, Tnt};
use odograph_core::time::PacketClock;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::config::{Config, UnknownSizes};
use crate::error::{self, Kind, Place};
use crate::event::{raw_time, RawTime};
use crate::history::{borrow_trace, BorrowedTrace};
use crate::mapped;

/// A packet as Python sees it: its kind and its fields.
type RawPacket<'py> = (&'static str, Bound<'py, PyDict>);

fn to_python<'py>(py: Python<'py>, packet: &Packet) -> PyResult<RawPacket<'py>> {
    let fields = PyDict::new(py);
    let mut result = Ok(());
    packet.fields(|name, value| {
        let added = match value {
            Field::Number(number) => fields.set_item(name, number),
            Field::Flag(flag) => fields.set_item(name, flag),
        };
        if result.is_ok() {
            result = added;
        }
    });
    result.map(|()| (packet.name(), fields))
}

fn from_python(kind: &str, fields: &Bound<'_, PyDict>) -> PyResult<Packet> {
    fn get<'py, T: FromPyObjectOwned<'py>>(fields: &Bound<'py, PyDict>, name: &str) -> PyResult<T> {
        let value = fields
            .get_item(name)?
            .ok_or_else(|| pyo3::exceptions::PyTypeError::new_err(format!("the packet needs {name}")))?;
        value.extract().map_err(Into::into)
    }
    macro_rules! build {
        ($variant:ident { $($name:ident),* }) => {
            Packet::$variant { $( $name: get(fields, stringify!($name))?, )* }
        };
    }
    let payload = || -> PyResult<IpPayload> {
        let compression = match get::<u8>(fields, "compression")? {
            0 => IpCompression::Suppressed,
            1 => IpCompression::Update16,
            2 => IpCompression::Update32,
            3 => IpCompression::Sext48,
            4 => IpCompression::Update48,
            6 => IpCompression::Full,
            other => {
                let text = format!("there is no IP compression {other}");
                return Err(error::invalid_argument(fields.py(), &text));
            }
        };
        Ok(IpPayload { compression, ip: get(fields, "ip")? })
    };
    let tnt = || -> PyResult<Tnt> { Ok(Tnt { size: get(fields, "size")?, bits: get(fields, "bits")? }) };
    Ok(match kind {
        "pad" => Packet::Pad,
        "psb" => Packet::Psb,
        "psbend" => Packet::Psbend,
        "ovf" => Packet::Ovf,
        "stop" => Packet::Stop,
        "fup" => Packet::Fup(payload()?),
        "tip" => Packet::Tip(payload()?),
        "tip.pge" => Packet::TipPge(payload()?),
        "tip.pgd" => Packet::TipPgd(payload()?),
        "tnt8" => Packet::Tnt8(tnt()?),
        "tnt64" => Packet::Tnt64(tnt()?),
        "mode.exec" => build!(ModeExec { csl, csd, iflag }),
        "mode.tsx" => build!(ModeTsx { intx, abrt }),
        "pip" => build!(Pip { cr3, nr }),
        "vmcs" => build!(Vmcs { base }),
        "cbr" => build!(Cbr { ratio }),
        "tsc" => build!(Tsc { tsc }),
        "tma" => build!(Tma { ctc, fc }),
        "mtc" => build!(Mtc { ctc }),
        "cyc" => build!(Cyc { value }),
        "mnt" => build!(Mnt { payload }),
        "exstop" => build!(Exstop { ip }),
        "mwait" => build!(Mwait { hints, ext }),
        "pwre" => build!(Pwre { state, sub_state, hw }),
        "pwrx" => build!(Pwrx { last, deepest, interrupt, store, autonomous }),
        "ptw" => build!(Ptw { payload, plc, ip }),
        "cfe" => {
            Packet::Cfe { kind: get(fields, "type")?, vector: get(fields, "vector")?, ip: get(fields, "ip")? }
        }
        "evd" => Packet::Evd { kind: get(fields, "type")?, payload: get(fields, "payload")? },
        "trig" => build!(Trig { trbv, icnt, ip, icntv, mult }),
        "bbp" => Packet::Bbp { short: get(fields, "short")?, kind: get(fields, "type")? },
        "bip" => build!(Bip { id, short, payload }),
        "bep" => build!(Bep { ip }),
        other => {
            return Err(error::invalid_argument(fields.py(), &format!("there is no packet {other:?}")));
        }
    })
}

/// Walks over the packets of a trace.
#[pyclass(module = "odograph._native")]
pub struct RawPacketDecoder {
    trace: BorrowedTrace,
    pos: Option<usize>,
    sync_offset: usize,
    blocks: BlockContext,
    clock: PacketClock,
    libipt: bool,
    errata: Errata,
    sizes: Option<UnknownPackets>,
    unknown: UnknownSizes,
}

#[pymethods]
impl RawPacketDecoder {
    #[new]
    fn new(trace: &Bound<'_, PyAny>, config: Config) -> PyResult<Self> {
        let Config(config, unknown) = config;
        let libipt = config.libipt_compat;
        Ok(RawPacketDecoder {
            trace: borrow_trace(trace)?,
            pos: None,
            sync_offset: 0,
            blocks: BlockContext { short_items: None, libipt },
            clock: PacketClock::new(&config),
            libipt,
            errata: Errata::chosen(config.cpu),
            sizes: config.unknown_packets,
            unknown,
        })
    }

    #[getter]
    fn synced(&self) -> bool {
        self.pos.is_some()
    }

    #[getter]
    fn offset(&self) -> Option<usize> {
        self.pos
    }

    #[getter]
    fn sync_offset(&self) -> Option<usize> {
        self.pos.map(|_| self.sync_offset)
    }

    #[getter]
    fn time(&self) -> RawTime {
        raw_time(self.clock.time())
    }

    /// Goes to the next PSB; false if there is none.
    fn sync_forward(&mut self) -> bool {
        let from = match self.pos {
            None => 0,
            Some(pos) => pos.saturating_sub(15).max(self.sync_offset + 1),
        };
        let found = sync::forward(self.trace.as_ref(), from);
        self.go(found)
    }

    /// Goes to the PSB before; false if there is none.
    fn sync_backward(&mut self) -> bool {
        let found = sync::backward(self.trace.as_ref(), self.pos.unwrap_or(usize::MAX));
        self.go(found)
    }

    /// Goes to an offset; false past the end.
    fn sync_set(&mut self, offset: usize) -> bool {
        let inside = offset <= self.trace.as_ref().len();
        self.go(inside.then_some(offset))
    }

    /// (offset, size, packet), or None at the end.
    #[allow(clippy::type_complexity)]
    fn next<'py>(&mut self, py: Python<'py>) -> PyResult<Option<(usize, usize, RawPacket<'py>)>> {
        let Some(pos) = self.pos else {
            return Err(error::pt(
                py,
                Kind::Trace,
                PtError::Nosync,
                PtError::Nosync.message(),
                Place::default(),
            ));
        };
        let trace = self.trace.as_ref();
        let rest = trace.get(pos..).unwrap_or(&[]);
        let decoded = match packet::decode_repaired(rest, &mut self.blocks, &self.errata) {
            Err(PtError::BadOpc) => match &self.sizes {
                Some(sizes) => sizes.size(trace, pos).map(|size| (Some(Packet::Unknown), size)),
                None => Err(PtError::BadOpc),
            },
            decoded => decoded,
        };
        match decoded {
            Ok((None, size)) => {
                self.pos = Some(pos + size);
                Ok(Some((pos, size, ("invalid", PyDict::new(py)))))
            }
            Ok((Some(packet), size)) => {
                if packet == Packet::Psb {
                    self.sync_offset = pos;
                }
                self.clock.take(&packet);
                self.pos = Some(pos + size);
                Ok(Some((pos, size, to_python(py, &packet)?)))
            }
            Err(PtError::Eos) => mapped::check(py, self.trace.as_ref()).map(|()| None),
            Err(code) => {
                mapped::check(py, self.trace.as_ref())?;
                let place = Place { offset: Some(pos as u64), ..Place::default() };
                let error = || error::pt(py, Kind::Trace, code, code.message(), place);
                Err(self.unknown.raised(py).unwrap_or_else(error))
            }
        }
    }
}

impl RawPacketDecoder {
    fn go(&mut self, to: Option<usize>) -> bool {
        if let Some(offset) = to {
            self.pos = Some(offset);
            self.sync_offset = offset;
            self.clock.reset();
            self.blocks = BlockContext { short_items: None, libipt: self.libipt };
        }
        to.is_some()
    }
}

/// The bytes of a packet.
#[pyfunction]
fn encode_packet(kind: &str, fields: &Bound<'_, PyDict>) -> PyResult<Vec<u8>> {
    let packet = from_python(kind, fields)?;
    let mut bytes = Vec::new();
    match packet::encode(&packet, &mut bytes) {
        Ok(_) => Ok(bytes),
        Err(code) => {
            let text = format!("the fields of {kind} do not fit: {}", code.message());
            Err(error::pt(fields.py(), Kind::InvalidArgument, code, &text, Place::default()))
        }
    }
}

/// (repeated, padding): how many bytes at the start of a buffer repeat the end of an earlier one of the same trace, and
/// how many bytes at the end of that one are filling; None if they share no PSB.
#[pyfunction]
fn trace_overlap(
    py: Python<'_>,
    earlier: &Bound<'_, PyAny>,
    later: &Bound<'_, PyAny>,
) -> PyResult<Option<(usize, usize)>> {
    let (earlier, later) = (borrow_trace(earlier)?, borrow_trace(later)?);
    let overlap = py.detach(|| packet::overlap(earlier.as_ref(), later.as_ref()));
    mapped::check(py, earlier.as_ref())?;
    mapped::check(py, later.as_ref())?;
    Ok(overlap.map(|overlap| (overlap.repeated, overlap.padding)))
}

/// Bytes in front of the first PSB of a trace, which decoding skips; 0 if they only tell the time.
#[pyfunction]
fn skipped_bytes(py: Python<'_>, trace: &Bound<'_, PyAny>) -> PyResult<u64> {
    let trace = borrow_trace(trace)?;
    let skipped = py.detach(|| odograph_core::history::skipped(trace.as_ref()));
    mapped::check(py, trace.as_ref())?;
    Ok(skipped)
}

/// Packets of a trace by kind, from its first PSB on, and the number of places that are no packets.
#[pyfunction]
fn count_packets(
    py: Python<'_>,
    trace: &Bound<'_, PyAny>,
    config: Config,
) -> PyResult<(Vec<(&'static str, u64)>, u64)> {
    let trace = borrow_trace(trace)?;
    let errata = Errata::chosen(config.0.cpu);
    let (counts, errors) = py.detach(|| packet::count_kinds(trace.as_ref(), &errata));
    mapped::check(py, trace.as_ref())?;
    let named = Packet::KINDS.iter().copied().zip(counts).filter(|(_, count)| *count > 0).collect();
    Ok((named, errors))
}

/// Adds this room's classes and functions.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawPacketDecoder>()?;
    module.add_function(wrap_pyfunction!(encode_packet, module)?)?;
    module.add_function(wrap_pyfunction!(trace_overlap, module)?)?;
    module.add_function(wrap_pyfunction!(skipped_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(count_packets, module)?)
}
