//! The arrows between the rooms of the crate never point back: what each may use, read from its `use crate::` lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Everyone may use this.
const COMMON: &str = "common";

/// What each room may use besides; `no_room_uses_itself_by_a_detour` holds that there is no circle in it.
const ARROWS: &[(&str, &[&str])] = &[
    ("abi", &["client", "call", "completion", "meter", "messages", "platform", "settings"]),
    (
        "client",
        &["call", "completion", "provider", "meter", "delivery", "telemetry", "messages", "platform", "settings"],
    ),
    ("call", &["completion", "provider", "meter", "delivery", "telemetry", "messages", "settings"]),
    ("completion", &["provider", "messages", "settings"]),
    ("provider", &["messages", "settings"]),
    ("meter", &["messages", "settings"]),
    ("delivery", &[]),
    ("platform", &["meter", "settings"]),
    ("telemetry", &["meter", "messages", "settings"]),
    ("messages", &["settings"]),
    ("settings", &[]),
    ("common", &[]),
];

/// Arrows that still point back, of files written before the rooms were drawn. This list only shrinks.
const KNOWN: &[(&str, &str)] = &[];

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
    let (mut wrong, mut known) = (Vec::new(), BTreeSet::new());
    for file in files {
        let within = file.strip_prefix(&root).unwrap();
        let room = within.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if room == "lib" || file.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        let may = allowed.get(&*room).unwrap_or_else(|| panic!("{room} is a new room: say what it may use"));
        for other in used(&fs::read_to_string(&file).unwrap()) {
            if other == room || other == COMMON || may.contains(&&*other) {
                continue;
            }
            match KNOWN.iter().find(|(from, to)| *from == room && *to == other) {
                Some(pair) => drop(known.insert(*pair)),
                None => wrong.push(format!("{} uses {other}", within.display())),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let gone: Vec<_> = KNOWN.iter().filter(|pair| !known.contains(*pair)).collect();
    assert!(gone.is_empty(), "take these off the list: {gone:?}");
}

/// The table itself has no circle: every room can be put above all that it uses.
#[test]
fn no_room_uses_itself_by_a_detour() {
    let mut left: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    while !left.is_empty() {
        let lowest = left.iter().find(|(_, uses)| uses.iter().all(|room| !left.contains_key(room)));
        let lowest = *lowest.unwrap_or_else(|| panic!("a circle among {:?}", left.keys())).0;
        left.remove(lowest);
    }
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files {
        let within = file.strip_prefix(&root).unwrap();
        if within.starts_with("abi") || within.starts_with("common/os") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains("unsafe {") && !text.contains("allow(unsafe_code)"), "{}", within.display());
    }
}
