//! Numbers and columns of a line, written to bytes.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn digit(nibble: u64) -> u8 {
    DIGITS.get((nibble & 15) as usize).copied().unwrap_or(b'?')
}

/// The low `digits` hexadecimal digits of a number, with leading zeros.
pub fn hex_digits(out: &mut Vec<u8>, value: u64, digits: u32) {
    out.extend((0..digits.min(16)).rev().map(|at| digit(value >> (4 * at))));
}

/// A hexadecimal number without leading zeros.
pub fn hex(out: &mut Vec<u8>, value: u64) {
    hex_digits(out, value, (67 - (value | 1).leading_zeros()) / 4);
}

/// A decimal number.
pub fn decimal(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(value.to_string().as_bytes());
}

/// Blanks until `width` bytes stand behind `start`.
pub fn pad(out: &mut Vec<u8>, start: usize, width: usize) {
    let end = start.saturating_add(width);
    if out.len() < end {
        out.resize(end, b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_those_of_format() {
        for value in [0, 1, 9, 0xf, 0x10, 0xff, 0x100, 0x1234_5678, u64::MAX >> 1, u64::MAX] {
            assert_eq!(text(|out| hex(out, value)), format!("{value:x}"));
            assert_eq!(text(|out| hex_digits(out, value, 16)), format!("{value:016x}"));
            assert_eq!(text(|out| hex_digits(out, value, 2)), format!("{:02x}", value & 0xff));
            assert_eq!(text(|out| decimal(out, value)), value.to_string());
        }
    }

    #[test]
    fn columns_are_at_least_as_wide_as_asked() {
        let padded = |word: &str, width| {
            text(|out| {
                out.extend_from_slice(b"> ");
                out.extend_from_slice(word.as_bytes());
                pad(out, 2, width);
            })
        };
        assert_eq!(padded("ab", 4), "> ab  ");
        assert_eq!(padded("abcd", 4), "> abcd");
        assert_eq!(padded("abcde", 4), "> abcde");
    }
}
