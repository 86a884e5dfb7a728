//! PLATFORM: what Revenium offers besides taking records: jobs and their outcomes, economics, budgets, webhooks.
//!
//! `operations` is the table of what can be asked, `params` checks what a caller gives, `send` asks and tries again,
//! `outcome` knows what Revenium's refusals mean. `budget` keeps the rules of Revenium's cost controls and judges calls
//! by them. Nothing here stands in the way of a record: connections, retries and
//! the count of failures are this room's own.

pub mod budget;
mod operations;
mod outcome;
mod params;
mod send;
pub mod webhook;

use crate::common::error::{Code, Error, Result};
use crate::settings::{Environment, Secret, Settings};
use operations::{Base, Needs, TEAMS};
use outcome::Versions;
use params::Asked;
use parking_lot::Mutex;
use reqwest::Url;
use send::{Health, Request};
use std::sync::Arc;
use std::time::Duration;

/// Revenium's platform, as one run of the library sees it.
pub struct Platform {
    settings: Arc<Settings>,
    bases: Bases,
    health: Health,
    versions: Versions,
    /// A tenant and its team, once looked up.
    team: Mutex<Option<(String, String)>>,
}

/// Where it is.
struct Bases {
    /// `…/profitstream/v2/api/`
    profitstream: Url,
    /// `…/v2/api/ai/enforcement-rules/`
    enforcement: Url,
}

impl Bases {
    /// `meter`: where records go, as it ends in `/meter/v2/ai/completions`.
    fn new(settings: &Settings, meter: &Url) -> Result<Bases> {
        let parsed = |name: &str, text: &str| {
            Url::parse(text).map_err(|_| Error::new(Code::Config, format!("{name} is no URL.")))
        };
        let mut profitstream = meter.clone();
        match &settings.profitstream_base_url {
            Some(base) => profitstream = parsed("profitstream_base_url", base)?,
            // A prefix before it stays.
            None => {
                let prefix = meter.path().strip_suffix("/v2/ai/completions").unwrap_or_default();
                profitstream.set_path(prefix.rsplit_once('/').map_or("", |(before, _)| before));
            }
        }
        extend(&mut profitstream, &["profitstream", "v2", "api"]);
        let mut enforcement = meter.clone();
        match &settings.enforcement_base_url {
            Some(base) => enforcement = parsed("enforcement_base_url", base)?,
            None => enforcement.set_path(""),
        }
        extend(&mut enforcement, &["v2", "api", "ai", "enforcement-rules"]);
        Ok(Bases { profitstream, enforcement })
    }
}

/// Add segments, each percent-encoded.
fn extend(url: &mut Url, segments: &[&str]) {
    // An http URL has a path.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
}

/// Where the budget rules of `team` are. `None`: the settings have no usable address.
pub fn rules_url(settings: &Settings, meter: &Url, team: &str) -> Option<Url> {
    let mut url = Bases::new(settings, meter).ok()?.enforcement;
    extend(&mut url, &[team]);
    Some(url)
}

/// An operation that may be sent.
pub struct PreparedOperation {
    asked: Asked,
    key: Secret,
}

impl PreparedOperation {
    /// Most time for it with all its attempts.
    pub fn timeout(&self) -> Option<Duration> {
        self.asked.timeout
    }

    pub fn name(&self) -> &'static str {
        self.asked.operation.name
    }
}

/// How one operation ended.
pub struct Answer {
    /// JSON.
    pub result: Result<Vec<u8>>,
    pub attempts: u32,
}

impl Platform {
    /// `meter`: where records go.
    pub fn new(settings: Arc<Settings>, meter: &Url) -> Result<Platform> {
        let bases = Bases::new(&settings, meter)?;
        Ok(Platform {
            settings,
            bases,
            health: Health::default(),
            versions: Versions::default(),
            team: Mutex::default(),
        })
    }

