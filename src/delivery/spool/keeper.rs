//! What the spool needs done in the background.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::claim::Claim;
use super::store::{Fault, Row, Store, Survey};
use super::{CHUNK, Home, Spool, set_aside};
use crate::common::log::{error, info, warn};
use crate::delivery::counts::Reason;
use crate::delivery::queue::{Oldest, Seq};
use crate::delivery::{Delivery, Report};

/// How often to look for what dead processes left.
const EXPLORE_EVERY: Duration = Duration::from_secs(30);
/// How often to try again what did not work.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// Power failures may cost as much.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// A file that is empty and larger than this gives its space back.
const SHRINK_ABOVE: u64 = 4 << 20;
/// Records counted in one go.
const SURVEY: usize = 4096;

/// Keep the spool for ever, on a thread for blocking work: a disk may take its time.
pub async fn run(delivery: Arc<Delivery>) {
    let Some(spool) = delivery.spool.clone() else { return };
    let mut explore_at = Instant::now();
    let mut sync_at: Option<Instant> = None;
    loop {
        let now = Instant::now();
        let explore = now >= explore_at;
        if explore {
            explore_at = now + EXPLORE_EVERY;
        }
        let sync = sync_at.take_if(|at| now >= *at).is_some();
        let keeper = Keeper { delivery: Arc::clone(&delivery), spool: Arc::clone(&spool) };
        if let Err(ended) = tokio::task::spawn_blocking(move || keeper.round(explore, sync)).await {
            if ended.is_cancelled() {
                return;
            }
            error!("the keeper of the spool panicked; it goes on in {RETRY_EVERY:?}");
            tokio::time::sleep(RETRY_EVERY).await;
            continue;
        }
        let again = spool.trouble.lock().is_some().then(|| now + RETRY_EVERY);
        loop {
            let next = [Some(explore_at), again, sync_at].into_iter().flatten().min().unwrap_or(explore_at);
            tokio::select! {
                () = spool.wake.notified() => break,
                () = spool.soon.notified() => sync_at = Some(Instant::now() + SYNC_EVERY),
                () = tokio::time::sleep_until(next.into()) => {
                    if sync_at == Some(next) && spool.queue.spooled_bytes() == 0 {
                        // Nothing that a power failure could cost.
                        spool.tidy();
                        spool.unsynced.store(false, SeqCst);
                        sync_at = None;
                        continue;
                    }
                    break;
                }
            }
        }
    }
}

struct Keeper {
    delivery: Arc<Delivery>,
    spool: Arc<Spool>,
}

impl Keeper {
    fn round(&self, explore: bool, sync: bool) {
        let spool = &*self.spool;
        self.heal();
        // The first time this opens the file; later it commits what has waited for this keeper.
        if spool.with_file(|_| Ok(())).is_some() {
            self.save();
            self.survey();
            self.load();
            if explore {
                self.explore();
            }
            self.trim();
            self.checkpoint();
            if sync {
                self.sync();
            }
        }
        self.tell();
        spool.queue.explored();
    }

    /// Try to be rid of what went wrong.
    fn heal(&self) {
        let spool = &*self.spool;
        let mut home = spool.home();
        if home.closed {
            return;
        }
        if let Some(deleted) = home.deleted.take() {
            rescue(spool, &mut home, &deleted);
        }
        let Some(fault) = home.fault.take() else { return };
        if let Some(store) = home.store.take() {
            store.close(false);
        }
        if let Fault::Broken(_) = fault
            && let Some(claim) = home.claim.take()
        {
            let note = set_aside(claim);
            home.notes.push(note);
            spool.lost(&mut home, "it could not be read");
        }
        // Opened anew: what the failure left in SQLite's memory is not to be trusted.
        if let Err(fault) = spool.open(&mut home).and_then(|store| store.probe()) {
            spool.fail(&mut home, fault);
        }
    }

    /// Write what is only in memory.
    fn save(&self) {
        let spool = &*self.spool;
        loop {
            let more = spool.with_file(|store| {
                let rows = spool.queue.unsaved(CHUNK);
                store.write(&rows, &[])?;
                spool.queue.saved(&rows);
                Ok(rows.len() == CHUNK)
            });
            if more != Some(true) {
                break;
            }
        }
    }

    /// Count what lay in the file before.
    fn survey(&self) {
        let spool = &*self.spool;
        loop {
            let Some(range) = spool.home().uncounted.pop() else { break };
            let Some((size, rest)) = spool.with_file(|store| store.survey(range.clone(), SURVEY)) else { break };
            spool.queue.count_backlog(size);
            if let Some(rest) = rest {
                spool.home().uncounted.push(rest..=*range.end());
            }
        }
    }

    /// Bring records from the spool into memory.
    fn load(&self) {
        let spool = &*self.spool;
        while let Some(load) = spool.queue.begin_load() {
            let range = load.range.clone();
            let read = spool.with_file(|store| store.read(range, load.records, load.bytes));
            let failed = read.is_none();
            let rows = read.unwrap_or_default();
            let rest = if failed { Some(load.range) } else { after(&rows, &load.range) };
            if spool.queue.load(rows, rest, Instant::now()) {
                self.delivery.wake.notify_one();
            }
            if failed {
                break;
            }
        }
    }

    /// Take over what dead processes left, and see how much room the others take.
    fn explore(&self) {
        let spool = &*self.spool;
        let mut others = 0;
        for found in spool.place.files() {
            if spool.home().claim.as_ref().is_some_and(|claim| claim.path() == found.path) {
                continue;
            }
            match spool.place.take_over(&found) {
                Ok(Some(claim)) => self.take_in(claim),
                Ok(None) | Err(_) => others += found.bytes,
            }
        }
        let max = spool.options.max_bytes;
        spool.limit.store(max.saturating_sub(others).max(max / 8), SeqCst);
    }

