//! What is alive of AWS: nothing before the first call through Bedrock, then a client for each region and endpoint.

use super::connector::Connector;
use super::credentials::aws_credentials;
use super::process::Process;
use crate::common::log;
use crate::settings::{Settings, environment};
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use aws_sdk_bedrockruntime::Client;
use aws_sdk_bedrockruntime::config::{IdentityCache, StalledStreamProtectionConfig};
use aws_smithy_async::time::TimeSource;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// Where Revenium's other middlewares call when nobody names a region.
const DEFAULT_REGION: &str = "us-east-1";
/// The longest that loading credentials may take: sign-on and role services answer in less.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(10);
/// Outside EC2 nothing answers; inside, milliseconds are usual.
const INSTANCE_LIMIT: Duration = Duration::from_secs(1);
/// As many clients are kept: regions and endpoints may come from requests, and each client is a cache of its own.
const MAX_CLIENTS: usize = 64;
/// How long it is remembered that there are no credentials.
const FAILURE_HOLDS: Duration = Duration::from_secs(5);

/// Whom a call goes to, as far as it says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Target {
    /// `None`: the profile's, else the default.
    pub region: Option<String>,
    /// `None`: as the AWS environment says, else the region's own.
    pub endpoint: Option<String>,
    /// Whether the instance may be asked for credentials. It takes the network to find out that there is none.
    pub ask_instance: bool,
}

/// A client with the region it calls.
pub struct Regional {
    pub client: Client,
    pub region: String,
    failed: Failed,
}

/// When the last look for credentials failed, and why.
type Failed = Arc<Mutex<Option<(Instant, Missing)>>>;

/// AWS's clock, as its refusals tell it: this machine's may be wrong, and a signature holds for minutes only.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicI64>);

/// AWS takes signatures that are five minutes off; less than that is not the clock's fault.
const TOLERATED: i64 = 4 * 60;

impl Clock {
    /// Seconds that AWS is ahead of this machine.
    pub fn ahead(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// AWS says what time it is. True: that is news.
    pub fn learn(&self, theirs: SystemTime) -> bool {
        let ours = SystemTime::now();
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(0);
        let ahead = theirs.duration_since(ours).map_or_else(|before| -seconds(before.duration()), seconds);
        let news = (ahead - self.ahead()).abs() > TOLERATED;
        if news {
            self.0.store(ahead, Ordering::Relaxed);
        }
        news
    }
}

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        let (now, ahead) = (SystemTime::now(), self.ahead());
        let span = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { now.checked_sub(span) } else { now.checked_add(span) }.unwrap_or(now)
    }
}

#[derive(Default)]
pub struct Aws {
    pub clock: Clock,
    profile_region: OnceCell<Option<Region>>,
    clients: Mutex<Clients>,
}

#[derive(Default)]
struct Clients {
    known: HashMap<Target, Known>,
    /// Times that one was asked for.
    asked: u64,
}

#[derive(Default)]
struct Known {
    client: Arc<OnceCell<Regional>>,
    last_asked: u64,
}

impl Clients {
    /// The client for `target`. For a new one that goes which nobody asked for the longest.
    fn entry(&mut self, target: &Target) -> &mut Arc<OnceCell<Regional>> {
        self.asked += 1;
        if self.known.len() >= MAX_CLIENTS && !self.known.contains_key(target) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.last_asked);
            if let Some(oldest) = oldest.map(|(target, _)| target.clone()) {
                self.known.remove(&oldest);
            }
        }
        let known = self.known.entry(target.clone()).or_default();
        known.last_asked = self.asked;
        &mut known.client
    }
}

impl Aws {
    /// The client for `target`, made by the first who asks. One without credentials is made anew after a while: it
    /// would never look at the profile files again.
    pub async fn client(
        &self,
        target: &Target,
        http: &reqwest::Client,
        settings: &Settings,
    ) -> Arc<OnceCell<Regional>> {
        let cell = {
            let mut clients = self.clients.lock();
            let cell = clients.entry(target);
            let failed = cell.get().and_then(|regional| *regional.failed.lock());
            if failed.is_some_and(|(at, _)| at.elapsed() >= FAILURE_HOLDS) {
                *cell = Arc::default();
            }
            cell.clone()
        };
        cell.get_or_init(|| self.connect(target, http, settings)).await;
        cell
    }

    /// AWS refused the credentials that this client holds: the next call shall load what there is by then.
    pub fn forget(&self, target: &Target, client: &Arc<OnceCell<Regional>>) {
        let mut clients = self.clients.lock();
        if clients.known.get(target).is_some_and(|known| Arc::ptr_eq(&known.client, client)) {
            clients.known.remove(target);
        }
    }

