//! The processor a trace was made on, and its errata.

use serde::{Deserialize, Serialize};

/// A processor by CPUID family, model and stepping. The vendor is always Intel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cpu {
    /// CPUID family with the extended family added.
    pub family: u16,
    /// CPUID model with the extended model in its upper half.
    pub model: u8,
    /// CPUID stepping; errata do not depend on it.
    pub stepping: u8,
}

/// Which errata work-arounds to apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CpuChoice {
    /// Those of the processor the recording names, if any, and quirks the stream itself shows.
    #[default]
    Auto,
    /// As `Auto`, where the recording names this processor.
    Recorded(Cpu),
    /// None at all.
    NoErrata,
    /// Exactly the row of this processor.
    Exactly(Cpu),
    /// Exactly these.
    Only(Errata),
}

/// Errata of processors that need a work-around, named as Intel's specification updates name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Errata {
    pub bdm70: bool,
    pub bdm64: bool,
    pub skd007: bool,
    pub skd022: bool,
    pub skd010: bool,
    pub skl014: bool,
    pub skl168: bool,
    pub skz84: bool,
    pub apl11: bool,
    pub apl12: bool,
    /// Recognise from the stream that PSB+ wrongly holds a FUP before a TIP.PGE at the same IP.
    pub stray_psb_fup: bool,
}

/// (family, models, errata) rows; the letters stand for the errata below.
const ROWS: &[(u16, &[u8], &str)] = &[
    (6, &[0x3d, 0x47, 0x4f, 0x56], "bdm70 bdm64"),
    (6, &[0x4e, 0x5e, 0x8e, 0x9e, 0xa5, 0xa6], "bdm70 skd007 skd022 skd010 skl014 skl168"),
    (6, &[0x55, 0x6a, 0x6c], "bdm70 skd022 skl014 skz84"),
    (6, &[0x8f, 0xcf, 0xad, 0xae], "bdm70 skd022 skz84"),
    (0x13, &[0x01], "bdm70 skd022 skz84"),
    (6, &[0x66, 0x7d, 0x7e, 0x8c, 0x8d, 0xa7, 0xa8], "bdm70 skd022 skl014"),
    (
        6,
        &[0x97, 0x9a, 0xba, 0xb7, 0xbf, 0xc5, 0xc6, 0xb5, 0xaa, 0xac, 0xbd, 0xcc, 0xd5],
        "bdm70 skd022 apl11",
    ),
    (0x12, &[0x01, 0x03], "bdm70 skd022 apl11"),
    (6, &[0x5c, 0x5f], "apl11 apl12"),
    (6, &[0x7a, 0x86, 0x96, 0x9c, 0xb6, 0xaf, 0xdd], "apl11"),
];

impl Errata {
    /// The errata of a processor; None if it is not in the table.
    pub fn of(cpu: Cpu) -> Option<Errata> {
        let (_, _, names) =
            ROWS.iter().find(|(family, models, _)| *family == cpu.family && models.contains(&cpu.model))?;
        Some(Errata::named(&names.split(' ').collect::<Vec<_>>()))
    }

    /// The names of those that are set and that stand in the table.
    pub fn names(&self) -> Vec<&'static str> {
        let all = [
            ("bdm70", self.bdm70),
            ("bdm64", self.bdm64),
            ("skd007", self.skd007),
            ("skd022", self.skd022),
            ("skd010", self.skd010),
            ("skl014", self.skl014),
            ("skl168", self.skl168),
            ("skz84", self.skz84),
            ("apl11", self.apl11),
            ("apl12", self.apl12),
        ];
        all.into_iter().filter(|&(_, set)| set).map(|(name, _)| name).collect()
    }

    /// Those with these names; others are passed over.
    pub fn named(names: &[&str]) -> Errata {
        let has = |name: &str| names.contains(&name);
        Errata {
            bdm70: has("bdm70"),
            bdm64: has("bdm64"),
            skd007: has("skd007"),
            skd022: has("skd022"),
            skd010: has("skd010"),
            skl014: has("skl014"),
            skl168: has("skl168"),
            skz84: has("skz84"),
            apl11: has("apl11"),
            apl12: has("apl12"),
            stray_psb_fup: false,
        }
    }

    /// The errata that a configuration asks for.
    pub fn chosen(choice: CpuChoice) -> Errata {
        match choice {
            CpuChoice::NoErrata => Errata::default(),
            CpuChoice::Exactly(cpu) => Errata::of(cpu).unwrap_or_default(),
            CpuChoice::Only(errata) => errata,
            CpuChoice::Auto => Errata { stray_psb_fup: true, ..Errata::default() },
            CpuChoice::Recorded(cpu) => Errata { stray_psb_fup: true, ..Errata::of(cpu).unwrap_or_default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(family: u16, model: u8) -> Option<Vec<&'static str>> {
        Errata::of(Cpu { family, model, stepping: 7 }).map(|errata| errata.names())
    }

    #[test]
    fn one_processor_of_each_row() {
        assert_eq!(names(6, 0x47).unwrap(), ["bdm70", "bdm64"]);
        let skylake = ["bdm70", "skd007", "skd022", "skd010", "skl014", "skl168"];
        assert_eq!(names(6, 0x5e).unwrap(), skylake);
        assert_eq!(names(6, 0x55).unwrap(), ["bdm70", "skd022", "skl014", "skz84"]);
        assert_eq!(names(6, 0x8f).unwrap(), ["bdm70", "skd022", "skz84"]);
        assert_eq!(names(0x13, 0x01).unwrap(), ["bdm70", "skd022", "skz84"]);
        assert_eq!(names(6, 0x8c).unwrap(), ["bdm70", "skd022", "skl014"]);
        assert_eq!(names(6, 0x97).unwrap(), ["bdm70", "skd022", "apl11"]);
        assert_eq!(names(0x12, 0x03).unwrap(), ["bdm70", "skd022", "apl11"]);
        assert_eq!(names(6, 0x5c).unwrap(), ["apl11", "apl12"]);
        assert_eq!(names(6, 0x86).unwrap(), ["apl11"]);
        assert_eq!(names(6, 0x00), None);
        assert_eq!(names(15, 0x47), None);
    }

    #[test]
    fn a_processor_appears_in_one_row_only() {
        let mut all: Vec<(u16, u8)> = ROWS
            .iter()
            .flat_map(|(family, models, _)| models.iter().map(|model| (*family, *model)))
            .collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!((count, all.len()), (49, 49));
    }

    #[test]
    fn the_choice_decides() {
        let skylake = Cpu { family: 6, model: 0x5e, stepping: 3 };
        let exactly = Errata::chosen(CpuChoice::Exactly(skylake));
        assert!(exactly.skd010 && !exactly.stray_psb_fup);
        let recorded = Errata::chosen(CpuChoice::Recorded(skylake));
        assert!(recorded.skd010 && recorded.stray_psb_fup);
        assert_eq!(Errata::chosen(CpuChoice::NoErrata), Errata::default());
        assert_eq!(Errata::chosen(CpuChoice::Auto), Errata { stray_psb_fup: true, ..Errata::default() });
        let unknown = Cpu { family: 6, model: 0, stepping: 0 };
        assert_eq!(Errata::chosen(CpuChoice::Exactly(unknown)), Errata::default());
    }
}
