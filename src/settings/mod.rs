//! SETTINGS: what can be set, where it may be set, and what is in force.
//!
//! `table` says everything about each setting once; reading, `revenium_status_json()` and the documentation follow it.
//! The configuration given to `revenium_init()` wins over the environment, that over a `.env` file, that over the default.

mod choices;
mod environment;
mod idempotency;
mod parse;
mod provider;
mod secret;
mod setting;
mod table;

pub use choices::{Choices, choices_markdown};
pub use environment::{environment, look_again};
pub use idempotency::{CallKey, IdempotencyKey};
pub use provider::{Provider, ProviderChoice};
pub use secret::{Credential, Secret};
pub use table::table_markdown;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;

use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use crate::common::error::{Code, Error, Result};
use crate::common::log::{Level, redact};
use crate::common::os;
use setting::{Kind, Setting, Steers, Value};
use table::TABLE;

/// How the API key is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthHeader {
    #[default]
    XApiKey,
    Bearer,
}

/// What is printed of each metered call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrintSummary {
    #[default]
    Off,
    Human,
    Json,
}

/// What becomes of calls as long as no budget rules are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailMode {
    #[default]
    Open,
    Closed,
}

/// What a record in the spool survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpoolSync {
    /// The end of the process, however sudden.
    #[default]
    Process,
    /// A power failure too.
    Power,
}

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtlpProtocol {
    #[default]
    Protobuf,
    Json,
    /// Not spoken: protobuf over HTTP is instead.
    Grpc,
}

/// A key that may come later.
#[derive(Clone, Default, PartialEq)]
enum Key {
    /// Not given so far: the environment is asked again.
    #[default]
    Unset,
    /// The configuration says there shall be none.
    Off,
    Set(Secret),
}

/// The settings in force. Fields are named by their JSON keys; the table says what they mean and what is in range.
///
/// [`Settings::load`] makes them: the `Default` is blank, without the table's defaults.
#[derive(Clone, Default, PartialEq)]
pub struct Settings {
    metering_api_key: Key,
    anthropic_api_key: Key,
    anthropic_auth_token: Key,

    pub env_file: Option<String>,

    /// As configured: not normalised, maybe no URL at all.
    pub metering_base_url: String,
    pub selective_metering: bool,
    /// A JSON object.
    pub metadata: String,
    pub middleware_source: String,
    pub capture_prompts: bool,
    /// Characters.
    pub max_prompt_size: usize,
    pub capture_error_messages: bool,

    pub mark_unbilled_refusals: bool,
    write_api_key: Key,
    pub team_id: Option<String>,
    pub profitstream_base_url: Option<String>,
    pub platform_timeout_ms: u64,
    pub platform_max_retries: u32,

    pub budget_enforcement: bool,
    pub budget_shadow: bool,
    pub budget_bypass: bool,
    pub budget_fail_mode: FailMode,
    pub budget_poll_interval_ms: u64,
    pub budget_cache_dir: Option<String>,
    pub enforcement_base_url: Option<String>,
    pub trace_id_from_context: bool,

    pub anthropic_base_url: String,
    pub anthropic_version: String,
    pub anthropic_beta: Vec<String>,
    pub anthropic_custom_headers: Vec<(String, Secret)>,
    pub auth_header: AuthHeader,

    pub provider: ProviderChoice,
    pub body_choices: bool,
    pub bedrock_disable: bool,
    pub bedrock_fallback: bool,
    /// Without a dot at its end.
    pub bedrock_region_prefix: Option<String>,
    pub bedrock_model_map: BTreeMap<String, String>,
    pub bedrock_project_id: Option<String>,
    pub aws_region: Option<String>,

    /// 0: no limit.
    pub timeout_ms: u64,
    pub connect_timeout_ms: u64,
    pub read_timeout_ms: u64,
    pub max_retries: u32,
    pub max_retry_after_ms: u64,
    pub max_in_flight: usize,
    pub max_response_bytes: usize,
    pub quote_errors: bool,
    pub worker_threads: usize,
    pub callback_threads: usize,
    pub flush_at_exit_ms: u64,

    pub metering_timeout_ms: u64,
    pub metering_max_retries: u32,
    pub metering_linger_ms: u64,
    pub metering_workers: usize,
    pub metering_queue_size: usize,
    pub metering_queue_bytes: usize,
    /// `None`: the default place. `Some("")`: no spool.
    pub spool_dir: Option<String>,
    pub spool_max_bytes: u64,
    pub spool_max_age_s: u64,
    pub spool_sync: SpoolSync,

    pub otlp: bool,
    /// For all signals: the path for traces is put behind it.
    pub otlp_endpoint: String,
    pub otlp_traces_endpoint: Option<String>,
    pub otlp_headers: Vec<(String, Secret)>,
    pub otlp_protocol: OtlpProtocol,
    pub otlp_gzip: bool,
    pub otlp_timeout_ms: u64,
    pub otlp_service_name: Option<String>,
    pub otlp_resource_attributes: Vec<(String, String)>,
    pub otlp_queue_size: usize,
    pub otlp_queue_bytes: usize,
    pub otlp_batch_size: usize,
    pub otlp_delay_ms: u64,
    /// Older names beside those that were renamed.
    pub otlp_both_names: bool,
    pub otlp_dropin: bool,
    pub otlp_content: bool,
    pub otel_sdk_disabled: bool,

