//! The arrows between the rooms of the crate never point back: what each may use, read from its `use crate::` lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Everyone may use these.
const COMMON: &[&str] = &["error", "log", "os"];

/// What each room may use besides.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "abi",
        &[
            "call", "dispatch", "engine", "flow", "mailbox", "outcome", "process", "queue", "registry", "request",
            "scope", "sink", "status", "stream",
        ],
    ),
    ("status", &["delivery", "engine", "process", "provider", "settings"]),
    ("process", &["delivery", "engine", "queue", "registry", "settings"]),
    (
        "engine",
        &[
            "call", "delivery", "dispatch", "http", "meter", "process", "provider", "registry", "request", "runtime",
            "scope", "settings", "sink",
        ],
    ),
    (
        "call",
        &[
            "delivery", "dispatch", "engine", "meter", "outcome", "process", "provider", "queue", "registry",
            "request", "retry", "sink", "stream",
        ],
    ),
    ("sink", &["call", "dispatch", "flow", "mailbox", "outcome", "provider", "queue", "stream", "writer"]),
    ("registry", &["call", "outcome", "queue", "scope"]),
    ("dispatch", &["mailbox", "outcome", "stream"]),
    ("mailbox", &["flow", "outcome", "stream"]),
    ("queue", &["flow", "outcome", "stream"]),
    ("outcome", &["provider", "stream", "writer"]),
    ("request", &["meter", "settings", "splice"]),
    ("scope", &["meter"]),
    ("meter", &["provider", "stream", "writer"]),
    ("provider", &["http", "request", "retry", "settings", "splice", "stream"]),
    ("delivery", &["http", "retry"]),
    ("stream", &[]),
    ("settings", &[]),
    ("splice", &[]),
    ("http", &[]),
    ("retry", &[]),
    ("runtime", &[]),
    ("flow", &[]),
    ("writer", &[]),
    ("error", &[]),
    ("log", &[]),
    ("os", &[]),
];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The rooms named in `crate::…` paths of the file's code, tests left out.
fn used(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut rooms = BTreeSet::new();
    let lines = code.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    for rest in lines.flat_map(|line| line.split("crate::").skip(1)) {
        let inside = rest.strip_prefix('{').and_then(|list| list.split('}').next());
        for item in inside.unwrap_or(rest).split(',') {
            let room: String = item.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            rooms.extend((!room.is_empty()).then_some(room));
            if inside.is_none() {
                break;
            }
        }
    }
    rooms
}

#[test]
fn arrows_never_point_back() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let within = file.strip_prefix(&root).unwrap();
        let room = within.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if room == "lib" || file.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        let may = allowed.get(&*room).unwrap_or_else(|| panic!("{room} is a new room: say what it may use"));
        for other in used(&fs::read_to_string(&file).unwrap()) {
            if other != room && !may.contains(&&*other) && !COMMON.contains(&&*other) {
                wrong.push(format!("{} uses {other}", within.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files {
        let within = file.strip_prefix(&root).unwrap();
        if within.starts_with("abi") || within == Path::new("os.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("unsafe {") && !text.contains("allow(unsafe_code)"), "{}", within.display());
    }
}
