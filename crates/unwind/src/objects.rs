//! ELF files: their sections, and the separate files that debug information is kept in.
//!
//! A file is read section by section, never whole. Nothing here trusts a file: what is damaged or claims to be larger
//! than it can be is not there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object::{CompressionFormat, Object, ObjectSection, ReadCache, ReadRef};
use odograph_files::Named;

/// Where systems keep debug files.
const DEBUG_DIRECTORY: &str = "/usr/lib/debug";
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

/// What `ask` makes of a file; None if it cannot be read or is no object file.
pub fn with_file<T>(path: &Path, ask: impl FnOnce(&object::File<'_, &ReadCache<File>>) -> T) -> Option<T> {
    let cache = ReadCache::new(opened(path)?);
    object::File::parse(&cache).ok().map(|file| ask(&file))
}

/// A recording, a core or another ELF file named it, unless the user did.
fn opened(path: &Path) -> Option<File> {
    odograph_files::open(path, Named::ByRecording).ok()
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

/// Where the debug information of a file may lie: itself if it has any, else files that its build id or its debug
/// link name. Only files that really belong to it.
pub fn debug_file(path: &Path) -> Option<PathBuf> {
    debug_file_below(path, Path::new(DEBUG_DIRECTORY))
}

fn debug_file_below(path: &Path, root: &Path) -> Option<PathBuf> {
    let (own, identity, link) = with_file(path, |file| {
        let own = file.section_by_name(".debug_info").is_some_and(|section| section.size() > 0);
        let identity = file.build_id().ok().flatten().map(<[u8]>::to_vec);
        let link = file.gnu_debuglink().ok().flatten().map(|(name, crc)| (name.to_vec(), crc));
        (own, identity, link)
    })?;
    if own {
        return Some(path.to_path_buf());
    }
    let same = |candidate: &Path| {
        with_file(candidate, |file| file.build_id().ok().flatten().map(<[u8]>::to_vec)).flatten() == identity
    };
    if let Some(candidate) = identity.as_deref().and_then(|identity| by_build_id(root, identity)) {
        if same(&candidate) {
            return Some(candidate);
        }
    }
    let (name, crc) = link?;
    let name = std::str::from_utf8(&name).ok().filter(|name| !name.contains('/') && !name.is_empty())?;
    let absolute = std::fs::canonicalize(path).ok()?;
    let directory = absolute.parent()?;
    let below = root.join(directory.strip_prefix("/").unwrap_or(directory));
    [directory.join(name), directory.join(".debug").join(name), below.join(name)].into_iter().find(
        |candidate| {
            *candidate != absolute
                && if identity.is_some() { same(candidate) } else { checksum(candidate) == Some(crc) }
        },
    )
}

fn by_build_id(root: &Path, identity: &[u8]) -> Option<PathBuf> {
    let (first, rest) = identity.split_first()?;
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(root.join(".build-id").join(format!("{first:02x}")).join(format!("{rest}.debug")))
}

/// The file that `dwz` moved shared debug information of `path` to; None if there is none, or another one.
pub fn shared_debug_file(path: &Path) -> Option<PathBuf> {
    let (name, identity) = with_file(path, |file| {
        file.gnu_debugaltlink().ok().flatten().map(|(name, identity)| (name.to_vec(), identity.to_vec()))
    })??;
    let name = String::from_utf8(name).ok()?;
    let beside = std::fs::canonicalize(path).ok()?.parent()?.join(name);
    let found = [Some(beside), by_build_id(Path::new(DEBUG_DIRECTORY), &identity)];
    found.into_iter().flatten().find(|candidate| {
        with_file(candidate, |file| file.build_id().ok().flatten() == Some(identity.as_slice()))
            .unwrap_or(false)
    })
}

/// The checksum of debug links: CRC-32 of the whole file.
fn checksum(path: &Path) -> Option<u32> {
    use std::io::Read;
    let mut file = opened(path)?;
    let mut buffer = vec![0; 1 << 16];
    let mut crc = u32::MAX;
    loop {
        let count = file.read(&mut buffer).ok()?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return Some(!crc) };
        crc = bytes.iter().fold(crc, |crc, byte| {
            (0..8)
                .fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_debug_links() {
        let file = std::env::temp_dir().join(format!("odograph-crc-{}", std::process::id()));
        std::fs::write(&file, b"123456789").expect("a temporary file can be written");
        assert_eq!(checksum(&file), Some(0xCBF4_3926));
        std::fs::remove_file(&file).expect("it can be removed");
    }

    #[test]
    fn what_is_no_object_file_has_no_debug_file() {
        assert_eq!(debug_file(Path::new("/dev/null")), None);
        assert_eq!(debug_file(Path::new("/nothing/here")), None);
    }

    #[test]
    fn build_ids_become_paths() {
        let path = by_build_id(Path::new("/d"), &[0xab, 0x01, 0xcd]);
        assert_eq!(path, Some(PathBuf::from("/d/.build-id/ab/01cd.debug")));
        assert_eq!(by_build_id(Path::new("/d"), &[]), None);
    }
}
