//! Descriptors by the names that `readelf -u` gives them, with their fields as encoded.

use super::decode::Item;
use super::descriptor::{Descriptor, Format, SpillTo};
use super::place::Saved;
use super::register::{Register, Special};

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// A number, in the units of the encoding.
    Number(u64),
    /// A register by its name.
    Register(String),
    /// The bytes of a mask.
    Mask(&'a [u8]),
}

/// A descriptor in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields<'a> {
    /// What it is, as `readelf -u` says.
    pub name: String,
    /// Its fields in the order of the encoding.
    pub fields: Vec<(&'static str, Field<'a>)>,
}

/// The name of a saved register inside the name of a descriptor.
fn stem(saved: Saved) -> &'static str {
    match saved.register() {
        Register::Special(Special::Psp) => "psp",
        Register::Special(Special::Rp) => "rp",
        Register::Special(Special::Pfs) => "pfs",
        Register::Special(Special::Preds) => "pr",
        Register::Special(Special::Unat) => "unat",
        Register::Special(Special::Lc) => "lc",
        Register::Special(Special::Fpsr) => "fpsr",
        Register::Special(Special::PriUnat) => "priunat",
        Register::Special(Special::Rnat) => "rnat",
        Register::Special(Special::Bsp) => "bsp",
        Register::Special(Special::Bspstore) => "bspstore",
        _ => "register",
    }
}

/// The name of a register as the engine's users write it.
fn register_name(saved: Saved) -> String {
    match saved.register() {
        Register::General(number) => format!("gr{number}"),
        Register::Float(number) => format!("fr{number}"),
        Register::Branch(number) => format!("br{number}"),
        Register::Special(_) => stem(saved).to_owned(),
    }
}

impl<'a> From<&Item<'a>> for Fields<'a> {
    fn from(item: &Item<'a>) -> Self {
        use Field::Number;
        let number = |number: u8| Number(u64::from(number));
        let (name, fields) = match item.descriptor {
            Descriptor::Prologue { length } => ("prologue".to_owned(), vec![("rlen", Number(length))]),
            Descriptor::PrologueGeneral { mask, general, length } => (
                "prologue_gr".to_owned(),
                vec![("mask", number(mask)), ("gr", number(general)), ("rlen", Number(length))],
            ),
            Descriptor::Body { length } => ("body".to_owned(), vec![("rlen", Number(length))]),
            Descriptor::BranchMemory { mask } => ("br_mem".to_owned(), vec![("brmask", number(mask))]),
            Descriptor::BranchGeneral { mask, general } => {
                ("br_gr".to_owned(), vec![("brmask", number(mask)), ("gr", number(general))])
            }
            Descriptor::SavedGeneral { saved, general } => {
                (format!("{}_gr", stem(saved)), vec![("gr", number(general))])
            }
            Descriptor::ReturnBranch { branch } => ("rp_br".to_owned(), vec![("br", number(branch))]),
            Descriptor::SpillMask { mask } => ("spill_mask".to_owned(), vec![("imask", Field::Mask(mask))]),
            Descriptor::FloatGeneralMemory { general, float } => (
                "frgr_mem".to_owned(),
                vec![("grmask", number(general)), ("frmask", Number(u64::from(float)))],
            ),
            Descriptor::FloatMemory { mask } => ("fr_mem".to_owned(), vec![("frmask", number(mask))]),
            Descriptor::GeneralMemory { mask } => ("gr_mem".to_owned(), vec![("grmask", number(mask))]),
            Descriptor::FixedFrame { time, size } => {
                ("mem_stack_f".to_owned(), vec![("t", Number(time)), ("size", Number(size))])
            }
            Descriptor::SpillBase { offset } => ("spill_base".to_owned(), vec![("off", Number(offset))]),
            Descriptor::When { saved, time, memory } => {
                let name = match (saved, memory) {
                    (Saved::PSP, _) => "mem_stack_v".to_owned(),
                    (Saved::PRIUNAT, true) => "priunat_when_mem".to_owned(),
                    (Saved::PRIUNAT, false) => "priunat_when_gr".to_owned(),
                    _ => format!("{}_when", stem(saved)),
                };
                (name, vec![("t", Number(time))])
            }
            Descriptor::AtPsp { saved, offset } => {
                (format!("{}_psprel", stem(saved)), vec![("off", Number(offset))])
            }
            Descriptor::AtSp { saved, offset } => {
                (format!("{}_sprel", stem(saved)), vec![("off", Number(offset))])
            }
            Descriptor::GeneralGeneral { mask, general } => {
                ("gr_gr".to_owned(), vec![("grmask", number(mask)), ("gr", number(general))])
            }
            Descriptor::Abi { abi, context } => {
                ("unwabi".to_owned(), vec![("abi", number(abi)), ("context", number(context))])
            }
            Descriptor::LabelState { label } => ("label_state".to_owned(), vec![("label", Number(label))]),
            Descriptor::CopyState { label } => ("copy_state".to_owned(), vec![("label", Number(label))]),
            Descriptor::Epilogue { time, count } => {
                ("epilogue".to_owned(), vec![("t", Number(time)), ("ecount", Number(count))])
            }
            Descriptor::Spill { saved, time, to, predicate } => {
                spill(item.format, saved, time, to, predicate)
            }
        };
        Fields { name, fields }
    }
}

fn spill<'a>(
    format: Format,
    saved: Saved,
    time: u64,
    to: SpillTo,
    predicate: Option<u8>,
) -> (String, Vec<(&'static str, Field<'a>)>) {
    let mut fields = Vec::new();
    if let Some(predicate) = predicate {
        fields.push(("qp", Field::Number(u64::from(predicate))));
    }
    fields.push(("t", Field::Number(time)));
    fields.push(("reg", Field::Register(register_name(saved))));
    let (name, last) = match to {
        SpillTo::AtPsp(offset) => ("spill_psprel", Some(("off", Field::Number(offset)))),
        SpillTo::AtSp(offset) => ("spill_sprel", Some(("off", Field::Number(offset)))),
        SpillTo::General(number) => ("spill_reg", Some(("treg", Field::Register(format!("gr{number}"))))),
        SpillTo::Branch(number) => ("spill_reg", Some(("treg", Field::Register(format!("br{number}"))))),
        SpillTo::Float(number) => ("spill_reg", Some(("treg", Field::Register(format!("fr{number}"))))),
        SpillTo::Itself => ("restore", None),
    };
    fields.extend(last);
    let conditional = matches!(format, Format::X3 | Format::X4);
    (format!("{name}{}", if conditional { "_p" } else { "" }), fields)
}
