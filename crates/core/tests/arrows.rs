//! The arrows of the house: a room uses what lies before it on the road, never what lies after.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A room and the rooms it may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("asid", &[]),
    ("cpu", &[]),
    ("config", &["cpu", "error"]),
    ("memory", &["asid", "error"]),
    ("image", &["asid", "error", "memory"]),
    ("instruction", &[]),
    ("packet", &["cpu", "error"]),
    ("time", &["config", "cpu", "error", "packet"]),
    ("event", &["config", "cpu", "error", "instruction", "packet", "time"]),
    (
        "flow",
        &["asid", "config", "cpu", "error", "event", "image", "instruction", "memory", "packet", "time"],
    ),
    ("history", &["asid", "config", "error", "event", "flow", "image", "instruction", "memory", "packet"]),
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the source can be listed") {
        let path = entry.expect("the source can be listed").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Names of the rooms a text refers to by `crate::room`, outside its tests.
fn used(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or("");
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let references =
        lines.flat_map(|line| line.split("crate::").skip(1).map(str::to_owned).collect::<Vec<_>>());
    references
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>())
        .collect()
}

#[test]
fn every_arrow_points_down_the_road() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&source, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&source).expect("the file lies in the source");
        let first = inside.iter().next().expect("a file has a name").to_string_lossy().into_owned();
        let room = first.trim_end_matches(".rs").to_owned();
        if room == "lib" {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{} belongs to no room", inside.display()));
            continue;
        };
        let text = fs::read_to_string(&file).expect("the source can be read");
        for other in used(&text) {
            let is_room = ROOMS.iter().any(|(name, _)| *name == other);
            if is_room && other != room && !allowed.contains(&other.as_str()) {
                wrong.push(format!("{}: {room} may not use {other}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn references_are_found() {
    let text = "use crate::flow::Graph;\n// crate::history is not meant\nlet x = crate::asid::Asid;";
    assert_eq!(used(text), BTreeSet::from(["asid".to_owned(), "flow".to_owned()]));
}
