//! Which file lies where in a process, from `/proc/PID/maps`.

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// Address after the last one.
    pub end: u64,
    /// Offset in the file.
    pub offset: u64,
    /// Device, as `maj:min` in hexadecimal.
    pub device: String,
    /// Inode number, 0 without a file.
    pub inode: u64,
    /// Path of the file as the kernel gives it, `[stack]` and the like, or empty.
    pub path: Vec<u8>,
    /// The program may write to it.
    pub writable: bool,
    /// What is written goes to the file, and to others that map it.
    pub shared: bool,
}

impl Mapping {
    /// True if the address lies in it.
    pub fn contains(&self, address: u64) -> bool {
        self.start <= address && address < self.end
    }

    /// True if both have an address in common.
    pub fn overlaps(&self, other: &Mapping) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// True if all of `other` lies in it.
    pub fn covers(&self, other: &Mapping) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// What `other` leaves of it.
    pub fn without(self, other: &Mapping) -> Vec<Mapping> {
        if !self.overlaps(other) {
            return vec![self];
        }
        let mut left = Vec::new();
        if self.start < other.start {
            left.push(Mapping { end: other.start, ..self.clone() });
        }
        if other.end < self.end {
            let offset = if self.inode == 0 { 0 } else { self.offset + (other.end - self.start) };
            left.push(Mapping { start: other.end, offset, ..self });
        }
        left
    }

    /// True if both are of one file, or both of none.
    pub fn same_file(&self, other: &Mapping) -> bool {
        (self.inode, &self.device, &self.path) == (other.inode, &other.device, &other.path)
    }

    /// True if one address means the same place of the same file in both. Memory without a file has no places.
    pub fn agrees(&self, other: &Mapping) -> bool {
        let placed = |map: &Mapping| map.start.wrapping_sub(map.offset);
        self.same_file(other) && (self.inode == 0 || placed(self) == placed(other))
    }
}

/// All mappings of `maps` (the content of the proc file), ascending.
pub fn parse(maps: &[u8]) -> Vec<Mapping> {
    maps.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// The mapping that contains `address`, of ascending ones.
pub fn find(maps: &[Mapping], address: u64) -> Option<&Mapping> {
    let after = maps.partition_point(|map| map.start <= address);
    maps.get(after.checked_sub(1)?).filter(|map| map.contains(address))
}

fn line(line: &[u8]) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        let begin = rest.iter().position(|byte| *byte != b' ')?;
        let end = rest.iter().skip(begin).position(|byte| *byte == b' ').map_or(rest.len(), |at| begin + at);
        let field = rest.get(begin..end)?;
        rest = rest.get(end..)?;
        std::str::from_utf8(field).ok()
    };
    let (start, end) = field()?.split_once('-')?;
    let protection = field()?;
    let offset = field()?;
    let device = field()?.to_owned();
    let inode = field()?.parse().ok()?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let path = rest.iter().position(|byte| *byte != b' ').and_then(|at| rest.get(at..)).unwrap_or(&[]);
    Some(Mapping {
        start: hex(start)?,
        end: hex(end)?,
        offset: hex(offset)?,
        device,
        inode,
        path: path.to_vec(),
        writable: protection.contains('w'),
        shared: protection.contains('s'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_line_of_an_address() {
        let maps = parse(
            b"00400000-00401000 r--p 00000000 fe:01 12                         /bin/a b\n\
            7ffc5000-7ffc6000 rw-s 00000000 00:00 0 \n",
        );
        let file = find(&maps, 0x400fff).unwrap();
        assert_eq!((file.path.as_slice(), file.inode, file.device.as_str()), (&b"/bin/a b"[..], 12, "fe:01"));
        assert!(!file.writable && !file.shared);
        let other = find(&maps, 0x7ffc5000).unwrap();
        assert!(other.path.is_empty() && other.writable && other.shared);
        assert_eq!(find(&maps, 0x401000), None);
        assert_eq!(find(&maps, 0x3fffff), None);
    }

    #[test]
    fn two_mappings_agree_where_an_address_means_the_same_byte() {
        let maps = parse(
            b"1000-3000 r-xp 00001000 fe:01 12 /lib/a\n\
            3000-4000 rwxp 00003000 fe:01 12 /lib/a\n\
            4000-5000 r-xp 00000000 fe:01 12 /lib/a\n\
            5000-6000 r-xp 00005000 fe:01 13 /lib/a\n\
            6000-7000 rwxp 00000000 00:00 0 \n\
            9000-a000 rwxp 00000000 00:00 0 \n",
        );
        let agree = |one: usize, other: usize| maps[one].agrees(&maps[other]);
        assert!(agree(0, 1) && !agree(0, 2) && !agree(0, 3));
        assert!(agree(4, 5));
        assert!(maps[0].same_file(&maps[2]) && !maps[0].same_file(&maps[3]));
    }
}
