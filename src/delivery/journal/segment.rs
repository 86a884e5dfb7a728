//! One file of the journal: written at its end only, by the one who has locked it.
//!
//! Whose it is, is a lock on the open file. A lock that lies, as on some network file systems, may have two processes
//! send the same record, with the same key and bytes. So that none is lost even then, only the one who began a segment
//! cuts it, and whoever writes sees afterwards whether the file still has a name ([`Segment::append`]).

use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek};
use std::path::{Path, PathBuf};

use super::folder::Folder;
use super::frame::{HEADER, Header};
use crate::common::os::{self, ClosedInChildren};

/// Larger files are not ours.
const MOST: u64 = 1 << 30;
/// So much is read at a time.
const PIECE: usize = 128 << 10;

pub struct Segment {
    path: PathBuf,
    // Before the file: a child must not close what has its number later.
    _closed_in_children: ClosedInChildren,
    file: File,
}

/// How a file is after something was appended.
pub struct Appended {
    /// Where it lies in the file.
    pub offset: u64,
    /// The file has a name still; else somebody deleted it.
    pub linked: bool,
}

/// What became of the wish to have a segment.
pub enum Taken {
    Ours(Segment),
    /// Somebody uses it, or it is gone.
    InUse,
    /// It is no file of ours: another owner, another type, not readable.
    Foreign(String),
}

fn too_many() -> io::Error {
    io::Error::new(ErrorKind::QuotaExceeded, "too many files of the journal are open")
}

impl Segment {
    /// Begin one. It gets its name when it is locked and has its header, so that nobody takes it for a dead process's.
    pub fn create(folder: &Folder) -> io::Result<Segment> {
        folder.prepare()?;
        let path = folder.fresh_path();
        let unfinished = path.with_extension("new");
        let _no_fork = os::no_fork();
        let file = os::appended_file().create_new(true).open(&unfinished)?;
        let made = lock(file, path.clone()).and_then(|taken| match taken {
            Some(segment) => {
                os::append(&segment.file, &Header::new(folder.fingerprint()).to_bytes())?;
                fs::rename(&unfinished, &path)?;
                Ok(segment)
            }
            None => Err(ErrorKind::ResourceBusy.into()),
        });
        if made.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        made
    }

    /// Have a segment that nobody uses.
    pub fn take(path: &Path) -> io::Result<Taken> {
        let named = match fs::symlink_metadata(path) {
            Ok(named) => named,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Taken::InUse),
            Err(error) => return Ok(Taken::Foreign(error.to_string())),
        };
        if !named.is_file() || !os::is_ours(&named) || named.len() > MOST {
            return Ok(Taken::Foreign("it is not a file of this user and program".into()));
        }
        let _no_fork = os::no_fork();
        let file = match os::appended_file().open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Taken::InUse),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(Taken::Foreign(error.to_string())),
            Err(error) => return Err(error),
        };
        // Whoever had it may have deleted it meanwhile.
        Ok(match lock(file, path.to_owned())? {
            Some(segment) if os::standing(&segment.file)?.linked => Taken::Ours(segment),
            _ => Taken::InUse,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Write at the end, all or nothing as far as the file system lets us. `end`: where that was when we last looked.
    pub fn append(&self, end: u64, bytes: &[u8]) -> io::Result<Appended> {
        let size = bytes.len() as u64;
        if end + size > os::largest_file() {
            return Err(ErrorKind::FileTooLarge.into());
        }
        if let Err(error) = os::append(&self.file, bytes) {
            // What was written of it would count as damaged.
            if self.file.metadata().is_ok_and(|now| now.len() > end && now.len() < end + size) {
                let _ = self.file.set_len(end);
            }
            return Err(error);
        }
        let now = os::standing(&self.file)?;
        // Somebody else has appended too: a lock lies.
        let end = if now.size == end + size { now.size } else { (&self.file).stream_position()? };
        Ok(Appended { offset: end - size.min(end), linked: now.linked })
    }

    pub fn read(&self, offset: u64, size: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        os::read_exact_at(&self.file, &mut bytes, offset)?;
        Ok(bytes)
    }

    /// `between`: to be called every now and then.
    pub fn read_all(&self, mut between: impl FnMut()) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.size()?.min(MOST) as usize];
        for (number, piece) in bytes.chunks_mut(PIECE).enumerate() {
            os::read_exact_at(&self.file, piece, (number * PIECE) as u64)?;
            between();
        }
        Ok(bytes)
    }

    /// Forget everything but the header.
    pub fn cut(&self) -> io::Result<()> {
        self.file.set_len(HEADER as u64)
    }

    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether the file is still in a directory.
    pub fn is_linked(&self) -> bool {
        os::standing(&self.file).is_ok_and(|now| now.linked)
    }

    /// What was appended reaches the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Delete it. To be done while it is locked, or another process might adopt it.
    pub fn unlink(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn lock(file: File, path: PathBuf) -> io::Result<Option<Segment>> {
    // Dropped before the file on every way out, as when a segment is.
    let closed_in_children = os::close_in_children(&file).ok_or_else(too_many)?;
    if !os::try_lock(&file)? {
        return Ok(None);
    }
    Ok(Some(Segment { path, _closed_in_children: closed_in_children, file }))
}
