//! `revenium doctor`: everything that is needed for a metered call, tried one after the other.

use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use revenium::inside::Provider;
use revenium::inside::choose;
use revenium::inside::completions_url;
use revenium::inside::http;
use revenium::inside::journal::probe;
use revenium::inside::messages_url;
use revenium::inside::redact;
use revenium::inside::rules_url;
use revenium::inside::{AuthHeader, Credential, Settings, environment};
use serde_json::{Value, json};

use crate::spool::{directory, folder, in_words, looks, others};

/// Records that wait longer than this have a reason to.
const LONG: Duration = Duration::from_secs(600);

/// What was found: said at once, or kept for one JSON document.
struct Findings {
    wrong: usize,
    /// Where records wait until Revenium takes them.
    waiting_room: &'static str,
    json: Option<Vec<Value>>,
}

impl Findings {
    fn good(&mut self, what: &str) {
        self.tell("ok", what);
    }

    fn note(&mut self, what: &str) {
        self.tell("note", what);
    }

    fn wrong(&mut self, what: &str) {
        self.wrong += 1;
        self.tell("WRONG", what);
    }

    fn tell(&mut self, level: &str, what: &str) {
        match &mut self.json {
            Some(all) => all.push(json!({"level": level.to_lowercase(), "message": what})),
            None => say!("{level:<5} {what}"),
        }
    }
}

/// `as_json`: `{"wrong": 1, "findings": [{"level": "ok" | "note" | "wrong", "message"}]}`, at the end.
pub fn doctor(timeout: Duration, as_json: bool) -> Result<(), String> {
    let mut findings = Findings { wrong: 0, waiting_room: "in the spool", json: as_json.then(Vec::new) };
    match Settings::load(None, &environment) {
        Err(error) => findings.wrong(&format!("configuration: {}", error.message)),
        Ok((settings, warnings)) => {
            for warning in &warnings {
                findings.wrong(&format!("configuration: {}", redact(warning)));
            }
            if warnings.is_empty() {
                findings.good("configuration");
            }
            spool(&settings, &mut findings);
            network(&settings, timeout, &mut findings);
        }
    }
    if let Some(all) = &findings.json {
        say!("{}", json!({"wrong": findings.wrong, "findings": all}));
    }
    match findings.wrong {
        0 => Ok(()),
        // It has been said.
        _ if as_json => Err(String::new()),
        1 => Err("one thing is wrong".into()),
        several => Err(format!("{several} things are wrong")),
    }
}

fn spool(settings: &Settings, findings: &mut Findings) {
    let directory = match directory(settings) {
        Ok(directory) => directory,
        Err(why) => {
            findings.waiting_room = "in memory";
            return findings.note(&format!("spool: {why}; a process that is killed loses what it has not sent"));
        }
    };
    let shown = directory.display();
    match probe(&directory) {
        Ok(()) => findings.good(&format!("spool: {shown} can be written")),
        Err(error) => {
            findings.waiting_room = "in memory";
            findings.wrong(&format!("spool: {shown} cannot be used: {error}; records are in memory only"));
        }
    }
    let Ok(folder) = folder(settings) else { return };
    match looks(&folder) {
        Err(why) => findings.wrong(&why),
        Ok(looks) => {
            let (records, oldest) = (looks.records(), looks.oldest().unwrap_or_default());
            let waiting = format!("spool: {records} records wait, the oldest since {}", in_words(oldest));
            match records {
                0 if looks.unreadable.is_empty() => findings.good("spool: nothing waits"),
                0 => {}
                _ if oldest < LONG => findings.note(&waiting),
                _ => findings.wrong(&format!("{waiting}; `revenium spool send` says why")),
            }
            if looks.damaged() > 0 {
                findings.wrong(&format!("spool: {} records are damaged and lost", looks.damaged()));
            }
            for why in looks.unreadable {
                findings.wrong(&format!("spool: {why}"));
            }
        }
    }
    match others(settings, Some(folder.fingerprint())) {
        Err(why) => findings.wrong(&why),
        Ok(others) => {
            for (name, records) in others {
                findings.note(&format!(
                    "spool: {records} records of another key or address wait: revenium spool send --from {name}"
                ));
            }
        }
    }
}

fn network(settings: &Settings, timeout: Duration, findings: &mut Findings) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let client = http::clients(Duration::from_millis(settings.connect_timeout_ms).min(timeout), &environment)
        .map(|clients| clients.metering);
    let (Ok(runtime), Ok(client)) = (runtime, client) else {
        return findings.wrong("network: no connection can be made from this process");
    };
    runtime.block_on(async {
        revenium(settings, &client, timeout, findings).await;
        budgets(settings, &client, timeout, findings).await;
        provider(settings, &client, timeout, findings).await;
    });
}

