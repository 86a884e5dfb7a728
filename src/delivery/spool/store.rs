//! One file of the spool: an SQLite database that one process uses at a time.
//!
//! SQLite's own locks are off, because its bookkeeping of them does not survive a fork: a child that opens a file of
//! its parent would believe that it holds the parent's locks. Who may use a file is settled beside it (`claim`). An
//! exclusively used database needs no shared memory either, so it also works on file systems that have none.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row as SqlRow, params};

use crate::common::os;
use crate::delivery::Outgoing;
use crate::delivery::queue::Seq;

/// Stands in the header of each file, so that `file` and SQLite's tools can tell what it is: "reve".
const APPLICATION_ID: i32 = 0x7265_7665;
/// Of the schema below. Files of a later version are left alone.
const VERSION: i32 = 1;

/// Only a net: checkpoints are made in the background, long before.
const AUTO_CHECKPOINT_PAGES: u32 = 16 * 1024;
const CACHE_KIB: i32 = 512;

/// What a record takes besides its own bytes, roughly.
pub(super) const ROW_OVERHEAD: u64 = 48;

/// A record in the spool.
#[derive(Clone, Debug)]
pub struct Row {
    pub seq: Seq,
    /// When the record was made, in milliseconds since 1970.
    pub created_ms: u64,
    pub record: Arc<Outgoing>,
}

impl Row {
    pub fn bytes(&self) -> u64 {
        Row::bytes_of(&self.record)
    }

    /// What `record` takes in the spool, roughly.
    pub(in crate::delivery) fn bytes_of(record: &Outgoing) -> u64 {
        record.size() as u64 + ROW_OVERHEAD
    }
}

/// What went wrong, by what can be done about it.
#[derive(Debug)]
pub enum Fault {
    /// The file does not hold what was written: it is set aside.
    Broken(String),
    /// Written by a later version of the library: left for it.
    Newer,
    /// No space, no right to write, no directory: it may come back.
    Unusable(String),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Broken(why) | Fault::Unusable(why) => f.write_str(why),
            Fault::Newer => f.write_str("it was written by a later version of the library"),
        }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Broken(error.to_string()),
            // A missing or other table, or values of other types: not what was written.
            None => Fault::Broken(error.to_string()),
            Some(ErrorCode::Unknown) => Fault::Broken(error.to_string()),
            Some(_) => Fault::Unusable(error.to_string()),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Unusable(error.to_string())
    }
}

pub(super) type Outcome<T> = Result<T, Fault>;

pub(super) struct Store {
    conn: Connection,
    path: PathBuf,
    /// Shows whether the file is still in its directory.
    file: File,
}

