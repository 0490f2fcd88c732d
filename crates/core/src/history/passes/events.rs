//! The events pass.

use std::ops::Range;

use crate::event::{Event, EventKind};
use crate::flow::{Engine, Graph, Runs, Sink, Where};
use crate::history::decode::decoded_trace::{DecodedTrace, Pass};
use crate::history::passes::parallel::{Ask, Interrupted, Piece, Verb, Walker};

/// One row per event; all columns have the same length.
#[derive(Clone, Debug, Default)]
pub struct EventColumns {
    /// Instructions executed before it.
    pub step: Vec<i64>,
    /// It belongs to the instruction just executed.
    pub after: Vec<u8>,
    /// Index into [`EventColumns::KINDS`].
    pub kind: Vec<i16>,
    /// Where it binds; all ones if nowhere.
    pub ip: Vec<u64>,
    /// Where execution goes on, for events that tell.
    pub to: Vec<Option<u64>>,
    /// The value its packet carries.
    pub value: Vec<Option<u64>>,
    /// TSC estimate, all ones if there is none.
    pub tsc: Vec<u64>,
    /// MTC packets that could not be, of those since the last TSC.
    pub lost_mtc: Vec<u32>,
    /// CYC packets since the last MTC or TSC that the estimate lacks: cycles per tick were not known.
    pub lost_cyc: Vec<u32>,
    /// Trace offset.
    pub offset: Vec<u64>,
    /// It is part of PSB+.
    pub status_update: Vec<u8>,
    /// Tracing goes on where it was expected to.
    pub resumed: Vec<u8>,
    /// The remaining fields as text.
    pub detail: Vec<Option<String>>,
}

impl EventColumns {
    /// Names of the kinds.
    pub const KINDS: &'static [&'static str] = &[
        "enabled",
        "disabled",
        "async_disabled",
        "async_branch",
        "paging",
        "async_paging",
        "overflow",
        "exec_mode",
        "tsx",
        "stop",
        "vmcs",
        "async_vmcs",
        "exstop",
        "mwait",
        "pwre",
        "pwrx",
        "ptwrite",
        "tick",
        "cbr",
        "mnt",
        "tip",
        "tnt",
        "iflags",
        "interrupt",
        "iret",
        "smi",
        "rsm",
        "sipi",
        "init",
        "vmentry",
        "vmexit",
        "shutdown",
        "uintr",
        "uiret",
        "trig",
        "swintr",
        "syscall",
    ];

    /// Adds to steps and offsets.
    pub fn move_by(&mut self, steps: i64, offset: u64) {
        for step in &mut self.step {
            *step += steps;
        }
        for at in &mut self.offset {
            *at += offset;
        }
    }

    /// Drops the events before the steps that are not wanted.
    pub fn keep(&mut self, mut wanted: impl FnMut(i64) -> bool) {
        let keep: Vec<bool> = self.step.iter().map(|&step| wanted(step)).collect();
        fn only<T>(keep: &[bool], column: &mut Vec<T>) {
            let mut row = keep.iter();
            column.retain(|_| row.next().copied().unwrap_or(false));
        }
        only(&keep, &mut self.step);
        only(&keep, &mut self.after);
        only(&keep, &mut self.kind);
        only(&keep, &mut self.ip);
        only(&keep, &mut self.to);
        only(&keep, &mut self.value);
        only(&keep, &mut self.tsc);
        only(&keep, &mut self.lost_mtc);
        only(&keep, &mut self.lost_cyc);
        only(&keep, &mut self.offset);
        only(&keep, &mut self.status_update);
        only(&keep, &mut self.resumed);
        only(&keep, &mut self.detail);
    }

    /// Drops all events but the first `most`.
    pub fn truncate(&mut self, most: usize) {
        let mut left = most;
        self.keep(|_| {
            let kept = left > 0;
            left = left.saturating_sub(1);
            kept
        });
    }

    /// Appends the events of a later part.
    pub fn append(&mut self, mut more: EventColumns) {
        self.step.append(&mut more.step);
        self.after.append(&mut more.after);
        self.kind.append(&mut more.kind);
        self.ip.append(&mut more.ip);
        self.to.append(&mut more.to);
        self.value.append(&mut more.value);
        self.tsc.append(&mut more.tsc);
        self.lost_mtc.append(&mut more.lost_mtc);
        self.lost_cyc.append(&mut more.lost_cyc);
        self.offset.append(&mut more.offset);
        self.status_update.append(&mut more.status_update);
        self.resumed.append(&mut more.resumed);
        self.detail.append(&mut more.detail);
    }

    fn push(&mut self, event: &Event, place: &Where, base: i64) {
        let kind = Self::KINDS.iter().position(|name| *name == event.name()).unwrap_or(0);
        let to = match event.kind {
            EventKind::AsyncBranch { to, .. } => Some(to),
            EventKind::Disabled { ip } | EventKind::AsyncDisabled { ip, .. } => Some(ip),
            EventKind::Enabled { ip, .. } | EventKind::Overflow { ip } => Some(ip),
            _ => None,
        };
        let ip = match event.kind {
            EventKind::Enabled { ip, .. } if !event.ip_suppressed => ip,
            _ => place.ip.unwrap_or(u64::MAX),
        };
        self.step.push(place.step as i64 + base);
        self.after.push(u8::from(place.after));
        self.kind.push(kind as i16);
        self.ip.push(ip);
        self.to.push(to.filter(|_| !event.ip_suppressed));
        self.value.push(event_value(event));
        self.tsc.push(if event.has_tsc { event.tsc } else { u64::MAX });
        self.lost_mtc.push(event.lost_mtc);
        self.lost_cyc.push(event.lost_cyc);
        self.offset.push(event.offset);
        self.status_update.push(u8::from(event.status_update));
        self.resumed.push(u8::from(place.resumed));
        self.detail.push(event_detail(event));
    }
}

