//! From bytes to descriptors (runtime architecture, appendix B).

use super::bytes::Bytes;
use super::descriptor::{Descriptor, Format, SpillTo};
use super::place::Saved;
use super::status::Status;

/// A descriptor with its encoding and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// Bytes before it.
    pub offset: usize,
    /// Its encoding.
    pub format: Format,
    /// What it says.
    pub descriptor: Descriptor<'a>,
}

/// The region that descriptors stand in; it decides what their first bytes mean.
#[derive(Clone, Copy, Debug)]
enum Inside {
    Nothing,
    Prologue { length: u64 },
    Body,
}

/// The descriptors of an info block, one after the other, up to the end of the bytes or the first error.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    bytes: Bytes<'a>,
    inside: Inside,
    failed: bool,
}

impl<'a> Items<'a> {
    /// The descriptors in `data`, which begins behind the header.
    pub fn new(data: &'a [u8]) -> Self {
        Items { bytes: Bytes::new(data), inside: Inside::Nothing, failed: false }
    }

    /// How many bytes were read.
    pub fn offset(&self) -> usize {
        self.bytes.offset()
    }

    fn item(&mut self) -> Result<Item<'a>, Status> {
        let offset = self.bytes.offset();
        let first = self.bytes.byte()?;
        let (format, descriptor) = match (first, self.inside) {
            (..=0x7f, _) => region(first, &mut self.bytes)?,
            (0xf9..=0xfc, Inside::Prologue { .. } | Inside::Body) => anywhere(first, &mut self.bytes)?,
            (_, Inside::Prologue { length }) => prologue(first, length, &mut self.bytes)?,
            (_, Inside::Body) => body(first, &mut self.bytes)?,
            (_, Inside::Nothing) => return Err(Status::BadDescriptor),
        };
        match descriptor {
            Descriptor::Prologue { length } | Descriptor::PrologueGeneral { length, .. } => {
                self.inside = Inside::Prologue { length };
            }
            Descriptor::Body { .. } => self.inside = Inside::Body,
            _ => {}
        }
        Ok(Item { offset, format, descriptor })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.bytes.is_empty() {
            return None;
        }
        let item = self.item();
        self.failed = item.is_err();
        Some(item)
    }
}

type Decoded<'a> = Result<(Format, Descriptor<'a>), Status>;

fn region<'a>(first: u8, bytes: &mut Bytes<'a>) -> Decoded<'a> {
    Ok(match first {
        0x00..=0x1f => (Format::R1, Descriptor::Prologue { length: u64::from(first & 31) }),
        0x20..=0x3f => (Format::R1, Descriptor::Body { length: u64::from(first & 31) }),
        0x40..=0x47 => {
            let (high, general) = split(bytes.byte()?);
            let mask = (first & 7) << 1 | high;
            (Format::R2, Descriptor::PrologueGeneral { mask, general, length: bytes.uleb()? })
        }
        0x60 => (Format::R3, Descriptor::Prologue { length: bytes.uleb()? }),
        0x61 => (Format::R3, Descriptor::Body { length: bytes.uleb()? }),
        _ => return Err(Status::BadDescriptor),
    })
}

/// A byte's highest bit and the rest.
fn split(byte: u8) -> (u8, u8) {
    (byte >> 7, byte & 0x7f)
}

fn prologue<'a>(first: u8, length: u64, bytes: &mut Bytes<'a>) -> Decoded<'a> {
    Ok(match first {
        0x80..=0x9f => (Format::P1, Descriptor::BranchMemory { mask: first & 31 }),
        0xa0..=0xaf => {
            let (low, general) = split(bytes.byte()?);
            (Format::P2, Descriptor::BranchGeneral { mask: (first & 15) << 1 | low, general })
        }
        0xb0..=0xb7 => {
            let (low, number) = split(bytes.byte()?);
            (Format::P3, saved_general((first & 7) << 1 | low, number)?)
        }
        0xb8 => {
            let count = (length / 4).saturating_add(u64::from(!length.is_multiple_of(4)));
            (Format::P4, Descriptor::SpillMask { mask: bytes.take(count)? })
        }
        0xb9 => {
            let high = bytes.byte()?;
            let float = u32::from(high & 15) << 16 | u32::from(bytes.byte()?) << 8 | u32::from(bytes.byte()?);
            (Format::P5, Descriptor::FloatGeneralMemory { general: high >> 4, float })
        }
        0xc0..=0xcf => (Format::P6, Descriptor::FloatMemory { mask: first & 15 }),
        0xd0..=0xdf => (Format::P6, Descriptor::GeneralMemory { mask: first & 15 }),
        0xe0..=0xef => (Format::P7, times_and_places(first & 15, bytes)?),
        0xf0 => (Format::P8, rarer_times_and_places(bytes)?),
        0xf1 => {
            let (mask, general) = (bytes.byte()?, bytes.byte()?);
            if mask > 15 || general > 127 {
                return Err(Status::BadDescriptor);
            }
            (Format::P9, Descriptor::GeneralGeneral { mask, general })
        }
        0xff => (Format::P10, Descriptor::Abi { abi: bytes.byte()?, context: bytes.byte()? }),
        _ => return Err(Status::BadDescriptor),
    })
}

