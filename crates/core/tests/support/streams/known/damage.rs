//! Differences in what is an error, and in which call finds it.

use super::super::context::{has_unpaired_fup, is_open};
use super::super::line::Line;
use super::{end, skip, Meeting, Rule};

/// An error comes in these lines before another synchronisation.
fn fails(lines: &[String]) -> bool {
    let rest = lines.iter().skip(1).take_while(|line| !Line::of(line).is("sync"));
    lines.iter().take(1).chain(rest).any(|line| !Line::of(line).error.is_empty())
}

/// So many lines stand before our next error, and the error.
fn next_failure<'a>(at: &'a Meeting) -> (usize, &'a str) {
    let items = at.ours.iter().take_while(|line| Line::of(line).error.is_empty()).count();
    (items, Line::at(at.ours, items).error)
}

pub const RULES: &[Rule] = &[
    Rule {
        reason: "2.0.5 fails one call earlier, looking ahead",
        applies: |at| {
            let (items, error) = next_failure(at);
            let both = at.theirs.is("error") && at.own.error.is_empty() && error == at.theirs.error;
            // What the packet told before the one that is broken.
            let same = at.ours.iter().take_while(|line| Line::of(line).offset == at.own.offset).count();
            let near = Line::at(at.ours, items).offset <= at.place() || items == same;
            // Where the flow cannot go on, that is a matter of the flow.
            let packets = at.theirs.error != "-8" || at.case.damaged;
            skip(both && packets && (near || !at.is_query()), 1, items + 1)
        },
    },
    Rule {
        reason: "2.0.5 fails at a synchronisation, looking ahead",
        applies: |at| {
            let both = at.theirs.is("sync") && at.own.is("sync") && at.own.error.is_empty();
            let (_, error) = next_failure(at);
            let last = at.theirs.error == "-7" && at.judge.len() == 1;
            end(both && !at.theirs.error.is_empty() && (error == at.theirs.error || last))
        },
    },
    Rule {
        reason: "2.0.5 tries a PSB+ again that it did not get through",
        applies: |at| {
            let again = at.theirs.is("sync") && at.own.is("sync") && at.ago(0).error == at.theirs.error;
            skip(again && !at.theirs.error.is_empty() && at.own.error != at.theirs.error, 1, 0)
        },
    },
    Rule {
        reason: "2.0.5 keeps an unpaired FUP for a second branch",
        applies: |at| {
            let unpaired = has_unpaired_fup(at.case, at.place().saturating_sub(1));
            let twice = at.theirs.is_one_of(&["async_branch", "async_disabled"])
                && Line::at(at.judge, 1).event() == at.own.event();
            end(at.case.damaged && (unpaired || twice))
        },
    },
    Rule {
        reason: "2.0.5 allows less between a FUP, MODE or the like and its TIP",
        applies: |at| {
            let fails = matches!(at.theirs.error, "-6" | "-8") && at.own.error != at.theirs.error;
            let open = |offset| is_open(at.case, offset);
            let block = at.theirs.is("block") && at.own.is("block") && Line::at(at.judge, 1).is("error");
            end(at.case.damaged && (fails || block) && (open(at.own.offset) || open(at.place())))
        },
    },
    Rule {
        reason: "2.0.5 walks on before it tells of an error",
        applies: |at| {
            let both =
                at.theirs.is("block") && at.own.is("block") && at.theirs.field("ip") == at.own.field("ip");
            let (theirs, own) = (Line::at(at.judge, 1).error, Line::at(at.ours, 1).error);
            skip(at.case.damaged && both && !own.is_empty() && own == theirs, 2, 2)
        },
    },
    Rule {
        reason: "2.0.5 fails within a block, looking ahead",
        applies: |at| {
            let both =
                at.theirs.is("block") && at.own.is("block") && at.theirs.field("ip") == at.own.field("ip");
            let (theirs, own) = (Line::at(at.judge, 1).error, Line::at(at.ours, 1).error);
            let alike = next_failure(at).1 == theirs || !own.is_empty();
            end(at.case.damaged && both && !theirs.is_empty() && alike)
        },
    },
    Rule {
        reason: "2.0.5 goes on behind a branch whose TIP has no IP",
        applies: |at| {
            let both =
                at.theirs.is("block") && at.own.is("block") && at.theirs.field("ip") == at.own.field("ip");
            end(at.case.damaged && both && Line::at(at.ours, 1).error == "-5")
        },
    },
    Rule {
        reason: "2.0.5 takes packets out of context",
        applies: |at| {
            let strict = at.own.error == "-6" && at.theirs.error != "-6";
            let block = at.own.is("block") && at.same_name() && Line::at(at.ours, 1).error == "-6";
            end(at.case.damaged && (strict || block))
        },
    },
    Rule {
        reason: "2.0.5 does not compare the MODE.Exec of PSB+ with what it knows",
        applies: |at| end(at.own.error == "-22" && at.theirs.error != "-22"),
    },
    Rule {
        reason: "2.0.5 goes on where the place of an event cannot be reached",
        applies: |at| end(at.case.damaged && at.own.error == "-8" && at.theirs.is("step")),
    },
    Rule {
        reason: "2.0.5 goes back to a PSB that came in the middle of something",
        applies: |at| {
            let only = at.theirs.is("sync") && at.theirs.error.is_empty() && at.own.is("sync");
            end(at.case.damaged && (at.places_part() || only && !at.own.error.is_empty()))
        },
    },
    Rule {
        reason: "2.0.5 finds damage at another call, or calls it otherwise",
        applies: |at| {
            let one = !at.theirs.error.is_empty() || !at.own.error.is_empty();
            end(at.case.damaged && one && fails(at.judge) && fails(at.ours))
        },
    },
];
