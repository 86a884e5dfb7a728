//! Budgets: whether a call may go out by the rules of Revenium's cost controls.
//!
//! The verdict is taken from memory, never with I/O: `poll` fetches the rules now and then, `rules` judges by them.

mod filters;
mod poll;
mod rules;
mod snapshot;

use super::Platform;
use crate::common::error::{Code, Error, HttpError, Result};
use crate::common::log;
use crate::meter::Attribution;
use crate::settings::{FailMode, Settings};
use parking_lot::{Mutex, RwLock};
use rules::{Facts, Hit, normalised};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

pub use rules::Rules;

/// Rules older than this are fetched anew as soon as somebody is judged by them, however long the interval.
const STALE: Duration = Duration::from_secs(120);
/// "Once a window" is remembered of so many.
const MAX_WARNED: usize = 10_000;

/// Who wants to call, and what.
pub struct Caller<'a> {
    model: &'a str,
    /// As the record will name it.
    provider: &'a str,
    told: &'a Attribution<'a>,
    email: OnceCell<Cow<'a, str>>,
}

impl<'a> Caller<'a> {
    pub fn new(model: &'a str, provider: &'a str, told: &'a Attribution<'a>) -> Caller<'a> {
        Caller { model, provider, told, email: OnceCell::new() }
    }

    /// The address, trimmed and in lower case; "" without one.
    fn email(&self) -> &str {
        self.email.get_or_init(|| {
            let given = self.told.email.unwrap_or_default();
            let is_normal = given.trim() == given && !given.chars().any(|letter| letter.is_uppercase());
            if is_normal { given.into() } else { normalised(given).into() }
        })
    }

    /// The names that a group may know the caller by, the first one that it knows counts.
    fn names(&self) -> impl Iterator<Item = &str> {
        let address = self.told.email.map(|_| self.email());
        self.told.subscriber_id.into_iter().chain(address).chain(self.told.email)
    }
}

/// What one run of the library knows of budgets.
pub struct Budgets {
    settings: Arc<Settings>,
    platform: Arc<Platform>,
    /// `None`: none were ever fetched or found.
    rules: RwLock<Option<Arc<Rules>>>,
    fetches: Mutex<Fetches>,
    polling: AtomicBool,
    wake: Notify,
    /// Rule and window, and for departments the caller and the fetch, of which a warning was logged.
    warned: Mutex<HashSet<(String, String)>>,
    refused: AtomicU64,
}

#[derive(Default)]
struct Fetches {
    /// Of the last attempt, successful or not.
    tried: Option<Instant>,
    succeeded: Option<Instant>,
    /// Why the last one failed.
    trouble: Option<String>,
    count: u64,
}

impl Budgets {
    pub fn new(settings: Arc<Settings>, platform: Arc<Platform>) -> Budgets {
        let budgets = Budgets {
            settings,
            platform,
            rules: RwLock::default(),
            fetches: Mutex::default(),
            polling: AtomicBool::new(false),
            wake: Notify::new(),
            warned: Mutex::default(),
            refused: AtomicU64::new(0),
        };
        if budgets.is_on() {
            let rules = budgets.snapshot_file().and_then(|file| Rules::parse(&snapshot::read(&file)?));
            *budgets.rules.write() = rules.map(Arc::new);
        }
        budgets
    }

    pub fn is_on(&self) -> bool {
        self.settings.budget_enforcement && !self.settings.budget_bypass
    }

    /// Fetch the rules from now on, on this runtime. Cheap when that is done already.
    pub fn keep_fetching(self: &Arc<Self>, runtime: &tokio::runtime::Handle, http: &reqwest::Client) {
        if !self.polling.swap(true, Ordering::SeqCst) {
            runtime.spawn(poll::poll(self.clone(), http.clone()));
        }
    }

    /// From now on these rules count.
    pub fn install(&self, rules: Rules) {
        *self.rules.write() = Some(Arc::new(rules));
    }

    /// Whether the call may go out. Logs what there is to warn about, once for each rule and window.
    pub fn admit(&self, caller: &Caller<'_>) -> Result<()> {
        self.verdict(caller, true).map(drop)
    }

    /// The same without logging: JSON that says so.
    pub fn check(&self, caller: &Caller<'_>) -> Result<Vec<u8>> {
        let mut told = json!({ "allowed": true, "enforced": self.is_on() });
        if let Some(told) = told.as_object_mut() {
            told.extend(self.verdict(caller, false)?);
        }
        Ok(told.to_string().into_bytes())
    }

