//! README and the pages in `docs`: their tables are those of the code, README stays short, no link leads nowhere.
//! `REVENIUM_BLESS=1` writes the tables of settings.

use revenium::inside::{choices_markdown, table_markdown};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// README's settings, the others stand in `docs/settings.md` only.
const MOST_USED: [&str; 14] = [
    "metering_api_key",
    "selective_metering",
    "metadata",
    "organization_name",
    "capture_prompts",
    "budget_enforcement",
    "anthropic_api_key",
    "anthropic_base_url",
    "provider",
    "timeout_ms",
    "max_retries",
    "spool_dir",
    "otlp",
    "log_level",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `text` before, between and behind the marks of `name`.
fn parts<'t>(text: &'t str, name: &str) -> [&'t str; 3] {
    let (before, rest) = text.split_once(&format!("<!-- {name} -->\n")).expect("a place for the table");
    let (between, after) = rest.split_once(&format!("<!-- /{name} -->")).expect("an end to the table");
    [before, between, after]
}

fn has_table(path: &str, name: &str, table: &str) {
    let text = read(path);
    let [before, _, after] = parts(&text, name);
    let wanted = format!("{before}<!-- {name} -->\n{}\n<!-- /{name} -->{after}", table.trim_end());
    if std::env::var_os("REVENIUM_BLESS").is_some() {
        fs::write(root().join(path), &wanted).unwrap();
    } else {
        assert!(text == wanted, "{path}: its {name} are not those of the code: run the tests with REVENIUM_BLESS=1");
    }
}

#[test]
fn settings_are_those_of_the_code() {
    let table = table_markdown();
    has_table("docs/settings.md", "settings", &table);
    has_table("docs/settings.md", "choices", &choices_markdown());
    let row = |key: &str| table.lines().find(|row| row.starts_with(&format!("| `{key}` |"))).expect(key);
    let rows = table.lines().take(2).chain(MOST_USED.map(row));
    has_table("README.md", "settings", &rows.collect::<Vec<_>>().join("\n"));
}

#[test]
fn readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines < 200, "{lines} lines: what most readers can do without belongs into docs/");
}

#[test]
fn no_link_leads_nowhere() {
    let pages = pages();
    assert!(pages.len() > 15, "{pages:?}");
    let mut broken = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for link in links(&text).iter().filter(|link| !link.contains(':')) {
            let (file, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let found = target.exists() && (anchor.is_empty() || anchors(&target).contains(anchor));
            if !found {
                broken.push(format!("{}: {link}", page.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// README leads to every page, directly.
#[test]
fn readme_names_every_page() {
    let readme = read("README.md");
    let named = links(&readme);
    for page in pages() {
        let page = page.strip_prefix(root()).unwrap().display().to_string();
        assert!(
            page == "README.md" || named.contains(&*page) || !page.starts_with("docs/"),
            "{page} is not in README.md"
        );
    }
}

/// Every page for people: at the root, in `docs`, of the examples and the bindings.
fn pages() -> Vec<PathBuf> {
    let mut folders = vec![root().to_owned(), root().join("docs"), root().join("examples")];
    folders.extend(fs::read_dir(root().join("bindings")).unwrap().map(|entry| entry.unwrap().path()));
    let files = folders.iter().filter(|folder| folder.is_dir()).flat_map(|folder| fs::read_dir(folder).unwrap());
    let mut pages: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    pages
}

/// Targets of links and pictures, outside of code.
fn links(text: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        let line: String = line.split('`').step_by(2).collect();
        for (mark, end) in [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')] {
            let targets = line.split(mark).skip(1).filter_map(|rest| rest.split_once(end));
            found.extend(targets.map(|(target, _)| target.to_owned()));
        }
    }
    found
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).unwrap();
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings
        .map(|heading| heading.trim_start_matches('#').trim().to_lowercase())
        .map(|heading| heading.chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}
