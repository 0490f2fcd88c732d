//! Errata that cannot be recognised without the code.

use super::code::CodeError;
use super::graph::{Graph, InstructionMeta, NodeKind};
use crate::config::{FilterRange, TraceConfig};
use crate::cpu::Errata;
use crate::instruction::{Detail, InstructionClass};

/// How far BDM64 looks whether an abort can be reached without trace.
const ABORT_REACH: usize = 0x100;

/// Which of them apply, and the address filters that were in force.
/// Source: Intel's specification updates for the processors in the errata table.
#[derive(Clone, Debug)]
pub(super) struct Repair {
    errata: Errata,
    filters: Vec<FilterRange>,
}

impl Repair {
    pub fn new(config: &TraceConfig) -> Self {
        Repair { errata: Errata::chosen(config.cpu), filters: config.filters.clone() }
    }

    /// SKL014: whether a TIP.PGD without address belongs behind this instruction because it is a direct branch to
    /// `target`, outside the filters. The processor should have given the address.
    pub fn leaves_filter(&self, meta: InstructionMeta, target: u64) -> bool {
        self.errata.skl014
            && !self.filters.is_empty()
            && meta.detail() == Detail::Direct
            && matches!(meta.class(), InstructionClass::Call | InstructionClass::Jump)
            && !self.lets_in(target)
    }

    /// Whether any instruction can be the one that [`Repair::leaves_filter`] means.
    pub fn looks_for_filter(&self) -> bool {
        self.errata.skl014 && !self.filters.is_empty()
    }

    fn lets_in(&self, ip: u64) -> bool {
        let inside = |stop: bool| {
            let mut ranges = self.filters.iter().filter(|range| range.stop == stop);
            ranges.any(|range| (range.first..=range.last).contains(&ip))
        };
        !inside(true) && (inside(false) || self.filters.iter().all(|range| range.stop))
    }

    /// SKD022: whether the FUP before a TIP.PGD is stray, because the instruction at `ip` enters a virtual machine.
    /// Memory that cannot be read says no.
    pub fn enters_vm(&self, graph: &mut Graph, ip: u64) -> bool {
        if !self.errata.skd022 {
            return false;
        }
        let node = graph.node_at(ip);
        let first = graph.learn(node).ok().and_then(|()| graph.metas(node).first().copied());
        first.is_some_and(|meta| matches!(meta.detail(), Detail::Vmlaunch | Detail::Vmresume))
    }

    /// BDM64: whether the branch before an abort at `abort` did not lead to `ip`, as no linear code leads from there to
    /// the abort.
    pub fn aborts_elsewhere(&self, graph: &mut Graph, ip: u64, abort: u64) -> Result<bool, CodeError> {
        if !self.errata.bdm64 {
            return Ok(false);
        }
        let mut at = ip;
        let mut left = ABORT_REACH;
        while left > 0 {
            let node = graph.node_at(at);
            graph.learn(node)?;
            let ips = graph.ips(node);
            if ips.iter().take(left).any(|&ip| ip == abort) {
                return Ok(false);
            }
            left = left.saturating_sub(ips.len().max(1));
            at = graph.next_ip(node);
            if graph.kind(node) != NodeKind::Split {
                return Ok(at != abort || graph.kind(node) != NodeKind::Stuck);
            }
        }
        Ok(true)
    }
}
