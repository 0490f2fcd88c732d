//! Sections and their bytes.

use std::sync::Arc;

use object::{CompressionFormat, Object, ObjectSection, ReadRef};

/// More than this no section may hold once it is unpacked.
const LARGEST: u64 = 1 << 32;
/// Neither zlib nor what Zstandard is used for makes data smaller than this.
const DENSEST: u64 = 2048;

/// The bytes of a section, and where the file says it lies.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its bytes, unpacked.
    pub data: Arc<[u8]>,
    /// Its address before the file is loaded.
    pub address: u64,
}

/// The bytes of a section; None if it is absent, empty or damaged.
pub fn section<'data, R: ReadRef<'data>>(file: &object::File<'data, R>, name: &str) -> Option<Section> {
    let section = file.section_by_name(name)?;
    let packed = section.compressed_data().ok()?;
    let bound = match packed.format {
        CompressionFormat::None => LARGEST,
        _ => LARGEST.min((packed.data.len() as u64).saturating_mul(DENSEST)),
    };
    if packed.uncompressed_size > bound {
        return None;
    }
    let data = packed.decompress().ok()?;
    (!data.is_empty()).then(|| Section { data: Arc::from(&*data), address: section.address() })
}
