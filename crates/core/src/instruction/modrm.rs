//! How many bytes follow a ModRM byte because of its addressing form.

/// Width of addresses, which decides what a ModRM byte means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressSize {
    /// The mode is not known: no displacement and no SIB byte, as in libipt.
    Unknown,
    Bits16,
    Bits32,
    Bits64,
}

/// Marks a form with a SIB byte (which the low bits do not count).
const SIB: u8 = 0x80;

/// Bytes of displacement for 32 and 64 bit addressing (Intel SDM volume 2, table 2-2).
static WIDE: [u8; 256] = {
    let mut table = [0; 256];
    let mut modrm = 0;
    while modrm < 256 {
        let (form, rm) = (modrm >> 6, modrm & 7);
        let displacement = match form {
            0 if rm == 5 => 4,
            1 => 1,
            2 => 4,
            _ => 0,
        };
        table[modrm] = displacement | if form != 3 && rm == 4 { SIB } else { 0 };
        modrm += 1;
    }
    table
};

/// The same for 16-bit addressing (table 2-1).
static NARROW: [u8; 256] = {
    let mut table = [0; 256];
    let mut modrm = 0;
    while modrm < 256 {
        table[modrm] = match modrm >> 6 {
            0 if modrm & 7 == 6 => 2,
            1 => 1,
            2 => 2,
            _ => 0,
        };
        modrm += 1;
    }
    table
};

/// Bytes behind the ModRM byte that belong to its address. `sib` is the byte behind it, if the
/// instruction reaches that far; the error is the least number of bytes if that is needed but absent.
#[inline(always)]
pub(super) fn tail(modrm: u8, sib: Option<u8>, width: AddressSize) -> Result<usize, usize> {
    match width {
        AddressSize::Bits32 | AddressSize::Bits64 => {
            let entry = WIDE[usize::from(modrm)];
            let displacement = usize::from(entry & !SIB);
            if entry & SIB == 0 {
                return Ok(displacement);
            }
            match sib {
                Some(sib) if modrm < 0x40 && sib & 7 == 5 => Ok(5),
                Some(_) => Ok(1 + displacement),
                None => Err(1 + displacement),
            }
        }
        AddressSize::Bits16 => Ok(usize::from(NARROW[usize::from(modrm)])),
        AddressSize::Unknown => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_forms() {
        let tail = |modrm, sib| tail(modrm, sib, AddressSize::Bits64);
        assert_eq!(tail(0x00, None), Ok(0), "[rax]");
        assert_eq!(tail(0x05, None), Ok(4), "[rip + disp32]");
        assert_eq!(tail(0x45, None), Ok(1), "[rbp + disp8]");
        assert_eq!(tail(0x85, None), Ok(4), "[rbp + disp32]");
        assert_eq!(tail(0xc4, None), Ok(0), "rsp");
        assert_eq!(tail(0x04, Some(0x24)), Ok(1), "[rsp]");
        assert_eq!(tail(0x04, Some(0x25)), Ok(5), "[disp32]");
        assert_eq!(tail(0x44, Some(0x25)), Ok(2), "[rbp + disp8]");
        assert_eq!(tail(0x04, None), Err(1));
        assert_eq!(tail(0x84, None), Err(5));
    }

    #[test]
    fn narrow_forms() {
        let tail = |modrm| tail(modrm, None, AddressSize::Bits16);
        assert_eq!(tail(0x04), Ok(0), "[si]");
        assert_eq!(tail(0x06), Ok(2), "[disp16]");
        assert_eq!(tail(0x46), Ok(1), "[bp + disp8]");
        assert_eq!(tail(0x84), Ok(2), "[si + disp16]");
        assert_eq!(tail(0xc6), Ok(0), "si");
    }
}
