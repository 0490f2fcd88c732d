//! Events that wait for the packet they belong to.

use super::types::{Event, EventKind};
use crate::error::PtError;
use serde::{Deserialize, Serialize};

/// What an event waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Binding {
    /// The TIP, TIP.PGE or TIP.PGD of a branch.
    Tip,
    /// A FUP, which still begins an asynchronous branch.
    Fup,
    /// A FUP, which it uses up.
    FupBound,
    /// The next FUP (used up) or TIP of any kind: MODE.Exec.
    Mode,
    /// An EXSTOP: MWAIT.
    Exstop,
    /// A PWRX: PWRE.
    Pwrx,
}

/// One waiting event; None binds and uses up its packet but reports nothing.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Pending {
    pub binding: Binding,
    pub event: Option<Event>,
}

/// How many events can wait at once.
pub(super) const SLOTS: usize = 14;

/// Waiting events in order of arrival; at most 14, as in libipt.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Queue {
    entries: Vec<Pending>,
}

impl Queue {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn push(&mut self, binding: Binding, event: Option<Event>) -> Result<(), PtError> {
        if self.entries.len() >= SLOTS {
            return Err(PtError::Nomem);
        }
        self.entries.push(Pending { binding, event });
        Ok(())
    }

    /// It is not too long, and its events are those of a trace of `length` bytes.
    pub fn is_sound(&self, length: u64) -> bool {
        let mut events = self.entries.iter().filter_map(|pending| pending.event);
        self.entries.len() <= SLOTS && events.all(|event| event.offset <= length)
    }

    /// Puts an event in the place of the first of a kind, which comes back.
    pub fn replace(&mut self, kind: impl Fn(&EventKind) -> bool, by: Event) -> Option<Event> {
        let waiting = self.entries.iter_mut().filter_map(|pending| pending.event.as_mut());
        waiting.into_iter().find(|event| kind(&event.kind)).map(|event| std::mem::replace(event, by))
    }

    /// The waiting events.
    pub fn events_mut(&mut self) -> impl Iterator<Item = &mut Event> {
        self.entries.iter_mut().filter_map(|pending| pending.event.as_mut())
    }

    pub fn has(&self, binding: Binding) -> bool {
        self.entries.iter().any(|pending| pending.binding == binding)
    }

    /// Takes out, in order, the entries whose binding is among these.
    pub fn take(&mut self, bindings: &[Binding]) -> Vec<Pending> {
        let (taken, kept) = self.entries.drain(..).partition(|pending| bindings.contains(&pending.binding));
        self.entries = kept;
        taken
    }

    /// Takes out everything.
    pub fn take_all(&mut self) -> Vec<Pending> {
        std::mem::take(&mut self.entries)
    }
}
