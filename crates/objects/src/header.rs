//! The headers of an ELF file: what it is, and where its segments lie.
//!
//! Only the header and the program headers are read, so a file that was cut off, and the beginning of a file that lies
//! in memory, have headers too. Source: System V ABI, "Object Files".

use object::elf::{FileHeader32, FileHeader64, PN_XNUM};
use object::read::elf::{FileHeader, NoteIterator, ProgramHeader, SectionHeader};
use object::{Endianness, ReadRef};

/// A loadable segment.
pub const PT_LOAD: u32 = 1;
/// Where the path of the dynamic linker lies.
pub const PT_INTERP: u32 = 3;
/// Notes.
pub const PT_NOTE: u32 = 4;

const NT_GNU_BUILD_ID: u32 = 3;
/// Notes and names of more bytes than this are not read.
const LARGEST_NOTES: u64 = 1 << 28;
/// No path is longer.
const LONGEST_PATH: u64 = 4096;

/// What is wrong with an ELF header, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// In words.
    pub what: String,
    /// Offset in the file.
    pub offset: u64,
}

impl Damage {
    fn new(what: impl Into<String>, offset: u64) -> Damage {
        Damage { what: what.into(), offset }
    }
}

/// One program header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// `p_type`.
    pub kind: u32,
    /// `p_flags`: 1 = executable, 2 = writable, 4 = readable.
    pub flags: u32,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// Its address before the file is loaded.
    pub address: u64,
    /// Bytes in the file.
    pub file_size: u64,
    /// Bytes in memory.
    pub memory_size: u64,
    /// `p_align`.
    pub align: u64,
}

/// 32 or 64 bits, and the machine of an ELF file; None for other files. The first 20 bytes are enough.
pub fn class<'data, R: ReadRef<'data>>(data: R) -> Option<(u8, u16)> {
    let start = data.read_bytes_at(0, 20).ok()?;
    let (Some(b"\x7fELF"), Some(&[class, order])) = (start.get(..4), start.get(4..6)) else { return None };
    let machine = start.get(18..20)?.try_into().ok()?;
    let bits = 32u8.checked_mul(class).filter(|_| matches!(class, 1 | 2))?;
    match order {
        1 => Some((bits, u16::from_le_bytes(machine))),
        2 => Some((bits, u16::from_be_bytes(machine))),
        _ => None,
    }
}

/// The header of an ELF file, and its program headers as far as they are there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// 32 or 64.
    pub bits: u8,
    /// The least significant byte comes first.
    pub is_little: bool,
    /// `e_type`: 1 relocatable, 2 program at fixed addresses, 3 shared, 4 core.
    pub kind: u16,
    /// `e_machine`.
    pub machine: u16,
    /// Address of the first instruction; 0 if there is none.
    pub entry: u64,
    /// File offset of the program headers, size of one, and their number as the header says.
    pub program_table: (u64, u16, u64),
    /// Where the table of section headers ends in the file, as the header says; 0 without one.
    pub sections_end: u64,
    /// The program headers.
    pub segments: Vec<Segment>,
}

impl Headers {
    /// Reads headers. Program headers that are cut off are left out; any other damage is an error.
    pub fn read<'data, R: ReadRef<'data>>(data: R) -> Result<Headers, Damage> {
        let ident = data.read_bytes_at(0, 16).map_err(|()| Damage::new("not an ELF file", 0))?;
        let (Some(b"\x7fELF"), Some(&[class, order, ..])) = (ident.get(..4), ident.get(4..)) else {
            return Err(Damage::new("not an ELF file", 0));
        };
        match (class, order) {
            (1, 1 | 2) => read::<FileHeader32<Endianness>, R>(data, 32, order == 1),
            (2, 1 | 2) => read::<FileHeader64<Endianness>, R>(data, 64, order == 1),
            _ => Err(Damage::new("unknown ELF class or byte order", 4)),
        }
    }

    /// A program, a library or a kernel module, and no core.
    pub fn is_object(&self) -> bool {
        matches!(self.kind, 1..=3)
    }

