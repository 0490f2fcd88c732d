//! Differences in what is executed, and in where events bind to it.

use super::super::context::has_pwre;
use super::super::line::Line;
use super::events::WAITING;
use super::{end, skip, Meeting, Rule};

/// MOV CR3, RAX.
const MOV_CR3: &str = "0f22d8";

/// The class of the last instruction of the judge.
fn is_behind_return(at: &Meeting) -> bool {
    at.last(|line| line.is_executed()).field("class") == "3"
}

/// Both blocks begin alike.
fn same_block(at: &Meeting) -> bool {
    at.theirs.is("block") && at.own.is("block") && at.theirs.field("ip") == at.own.field("ip")
}

pub const RULES: &[Rule] = &[
    Rule {
        reason: "2.0.5 gives a PTWRITE the IP of its instruction",
        applies: |at| skip(at.same_name() && at.own.is("ptwrite") && at.own.says("suppressed"), 1, 1),
    },
    Rule {
        reason: "2.0.5 gives a tick at a bit the IP behind the branch",
        applies: |at| skip(at.same_name() && at.own.is("tick"), 1, 1),
    },
    Rule {
        reason: "2.0.5 gives ticks without a TSC",
        applies: |at| skip(at.theirs.is("tick") && at.theirs.is_relative() && !at.own.is("tick"), 1, 0),
    },
    Rule {
        reason: "2.0.5 gives a tick where the event before had no time or an early one",
        applies: |at| {
            let before = at.last(|line| !line.field("tsc").is_empty());
            let early = before.is_timeless() || before.is_one_of(WAITING) || before.is("tick");
            // A PWRE has no time either, and is not compared.
            let early = early || has_pwre(at.case, at.place());
            skip(at.theirs.is("tick") && !at.own.is("tick") && early, 1, 0)
        },
    },
    Rule {
        reason: "2.0.5 gives a tick for a TIP behind a TNT that is not used up",
        applies: |at| {
            let branch = at.last(|line| line.is_executed()).field("class");
            skip(at.theirs.is("tick") && !at.own.is("tick") && branch != "5", 1, 0)
        },
    },
    Rule {
        reason: "2.0.5 gives no tick for a TIP with an event",
        applies: |at| skip(at.own.is("tick") && at.theirs.is("exec_mode"), 0, 1),
    },
    Rule {
        reason: "2.0.5 gave a tick before that makes this one superfluous",
        applies: |at| {
            let before = at.last(|line| line.is("tick"));
            skip(at.own.is("tick") && !at.theirs.is("tick") && before.is("tick"), 0, 1)
        },
    },
    Rule {
        reason: "2.0.5 says eos where a branch at the end of the trace is left",
        applies: |at| {
            let both = at.theirs.is("error") && at.own.is("error");
            skip(both && at.theirs.error == "-7" && at.own.error == "-8", 1, 1)
        },
    },
    Rule {
        reason: "2.0.5 executes nothing in an unknown mode",
        applies: |at| {
            let unknown = at.own.field("mode") == "0" && at.own.is_executed();
            let failed = at.theirs.error == "-14" && !at.is_query();
            end(unknown && at.theirs.field("mode") != "0" || failed && at.own.error != "-14")
        },
    },
    Rule {
        reason: "2.0.5 gives blocks behind a change of mode the mode before",
        applies: |at| {
            let mode = at.last(|line| line.is("exec_mode")).field("mode");
            let stale = at.own.field("mode") == mode && at.theirs.field("mode") != mode;
            match at.own.field("ninsn") == at.theirs.field("ninsn") {
                true => skip(same_block(at) && stale, 1, 1),
                false => end(same_block(at) && stale),
            }
        },
    },
    Rule {
        reason: "a callback is asked for a page at most, and does not tell that it knows no more",
        applies: |at| {
            let same = at.own.is("step") && at.theirs.text.strip_suffix(" truncated") == Some(at.own.text);
            let size = at.own.field("raw").len() as u64 / 2;
            let ip = u64::from_str_radix(at.own.field("ip"), 16).unwrap_or(0);
            if same_block(at) {
                return end(at.theirs.field("raw") != at.own.field("raw"));
            }
            skip(same && ip / 4096 != ip.wrapping_add(size) / 4096, 1, 1)
        },
    },
    Rule {
        reason: "2.0.5 gives an undefined instruction another length",
        applies: |at| {
            let same =
                at.own.is("step") && at.theirs.is("step") && at.own.field("ip") == at.theirs.field("ip");
            end(at.case.damaged && same && at.own.field("raw").starts_with(at.theirs.field("raw")))
        },
    },
    Rule {
        reason: "2.0.5 expects tracing to resume behind a MOV CR3",
        applies: |at| {
            let last = at.last(|line| line.is_executed());
            let behind = at.own.is("enabled") && at.same_name() && last.field("raw") == MOV_CR3;
            skip(behind && at.own.field("ip") == at.theirs.field("ip"), 1, 1)
        },
    },
    Rule {
        reason:
            "2.0.5 binds a TIP.PGD without IP to MOV CR3 and far branches only, and not behind other events",
        applies: |at| {
            let bound = at.own.is("disabled") && at.own.says("suppressed") && !at.theirs.is("disabled");
            end(bound && !at.is_query())
        },
    },
    Rule {
        reason: "2.0.5 takes a direct branch that ends a block for the one that left the filter (SKL014)",
        applies: |at| {
            let options = at.case.end_on_call || at.case.end_on_jump;
            let filtered = at.errata().skl014 && !at.case.filters.is_empty();
            let next = Line::at(at.judge, 1);
            end(options && filtered && same_block(at) && next.is("disabled") && next.says("suppressed"))
        },
    },
    Rule {
        reason: "2.0.5 takes a TIP.PGD with an IP for the target of a branch only",
        applies: |at| {
            let bound = at.own.is("disabled") && !at.own.says("suppressed");
            end(bound && (at.theirs.is_executed() || matches!(at.theirs.error, "-13" | "-14")))
        },
    },
    Rule {
        reason: "2.0.5 does not note the return of a call to the address of a TIP.PGD",
        applies: |at| {
            let disabled = at.last(|line| line.is("disabled") && !line.says("suppressed"));
            let returned = at.own.is("block") || is_behind_return(at);
            end(disabled.is("disabled") && at.own.is_executed() && at.theirs.is_executed() && returned)
        },
    },
    Rule {
        reason: "2.0.5 goes round in a loop for ever",
        applies: |at| {
            let again = at.last(|line| line.is_executed() && line.field("ip") == at.theirs.field("ip"));
            let next = Line::at(at.ours, 1);
            end(at.own.error == "-8" && at.theirs.is_executed() && again.is_executed()
                || same_block(at) && next.error == "-8")
        },
    },
    Rule {
        reason: "2.0.5 says what comes with a TIP before the TIP",
        applies: |at| end(same_block(at) && Line::at(at.ours, 1).is("exec_mode")),
    },
    Rule {
        reason:
            "2.0.5 looks for BDM64 behind every block that ended in a branch, not only behind the last target",
        applies: |at| {
            let abort = |line: &Line| line.is("tsx") && line.field("aborted") == "1";
            end(at.errata().bdm64 && (abort(&at.own) || abort(&at.theirs)))
        },
    },
    Rule {
        reason: "2.0.5 has read beyond the PSB at which decoding could go on",
        applies: |at| end(at.places_part() && at.theirs.offset > at.own.offset),
    },
];
