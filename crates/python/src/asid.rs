//! `odograph.Asid`.

use odograph_core::asid::Asid;
use pyo3::prelude::*;

use crate::argument::Number;

/// Which address space an address belongs to: CR3 and the VMCS base.
///
/// None means that the field is not considered. Equal only if both fields are equal; see `matches`.
#[pyclass(frozen, eq, hash, module = "odograph", name = "Asid")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PyAsid {
    asid: Asid,
}

impl From<Asid> for PyAsid {
    fn from(asid: Asid) -> Self {
        PyAsid { asid }
    }
}

impl From<&PyAsid> for Asid {
    fn from(asid: &PyAsid) -> Self {
        asid.asid
    }
}

/// The core's asid of an optional argument; None is the asid that matches all.
pub fn or_any(asid: Option<&Bound<'_, PyAsid>>) -> Asid {
    asid.map(|asid| asid.get().asid).unwrap_or_default()
}

#[pymethods]
impl PyAsid {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str) {
        ("cr3", "vmcs")
    }

    #[new]
    #[pyo3(signature = (cr3=None, vmcs=None))]
    fn new(cr3: Option<Number>, vmcs: Option<Number>) -> Self {
        PyAsid { asid: Asid { cr3: cr3.map(|cr3| cr3.0), vmcs: vmcs.map(|vmcs| vmcs.0) } }
    }

    /// The value of CR3, the page-table base; None = not considered.
    #[getter]
    fn cr3(&self) -> Option<u64> {
        self.asid.cr3
    }

    /// The base address of the VMCS; None = not considered.
    #[getter]
    fn vmcs(&self) -> Option<u64> {
        self.asid.vmcs
    }

    /// True if the two agree in every field that both provide.
    fn matches(&self, other: &Bound<'_, PyAsid>) -> bool {
        self.asid.matches(&other.get().asid)
    }

    fn __getnewargs__(&self) -> (Option<u64>, Option<u64>) {
        (self.asid.cr3, self.asid.vmcs)
    }

    fn __repr__(&self) -> String {
        let fields = [("cr3", self.asid.cr3), ("vmcs", self.asid.vmcs)];
        let known = fields.iter().filter_map(|(name, value)| Some(format!("{name}={:#x}", (*value)?)));
        format!("Asid({})", known.collect::<Vec<_>>().join(", "))
    }
}

/// Adds this room to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PyAsid>()
}
