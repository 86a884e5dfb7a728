//! README's settings table is the table of `src/settings`. `REVENIUM_BLESS=1` writes it.

use revenium::settings::table_markdown;
use std::fs;
use std::path::Path;

const START: &str = "<!-- settings -->\n";
const END: &str = "<!-- /settings -->";

#[test]
fn readme_has_the_settings_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(START).expect("README.md has a place for the settings");
    let (_, after) = rest.split_once(END).expect("README.md has an end to the settings");
    let wanted = format!("{before}{START}{}\n{END}{after}", table_markdown().trim_end());
    if std::env::var_os("REVENIUM_BLESS").is_some() {
        fs::write(&path, &wanted).unwrap();
    } else {
        assert!(
            readme == wanted,
            "README.md's settings are not those of the code: run the tests with REVENIUM_BLESS=1"
        );
    }
}
