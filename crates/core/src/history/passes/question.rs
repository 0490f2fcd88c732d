//! Questions that one walk can answer together.

use crate::event::Event;
use crate::flow::{Engine, Gap, Graph, NodeId, RunState, Sink, Where};
use crate::history::decode::decoded_trace::Pass;
use crate::history::passes::parallel::{Piece, Verb, Walker};

/// A question that is answered by a pass over everything in a piece.
///
/// A pair of questions is a question, and so is one that may not be asked ([`Option`]).
pub(in crate::history) trait Question: Sync {
    /// The pass. A thread keeps it from piece to piece.
    type Worker: Pass + Send;
    /// What a piece gives, taken in order.
    type Part: Send;
    /// What a thread gives in the end, taken in any order.
    type Sum: Send;

    fn worker(&self) -> Self::Worker;

    /// A piece begins. What the pass has learned of the code may lie in `graph`.
    fn begin(&self, _worker: &mut Self::Worker, _graph: Option<&mut Graph>, _piece: &Piece) {}

    /// A piece has ended.
    fn end(&self, worker: &mut Self::Worker, graph: Option<&mut Graph>) -> Self::Part;

    /// What is in `worker`, after the last piece; `graph` is the one it was told of.
    fn sum(&self, worker: Self::Worker, graph: &Graph) -> Self::Sum;
}

/// Asks a question.
pub(in crate::history) struct Asked<Q>(pub Q);

impl<Q: Question> Verb for Asked<Q> {
    type Worker = Q::Worker;
    type Part = Q::Part;
    type Sum = Q::Sum;

    fn worker(&self) -> Q::Worker {
        self.0.worker()
    }

    fn piece(&self, worker: &mut Q::Worker, walker: &mut Walker<'_>, _: usize, piece: Piece) -> Q::Part {
        self.0.begin(worker, walker.graph_mut(), &piece);
        walker.walk(piece, worker);
        self.0.end(worker, walker.graph_mut())
    }

    fn sum(&self, worker: Q::Worker, graph: &Graph) -> Q::Sum {
        self.0.sum(worker, graph)
    }
}

/// Nothing is asked.
impl Question for () {
    type Worker = ();
    type Part = ();
    type Sum = ();

    fn worker(&self) {}
    fn end(&self, (): &mut (), _: Option<&mut Graph>) {}
    fn sum(&self, (): (), _: &Graph) {}
}

impl<Q: Question> Question for &Q {
    type Worker = Q::Worker;
    type Part = Q::Part;
    type Sum = Q::Sum;

    fn worker(&self) -> Q::Worker {
        (**self).worker()
    }

    fn begin(&self, worker: &mut Q::Worker, graph: Option<&mut Graph>, piece: &Piece) {
        (**self).begin(worker, graph, piece);
    }

    fn end(&self, worker: &mut Q::Worker, graph: Option<&mut Graph>) -> Q::Part {
        (**self).end(worker, graph)
    }

    fn sum(&self, worker: Q::Worker, graph: &Graph) -> Q::Sum {
        (**self).sum(worker, graph)
    }
}

impl<A: Question, B: Question> Question for (A, B) {
    type Worker = (A::Worker, B::Worker);
    type Part = (A::Part, B::Part);
    type Sum = (A::Sum, B::Sum);

    fn worker(&self) -> Self::Worker {
        (self.0.worker(), self.1.worker())
    }

    fn begin(&self, worker: &mut Self::Worker, mut graph: Option<&mut Graph>, piece: &Piece) {
        self.0.begin(&mut worker.0, graph.as_deref_mut(), piece);
        self.1.begin(&mut worker.1, graph, piece);
    }

    fn end(&self, worker: &mut Self::Worker, mut graph: Option<&mut Graph>) -> Self::Part {
        (self.0.end(&mut worker.0, graph.as_deref_mut()), self.1.end(&mut worker.1, graph))
    }

    fn sum(&self, worker: Self::Worker, graph: &Graph) -> Self::Sum {
        (self.0.sum(worker.0, graph), self.1.sum(worker.1, graph))
    }
}

impl<Q: Question> Question for Option<Q> {
    type Worker = Option<Q::Worker>;
    type Part = Option<Q::Part>;
    type Sum = Option<Q::Sum>;

    fn worker(&self) -> Self::Worker {
        self.as_ref().map(Q::worker)
    }

    fn begin(&self, worker: &mut Self::Worker, graph: Option<&mut Graph>, piece: &Piece) {
        if let (Some(question), Some(worker)) = (self, worker) {
            question.begin(worker, graph, piece);
        }
    }

    fn end(&self, worker: &mut Self::Worker, graph: Option<&mut Graph>) -> Self::Part {
        let (question, worker) = self.as_ref().zip(worker.as_mut())?;
        Some(question.end(worker, graph))
    }

    fn sum(&self, worker: Self::Worker, graph: &Graph) -> Self::Sum {
        let (question, worker) = self.as_ref().zip(worker)?;
        Some(question.sum(worker, graph))
    }
}

impl Sink for () {}
impl Pass for () {}

/// Tells both.
impl<A: Pass, B: Pass> Sink for (A, B) {
    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        self.0.run(graph, node, from, to, state);
        self.1.run(graph, node, from, to, state);
    }

    fn rounds(&mut self, graph: &Graph, node: NodeId, rounds: u64, state: &RunState) {
        self.0.rounds(graph, node, rounds, state);
        self.1.rounds(graph, node, rounds, state);
    }

    fn event(&mut self, event: &Event, place: Where, engine: &Engine) {
        self.0.event(event, place, engine);
        self.1.event(event, place, engine);
    }

    fn gap(&mut self, gap: Gap) {
        self.0.gap(gap);
        self.1.gap(gap);
    }
}

impl<A: Pass, B: Pass> Pass for (A, B) {
    fn done(&self) -> bool {
        self.0.done() && self.1.done()
    }
}

/// Tells it if it is there.
impl<P: Pass> Sink for Option<P> {
    #[inline]
    fn run(&mut self, graph: &Graph, node: NodeId, from: u16, to: u16, state: &RunState) {
        if let Some(pass) = self {
            pass.run(graph, node, from, to, state);
        }
    }

    fn rounds(&mut self, graph: &Graph, node: NodeId, rounds: u64, state: &RunState) {
        if let Some(pass) = self {
            pass.rounds(graph, node, rounds, state);
        }
    }

    fn event(&mut self, event: &Event, place: Where, engine: &Engine) {
        if let Some(pass) = self {
            pass.event(event, place, engine);
        }
    }

    fn gap(&mut self, gap: Gap) {
        if let Some(pass) = self {
            pass.gap(gap);
        }
    }
}

impl<P: Pass> Pass for Option<P> {
    fn done(&self) -> bool {
        self.as_ref().is_some_and(P::done)
    }
}
