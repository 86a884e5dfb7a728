//! The arrows between the rooms of the crate never point back, and no files of a room lean on each other in a circle: both
//! read from the paths in the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Everyone may use this.
const COMMON: &str = "common";

/// What each room may use besides; `no_room_uses_itself_by_a_detour` holds that there is no circle in it.
const ARROWS: &[(&str, &[&str])] = &[
    ("abi", &["client", "call", "completion", "meter", "messages", "platform"]),
    (
        "client",
        &["call", "completion", "provider", "meter", "delivery", "telemetry", "messages", "platform", "settings"],
    ),
    ("call", &["completion", "provider", "meter", "delivery", "telemetry", "messages", "settings"]),
    ("completion", &["provider", "messages"]),
    ("provider", &["messages", "settings"]),
    ("meter", &["messages", "settings"]),
    ("delivery", &[]),
    ("platform", &["meter", "settings"]),
    ("telemetry", &["meter", "messages", "settings"]),
    ("messages", &["settings"]),
    ("settings", &[]),
    ("common", &[]),
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

/// A module's path below the crate's root.
type Module = Vec<String>;

/// The modules of the crate and their code, tests left out.
fn modules() -> BTreeMap<Module, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    // `inside` is a list of what others outside use, of every room.
    let left_out = ["tests.rs", "lib.rs", "inside.rs"];
    files.retain(|file| file.file_name().is_some_and(|name| !left_out.iter().any(|other| name == *other)));
    let module = |file: &PathBuf| {
        let within = file.strip_prefix(&root).unwrap().with_extension("");
        let mut path: Module = within.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
        path.pop_if(|last| last == "mod");
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        (path, lines.collect::<Vec<_>>().join("\n"))
    };
    files.iter().map(module).collect()
}

/// The single paths of a path with braces, however deep.
fn single(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else { return vec![path.trim().to_owned()] };
    let inside = rest.rsplit_once('}').map_or(rest, |(inside, _)| inside);
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in inside.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match (c, depth) {
            (',', 0) => parts.push(String::new()),
            _ => parts.last_mut().unwrap().push(c),
        }
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.flat_map(|part| single(&format!("{}{part}", before.trim_start()))).collect()
}

/// Which modules each module names, by `crate::`, `super::` or `self::`.
fn arrows(modules: &BTreeMap<Module, String>) -> Vec<(&Module, &Module)> {
    let mut found = Vec::new();
    for (module, code) in modules {
        for start in ["crate::", "super::", "self::"] {
            for (at, _) in code.match_indices(start) {
                if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                    continue;
                }
                let rest = &code[at..];
                let is_use = code[..at].ends_with("use ");
                let end = |c: char| if is_use { c == ';' } else { !(c.is_alphanumeric() || c == '_' || c == ':') };
                let path = &rest[..rest.find(end).unwrap_or(rest.len())];
                found
                    .extend(single(path).iter().filter_map(|path| named(module, path, modules)).map(|to| (module, to)));
            }
        }
    }
    found
}

/// The module that `path`, which stands in `module`, leads to or into.
fn named<'m>(module: &Module, path: &str, modules: &'m BTreeMap<Module, String>) -> Option<&'m Module> {
    let mut names = path.split("::").peekable();
    let mut full = if names.next_if_eq(&"crate").is_some() { Module::new() } else { module.clone() };
    while names.next_if(|name| ["super", "self"].contains(name) && (*name == "self" || full.pop().is_some())).is_some()
    {
    }
    full.extend(names.map(str::to_owned));
    (0..=full.len()).rev().find_map(|length| modules.get_key_value(&full[..length])).map(|(found, _)| found)
}

#[test]
fn arrows_never_point_back() {
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let modules = modules();
    let (mut wrong, mut used) = (BTreeSet::new(), BTreeSet::new());
    for (from, to) in arrows(&modules) {
        let (Some(room), Some(other)) = (from.first(), to.first()) else { continue };
        let may = allowed.get(&**room).unwrap_or_else(|| panic!("{room} is a new room: say what it may use"));
        used.insert((&**room, &**other));
        if room != other && other != COMMON && !may.contains(&&**other) {
            wrong.insert(format!("{} uses {other}", from.join("/")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let allowed = ARROWS.iter().flat_map(|(room, others)| others.iter().map(|other| (*room, *other)));
    let idle: Vec<_> = allowed.filter(|arrow| !used.contains(arrow)).collect();
    assert!(idle.is_empty(), "nobody needs these any more: {idle:?}");
}

/// What needs nobody else is taken away until nothing is left, or a circle.
fn circle<T: Ord + Clone>(mut uses: BTreeMap<T, BTreeSet<T>>) -> Vec<T> {
    while let Some(lowest) = uses
        .iter()
        .find(|(_, uses_of)| !uses_of.iter().any(|other| uses.contains_key(other)))
        .map(|(one, _)| one.clone())
    {
        uses.remove(&lowest);
    }
    uses.into_keys().collect()
}

/// The table itself has no circle: every room can be put above all that it uses.
#[test]
fn no_room_uses_itself_by_a_detour() {
    let uses = ARROWS.iter().map(|(room, uses)| (*room, uses.iter().copied().collect())).collect();
    assert_eq!(circle(uses), Vec::<&str>::new());
}

/// Of the files and folders in one folder, each can be put above all that it uses. (A folder's `mod.rs` and what lies
/// beside it are parts of one thing.)
#[test]
fn no_file_uses_itself_by_a_detour() {
    let modules = modules();
    let mut folders: BTreeMap<&[String], BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (from, to) in arrows(&modules) {
        let common = from.iter().zip(to).take_while(|(one, other)| one == other).count();
        if let (Some(one), Some(other)) = (from.get(common), to.get(common)) {
            folders.entry(&from[..common]).or_default().entry(one.clone()).or_default().insert(other.clone());
        }
    }
    assert!(
        folders.len() > 8 && folders.values().map(BTreeMap::len).sum::<usize>() > 60,
        "nothing is read: {folders:?}"
    );
    for (folder, uses) in folders {
        let circle = circle(uses);
        assert!(circle.is_empty(), "in src/{}: {circle:?}", folder.join("/"));
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
