//! What the journal needs done in the background.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use super::folder::Found;
use super::frame::{Contents, VERSION};
use super::segment::{Segment, Taken};
use super::state::Slot;
use super::{CHUNK, Journal};
use crate::common::log::{error, info, warn};
use crate::delivery::counts::Reason;
use crate::delivery::queue::{Oldest, RecordQueue};
use crate::delivery::record::Survey;
use crate::delivery::{Delivery, Report};

/// How often to look for what dead processes left.
const EXPLORE_EVERY: Duration = Duration::from_secs(30);
/// How often to try again what did not work.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// What is settled is noted within this time, and what was deleted under us found.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// Where more lies there than can be held, and somebody waits for all of it.
const EXPLORE_IN_A_FLUSH: Duration = Duration::from_millis(20);
/// So many segments of others are held at once: each takes a descriptor.
const ADOPTED: usize = 64;

/// How long it reads without a rest, and after how many steps it looks at the clock.
const SPELL: Duration = Duration::from_micros(200);
const STEPS: u32 = 32;
const REST: Duration = Duration::from_millis(1);

/// Maintain the journal for ever, on a thread for blocking work: a disk may take its time.
pub async fn run(delivery: Arc<Delivery>) {
    let Some(journal) = delivery.journal.clone() else { return };
    let mut explore_at = Instant::now();
    let mut tidy_at: Option<Instant> = None;
    loop {
        let now = Instant::now();
        let explore = now >= explore_at;
        if explore {
            explore_at = now + EXPLORE_EVERY;
        }
        let maintenance = Maintenance { delivery: Arc::clone(&delivery), journal: Arc::clone(&journal) };
        match tokio::task::spawn_blocking(move || maintenance.round(explore)).await {
            Ok(more) if more => {
                explore_at = Instant::now() + if journal.queue.flushing() { EXPLORE_IN_A_FLUSH } else { TIDY_EVERY };
            }
            Ok(_) => {}
            Err(ended) if ended.is_cancelled() => return,
            Err(_) => {
                error!("the maintenance of the spool panicked; it goes on in {RETRY_EVERY:?}");
                tokio::time::sleep(RETRY_EVERY).await;
                // A flush waits until somebody has looked.
                explore_at = Instant::now();
                continue;
            }
        }
        let again = journal.trouble.lock().is_some().then(|| now + RETRY_EVERY);
        loop {
            let next = [Some(explore_at), again, tidy_at].into_iter().flatten().min().unwrap_or(explore_at);
            tokio::select! {
                () = journal.wake.notified() => break,
                () = journal.soon.notified() => {
                    tidy_at.get_or_insert_with(|| Instant::now() + TIDY_EVERY);
                }
                () = tokio::time::sleep_until(next.into()) => {
                    if tidy_at != Some(next) {
                        break;
                    }
                    let tidied = Arc::clone(&journal);
                    let work = move || {
                        tidied.tidy();
                        tidied.check_linked();
                    };
                    let _ = tokio::task::spawn_blocking(work).await;
                    // As long as something waits, somebody may delete it.
                    let more = journal.queue.spooled_bytes() > 0;
                    tidy_at = more.then(|| Instant::now() + TIDY_EVERY);
                }
            }
        }
    }
}

/// To read what others left takes a while. So that no call waits for it, nor a processor is kept from it, it rests in
/// between, unless somebody waits for what is read.
struct Rest<'a> {
    queue: &'a RecordQueue,
    steps: u32,
    since: Instant,
}

impl Rest<'_> {
    fn new(queue: &RecordQueue) -> Rest<'_> {
        Rest { queue, steps: 0, since: Instant::now() }
    }

    /// After each small step.
    fn now_and_then(&mut self) {
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS) && self.since.elapsed() >= SPELL {
            if !self.queue.flushing() {
                thread::sleep(REST);
            }
            self.since = Instant::now();
        }
    }
}

pub(super) struct Maintenance {
    pub delivery: Arc<Delivery>,
    pub journal: Arc<Journal>,
}

impl Maintenance {
    /// True: there is more to adopt when some of it is done.
    pub fn round(&self, explore: bool) -> bool {
        let journal = &*self.journal;
        let failed = journal.state.lock().fault.take().is_some() || journal.trouble.lock().is_some();
        self.save();
        if failed {
            self.probe();
        }
        self.load();
        let more = explore && self.explore();
        self.trim();
        journal.tidy();
        self.load();
        self.tell();
        if explore {
            journal.queue.explored(more);
        }
        journal.tidy_soon();
        more
    }

    /// Write what is only in memory.
    fn save(&self) {
        loop {
            let mut state = self.journal.state.lock();
            if state.closed || self.journal.save_unsaved(&mut state) != Some(true) {
                break;
            }
        }
    }

    fn probe(&self) {
        let mut state = self.journal.state.lock();
        if state.closed || state.fault.is_some() {
            return;
        }
        if let Err(error) = self.journal.probe(&mut state) {
            self.journal.fail(&mut state, &error);
        }
    }

    /// Bring records from the journal into memory.
    fn load(&self) {
        let (journal, queue) = (&*self.journal, &self.journal.queue);
        while let Some(load) = queue.begin_load() {
            let (rows, rest) = journal.read(load.range, load.records, load.bytes);
            if queue.load(rows, rest, Instant::now()) {
                self.delivery.wake.notify_one();
            }
        }
    }

