//! One line of a listing: NAME FIELDS | STATUS OFFSET.

/// The parts of a line; an empty one stands for a line that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line<'a> {
    /// Name and fields.
    pub text: &'a str,
    /// The error as "-6"; empty if the call succeeded.
    pub error: &'a str,
    /// What the call returned.
    pub status: &'a str,
    /// Where the decoder stood.
    pub offset: usize,
}

impl<'a> Line<'a> {
    pub fn of(line: &'a str) -> Line<'a> {
        let (text, end) = line.split_once(" | ").unwrap_or((line, ""));
        let (status, offset) = end.split_once(' ').unwrap_or((end, ""));
        // Where a synchronisation or an error leads is seen in what follows.
        let text = ["sync", "error"].into_iter().find(|word| text.starts_with(word)).unwrap_or(text);
        let error = if status.starts_with('-') { status } else { "" };
        Line { text, error, status, offset: usize::from_str_radix(offset, 16).unwrap_or(0) }
    }

    /// The line at `nth`.
    pub fn at(lines: &'a [String], nth: usize) -> Line<'a> {
        lines.get(nth).map(|line| Line::of(line)).unwrap_or_default()
    }

    /// The first word: an event, `bit`, `tip`, `step`, `block`, `sync` or `error`.
    pub fn name(&self) -> &'a str {
        self.text.split(' ').next().unwrap_or("")
    }

    pub fn is(&self, name: &str) -> bool {
        self.name() == name
    }

    pub fn is_one_of(&self, names: &[&str]) -> bool {
        names.contains(&self.name())
    }

    /// A flag stands in it.
    pub fn says(&self, flag: &str) -> bool {
        self.text.split(' ').any(|word| word == flag)
    }

    /// The value of a field; empty if there is none.
    pub fn field(&self, name: &str) -> &'a str {
        let value = |word: &'a str| word.strip_prefix(name)?.strip_prefix('=');
        self.text.split(' ').find_map(value).unwrap_or("")
    }

    /// An event without its time.
    pub fn event(&self) -> &'a str {
        self.text.split_once(" tsc=").map_or(self.text, |(event, _)| event)
    }

    /// The estimate of the TSC has no TSC to go by.
    pub fn is_relative(&self) -> bool {
        self.field("tsc").ends_with('?')
    }

    /// 2.0.5 knew no time.
    pub fn is_timeless(&self) -> bool {
        self.field("tsc") == "0?"
    }

    /// An event says at PSB+ that tracing is on or off.
    pub fn is_state_of_psb(&self) -> bool {
        self.is_one_of(&["enabled", "disabled"]) && self.says("status")
    }

    /// The trace has ended.
    pub fn is_eos(&self) -> bool {
        self.status.parse().is_ok_and(|status: u8| status & 4 != 0)
    }

    /// Something was executed.
    pub fn is_executed(&self) -> bool {
        self.is_one_of(&["step", "block"])
    }
}
