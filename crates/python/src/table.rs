//! Columns for Python: Arrow inside, handed over through the Arrow PyCapsule interface.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::types::{Int16Type, Int32Type, Int64Type, UInt16Type, UInt32Type, UInt64Type, UInt8Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Int16Array, Int32Array, Int64Array,
    RecordBatch, RecordBatchIterator, StringArray, UInt16Array, UInt32Array, UInt64Array, UInt8Array,
};
use arrow_schema::{DataType, Field, Schema};
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule, PyList};

/// Collects named columns of equal length.
#[derive(Default)]
pub struct TableBuilder {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl TableBuilder {
    fn add(mut self, name: &str, array: ArrayRef, nullable: bool) -> Self {
        self.fields.push(Field::new(name, array.data_type().clone(), nullable));
        self.arrays.push(array);
        self
    }

    /// A column of signed 64-bit numbers.
    pub fn i64(self, name: &str, values: Vec<i64>) -> Self {
        self.add(name, Arc::new(Int64Array::from(values)), false)
    }

    /// The same with missing values.
    pub fn optional_i64(self, name: &str, values: Vec<Option<i64>>) -> Self {
        self.add(name, Arc::new(Int64Array::from(values)), true)
    }

    /// A column of unsigned 64-bit numbers.
    pub fn u64(self, name: &str, values: Vec<u64>) -> Self {
        self.add(name, Arc::new(UInt64Array::from(values)), false)
    }

    /// The same with missing values.
    pub fn optional_u64(self, name: &str, values: Vec<Option<u64>>) -> Self {
        self.add(name, Arc::new(UInt64Array::from(values)), true)
    }

    /// A column of signed 32-bit numbers.
    pub fn i32(self, name: &str, values: Vec<i32>) -> Self {
        self.add(name, Arc::new(Int32Array::from(values)), false)
    }

    /// A column of unsigned 32-bit numbers.
    pub fn u32(self, name: &str, values: Vec<u32>) -> Self {
        self.add(name, Arc::new(UInt32Array::from(values)), false)
    }

    /// A column of unsigned 16-bit numbers.
    pub fn u16(self, name: &str, values: Vec<u16>) -> Self {
        self.add(name, Arc::new(UInt16Array::from(values)), false)
    }

    /// A column of bytes.
    pub fn u8(self, name: &str, values: Vec<u8>) -> Self {
        self.add(name, Arc::new(UInt8Array::from(values)), false)
    }

    /// A column of truth values; anything but 0 is true.
    pub fn bool(self, name: &str, values: &[u8]) -> Self {
        let array: BooleanArray = values.iter().map(|&value| Some(value != 0)).collect();
        self.add(name, Arc::new(array), false)
    }

    /// A column of words out of a short list.
    pub fn words(self, name: &str, codes: Vec<i16>, words: &[&str]) -> Self {
        let array = DictionaryArray::<Int16Type>::try_new(
            Int16Array::from(codes),
            Arc::new(StringArray::from(words.to_vec())),
        );
        match array {
            Ok(array) => self.add(name, Arc::new(array), false),
            Err(_) => self, // codes come from the same list as words
        }
    }

    /// A column of byte strings, cut from rows of `width` bytes to `sizes`.
    pub fn binary(self, name: &str, rows: &[u8], width: usize, sizes: &[u8]) -> Self {
        let array: BinaryArray = rows
            .chunks_exact(width)
            .zip(sizes)
            .map(|(row, &size)| Some(row.get(..size as usize).unwrap_or(row)))
            .collect();
        self.add(name, Arc::new(array), false)
    }

    /// A column of text.
    pub fn text(self, name: &str, values: Vec<Option<String>>) -> Self {
        self.add(name, Arc::new(StringArray::from(values)), true)
    }

    /// The finished table.
    pub fn build(self) -> PyResult<RawTable> {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.arrays)
            .map(|batch| RawTable { batch })
            .map_err(|error| pyo3::exceptions::PyRuntimeError::new_err(error.to_string()))
    }
}

