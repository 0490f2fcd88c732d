//! The modules of a process: where files lie in its memory.

use std::ops::Range;

use super::tables::SharedTables;

/// A mapped file. Addresses in memory are those of the file plus `bias`, modulo 2^64.
#[derive(Clone, Debug)]
pub struct Module {
    /// Where it lies in memory.
    pub range: Range<u64>,
    /// What loading added.
    pub bias: u64,
    /// What it says of frames.
    pub tables: SharedTables,
}

impl Module {
    /// An address of memory as the file has it.
    pub fn inside(&self, address: u64) -> u64 {
        address.wrapping_sub(self.bias)
    }
}

/// Modules by address; none lies over another.
#[derive(Debug, Default)]
pub struct Modules(Vec<Module>);

impl Modules {
    /// Adds a module. Those that lie where it does are gone; gives them. An empty one is not added.
    pub fn add(&mut self, module: Module) -> Vec<Module> {
        if module.range.is_empty() {
            return Vec::new();
        }
        let first = self.0.partition_point(|other| other.range.end <= module.range.start);
        let last = self.0.partition_point(|other| other.range.start < module.range.end);
        self.0.splice(first..last, [module]).collect()
    }

    /// The module at an address.
    pub fn at(&self, address: u64) -> Option<&Module> {
        let after = self.0.partition_point(|module| module.range.start <= address);
        self.0.get(..after)?.last().filter(|module| module.range.contains(&address))
    }

    /// The end of the highest module; 0 if there are none.
    pub fn end(&self) -> u64 {
        self.0.last().map_or(0, |module| module.range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(range: Range<u64>) -> Module {
        Module { range, bias: 0x1000, tables: SharedTables::default() }
    }

    #[test]
    fn the_module_added_last_counts() {
        let mut modules = Modules::default();
        assert!(modules.add(module(0x1000..0x2000)).is_empty());
        assert!(modules.add(module(0x3000..0x4000)).is_empty());
        assert!(modules.add(module(0x2000..0x3000)).is_empty());
        assert!(modules.add(module(5..5)).is_empty());
        let gone: Vec<_> =
            modules.add(module(0x1800..0x2001)).into_iter().map(|module| module.range).collect();
        assert_eq!(gone, [0x1000..0x2000, 0x2000..0x3000]);
        assert!(modules.at(0x1000).is_none() && modules.at(0x2001).is_none() && modules.at(0x4000).is_none());
        assert_eq!(modules.at(0x2000).map(|module| module.inside(0x2000)), Some(0x1000));
        assert_eq!(modules.end(), 0x4000);
    }
}
