//! The providers, as one run of the library asks them.

use super::anthropic::Anthropic;
use super::choice::Choice;
use super::others::{OTHERS, of_base};
use super::{Backend, Prepared, Provider};
use crate::common::error::{Code, Error, Result};
use crate::messages::request::Request;
use crate::settings::{Environment, Settings};
use std::sync::Arc;

pub struct Providers {
    anthropic: Arc<Anthropic>,
    others: Vec<(Provider, Arc<dyn Backend>)>,
}

impl Providers {
    /// Fails with E_CONFIG for a base URL that is none.
    pub fn new(settings: &Arc<Settings>) -> Result<Providers> {
        let elsewhere = of_base(&settings.anthropic_base_url).is_some();
        Ok(Providers {
            anthropic: Arc::new(Anthropic::new(settings.clone(), elsewhere)?),
            others: OTHERS.iter().map(|other| (other.provider, (other.open)(settings))).collect(),
        })
    }

    fn other(&self, provider: Provider) -> Option<&Arc<dyn Backend>> {
        self.others.iter().find(|(known, _)| *known == provider).map(|(_, backend)| backend)
    }

    pub fn prepare(&self, choice: &Choice, request: &Request, env: Environment<'_>) -> Result<Box<dyn Prepared>> {
        let backend: Arc<dyn Backend> = match choice.provider {
            Provider::Anthropic => self.anthropic.clone(),
            other => self.other(other).cloned().ok_or_else(|| {
                let text = format!("This build of the library does not call {}.", other.row().title);
                Error::new(Code::Unsupported, text)
            })?,
        };
        backend.prepare(request, choice.explicit, env)
    }

    /// The same request for Anthropic itself, after `provider` could not answer it. `None`: it cannot or must not go there.
    pub fn direct_instead(
        &self,
        provider: Provider,
        request: &Request,
        env: Environment<'_>,
    ) -> Option<Box<dyn Prepared>> {
        let direct = self.other(provider)?.for_direct(request)?;
        // Without a credential this fails, and there is no other way.
        self.anthropic.instead(request, direct, env).ok()
    }
}