/// The value the packet of an event carries, if it is one number.
fn event_value(event: &Event) -> Option<u64> {
    match event.kind {
        EventKind::Paging { cr3, .. } | EventKind::AsyncPaging { cr3, .. } => Some(cr3),
        EventKind::Vmcs { base } | EventKind::AsyncVmcs { base, .. } => Some(base),
        EventKind::ExecMode { mode, .. } => Some(mode as u64),
        EventKind::Cbr { ratio } => Some(ratio.into()),
        EventKind::Mnt { payload } | EventKind::Ptwrite { payload, .. } => Some(payload),
        EventKind::Iflags { iflag, .. } => Some(iflag.into()),
        EventKind::Interrupt { vector, .. }
        | EventKind::Sipi { vector }
        | EventKind::Uintr { vector, .. }
        | EventKind::Swintr { vector, .. } => Some(vector.into()),
        EventKind::Vmexit { vector, .. } => vector.map(u64::from),
        EventKind::Trig { trbv, .. } => Some(trbv.into()),
        _ => None,
    }
}

/// The remaining fields of an event as text.
fn event_detail(event: &Event) -> Option<String> {
    match event.kind {
        EventKind::Tsx { speculative, aborted, .. } => Some(
            (if aborted {
                "aborted"
            } else if speculative {
                "begin"
            } else {
                "commit"
            })
            .to_owned(),
        ),
        EventKind::Paging { non_root: true, .. } | EventKind::AsyncPaging { non_root: true, .. } => {
            Some("non-root".to_owned())
        }
        EventKind::Mwait { hints, ext, .. } => Some(format!("hints {hints:#x}, ext {ext:#x}")),
        EventKind::Pwre { state, sub_state, hw } => {
            Some(format!("C{}.{}{}", (state + 1) & 15, (sub_state + 1) & 15, if hw { ", hw" } else { "" }))
        }
        EventKind::Pwrx { last, deepest, interrupt, store, autonomous } => {
            let mut text = format!("last C{}, deepest C{}", (last + 1) & 15, (deepest + 1) & 15);
            for (is, word) in [(interrupt, ", interrupt"), (store, ", store"), (autonomous, ", autonomous")] {
                if is {
                    text.push_str(word);
                }
            }
            Some(text)
        }
        EventKind::Ptwrite { size, .. } => Some(format!("{size} bytes")),
        EventKind::Interrupt { cr2: Some(cr2), .. } => Some(format!("cr2 {cr2:#x}")),
        EventKind::Vmexit { vmxr, vmxq, .. } => match (vmxr, vmxq) {
            (None, None) => None,
            (Some(reason), None) => Some(format!("reason {reason:#x}")),
            (None, Some(qualification)) => Some(format!("qualification {qualification:#x}")),
            (Some(reason), Some(qualification)) => {
                Some(format!("reason {reason:#x}, qualification {qualification:#x}"))
            }
        },
        EventKind::Trig { icnt, mult, .. } => {
            Some(format!("icnt {icnt}{}", if mult { ", mult" } else { "" }))
        }
        _ => None,
    }
}

