//! Who is asked, and why. Decided without a look at the network.

use super::Provider;
use super::credentials::aws_credentials;
use crate::settings::{Choices, Environment, ProviderChoice, Settings};
use reqwest::Url;

/// Whether this build can call AWS Bedrock.
const HAS_BEDROCK: bool = cfg!(feature = "bedrock");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub provider: Provider,
    /// To follow "because".
    pub reason: &'static str,
    /// Somebody said so, rather than credentials that lie about.
    pub explicit: bool,
}

impl Choice {
    fn anthropic(reason: &'static str) -> Choice {
        Choice { provider: Provider::Anthropic, reason, explicit: true }
    }

    fn bedrock(reason: &'static str) -> Choice {
        Choice { provider: Provider::Bedrock, reason, explicit: true }
    }
}

/// `call`: the choices of one call; `None`: for a call without any.
pub fn choose(settings: &Settings, call: Option<&Choices>, env: Environment<'_>) -> Choice {
    if settings.bedrock_disable {
        return Choice::anthropic("bedrock_disable is set");
    }
    match call.and_then(|call| call.provider) {
        Some(ProviderChoice::Anthropic) => return Choice::anthropic("the call asks for it"),
        Some(ProviderChoice::Bedrock) => return Choice::bedrock("the call asks for it"),
        Some(ProviderChoice::Auto) => {}
        None => match settings.provider {
            ProviderChoice::Anthropic => return Choice::anthropic("the setting provider says so"),
            ProviderChoice::Bedrock => return Choice::bedrock("the setting provider says so"),
            ProviderChoice::Auto => {}
        },
    }
    if !HAS_BEDROCK {
        return Choice::anthropic("AWS Bedrock is not in this build");
    }
    match call.and_then(|call| call.base_url.as_deref()) {
        Some(base) if is_aws(base) => return Choice::bedrock("the call's base URL is of AWS"),
        Some(_) => return Choice::anthropic("the call has a base URL of its own"),
        None if is_aws(&settings.anthropic_base_url) => return Choice::bedrock("anthropic_base_url is of AWS"),
        None => {}
    }
    if call.is_some_and(|call| call.api_key.is_some()) || has_anthropic_credential(settings, env) {
        return Choice::anthropic("there is an Anthropic credential");
    }
    match aws_credentials(env) {
        Some(_) => Choice {
            provider: Provider::Bedrock,
            reason: "there are AWS credentials and none of Anthropic",
            explicit: false,
        },
        None => Choice::anthropic("no AWS credentials are configured"),
    }
}

/// Whether direct calls have something to identify themselves by.
pub fn has_anthropic_credential(settings: &Settings, env: Environment<'_>) -> bool {
    let is_credential =
        |name: &str| name.eq_ignore_ascii_case("x-api-key") || name.eq_ignore_ascii_case("authorization");
    settings.anthropic_custom_headers.iter().any(|(name, _)| is_credential(name))
        || settings.anthropic_credential(env).is_some()
}

/// Whether the host of `base` is AWS's.
pub fn is_aws(base: &str) -> bool {
    // Asked for every call, and reading a URL costs far more than this look.
    if !base.as_bytes().windows(4).any(|part| part.eq_ignore_ascii_case(b"naws") || part.eq_ignore_ascii_case(b".aws"))
    {
        return false;
    }
    let url = Url::parse(base.trim()).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    let host = host.trim_end_matches('.');
    [".amazonaws.com", ".amazonaws.com.cn", ".api.aws"].iter().any(|domain| host.ends_with(domain))
}

#[cfg(feature = "bedrock")]
#[cfg(test)]
mod tests {
    use super::*;

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
            (provider(ProviderChoice::Anthropic), Anthropic),
            (provider(ProviderChoice::Bedrock), Bedrock),
            (provider(ProviderChoice::Auto), Bedrock),
            (base("https://bedrock-runtime.us-east-1.amazonaws.com"), Bedrock),
            (base("https://gateway.example"), Anthropic),
            (key, Anthropic),
        ] {
            assert_eq!(chosen(&call, &AWS).0, want, "{call:?}");
        }
        let disabled = [("REVENIUM_BEDROCK_DISABLE", "true")];
        assert_eq!(chosen(&provider(ProviderChoice::Bedrock), &disabled).0, Anthropic);
    }

    #[test]
    fn the_host_alone_says_whether_an_address_is_of_aws() {
        for (base, want) in [
            ("https://bedrock-runtime.us-east-1.amazonaws.com", true),
            ("https://BEDROCK-RUNTIME.us-east-1.AMAZONAWS.com:443/x", true),
            ("https://bedrock-runtime.cn-north-1.amazonaws.com.cn/", true),
            ("https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com", true),
            ("https://bedrock-runtime.us-east-1.api.aws", true),
            ("https://api.aws.example", false),
            ("https://amazonaws.com.example", false),
            ("https://notamazonaws.com", false),
            ("https://example.com/amazonaws.com", false),
            ("https://api.anthropic.com", false),
            ("amazonaws.com", false),
        ] {
            assert_eq!(is_aws(base), want, "{base}");
        }
    }
}