    /// The loadable segments.
    pub fn loads(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.kind == PT_LOAD)
    }

    /// The path of the dynamic linker that a program asks for, without zero bytes.
    pub fn interpreter<'data, R: ReadRef<'data>>(&self, data: R) -> Option<&'data [u8]> {
        let segment = self.segments.iter().find(|segment| segment.kind == PT_INTERP)?;
        let text = data.read_bytes_at(segment.offset, segment.file_size.min(LONGEST_PATH)).ok()?;
        text.split(|&byte| byte == 0).next()
    }

    /// All notes of the program headers: number and contents. Damaged ones end those of their segment.
    pub fn notes<'data, R: ReadRef<'data>>(&self, data: R) -> Vec<(u32, &'data [u8])> {
        let mut found = Vec::new();
        for segment in self.segments.iter().filter(|segment| segment.kind == PT_NOTE) {
            let Ok(length) = data.len() else { continue };
            // Of a core that was cut off, what is there counts.
            let size = segment.file_size.min(length.saturating_sub(segment.offset)).min(LARGEST_NOTES);
            let Ok(bytes) = data.read_bytes_at(segment.offset, size) else { continue };
            self.each_note(bytes, segment.align, |_, number, contents| found.push((number, contents)));
        }
        found
    }

    /// The build id among the bytes of notes.
    pub fn build_id_in<'data>(&self, notes: &'data [u8], align: u64) -> Option<&'data [u8]> {
        let mut found = None;
        self.each_note(notes, align, |name, number, contents| {
            if number == NT_GNU_BUILD_ID && name == b"GNU" && !contents.is_empty() && found.is_none() {
                found = Some(contents);
            }
        });
        found
    }

    fn each_note<'data>(&self, data: &'data [u8], align: u64, mut take: impl FnMut(&[u8], u32, &'data [u8])) {
        let order = if self.is_little { Endianness::Little } else { Endianness::Big };
        let align = if align == 8 { 8 } else { 4 };
        let Ok(mut notes) = NoteIterator::<FileHeader64<Endianness>>::new(order, align, data) else { return };
        while let Ok(Some(note)) = notes.next() {
            take(note.name(), note.n_type(order).0, note.desc());
        }
    }

    /// The GNU build id: of the notes in segments, or else of those in sections.
    pub fn build_id<'data, R: ReadRef<'data>>(&self, data: R) -> Option<Vec<u8>> {
        for segment in self.segments.iter().filter(|segment| segment.kind == PT_NOTE) {
            let Ok(bytes) = data.read_bytes_at(segment.offset, segment.file_size.min(LARGEST_NOTES)) else {
                continue;
            };
            if let Some(found) = self.build_id_in(bytes, segment.align) {
                return Some(found.to_vec());
            }
        }
        let mut found = None;
        self.each_section(data, |kind, bytes, align| {
            if kind == object::elf::SHT_NOTE.0 && found.is_none() {
                found = self.build_id_in(bytes()?, align).map(<[u8]>::to_vec);
            }
            Some(())
        });
        found
    }

    /// Whether there is a full symbol table, which strip removes.
    pub fn has_symbol_table<'data, R: ReadRef<'data>>(&self, data: R) -> bool {
        let mut found = false;
        self.each_section(data, |kind, bytes, _| {
            found |= kind == object::elf::SHT_SYMTAB.0 && bytes().is_some_and(|bytes| !bytes.is_empty());
            Some(())
        });
        found
    }

    fn each_section<'data, R: ReadRef<'data>>(
        &self,
        data: R,
        mut take: impl FnMut(u32, &dyn Fn() -> Option<&'data [u8]>, u64) -> Option<()>,
    ) {
        if self.bits == 64 {
            sections::<FileHeader64<Endianness>, R>(data, &mut take);
        } else {
            sections::<FileHeader32<Endianness>, R>(data, &mut take);
        }
    }
}

type TakeSection<'t, 'data> = &'t mut dyn FnMut(u32, &dyn Fn() -> Option<&'data [u8]>, u64) -> Option<()>;

fn sections<'data, F: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(
    data: R,
    take: TakeSection<'_, 'data>,
) -> Option<()> {
    let header = F::parse(data).ok()?;
    let order = header.endian().ok()?;
    for section in header.section_headers(order, data).ok()? {
        take(
            section.sh_type(order).0,
            &|| section.data(order, data).ok(),
            section.sh_addralign(order).into(),
        );
    }
    Some(())
}