    /// Adopt what dead processes left, and see how much room the others take. True: there is more than can be held.
    fn explore(&self) -> bool {
        let journal = &*self.journal;
        let found = match journal.folder.segments() {
            Ok(found) => found,
            Err(error) => {
                let mut state = journal.state.lock();
                journal.fail(&mut state, &error);
                return false;
            }
        };
        journal.folder.clean_up();
        let (mut others, mut more) = (0, false);
        for found in found {
            let adopted = {
                let state = journal.state.lock();
                if state.closed || state.segments.values().any(|held| held.segment.path() == found.path) {
                    continue;
                }
                state.segments.values().filter(|held| !held.ours).count()
            };
            if adopted >= ADOPTED {
                more = true;
                break;
            }
            match Segment::take(&found.path) {
                Ok(Taken::Ours(segment)) => self.adopt(segment),
                Ok(Taken::InUse) => others += found.bytes,
                Ok(Taken::Foreign(why)) => self.leave_alone(&found, &why),
                Err(error) => self.leave_alone(&found, &error.to_string()),
            }
        }
        let max = journal.options.max_bytes;
        journal.limit.store(max.saturating_sub(others).max(max / 8), SeqCst);
        more
    }

    /// It is not ours, or not to be had now. It disturbs nothing else.
    fn leave_alone(&self, found: &Found, why: &str) {
        if self.journal.state.lock().foreign.insert(found.path.clone()) {
            warn!("{} is left alone: {why}", found.path.display());
        }
    }

    fn adopt(&self, segment: Segment) {
        let journal = &*self.journal;
        let found = Found { path: segment.path().to_owned(), bytes: 0 };
        let mut rest = Rest::new(&journal.queue);
        let bytes = match segment.read_all(|| rest.now_and_then()) {
            Ok(bytes) => bytes,
            Err(error) => return self.leave_alone(&found, &error.to_string()),
        };
        let contents = Contents::read(&bytes, || rest.now_and_then());
        if let Some(header) = &contents.header {
            if header.version > VERSION {
                return self.leave_alone(&found, "it was written by a later version of the library");
            }
            if header.fingerprint != journal.folder.fingerprint() {
                return self.leave_alone(&found, "its records are another account's or another address's");
            }
        }
        if contents.is_foreign && !bytes.is_empty() {
            return self.leave_alone(&found, "it is no file of this library");
        }
        if contents.damaged > 0 {
            self.damaged(contents.damaged, &found);
        }
        let records = contents.waiting.len();
        if records == 0 {
            return segment.unlink();
        }
        let first = journal.queue.number_old(records);
        let mut size = Survey::default();
        let mut state = journal.state.lock();
        if state.closed {
            return;
        }
        let id = state.hold(segment, false, bytes.len() as u64);
        for (seq, (range, stored)) in (first..).zip(contents.waiting) {
            size += Survey { records: 1, bytes: stored.stored_bytes(), oldest_ms: Some(stored.created_ms) };
            let (offset, size) = (range.start as u32, range.len() as u32);
            state.index.insert(seq, Slot { segment: id, sequence: stored.sequence, offset, size });
        }
        if let Some(held) = state.segments.get_mut(&id) {
            held.pending = records;
        }
        drop(state);
        journal.queue.add_backlog(first..=first + records as u64 - 1, size);
        self.load();
    }

    fn damaged(&self, places: usize, found: &Found) {
        let message = format!("{places} usage records in {} are damaged and lost", found.path.display());
        warn!("{message}");
        self.delivery.counters.dropped(Reason::Corrupt, places);
        self.delivery.tell(Report::dropped(Reason::Corrupt, places, message));
    }

    /// Keep to the limit: the oldest go.
    fn trim(&self) {
        let journal = &*self.journal;
        let limit = journal.limit.load(SeqCst);
        let mut dropped = 0;
        while journal.queue.spooled_bytes() > limit {
            match journal.queue.give_up_oldest() {
                Oldest::GivenUp => dropped += 1,
                Oldest::InJournal(range) => {
                    let over = journal.queue.spooled_bytes() - limit;
                    let (rows, rest) = journal.read(range, CHUNK, over);
                    dropped += rows.len();
                    journal.queue.given_up(&rows, rest);
                }
                Oldest::None => break,
            }
        }
        if dropped > 0 {
            let message = format!("the spool is full: the oldest {dropped} usage records are given up");
            warn!("{message}");
            self.delivery.tell(Report::dropped(Reason::SpoolFull, dropped, message));
        }
    }

    /// Say once that records are in memory only, and once that they are safe again.
    fn tell(&self) {
        let journal = &*self.journal;
        let (fault, notes) = {
            let mut state = journal.state.lock();
            if state.closed {
                return;
            }
            (state.fault.clone(), std::mem::take(&mut state.notes))
        };
        for note in notes {
            warn!("{note}");
        }
        let before = std::mem::replace(&mut *journal.trouble.lock(), fault.clone());
        match (fault, before) {
            (Some(fault), None) => {
                let directory = journal.folder.path().display();
                let message =
                    format!("the spool in {directory} cannot be used ({fault}): usage records are kept in memory");
                warn!("{message}");
                let records = self.delivery.pending();
                self.delivery.tell(Report { reason: "spool", http_status: None, records, dropped: false, message });
            }
            (None, Some(_)) => info!("the spool can be used again"),
            _ => {}
        }
    }
}
