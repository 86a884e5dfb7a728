//! Stands in for `bedrock` in a build without AWS: the same names, and nothing that can be made.

use super::{Failure, Reply, Server};
use crate::common::error::{Code, Error, Result};
use crate::messages::request::Request;
use crate::settings::{Environment, Settings};
use bytes::Bytes;
use reqwest::Client;
use std::sync::Arc;
use std::time::Duration;

pub struct Bedrock;

impl Bedrock {
    pub fn new(_: Arc<Settings>) -> Bedrock {
        Bedrock
    }
}

pub enum Prepared {}

impl Prepared {
    pub fn new(_: &Arc<Bedrock>, _: &Request, _: bool, _: Environment<'_>) -> Result<Prepared> {
        Err(Error::new(Code::Unsupported, "This build of the library does not call AWS Bedrock."))
    }

    pub fn model(&self) -> &str {
        match *self {}
    }

    pub fn region(&self) -> Option<&str> {
        match *self {}
    }

    pub fn server(&self) -> Option<Server> {
        match *self {}
    }

    pub async fn send(&self, _: &Client, _: Duration) -> std::result::Result<Reply, Failure> {
        match *self {}
    }
}

pub enum Body {}

impl Body {
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        match *self {}
    }
}

/// Event streams are AWS's.
#[derive(Default)]
pub struct Frames {}

impl Frames {
    pub fn push(&mut self, _: &[u8], _: usize, _: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        Err(Error::new(Code::Unsupported, "This build of the library does not read event streams of AWS."))
    }
}

pub struct Direct {
    pub body: Bytes,
    pub betas: Vec<String>,
}

pub fn for_direct(_: &[u8]) -> Option<Direct> {
    None
}