/// A table; `odograph.table.Table` wraps it.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawTable {
    batch: RecordBatch,
}

fn column_bytes<'py, T: arrow_array::types::ArrowPrimitiveType>(
    py: Python<'py>,
    array: &ArrayRef,
) -> Bound<'py, PyBytes> {
    PyBytes::new(py, array.as_primitive::<T>().values().inner().as_slice())
}

/// NumPy type, values, validity.
type RawColumn<'py> = (&'static str, Bound<'py, PyAny>, Option<Bound<'py, PyBytes>>);

#[pymethods]
impl RawTable {
    #[getter]
    fn num_rows(&self) -> usize {
        self.batch.num_rows()
    }

    #[getter]
    fn names(&self) -> Vec<String> {
        self.batch.schema_ref().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// The rows from `start` on, at most `length`; what lies behind the last one is left out. Nothing is copied.
    fn rows(&self, start: usize, length: usize) -> Self {
        let start = start.min(self.batch.num_rows());
        Self { batch: self.batch.slice(start, length.min(self.batch.num_rows() - start)) }
    }

    /// (NumPy type, values, validity or None) of a column; the values are bytes for numbers and a
    /// list otherwise; validity is one byte a row.
    fn column<'py>(&self, py: Python<'py>, name: &str) -> PyResult<RawColumn<'py>> {
        let array = self.batch.column_by_name(name).ok_or_else(|| PyKeyError::new_err(name.to_owned()))?;
        let validity = (array.null_count() > 0).then(|| {
            let valid: Vec<u8> = (0..array.len()).map(|row| u8::from(array.is_valid(row))).collect();
            PyBytes::new(py, &valid)
        });
        let (kind, values) = match array.data_type() {
            DataType::Int64 => ("int64", column_bytes::<Int64Type>(py, array).into_any()),
            DataType::UInt64 => ("uint64", column_bytes::<UInt64Type>(py, array).into_any()),
            DataType::Int32 => ("int32", column_bytes::<Int32Type>(py, array).into_any()),
            DataType::UInt32 => ("uint32", column_bytes::<UInt32Type>(py, array).into_any()),
            DataType::UInt16 => ("uint16", column_bytes::<UInt16Type>(py, array).into_any()),
            DataType::UInt8 => ("uint8", column_bytes::<UInt8Type>(py, array).into_any()),
            DataType::Boolean => {
                let all: Vec<u8> =
                    array.as_boolean().iter().map(|value| u8::from(value == Some(true))).collect();
                ("bool", PyBytes::new(py, &all).into_any())
            }
            DataType::Binary => {
                let all = array.as_binary::<i32>().iter().map(|row| PyBytes::new(py, row.unwrap_or(&[])));
                ("object", PyList::new(py, all.collect::<Vec<_>>())?.into_any())
            }
            DataType::Dictionary(_, _) => {
                let dictionary = array.as_dictionary::<Int16Type>();
                let words = dictionary.values().as_string::<i32>();
                let words: Vec<Bound<'_, pyo3::types::PyString>> =
                    words.iter().map(|word| pyo3::types::PyString::new(py, word.unwrap_or(""))).collect();
                let all = dictionary.keys().iter().map(|key| words.get(key.unwrap_or(0) as usize).cloned());
                ("object", PyList::new(py, all.collect::<Vec<_>>())?.into_any())
            }
            _ => {
                let all = array.as_string::<i32>().iter().collect::<Vec<_>>();
                ("object", PyList::new(py, all)?.into_any())
            }
        };
        Ok((kind, values, validity))
    }

    /// The Arrow PyCapsule interface: the table as one record batch. The schema cannot be negotiated.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let reader = RecordBatchIterator::new([Ok(self.batch.clone())], self.batch.schema());
        let stream = FFI_ArrowArrayStream::new(Box::new(reader));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }
}

/// Adds this room's classes.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawTable>()
}
