//! Names that are no field of Revenium's: told once each, with the name that was probably meant.

use super::fields::Field;
use crate::common::log;
use parking_lot::Mutex;
use std::collections::BTreeSet;

/// Of so many names a process complains: a host that passes on names of its users must not fill its log.
const MOST: usize = 32;
/// A name longer than this is no slip of somebody's fingers.
const LONGEST: usize = 64;

static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Warn of `name` if nobody has yet.
pub(super) fn warn_once(name: &str) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if name.is_empty() || name.len() > LONGEST || !name.bytes().all(plain) {
        log::debug!("metadata holds a field that is not Revenium's; it is ignored");
        return;
    }
    let mut told = TOLD.lock();
    if told.contains(name) || told.len() >= MOST {
        return;
    }
    told.insert(name.to_owned());
    drop(told);
    let hint = closest(name).map(|field| format!(" (did you mean {field}?)")).unwrap_or_default();
    log::warn!("metadata: there is no field {name}{hint}; it is ignored (said once for this name)");
}

/// The field most like `name`, if any is.
fn closest(name: &str) -> Option<&'static str> {
    let plain = |text: &str| text.replace(['_', '-', '.'], "").to_ascii_lowercase();
    let name = plain(name);
    let distance = |field: &str| strsim::osa_distance(&name, &plain(field));
    let (distance, field) = Field::ALL.iter().map(|field| (distance(field.wire()), field.wire())).min()?;
    (distance <= field.len() / 4).then_some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_word_of_ones_own_is_not() {
        for (name, field) in [
            ("organisationName", Some("organizationName")),
            ("organisation_name", Some("organizationName")),
            ("ProductName", Some("productName")),
            ("taskTyp", Some("taskType")),
            ("agnet", Some("agent")),
            ("colour", None),
            ("customer", None),
        ] {
            assert_eq!(closest(name), field, "{name}");
        }
    }
}