fn read<'data, F: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(
    data: R,
    bits: u8,
    is_little: bool,
) -> Result<Headers, Damage> {
    let header = data.read_at::<F>(0).map_err(|()| Damage::new("the ELF header is cut off", 16))?;
    let order = if is_little { Endianness::Little } else { Endianness::Big };
    let table: u64 = header.e_phoff(order).into();
    let size = header.e_phentsize(order);
    let sections: u64 = header.e_shoff(order).into();
    let mut count = u64::from(header.e_phnum(order));
    if header.e_phnum(order) == PN_XNUM {
        // The number does not fit; it is the sh_info of the first section header.
        let first = (sections != 0).then(|| data.read_at::<F::SectionHeader>(sections).ok()).flatten();
        let first = first.ok_or_else(|| Damage::new("the number of program headers is cut off", sections))?;
        count = u64::from(first.sh_info(order));
    }
    let smallest = std::mem::size_of::<F::ProgramHeader>();
    if count > 0 && usize::from(size) < smallest {
        return Err(Damage::new(format!("program headers of {size} bytes"), table));
    }
    let section_bytes = u64::from(header.e_shentsize(order)) * u64::from(header.e_shnum(order));
    let mut headers = Headers {
        bits,
        is_little,
        kind: header.e_type(order).0,
        machine: header.e_machine(order).0,
        entry: header.e_entry(order).into(),
        program_table: (table, size, count),
        sections_end: if sections == 0 { 0 } else { sections.saturating_add(section_bytes) },
        segments: Vec::new(),
    };
    let whole = usize::try_from(count).ok().filter(|_| usize::from(size) == smallest);
    let rows = whole.and_then(|count| data.read_slice_at::<F::ProgramHeader>(table, count).ok());
    match rows {
        Some(rows) => headers.segments = rows.iter().map(|row| segment::<F>(row, order)).collect(),
        None => {
            for number in 0..count {
                let at = number.checked_mul(u64::from(size)).and_then(|offset| table.checked_add(offset));
                let Some(Ok(row)) = at.map(|at| data.read_at::<F::ProgramHeader>(at)) else { break };
                headers.segments.push(segment::<F>(row, order));
            }
        }
    }
    Ok(headers)
}

fn segment<F: FileHeader>(row: &F::ProgramHeader, order: F::Endian) -> Segment {
    Segment {
        kind: row.p_type(order).0,
        flags: row.p_flags(order).0,
        offset: row.p_offset(order).into(),
        address: row.p_vaddr(order).into(),
        file_size: row.p_filesz(order).into(),
        memory_size: row.p_memsz(order).into(),
        align: row.p_align(order).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit header with two program headers of kind 1 behind it.
    fn program() -> Vec<u8> {
        let mut data = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
        data.extend(0x1040u64.to_le_bytes());
        data.extend(64u64.to_le_bytes());
        data.extend([0; 12]);
        data.extend([64, 0, 56, 0, 2, 0, 64, 0, 0, 0, 0, 0]);
        for _ in 0..2 {
            data.extend([1, 0, 0, 0, 5, 0, 0, 0]);
            data.extend([0; 48]);
        }
        data
    }

    #[test]
    fn headers_say_what_a_file_is() {
        let data = program();
        let headers = Headers::read(&*data).expect("they are sound");
        assert_eq!((headers.bits, headers.kind, headers.machine, headers.entry), (64, 3, 62, 0x1040));
        assert_eq!(headers.segments.len(), 2);
        assert_eq!(headers.segments[0].flags, 5);
    }

    #[test]
    fn what_is_cut_off_has_fewer_headers_and_never_panics() {
        let data = program();
        for end in 0..data.len() {
            let found = Headers::read(&data[..end]).map(|headers| headers.segments.len());
            let expected = if end < 64 { None } else { Some(usize::from(end >= 120)) };
            assert_eq!(found.ok(), expected, "{end}");
        }
        for at in 0..data.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = data.clone();
                damaged[at] = value;
                if let Ok(headers) = Headers::read(&*damaged) {
                    let _ = (headers.build_id(&*damaged), headers.notes(&*damaged));
                    let _ = (headers.has_symbol_table(&*damaged), headers.interpreter(&*damaged));
                }
            }
        }
    }
}
