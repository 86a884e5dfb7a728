//! Delivery on demand: it begins with the first record, or with what earlier processes left; and flush.

use super::{Client, accounts};
use crate::call::observed::ledger::Ledger;
use crate::client::process::process;
use crate::common::error::{Code, Error, Result};
use crate::common::{log, os};
use crate::delivery::journal::{self, Folder, fingerprint};
use crate::delivery::{self, Delivery, Destination};
use crate::settings::{SpoolSync, environment};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Client {
    pub(super) fn delivery(&self) -> Result<&Arc<Delivery>> {
        self.delivery.get_or_try_init(|| {
            let settings = &self.context.settings;
            if settings.spool_dir.is_none() && settings.spool_directory(&environment).is_none() {
                log::warn!(
                    "records are kept in memory only, and lost if the process ends before they are sent: there is {}; \
                     set spool_dir, to \"\" if that is wanted",
                    os::STATE_DIRECTORY_IS_BY
                );
            }
            self.new_delivery(self.destination()?)
        })
    }

    pub(super) fn new_delivery(&self, destination: Arc<Destination>) -> Result<Arc<Delivery>> {
        let settings = &self.context.settings;
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
            calls: Arc::clone(&self.context.counters.in_flight),
            ..delivery::Options::default()
        };
        let delivery = Delivery::new(options, destination, Box::new(|report| process().tell_subscribers(report)));
        delivery.start(self.runtime()?, self.context.clients()?.metering.clone());
        Ok(delivery)
    }

    /// The process's own, and those of other accounts.
    pub(super) fn deliveries(&self) -> impl Iterator<Item = Arc<Delivery>> {
        self.delivery.get().cloned().into_iter().chain(self.accounts.all())
    }

    pub(super) fn destination(&self) -> Result<Arc<Destination>> {
        let key = self.context.settings.metering_key(&environment);
        let key = key.ok_or_else(|| Error::new(Code::Config, "No Revenium key."))?;
        Ok(Arc::new(Destination { url: self.metering_url.clone(), key: key.expose().to_owned() }))
    }

    pub(super) fn ledger(&self) -> &Ledger {
        self.ledger.get_or_init(|| {
            let directory = self.context.settings.spool_directory(&environment);
            let account = self.destination().ok().map(|destination| fingerprint(&destination));
            Ledger::new(directory.zip(account).map(|(directory, account)| directory.join("batches").join(account)))
        })
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
        let spans = self.context.telemetry.as_ref().map(|telemetry| (telemetry, telemetry.flush_begin()));
        // Each has until the same time, also behind one that took its time.
        let flushed = self.deliveries().filter(|delivery| !delivery.flush(deadline)).count() == 0;
        if let Some((telemetry, flush)) = spans {
            telemetry.flush_wait(&flush, deadline);
        }
        flushed
    }

    /// Whether there are files of this account and destination in the spool.
    fn has_leftovers(&self) -> bool {
        let Some(directory) = self.context.settings.spool_directory(&environment) else { return false };
        self.destination().is_ok_and(|destination| {
            Folder::new(&directory, &fingerprint(&destination)).segments().is_ok_and(|found| !found.is_empty())
        })
    }
}