    /// Check all that can be checked before anything is sent.
    pub fn prepare(&self, operation: &str, params: Option<&str>, env: Environment<'_>) -> Result<PreparedOperation> {
        let operation = params::operation(operation)?;
        let asked = params::read(operation, params)?;
        let key = self.settings.platform_key(env).ok_or_else(|| {
            let text = "There is no Revenium key: set write_api_key (REVENIUM_WRITE_API_KEY) or metering_api_key.";
            Error::new(Code::Config, text)
        })?;
        let lacks = match operation.needs {
            Needs::Any => None,
            _ if key.expose().starts_with("rev_mk_") => Some("this one, which begins with rev_mk_, only meters"),
            Needs::Write if key.expose().starts_with("rev_rk_") => {
                Some("this one, which begins with rev_rk_, only reads")
            }
            _ => None,
        };
        if let Some(lacks) = lacks {
            let text = format!(
                "{} needs a Revenium key that may do more (rev_sk_ or hak_): {lacks}. Set write_api_key (REVENIUM_WRITE_API_KEY).",
                operation.name
            );
            return Err(Error::new(Code::Config, text));
        }
        if asked.team.is_none() && self.settings.team_id.is_none() && tenant(&key).is_none() {
            return Err(no_team());
        }
        Ok(PreparedOperation { asked, key })
    }

    /// Ask, and ask again where that may help.
    pub async fn run(&self, http: &reqwest::Client, prepared: PreparedOperation) -> Answer {
        let mut attempts = 0;
        let result = self.answer(http, prepared, &mut attempts).await;
        Answer { result, attempts }
    }

    async fn answer(&self, http: &reqwest::Client, prepared: PreparedOperation, attempts: &mut u32) -> Result<Vec<u8>> {
        let PreparedOperation { mut asked, key } = prepared;
        let team = match asked.team.take().or_else(|| self.settings.team_id.clone()) {
            Some(team) => team,
            None => self.team_of_tenant(http, &key).await?,
        };
        self.versions.expect(&team, &mut asked);
        let request = Request { url: self.url(&asked, &team), body: asked.body.as_ref().map(ToString::to_string), key };
        let sent = self.send(http, asked.operation, &request, attempts).await;
        outcome::judge(self, http, &asked, &team, &request.key, sent).await
    }

    fn enforcement_base(&self) -> &str {
        self.bases.enforcement.as_str()
    }

    fn url(&self, asked: &Asked, team: &str) -> Url {
        let operation = asked.operation;
        let value = |name: &str| asked.path.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value);
        let segments = operation.path.split('/').filter(|segment| !segment.is_empty()).map(|segment| {
            let name = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
            name.map_or(segment, value)
        });
        let mut url = match operation.base {
            Base::Profitstream => self.bases.profitstream.clone(),
            Base::Enforcement => {
                let mut url = self.bases.enforcement.clone();
                extend(&mut url, &[team]);
                url
            }
        };
        extend(&mut url, &segments.collect::<Vec<_>>());
        let team = (operation.base == Base::Profitstream && operation.name != TEAMS.name).then_some(("teamId", team));
        let query = team.into_iter().chain(asked.query.iter().map(|(name, value)| (*name, value.as_str())));
        let query: Vec<_> = query.collect();
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// The team of the tenant that the key tells of.
    async fn team_of_tenant(&self, http: &reqwest::Client, key: &Secret) -> Result<String> {
        let tenant = tenant(key).ok_or_else(no_team)?;
        if let Some((known, team)) = &*self.team.lock()
            && known == tenant
        {
            return Ok(team.clone());
        }
        let asked = Asked {
            operation: &TEAMS,
            team: None,
            timeout: None,
            path: vec![],
            query: vec![("tenantId", tenant.to_owned())],
            body: None,
        };
        let request = Request { url: self.url(&asked, ""), body: None, key: key.clone() };
        let reply = self.send(http, &TEAMS, &request, &mut 0).await.map_err(|failure| failure.error)?;
        let teams: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let team = teams.pointer("/_embedded/teamResourceList/0/id").and_then(|id| match id {
            serde_json::Value::String(id) => Some(id.clone()),
            serde_json::Value::Number(id) => Some(id.to_string()),
            _ => None,
        });
        let team = team.ok_or_else(no_team)?;
        *self.team.lock() = Some((tenant.to_owned(), team.clone()));
        Ok(team)
    }
}

/// `rev_sk_<tenant>_…`: the third part of a key that has four.
fn tenant(key: &Secret) -> Option<&str> {
    let mut parts = key.expose().strip_prefix("rev_")?.split('_').skip(1);
    let tenant = parts.next().filter(|tenant| !tenant.is_empty())?;
    parts.next().map(|_| tenant)
}

