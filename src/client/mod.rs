//! One run of the library: the runtime, the calls under way, metering; how a call begins and how all of them end.

pub mod accounts;
pub mod handles;
pub mod ledger;
pub mod process;
pub mod runtime;
pub mod status;
pub mod summary;

use crate::call::{self, Call, Job, Unfinished};
use crate::client::accounts::{Account, Accounts};
use crate::client::handles::Object;
use crate::client::ledger::Ledger;
use crate::client::process::{closed, core, flush_at_exit};
use crate::client::runtime::Runtime;
use crate::common::error::{Code, Error, Result};
use crate::common::http;
use crate::common::log;
use crate::common::sync;
use crate::completion::Sink;
use crate::completion::callbacks::Dispatchers;
use crate::delivery::journal::{self, Folder, fingerprint};
use crate::delivery::{self, Delivery, Destination, Endpoint, Left, Outgoing, Pushing};
use crate::messages::request::{Choices, Request, Streaming};
use crate::meter::capture::Capture;
use crate::meter::idempotency::CallKey;
use crate::meter::scope::Scope;
use crate::meter::{Metadata, Ratios, RecentIds, Record, Service};
use crate::platform::budget::{Budgets, Caller};
use crate::platform::{self, Platform};
use crate::provider::bedrock::{self, Bedrock};
use crate::provider::{Prepared, Provider, anthropic, choice};
use crate::settings::{Settings, SpoolSync, environment};
use crate::telemetry::{self, Telemetry};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How long calls that shutdown cancels may take beyond its timeout to make their records.
const SETTLE: Duration = Duration::from_millis(75);

/// One run of the library, from start to shutdown.
pub struct Engine {
    pub settings: Arc<Settings>,
    pub dispatchers: Dispatchers,
    pub counters: Counters,
    /// Starts that want a shutdown each.
    pub inits: AtomicU32,
    messages_url: reqwest::Url,
    anthropic: OnceCell<anthropic::Endpoint>,
    bedrock: Arc<Bedrock>,
    metering_url: reqwest::Url,
    platform: Arc<Platform>,
    pub budgets: Arc<Budgets>,
    summaries: summary::Waiting,
    /// Environment and settings: under every scope and call.
    base_metadata: Metadata,
    http: OnceCell<http::Clients>,
    handle: OnceCell<Handle>,
    runtime: Mutex<Option<Runtime>>,
    /// There is one as soon as there is a key.
    delivery: OnceCell<Arc<Delivery>>,
    /// Of other accounts, that scopes and calls name.
    accounts: Accounts,
    /// Where the settings ask for spans.
    telemetry: Option<Arc<Telemetry>>,
    live: sync::Mutex<Live>,
    all_reported: sync::Condvar,
    skipped_before: AtomicBool,
    /// Answers of Message Batches that were recorded.
    ledger: OnceCell<Ledger>,
    /// Transaction ids of this run's records.
    pub recent_ids: RecentIds,
    pub ratios: Ratios,
}

/// The calls that have not reported their result yet.
#[derive(Default)]
struct Live {
    calls: HashMap<u64, Arc<Call>>,
    closing: bool,
}

#[derive(Default)]
pub struct Counters {
    pub in_flight: AtomicI64,
    pub started: AtomicI64,
    pub failed: AtomicI64,
    /// Calls that something else made.
    pub observed: AtomicI64,
}

/// A call to begin, as the four functions of the ABI describe it.
pub struct Begin<'a> {
    pub request: &'a str,
    pub streaming: Streaming,
    pub scope: Option<Arc<Scope>>,
    pub sink: Sink,
    /// The caller takes the call's handle.
    pub owned: bool,
}

/// What a call has to do with metering, judged when it starts.
pub struct Metering {
    /// Environment, settings, scope and call, merged.
    pub metadata: Metadata,
    /// Where the records go. `None`: it leaves none.
    pub account: Option<Account>,
    pub capture: Capture,
    pub key: Option<CallKey>,
}