    /// `DEBUG` when `debug` is on.
    pub log_level: Level,
    pub debug: bool,
    pub print_summary: PrintSummary,

    /// Fields of the usage record by their JSON keys, only those that are set, unchecked.
    pub record_fields: Vec<(&'static str, String)>,

    /// What is malformed in the environment, and refuses the calls that it would steer.
    refused: Vec<(Steers, String)>,

    shown: Shown,
}

/// The settings as people may see them. Follows from the other fields, so comparisons pass over it.
#[derive(Clone, Default)]
struct Shown(Map<String, Json>);

impl PartialEq for Shown {
    fn eq(&self, _: &Shown) -> bool {
        true
    }
}

impl Settings {
    /// `config`: the JSON object given to `revenium_init()`. `env`: how to look up a variable of the environment.
    ///
    /// Trouble in the configuration is an error. Trouble in the environment never keeps a program from running: the
    /// default is taken, and the lines that come back beside the settings say so. Only what would send prompts or keys
    /// another way than somebody wanted has no default: see [`Settings::refusal`].
    pub fn load(config: Option<&str>, env: Environment<'_>) -> Result<(Settings, Vec<String>)> {
        let config = config.map(parse::config).transpose()?.unwrap_or_default();
        if let Some(unknown) = config.keys().find(|key| !TABLE.iter().any(|setting| setting.key == **key)) {
            let hint = table::closest_key(unknown).map(|key| format!("; did you mean {key}?")).unwrap_or_default();
            return Err(Error::new(Code::Config, redact(&format!("there is no setting {unknown:?}{hint}"))));
        }
        let mut loader = Loader { config, env, file: HashMap::new(), settings: Settings::default(), warnings: vec![] };
        for setting in TABLE {
            loader.read(setting)?;
            if setting.key == "env_file" {
                loader.read_env_file(setting)?;
            }
        }
        Ok(loader.finish())
    }

    /// The key to meter with. One that was missing at the start is looked for again.
    pub fn metering_key(&self, env: Environment<'_>) -> Option<Secret> {
        self.metering_api_key.or_from(env, "REVENIUM_METERING_API_KEY", Secret::metering_key)
    }

    /// The key for Revenium's platform: one of its own, else the metering key.
    pub fn platform_key(&self, env: Environment<'_>) -> Option<Secret> {
        let own = self.write_api_key.or_from(env, "REVENIUM_WRITE_API_KEY", Secret::metering_key);
        own.or_else(|| self.metering_key(env))
    }

    /// What to call Anthropic with. A key wins over a token; what was missing at the start is looked for again.
    pub fn anthropic_credential(&self, env: Environment<'_>) -> Option<Credential> {
        let key = self.anthropic_api_key.or_from(env, "ANTHROPIC_API_KEY", Secret::new).map(Credential::ApiKey);
        let token = || self.anthropic_auth_token.or_from(env, "ANTHROPIC_AUTH_TOKEN", Secret::new);
        key.or_else(|| token().map(Credential::AuthToken))
    }

    /// Where the spool is; `None`: there shall be none, or there is no home to put it in.
    pub fn spool_directory(&self, env: Environment<'_>) -> Option<PathBuf> {
        if let Some(configured) = &self.spool_dir {
            return parse::some(configured).map(PathBuf::from);
        }
        os::state_directory(env).map(|state| state.join("revenium"))
    }

    /// Why a call to `provider` must not be made, as a sentence. `has_credential`: the call brings its own.
    pub fn refusal(&self, provider: Provider, has_credential: bool) -> Option<&str> {
        let concerns = |steers| match steers {
            Steers::Every => true,
            Steers::Only(steered) => provider == steered,
            Steers::WithoutCredential => !has_credential,
        };
        self.refused.iter().find(|(steers, _)| concerns(*steers)).map(|(_, text)| text.as_str())
    }

    /// Every setting by its JSON key as it was read, for people: a secret shows as whether it is set, addresses and
    /// the like are redacted, null is unset.
    pub fn in_force(&self) -> &Map<String, Json> {
        &self.shown.0
    }

    /// Take `value` if it could be read and is in range.
    fn take(&mut self, setting: &Setting, value: Option<Value>) -> bool {
        let Some(value) = value else { return false };
        let taken = match (&setting.kind, &value) {
            // "None" where there must be something is the default, which is there already.
            (_, Value::Text(text)) if text.is_empty() && !setting.default.is_empty() => return true,
            (Kind::Number { range, set }, Value::Number(number)) if range.contains(number) => {
                set(self, *number);
                true
            }
            (Kind::Flag { set }, Value::Flag(flag)) => {
                set(self, *flag);
                true
            }
            (Kind::Text { set, .. } | Kind::Structure { set, .. }, Value::Text(text)) => set(self, text),
            (Kind::RecordField, Value::Text(text)) => {
                self.record_fields.extend(parse::some(text).map(|text| (setting.key, text)));
                true
            }
            _ => false,
        };
        if taken {
            self.shown.0.insert(setting.key.into(), setting.show(&value));
        }
        taken
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.shown.0).finish()
    }
}

