//! Stands in for `bedrock` in a build without AWS.

use crate::common::error::{Code, Error, Result};

/// Event streams are AWS's.
#[derive(Default)]
pub struct Frames {}

impl Frames {
    pub fn push(&mut self, _: &[u8], _: usize, _: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        Err(Error::new(Code::Unsupported, "This build of the library does not read event streams of AWS."))
    }
}