/// Whether two URLs lead to the same scheme, host and port.
fn same_origin(one: &str, other: &str) -> bool {
    let origin =
        |url: &str| reqwest::Url::parse(url.trim()).ok().map(|url| url.origin()).filter(|origin| origin.is_tuple());
    origin(one).is_some_and(|one| origin(other) == Some(one))
}

impl Engine {
    pub fn new(settings: Arc<Settings>) -> Result<Arc<Engine>> {
        let messages_url = anthropic::messages_url(&settings.anthropic_base_url)?;
        let (metering_url, warning) = delivery::completions_url(&settings.metering_base_url)?;
        if let Some(warning) = warning {
            log::warn!("{warning}");
        }
        let platform = Arc::new(Platform::new(settings.clone(), &metering_url)?);
        let telemetry = Telemetry::new(&settings, settings.metering_key(&environment).is_some())?;
        let fields = settings.record_fields.iter().map(|(name, value)| (*name, value.as_str()));
        let base_metadata = Metadata::from_pairs(fields).overlay(&Metadata::from_json(&settings.metadata));
        Ok(Arc::new(Engine {
            dispatchers: Dispatchers::new(settings.callback_threads),
            counters: Counters::default(),
            inits: AtomicU32::new(0),
            messages_url,
            anthropic: OnceCell::new(),
            bedrock: Arc::new(Bedrock::new(settings.clone())),
            metering_url,
            summaries: summary::Waiting::default(),
            budgets: Arc::new(Budgets::new(settings.clone(), platform.clone())),
            platform,
            base_metadata,
            http: OnceCell::new(),
            handle: OnceCell::new(),
            runtime: Mutex::new(None),
            delivery: OnceCell::new(),
            accounts: Accounts::default(),
            telemetry,
            live: sync::Mutex::default(),
            all_reported: sync::Condvar::new(),
            skipped_before: AtomicBool::new(false),
            ledger: OnceCell::new(),
            recent_ids: RecentIds::default(),
            ratios: Ratios::default(),
            settings,
        }))
    }

    fn clients(&self) -> Result<&http::Clients> {
        self.http
            .get_or_try_init(|| http::clients(Duration::from_millis(self.settings.connect_timeout_ms), &environment))
    }

    /// For calls to `provider`.
    pub fn http(&self, provider: Provider) -> Result<&reqwest::Client> {
        self.clients().map(|clients| match provider {
            Provider::Anthropic => &clients.direct,
            Provider::Bedrock => &clients.aws,
        })
    }

    /// The runtime starts with the first call, never before: servers that fork after loading stay clean.
    fn runtime(&self) -> Result<&Handle> {
        self.handle.get_or_try_init(|| {
            let runtime = Runtime::start(self.settings.worker_threads)?;
            let handle = runtime.handle().clone();
            *self.runtime.lock() = Some(runtime);
            flush_at_exit();
            Ok(handle)
        })
    }

    /// Begin a call. What fails here starts none: nothing is reported and nothing metered.
    pub fn begin(self: &Arc<Self>, begin: Begin<'_>) -> Result<Arc<Call>> {
        let scope = begin.scope.unwrap_or_default();
        let mut request = Request::parse_within(begin.request, begin.streaming, &scope.choices)?;
        self.mistrust(&mut request, &scope)?;
        let span = self.begin_span(&request, &scope);
        if let Some(trace) = span.as_ref().map(|span| span.context.clone()).or(request.choices.trace.clone()) {
            request.choices.send_trace(&trace);
        }
        if let Sink::Callbacks(_) = &begin.sink {
            self.dispatchers.start()?;
        }
        let prepared = self.prepare(&request)?;
        let metering = self.metering(&request, &scope, prepared.region())?;
        let metered = metering.account.is_some();
        if self.budgets.is_on() {
            self.keep_rules()?;
            let told = metering.metadata.attribution();
            let provider = Service::from(prepared.provider()).label();
            self.budgets.admit(&Caller::new(&request.facts.model, provider, &told))?;
        }
        let job = Job {
            prepared,
            metering,
            span,
            max_retries: request.choices.max_retries.unwrap_or(self.settings.max_retries),
            timeout: request.choices.timeout.or(self.default_timeout()),
            request,
        };
        if job.span.is_some() {
            self.start_export()?;
        }
        let call = self.admitted(begin.sink, begin.owned, metered)?;
        self.runtime()?.spawn(call::run(Unfinished { engine: self.clone(), call: call.clone() }, job));
        Ok(call)
    }

