//! One run of the library: how a call begins, and what all its calls share.
//!
//! `process` has the client of this process; `live` the calls under way and their end, `prepare` who is asked, `metering`
//! what is recorded, `deliveries` where records go, `observe` what something else called.

pub mod accounts;
mod deliveries;
pub mod handles;
mod live;
mod metering;
mod observe;
mod prepare;
pub mod process;
pub mod runtime;
pub mod status;
pub mod summary;

use self::accounts::Accounts;
use self::handles::{Handles, Object};
use self::live::Live;
use self::process::{flush_at_exit, process};
use self::runtime::Runtime;
use crate::call::observed::Told;
use crate::call::observed::ledger::Ledger;
use crate::call::{self, Call, Context, Job, Owner, Unfinished};
use crate::common::error::Result;
use crate::common::{log, sync};
use crate::completion::Target;
use crate::completion::callbacks::CallbackPool;
use crate::delivery::{self, Delivery};
use crate::messages::request::{Request, Streaming};
use crate::meter::Metadata;
use crate::meter::scope::Scope;
use crate::platform::budget::{Budgets, Caller};
use crate::platform::{self, Platform};
use crate::provider::{Providers, choice};
use crate::settings::{Settings, environment};
use crate::telemetry::Telemetry;
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;

/// One run of the library, from start to shutdown.
pub struct Client {
    pub context: Arc<Context>,
    pub callback_pool: CallbackPool,
    /// Starts that want a shutdown each.
    pub inits: AtomicU32,
    providers: Providers,
    metering_url: reqwest::Url,
    platform: Arc<Platform>,
    pub budgets: Arc<Budgets>,
    summaries: summary::Waiting,
    /// Environment and settings: under every scope and call.
    base_metadata: Metadata,
    handle: OnceCell<Handle>,
    runtime: Mutex<Option<Runtime>>,
    /// There is one as soon as there is a key.
    delivery: OnceCell<Arc<Delivery>>,
    /// Of other accounts, that scopes and calls name.
    accounts: Accounts,
    live: sync::Mutex<Live>,
    all_reported: sync::Condvar,
    skipped_before: AtomicBool,
    /// Answers of Message Batches that were recorded.
    ledger: OnceCell<Ledger>,
}

/// A call to begin, as the four functions of the ABI describe it.
pub struct Begin<'a> {
    pub request: &'a str,
    pub streaming: Streaming,
    pub scope: Option<Arc<Scope>>,
    pub target: Target,
    /// The caller takes the call's handle.
    pub owned: bool,
}

impl Client {
    pub fn new(settings: Arc<Settings>) -> Result<Arc<Client>> {
        let providers = Providers::new(&settings)?;
        let (metering_url, warning) = delivery::completions_url(&settings.metering_base_url)?;
        if let Some(warning) = warning {
            log::warn!("{warning}");
        }
        let platform = Arc::new(Platform::new(settings.clone(), &metering_url)?);
        let telemetry = Telemetry::new(&settings, settings.metering_key(&environment).is_some())?;
        let fields = settings.record_fields.iter().map(|(name, value)| (*name, value.as_str()));
        let base_metadata = Metadata::from_pairs(fields).overlay(&Metadata::from_json(&settings.metadata));
        Ok(Arc::new(Client {
            callback_pool: CallbackPool::new(settings.callback_threads),
            inits: AtomicU32::new(0),
            providers,
            metering_url,
            summaries: summary::Waiting::default(),
            budgets: Arc::new(Budgets::new(settings.clone(), platform.clone())),
            platform,
            base_metadata,
            handle: OnceCell::new(),
            runtime: Mutex::new(None),
            delivery: OnceCell::new(),
            accounts: Accounts::default(),
            live: sync::Mutex::default(),
            all_reported: sync::Condvar::new(),
            skipped_before: AtomicBool::new(false),
            ledger: OnceCell::new(),
            context: Arc::new(Context::new(settings, telemetry)),
        }))
    }