/// Which events are wanted; by default all.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Kinds as in [`EventColumns::KINDS`]; None for all, those of PSB+ included, which otherwise do not count.
    pub kinds: Option<Vec<bool>>,
    /// Steps before which they lie, both included.
    pub steps: (u64, u64),
    /// At most so many.
    pub most: usize,
}

impl Default for Chosen {
    fn default() -> Self {
        Chosen { kinds: None, steps: (0, u64::MAX), most: usize::MAX }
    }
}

impl Chosen {
    fn has(&self, event: &Event, place: &Where) -> bool {
        let kind = || EventColumns::KINDS.iter().position(|name| *name == event.name());
        let wanted = |kinds: &Vec<bool>| {
            !event.status_update && kind().and_then(|kind| kinds.get(kind)).copied().unwrap_or(false)
        };
        (self.steps.0..=self.steps.1).contains(&place.step) && self.kinds.as_ref().is_none_or(wanted)
    }
}

struct Events<'a> {
    within: &'a Range<u64>,
    base: i64,
    chosen: &'a Chosen,
    ended: bool,
    columns: EventColumns,
}

impl Sink for Events<'_> {
    const RUNS: Runs = Runs::Any;

    fn event(&mut self, event: &Event, place: Where, _: &Engine) {
        if self.within.contains(&event.offset) && self.chosen.has(event, &place) {
            self.columns.push(event, &place, self.base);
        }
        self.ended |= event.offset >= self.within.end || self.columns.step.len() >= self.chosen.most;
    }
}

impl Pass for Events<'_> {
    fn done(&self) -> bool {
        self.ended
    }
}

struct Listing<'a> {
    within: Range<u64>,
    base: i64,
    chosen: &'a Chosen,
}

impl Verb for Listing<'_> {
    type Worker = ();
    type Part = EventColumns;
    type Sum = ();

    fn worker(&self) {}

    fn piece(&self, (): &mut (), walker: &mut Walker<'_>, _: usize, piece: Piece) -> EventColumns {
        let columns = EventColumns::default();
        let (within, chosen) = (&self.within, self.chosen);
        let mut pass = Events { within, base: self.base, chosen, ended: false, columns };
        walker.walk(piece, &mut pass);
        pass.columns
    }

    fn sum(&self, (): (), _: &Graph) {}
}

impl DecodedTrace {
    /// Trace offsets between which the events before steps `first..=last` lie, and perhaps some others.
    pub fn offsets_of(&self, first: u64, last: u64) -> Range<u64> {
        let before = self.checkpoints.partition_point(|checkpoint| checkpoint.step < first);
        let behind = self.checkpoints.partition_point(|checkpoint| checkpoint.step <= last);
        let offset = |at: usize| self.checkpoints.get(at).map(|checkpoint| checkpoint.offset);
        let start = before.checked_sub(1).and_then(offset).unwrap_or(0);
        start..offset(behind).map_or(u64::MAX, |offset| offset.saturating_add(1))
    }

    /// Appends the events whose packets lie `within` these trace offsets; `base` is added to the step column.
    pub fn events(
        &self,
        within: Range<u64>,
        base: i64,
        columns: &mut EventColumns,
        ask: Ask<'_>,
    ) -> Result<(), Interrupted> {
        self.chosen_events(&Chosen::default(), within, base, columns, ask)
    }

    /// The same for some events only, until `columns` has as many as are wanted.
    pub fn chosen_events(
        &self,
        chosen: &Chosen,
        within: Range<u64>,
        base: i64,
        columns: &mut EventColumns,
        ask: Ask<'_>,
    ) -> Result<(), Interrupted> {
        let first = self.checkpoint_before_offset(within.start);
        let pieces = self.cut_from(first, (0, u64::MAX), within.end, false);
        self.in_pieces(&Listing { within, base, chosen }, &pieces, ask, |part| {
            columns.append(part);
            columns.step.len() < chosen.most
        })?;
        columns.truncate(chosen.most);
        Ok(())
    }
}
