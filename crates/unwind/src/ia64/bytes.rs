//! A reader of bytes that may end anywhere.

use super::status::Status;

/// Bytes and a place in them.
#[derive(Clone, Debug)]
pub(super) struct Bytes<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Bytes { data, at: 0 }
    }

    /// How many bytes were read.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.data.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8, Status> {
        let byte = *self.data.get(self.at).ok_or(Status::BadDescriptor)?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], Status> {
        let count = usize::try_from(count).map_err(|_| Status::BadDescriptor)?;
        let end = self.at.checked_add(count).ok_or(Status::BadDescriptor)?;
        let bytes = self.data.get(self.at..end).ok_or(Status::BadDescriptor)?;
        self.at = end;
        Ok(bytes)
    }

    /// An unsigned number in groups of seven bits, the lowest first; more than 64 bits are an error.
    pub(super) fn uleb(&mut self) -> Result<u64, Status> {
        let mut number = 0u64;
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let placed = bits.checked_shl(shift).unwrap_or(0);
            if placed.checked_shr(shift).unwrap_or(0) != bits {
                return Err(Status::BadDescriptor);
            }
            number |= placed;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
            // Zeros may go on for as long as there are bytes.
            shift = shift.saturating_add(7).min(70);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(Bytes::new(&[0x7f]).uleb(), Ok(127));
        assert_eq!(Bytes::new(&[0x80, 0x01]).uleb(), Ok(128));
        assert_eq!(Bytes::new(&[0xe5, 0x8e, 0x26]).uleb(), Ok(624_485));
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Bytes::new(&most).uleb(), Ok(u64::MAX));
    }

    #[test]
    fn numbers_that_do_not_fit_or_end() {
        let over = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(Bytes::new(&over).uleb(), Err(Status::BadDescriptor));
        let longer = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
        assert_eq!(Bytes::new(&longer).uleb(), Err(Status::BadDescriptor));
        assert_eq!(Bytes::new(&[0x80, 0x80]).uleb(), Err(Status::BadDescriptor));
        assert_eq!(Bytes::new(&[0x80; 1000]).uleb(), Err(Status::BadDescriptor));
        assert_eq!(Bytes::new(&[1, 2]).take(3), Err(Status::BadDescriptor));
        assert_eq!(Bytes::new(&[1, 2]).take(u64::MAX), Err(Status::BadDescriptor));
    }
}