    /// Move the records of a file that was left into ours.
    fn take_in(&self, claim: Claim) {
        let spool = &*self.spool;
        let mut store = match Store::open(claim.path(), false) {
            Ok(store) => store,
            Err(Fault::Broken(_)) => return warn!("{}", set_aside(claim)),
            Err(_) => return,
        };
        loop {
            let rows = store.bounds().and_then(|range| match range {
                Some(range) => store.read(range, CHUNK, u64::MAX),
                None => Ok(Vec::new()),
            });
            let rows = match rows {
                Ok(rows) => rows,
                Err(Fault::Broken(_)) => {
                    store.close(true);
                    return warn!("{}", set_aside(claim));
                }
                Err(_) => return store.close(false),
            };
            if rows.is_empty() {
                store.close(true);
                return claim.remove();
            }
            let old: Vec<Seq> = rows.iter().map(|row| row.seq).collect();
            let first = spool.queue.number_old(rows.len());
            let rows: Vec<Row> = rows.into_iter().zip(first..).map(|(row, seq)| Row { seq, ..row }).collect();
            if spool.with_file(|home| home.write(&rows, &[])).is_none() {
                return store.close(false);
            }
            let mut size = Survey::default();
            for row in &rows {
                size += Survey { records: 1, bytes: row.bytes(), oldest_ms: Some(row.created_ms) };
            }
            spool.queue.add_backlog(first..=first + rows.len() as u64 - 1, Some(size));
            // Killed in between, the next one finds them in both files, with the same Idempotency-Keys.
            if store.write(&[], &old).is_err() {
                return store.close(false);
            }
            self.load();
        }
    }

    /// Keep to the limit: the oldest go.
    fn trim(&self) {
        let spool = &*self.spool;
        let limit = spool.limit.load(SeqCst);
        let mut dropped = 0;
        while spool.queue.spooled_bytes() > limit {
            match spool.queue.give_up_oldest() {
                Oldest::GivenUp => dropped += 1,
                Oldest::InSpool(range) => {
                    let over = spool.queue.spooled_bytes() - limit;
                    let done = spool.with_file(|store| {
                        let rows = store.read(range.clone(), CHUNK, over)?;
                        let numbers: Vec<Seq> = rows.iter().map(|row| row.seq).collect();
                        store.write(&[], &numbers)?;
                        Ok(rows)
                    });
                    let Some(rows) = done else {
                        spool.queue.given_up(0, 0, Some(range));
                        break;
                    };
                    dropped += rows.len();
                    let bytes = rows.iter().map(Row::bytes).sum();
                    spool.queue.given_up(rows.len(), bytes, after(&rows, &range));
                }
                Oldest::None => break,
            }
        }
        if dropped > 0 {
            let message = format!("the spool is full: the oldest {dropped} usage records are given up");
            warn!("{message}");
            self.delivery.tell(Report::dropped(Reason::SpoolFull, dropped, message));
        }
        spool.tidy_blocking();
    }

    fn checkpoint(&self) {
        let spool = &*self.spool;
        let empty = spool.queue.spooled_bytes() == 0;
        if spool.written.load(SeqCst) > spool.checkpoint_after() {
            // First without the file: then little is left to wait for while others want it.
            self.sync();
            spool.written.store(0, SeqCst);
            let _ = spool.with_file(|store| store.checkpoint(!empty));
        }
        if empty {
            let _ = spool.with_file(|store| match store.file_bytes() > SHRINK_ABOVE && store.bounds()?.is_none() {
                true => store.shrink(),
                false => Ok(()),
            });
        }
    }

    /// What was committed reaches the disk, if anything of it still matters.
    fn sync(&self) {
        let spool = &*self.spool;
        if !spool.unsynced.swap(false, SeqCst) || spool.queue.spooled_bytes() == 0 {
            return;
        }
        let files = spool.home().store.as_ref().map(Store::to_sync);
        if let Some(Ok(files)) = files {
            for file in files {
                let _ = file.sync_data();
            }
        }
    }

    /// Say once that records are in memory only, and once that they are safe again.
    fn tell(&self) {
        let spool = &*self.spool;
        let (fault, notes) = {
            let mut home = spool.home();
            if home.closed {
                return;
            }
            (home.fault.as_ref().map(Fault::to_string), std::mem::take(&mut home.notes))
        };
        for note in notes {
            warn!("{note}");
        }
        let before = std::mem::replace(&mut *spool.trouble.lock(), fault.clone());
        spool.usable.store(fault.is_none(), SeqCst);
        match (fault, before) {
            (Some(fault), None) => {
                let directory = spool.place.directory().display();
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

/// Bring what lies in a deleted file into the one that has taken its place.
fn rescue(spool: &Spool, home: &mut Home, deleted: &Store) {
    let mut rest = deleted.bounds().unwrap_or_default();
    while let Some(range) = rest {
        let copied = deleted.read(range.clone(), CHUNK, u64::MAX).and_then(|rows| {
            spool.open(home)?.write(&rows, &[])?;
            // What was settled meanwhile leaves again.
            spool.queue.saved(&rows);
            Ok(after(&rows, &range))
        });
        match copied {
            Ok(after) => rest = after,
            Err(fault) => return spool.fail(home, fault),
        }
    }
}

/// What is left of `range` after its first `rows` were read.
fn after(rows: &[Row], range: &RangeInclusive<Seq>) -> Option<RangeInclusive<Seq>> {
    let last = rows.last()?.seq;
    (last < *range.end()).then(|| last + 1..=*range.end())
}
