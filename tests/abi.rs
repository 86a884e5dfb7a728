//! The header, the functions and the shared library are what programs that were built before expect.

#[path = "abi/header.rs"]
mod header;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The library that was built for this test: cargo puts it beside the test's executable.
fn library() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    let library = executable.with_file_name("librevenium.so");
    assert!(library.exists(), "no {}", library.display());
    library
}

fn committed_header() -> String {
    fs::read_to_string(root().join("include/revenium.h")).unwrap()
}

/// What ABI version 1 has: one signature a line, in the header's order. A line may be added, none may change.
fn committed_functions() -> Vec<String> {
    fs::read_to_string(root().join("tests/abi/functions.txt")).unwrap().lines().map(str::to_owned).collect()
}

/// Runs a tool that must succeed; its standard output.
fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|fault| panic!("{command:?}: {fault}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// The header without comments and preprocessor lines.
fn declarations(header: &str) -> String {
    let mut code = String::new();
    let mut rest = header;
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        rest = comment.split_once("*/").expect("comments end").1;
    }
    code.push_str(rest);
    code.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// The prototypes in a header, each on one line; `struct` before a type that has a name without it is left out.
fn functions(header: &str) -> Vec<String> {
    declarations(header)
        .split([';', '{', '}'])
        .map(|declaration| declaration.split_whitespace().collect::<Vec<_>>().join(" ").replace("struct ", ""))
        .filter(|declaration| declaration.contains(" *revenium_") || declaration.contains(" revenium_"))
        .filter(|declaration| declaration.ends_with(')') && !declaration.starts_with("typedef"))
        .collect()
}

fn name_of(function: &str) -> &str {
    let before = function.split('(').next().unwrap_or_default();
    before.rsplit([' ', '*']).next().unwrap_or_default()
}

fn number_in_header(name: &str) -> u32 {
    let define = format!("#define {name} ");
    let header = committed_header();
    let value = header.lines().find_map(|line| line.strip_prefix(&define)).unwrap_or_else(|| panic!("no {name}"));
    value.trim().parse().unwrap()
}

#[test]
fn the_committed_header_is_the_generated_one() {
    let wanted = header::generated();
    // A Go module holds only files below its own root, so it has a copy.
    for place in ["include/revenium.h", "bindings/go/revenium.h"] {
        let path = root().join(place);
        if std::env::var_os("REVENIUM_BLESS").is_some() {
            fs::write(&path, &wanted).unwrap();
        }
        let same = fs::read_to_string(&path).unwrap() == wanted;
        assert!(same, "{place} is not what src/abi says: run the tests with REVENIUM_BLESS=1");
    }
}

#[test]
fn the_functions_are_those_that_were_promised() {
    assert_eq!(functions(&committed_header()), committed_functions());
}

#[test]
fn the_library_exports_the_functions_and_nothing_else() {
    let symbols = output_of(Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(library()));
    let exported: BTreeSet<&str> = symbols.lines().filter_map(|line| line.split(' ').next()).collect();
    let functions = committed_functions();
    assert_eq!(exported, functions.iter().map(|function| name_of(function)).collect());
}

#[test]
fn the_library_says_its_name_and_is_never_unloaded() {
    let dynamic = output_of(Command::new("readelf").args(["--dynamic", "--wide"]).arg(library()));
    let soname = format!("soname: [librevenium.so.{}]", number_in_header("REVENIUM_ABI_VERSION"));
    assert!(dynamic.contains(&soname), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
    // Whatever else it needed, every host would need.
    for needed in dynamic.lines().filter(|line| line.contains("(NEEDED)")) {
        let name = needed.split(['[', ']']).nth(1).unwrap_or_default();
        let base = name.split(".so").next().unwrap_or_default();
        assert!(
            ["libc", "libm", "libgcc_s", "libpthread", "libdl"].contains(&base) || base.starts_with("ld-"),
            "{needed}"
        );
    }
}

#[test]
fn the_version_is_the_same_everywhere() {
    let parts =
        ["MAJOR", "MINOR", "PATCH"].map(|part| number_in_header(&format!("REVENIUM_VERSION_{part}")).to_string());
    assert_eq!(parts.join("."), env!("CARGO_PKG_VERSION"));
}

/// One program of two files, each of which includes the header twice and nothing before it.
const FIRST: &str = r#"
#include "revenium.h"
#include "revenium.h"
uint32_t version_seen_elsewhere(void) { return revenium_abi_version(); }
"#;
const SECOND: &str = r#"
#include "revenium.h"
#include "revenium.h"
#include <stdio.h>
uint32_t version_seen_elsewhere(void);
int main(void) {
  revenium_event event = {0, 0, 0, NULL, 0, NULL, 0};
  revenium_usage usage = {0, 0, 0, 0, 0, 0};
  revenium_state state = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  revenium_frame frame = {0, 0, 0, 0, 0, 0};
  revenium_event_fn on_event = NULL;
  revenium_done_fn on_done = NULL;
  revenium_log_fn on_log = NULL;
  (void)event, (void)usage, (void)state, (void)frame, (void)on_event, (void)on_done, (void)on_log;
  puts(revenium_code_name(REVENIUM_E_RATE_LIMIT));
  return version_seen_elsewhere() != REVENIUM_ABI_VERSION;
}
"#;

#[test]
fn the_header_suits_every_standard_of_c_and_cpp() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("header");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    symlink(library(), folder.join("librevenium.so")).unwrap();
    symlink(library(), folder.join("librevenium.so.1")).unwrap();
    for (compiler, extension, standards) in
        [("gcc", "c", ["c99", "c11", "c17"]), ("g++", "cpp", ["c++11", "c++17", "c++20"])]
    {
        let files = [("first", FIRST), ("second", SECOND)].map(|(name, text)| {
            let path = folder.join(name).with_extension(extension);
            fs::write(&path, text).unwrap();
            path
        });
        for standard in standards {
            let program = folder.join(standard);
            output_of(
                Command::new(compiler)
                    .arg(format!("-std={standard}"))
                    .args(["-pedantic", "-Wall", "-Wextra", "-Werror", "-I"])
                    .arg(root().join("include"))
                    .args(&files)
                    .arg("-L")
                    .arg(&folder)
                    .args(["-lrevenium", "-o"])
                    .arg(&program),
            );
            let said = output_of(Command::new(&program).env("LD_LIBRARY_PATH", &folder));
            assert_eq!(said, "REVENIUM_E_RATE_LIMIT\n", "{standard}");
        }
    }
}
