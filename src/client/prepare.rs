//! Who answers a call, with whose credentials, and what is sent.

use super::Client;
use crate::common::error::{Code, Error, Result};
use crate::common::log;
use crate::messages::request::Request;
use crate::meter::scope::Scope;
use crate::provider::{Prepared, Provider, anthropic, bedrock, choice};
use crate::settings::environment;

/// Whether two URLs lead to the same scheme, host and port.
fn same_origin(one: &str, other: &str) -> bool {
    let origin =
        |url: &str| reqwest::Url::parse(url.trim()).ok().map(|url| url.origin()).filter(|origin| origin.is_tuple());
    origin(one).is_some_and(|one| origin(other) == Some(one))
}

impl Client {
    /// A body is data, which hosts forward as their users wrote it: it sends no secret of the process anywhere.
    pub(super) fn mistrust(&self, request: &mut Request, scope: &Scope) -> Result<()> {
        let Some(own) = &request.own_choices else { return Ok(()) };
        let refused = |text: &str| Err(Error::new(Code::Config, text));
        if !self.context.settings.body_choices {
            return refused(
                "The request holds the member \"revenium\", which the setting body_choices does not allow.",
            );
        }
        if own.headers.iter().any(|(name, _)| *name == "host") {
            return refused("\"revenium\".\"headers\" of a request must not hold \"host\".");
        }
        if own.metering_base_url.is_some() && own.metering_api_key.is_none() {
            return refused(
                "\"revenium\".\"metering_base_url\" of a request needs \"metering_api_key\" beside it: set the URL in the \
                 settings or in a scope.",
            );
        }
        let Some(base) = &own.base_url else { return Ok(()) };
        let host_named = [Some(&self.context.settings.anthropic_base_url), scope.choices.base_url.as_ref()];
        if host_named.into_iter().flatten().any(|known| same_origin(base, known)) {
            return Ok(());
        }
        if !own.has_credential() {
            return refused(
                "\"revenium\".\"base_url\" of a request takes only credentials that stand beside it: give \"api_key\" \
                 there, or set the URL in the settings or in a scope.",
            );
        }
        request.choices.foreign = true;
        request.choices.api_key.clone_from(&own.api_key);
        request.choices.headers.clone_from(&own.headers);
        request.choices.trace.clone_from(&own.trace);
        Ok(())
    }

    pub(super) fn prepare(&self, request: &Request) -> Result<Prepared> {
        let choices = &request.choices;
        let choice = choice::choose(&self.context.settings, Some(choices), &environment);
        log::debug!("provider {}: {}", choice.provider.name(), choice.reason);
        if let Some(text) = self.context.settings.refusal(choice.provider, choices.has_credential()) {
            return Err(Error::new(Code::Config, text));
        }
        // Made here, so that a proxy that cannot be read refuses the call instead of being passed over.
        self.context.clients()?;
        if choice.provider == Provider::Bedrock {
            if choices.foreign {
                let text = "A request cannot name an endpoint for AWS Bedrock: its credentials are the process's. Set \
                            the URL in the settings or in a scope.";
                return Err(Error::new(Code::Config, text));
            }
            return bedrock::Prepared::new(&self.bedrock, request, choice.explicit, &environment)
                .map(Prepared::Bedrock);
        }
        self.prepare_anthropic(choices.base_url.as_deref(), request).map(Prepared::Anthropic)
    }

    fn prepare_anthropic(&self, base: Option<&str>, request: &Request) -> Result<anthropic::Prepared> {
        let endpoint = self
            .anthropic
            .get_or_try_init(|| anthropic::Endpoint::new(&self.context.settings, self.messages_url.clone()))?;
        let foreign = request.choices.foreign;
        let credential = if foreign { None } else { self.context.settings.anthropic_credential(&environment) };
        anthropic::Prepared::new(endpoint, base, &self.context.settings, credential, request)
    }

    /// The same request for Anthropic itself, after Bedrock could not answer it. `None`: it cannot or must not go there.
    pub(super) fn prepare_directly(&self, request: &Request) -> Option<Prepared> {
        if !self.context.settings.bedrock_fallback {
            return None;
        }
        let direct = bedrock::for_direct(&request.body)?;
        let at_aws = choice::is_aws(&self.context.settings.anthropic_base_url);
        // Without a credential this fails, and there is no other way.
        let prepared = self.prepare_anthropic(at_aws.then_some(anthropic::DEFAULT_BASE_URL), request).ok()?;
        Some(Prepared::Anthropic(prepared.with(direct.body, &direct.betas)))
    }
}
