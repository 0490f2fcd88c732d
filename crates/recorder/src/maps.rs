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
}

/// The mapping of `maps` (the content of the proc file) that contains `address`.
pub fn find(maps: &[u8], address: u64) -> Option<Mapping> {
    maps.split(|byte| *byte == b'\n').filter_map(parse).find(|map| map.start <= address && address < map.end)
}

fn parse(line: &[u8]) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        let begin = rest.iter().position(|byte| *byte != b' ')?;
        let end = rest.iter().skip(begin).position(|byte| *byte == b' ').map_or(rest.len(), |at| begin + at);
        let field = rest.get(begin..end)?;
        rest = rest.get(end..)?;
        std::str::from_utf8(field).ok()
    };
    let (start, end) = field()?.split_once('-')?;
    let _protection = field()?;
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_line_of_an_address() {
        let maps = b"00400000-00401000 r--p 00000000 fe:01 12                         /bin/a b\n\
            7ffc5000-7ffc6000 rw-p 00000000 00:00 0 \n";
        let file = find(maps, 0x400fff).unwrap();
        assert_eq!((file.path.as_slice(), file.inode, file.device.as_str()), (&b"/bin/a b"[..], 12, "fe:01"));
        assert_eq!(find(maps, 0x7ffc5000).unwrap().path, b"");
        assert_eq!(find(maps, 0x401000), None);
    }
}
