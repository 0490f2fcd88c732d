//! Call stacks of histories.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use odograph_core::history::{
    fold, Ask, Body, CallStack, CallTree, Called, Clock, Entries, Executions, Found, FrameKind, Functions,
    Ledger, Names, Pairs, Settled, StackFrame, StackPart, Stacks,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::answers;
use crate::history::{self, RawHistory, RawRows};
use crate::table::RawTable;

/// A frame: where it goes on, the step of its call, how it was found (0 a call, 1 interrupted, 2 a jump to another function),
/// whether it is a guess, and the first step of what it called.
type Frame = (u64, Option<u64>, u8, bool, Option<u64>);

/// Frames, whether there are no more, how many more are known, the edges at which sure frames and all that is known end, and
/// where execution goes on.
type Listed = (Vec<Frame>, bool, u64, Option<u64>, Option<u64>, Option<u64>);

fn frame(frame: &StackFrame) -> Frame {
    let kind = match frame.kind {
        FrameKind::Call => 0,
        FrameKind::Interrupted => 1,
        FrameKind::Tail => 2,
    };
    (frame.ip, frame.step, kind, frame.is_guess, frame.entered)
}

fn listed(stack: &CallStack) -> Listed {
    let frames = stack.frames.iter().map(frame).collect();
    (frames, stack.is_complete, stack.left_out, stack.edge, stack.bottom, stack.ip)
}

/// What a walk found that another one may do better with: addresses that nothing explains without names; functions that are
/// known only because they were called, and whether other answers may come of them.
pub type Open = (Vec<u64>, Vec<Called>, bool);

/// That of what a walk left.
pub fn open(unexplained: &[u64], found: &Found) -> Open {
    (unexplained.to_vec(), found.called.clone(), found.matters)
}

/// Tables by question, and what is open if all of the history was asked.
type Answer = (Vec<Vec<RawTable>>, Open);

/// Of a program: the time (TSC) from which it runs, its functions, and what it has mapped (first address, end).
type Program = (u64, Vec<u8>, Vec<(u64, u64)>);

/// What one walk kept.
#[derive(Default)]
struct Kept {
    functions: Option<Settled<Functions>>,
    paths: Option<Settled<CallTree>>,
    pairs: Option<Settled<Pairs>>,
}

impl Kept {
    fn functions(functions: Settled<Functions>) -> Kept {
        Kept { functions: Some(functions), ..Kept::default() }
    }

    fn paths(paths: Settled<CallTree>) -> Kept {
        Kept { paths: Some(paths), ..Kept::default() }
    }

    fn pairs(pairs: Settled<Pairs>) -> Kept {
        Kept { pairs: Some(pairs), ..Kept::default() }
    }
}

/// Where functions begin and end, in each program that a thread ran.
#[pyclass(frozen, module = "odograph._native")]
pub struct RawEntries(pub Arc<Entries>);

#[pymethods]
impl RawEntries {
    /// Of each program: the time (TSC) from which it runs; of each function, as native-endian uint64, the first address, the
    /// one behind it, where the function begins that it is a part of, and whether something begins there (0 or 1); and where something is mapped (first address,
    /// the one behind).
    #[new]
    fn new(programs: Vec<Program>) -> RawEntries {
        let field = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
        let body = |row: &[u8]| {
            let mut fields = row.chunks_exact(8).map(field);
            let mut next = || fields.next().unwrap_or(0);
            Body { start: next(), end: next(), owner: next(), begins: next() != 0 }
        };
        let bodies = |rows: Vec<u8>| rows.chunks_exact(32).map(body).collect();
        RawEntries(Arc::new(Entries::new(
            programs.into_iter().map(|(tsc, rows, mapped)| (tsc, bodies(rows), mapped)).collect(),
        )))
    }

    /// These, and functions that were called: the number of the program, and where they begin.
    #[allow(clippy::needless_pass_by_value)]
    fn with_called(&self, called: Vec<Called>) -> RawEntries {
        RawEntries(Arc::new(self.0.with_called(&called)))
    }

    /// Where the function begins that an address belongs to at a time (TSC), if it is known only because it was called.
    fn called(&self, ip: u64, tsc: u64) -> Option<u64> {
        self.0.called(ip, tsc)
    }

    /// Something of a function begins at one of these addresses, in one of the programs.
    #[allow(clippy::needless_pass_by_value)]
    fn may_enter(&self, ips: Vec<u64>) -> bool {
        ips.iter().any(|&ip| self.0.may_enter(ip))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.to_bytes())
    }

    /// What `to_bytes` gave; no functions if it is something else.
    #[staticmethod]
    fn from_bytes(data: &[u8]) -> RawEntries {
        RawEntries(Arc::new(Entries::from_bytes(data).unwrap_or_default()))
    }
}

/// The call stacks of a history, and what is asked of its calls.
#[pyclass(frozen, module = "odograph._native")]
struct RawStacks {
    history: Py<RawHistory>,
    parts: Vec<StackPart>,
    is_first: bool,
    names: Arc<Names>,
    programs: Vec<u64>,
    followed: OnceLock<Stacks>,
}

impl RawStacks {
    /// The stacks; they are followed once, when they are asked for first.
    fn stacks(&self, py: Python<'_>) -> PyResult<&Stacks> {
        if let Some(stacks) = self.followed.get() {
            return Ok(stacks);
        }
        let (parts, names, programs) = (self.parts.clone(), self.names.clone(), self.programs.clone());
        let ask = |ask: Ask<'_>| Stacks::new(parts, self.is_first, names, programs, ask);
        let stacks = self.history.get().asked(py, ask)?;
        Ok(self.followed.get_or_init(|| stacks))
    }