fn saved_general<'a>(which: u8, number: u8) -> Result<Descriptor<'a>, Status> {
    let saved = match which {
        0 => Saved::PSP,
        1 => Saved::RP,
        2 => Saved::PFS,
        3 => Saved::PREDS,
        4 => Saved::UNAT,
        5 => Saved::LC,
        6 if number < 8 => return Ok(Descriptor::ReturnBranch { branch: number }),
        7 => Saved::RNAT,
        8 => Saved::BSP,
        9 => Saved::BSPSTORE,
        10 => Saved::FPSR,
        11 => Saved::PRIUNAT,
        _ => return Err(Status::BadDescriptor),
    };
    Ok(Descriptor::SavedGeneral { saved, general: number })
}

fn times_and_places<'a>(which: u8, bytes: &mut Bytes<'a>) -> Result<Descriptor<'a>, Status> {
    let number = bytes.uleb()?;
    let saved = match which {
        0 => return Ok(Descriptor::FixedFrame { time: number, size: bytes.uleb()? }),
        1 => return Ok(Descriptor::When { saved: Saved::PSP, time: number, memory: false }),
        2 => return Ok(Descriptor::SpillBase { offset: number }),
        3 => return Ok(Descriptor::AtSp { saved: Saved::PSP, offset: number }),
        4 | 5 => Saved::RP,
        6 | 7 => Saved::PFS,
        8 | 9 => Saved::PREDS,
        10 | 11 => Saved::LC,
        12 | 13 => Saved::UNAT,
        14 | 15 => Saved::FPSR,
        _ => return Err(Status::BadDescriptor),
    };
    Ok(match which % 2 {
        0 => Descriptor::When { saved, time: number, memory: false },
        _ => Descriptor::AtPsp { saved, offset: number },
    })
}

fn rarer_times_and_places<'a>(bytes: &mut Bytes<'a>) -> Result<Descriptor<'a>, Status> {
    let (which, number) = (bytes.byte()?, bytes.uleb()?);
    let when = |saved, memory| Descriptor::When { saved, time: number, memory };
    let at_psp = |saved| Descriptor::AtPsp { saved, offset: number };
    let at_sp = |saved| Descriptor::AtSp { saved, offset: number };
    Ok(match which {
        1 => at_sp(Saved::RP),
        2 => at_sp(Saved::PFS),
        3 => at_sp(Saved::PREDS),
        4 => at_sp(Saved::LC),
        5 => at_sp(Saved::UNAT),
        6 => at_sp(Saved::FPSR),
        7 => when(Saved::BSP, false),
        8 => at_psp(Saved::BSP),
        9 => at_sp(Saved::BSP),
        10 => when(Saved::BSPSTORE, false),
        11 => at_psp(Saved::BSPSTORE),
        12 => at_sp(Saved::BSPSTORE),
        13 => when(Saved::RNAT, false),
        14 => at_psp(Saved::RNAT),
        15 => at_sp(Saved::RNAT),
        16 => when(Saved::PRIUNAT, false),
        17 => at_psp(Saved::PRIUNAT),
        18 => at_sp(Saved::PRIUNAT),
        19 => when(Saved::PRIUNAT, true),
        _ => return Err(Status::BadDescriptor),
    })
}

fn body<'a>(first: u8, bytes: &mut Bytes<'a>) -> Decoded<'a> {
    Ok(match first {
        0x80..=0x9f => (Format::B1, Descriptor::LabelState { label: u64::from(first & 31) }),
        0xa0..=0xbf => (Format::B1, Descriptor::CopyState { label: u64::from(first & 31) }),
        0xc0..=0xdf => {
            let count = u64::from(first & 31);
            (Format::B2, Descriptor::Epilogue { time: bytes.uleb()?, count })
        }
        0xe0 => (Format::B3, Descriptor::Epilogue { time: bytes.uleb()?, count: bytes.uleb()? }),
        0xf0 => (Format::B4, Descriptor::LabelState { label: bytes.uleb()? }),
        0xf8 => (Format::B4, Descriptor::CopyState { label: bytes.uleb()? }),
        _ => return Err(Status::BadDescriptor),
    })
}

