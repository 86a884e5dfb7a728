use crate::error::Result;
use crate::log::Level;
use crate::request::ProviderChoice;
use std::time::Duration;
#[derive(PartialEq, Clone)]
pub struct Secret(String);
impl Secret { pub fn expose(&self) -> &str { &self.0 } }
pub enum Credential { ApiKey(Secret), AuthToken(Secret) }
#[derive(PartialEq)]
pub enum AuthHeader { XApiKey, Bearer }
#[derive(PartialEq)]
pub struct Settings {
    pub anthropic_base_url: String, pub metering_base_url: String, pub record_fields: Vec<(&'static str, String)>, pub metadata: String,
    pub callback_threads: usize, pub worker_threads: usize, pub connect_timeout: Duration, pub read_timeout: Duration, pub timeout: Option<Duration>,
    pub max_retries: u32, pub max_retry_after: Duration, pub max_in_flight: usize, pub provider: ProviderChoice, pub selective_metering: bool,
    pub flush_at_exit_ms: u64, pub log_level: Level, pub middleware_source: String, pub max_response_bytes: usize,
    pub anthropic_version: String, pub anthropic_beta: Option<String>, pub anthropic_custom_headers: Vec<(String, String)>, pub auth_header: AuthHeader, pub metering_workers: usize, pub metering_timeout: Duration, pub metering_max_retries: u32, pub metering_queue_size: usize, pub metering_queue_bytes: usize,
}
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;
impl Settings {
    pub fn load(_c: Option<&str>, _e: Env) -> Result<(Settings, Vec<String>)> { todo!() }
    pub fn metering_key(&self, _e: Env) -> Option<Secret> { None }
    pub fn anthropic_credential(&self, _e: Env) -> Option<Credential> { None }
    pub fn in_force(&self) -> serde_json::Value { todo!() }
}
