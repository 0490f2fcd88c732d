//! Walks to asynchronous events where code may have gone round in direct branches.
//!
//! Direct jumps and calls write no packet, so the address of an asynchronous event may have been passed any number of
//! times since the last packet. A mark of the recorder says how many instructions that were. Without one the walk ends
//! where it first arrives, as in libipt and perf, and a note says that this is not certain.

use super::{Engine, FlowError, Position};
use crate::error::PtError;
use crate::event::{Event, EventKind};
use crate::flow::graph::NodeKind;
use crate::flow::return_stack::DEPTH;
use crate::flow::sink::{Gap, GapCause, Runs, Sink};
use crate::flow::visited::Passed;
use crate::packet::MARK_PERIOD;

/// How many instructions the search for a way back to an address looks at, about.
const LOOK: usize = 1 << 14;

/// The highest count that is believed. Recorders stay far below it.
const MOST: u64 = 2 * MARK_PERIOD;

/// Whether the event may come at any instruction, so that where it comes is no reason for it.
///
/// A mode that changes with a FUP alone, and the begin and the end of a transaction, are the work of the instruction
/// there, which gives the packet each time.
fn is_asynchronous(event: &Event) -> bool {
    match event.kind {
        EventKind::Enabled { .. } => event.status_update,
        // The other facts of a PSB+ belong where it stands.
        _ if event.status_update => false,
        EventKind::Tsx { aborted, .. } => aborted,
        EventKind::AsyncDisabled { .. }
        | EventKind::AsyncBranch { .. }
        | EventKind::AsyncPaging { .. }
        | EventKind::AsyncVmcs { .. }
        | EventKind::Interrupt { .. }
        | EventKind::Smi { .. }
        | EventKind::Init { .. }
        | EventKind::Vmexit { .. }
        | EventKind::Shutdown { .. }
        | EventKind::Uintr { .. }
        | EventKind::Exstop { .. } => true,
        _ => false,
    }
}

impl Engine {
    /// Proceeds without trace until the next instruction is the one at `ip`, where `event` belongs.
    ///
    /// With the count of a mark so many instructions have run since the last one that the trace decided; it is a
    /// contradiction if that leads elsewhere, and an endless loop if it is more than [`MOST`].
    pub(super) fn walk_to_event<S: Sink>(
        &mut self,
        event: &Event,
        ip: u64,
        mark: Option<u64>,
        sink: &mut S,
    ) -> Result<(), FlowError> {
        if let (Some(count), Some(anchor)) = (mark, self.anchor) {
            self.walk_counted(ip, anchor, count, sink)?;
            self.noted = Some(self.step);
            return Ok(());
        }
        self.walk_to(ip, sink)?;
        if is_asynchronous(event) && self.noted != Some(self.step) && self.leads_back() {
            self.noted = Some(self.step);
            sink.note(Gap {
                step: self.step,
                cause: GapCause::Ambiguous,
                code: None,
                offset: event.offset,
                bytes_lost: 0,
                ip: Some(ip),
                asid: self.asid,
                tsc: self.tsc(),
            });
        }
        Ok(())
    }

    /// Proceeds to the place `count` instructions behind step `anchor`, which has to be the one at `ip`.
    fn walk_counted<S: Sink>(
        &mut self,
        ip: u64,
        anchor: u64,
        count: u64,
        sink: &mut S,
    ) -> Result<(), FlowError> {
        if count > MOST {
            return Err(FlowError::Flow { cause: GapCause::Endless, code: None, ip: self.ip_here() });
        }
        let Some(left) = count.checked_sub(self.step.saturating_sub(anchor)) else {
            return Err(FlowError::at(PtError::BadQuery, ip));
        };
        self.walk_on(left, sink)?;
        if self.ip_here() != Some(ip) {
            return Err(FlowError::at(PtError::BadQuery, ip));
        }
        if self.emitted > 0 {
            self.make_room();
            self.node = self.graph.node_at(ip);
            self.emitted = 0;
        }
        self.held = None;
        Ok(())
    }

    /// Goes round as often as `left` instructions allow, if the engine stands at the start of a loop without trace;
    /// returns how many instructions that were.
    pub(super) fn go_round<S: Sink>(
        &mut self,
        left: u64,
        passed: &mut Passed,
        sink: &mut S,
    ) -> Result<u64, FlowError> {
        let kind = self.learned(passed)?;
        if kind != NodeKind::Endless || self.graph.next_ip(self.node) != self.graph.ip(self.node) {
            return Ok(0);
        }
        let length = u64::from(self.graph.count(self.node)).max(1);
        let rounds = left / length;
        let told = match S::RUNS {
            Runs::All => true,
            Runs::Wanted => sink.wants(&self.graph, self.node),
            Runs::Any => false,
        };
        if told {
            sink.rounds(&self.graph, self.node, rounds, &self.state());
        }
        let count = self.graph.count(self.node);
        // More return sites than the stack holds make no difference.
        for _ in 0..rounds.min(DEPTH as u64) {
            self.graph.push_return_sites(self.node, 0, count, &mut self.stack);
        }
        self.step += rounds * length;
        Ok(rounds * length)
    }

    /// Whether the code at the start of the present node leads back there without trace. Code that cannot be read or
    /// is too long says no.
    fn leads_back(&mut self) -> bool {
        if self.position != Position::Enabled || self.node == 0 || self.emitted != 0 {
            return false;
        }
        let start = self.graph.ip(self.node);
        let (mut at, mut seen) = (self.node, 0);
        while seen < LOOK {
            // What a callback raises is its answer to a question that decoding need not ask.
            if self.graph.learn(at).is_err() {
                return false;
            }
            let ips = self.graph.ips(at);
            if at != self.node && ips.contains(&start) {
                return true;
            }
            seen += ips.len().max(1);
            match self.graph.kind(at) {
                NodeKind::Endless => return self.graph.next_ip(at) == start,
                NodeKind::Split => at = self.graph.follow(at, false),
                _ => return false,
            }
        }
        false
    }
}
