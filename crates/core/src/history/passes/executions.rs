//! Executions of instructions, blocks and edges: counted by a walk of their own, or by one that follows calls as well.

use crate::flow::Graph;
use crate::history::passes::count::{Count, Counting, Counts};
use crate::history::passes::coverage::{Cover, Coverage, Covering, Seam};
use crate::history::passes::question::Question;

/// The counts so far. A field is None if its question was not asked.
#[derive(Clone, Debug, Default)]
pub struct Executions {
    /// Executions of instructions.
    pub counts: Option<Counts>,
    /// Executions of blocks and edges.
    pub coverage: Option<Coverage>,
}

/// The question that an [`Executions`] stands for.
pub(in crate::history) struct Executing {
    counts: Option<Counting>,
    coverage: Option<Cover>,
}

type Part = Option<Seam>;
type Sum = (Option<Counts>, Option<Coverage>);

impl Question for Executing {
    type Worker = (Option<Count>, Option<Covering>);
    type Part = Part;
    type Sum = Sum;

    fn worker(&self) -> Self::Worker {
        (self.counts.worker(), self.coverage.worker())
    }

    fn end(&self, worker: &mut Self::Worker, graph: Option<&mut Graph>) -> Part {
        self.coverage.end(&mut worker.1, graph)
    }

    fn sum(&self, worker: Self::Worker, graph: &Graph) -> Sum {
        (self.counts.sum(worker.0, graph), self.coverage.sum(worker.1, graph))
    }
}

impl Executions {
    /// Something is asked for.
    pub fn is_asked(&self) -> bool {
        self.counts.is_some() || self.coverage.is_some()
    }

    pub(in crate::history) fn question(&self) -> Executing {
        Executing {
            counts: self.counts.is_some().then_some(Counting),
            coverage: self.coverage.is_some().then_some(Cover),
        }
    }

    /// Takes what a piece gave, in order.
    pub(in crate::history) fn take(&mut self, part: Part) {
        if let (Some(coverage), Some(seam)) = (&mut self.coverage, part) {
            coverage.meet(seam);
        }
    }

    /// Takes what a thread gave.
    pub(in crate::history) fn add(&mut self, (counts, coverage): Sum) {
        if let (Some(sum), Some(counts)) = (&mut self.counts, counts) {
            sum.merge(counts);
        }
        if let (Some(sum), Some(coverage)) = (&mut self.coverage, coverage) {
            sum.add(coverage.blocks, coverage.edges);
        }
    }

    /// No edge leads from here to what comes next.
    pub(in crate::history) fn break_off(&mut self) {
        if let Some(coverage) = &mut self.coverage {
            coverage.break_off();
        }
    }
}
