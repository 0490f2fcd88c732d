//! Differences in what events say and in their order.

use super::super::context::{has_address_behind_repair, has_mode_before_fup, has_mwait, is_open};
use super::super::line::Line;
use super::{end, skip, Rule};

/// Events that wait for a packet: 2.0.5 gives them the time of the first packet, not of the last.
pub const WAITING: &[&str] = &[
    "async_branch",
    "async_disabled",
    "async_paging",
    "async_vmcs",
    "tsx",
    "exec_mode",
    "exstop",
    "ptwrite",
    "overflow",
];

/// What a payload of 16 bits gives.
fn last_digits(address: &str) -> Option<u16> {
    u64::from_str_radix(address, 16).ok().map(|address| address as u16)
}

pub const RULES: &[Rule] = &[
    Rule {
        reason: "2.0.5 does not say at PSB+ whether tracing is on",
        applies: |at| skip(at.own.is_state_of_psb(), 0, 1),
    },
    Rule {
        reason: "2.0.5 gives this event no time",
        applies: |at| skip(at.same_event() && at.theirs.is_timeless(), 1, 1),
    },
    Rule {
        reason: "2.0.5 gives an event the time of its first packet",
        applies: |at| {
            let waits = at.own.is_one_of(WAITING) || at.own.is("disabled") && at.errata().skd022;
            skip(at.same_event() && waits, 1, 1)
        },
    },
    Rule {
        reason: "2.0.5 binds an MWAIT to the next FUP, here it goes with its EXSTOP",
        applies: |at| {
            let there = at.case.damaged && has_mwait(at.case, at.place());
            end(at.own.is("mwait") || at.theirs.is("mwait") || there)
        },
    },
    Rule {
        reason: "2.0.5 says what comes with a TIP before the TIP",
        applies: |at| {
            let comes_with =
                |line: &&String| Line::of(line).is_one_of(&["exec_mode", "async_paging", "async_vmcs"]);
            let events = at.judge.iter().take_while(comes_with).count();
            let tip = Line::at(at.judge, events);
            let alike =
                (0..events).all(|nth| Line::at(at.judge, nth).event() == Line::at(at.ours, nth + 1).event());
            skip(at.own.is("tip") && events > 0 && tip.text == at.own.text && alike, events + 1, events + 1)
        },
    },
    Rule {
        reason: "2.0.5 reports a MODE.Exec that changes nothing",
        applies: |at| {
            let before = at.last(|line| line.is("exec_mode")).field("mode");
            let again = at.theirs.is("exec_mode") && at.theirs.field("mode") == before;
            let other = at.own.says("status") || at.own.field("mode") != before;
            skip(again && (!at.own.is("exec_mode") || other), 1, 0)
        },
    },
    Rule {
        reason: "2.0.5 says what comes with a TIP before the TIP, or where it leads",
        applies: |at| {
            let early = at.own.is("tip") && at.case.damaged || at.own.is_executed();
            end(at.theirs.is("exec_mode") && early)
        },
    },
    Rule {
        reason: "2.0.5 gives the facts of a PSB+ the IP of its stray FUP",
        applies: |at| {
            let status = at.same_name() && at.own.says("status");
            skip(
                at.errata().bdm70 && status && at.own.says("suppressed") && !at.theirs.says("suppressed"),
                1,
                1,
            )
        },
    },
    Rule {
        reason: "2.0.5 gives the facts of a PSB+ the IP of its last FUP, stray or not",
        applies: |at| {
            let status = at.same_name() && at.own.says("status");
            end(at.errata().bdm70 && at.case.damaged && status && at.own.field("ip") != at.theirs.field("ip"))
        },
    },
    Rule {
        reason: "2.0.5 takes the stray FUP of a PSB+ for the last IP",
        applies: |at| end(at.errata().bdm70 && at.same_name() && at.own.is("enabled")),
    },
    Rule {
        reason: "2.0.5 takes tracing for enabled behind a PSB+ without FUP",
        applies: |at| {
            end(at.case.damaged && at.own.is("tsx") && at.own.says("suppressed") && !at.own.says("status"))
        },
    },
    Rule {
        reason: "2.0.5 drops what waits at an OVF while tracing is off",
        applies: |at| {
            let overflow = (0..4).find(|&nth| Line::at(at.judge, nth).is("overflow"));
            let alike = |nth| Line::at(at.judge, nth).event() == at.own.event();
            let follows = overflow.is_some_and(|overflow| !(0..overflow).any(alike));
            let waits = at.own.is_one_of(&["exstop", "ptwrite", "tsx", "exec_mode"]);
            let dropped = at.own.says("suppressed") && waits && follows;
            skip(dropped && !at.same_name(), 0, 1)
        },
    },
    Rule {
        reason: "2.0.5 does not bind MODE.Exec to a FUP",
        applies: |at| {
            let named = |line: Line| line.is("exec_mode");
            let near = named(at.own) || named(at.theirs) || (0..3).any(|back| named(at.ago(back)));
            let branch = at.theirs.is("async_branch") && at.own.is_one_of(&["tip", "vmcs", "paging"]);
            let near = near || at.case.damaged;
            end(near && has_mode_before_fup(at.case, at.place()) || branch && is_open(at.case, at.place()))
        },
    },
    Rule {
        reason: "2.0.5 takes no last IP from a packet that it passes over for an erratum",
        applies: |at| {
            let errata = at.errata();
            let repairs = errata.skd010 || errata.apl11 || errata.apl12;
            // Only the upper part of an address comes from the last IP.
            let other = |name| {
                let (own, theirs) = (at.own.field(name), at.theirs.field(name));
                own != theirs && last_digits(own) == last_digits(theirs)
            };
            let other = at.same_name() && (other("ip") || other("at") || other("from"));
            end(repairs && other && has_address_behind_repair(at.case, at.place()))
        },
    },
    Rule {
        reason: "2.0.5 looks beyond an OVF for the FUP of a PSB+ (SKD010, APL12)",
        applies: |at| {
            let repairs = at.errata().skd010 || at.errata().apl12;
            end(repairs && at.case.damaged && at.theirs.is("overflow") && at.own.is("overflow"))
        },
    },
    Rule {
        reason: "2.0.5 fails on what follows a stray FUP behind an OVF, and has said before what stands between them (APL12)",
        applies: |at| {
            let between = at.theirs.is_one_of(&["cbr", "mnt"]) && at.own.is("overflow");
            end(at.errata().apl12 && at.case.damaged && between && Line::at(at.judge, 1).is("error"))
        },
    },
    Rule {
        reason: "2.0.5 goes back to a MODE.TSX and reports what stands between it and the FUP (SKD010)",
        applies: |at| {
            let between =
                at.theirs.is_one_of(&["cbr", "mnt", "paging", "vmcs", "exec_mode"]) && !at.same_name();
            skip(at.errata().skd010 && at.case.damaged && between && at.own.is("tsx"), 1, 0)
        },
    },
    Rule {
        reason: "2.0.5 loses a TIP.PGD behind a MODE.Exec",
        applies: |at| {
            let lost = |line: Line| line.is("exec_mode") && line.says("suppressed");
            let before = lost(at.ago(0)) || at.case.damaged && lost(at.ago(1));
            if at.is_query() {
                skip(before && at.own.is("disabled"), 0, 1)
            } else {
                end(before)
            }
        },
    },
];
