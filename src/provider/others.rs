//! The providers that this build can call beside Anthropic itself, which is asked where nothing speaks for another.

use super::Other;

pub const OTHERS: &[Other] = &[
    #[cfg(feature = "bedrock")]
    super::bedrock::ROW,
];

/// The one that a base URL leads to.
pub fn of_base(base: &str) -> Option<&'static Other> {
    OTHERS.iter().find(|other| (other.is_at)(base))
}

/// Whoever starts the library may have written files with credentials for it.
pub fn look_again() {
    OTHERS.iter().for_each(|other| (other.look_again)());
}
