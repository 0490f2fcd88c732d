//! The arrows of the house: in the core a room uses what lies before it on the road, never what lies after; in no crate do
//! rooms use each other in a circle. A room is a module of a crate; of `history`, each wing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A room of the core and the rooms it may use.
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
    ("history::decode", &["asid", "config", "error", "event", "flow", "image", "packet"]),
    ("history::passes", &["event", "flow", "history::decode", "instruction"]),
    ("history::stack", &["event", "flow", "history::decode", "history::passes", "instruction"]),
    ("history::calls", &["history::passes", "history::stack"]),
];

/// Rooms by room: who uses whom.
type Uses = BTreeMap<String, BTreeSet<String>>;

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

/// A text without comments and what stands behind the head of its tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]").next().unwrap_or("");
    code.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// The paths of a use tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tree: &str) -> Vec<String> {
    let Some(open) = tree.find('{') else {
        return tree.split(',').map(|path| path.trim().to_owned()).filter(|path| !path.is_empty()).collect();
    };
    let close = tree.rfind('}').unwrap_or(tree.len());
    let (before, inner) = (tree[..open].trim(), &tree[open + 1..close]);
    let (mut depth, mut part, mut found) = (0, String::new(), Vec::new());
    for letter in inner.chars().chain([',']) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if letter == ',' && depth == 0 {
            found.extend(paths(part.trim()).into_iter().map(|path| format!("{before}{path}")));
            part.clear();
        } else {
            part.push(letter);
        }
    }
    found
}

/// The modules that a module refers to by `crate::` and `super::`, from the root of its crate.
fn referred(text: &str, module: &[String]) -> Vec<Vec<String>> {
    let text = code(text);
    let uses = text.split("use ").skip(1).filter_map(|rest| rest.split(';').next()).flat_map(paths);
    let plain = ["crate::", "super::"].into_iter().flat_map(|start| {
        let ends = |c: char| !(c.is_alphanumeric() || c == '_' || c == ':');
        text.match_indices(start)
            .map(|(at, _)| text[at..].split(ends).next().unwrap_or("").to_owned())
            .collect::<Vec<_>>()
    });
    let mut found = Vec::new();
    for path in uses.chain(plain) {
        let mut parts = path.split("::").map(str::to_owned).peekable();
        let mut base = match parts.next().as_deref() {
            Some("crate") => Vec::new(),
            Some("super") => module[..module.len().saturating_sub(1)].to_vec(),
            _ => continue,
        };
        while parts.next_if_eq("super").is_some() {
            base.pop();
        }
        found.push(base.into_iter().chain(parts).collect());
    }
    found
}

/// The room a module lies in; None for the root of the crate and of a building with wings.
fn room(module: &[String]) -> Option<String> {
    let wings = ["calls", "decode", "passes", "stack"];
    match module {
        [] => None,
        [first, ..] if first == "lib" || first.is_empty() => None,
        [first, wing, ..] if first == "history" && wings.contains(&wing.as_str()) => {
            Some(format!("history::{wing}"))
        }
        [first, ..] if first == "history" => None,
        [first, ..] => Some(first.clone()),
    }
}

/// Who uses whom in a crate.
fn uses(source: &Path) -> Uses {
    let mut files = Vec::new();
    sources(source, &mut files);
    let mut found = Uses::new();
    for file in files {
        let inside = file.strip_prefix(source).expect("the file lies in the source").with_extension("");
        let mut module: Vec<String> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        let Some(here) = room(&module) else { continue };
        let text = fs::read_to_string(&file).expect("the source can be read");
        let there = referred(&text, &module).into_iter().filter_map(|path| room(&path));
        found.entry(here.clone()).or_default().extend(there.filter(|there| *there != here));
    }
    found
}

/// The rooms of a circle; empty if there is none.
fn circle(uses: &Uses) -> Vec<String> {
    let mut left = uses.clone();
    // Rooms that use none of those that are left are no part of a circle.
    while let Some(done) =
        left.iter().find(|(_, others)| others.iter().all(|other| !left.contains_key(other)))
    {
        let done = done.0.clone();
        left.remove(&done);
    }
    left.into_keys().collect()
}

fn core() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn every_arrow_points_down_the_road() {
    let mut wrong = Vec::new();
    for (room, others) in uses(&core()) {
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{room} is on no list of rooms"));
            continue;
        };
        let known = |other: &&String| ROOMS.iter().any(|(name, _)| name == *other);
        for other in others.iter().filter(known).filter(|other| !allowed.contains(&other.as_str())) {
            wrong.push(format!("{room} may not use {other}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_rooms_of_a_crate_use_each_other_in_a_circle() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the core lies among the crates");
    let mut checked = 0;
    for entry in fs::read_dir(crates).expect("the crates can be listed") {
        let source = entry.expect("the crates can be listed").path().join("src");
        if source.is_dir() {
            assert_eq!(circle(&uses(&source)), Vec::<String>::new(), "in {}", source.display());
            checked += 1;
        }
    }
    assert!(checked >= 8, "only {checked} crates were found");
}

#[test]
fn references_are_found_wherever_they_stand() {
    let module = ["flow".to_owned(), "engine".to_owned()];
    let text = "use crate::{asid::Asid, event::{Event, Kind}};\n// crate::history is not meant\nlet x = super::super::time::Tsc;\n\
                use super::graph::Graph;";
    let rooms: BTreeSet<String> = referred(text, &module).iter().filter_map(|path| room(path)).collect();
    assert_eq!(rooms, BTreeSet::from(["asid", "event", "flow", "time"].map(str::to_owned)));
}

#[test]
fn a_circle_is_found() {
    let uses: Uses = [("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")]
        .map(|(room, other)| (room.to_owned(), BTreeSet::from([other.to_owned()])))
        .into();
    // Those that lead into it are listed as well.
    assert_eq!(circle(&uses), ["a", "b", "c", "d"].map(str::to_owned));
    let straight: Uses = [("a".to_owned(), BTreeSet::from(["b".to_owned()]))].into();
    assert!(circle(&straight).is_empty());
}