    /// Whether a call would be refused by a budget: JSON, or the refusal.
    pub fn check_budget(self: &Arc<Self>, request: &str, scope: Option<Arc<Scope>>) -> Result<Vec<u8>> {
        let scope = scope.unwrap_or_default();
        let request = Request::parse_within(request, Streaming::AsRequested, &scope.choices)?;
        if self.budgets.is_on() {
            self.keep_rules()?;
        }
        let provider = choice::choose(&self.settings, Some(&request.choices), &environment).provider;
        let mut metadata = self.base_metadata.overlay(&scope.metadata);
        if let Some(over) = &request.metadata {
            metadata = metadata.overlay(over);
        }
        self.budgets.check(&Caller::new(&request.facts.model, Service::from(provider).label(), &metadata.attribution()))
    }

    fn keep_rules(&self) -> Result<()> {
        self.budgets.keep_fetching(self.runtime()?, &self.clients()?.metering);
        Ok(())
    }

    /// Ask Revenium's platform. What fails here starts no call, and nothing is sent.
    pub fn begin_operation(
        self: &Arc<Self>,
        operation: &str,
        params: Option<&str>,
        sink: Sink,
        owned: bool,
    ) -> Result<Arc<Call>> {
        let prepared = self.platform.prepare(operation, params, &environment)?;
        let (runtime, http) = (self.runtime()?, self.clients()?.metering.clone());
        let call = self.admitted(sink, owned, false)?;
        let (platform, timeout) = (self.platform.clone(), prepared.timeout().or(self.default_timeout()));
        let work = async move {
            let platform::Answer { result, attempts } = platform.run(&http, prepared).await;
            call::Other { result, attempts }
        };
        let unfinished = Unfinished { engine: self.clone(), call: call.clone() };
        runtime.spawn(call::run_other(unfinished, timeout, work));
        Ok(call)
    }

    /// A call that is under way from now on.
    fn admitted(self: &Arc<Self>, sink: Sink, owned: bool, metered: bool) -> Result<Arc<Call>> {
        let call = Arc::new(Call::new(self, sink, owned, metered));
        self.admit(&call)?;
        if call.sink.is_closed() {
            // Its queue was released between the look-up of its handle and the line before the last.
            call.cancel();
        }
        core().registry.insert_as(call.number, Object::Call(call.clone()));
        Ok(call)
    }

    /// What a call of `request` has to do with metering. `region`: that is called, where it is known.
    pub fn metering(&self, request: &Request, scope: &Scope, region: Option<&str>) -> Result<Metering> {
        let choices = &request.choices;
        let metered = self.has_key(choices) && self.wants_record(request, scope);
        let account = if metered { self.account(choices)? } else { None };
        let mut metadata = match region {
            // The environment tells of another region than the one that is called.
            Some(region) if self.settings.aws_region.as_deref() != Some(region) => {
                self.base_metadata.overlay(&Metadata::from_pairs([("region", region)])).overlay(&scope.metadata)
            }
            _ => self.base_metadata.overlay(&scope.metadata),
        };
        if let Some(over) = &request.metadata {
            metadata = metadata.overlay(over);
        }
        let settings = &self.settings;
        if let Some(trace) = choices.trace.as_ref().filter(|_| account.is_some() && settings.trace_id_from_context) {
            // Where nobody names another, the trace joins the record with what else was traced.
            metadata = Metadata::from_pairs([("traceId", &*trace.trace_id.to_string())]).overlay(&metadata);
        }
        let content = self.telemetry.is_some() && settings.otlp_content;
        Ok(Metering {
            metadata,
            capture: Capture {
                // Where neither a record nor a span has them, nobody reads them.
                prompts: (account.is_some() || content) && choices.capture_prompts.unwrap_or(settings.capture_prompts),
                error_messages: choices.capture_error_messages.unwrap_or(settings.capture_error_messages),
                blocks: content,
                limit: choices.max_prompt_size.unwrap_or(settings.max_prompt_size),
            },
            key: account.as_ref().and(choices.idempotency_key.as_ref()).map(|key| key.next()),
            account,
        })
    }

