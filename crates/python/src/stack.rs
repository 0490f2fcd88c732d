//! Call stacks of histories.

use odograph_core::history::{CallStack, FrameKind, Names, StackFrame, Stacks};
use pyo3::prelude::*;

use crate::history::RawHistory;

/// A frame: where it goes on, a step, how it was found (0 a call, 1 interrupted, 2 revealed by a later return, 3 interrupted
/// and revealed when it went on), and whether it is a guess.
type Frame = (u64, u64, u8, bool);

/// Frames, whether there are no more, how many more are known, the edges at which sure frames and all that is known end, and
/// where execution goes on.
type Listed = (Vec<Frame>, bool, u64, Option<u64>, Option<u64>, Option<u64>);

fn frame(frame: &StackFrame) -> Frame {
    let kind = match frame.kind {
        FrameKind::Call => 0,
        FrameKind::Interrupted => 1,
        FrameKind::Revealed => 2,
        FrameKind::Resumed => 3,
    };
    (frame.ip, frame.step, kind, frame.is_guess)
}

fn listed(stack: &CallStack) -> Listed {
    let frames = stack.frames.iter().map(frame).collect();
    (frames, stack.is_complete, stack.left_out, stack.edge, stack.bottom, stack.ip)
}

/// The call stacks of a history.
#[pyclass(frozen, module = "odograph._native")]
struct RawStacks {
    history: Py<RawHistory>,
    stacks: Stacks,
}

#[pymethods]
impl RawStacks {
    /// Follows the calls and returns. `is_first`: the first step is the first one of its thread. `starts` are addresses at
    /// which functions begin, `ends` those where the knowledge of functions ends, `pads` (landing pad, first, last) where
    /// exceptions land that pass a call in a range, `programs` the times (TSC) at which other programs begin.
    #[new]
    fn new(
        py: Python<'_>,
        history: Py<RawHistory>,
        is_first: bool,
        starts: Vec<u64>,
        ends: Vec<u64>,
        pads: Vec<(u64, u64, u64)>,
        programs: Vec<u64>,
    ) -> PyResult<RawStacks> {
        let parts = history.get().stack_parts();
        let names = Names::new(starts, ends, pads);
        let stacks = history.get().asked(py, |ask| Stacks::new(parts, is_first, names, programs, ask))?;
        Ok(RawStacks { history, stacks })
    }

    /// The frames around the innermost one before a step.
    fn at(&self, py: Python<'_>, step: u64, most: usize) -> PyResult<Listed> {
        Ok(listed(&self.history.get().asked(py, |ask| self.stacks.at(step, most, ask))?))
    }

    /// The same at the end, behind the last of so many steps, where execution is known to go on at `ip`; and the frames
    /// that going there reveals below the first edge.
    fn at_end(&self, py: Python<'_>, steps: u64, ip: u64) -> PyResult<(Listed, Vec<Frame>)> {
        let (stack, revealed) = self.history.get().asked(py, |ask| self.stacks.at_end(steps, ip, ask))?;
        Ok((listed(&stack), revealed.iter().map(frame).collect()))
    }

    /// Addresses that execution went to with another stack pointer and for no known reason.
    #[getter]
    fn unexplained(&self) -> Vec<u64> {
        self.stacks.unexplained().to_vec()
    }

    /// Bytes that it occupies, roughly.
    #[getter]
    fn size(&self) -> usize {
        self.stacks.size()
    }
}

/// Adds this room's classes.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RawStacks>()
}
