//! Decoder configuration from a Python dictionary, which `odograph.config.TraceConfig` makes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use odograph_core::config::{CpuChoice, FilterRange, TraceConfig, UnknownPackets};
use odograph_core::cpu::{Cpu, Errata};
use odograph_core::error::PtError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A `TraceConfig` extracted from a dictionary of plain values, and what its callback raised.
#[derive(Clone)]
pub struct Config(pub TraceConfig, pub UnknownSizes);

/// Sizes of unknown packets by their offsets, asked from Python once for each.
#[derive(Clone, Default)]
pub struct UnknownSizes(Arc<Mutex<Answers>>);

#[derive(Default)]
struct Answers {
    sizes: HashMap<u64, Result<u64, PtError>>,
    raised: Option<PyErr>,
}

impl UnknownSizes {
    /// The exception that the callback has raised since this was asked last.
    pub fn raised(&self, _: Python<'_>) -> Option<PyErr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).raised.take()
    }

    fn known(&self, offset: u64) -> Option<Result<u64, PtError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sizes.get(&offset).copied()
    }

    /// An answer is kept, unless it was an exception: then the next one asks again.
    fn ask(&self, callback: &Py<PyAny>, offset: u64) -> Result<u64, PtError> {
        if let Some(answer) = self.known(offset) {
            return answer;
        }
        let answer = Python::attach(|py| {
            let answer: i64 = callback.bind(py).call1((offset,))?.extract()?;
            let code = u8::try_from(answer.unsigned_abs()).ok().and_then(PtError::from_code);
            Ok(u64::try_from(answer).map_err(|_| code.unwrap_or(PtError::Internal)))
        });
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(answer) => *answers.sizes.entry(offset).or_insert(answer),
            Err(error) => {
                answers.raised = Some(error);
                Err(PtError::Internal)
            }
        }
    }
}

fn item<'py, T: FromPyObjectOwned<'py>>(dict: &Bound<'py, PyDict>, name: &str) -> PyResult<T> {
    let value = dict.get_item(name)?.ok_or_else(|| pyo3::exceptions::PyKeyError::new_err(name.to_owned()))?;
    value.extract().map_err(Into::into)
}

impl<'py> FromPyObject<'_, 'py> for Config {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let dict = object.cast::<PyDict>()?.to_owned();
        let named: Option<(u16, u8, u8)> = item(&dict, "cpu")?;
        let cpu = named.map(|(family, model, stepping)| Cpu { family, model, stepping });
        let cpu = match (item::<String>(&dict, "errata")?.as_str(), cpu) {
            ("auto", None) => CpuChoice::Auto,
            ("auto", Some(cpu)) => CpuChoice::Recorded(cpu),
            ("exactly", Some(cpu)) => CpuChoice::Exactly(cpu),
            ("only", _) => {
                let names: Vec<String> = item(&dict, "only")?;
                CpuChoice::Only(Errata::named(&names.iter().map(String::as_str).collect::<Vec<_>>()))
            }
            _ => CpuChoice::NoErrata,
        };
        let filters: Vec<(bool, u64, u64)> = item(&dict, "filters")?;
        let sizes = UnknownSizes::default();
        let callback: Option<Py<PyAny>> = item(&dict, "unknown_packet")?;
        let unknown_packets = callback.map(|callback| {
            let sizes = sizes.clone();
            UnknownPackets::new(move |_, offset| sizes.ask(&callback, offset))
        });
        let config = TraceConfig {
            cpu,
            mtc_freq: item(&dict, "mtc_freq")?,
            nom_freq: item(&dict, "nom_freq")?,
            cpuid_0x15_eax: item(&dict, "cpuid_0x15_eax")?,
            cpuid_0x15_ebx: item(&dict, "cpuid_0x15_ebx")?,
            tsc_near: item(&dict, "tsc_near")?,
            filters: filters
                .into_iter()
                .map(|(stop, first, last)| FilterRange { stop, first, last })
                .collect(),
            keep_tcal_on_ovf: item(&dict, "keep_tcal_on_ovf")?,
            enable_iflags_events: item(&dict, "enable_iflags_events")?,
            libipt_compat: item(&dict, "libipt_compat")?,
            unknown_packets,
        };
        Ok(Config(config, sizes))
    }
}

/// Whether the errata table knows a processor.
#[pyfunction]
fn cpu_is_known(family: u16, model: u8, stepping: u8) -> bool {
    Errata::of(Cpu { family, model, stepping }).is_some()
}

/// The names of a processor's errata; None if the table does not know it.
#[pyfunction]
fn cpu_errata(family: u16, model: u8, stepping: u8) -> Option<Vec<&'static str>> {
    Errata::of(Cpu { family, model, stepping }).map(|errata| errata.names())
}

/// Adds this room's functions.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(cpu_is_known, module)?)?;
    module.add_function(wrap_pyfunction!(cpu_errata, module)?)
}
