//! The comparison of what libipt 2.0.5 says with what the decoders here say.

use std::fmt::Write as _;

use super::case::{Case, Layer};
use super::judge::Verdict;
use super::known::{self, GoOn, Meeting};
use super::line::Line;
use super::merge::merged;

/// An unknown difference: both listings and the lines at which they part.
pub struct Difference {
    judge: Vec<String>,
    ours: Vec<String>,
    at: (usize, usize),
}

impl Difference {
    /// What kind of difference it is: both lines without their numbers.
    pub fn signature(&self) -> String {
        let plain = |lines: &[String], at: usize| {
            let line = Line::at(lines, at);
            let flags = line.text.split(' ').skip(1).filter(|word| !word.contains('='));
            let flags: Vec<&str> = flags.collect();
            format!("{} {} {}", line.name(), flags.join(" "), line.error)
        };
        format!("libipt {} / ours {}", plain(&self.judge, self.at.0), plain(&self.ours, self.at.1))
    }

    /// The lines around it.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (who, lines, at) in [("libipt", &self.judge, self.at.0), ("ours", &self.ours, self.at.1)] {
            for (nth, line) in lines.iter().enumerate().take(at + 4).skip(at.saturating_sub(4)) {
                let _ = writeln!(text, "  {} {who:6}: {line}", if nth == at { ">" } else { " " });
            }
        }
        text
    }
}

/// The outcome of a comparison.
#[derive(Default)]
pub struct Outcome {
    pub difference: Option<Difference>,
    /// Known differences met.
    pub known: Vec<&'static str>,
    /// Lines that were the same.
    pub compared: usize,
    /// Of these, lines whose status was the same as well.
    pub same_status: usize,
    /// A known difference put an end to the comparison.
    pub ended: bool,
}

/// A listing in comparable form.
fn comparable(case: &Case, lines: &[String]) -> Vec<String> {
    // 2.0.5 reports a PWRE at once; here it waits for the PWRX and may be lost with it.
    let mut lines: Vec<String> = lines.iter().filter(|line| !Line::of(line).is("pwre")).cloned().collect();
    if case.layer == Layer::Block {
        // What stands between instructions of one block on one side only: the instruction layer is compared with it.
        let mut mode = String::new();
        lines.retain(|line| {
            let line = Line::of(line);
            let again = line.is("exec_mode") && !line.says("status") && line.field("mode") == mode;
            if line.is("exec_mode") {
                mode = line.field("mode").to_owned();
            }
            !again && !line.is_state_of_psb() && !line.is("tick")
        });
        lines = merged(&lines);
    }
    lines
}

/// Compares what the judge and we say.
pub fn compare(case: &Case, verdict: &Verdict, ours: &[String]) -> Outcome {
    let mut outcome = Outcome::default();
    let Some(judge) = verdict.as_ref() else { return outcome };
    let (judge, ours) = (comparable(case, judge), comparable(case, ours));
    let (mut theirs, mut here) = (0, 0);
    while theirs < judge.len() || here < ours.len() {
        let (line, own) = (Line::at(&judge, theirs), Line::at(&ours, here));
        // A listing is cut where it grows too long.
        if line.is("cut") || own.is("cut") {
            break;
        }
        let meeting = Meeting {
            case,
            past: judge.get(..theirs).unwrap_or(&[]),
            judge: judge.get(theirs..).unwrap_or(&[]),
            ours: ours.get(here..).unwrap_or(&[]),
            theirs: line,
            own,
        };
        let parted = meeting.places_part();
        if !parted && (line.text, line.error) == (own.text, own.error) {
            (theirs, here) = (theirs + 1, here + 1);
            outcome.compared += 1;
            outcome.same_status += usize::from(line.status == own.status);
            continue;
        }
        match known::of(&meeting) {
            Some((reason, GoOn::Behind(judges, own))) => {
                (theirs, here) = (theirs + judges, here + own);
                outcome.known.push(reason);
            }
            Some((reason, GoOn::Nowhere)) => {
                outcome.known.push(reason);
                outcome.ended = true;
                break;
            }
            None => {
                outcome.difference = Some(Difference { judge, ours, at: (theirs, here) });
                break;
            }
        }
    }
    outcome
}
