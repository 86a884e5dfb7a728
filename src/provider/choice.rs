//! Who is asked, and why. Decided without a look at the network.

use super::Provider;
use super::others::{OTHERS, of_base};
use crate::settings::{Choices, Environment, Settings};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub provider: Provider,
    /// To follow "because".
    pub reason: &'static str,
    /// Somebody said so, rather than credentials that lie about.
    pub explicit: bool,
}

impl Choice {
    fn of(provider: Provider, reason: &'static str) -> Choice {
        Choice { provider, reason, explicit: true }
    }

    fn anthropic(reason: &'static str) -> Choice {
        Choice::of(Provider::Anthropic, reason)
    }
}

/// `call`: the choices of one call; `None`: for a call without any.
pub fn choose(settings: &Settings, call: Option<&Choices>, env: Environment<'_>) -> Choice {
    let choice = wanted(settings, call, env);
    let other = OTHERS.iter().find(|other| other.provider == choice.provider);
    other.and_then(|other| (other.barred)(settings)).map_or(choice, Choice::anthropic)
}

/// Without a look at who must not be asked.
fn wanted(settings: &Settings, call: Option<&Choices>, env: Environment<'_>) -> Choice {
    let (choice, reason) = match call.and_then(|call| call.provider) {
        Some(choice) => (choice, "the call asks for it"),
        None => (settings.provider, "the setting provider says so"),
    };
    if let Some(provider) = choice.provider() {
        return Choice::of(provider, reason);
    }
    match call.and_then(|call| call.base_url.as_deref()) {
        Some(base) => {
            return of_base(base).map_or(Choice::anthropic("the call has a base URL of its own"), |other| {
                Choice::of(other.provider, other.reasons.calls_url)
            });
        }
        None => {
            if let Some(other) = of_base(&settings.anthropic_base_url) {
                return Choice::of(other.provider, other.reasons.base_url);
            }
        }
    }
    if call.is_some_and(|call| call.api_key.is_some()) || has_anthropic_credential(settings, env) {
        return Choice::anthropic("there is an Anthropic credential");
    }
    if let Some(other) = OTHERS.iter().find(|other| (other.has_credentials)(env)) {
        return Choice { provider: other.provider, reason: other.reasons.credentials, explicit: false };
    }
    Choice::anthropic(OTHERS.first().map_or("no other provider is in this build", |other| other.reasons.no_credentials))
}

/// Whether direct calls have something to identify themselves by.
pub fn has_anthropic_credential(settings: &Settings, env: Environment<'_>) -> bool {
    let is_credential =
        |name: &str| name.eq_ignore_ascii_case("x-api-key") || name.eq_ignore_ascii_case("authorization");
    settings.anthropic_custom_headers.iter().any(|(name, _)| is_credential(name))
        || settings.anthropic_credential(env).is_some()
}

#[cfg(feature = "bedrock")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ProviderChoice;

    const KEY: (&str, &str) = ("ANTHROPIC_API_KEY", "sk-ant-1");
    const AWS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "s")];

    fn chosen(call: &Choices, vars: &[(&str, &str)]) -> (Provider, &'static str, bool) {
        let no_files = [("AWS_CONFIG_FILE", "/dev/null"), ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")];
        let env = |name: &str| {
            vars.iter().chain(&no_files).find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let (settings, warnings) = Settings::load(None, &env).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let choice = choose(&settings, Some(call), &env);
        (choice.provider, choice.reason, choice.explicit)
    }

    #[test]
    fn settings_then_addresses_then_credentials() {
        use Provider::{Anthropic, Bedrock};
        let at_aws = ("ANTHROPIC_BASE_URL", "https://bedrock-runtime.eu-west-1.amazonaws.com");
        let both = [KEY, AWS[0], AWS[1]];
        for (vars, want) in [
            (&[][..], (Anthropic, "no AWS credentials are configured", true)),
            (&[KEY], (Anthropic, "there is an Anthropic credential", true)),
            (&AWS, (Bedrock, "there are AWS credentials and none of Anthropic", false)),
            (&[AWS[0]], (Anthropic, "no AWS credentials are configured", true)),
            (&both, (Anthropic, "there is an Anthropic credential", true)),
            (&[KEY, at_aws], (Bedrock, "anthropic_base_url is of AWS", true)),
            (&[KEY, ("REVENIUM_PROVIDER", "bedrock")], (Bedrock, "the setting provider says so", true)),
            (&[at_aws, ("REVENIUM_PROVIDER", "anthropic")], (Anthropic, "the setting provider says so", true)),
            (&[at_aws, ("REVENIUM_BEDROCK_DISABLE", "1")], (Anthropic, "bedrock_disable is set", true)),
            (
                &[("REVENIUM_PROVIDER", "bedrock"), ("REVENIUM_BEDROCK_DISABLE", "1")],
                (Anthropic, "bedrock_disable is set", true),
            ),
            (
                &[AWS[0], AWS[1], ("ANTHROPIC_CUSTOM_HEADERS", "Authorization: Bearer t")],
                (Anthropic, "there is an Anthropic credential", true),
            ),
        ] {
            assert_eq!(chosen(&Choices::default(), vars), want, "{vars:?}");
        }
    }

    #[test]
    fn a_call_may_choose_for_itself() {
        use Provider::{Anthropic, Bedrock};
        let provider = |choice| Choices { provider: Some(choice), ..Choices::default() };
        let base = |url: &str| Choices { base_url: Some(url.into()), ..Choices::default() };
        let key = Choices { api_key: Some("k".into()), ..Choices::default() };
        for (call, want) in [
            (provider(ProviderChoice::Asked(Anthropic)), Anthropic),
            (provider(ProviderChoice::Asked(Bedrock)), Bedrock),
            (provider(ProviderChoice::Auto), Bedrock),
            (base("https://bedrock-runtime.us-east-1.amazonaws.com"), Bedrock),
            (base("https://gateway.example"), Anthropic),
            (key, Anthropic),
        ] {
            assert_eq!(chosen(&call, &AWS).0, want, "{call:?}");
        }
        let disabled = [("REVENIUM_BEDROCK_DISABLE", "true")];
        assert_eq!(chosen(&provider(ProviderChoice::Asked(Bedrock)), &disabled).0, Anthropic);
    }
}