async fn revenium(settings: &Settings, client: &Client, timeout: Duration, findings: &mut Findings) {
    let url = match completions_url(&settings.metering_base_url) {
        Ok((url, _)) => url,
        Err(error) => return findings.wrong(&format!("Revenium: {}", error.message)),
    };
    let host = url.host_str().unwrap_or_default().to_owned();
    let Some(key) = settings.metering_key(&environment) else {
        return findings.wrong("Revenium: there is no key, so nothing is metered; set REVENIUM_METERING_API_KEY");
    };
    // No record, so nothing is stored: with a good key the answer says that fields are missing.
    let request = client
        .post(url)
        .header("x-api-key", key.expose())
        .header("idempotency-key", format!("doctor-{}", uuid::Uuid::new_v4()))
        .header("content-type", "application/json")
        .body("{}");
    let room = findings.waiting_room;
    match status_of(request, timeout).await {
        Err(why) => findings.wrong(&format!("Revenium: {host} cannot be reached: {why}; records wait {room}")),
        Ok(401 | 403) => findings.wrong(&format!("Revenium: {host} refuses the key; records wait {room}")),
        Ok(200..=299 | 400 | 409 | 422 | 429) => findings.good(&format!("Revenium: {host} takes the key")),
        Ok(status @ 300..=399) => findings.wrong(&format!(
            "Revenium: {host} answers with a redirect ({status}), which is never followed; set REVENIUM_METERING_BASE_URL"
        )),
        Ok(404) => findings.wrong(&format!("Revenium: {host} has no such address; see REVENIUM_METERING_BASE_URL")),
        Ok(status) => findings.wrong(&format!("Revenium: {host} answers with HTTP status {status}")),
    }
}

/// The team, and with enforcement on whether its rules can be had.
async fn budgets(settings: &Settings, client: &Client, timeout: Duration, findings: &mut Findings) {
    match &settings.team_id {
        Some(_) => findings.good("team: known, for jobs and budgets"),
        None if settings.budget_enforcement => {
            return findings.wrong("budgets: enforcement is on, but there is no team; set REVENIUM_TEAM_ID");
        }
        None => return findings.note("team: not set; jobs look it up where the key tells a tenant (REVENIUM_TEAM_ID)"),
    }
    if !settings.budget_enforcement {
        return findings.note("budgets: enforcement is off");
    }
    let Some(key) = settings.metering_key(&environment) else { return };
    let asked = completions_url(&settings.metering_base_url).ok().zip(settings.team_id.as_deref());
    let asked = asked.and_then(|((meter, _), team)| rules_url(settings, &meter, team));
    let Some(url) = asked else { return findings.wrong("budgets: there is no address for the rules") };
    let host = url.host_str().unwrap_or_default().to_owned();
    match status_of(client.get(url).header("x-api-key", key.expose()), timeout).await {
        Ok(200 | 204) if settings.budget_bypass => findings.note("budgets: rules can be fetched; bypassed"),
        Ok(200 | 204) if settings.budget_shadow => findings.good("budgets: rules can be fetched; shadow mode"),
        Ok(200 | 204) => findings.good("budgets: rules can be fetched"),
        Ok(status) => findings.wrong(&format!("budgets: {host} answers with HTTP status {status} for the rules")),
        Err(why) => findings.wrong(&format!("budgets: {host} cannot be reached: {why}")),
    }
}

async fn provider(settings: &Settings, client: &Client, timeout: Duration, findings: &mut Findings) {
    let choice = choose(settings, None, &environment);
    if choice.provider == Provider::Bedrock {
        return findings.note(&format!("provider: AWS Bedrock, because {}; AWS is not asked", choice.reason));
    }
    let mut url = match messages_url(&settings.anthropic_base_url) {
        Ok(url) => url,
        Err(error) => return findings.wrong(&format!("Anthropic: {}", error.message)),
    };
    let host = url.host_str().unwrap_or_default().to_owned();
    // Listing the models costs nothing.
    let path = url.path().replace("/v1/messages", "/v1/models");
    url.set_path(&path);
    let request = client.get(url).header("anthropic-version", &settings.anthropic_version);
    let request = match settings.anthropic_credential(&environment) {
        None => {
            let how = "set ANTHROPIC_API_KEY";
            return findings.wrong(&format!("Anthropic: there is no credential, so no call can be made; {how}"));
        }
        Some(Credential::ApiKey(key)) if settings.auth_header == AuthHeader::XApiKey => {
            request.header("x-api-key", key.expose())
        }
        Some(Credential::ApiKey(key) | Credential::AuthToken(key)) => request.bearer_auth(key.expose()),
    };
    match status_of(request, timeout).await {
        Err(why) => findings.wrong(&format!("Anthropic: {host} cannot be reached: {why}")),
        Ok(401 | 403) => findings.wrong(&format!("Anthropic: {host} refuses the credential")),
        Ok(200..=299) => findings.good(&format!("Anthropic: {host} takes the credential")),
        Ok(status) => findings.note(&format!("Anthropic: {host} can be reached; it lists no models (HTTP {status})")),
    }
}

/// The status of the answer, or why there is none.
async fn status_of(request: RequestBuilder, timeout: Duration) -> Result<u16, String> {
    match tokio::time::timeout(timeout, request.send()).await {
        Ok(Ok(response)) => Ok(response.status().as_u16()),
        Ok(Err(fault)) => Err(http::cause(&fault)),
        Err(_) => Err(format!("no answer within {timeout:?}")),
    }
}
