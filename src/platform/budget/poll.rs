//! Fetching the rules, now and then, with patience of its own.

use super::{Budgets, Rules, snapshot};
use crate::common::{log, retry};
use crate::platform::operations::Method;
use crate::platform::params;
use crate::platform::send::{Heard, Request, Unheard};
use crate::settings::environment;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of one refresh: those of Revenium's own SDK.
const ATTEMPTS: u32 = 5;
const LONGEST_REFRESH: Duration = Duration::from_secs(60);
/// The longest wait that Revenium can ask for.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// Why a refresh failed, and how long to rest if that is longer than the interval.
struct Trouble {
    text: String,
    rest: Duration,
}

impl Trouble {
    fn new(text: impl Into<String>) -> Trouble {
        Trouble { text: text.into(), rest: Duration::ZERO }
    }
}

/// Until the runtime ends.
pub(super) async fn poll(budgets: Arc<Budgets>, http: reqwest::Client) {
    let interval = Duration::from_millis(budgets.settings.budget_poll_interval_ms);
    loop {
        // From here on nobody has to wake us, however old the rules are.
        budgets.fetches.lock().tried = Some(Instant::now());
        let fetched = fetch(&budgets, &http).await;
        let rest = match fetched {
            Ok((served, rules)) => {
                budgets.install(rules);
                note_success(&budgets);
                if let Some(file) = budgets.snapshot_file() {
                    // A disk that takes its time holds up nothing else.
                    let written = tokio::task::spawn_blocking(move || snapshot::write(&file, &served)).await;
                    if let Ok(Err(fault)) = written {
                        budgets.complain("snapshot", &format!("budget rules cannot be kept on disk: {}", fault.kind()));
                    }
                }
                interval
            }
            Err(trouble) => {
                let first = {
                    let mut fetches = budgets.fetches.lock();
                    fetches.tried = Some(Instant::now());
                    fetches.trouble.replace(trouble.text.clone()).is_none()
                };
                if first {
                    log::warn!("budget rules cannot be fetched; the last ones stay: {}", trouble.text);
                }
                interval.max(trouble.rest)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = budgets.wake.notified() => {}
        }
    }
}

fn note_success(budgets: &Budgets) {
    let mut fetches = budgets.fetches.lock();
    let now = Some(Instant::now());
    (fetches.tried, fetches.succeeded) = (now, now);
    fetches.count += 1;
    if fetches.trouble.take().is_some() {
        log::info!("budget rules are fetched again");
    }
}

/// What was served, and the rules in it.
async fn fetch(budgets: &Budgets, http: &reqwest::Client) -> Result<(Vec<u8>, Rules), Trouble> {
    let settings = &budgets.settings;
    let team = settings.team_id.as_deref().ok_or_else(|| Trouble::new("there is no team_id (REVENIUM_TEAM_ID)"))?;
    let key = settings.metering_key(&environment).ok_or_else(|| Trouble::new("there is no Revenium key"))?;
    let list = params::operation("budgets.list").and_then(|operation| params::read(operation, None));
    let asked = list.map_err(|error| Trouble::new(error.message))?;
    let request = Request { url: budgets.platform.url(&asked, team), body: None, key };
    let begun = Instant::now();
    let mut retries = 0;
    loop {
        let (text, asked) = match budgets.platform.attempt(http, Method::Get, &request).await {
            // No content: no rules.
            Ok(Heard { status: 204, .. }) => return Ok((b"[]".to_vec(), Rules::default())),
            Ok(Heard { status: 200, body, .. }) => {
                let rules = Rules::parse(&body).ok_or_else(|| Trouble::new("what came is no set of rules"))?;
                return Ok((body, rules));
            }
            Ok(Heard { status, asked, .. }) => {
                let text = format!("Revenium answered with status {status}");
                if !matches!(status, 408 | 429 | 500..) {
                    return Err(Trouble::new(text));
                }
                let asked = asked.filter(|seconds| *seconds > 0.0);
                let asked = asked.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_REST));
                (text, asked.map(|asked| asked.min(LONGEST_REST)))
            }
            Err(Unheard { error, .. }) => (error.message, None),
        };
        let wait = asked.unwrap_or_else(|| retry::backoff(retry::FIRST, retries));
        retries += 1;
        if retries >= ATTEMPTS || begun.elapsed() + wait > LONGEST_REFRESH {
            return Err(Trouble { text, rest: asked.unwrap_or_default() });
        }
        tokio::time::sleep(wait).await;
    }
}

impl Budgets {
    /// Where the rules of this team are kept; `None`: nowhere.
    pub(super) fn snapshot_file(&self) -> Option<PathBuf> {
        let (directory, team) = (self.settings.budget_cache_dir.as_ref()?, self.settings.team_id.as_ref()?);
        Some(snapshot::file(directory.as_ref(), self.platform.enforcement_base(), team))
    }

    fn complain(&self, about: &str, text: &str) {
        if self.is_first(about, text) {
            log::warn!("{text}");
        }
    }
}