fn no_team() -> Error {
    Error::new(Code::Config, "The team is not known: set team_id (REVENIUM_TEAM_ID), or give \"teamId\".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(config: &str) -> Platform {
        let (settings, _) = Settings::load(Some(config), &|_| None).unwrap();
        let (meter, _) = crate::delivery::completions_url(&settings.metering_base_url).unwrap();
        Platform::new(Arc::new(settings), &meter).unwrap()
    }

    #[test]
    fn bases_keep_or_lose_the_prefix() {
        for (config, profitstream, enforcement) in [
            (
                "{}",
                "https://api.revenium.ai/profitstream/v2/api",
                "https://api.revenium.ai/v2/api/ai/enforcement-rules",
            ),
            (
                r#"{"metering_base_url":"http://h:1/proxy/meter/v2/"}"#,
                "http://h:1/proxy/profitstream/v2/api",
                "http://h:1/v2/api/ai/enforcement-rules",
            ),
            (
                r#"{"profitstream_base_url":"http://p/a/","metering_base_url":"http://h/meter"}"#,
                "http://p/a/profitstream/v2/api",
                "http://h/v2/api/ai/enforcement-rules",
            ),
        ] {
            let bases = platform(config).bases;
            assert_eq!(bases.profitstream.as_str(), profitstream, "{config}");
            assert_eq!(bases.enforcement.as_str(), enforcement, "{config}");
        }
    }

    #[test]
    fn urls_are_encoded_part_by_part() {
        let platform = platform(r#"{"metering_base_url":"http://h","metering_api_key":"rev_sk_t_0123456789"}"#);
        for (operation, params, expected) in [
            ("jobs.get", r#"{"id":"loan 9/é"}"#, "profitstream/v2/api/jobs/loan%209%2F%C3%A9?teamId=te+am%2F1"),
            ("jobs.list", r#"{"type":"a&b"}"#, "profitstream/v2/api/jobs?teamId=te+am%2F1&type=a%26b"),
            ("budgets.list", "{}", "v2/api/ai/enforcement-rules/te%20am%2F1"),
            ("budgets.roster", r#"{"ruleId":"x"}"#, "v2/api/ai/enforcement-rules/te%20am%2F1/roster?ruleId=x"),
            (
                "jobs.conversion_funnel",
                r#"{"type":"loan"}"#,
                "profitstream/v2/api/jobs/conversion-funnel?teamId=te+am%2F1&jobType=loan",
            ),
            (
                "economics.add_facts",
                r#"{"type":"claim","facts":[{}]}"#,
                "profitstream/v2/api/jobs/types/claim/facts?teamId=te+am%2F1",
            ),
        ] {
            let prepared = platform.prepare(operation, Some(params), &|_| None).unwrap();
            assert_eq!(platform.url(&prepared.asked, "te am/1").as_str(), format!("http://h/{expected}"));
        }
    }

    #[test]
    fn keys_that_may_not_are_refused_here() {
        for (key, operation, refused) in [
            ("rev_mk_t_0123456789", "jobs.types", Some("only meters")),
            ("rev_rk_t_0123456789", "jobs.types", None),
            ("rev_rk_t_0123456789", "jobs.create", Some("only reads")),
            ("rev_sk_t_0123456789", "jobs.create", None),
            ("hak_0123456789", "jobs.create", Some("The team is not known")),
            ("rev_mk_t_0123456789", "budgets.list", None),
        ] {
            let platform = platform(&format!(r#"{{"metering_api_key":"{key}"}}"#));
            let prepared =
                platform.prepare(operation, Some(r#"{"id":"j"}"#).filter(|_| operation == "jobs.create"), &|_| None);
            match (prepared, refused) {
                (Ok(_), None) => {}
                (Err(error), Some(part)) => {
                    assert_eq!(error.code, Code::Config);
                    assert!(error.message.contains(part), "{}", error.message);
                    assert!(!error.message.contains("0123"));
                }
                (prepared, _) => panic!("{key} {operation}: {:?}", prepared.err()),
            }
        }
        let own = platform(r#"{"metering_api_key":"rev_mk_t_1","write_api_key":"rev_sk_u_2"}"#);
        assert_eq!(tenant(&own.prepare("jobs.types", None, &|_| None).unwrap().key), Some("u"));
    }
}
