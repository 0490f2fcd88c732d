//! Blocks made comparable: libipt 2.0.5 cuts them where its cache of code is cut.

use super::listing::MOST_INSTRUCTIONS;

/// One line for what several block lines say.
#[derive(Clone, Default)]
struct Run {
    ninsn: usize,
    ip: String,
    end: String,
    /// Section, mode and flags: what a run has in common.
    kind: String,
    class: String,
    raw: String,
    /// Where the trace stood behind the last block.
    offset: String,
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    text.split(' ').find_map(|word| word.strip_prefix(name)).unwrap_or("")
}

impl Run {
    fn of(text: &str, status: &str) -> Option<Run> {
        let ninsn: usize = field(text, "ninsn=").parse().ok()?;
        let words: Vec<&str> = text.split(' ').collect();
        let speculative = if words.contains(&"speculative") { " speculative" } else { "" };
        Some(Run {
            ninsn,
            ip: field(text, "ip=").into(),
            end: field(text, "end=").into(),
            kind: format!("isid={} mode={}{speculative}", field(text, "isid="), field(text, "mode=")),
            class: field(text, "class=").into(),
            raw: field(text, "raw=").into(),
            offset: status.rsplit(' ').next().unwrap_or("0").into(),
        })
    }

    fn line(&self) -> String {
        // 2.0.5 leaves the class of some blocks open.
        let Run { ninsn, ip, end, kind, raw, offset, .. } = self;
        format!("block ninsn={ninsn} ip={ip} end={end} {kind} raw={raw} | 0 {offset}")
    }
}

/// The lines with blocks joined that nothing stands between; also the classes that ended them, where known.
pub fn merged(lines: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut run: Option<Run> = None;
    let mut instructions = 0;
    for line in lines {
        let (text, status) = line.split_once(" | ").unwrap_or((line, ""));
        let Some(block) = text.strip_prefix("error ").unwrap_or(text).strip_prefix("block ") else {
            out.extend(run.take().map(|run| run.line()));
            out.push(line.clone());
            continue;
        };
        let block = Run::of(block, status).unwrap_or_default();
        instructions += block.ninsn;
        if block.ninsn > 0 {
            match &mut run {
                Some(run) if run.kind == block.kind && run.raw.is_empty() => {
                    run.ninsn += block.ninsn;
                    run.end = block.end;
                    run.class = block.class;
                    run.raw = block.raw;
                    run.offset = block.offset;
                }
                _ => out.extend(run.replace(block).map(|run| run.line())),
            }
        }
        if text.starts_with("error ") {
            out.extend(run.take().map(|run| run.line()));
            out.push(format!("error | {status}"));
        }
    }
    // Where the listing was cut the last run is not whole.
    if instructions < MOST_INSTRUCTIONS {
        out.extend(run.map(|run| run.line()));
    } else {
        out.push("cut | 0 0".into());
    }
    out
}
