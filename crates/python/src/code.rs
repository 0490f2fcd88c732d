//! The executed code of a history, and the search for some of it.

use odograph_core::history::{CodeTable, Hits};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::history::{known, numbers, RawHistory};
use crate::table::{RawTable, TableBuilder};

/// Every executed instruction of a history, once.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawCode {
    history: Py<RawHistory>,
    table: CodeTable,
}

impl RawCode {
    /// The instructions.
    pub fn table(&self) -> &CodeTable {
        &self.table
    }
}

#[pymethods]
impl RawCode {
    #[new]
    fn new(py: Python<'_>, history: Py<RawHistory>) -> PyResult<RawCode> {
        let raw = history.get();
        let table = raw.asked(py, |ask| {
            let mut table = CodeTable::default();
            for (part, start, stop) in raw.cut(0, u64::MAX) {
                part.stream.executed((start, stop), &mut table, ask)?;
            }
            Ok(table)
        })?;
        Ok(RawCode { history, table })
    }

    /// The instructions: ip, size, mode, iclass, raw. The row of a table is the number of an instruction.
    fn rows(&self) -> PyResult<RawTable> {
        let rows = self.table.rows();
        let raw: Vec<u8> = rows.iter().flat_map(|row| row.raw).collect();
        let sizes: Vec<u8> = rows.iter().map(|row| row.size).collect();
        TableBuilder::default()
            .u64("ip", rows.iter().map(|row| row.ip).collect())
            .u8("size", rows.iter().map(|row| row.size).collect())
            .u8("mode", rows.iter().map(|row| row.mode as u8).collect())
            .u8("iclass", rows.iter().map(|row| row.iclass).collect())
            .binary("raw", &raw, 16, &sizes)
            .build()
    }

    /// The executions among steps `start..stop` of the rows whose byte in `wanted` is not 0: step, row, tsc, time (ns).
    fn executions(&self, py: Python<'_>, wanted: &[u8], start: u64, stop: u64) -> PyResult<RawTable> {
        let hits = self.hits_of(py, wanted, (start, stop), usize::MAX)?;
        let time = self.history.get().times(&hits.tsc);
        TableBuilder::default()
            .i64("step", hits.steps)
            .i64("row", hits.rows.into_iter().map(i64::from).collect())
            .optional_u64("tsc", known(&hits.tsc))
            .optional_i64("time", time)
            .build()
    }

    /// Steps and rows (native-endian int64 and uint32) of the executions among steps `start..stop` of the rows whose
    /// byte in `wanted` is not 0, at most `limit`.
    fn find<'py>(
        &self,
        py: Python<'py>,
        wanted: &[u8],
        start: u64,
        stop: u64,
        limit: usize,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let hits = self.hits_of(py, wanted, (start, stop), limit)?;
        Ok((numbers(py, &hits.steps, i64::to_le_bytes), numbers(py, &hits.rows, u32::to_le_bytes)))
    }
}

impl RawCode {
    fn hits_of(&self, py: Python<'_>, wanted: &[u8], range: (u64, u64), limit: usize) -> PyResult<Hits> {
        let wanted: Vec<bool> = wanted.iter().map(|&byte| byte != 0).collect();
        let raw = self.history.get();
        raw.asked(py, |ask| {
            let mut hits = Hits::default();
            for (part, start, stop) in raw.cut(range.0, range.1) {
                let what = (&self.table, &*wanted);
                part.stream.find_rows(what, (start, stop), part.base(), limit, &mut hits, ask)?;
            }
            Ok(hits)
        })
    }
}

/// Adds this room's classes.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawCode>()
}
