//! The separate files that debug information is kept in: by build id, by `.gnu_debuglink`, and what `dwz` moved out.

use std::io::Read;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection};
use odograph_files::Named;

use crate::header::Headers;
use crate::source::{open, with_file};

/// Where systems keep debug files.
const DEBUG_DIRECTORY: &str = "/usr/lib/debug";

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
    let same = |candidate: &Path| build_id(candidate) == identity;
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

/// Where the debug file of an ELF file has its place by its build id; it need not exist.
pub fn place_by_build_id(identity: &[u8]) -> Option<PathBuf> {
    by_build_id(Path::new(DEBUG_DIRECTORY), identity)
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
    found.into_iter().flatten().find(|candidate| build_id(candidate).as_ref() == Some(&identity))
}

/// The build id of a file; None if it has none or cannot be read.
pub fn build_id(path: &Path) -> Option<Vec<u8>> {
    let data = open(path, Named::ByRecording).ok()?;
    Headers::read(&data).ok()?.build_id(&data)
}

/// The checksum of debug links: CRC-32 of the whole file.
fn checksum(path: &Path) -> Option<u32> {
    let mut file = odograph_files::open(path, Named::ByRecording).ok()?;
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