/// A variable of the environment by its name.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Key {
    /// "" is the wish to have none.
    fn take(&mut self, text: &str, parse: fn(&str) -> Result<Secret>) -> bool {
        let key = if text.is_empty() { Ok(Key::Off) } else { parse(text).map(Key::Set) };
        key.map(|key| *self = key).is_ok()
    }

    fn or_from(&self, env: Environment<'_>, name: &str, parse: fn(&str) -> Result<Secret>) -> Option<Secret> {
        match self {
            Key::Set(secret) => Some(secret.clone()),
            Key::Off => None,
            Key::Unset => parse(&env(name)?).ok(),
        }
    }
}

/// Reads one setting after the other.
struct Loader<'a> {
    config: BTreeMap<String, Box<RawValue>>,
    env: Environment<'a>,
    /// The variables of the `.env` file.
    file: HashMap<String, String>,
    settings: Settings,
    warnings: Vec<String>,
}

impl Loader<'_> {
    fn read(&mut self, setting: &Setting) -> Result<()> {
        self.settings.shown.0.insert(setting.key.into(), if setting.secret { Json::Bool(false) } else { Json::Null });
        if !setting.default.is_empty() {
            let default = Value::from_environment(&setting.kind, "", setting.default);
            self.settings.take(setting, default);
        }
        if let Some(raw) = self.config.get(setting.key) {
            let value = Value::from_config(&setting.kind, raw);
            if !self.settings.take(setting, value) {
                return Err(Error::new(Code::Config, format!("{} must be {}", setting.key, setting.allowed())));
            }
        } else if let Some((name, text)) = self.find_in_environment(setting) {
            let value = Value::from_environment(&setting.kind, &name, &text);
            if !self.settings.take(setting, value) {
                self.complain(setting, &name, &format!("it must be {}", setting.allowed()));
            }
        }
        Ok(())
    }

    /// Say what is wrong with the variable `name`.
    fn complain(&mut self, setting: &Setting, name: &str, why: &str) {
        match setting.steers {
            None => self.warnings.push(format!("{name} is ignored: {why}")),
            Some(steers) => {
                let text = format!("{name} is malformed: {why}. Nothing is sent before it is mended or unset.");
                self.warnings.push(text.clone());
                self.settings.refused.push((steers, text));
            }
        }
    }

    /// The first variable of `setting` that is not blank.
    fn find_in_environment(&self, setting: &Setting) -> Option<(String, String)> {
        let trimmed = |text: String| parse::some(text.trim());
        setting.env_names().into_iter().find_map(|name| {
            let text = (self.env)(&name).and_then(trimmed);
            let text = text.or_else(|| self.file.get(&name).cloned().and_then(trimmed));
            text.map(|text| (name, text))
        })
    }

    fn read_env_file(&mut self, setting: &Setting) -> Result<()> {
        let Some(path) = &self.settings.env_file else { return Ok(()) };
        match parse::env_file(path) {
            Ok(variables) => self.file = variables,
            Err(why) if self.config.contains_key("env_file") => {
                return Err(Error::new(Code::Config, format!("env_file: {why}")));
            }
            Err(why) => self.complain(setting, "REVENIUM_ENV_FILE", &why),
        }
        Ok(())
    }

    /// What one setting means for another.
    fn finish(mut self) -> (Settings, Vec<String>) {
        let settings = &mut self.settings;
        if settings.debug {
            settings.log_level = Level::Debug;
        }
        settings.shown.0.insert("log_level".into(), settings.log_level.name().into());

        if !settings.otlp {
            // Those are set for others then.
            self.warnings.retain(|warning| !warning.starts_with("OTEL_"));
        }
        let configured = |key| self.config.contains_key(key);
        let own = |key, name| configured(key) || (self.env)(name).is_some() || self.file.contains_key(name);
        if own("otlp_endpoint", "REVENIUM_OTLP_ENDPOINT")
            && !own("otlp_traces_endpoint", "REVENIUM_OTLP_TRACES_ENDPOINT")
        {
            // What is meant for this library wins over what is meant for all.
            settings.otlp_traces_endpoint = None;
            settings.shown.0.insert("otlp_traces_endpoint".into(), Json::Null);
        }
        if let Key::Set(_) = settings.anthropic_auth_token {
            if configured("anthropic_auth_token") && !configured("anthropic_api_key") {
                // Explicit: a key in the environment, now or later, does not win over it.
                settings.anthropic_api_key = Key::Off;
                settings.shown.0.insert("anthropic_api_key".into(), Json::Bool(false));
            } else if let Key::Set(_) = settings.anthropic_api_key {
                self.warnings.push("the Anthropic auth token is ignored: there is an API key too, which wins".into());
            }
        }
        (self.settings, self.warnings)
    }
}

#[cfg(test)]
mod tests;