fn anywhere<'a>(first: u8, bytes: &mut Bytes<'a>) -> Decoded<'a> {
    let (format, relative, predicated) = match first {
        0xf9 => (Format::X1, true, false),
        0xfa => (Format::X2, false, false),
        0xfb => (Format::X3, true, true),
        _ => (Format::X4, false, true),
    };
    // With a predicate, the choice between psp and sp shares a byte with it and not with the register.
    let (mut choice, mut predicate) = (0, None);
    if predicated {
        let byte = bytes.byte()?;
        let allowed = if relative { 0xbf } else { 0x3f };
        if byte & !allowed != 0 {
            return Err(Status::BadDescriptor);
        }
        (choice, predicate) = (byte >> 7, Some(byte & 0x3f));
    }
    let (high, abreg) = split(bytes.byte()?);
    if relative && predicated && high != 0 {
        return Err(Status::BadDescriptor);
    }
    let saved = Saved::from_abreg(abreg).ok_or(Status::BadDescriptor)?;
    if relative {
        let time = bytes.uleb()?;
        let offset = bytes.uleb()?;
        let to = if choice | high == 0 { SpillTo::AtPsp(offset) } else { SpillTo::AtSp(offset) };
        return Ok((format, Descriptor::Spill { saved, time, to, predicate }));
    }
    let (low, number) = split(bytes.byte()?);
    let to = match (high, low) {
        (0, 0) if number == 0 => SpillTo::Itself,
        (0, 0) => SpillTo::General(number),
        (0, 1) => SpillTo::Float(number),
        (1, 0) if number < 8 => SpillTo::Branch(number),
        _ => return Err(Status::BadDescriptor),
    };
    Ok((format, Descriptor::Spill { saved, time: bytes.uleb()?, to, predicate }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The descriptors behind a region's, or the first error.
    fn behind(region: &[u8], bytes: &[u8]) -> Result<Vec<(Format, Descriptor<'static>)>, Status> {
        let data: &'static [u8] = Box::leak([region, bytes].concat().into_boxed_slice());
        let items: Result<Vec<_>, _> = Items::new(data).collect();
        Ok(items?.into_iter().skip(1).map(|item| (item.format, item.descriptor)).collect())
    }

    fn in_prologue(bytes: &[u8]) -> Result<Vec<(Format, Descriptor<'static>)>, Status> {
        behind(&[0x05], bytes)
    }

    fn in_body(bytes: &[u8]) -> Result<Vec<(Format, Descriptor<'static>)>, Status> {
        behind(&[0x25], bytes)
    }

    const BAD: Result<Vec<(Format, Descriptor<'static>)>, Status> = Err(Status::BadDescriptor);

    #[test]
    fn regions() {
        let items: Vec<_> =
            Items::new(&[0x03, 0x24, 0x47, 0x85, 0x80, 0x01, 0x60, 0x21, 0x61, 0x22]).flatten().collect();
        let said: Vec<_> = items.iter().map(|item| (item.offset, item.format, item.descriptor)).collect();
        assert_eq!(
            said,
            [
                (0, Format::R1, Descriptor::Prologue { length: 3 }),
                (1, Format::R1, Descriptor::Body { length: 4 }),
                (2, Format::R2, Descriptor::PrologueGeneral { mask: 15, general: 5, length: 128 }),
                (6, Format::R3, Descriptor::Prologue { length: 33 }),
                (8, Format::R3, Descriptor::Body { length: 34 }),
            ]
        );
        for bad in [0x48, 0x5f, 0x62, 0x7f] {
            assert_eq!(Items::new(&[bad, 1, 1]).next(), Some(Err(Status::BadDescriptor)));
        }
    }

    #[test]
    fn the_first_descriptor_begins_a_region() {
        for first in 0x80..=0xff {
            let mut items = Items::new(&[0, 0, 0]);
            assert!(items.next().is_some_and(|item| item.is_ok()));
            let bytes = [first, 0, 0, 0];
            let mut items = Items::new(&bytes);
            assert_eq!(items.next(), Some(Err(Status::BadDescriptor)));
            assert_eq!(items.next(), None);
        }
    }

    #[test]
    fn saves_in_prologues() {
        use Descriptor as D;
        assert_eq!(in_prologue(&[0x91]), Ok(vec![(Format::P1, D::BranchMemory { mask: 0x11 })]));
        let saved = D::BranchGeneral { mask: 0x13, general: 35 };
        assert_eq!(in_prologue(&[0xa9, 0x80 | 35]), Ok(vec![(Format::P2, saved)]));
        for (which, saved) in [
            (0, Saved::PSP),
            (1, Saved::RP),
            (2, Saved::PFS),
            (3, Saved::PREDS),
            (4, Saved::UNAT),
            (5, Saved::LC),
            (7, Saved::RNAT),
            (8, Saved::BSP),
            (9, Saved::BSPSTORE),
            (10, Saved::FPSR),
            (11, Saved::PRIUNAT),
        ] {
            let bytes = [0xb0 | which >> 1, (which & 1) << 7 | 40];
            let descriptor = D::SavedGeneral { saved, general: 40 };
            assert_eq!(in_prologue(&bytes), Ok(vec![(Format::P3, descriptor)]));
        }
        assert_eq!(in_prologue(&[0xb3, 6]), Ok(vec![(Format::P3, D::ReturnBranch { branch: 6 })]));
        assert_eq!(in_prologue(&[0xb3, 8]), BAD);
        assert_eq!(in_prologue(&[0xb6, 33]), BAD);
        // Five slots need two bytes.
        let mask = D::SpillMask { mask: &[0x1b, 0x40] };
        assert_eq!(in_prologue(&[0xb8, 0x1b, 0x40]), Ok(vec![(Format::P4, mask)]));
        assert_eq!(in_prologue(&[0xb8, 0x1b]), BAD);
        let both = D::FloatGeneralMemory { general: 9, float: 0x3_4567 };
        assert_eq!(in_prologue(&[0xb9, 0x93, 0x45, 0x67]), Ok(vec![(Format::P5, both)]));
        assert_eq!(in_prologue(&[0xba]), BAD);
        assert_eq!(in_prologue(&[0xc5]), Ok(vec![(Format::P6, D::FloatMemory { mask: 5 })]));
        assert_eq!(in_prologue(&[0xd5]), Ok(vec![(Format::P6, D::GeneralMemory { mask: 5 })]));
        let moved = D::GeneralGeneral { mask: 15, general: 35 };
        assert_eq!(in_prologue(&[0xf1, 0x0f, 35]), Ok(vec![(Format::P9, moved)]));
        assert_eq!(in_prologue(&[0xf1, 0x1f, 35]), BAD);
        assert_eq!(in_prologue(&[0xf1, 0x0f, 0x80]), BAD);
        assert_eq!(in_prologue(&[0xff, 3, 0x73]), Ok(vec![(Format::P10, D::Abi { abi: 3, context: 0x73 })]));
        for bad in [0xf2, 0xf8, 0xfd, 0xfe] {
            assert_eq!(in_prologue(&[bad, 1, 1]), BAD);
        }
    }

    #[test]
    fn times_and_places_in_prologues() {
        use Descriptor as D;
        let frame = D::FixedFrame { time: 2, size: 300 };
        assert_eq!(in_prologue(&[0xe0, 2, 0xac, 0x02]), Ok(vec![(Format::P7, frame)]));
        let moved = D::When { saved: Saved::PSP, time: 3, memory: false };
        assert_eq!(in_prologue(&[0xe1, 3]), Ok(vec![(Format::P7, moved)]));
        assert_eq!(in_prologue(&[0xe2, 3]), Ok(vec![(Format::P7, D::SpillBase { offset: 3 })]));
        let kept = D::AtSp { saved: Saved::PSP, offset: 3 };
        assert_eq!(in_prologue(&[0xe3, 3]), Ok(vec![(Format::P7, kept)]));
        let order = [Saved::RP, Saved::PFS, Saved::PREDS, Saved::LC, Saved::UNAT, Saved::FPSR];
        for (saved, first) in order.into_iter().zip((0xe4u8..).step_by(2)) {
            let when = D::When { saved, time: 9, memory: false };
            assert_eq!(in_prologue(&[first, 9]), Ok(vec![(Format::P7, when)]));
            let place = D::AtPsp { saved, offset: 9 };
            assert_eq!(in_prologue(&[first + 1, 9]), Ok(vec![(Format::P7, place)]));
        }
        for (saved, which) in order.into_iter().zip(1..) {
            let place = D::AtSp { saved, offset: 9 };
            assert_eq!(in_prologue(&[0xf0, which, 9]), Ok(vec![(Format::P8, place)]));
        }
        for (saved, which) in
            [Saved::BSP, Saved::BSPSTORE, Saved::RNAT, Saved::PRIUNAT].into_iter().zip([7u8, 10, 13, 16])
        {
            let when = D::When { saved, time: 9, memory: false };
            assert_eq!(in_prologue(&[0xf0, which, 9]), Ok(vec![(Format::P8, when)]));
            let place = D::AtPsp { saved, offset: 9 };
            assert_eq!(in_prologue(&[0xf0, which + 1, 9]), Ok(vec![(Format::P8, place)]));
            let place = D::AtSp { saved, offset: 9 };
            assert_eq!(in_prologue(&[0xf0, which + 2, 9]), Ok(vec![(Format::P8, place)]));
        }
        let when = D::When { saved: Saved::PRIUNAT, time: 9, memory: true };
        assert_eq!(in_prologue(&[0xf0, 19, 9]), Ok(vec![(Format::P8, when)]));
        assert_eq!(in_prologue(&[0xf0, 0, 9]), BAD);
        assert_eq!(in_prologue(&[0xf0, 20, 9]), BAD);
    }

    #[test]
    fn bodies() {
        use Descriptor as D;
        assert_eq!(in_body(&[0x83]), Ok(vec![(Format::B1, D::LabelState { label: 3 })]));
        assert_eq!(in_body(&[0xa3]), Ok(vec![(Format::B1, D::CopyState { label: 3 })]));
        assert_eq!(in_body(&[0xc2, 7]), Ok(vec![(Format::B2, D::Epilogue { time: 7, count: 2 })]));
        assert_eq!(in_body(&[0xe0, 7, 40]), Ok(vec![(Format::B3, D::Epilogue { time: 7, count: 40 })]));
        assert_eq!(in_body(&[0xf0, 40]), Ok(vec![(Format::B4, D::LabelState { label: 40 })]));
        assert_eq!(in_body(&[0xf8, 40]), Ok(vec![(Format::B4, D::CopyState { label: 40 })]));
        for bad in [0xe1, 0xef, 0xf1, 0xf7, 0xfd, 0xff] {
            assert_eq!(in_body(&[bad, 1, 1]), BAD);
        }
    }

    #[test]
    fn spills_anywhere() {
        let spill = |saved, to, predicate| Descriptor::Spill { saved, time: 5, to, predicate };
        for inside in [in_prologue, in_body] {
            let rp = Saved::RP;
            let told = spill(rp, SpillTo::AtPsp(6), None);
            assert_eq!(inside(&[0xf9, 0x63, 5, 6]), Ok(vec![(Format::X1, told)]));
            let told = spill(rp, SpillTo::AtSp(6), None);
            assert_eq!(inside(&[0xf9, 0xe3, 5, 6]), Ok(vec![(Format::X1, told)]));
            let told = spill(rp, SpillTo::Itself, None);
            assert_eq!(inside(&[0xfa, 0x63, 0x00, 5]), Ok(vec![(Format::X2, told)]));
            let told = spill(rp, SpillTo::General(35), None);
            assert_eq!(inside(&[0xfa, 0x63, 35, 5]), Ok(vec![(Format::X2, told)]));
            let told = spill(rp, SpillTo::Float(6), None);
            assert_eq!(inside(&[0xfa, 0x63, 0x86, 5]), Ok(vec![(Format::X2, told)]));
            let told = spill(rp, SpillTo::Branch(7), None);
            assert_eq!(inside(&[0xfa, 0xe3, 7, 5]), Ok(vec![(Format::X2, told)]));
            assert_eq!(inside(&[0xfa, 0xe3, 8, 5]), BAD);
            assert_eq!(inside(&[0xfa, 0xe3, 0x87, 5]), BAD);
            assert_eq!(inside(&[0xfa, 0x6b, 35, 5]), BAD);
            let told = spill(rp, SpillTo::AtPsp(6), Some(3));
            assert_eq!(inside(&[0xfb, 0x03, 0x63, 5, 6]), Ok(vec![(Format::X3, told)]));
            let told = spill(rp, SpillTo::AtSp(6), Some(3));
            assert_eq!(inside(&[0xfb, 0x83, 0x63, 5, 6]), Ok(vec![(Format::X3, told)]));
            assert_eq!(inside(&[0xfb, 0x43, 0x63, 5, 6]), BAD);
            assert_eq!(inside(&[0xfb, 0x03, 0xe3, 5, 6]), BAD);
            let told = spill(rp, SpillTo::Branch(6), Some(63));
            assert_eq!(inside(&[0xfc, 0x3f, 0xe3, 6, 5]), Ok(vec![(Format::X4, told)]));
            assert_eq!(inside(&[0xfc, 0x83, 0x63, 6, 5]), BAD);
            assert_eq!(inside(&[0xfc, 0x03, 0x63]), BAD);
        }
    }
}