    /// What is kept of the calls in some steps, which are `counted` on the way.
    fn kept<L>(&self, py: Python<'_>, steps: Range<u64>, counted: &mut Executions) -> PyResult<Settled<L>>
    where
        L: Ledger<Note: Send, Line: Send> + Send,
    {
        let total = self.parts.last().map_or(0, StackPart::end);
        if steps == (0..total) {
            let (parts, names, programs) = (self.parts.clone(), self.names.clone(), self.programs.clone());
            let ask = |ask: Ask<'_>| fold(parts, self.is_first, names, programs, counted, ask);
            return self.history.get().asked(py, ask);
        }
        let stacks = self.stacks(py)?;
        let settled = self.history.get().asked(py, |ask| stacks.fold(steps, counted, ask))?;
        Ok(Settled { unexplained: Vec::new(), found: Found::default(), ..settled })
    }

    fn clock(&self) -> Clock {
        self.history.get().clock
    }
}

#[pymethods]
impl RawStacks {
    /// `is_first`: the first step is the first one of its thread. `starts` are addresses at which functions begin, `ends` those
    /// where the knowledge of functions ends, `pads` (landing pad, first, last) where exceptions land that pass a call in a
    /// range, `programs` the times (TSC) at which other programs begin. `functions` are those that may be jumped to.
    #[new]
    #[allow(clippy::too_many_arguments)] // It is called in one place, by one class.
    fn new(
        history: Py<RawHistory>,
        is_first: bool,
        starts: Vec<u64>,
        ends: Vec<u64>,
        pads: Vec<(u64, u64, u64)>,
        programs: Vec<u64>,
        functions: &RawEntries,
    ) -> RawStacks {
        let mut parts = history.get().stack_parts();
        for part in &mut parts {
            part.functions = functions.0.clone();
        }
        let names = Arc::new(Names::new(starts, ends, pads));
        RawStacks { history, parts, is_first, names, programs, followed: OnceLock::new() }
    }

    /// Tables by question, of "counts", "coverage", "functions", "calls" and "pairs", all by one walk; of pairs, `by` is
    /// added to steps.
    fn ask(
        &self,
        py: Python<'_>,
        questions: Vec<String>,
        start: u64,
        stop: u64,
        by: i64,
        rows: RawRows,
    ) -> PyResult<Answer> {
        let asks = |name: &str| questions.iter().any(|question| question == name);
        let steps = start..stop;
        let mut counted = history::executions(&questions);
        // What is kept together is made for those combinations only: each costs code.
        let mut kept = match (asks("functions"), asks("calls"), asks("pairs")) {
            (false, false, false) => Kept::default(),
            (true, false, false) => Kept::functions(self.kept(py, steps, &mut counted)?),
            (false, true, false) => Kept::paths(self.kept(py, steps, &mut counted)?),
            (false, false, true) => Kept::pairs(self.kept(py, steps, &mut counted)?),
            (true, true, false) => {
                let (functions, paths) = self.kept::<(Functions, CallTree)>(py, steps, &mut counted)?.split();
                Kept { paths: Some(paths), ..Kept::functions(functions) }
            }
            (_, _, true) => {
                let all = self.kept::<(Functions, (CallTree, Pairs))>(py, steps, &mut counted)?;
                let (functions, (paths, pairs)) = {
                    let (functions, others) = all.split();
                    (functions, others.split())
                };
                Kept { functions: Some(functions), paths: Some(paths), pairs: Some(pairs) }
            }
        };
        let (rows, clock) = (history::rows_of(rows), self.clock());
        let mut tables = history::counted_tables(py, &questions, &counted, &rows)?;
        let mut left = Open::default();
        for (question, tables) in questions.iter().zip(&mut tables) {
            match question.as_str() {
                "functions" => {
                    let Some(settled) = kept.functions.take() else { continue };
                    left = open(&settled.unexplained, &settled.found);
                    *tables = vec![answers::functions(settled, clock, &rows)?];
                }
                "calls" => {
                    let Some(settled) = kept.paths.take() else { continue };
                    left = open(&settled.unexplained, &settled.found);
                    *tables = vec![answers::paths(settled, clock, &rows)?];
                }
                "pairs" => {
                    let Some(mut settled) = kept.pairs.take() else { continue };
                    if by != 0 {
                        settled.ledger.move_by(by);
                    }
                    left = open(&settled.unexplained, &settled.found);
                    *tables = answers::pairs(settled, &rows)?;
                }
                _ => {}
            }
        }
        Ok((tables, left))
    }

    /// The frames around the innermost one before a step.
    fn at(&self, py: Python<'_>, step: u64, most: usize) -> PyResult<Listed> {
        let stacks = self.stacks(py)?;
        Ok(listed(&self.history.get().asked(py, |ask| stacks.at(step, most, ask))?))
    }

    /// The same at the end, behind the last of so many steps, where execution is known to go on at `ip`; and the frames
    /// that going there reveals below the first edge.
    fn at_end(&self, py: Python<'_>, steps: u64, ip: u64) -> PyResult<(Listed, Vec<Frame>)> {
        let stacks = self.stacks(py)?;
        let (stack, revealed) = self.history.get().asked(py, |ask| stacks.at_end(steps, ip, ask))?;
        Ok((listed(&stack), revealed.iter().map(frame).collect()))
    }

    /// Addresses that execution went to with another stack pointer and for no known reason; functions that are known only
    /// because they were called, and whether another answer may come of them.
    #[getter]
    fn open(&self, py: Python<'_>) -> PyResult<Open> {
        let stacks = self.stacks(py)?;
        Ok(open(stacks.unexplained(), stacks.found()))
    }

    /// Bytes that it occupies, roughly.
    #[getter]
    fn size(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.stacks(py)?.size())
    }
}

/// Adds this room's classes.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawEntries>()?;
    module.add_class::<RawStacks>()
}