    /// Whose records they are. `None`: without a way to Revenium the call goes on unmetered.
    fn account(&self, choices: &Choices) -> Result<Option<Account>> {
        if choices.metering_api_key.is_none() && choices.metering_base_url.is_none() {
            return Ok(self.delivery().ok().cloned().map(Account::new));
        }
        let url = match &choices.metering_base_url {
            Some(base) => delivery::completions_url(base)?.0,
            None => self.metering_url.clone(),
        };
        let own = || Some(self.settings.metering_key(&environment)?.expose().to_owned());
        let Some(key) = choices.metering_api_key.clone().or_else(own) else { return Ok(None) };
        let destination = Destination { url, key };
        if self.destination().is_ok_and(|ours| *ours == destination) {
            return Ok(self.delivery().ok().cloned().map(Account::new));
        }
        self.accounts.get(destination, |destination| self.new_delivery(Arc::new(destination))).map(Some)
    }

    /// A body is data, which hosts forward as their users wrote it: it sends no secret of the process anywhere.
    pub fn mistrust(&self, request: &mut Request, scope: &Scope) -> Result<()> {
        let Some(own) = &request.own_choices else { return Ok(()) };
        let refused = |text: &str| Err(Error::new(Code::Config, text));
        if !self.settings.body_choices {
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
        let host_named = [Some(&self.settings.anthropic_base_url), scope.choices.base_url.as_ref()];
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

    /// Whether somebody has started it on purpose, or by a call.
    pub fn is_used(&self) -> bool {
        let counted = |counter: &AtomicI64| counter.load(Ordering::SeqCst) > 0;
        self.inits.load(Ordering::SeqCst) > 0 || counted(&self.counters.started) || counted(&self.counters.observed)
    }

    fn default_timeout(&self) -> Option<Duration> {
        let ms = self.settings.timeout_ms;
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    /// How long a provider may say nothing.
    pub fn silence(&self) -> Duration {
        Duration::from_millis(self.settings.read_timeout_ms)
    }

    fn prepare(&self, request: &Request) -> Result<Prepared> {
        let choices = &request.choices;
        let choice = choice::choose(&self.settings, Some(choices), &environment);
        log::debug!("provider {}: {}", choice.provider.name(), choice.reason);
        if let Some(text) = self.settings.refusal(choice.provider, choices.has_credential()) {
            return Err(Error::new(Code::Config, text));
        }
        // Made here, so that a proxy that cannot be read refuses the call instead of being passed over.
        self.clients()?;
        if choice.provider == Provider::Bedrock {
            if choices.foreign {
                let text = "A request cannot name an endpoint for AWS Bedrock: its credentials are the process's. Set \
                            the URL in the settings or in a scope.";
                return Err(Error::new(Code::Config, text));
            }
            return bedrock::Prepared::new(&self.bedrock, request, choice.outright, &environment)
                .map(Prepared::Bedrock);
        }
        self.prepare_anthropic(choices.base_url.as_deref(), request).map(Prepared::Anthropic)
    }

    fn prepare_anthropic(&self, base: Option<&str>, request: &Request) -> Result<anthropic::Prepared> {
        let endpoint =
            self.anthropic.get_or_try_init(|| anthropic::Endpoint::new(&self.settings, self.messages_url.clone()))?;
        let foreign = request.choices.foreign;
        let credential = if foreign { None } else { self.settings.anthropic_credential(&environment) };
        anthropic::Prepared::new(endpoint, base, &self.settings, credential, request)
    }

    /// The same request for Anthropic itself, after Bedrock could not answer it. `None`: it cannot or must not go there.
    pub fn prepare_directly(&self, request: &Request) -> Option<Prepared> {
        if !self.settings.bedrock_fallback {
            return None;
        }
        let direct = bedrock::for_direct(&request.body)?;
        let at_aws = choice::is_aws(&self.settings.anthropic_base_url);
        // Without a credential this fails, and there is no other way.
        let prepared = self.prepare_anthropic(at_aws.then_some(anthropic::DEFAULT_BASE_URL), request).ok()?;
        Some(Prepared::Anthropic(prepared.with(direct.body, &direct.betas)))
    }

    /// Whether this call is one to be metered, if there is a key, judged when it starts.
    fn wants_record(&self, request: &Request, scope: &Scope) -> bool {
        if request.choices.meter == Some(false) {
            return false;
        }
        let marked = scope.meter || request.choices.meter == Some(true);
        if self.settings.selective_metering && !marked {
            if self.has_key(&request.choices) && !self.skipped_before.swap(true, Ordering::Relaxed) {
                log::info!("selective metering is on: calls outside a metered scope are not metered");
            }
            return false;
        }
        true
    }

    /// The span of a call that leaves a record. An SDK that calls through us makes one of its own: one for each call is
    /// enough.
    pub fn begin_span(&self, request: &Request, scope: &Scope) -> Option<telemetry::Begun> {
        let telemetry = self.telemetry.as_ref().filter(|_| self.wants_record(request, scope))?;
        if request.choices.dropin == Some(true) && !self.settings.otlp_dropin {
            return None;
        }
        telemetry.begin(request.choices.trace.as_ref(), self.has_key(&request.choices))
    }

    /// A span has begun, and there must be somebody to export it.
    pub fn start_export(&self) -> Result<()> {
        if let Some(telemetry) = &self.telemetry {
            telemetry.start(self.runtime()?, &self.clients()?.metering);
        }
        Ok(())
    }

    /// There is one where the settings ask for it.
    pub fn telemetry(&self) -> Option<&Arc<Telemetry>> {
        self.telemetry.as_ref()
    }

    fn has_key(&self, choices: &Choices) -> bool {
        choices.metering_api_key.is_some() || self.has_metering_key()
    }

    pub fn has_metering_key(&self) -> bool {
        self.delivery.get().is_some() || self.settings.metering_key(&environment).is_some()
    }

    fn delivery(&self) -> Result<&Arc<Delivery>> {
        self.delivery.get_or_try_init(|| {
            let settings = &self.settings;
            if settings.spool_dir.is_none() && settings.spool_directory(&environment).is_none() {
                log::warn!(
                    "records are kept in memory only, and lost if the process ends before they are sent: there is \
                     neither HOME nor XDG_STATE_HOME; set spool_dir, to \"\" if that is wanted"
                );
            }
            self.new_delivery(self.destination()?)
        })
    }

    fn new_delivery(&self, destination: Arc<Destination>) -> Result<Arc<Delivery>> {
        let settings = &self.settings;
        let options = delivery::Options {
            workers: settings.metering_workers,
            attempt_timeout: Duration::from_millis(settings.metering_timeout_ms),
            max_retries: settings.metering_max_retries,
            queue_records: settings.metering_queue_size,
            queue_bytes: settings.metering_queue_bytes,
            max_age: Some(Duration::from_secs(settings.spool_max_age_s)),
            linger: Duration::from_millis(settings.metering_linger_ms),
            journal: settings.spool_directory(&environment).map(|directory| {
                let synced = settings.spool_sync == SpoolSync::Power;
                journal::Options::new(directory, settings.spool_max_bytes, synced)
            }),
            ..delivery::Options::default()
        };
        let delivery = Delivery::new(options, destination, Box::new(|report| core().tell_subscribers(report)));
        delivery.start(self.runtime()?, self.clients()?.metering.clone());
        Ok(delivery)
    }

    /// The process's own, and those of other accounts.
    fn deliveries(&self) -> impl Iterator<Item = Arc<Delivery>> {
        self.delivery.get().cloned().into_iter().chain(self.accounts.all())
    }

    fn destination(&self) -> Result<Arc<Destination>> {
        let key = self.settings.metering_key(&environment);
        let key = key.ok_or_else(|| Error::new(Code::Config, "No Revenium key."))?;
        Ok(Arc::new(Destination { url: self.metering_url.clone(), key: key.expose().to_owned() }))
    }

    /// Hand records over; [`Engine::delivered`] is the other half.
    pub fn deliver(&self, account: &Account, records: Vec<Record>) -> Pushing {
        account.delivery.begin_push(records.into_iter().map(outgoing))
    }

    /// Hand over the records of a call that somebody else made: they are safe when this returns.
    pub fn deliver_now(&self, account: &Account, records: Vec<Record>) {
        account.delivery.push(records.into_iter().map(outgoing));
    }

    /// The same for a tool event, which has a place of its own at Revenium.
    pub fn deliver_tool_event(&self, account: &Account, record: Record) {
        let event = Outgoing { endpoint: Endpoint::TOOL_EVENTS, ..outgoing(record) };
        account.delivery.push([event]);
    }

    pub fn ledger(&self) -> &Ledger {
        self.ledger.get_or_init(|| {
            let directory = self.settings.spool_directory(&environment);
            let account = self.destination().ok().map(|destination| fingerprint(&destination));
            Ledger::new(directory.zip(account).map(|(directory, account)| directory.join("batches").join(account)))
        })
    }

    /// Wait until the records are in the spool.
    pub async fn delivered(&self, account: &Account, pushing: Pushing) {
        account.delivery.finish_push(pushing).await;
    }

    pub fn delivery_counts(&self) -> delivery::Counts {
        let counts = self.deliveries().map(|delivery| delivery.counts());
        counts.reduce(accounts::together).unwrap_or_default()
    }

    pub fn spool_state(&self) -> Option<delivery::SpoolState> {
        self.delivery.get().and_then(|delivery| delivery.spool_state())
    }

    /// False: the deadline came first. Without a call before, it sends what earlier processes left in the spool.
    pub fn flush(&self, deadline: Instant) -> bool {
        if self.delivery.get().is_none() && self.has_leftovers() {
            // Where this fails there is nothing to wait for either.
            let _ = self.delivery();
        }
        let spans = self.telemetry.as_ref().map(|telemetry| (telemetry, telemetry.flush_begin()));
        // Each has until the same time, also behind one that took its time.
        let flushed = self.deliveries().filter(|delivery| !delivery.flush(deadline)).count() == 0;
        if let Some((telemetry, flush)) = spans {
            telemetry.flush_wait(&flush, deadline);
        }
        flushed
    }

    /// Whether there are files of this account and destination in the spool.
    fn has_leftovers(&self) -> bool {
        let Some(directory) = self.settings.spool_directory(&environment) else { return false };
        self.destination().is_ok_and(|destination| {
            Folder::new(&directory, &fingerprint(&destination)).segments().is_ok_and(|found| !found.is_empty())
        })
    }

    fn admit(&self, call: &Arc<Call>) -> Result<()> {
        let mut live = self.live.lock();
        if live.closing {
            return Err(closed());
        }
        let in_flight = self.counters.in_flight.load(Ordering::Relaxed);
        if in_flight >= self.settings.max_in_flight as i64 {
            let text = format!("{in_flight} calls are in flight, as many as max_in_flight allows.");
            return Err(Error::new(Code::Busy, text));
        }
        if !call.sink.has_room(self.settings.max_in_flight) {
            return Err(Error::new(Code::Busy, "Results of many calls lie unread in this queue: read it first."));
        }
        live.calls.insert(call.number, call.clone());
        self.counters.started.fetch_add(1, Ordering::Relaxed);
        self.counters.in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// A call has its outcome; its report follows.
    pub fn ended(&self, code: Code) {
        if code != Code::Ok {
            self.counters.failed.fetch_add(1, Ordering::Relaxed);
        }
        if self.counters.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 {
            // With the lock, so that nobody is between looking and waiting.
            drop(self.live.lock());
            self.all_reported.notify_all();
        }
    }

    /// A call's last report is out.
    pub fn reported(&self, call: &Call) {
        let mut live = self.live.lock();
        live.calls.remove(&call.number);
        if live.calls.is_empty() {
            self.all_reported.notify_all();
        }
    }

    /// Cancel the calls that `which` picks.
    pub fn cancel(&self, which: impl Fn(&Call) -> bool) {
        let calls: Vec<_> = self.live.lock().calls.values().filter(|call| which(call)).cloned().collect();
        for call in calls {
            call.cancel();
        }
    }

    /// End every call, flush, stop the threads.
    pub fn close(&self, deadline: Instant, exiting: bool) -> Result<()> {
        self.live.lock().closing = true;
        self.cancel(|_| true);
        let mut live = self.live.lock();
        let settled = deadline.max(Instant::now() + SETTLE);
        while !live.calls.is_empty() {
            // Reports may take as long as the host's callbacks; records do not, and there is no later for them.
            let until = if self.counters.in_flight.load(Ordering::SeqCst) > 0 { settled } else { deadline };
            let late;
            (live, late) = self.all_reported.wait_until(live, until);
            if late {
                break;
            }
        }
        let all_reported = live.calls.is_empty();
        drop(live);
        // What something else is still calling is metered as far as it came: there is no later for it either.
        for tap in core().registry.taps() {
            tap.abandon();
        }
        // Both at the same time, and the records first: spans cannot wait for a next run, but nobody is billed by them.
        let spans = self.telemetry.as_ref().map(|telemetry| (telemetry, telemetry.flush_begin()));
        let flush = |delivery: &Arc<Delivery>| match exiting {
            true => delivery.flush_and_leave(deadline),
            false => delivery.flush(deadline),
        };
        let deliveries: Vec<_> = self.deliveries().collect();
        for delivery in &deliveries {
            flush(delivery);
        }
        if let Some((telemetry, flush)) = spans {
            telemetry.flush_wait(&flush, deadline);
            telemetry.stop();
        }
        let left = deliveries.iter().map(|delivery| delivery.stop()).fold(Left::default(), |all, left| Left {
            lost: all.lost + left.lost,
            in_spool: all.in_spool + left.in_spool,
        });
        self.print_what_waits();
        // So that a tool that looks for leaks finds none. At an exit nobody looks, and the host's threads may be gone.
        let patience = if exiting { Instant::now() } else { settled };
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.stop(patience);
        }
        if all_reported && !exiting {
            self.dispatchers.stop(patience);
        }
        let text = match left {
            // What counts is what is left, not how long it took.
            Left { lost: 0, in_spool: 0 } if all_reported => return Ok(()),
            Left { lost: 0, in_spool: 0 } => "calls were under way that had not reported.".to_owned(),
            Left { lost: 0, in_spool } => format!("{in_spool} metering records stay in the spool for the next run."),
            Left { lost, .. } => format!("{lost} metering records could not be sent in time."),
        };
        if left.lost > 0 {
            log::warn!("shut down: {text}");
        } else {
            log::info!("shut down: {text}");
        }
        Err(Error::new(Code::Timeout, text))
    }
}

fn outgoing(record: Record) -> Outgoing {
    Outgoing {
        endpoint: Endpoint::COMPLETIONS,
        idempotency_key: record.idempotency_key,
        body: record.body.into(),
        transaction_id: record.transaction_id,
    }
}
