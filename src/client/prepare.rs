//! Who answers a call, with whose credentials, and what is sent.

use super::Client;
use crate::common::error::{Code, Error, Result};
use crate::common::log;
use crate::messages::request::Request;
use crate::meter::scope::Scope;
use crate::provider::{Prepared, choice};
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

    pub(super) fn prepare(&self, request: &Request) -> Result<Box<dyn Prepared>> {
        let choices = &request.choices;
        let choice = choice::choose(&self.context.settings, Some(choices), &environment);
        log::debug!("provider {}: {}", choice.provider.name(), choice.reason);
        if let Some(text) = self.context.settings.refusal(choice.provider, choices.has_credential()) {
            return Err(Error::new(Code::Config, text));
        }
        // Made here, so that a proxy that cannot be read refuses the call instead of being passed over.
        self.context.clients()?;
        self.providers.prepare(&choice, request, &environment)
    }
}