    async fn connect(&self, target: &Target, http: &reqwest::Client, settings: &Settings) -> Regional {
        let region = match &target.region {
            Some(region) => Region::new(region.clone()),
            None => self.profile_region().await.unwrap_or(Region::from_static(DEFAULT_REGION)),
        };
        let connector = Connector::new(http.clone(), settings.max_response_bytes);
        let config = ProviderConfig::without_region()
            .with_http_client(connector.clone())
            .with_region(Some(region.clone()))
            .with_behavior_version(Some(BehaviorVersion::v2026_01_12()));
        let failed = Failed::default();
        let process = Process { http: connector.clone(), region: region.clone(), limit: CREDENTIALS_LIMIT };
        let credentials = Credentials { chain: chain(&config, process, target.ask_instance), failed: failed.clone() };
        // Retries, silences and stalls are judged where those of direct calls are.
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(connector)
            .region(region.clone())
            .time_source(self.clock.clone())
            .credentials_provider(credentials)
            .identity_cache(IdentityCache::lazy().load_timeout(CREDENTIALS_LIMIT * 2).build())
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(endpoint) = &target.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let client = Client::new(&loader.load().await);
        log::debug!("calling AWS Bedrock in {region}");
        Regional { client, region: region.to_string(), failed }
    }

    async fn profile_region(&self) -> Option<Region> {
        self.profile_region.get_or_init(|| async { ProfileFileRegionProvider::new().region().await }).await.clone()
    }
}

/// AWS's own order. The standard chain would ask the instance in any case.
fn chain(config: &ProviderConfig, process: Process, ask_instance: bool) -> CredentialsProviderChain {
    let chain = CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
        .or_else("Process", process)
        .or_else("Profile", ProfileFileCredentialsProvider::builder().configure(config).build())
        .or_else("WebIdentityToken", WebIdentityTokenCredentialsProvider::builder().configure(config).build())
        .or_else("EcsContainer", EcsCredentialsProvider::builder().configure(config).build());
    if !ask_instance {
        return chain;
    }
    let instance = ImdsCredentialsProvider::builder().configure(config).build();
    chain.or_else("Ec2InstanceMetadata", Instance(instance))
}

/// Instance metadata with a limit: where nothing answers, nothing is there.
#[derive(Debug)]
struct Instance(ImdsCredentialsProvider);

impl ProvideCredentials for Instance {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let asked = timeout(INSTANCE_LIMIT, self.0.provide_credentials()).await;
            asked.unwrap_or_else(|_| Err(CredentialsError::not_loaded("instance metadata did not answer")))
        })
    }
}

/// Credentials with a limit for loading them, and a memory of having found none.
#[derive(Debug)]
struct Credentials {
    chain: CredentialsProviderChain,
    failed: Failed,
}

/// Why there are no credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nothing is configured.
    NotFound,
    /// Something is, and does not work.
    Broken,
    Slow,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Missing::NotFound => {
                "No AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or \
                 AWS_BEARER_TOKEN_BEDROCK."
            }
            Missing::Broken => {
                "The AWS credentials that are configured cannot be loaded: check AWS_PROFILE and its role, sign-on \
                 (`aws sso login`) or process, or set AWS_BEARER_TOKEN_BEDROCK."
            }
            Missing::Slow => {
                "Loading the AWS credentials took too long: check that their source answers, or set \
                 AWS_BEARER_TOKEN_BEDROCK."
            }
        })
    }
}

impl std::error::Error for Missing {}

impl Credentials {
    async fn load(&self) -> provider::Result {
        let failed = *self.failed.lock();
        if let Some((at, why)) = failed
            && at.elapsed() < FAILURE_HOLDS
        {
            return Err(CredentialsError::provider_error(why));
        }
        let why = match timeout(CREDENTIALS_LIMIT, self.chain.provide_credentials()).await {
            Ok(Ok(credentials)) => {
                *self.failed.lock() = None;
                return Ok(credentials);
            }
            // A profile with a mistake counts for AWS as none.
            Ok(Err(CredentialsError::CredentialsNotLoaded(_))) if aws_credentials(&environment).is_none() => {
                Missing::NotFound
            }
            Ok(Err(_)) => Missing::Broken,
            Err(_) => Missing::Slow,
        };
        *self.failed.lock() = Some((Instant::now(), why));
        Err(CredentialsError::provider_error(why))
    }
}

impl ProvideCredentials for Credentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}
