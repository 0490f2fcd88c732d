//! The judge: libipt behind a program of its own, and the comparison with what it said.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::case::{Cached, Case, Placed};

/// The judge and a place for the cases it is given.
pub struct Judge {
    program: PathBuf,
    cases: PathBuf,
    /// Cases that libipt crashed or hung on.
    pub broken: usize,
}

/// What the judge said of one case; None if it did not survive it.
pub type Verdict = Option<Vec<String>>;

impl Judge {
    pub fn new(program: &Path, folder: &Path) -> Judge {
        let cases = folder.join(format!("cases-{}", std::process::id()));
        Judge { program: program.to_owned(), cases, broken: 0 }
    }

    /// Hears the judge on some cases. With each verdict come the sections as the judge has them.
    pub fn hear(&mut self, cases: &[Case]) -> Vec<(Verdict, Cached)> {
        let mut bytes = Vec::new();
        let placed: Vec<Placed> = cases.iter().map(|case| case.put(&mut bytes)).collect();
        fs::write(&self.cases, bytes).expect("the cases can be written");
        let mut verdicts: Vec<Verdict> = Vec::new();
        while verdicts.len() < cases.len() {
            let output = Command::new(&self.program)
                .arg(&self.cases)
                .arg(verdicts.len().to_string())
                .output()
                .expect("the judge can be run");
            let text = String::from_utf8_lossy(&output.stdout);
            let before = verdicts.len();
            let mut lines = Vec::new();
            for line in text.lines() {
                if line.starts_with("case ") {
                    lines.clear();
                } else if line == "done" {
                    verdicts.push(Some(std::mem::take(&mut lines)));
                } else {
                    lines.push(line.to_owned());
                }
            }
            if verdicts.len() < cases.len() {
                assert!(
                    output.status.code() != Some(2),
                    "the judge: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
                verdicts.push(None);
                self.broken += 1;
            }
            assert!(verdicts.len() > before, "the judge goes on");
        }
        let file: &OsStr = self.cases.as_os_str();
        let sections = cases.iter().zip(&placed).map(|(case, placed)| Cached::new(case, file, placed));
        verdicts.into_iter().zip(sections).collect()
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.cases);
    }
}