    /// The runtime starts with the first call, never before: servers that fork after loading stay clean.
    fn runtime(&self) -> Result<&Handle> {
        self.handle.get_or_try_init(|| {
            let runtime = Runtime::start(self.context.settings.worker_threads)?;
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
        let span = self.begin_span(&request, &scope)?;
        if let Some(trace) = span.as_ref().map(|span| span.context.clone()).or(request.choices.trace.clone()) {
            request.choices.send_trace(&trace);
        }
        if let Target::Callbacks(_) = &begin.target {
            self.callback_pool.start()?;
        }
        let prepared = self.prepare(&request)?;
        let metering = self.metering(&request, &scope, prepared.region())?;
        let metered = metering.account.is_some();
        if self.budgets.is_on() {
            self.keep_rules()?;
            let told = metering.metadata.attribution();
            let provider = prepared.provider().row().label;
            self.budgets.admit(&Caller::new(&request.facts.model, provider, &told))?;
        }
        let runtime = self.runtime()?;
        let call = self.admitted(begin.target, begin.owned, metered)?;
        let job = Job {
            key: metering.next_key(),
            prepared,
            metering,
            span,
            max_retries: request.choices.max_retries.unwrap_or(self.context.settings.max_retries),
            timeout: request.choices.timeout.or(self.default_timeout()),
            request,
        };
        // Boxed: tokio moves what it is given several times.
        runtime.spawn(Box::pin(call::run(self.unfinished(&call), job)));
        Ok(call)
    }

    /// Whether a call would be refused by a budget: JSON, or the refusal.
    pub fn check_budget(self: &Arc<Self>, call: &str, scope: Option<Arc<Scope>>) -> Result<Vec<u8>> {
        let scope = scope.unwrap_or_default();
        let told = Told::parse_planned(call)?;
        let request = Request::parse_within(told.body(), Streaming::AsRequested, &scope.choices)?;
        if self.budgets.is_on() {
            self.keep_rules()?;
        }
        let ours = || choice::choose(&self.context.settings, Some(&request.choices), &environment).provider;
        let provider = told.provider.unwrap_or_else(ours);
        let model = told.model.as_deref().filter(|_| request.facts.model.is_empty()).unwrap_or(&request.facts.model);
        let mut metadata = self.metadata(&request, &scope, told.region.as_deref());
        if let Some(over) = &told.metadata {
            metadata = metadata.overlay(over);
        }
        let attribution = metadata.attribution();
        let caller = Caller::new(model, provider.row().label, &attribution);
        match told.admit {
            true => self.budgets.admit(&caller).map(|()| br#"{"allowed":true}"#.to_vec()),
            false => self.budgets.check(&caller),
        }
    }

    fn keep_rules(&self) -> Result<()> {
        self.budgets.keep_fetching(self.runtime()?, &self.context.clients()?.metering);
        Ok(())
    }

    /// Ask Revenium's platform. What fails here starts no call, and nothing is sent.
    pub fn begin_operation(
        self: &Arc<Self>,
        operation: &str,
        params: Option<&str>,
        target: Target,
        owned: bool,
    ) -> Result<Arc<Call>> {
        let prepared = self.platform.prepare(operation, params, &environment)?;
        let (runtime, http) = (self.runtime()?, self.context.clients()?.metering.clone());
        let call = self.admitted(target, owned, false)?;
        let (platform, timeout) = (self.platform.clone(), prepared.timeout().or(self.default_timeout()));
        let work = async move {
            let platform::Answer { result, attempts } = platform.run(&http, prepared).await;
            call::Other { result, attempts }
        };
        runtime.spawn(call::run_other(self.unfinished(&call), timeout, work));
        Ok(call)
    }

    /// A call that is under way from now on.
    fn admitted(self: &Arc<Self>, target: Target, owned: bool, metered: bool) -> Result<Arc<Call>> {
        let owner: Weak<dyn Owner> = Arc::downgrade(self) as _;
        let forget = |number| drop(process().handles.remove(number));
        let call = Arc::new(Call::new(Handles::next_number(), forget, owner, target, owned, metered));
        self.admit(&call)?;
        if call.target.is_closed() {
            // Its queue was released between the look-up of its handle and the line before the last.
            call.cancel();
        }
        process().handles.insert_as(call.number, Object::Call(call.clone()));
        Ok(call)
    }

    /// Whether somebody has started it on purpose, or by a call.
    pub fn is_used(&self) -> bool {
        let counted = |counter: &AtomicI64| counter.load(Ordering::SeqCst) > 0;
        self.inits.load(Ordering::SeqCst) > 0
            || counted(&self.context.counters.started)
            || counted(&self.context.counters.observed)
    }

    fn default_timeout(&self) -> Option<Duration> {
        let ms = self.context.settings.timeout_ms;
        (ms > 0).then(|| Duration::from_millis(ms))
    }

    fn unfinished(self: &Arc<Self>, call: &Arc<Call>) -> Unfinished {
        Unfinished { context: self.context.clone(), owner: self.clone(), call: call.clone() }
    }
}
