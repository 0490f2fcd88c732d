//! Where exceptions land in the code of a file.

use object::read::elf::{ElfFile, FileHeader};
use object::{elf, Object, ObjectSection, ObjectSegment};
use odograph_unwind::landing::{landings, Landings};
use pyo3::prelude::*;

use crate::history::lend;

/// Where functions begin, and (landing pad, first, last) of calls.
type Found = (Vec<u64>, Vec<(u64, u64, u64)>);

/// Where functions of an ELF file begin that have unwind information, and (landing pad, first, last) of the calls whose
/// exceptions land there; addresses are those of the file. Empty where there is no such information.
#[pyfunction]
fn elf_landings(py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Found> {
    let data = lend(data)?;
    let found = py.detach(|| {
        let bytes = data.as_ref();
        if let Ok(file) = ElfFile::<elf::FileHeader64<object::Endianness>>::parse(bytes) {
            read(&file)
        } else if let Ok(file) = ElfFile::<elf::FileHeader32<object::Endianness>>::parse(bytes) {
            read(&file)
        } else {
            Landings::default()
        }
    });
    Ok((found.starts, found.pads))
}

fn read<'data, F: FileHeader>(file: &ElfFile<'data, F>) -> Landings {
    let segments: Vec<(u64, &'data [u8])> =
        file.segments().filter_map(|segment| Some((segment.address(), segment.data().ok()?))).collect();
    let from = |address: u64| -> &'data [u8] {
        let inside = |&(start, data): &(u64, &'data [u8])| {
            let offset = usize::try_from(address.checked_sub(start)?).ok()?;
            data.get(offset..).filter(|rest| !rest.is_empty())
        };
        segments.iter().find_map(inside).unwrap_or(&[])
    };
    let Some(section) = file.section_by_name(".eh_frame") else { return Landings::default() };
    let Ok(frames) = section.data() else { return Landings::default() };
    landings(frames, section.address(), &from, file.is_64())
}

/// Adds this file's function.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(elf_landings, module)?)
}
