//! Images: what versions and changed ranges promise, many sections, and files that change.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;

use odograph_core::asid::Asid;
use odograph_core::error::PtError;
use odograph_core::image::{Image, SectionCache, MAX_ISID};
use odograph_core::memory::{MemoryError, ReadMemory};
use proptest::prelude::*;

const ANY: Asid = Asid { cr3: None, vmcs: None };

fn cr3(value: u64) -> Asid {
    Asid { cr3: Some(value), vmcs: None }
}

/// A file of its own that is removed at the end.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(name: &str, content: &[u8]) -> TemporaryFile {
        let path = std::env::temp_dir().join(format!("odograph-image-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        TemporaryFile(path)
    }

    fn name(&self) -> &OsStr {
        self.0.as_os_str()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A callback that always gives one byte more than it is asked for.
struct TooMuch;

impl ReadMemory for TooMuch {
    fn read(&self, _address: u64, size: usize, _asid: &Asid) -> Result<Vec<u8>, MemoryError> {
        Ok(vec![0; size + 1])
    }
}

fn read(image: &Image, asid: &Asid, address: u64, size: usize) -> Result<Vec<u8>, PtError> {
    let mut buffer = vec![0; size];
    let result = image.read(asid, address, &mut buffer).map_err(|error| error.pt().unwrap())?;
    Ok(buffer[..result.length].to_vec())
}

#[test]
fn a_read_says_where_the_bytes_are_from() {
    let file = TemporaryFile::new("origin", b"0123456789");
    let cache = SectionCache::new(None, None);
    let isid = cache.add_file(file.name(), 2, 100, 0x1000).unwrap();
    let mut image = Image::default();
    image.add_cached(&cache, isid, &ANY).unwrap();
    image.add_bytes(*b"x", 0x1004, &ANY, None).unwrap();
    let mut buffer = [0; 15];
    let front = image.read(&ANY, 0x1000, &mut buffer).unwrap();
    assert_eq!((front.length, front.isid, &buffer[..4]), (4, isid, &b"2345"[..]));
    let patch = image.read(&ANY, 0x1004, &mut buffer).unwrap();
    assert_eq!((patch.length, patch.isid), (1, 0));
    let behind = image.read(&ANY, 0x1005, &mut buffer).unwrap();
    assert_eq!((behind.section, behind.isid, behind.length), (front.section, isid, 3));
    assert!(patch.section > front.section);
}

#[test]
fn a_callback_that_gives_too_much_is_invalid() {
    let mut image = Image::default();
    image.set_callback(Some(Arc::new(TooMuch)));
    assert_eq!(read(&image, &ANY, 0, 4), Err(PtError::Invalid));
}

#[test]
fn a_file_that_shrinks_is_a_bad_image() {
    let file = TemporaryFile::new("shrinks", &[7; 100_000]);
    let mut image = Image::default();
    image.add_file(file.name(), 0, u64::MAX, 0, &ANY).unwrap();
    assert_eq!(read(&image, &ANY, 99_999, 9), Ok(vec![7]));
    std::fs::write(&file.0, [7; 10]).unwrap();
    assert_eq!(read(&image, &ANY, 50_000, 9), Err(PtError::BadImage));
    assert_eq!(read(&image, &ANY, 0, 9), Err(PtError::BadImage));
}

#[test]
fn a_cache_has_room_for_as_many_sections_as_libipt_s() {
    let file = TemporaryFile::new("many", b"0123456789");
    let cache = SectionCache::new(None, Some(0));
    for vaddr in 0..MAX_ISID as u64 {
        assert_eq!(cache.add_file(file.name(), 0, 10, vaddr), Ok(vaddr as i32 + 1));
    }
    assert_eq!(cache.add_file(file.name(), 0, 10, 1 << 40), Err(PtError::Nomem));
    assert_eq!(cache.add_file(file.name(), 0, 10, 5), Ok(6));
    assert_eq!(cache.len(), MAX_ISID as usize);
}

#[test]
fn another_callback_may_change_everything() {
    let mut image = Image::default();
    let before = image.clone();
    image.set_callback(Some(Arc::new(TooMuch)));
    assert_eq!(before.changed_ranges(&image), [(ANY, 0, u64::MAX)]);
    let before = image.clone();
    image.add_bytes(*b"abc", 0x1000, &cr3(1), None).unwrap();
    assert_eq!(before.changed_ranges(&image), [(cr3(1), 0x1000, 0x1002)]);
}

#[test]
fn a_touched_range_counts_until_both_versions_know_it() {
    let mut image = Image::default();
    let first = image.clone();
    image.invalidate(0x1000, 0x10, &cr3(1)).unwrap();
    let second = image.clone();
    image.invalidate(0x2000, 1, &ANY).unwrap();
    assert_eq!(second.changed_ranges(&image), [(ANY, 0x2000, 0x2000)]);
    assert_eq!(first.changed_ranges(&image), [(cr3(1), 0x1000, 0x100F), (ANY, 0x2000, 0x2000)]);
    assert_eq!(image.changed_ranges(&first), first.changed_ranges(&image));
    for _ in 0..5000 {
        image.invalidate(0x3000, 1, &cr3(9)).unwrap();
    }
    let changed = second.changed_ranges(&image);
    assert!(changed.contains(&(ANY, 0x1000, 0x3000)), "older touches are remembered together");
    assert!(changed.len() < 3000);
}

#[test]
fn only_what_changed_is_named() {
    let mut image = Image::default();
    for page in 0..1000u64 {
        image.add_bytes(vec![1; 0x1000], page << 12, &ANY, None).unwrap();
    }
    let before = image.clone();
    image.add_bytes(vec![2; 0x1800], 0x10_0800, &ANY, None).unwrap();
    assert_eq!(before.changed_ranges(&image), [(ANY, 0x10_0800, 0x10_1FFF)]);
    assert_eq!(before.changed_ranges(&before.clone()), []);
    assert_eq!(image.remove_by_asid(&ANY), 1000, "one page is hidden, one is cut, one is new");
}

#[derive(Clone, Debug)]
enum Change {
    Add { vaddr: u64, size: usize, asid: Asid, name: &'static str },
    Copy,
    RemoveName(&'static str, Asid),
    RemoveAsid(Asid),
    Invalidate { address: u64, size: u64, asid: Asid },
}

fn asids() -> impl Strategy<Value = Asid> {
    let field = |values: Vec<u64>| prop_oneof![Just(None), proptest::sample::select(values).prop_map(Some)];
    (field(vec![1, 2]), field(vec![7])).prop_map(|(cr3, vmcs)| Asid { cr3, vmcs })
}

fn changes() -> impl Strategy<Value = Change> {
    let names = || proptest::sample::select(vec!["a", "b"]);
    // Some sections end at the very top of the address space.
    let address = || prop_oneof![0..60u64, (u64::MAX - 20)..=u64::MAX];
    prop_oneof![
        8 => (address(), 0..20usize, asids(), names())
            .prop_map(|(vaddr, size, asid, name)| Change::Add { vaddr, size, asid, name }),
        1 => Just(Change::Copy),
        1 => (names(), asids()).prop_map(|(name, asid)| Change::RemoveName(name, asid)),
        1 => asids().prop_map(Change::RemoveAsid),
        1 => (address(), 0..20u64, asids())
            .prop_map(|(address, size, asid)| Change::Invalidate { address, size, asid }),
    ]
}

fn apply(image: &mut Image, donor: &Image, change: &Change, fill: u8) {
    match change {
        Change::Add { vaddr, size, asid, name } => {
            let added = image.add_bytes(vec![fill; *size], *vaddr, asid, Some(OsStr::new(name)));
            let fits = size.checked_sub(1).is_none_or(|more| vaddr.checked_add(more as u64).is_some());
            assert_eq!(added.is_ok(), fits);
        }
        Change::Copy => assert_eq!(image.copy_from(donor), 0),
        Change::RemoveName(name, asid) => {
            image.remove_by_filename(OsStr::new(name), asid);
        }
        Change::RemoveAsid(asid) => {
            image.remove_by_asid(asid);
        }
        Change::Invalidate { address, size, asid } => {
            let _ = image.invalidate(*address, *size, asid);
        }
    }
}

fn addresses() -> impl Iterator<Item = u64> {
    (0..90).chain(u64::MAX - 25..=u64::MAX)
}

/// Everything that can be read one byte at a time, and from which section.
fn view(image: &Image, asid: &Asid) -> BTreeMap<u64, (u8, u64)> {
    let mut view = BTreeMap::new();
    for address in addresses() {
        let mut byte = [0];
        if let Ok(result) = image.read(asid, address, &mut byte) {
            view.insert(address, (byte[0], result.section));
        }
    }
    view
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_reads_differently_lies_in_a_changed_range(
        before in proptest::collection::vec(changes(), 0..12),
        after in proptest::collection::vec(changes(), 0..6),
        asid in asids(),
    ) {
        let mut donor = Image::default();
        donor.add_bytes(*b"donor", 3, &cr3(2), Some(OsStr::new("a"))).unwrap();
        donor.add_bytes(*b"donor", 50, &ANY, Some(OsStr::new("b"))).unwrap();
        let mut image = Image::default();
        for (fill, change) in before.iter().enumerate() {
            apply(&mut image, &donor, change, fill as u8);
        }
        let old = image.clone();
        let old_view = view(&old, &asid);
        for (fill, change) in after.iter().enumerate() {
            let version = image.version();
            let unchanged = view(&image, &asid);
            apply(&mut image, &donor, change, 100 + fill as u8);
            prop_assert!(image.version() != version || view(&image, &asid) == unchanged);
        }
        prop_assert_eq!(&view(&old, &asid), &old_view, "a clone does not see later changes");
        let changed = old.changed_ranges(&image);
        let new_view = view(&image, &asid);
        for address in addresses() {
            let covered = changed
                .iter()
                .any(|(of, first, last)| of.matches(&asid) && (*first..=*last).contains(&address));
            prop_assert!(covered || old_view.get(&address) == new_view.get(&address), "{address:#x}");
        }
        for change in &after {
            let Change::Invalidate { address, size, asid } = change else { continue };
            if let Some(last) = size.checked_sub(1).and_then(|more| address.checked_add(more)) {
                prop_assert!(changed.contains(&(*asid, *address, last)));
            }
        }
    }

    #[test]
    fn a_read_never_crosses_the_end_of_its_section(
        steps in proptest::collection::vec(changes(), 0..16),
        asid in asids(),
    ) {
        let donor = Image::default();
        let mut image = Image::default();
        for (fill, change) in steps.iter().enumerate() {
            apply(&mut image, &donor, change, fill as u8);
        }
        let bytes = view(&image, &asid);
        for address in addresses() {
            let mut buffer = [0xAA; 16];
            match image.read(&asid, address, &mut buffer) {
                Err(error) => {
                    prop_assert_eq!(error.pt(), Some(PtError::Nomap));
                    prop_assert!(!bytes.contains_key(&address));
                    prop_assert!(image.section_at(&asid, address).is_none());
                }
                Ok(result) => {
                    let section = image.section_at(&asid, address).unwrap();
                    prop_assert_eq!(section.section, result.section);
                    let rest = section.size - (address - section.vaddr);
                    prop_assert_eq!(result.length as u64, rest.min(16));
                    prop_assert!(buffer[result.length..].iter().all(|byte| *byte == 0xAA));
                }
            }
        }
    }
}
