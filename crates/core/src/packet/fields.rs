//! The fields of packets by name, for those who show or convert packets of every kind alike.

use super::{Packet, Tnt};

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// A number of any width.
    Number(u64),
    /// One bit.
    Flag(bool),
}

macro_rules! into_number {
    ($($width:ty),*) => { $(
        impl From<$width> for Field {
            fn from(value: $width) -> Self {
                Field::Number(value.into())
            }
        }
    )* };
}
into_number!(u8, u16, u32, u64);

impl From<bool> for Field {
    fn from(value: bool) -> Self {
        Field::Flag(value)
    }
}

impl Packet {
    /// The packet's name, such as `tip.pge` or `mode.exec`.
    pub fn name(&self) -> &'static str {
        match self {
            Packet::ModeExec { .. } => "mode.exec",
            Packet::ModeTsx { .. } => "mode.tsx",
            _ => Packet::KINDS.get(self.kind()).copied().unwrap_or("unknown"),
        }
    }

    /// Calls `each` with the name and value of each field, in the order in which they are declared. Types of
    /// CFE, EVD and BBP are called `type`.
    pub fn fields(&self, mut each: impl FnMut(&'static str, Field)) {
        macro_rules! fields {
            ($($name:ident),*) => {{ $( each(stringify!($name), $name.into()); )* }};
        }
        match *self {
            Packet::Pad | Packet::Psb | Packet::Psbend | Packet::Ovf | Packet::Stop | Packet::Unknown => {}
            Packet::Fup(payload)
            | Packet::Tip(payload)
            | Packet::TipPge(payload)
            | Packet::TipPgd(payload) => {
                let (compression, ip) = (payload.compression as u8, payload.ip);
                fields!(compression, ip);
            }
            Packet::Tnt8(Tnt { size, bits }) | Packet::Tnt64(Tnt { size, bits }) => fields!(size, bits),
            Packet::ModeExec { csl, csd, iflag } => fields!(csl, csd, iflag),
            Packet::ModeTsx { intx, abrt } => fields!(intx, abrt),
            Packet::Pip { cr3, nr } => fields!(cr3, nr),
            Packet::Vmcs { base } => fields!(base),
            Packet::Cbr { ratio } => fields!(ratio),
            Packet::Tsc { tsc } => fields!(tsc),
            Packet::Tma { ctc, fc } => fields!(ctc, fc),
            Packet::Mtc { ctc } => fields!(ctc),
            Packet::Cyc { value } => fields!(value),
            Packet::Mnt { payload } => fields!(payload),
            Packet::Exstop { ip } | Packet::Bep { ip } => fields!(ip),
            Packet::Mwait { hints, ext } => fields!(hints, ext),
            Packet::Pwre { state, sub_state, hw } => fields!(state, sub_state, hw),
            Packet::Pwrx { last, deepest, interrupt, store, autonomous } => {
                fields!(last, deepest, interrupt, store, autonomous);
            }
            Packet::Ptw { payload, plc, ip } => fields!(payload, plc, ip),
            Packet::Cfe { kind, vector, ip } => {
                each("type", kind.into());
                fields!(vector, ip);
            }
            Packet::Evd { kind, payload } => {
                each("type", kind.into());
                fields!(payload);
            }
            Packet::Trig { trbv, icnt, ip, icntv, mult } => fields!(trbv, icnt, ip, icntv, mult),
            Packet::Bbp { short, kind } => {
                each("type", kind.into());
                fields!(short);
            }
            Packet::Bip { id, short, payload } => fields!(id, short, payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_names_of_the_manual() {
        let fields = |packet: Packet| {
            let mut found = Vec::new();
            packet.fields(|name, value| found.push((name, value)));
            (packet.name(), found)
        };
        let (number, flag) = (Field::Number, Field::Flag);
        assert_eq!(fields(Packet::Psb), ("psb", vec![]));
        assert_eq!(
            fields(Packet::ModeTsx { intx: true, abrt: false }),
            ("mode.tsx", vec![("intx", flag(true)), ("abrt", flag(false))])
        );
        assert_eq!(
            fields(Packet::Cfe { kind: 1, vector: 14, ip: true }),
            ("cfe", vec![("type", number(1)), ("vector", number(14)), ("ip", flag(true))])
        );
    }
}
