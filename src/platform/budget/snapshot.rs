//! The last rules on disk, as they were served: they hold names and addresses, so nobody else may read them.

use crate::common::os;
use ring::digest::{SHA256, digest};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// One file for each place and team. Revenium's own SDK keeps others beside it, of another layout.
pub(super) fn file(directory: &Path, base: &str, team: &str) -> PathBuf {
    let hash = digest(&SHA256, format!("{base}|{team}").as_bytes());
    let name: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    directory.join(format!("librevenium_budget_rules.{name}.json"))
}

/// What is there, if anything is.
pub(super) fn read(file: &Path) -> Option<Vec<u8>> {
    fs::read(file).ok()
}

/// Whoever reads meanwhile finds the old one or the new one, whole.
pub(super) fn write(file: &Path, served: &[u8]) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        os::create_private_directory(directory)?;
    }
    let beside = file.with_extension(format!("{}.tmp", uuid::Uuid::new_v4().simple()));
    let written = os::private_file().write(true).create_new(true).open(&beside);
    let written = written.and_then(|mut new| new.write_all(served)).and_then(|()| fs::rename(&beside, file));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_was_written_is_read_and_is_nobody_elses() {
        let directory = std::env::temp_dir().join(format!("budget-{}", uuid::Uuid::new_v4()));
        let ours = file(&directory, "http://h/", "team");
        assert_ne!(ours, file(&directory, "http://h/", "other"));
        assert_eq!(read(&ours), None);
        write(&ours, b"one").unwrap();
        write(&ours, b"two").unwrap();
        assert_eq!(read(&ours).as_deref(), Some(&b"two"[..]));
        assert_eq!(fs::metadata(&ours).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        fs::remove_dir_all(&directory).unwrap();
    }
}
