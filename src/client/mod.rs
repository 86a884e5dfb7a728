//! One run of the library: the runtime, the calls under way, metering; how a call begins and how all of them end.

pub mod handles;
pub mod process;
pub mod runtime;
pub mod status;

use crate::call::{self, Call, Job, Unfinished};
use crate::client::handles::Object;
use crate::client::process::{closed, core, flush_at_exit};
use crate::client::runtime::Runtime;
use crate::common::error::{Code, Error, Result};
use crate::common::http;
use crate::common::log;
use crate::common::trace_context::TraceContext;
use crate::completion::Sink;
use crate::completion::callbacks::Dispatchers;
use crate::delivery::spool::Place;
use crate::delivery::{self, Delivery, Destination, Left, Outgoing, Pushing};
use crate::messages::request::{Request, Streaming};
use crate::meter::scope::Scope;
use crate::meter::{Metadata, RecentIds, Record};
use crate::provider::bedrock::{self, Bedrock};
use crate::provider::{Prepared, Provider, anthropic, choice};
use crate::settings::{Settings, SpoolSync, environment};
use crate::telemetry::{self, Telemetry};
use once_cell::sync::OnceCell;
use parking_lot::{Condvar, Mutex};
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
    /// Environment and settings: under every scope and call.
    base_metadata: Metadata,
    http: OnceCell<http::Clients>,
    handle: OnceCell<Handle>,
    runtime: Mutex<Option<Runtime>>,
    /// There is one as soon as there is a key.
    delivery: OnceCell<Arc<Delivery>>,
    /// Where the settings ask for spans.
    telemetry: Option<Arc<Telemetry>>,
    live: Mutex<Live>,
    all_reported: Condvar,
    skipped_before: AtomicBool,
    /// Transaction ids of this run's records.
    pub recent_ids: RecentIds,
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
            base_metadata,
            http: OnceCell::new(),
            handle: OnceCell::new(),
            runtime: Mutex::new(None),
            delivery: OnceCell::new(),
            telemetry,
            live: Mutex::default(),
            all_reported: Condvar::new(),
            skipped_before: AtomicBool::new(false),
            recent_ids: RecentIds::default(),
            settings,
        }))
    }

    fn clients(&self) -> Result<&http::Clients> {
        self.http.get_or_try_init(|| http::clients(Duration::from_millis(self.settings.connect_timeout_ms)))
    }

    /// For the providers.
    pub fn http(&self) -> Result<&reqwest::Client> {
        self.clients().map(|clients| &clients.calls)
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
        let wanted = self.wants_record(&request, &scope);
        let trace = request.choices.trace.take();
        let span = if wanted { self.begin_span(&request, trace.as_ref()) } else { None };
        if let Some(trace) = span.as_ref().map(|span| &span.context).or(trace.as_ref()) {
            request.choices.send_trace(trace);
        }
        if let Sink::Callbacks(_) = &begin.sink {
            self.dispatchers.start()?;
        }
        let prepared = self.prepare(&request)?;
        // Without a way to Revenium the call goes on unmetered.
        let metered = wanted && self.has_metering_key() && self.delivery().is_ok();
        let mut metadata = match prepared.region() {
            // The environment tells of another region than the one that is called.
            Some(region) if self.settings.aws_region.as_deref() != Some(region) => {
                self.base_metadata.overlay(&Metadata::from_pairs([("region", region)])).overlay(&scope.metadata)
            }
            _ => self.base_metadata.overlay(&scope.metadata),
        };
        if let Some(over) = &request.metadata {
            metadata = metadata.overlay(over);
        }
        if let Some(trace) = trace.filter(|_| metered && self.settings.trace_id_from_context) {
            // Where nobody names another, the trace joins the record with what else was traced.
            metadata = Metadata::from_pairs([("traceId", &*trace.trace_id.to_string())]).overlay(&metadata);
        }
        let job = Job {
            prepared,
            metadata,
            metered,
            span,
            expected: self.delivery.get().filter(|_| metered).map(Delivery::expect),
            max_retries: request.choices.max_retries.unwrap_or(self.settings.max_retries),
            timeout: request.choices.timeout.or(self.default_timeout()),
            request,
        };
        let runtime = self.runtime()?;
        if let Some(telemetry) = self.telemetry.as_ref().filter(|_| job.span.is_some()) {
            telemetry.start(runtime, &self.clients()?.metering);
        }
        let call = Arc::new(Call::new(self, begin.sink, begin.owned, metered));
        self.admit(&call)?;
        if call.sink.is_closed() {
            // Its queue was released between the look-up of its handle and the line before the last.
            call.cancel();
        }
        core().registry.insert_as(call.number, Object::Call(call.clone()));
        runtime.spawn(call::run(Unfinished { engine: self.clone(), call: call.clone() }, job));
        Ok(call)
    }

    /// A body is data, which hosts forward as their users wrote it: it sends no secret of the process anywhere.
    fn mistrust(&self, request: &mut Request, scope: &Scope) -> Result<()> {
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
        self.inits.load(Ordering::SeqCst) > 0 || self.counters.started.load(Ordering::SeqCst) > 0
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
            if self.has_metering_key() && !self.skipped_before.swap(true, Ordering::Relaxed) {
                log::info!("selective metering is on: calls outside a metered scope are not metered");
            }
            return false;
        }
        true
    }

    /// An SDK that calls through us makes a span of its own: one for each call is enough.
    fn begin_span(&self, request: &Request, trace: Option<&TraceContext>) -> Option<telemetry::Begun> {
        let telemetry = self.telemetry.as_ref()?;
        if request.choices.dropin == Some(true) && !self.settings.otlp_dropin {
            return None;
        }
        telemetry.begin(trace, self.has_metering_key())
    }

    /// There is one where the settings ask for it.
    pub fn telemetry(&self) -> Option<&Arc<Telemetry>> {
        self.telemetry.as_ref()
    }

    pub fn has_metering_key(&self) -> bool {
        self.delivery.get().is_some() || self.settings.metering_key(&environment).is_some()
    }

    fn delivery(&self) -> Result<&Arc<Delivery>> {
        self.delivery.get_or_try_init(|| {
            let destination = self.destination()?;
            let settings = &self.settings;
            let options = delivery::Options {
                workers: settings.metering_workers,
                attempt_timeout: Duration::from_millis(settings.metering_timeout_ms),
                max_retries: settings.metering_max_retries,
                queue_records: settings.metering_queue_size,
                queue_bytes: settings.metering_queue_bytes,
                max_age: Some(Duration::from_secs(settings.spool_max_age_s)),
                spool: settings.spool_directory(&environment).map(|directory| delivery::spool::Options {
                    directory,
                    max_bytes: settings.spool_max_bytes,
                    every_commit_synced: settings.spool_sync == SpoolSync::Power,
                }),
                ..delivery::Options::default()
            };
            let delivery = Delivery::new(options, destination, Box::new(|report| core().tell_subscribers(report)));
            delivery.start(self.runtime()?, self.clients()?.metering.clone());
            Ok(delivery)
        })
    }

    fn destination(&self) -> Result<Arc<Destination>> {
        let key = self.settings.metering_key(&environment);
        let key = key.ok_or_else(|| Error::new(Code::Config, "No Revenium key."))?;
        Ok(Arc::new(Destination { url: self.metering_url.clone(), key: key.expose().to_owned() }))
    }

    /// Hand records over; [`Engine::delivered`] is the other half.
    pub fn deliver(&self, records: Vec<Record>) -> Option<Pushing> {
        let outgoing = |record: Record| Outgoing {
            idempotency_key: record.idempotency_key,
            body: record.body.into(),
            transaction_id: record.transaction_id,
        };
        self.delivery.get().map(|delivery| delivery.begin_push(records.into_iter().map(outgoing)))
    }

    /// Wait until the records are in the spool.
    pub async fn delivered(&self, pushing: Pushing) {
        if let Some(delivery) = self.delivery.get() {
            delivery.finish_push(pushing).await;
        }
    }

    pub fn delivery_counts(&self) -> delivery::Counts {
        self.delivery.get().map(|delivery| delivery.counts()).unwrap_or_default()
    }

    pub fn records_pending(&self) -> usize {
        self.delivery.get().map_or(0, |delivery| delivery.pending())
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
        let flushed = self.delivery.get().is_none_or(|delivery| delivery.flush(deadline));
        if let Some((telemetry, flush)) = spans {
            telemetry.flush_wait(&flush, deadline);
        }
        flushed
    }

    /// Whether there are files of this account and destination in the spool.
    fn has_leftovers(&self) -> bool {
        let Some(directory) = self.settings.spool_directory(&environment) else { return false };
        self.destination().is_ok_and(|destination| {
            !Place::new(&directory, &delivery::spool::fingerprint(&destination)).files().is_empty()
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
            if self.all_reported.wait_until(&mut live, until).timed_out() {
                break;
            }
        }
        drop(live);
        // Both at the same time, and the records first: spans cannot wait for a next run, but nobody is billed by them.
        let spans = self.telemetry.as_ref().map(|telemetry| (telemetry, telemetry.flush_begin()));
        let delivery = self.delivery.get();
        let flush = |delivery: &Arc<Delivery>| match exiting {
            true => delivery.flush_and_leave(deadline),
            false => delivery.flush(deadline),
        };
        let flushed = delivery.is_none_or(flush);
        if let Some((telemetry, flush)) = spans {
            telemetry.flush_wait(&flush, deadline);
            telemetry.stop();
        }
        let left = delivery.map(|delivery| delivery.stop()).unwrap_or_default();
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.stop();
        }
        if flushed && left == Left::default() {
            return Ok(());
        }
        let text = match left {
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