    /// What is to be told of a call that may go out.
    fn verdict(&self, caller: &Caller<'_>, logged: bool) -> Result<serde_json::Map<String, Value>> {
        let mut told = serde_json::Map::new();
        if !self.is_on() {
            return Ok(told);
        }
        self.wake_if_stale();
        // The lock is held for the copy of a pointer.
        let rules = self.rules.read().clone();
        let Some(rules) = rules else {
            if self.settings.budget_fail_mode == FailMode::Open {
                return Ok(told);
            }
            let text = "Request blocked: enforcement cache is uninitialized and REVENIUM_CB_FAIL_MODE=closed.";
            return self.refuse(error(text, Value::Null), &mut told, logged).map(|()| told);
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let verdict = rules.judge(caller, i64::try_from(now).unwrap_or(i64::MAX));
        for hit in &verdict.warned {
            if logged {
                self.warn_once(hit, caller);
            }
        }
        if !logged && !verdict.warned.is_empty() {
            let warnings: Vec<_> = verdict.warned.iter().map(|hit| described(hit.rule, hit.current_value)).collect();
            told.insert("warnings".into(), warnings.into());
        }
        if let Some(hit) = &verdict.refused {
            let mut text = format!("Request blocked by Revenium enforcement rule: {}", hit.rule.name);
            if let Some(message) = &hit.rule.deny_message {
                text += &format!(". {message}");
            }
            self.refuse(error(&text, described(hit.rule, hit.current_value)), &mut told, logged)?;
        }
        Ok(told)
    }

    /// In shadow mode the call goes out all the same.
    fn refuse(&self, error: Error, told: &mut serde_json::Map<String, Value>, logged: bool) -> Result<()> {
        if logged {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        if !self.settings.budget_shadow {
            return Err(error);
        }
        if logged {
            if self.is_first("shadow", &error.message) {
                log::warn!("budget shadow mode: this call would be refused. {}", error.message);
            }
        } else {
            told.insert("would_refuse".into(), error.message.into());
        }
        Ok(())
    }

    fn warn_once(&self, hit: &Hit<'_>, caller: &Caller<'_>) {
        let rule = hit.rule;
        let window = match hit.of_department {
            // By caller and fetch; the address is kept in no log.
            true => format!("{} {}", self.fetches.lock().count, caller.email()),
            false => rule.window.clone(),
        };
        if self.is_first(&format!("{} {}", rule.id, rule.name), &window) {
            log::warn!("Revenium budget rule {:?} ({}) is over its limit", rule.name, rule.action);
        }
    }

    fn is_first(&self, rule: &str, window: &str) -> bool {
        let mut warned = self.warned.lock();
        if warned.len() >= MAX_WARNED {
            warned.clear();
        }
        warned.insert((rule.to_owned(), window.to_owned()))
    }

    fn wake_if_stale(&self) {
        let fetches = self.fetches.lock();
        let is_stale = |at: Option<Instant>| at.is_some_and(|at| at.elapsed() > STALE);
        if is_stale(fetches.succeeded) && is_stale(fetches.tried) {
            self.wake.notify_one();
        }
    }

    /// For `revenium_status_json()`.
    pub fn status(&self) -> Value {
        let settings = &self.settings;
        let mode = match (settings.budget_enforcement, settings.budget_bypass, settings.budget_shadow) {
            (false, _, _) => "off",
            (_, true, _) => "bypassed",
            (_, _, true) => "shadow",
            _ => "on",
        };
        let fetches = self.fetches.lock();
        json!({
            "enforcement": mode,
            "rules": self.rules.read().as_ref().map(|rules| rules.count()),
            "fetched_seconds_ago": fetches.succeeded.map(|at| at.elapsed().as_secs()),
            "trouble": fetches.trouble,
            "refused": self.refused.load(Ordering::Relaxed),
        })
    }
}

/// What an error object tells of a rule.
fn described(rule: &Facts, current_value: &Value) -> Value {
    json!({
        "rule_name": rule.name,
        "rule_id": rule.id,
        "current_value": current_value,
        "threshold": rule.threshold,
        "resets_at": rule.resets_at,
        "deny_message": rule.deny_message,
    })
}

/// The refusal, with its JSON as the provider would have sent it: 402 is what the drop-ins answer.
fn error(text: &str, rule: Value) -> Error {
    let mut inner = json!({ "type": Code::Budget.error_type(), "message": text });
    if let (Some(inner), Value::Object(rule)) = (inner.as_object_mut(), rule) {
        inner.extend(rule);
    }
    let body = json!({ "type": "error", "error": inner }).to_string().into_bytes();
    Error::new(Code::Budget, text).with_http(HttpError { status: 402, body, retry_after_ms: None })
}
