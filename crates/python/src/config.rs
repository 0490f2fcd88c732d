//! Decoder configuration from a Python dictionary, which `odograph.config.TraceConfig` makes.

use odograph_core::config::{CpuChoice, FilterRange, TraceConfig};
use odograph_core::cpu::{Cpu, Errata};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// A `TraceConfig` extracted from a dictionary of plain values.
#[derive(Clone)]
pub struct Config(pub TraceConfig);

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
            _ => CpuChoice::NoErrata,
        };
        let filters: Vec<(bool, u64, u64)> = item(&dict, "filters")?;
        Ok(Config(TraceConfig {
            cpu,
            mtc_freq: item(&dict, "mtc_freq")?,
            nom_freq: item(&dict, "nom_freq")?,
            cpuid_0x15_eax: item(&dict, "cpuid_0x15_eax")?,
            cpuid_0x15_ebx: item(&dict, "cpuid_0x15_ebx")?,
            filters: filters
                .into_iter()
                .map(|(stop, first, last)| FilterRange { stop, first, last })
                .collect(),
            keep_tcal_on_ovf: item(&dict, "keep_tcal_on_ovf")?,
            enable_iflags_events: item(&dict, "enable_iflags_events")?,
            ..TraceConfig::default()
        }))
    }
}

/// Whether the errata table knows a processor.
#[pyfunction]
fn cpu_is_known(family: u16, model: u8, stepping: u8) -> bool {
    Errata::of(Cpu { family, model, stepping }).is_some()
}

/// Adds this room's functions.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(cpu_is_known, module)?)
}