impl Store {
    /// Open or create the file; only who holds its claim may. Nothing is synchronised with the disk in here: a power
    /// failure that comes before the first [`Store::syncs`] costs the file, which then holds nothing old.
    pub fn open(path: &Path, every_commit_synced: bool) -> Outcome<Store> {
        // Made before SQLite does, which would let others read it. Its other files take over the mode.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let _calm = os::no_fork();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags_and_vfs(path, flags, c"unix-none")?;
        conn.pragma_update(None, "locking_mode", "exclusive")?;
        let version: i32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version > VERSION {
            return Err(Fault::Newer);
        }
        if version == 0 {
            conn.pragma_update(None, "synchronous", "off")?;
            conn.pragma_update(None, "application_id", APPLICATION_ID)?;
        }
        let mode: String = conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        if mode != "wal" {
            return Err(Fault::Unusable(format!("the database cannot be in WAL mode but {mode}")));
        }
        conn.pragma_update(None, "wal_autocheckpoint", AUTO_CHECKPOINT_PAGES)?;
        conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
        if version == 0 {
            conn.execute_batch(
                "BEGIN; CREATE TABLE IF NOT EXISTS records (id INTEGER PRIMARY KEY, created INTEGER NOT NULL,
                    key TEXT NOT NULL, transaction_id TEXT NOT NULL, body BLOB NOT NULL);
                 PRAGMA user_version = 1; COMMIT",
            )?;
        }
        let synchronous = if every_commit_synced { "full" } else { "normal" };
        conn.pragma_update(None, "synchronous", synchronous)?;
        Ok(Store { conn, path: path.to_owned(), file })
    }

    /// A look at the copy of a file that another process uses.
    pub fn open_copy(path: &Path) -> Outcome<Store> {
        Store::open(path, false)
    }

    /// The numbers of the oldest and the newest record.
    pub fn bounds(&self) -> Outcome<Option<RangeInclusive<Seq>>> {
        let _calm = os::no_fork();
        let (first, last): (Option<i64>, Option<i64>) = (
            self.conn.query_row("SELECT min(id) FROM records", [], |row| row.get(0))?,
            self.conn.query_row("SELECT max(id) FROM records", [], |row| row.get(0))?,
        );
        Ok(first.zip(last).map(|(first, last)| from_sql(first)..=from_sql(last)))
    }

    /// Write `add` and delete `remove`, all or nothing.
    pub fn write(&mut self, add: &[Row], remove: &[Seq]) -> Outcome<()> {
        let _calm = os::no_fork();
        // A statement alone is a transaction of its own, and saves two more.
        let several = add.len() + remove.len() > 1;
        if several {
            self.conn.prepare_cached("BEGIN")?.execute([])?;
        }
        let written = self.write_rows(add, remove);
        if several {
            let written = written.and_then(|()| Ok(self.conn.prepare_cached("COMMIT")?.execute([]).map(drop)?));
            if written.is_err() && !self.conn.is_autocommit() {
                let _ = self.conn.execute_batch("ROLLBACK");
            }
            return written;
        }
        written
    }

    fn write_rows(&self, add: &[Row], remove: &[Seq]) -> Outcome<()> {
        if !add.is_empty() {
            // A record that is written again is the same one.
            let mut insert = self.conn.prepare_cached("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)")?;
            for Row { seq, created_ms, record } in add {
                let (key, id) = (&record.idempotency_key, &record.transaction_id);
                insert.execute(params![to_sql(*seq), to_sql(*created_ms), key, id, &record.body[..]])?;
            }
        }
        if !remove.is_empty() {
            let mut delete = self.conn.prepare_cached("DELETE FROM records WHERE id = ?")?;
            for seq in remove {
                delete.execute([to_sql(*seq)])?;
            }
        }
        Ok(())
    }

    /// The oldest records of `range`, at least one if there is one, else at most `records` and about `bytes`.
    pub fn read(&self, range: RangeInclusive<Seq>, records: usize, bytes: u64) -> Outcome<Vec<Row>> {
        let _calm = os::no_fork();
        let mut select = self.conn.prepare_cached(
            "SELECT id, created, key, transaction_id, body FROM records WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
        )?;
        let mut found = select.query(params![to_sql(*range.start()), to_sql(*range.end()), records as i64])?;
        let (mut rows, mut size) = (Vec::new(), 0);
        while let Some(row) = found.next()? {
            let row = read_row(row)?;
            size += row.bytes();
            rows.push(row);
            if size >= bytes {
                break;
            }
        }
        Ok(rows)
    }

    pub fn find(&self, seq: Seq) -> Outcome<Option<Row>> {
        let _calm = os::no_fork();
        let mut select =
            self.conn.prepare_cached("SELECT id, created, key, transaction_id, body FROM records WHERE id = ?")?;
        Ok(select.query_row([to_sql(seq)], read_row).optional()?)
    }

    /// How many records lie in a part of `range`, how large they are, and where the rest begins.
    pub fn survey(&self, range: RangeInclusive<Seq>, records: usize) -> Outcome<(Survey, Option<Seq>)> {
        let _calm = os::no_fork();
        let mut select = self.conn.prepare_cached(
            "SELECT count(*), sum(size), min(created), max(id) FROM (SELECT id, created,
                length(body) + length(key) + length(transaction_id) AS size
                FROM records WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?)",
        )?;
        let args = params![to_sql(*range.start()), to_sql(*range.end()), records as i64];
        let (count, bytes, oldest, last): (i64, Option<i64>, Option<i64>, Option<i64>) =
            select.query_row(args, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        let count = from_sql(count);
        let survey = Survey {
            records: count as usize,
            bytes: from_sql(bytes.unwrap_or(0)) + count * ROW_OVERHEAD,
            oldest_ms: oldest.map(from_sql),
        };
        let rest = last.filter(|_| count as usize == records).map(|last| from_sql(last) + 1);
        Ok((survey, rest.filter(|rest| rest <= range.end())))
    }

    /// Move what was written to its place in the file, so that the log beside it can begin anew.
    ///
    /// `synced`: in such an order that a power failure costs no record of before. It takes the disk's time, which a
    /// file without records need not wait for.
    pub fn checkpoint(&self, synced: bool) -> Outcome<()> {
        let _calm = os::no_fork();
        let before: i64 = self.conn.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        if !synced {
            self.conn.pragma_update(None, "synchronous", "off")?;
        }
        let moved = self.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        self.conn.pragma_update(None, "synchronous", before)?;
        Ok(moved?)
    }

    /// Give the space of deleted records back. For when there are none.
    pub fn shrink(&self) -> Outcome<()> {
        let _calm = os::no_fork();
        self.conn.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok(())
    }

    /// Whether anything can be written.
    pub fn probe(&self) -> Outcome<()> {
        let _calm = os::no_fork();
        Ok(self.conn.pragma_update(None, "user_version", VERSION)?)
    }

    /// Whether the file is still in a directory.
    pub fn is_linked(&self) -> bool {
        self.file.metadata().is_ok_and(|found| found.nlink() > 0)
    }

    /// The bytes of the file, without its log.
    pub fn file_bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |found| found.len())
    }

    /// The bytes of the log, which the next checkpoint moves.
    pub fn log_bytes(&self) -> u64 {
        std::fs::metadata(log_of(&self.path)).map_or(0, |found| found.len())
    }

    /// What is to be synchronised for the records to outlive a power failure; needs no claim on the store meanwhile.
    pub fn to_sync(&self) -> io::Result<Vec<File>> {
        let log = File::open(log_of(&self.path))?;
        let directory = File::open(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok(vec![log, self.file.try_clone()?, directory])
    }

    /// Close it. `empty`: it is to be removed, so that nothing needs to reach the disk.
    pub fn close(self, empty: bool) {
        let _calm = os::no_fork();
        // What is in the log stays there: whoever opens the file next finds it, and this process ends the sooner.
        let _ = self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        if !empty && let Ok(log) = File::open(log_of(&self.path)) {
            let _ = log.sync_data();
        }
        // A file that cannot be closed properly is like one of a process that was killed.
        let _ = self.conn.close();
    }
}

/// What lies in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    pub records: usize,
    pub bytes: u64,
    pub oldest_ms: Option<u64>,
}

impl std::ops::AddAssign for Survey {
    fn add_assign(&mut self, other: Survey) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.oldest_ms = [self.oldest_ms, other.oldest_ms].into_iter().flatten().min();
    }
}

/// The write-ahead log of the database at `path`.
pub(super) fn log_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

fn read_row(row: &SqlRow<'_>) -> rusqlite::Result<Row> {
    let body: Vec<u8> = row.get(4)?;
    Ok(Row {
        seq: from_sql(row.get(0)?),
        created_ms: from_sql(row.get(1)?),
        record: Arc::new(Outgoing { idempotency_key: row.get(2)?, transaction_id: row.get(3)?, body: body.into() }),
    })
}

/// SQLite's integers are signed; ours stay far below the difference.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
