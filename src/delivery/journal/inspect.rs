//! The journal as somebody beside its processes sees it: the `revenium` command.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::folder::{Folder, Found};
use super::frame::{self, Contents, HEADER, Header, Stored};
use super::segment::{Segment, Taken};
use crate::common::os;
use crate::delivery::record::{Cause, Fate, Row};

/// What lies in one segment.
pub struct Look {
    pub found: Found,
    /// The process that uses it, if one does; 0: one that cannot be told.
    pub user: Option<u32>,
    /// The records that wait, by the numbers that the segment has for them.
    pub rows: Vec<Row>,
    /// How many others it has of which there is a trace still, and how they ended.
    pub settled: Vec<(Row, Fate)>,
    /// Places that cannot be read.
    pub damaged: usize,
}

/// Look into a segment, also one that is in use.
pub fn look(found: Found) -> io::Result<Look> {
    let bytes = fs::read(&found.path)?;
    let contents = Contents::of(&bytes);
    if contents.header.as_ref().is_some_and(|header| header.version > frame::VERSION) {
        return Err(io::Error::new(ErrorKind::Unsupported, "it was written by a later version of the library"));
    }
    if contents.is_foreign {
        return Err(io::Error::new(ErrorKind::InvalidData, "it is no file of this library"));
    }
    let row = |stored: Stored<'_>| Row {
        seq: stored.sequence,
        created_ms: stored.created_ms,
        record: Arc::new(stored.to_outgoing()),
    };
    Ok(Look {
        user: user_of(&found.path, contents.header.as_ref()),
        rows: contents.waiting.into_iter().map(|(_, stored)| row(stored)).collect(),
        settled: contents.settled.into_iter().map(|(stored, fate)| (row(stored), fate)).collect(),
        damaged: contents.damaged,
        found,
    })
}

fn user_of(path: &Path, header: Option<&Header>) -> Option<u32> {
    let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
    match os::try_lock(&file) {
        Ok(true) => None,
        // Whoever began it uses it, or one that adopted it.
        _ => Some(header.map(|header| header.process).filter(|process| os::is_alive(*process)).unwrap_or(0)),
    }
}

/// Give up records of a segment that nobody uses. How many there were; `None`: it is in use.
pub fn delete(found: &Found, sequences: &[u64]) -> io::Result<Option<usize>> {
    let segment = match Segment::take(&found.path)? {
        Taken::Ours(segment) => segment,
        Taken::InUse => return Ok(None),
        Taken::Foreign(why) => return Err(io::Error::new(ErrorKind::PermissionDenied, why)),
    };
    let look = look(Found { path: found.path.clone(), bytes: found.bytes })?;
    let (mut notes, mut deleted) = (Vec::new(), 0);
    for row in look.rows.iter().filter(|row| sequences.contains(&row.seq)) {
        frame::push_settled(&mut notes, row.seq, Fate::GivenUp(Cause::default()));
        deleted += 1;
    }
    if deleted == look.rows.len() {
        segment.unlink();
    } else {
        segment.append(segment.size()?, &notes)?;
    }
    Ok(Some(deleted))
}

/// Give the segments of another account or destination that nobody uses to `to`, whose processes will send them. How many.
pub fn hand_over(from: &Folder, to: &Folder) -> io::Result<usize> {
    to.prepare()?;
    let mut moved = 0;
    for found in from.segments()? {
        let Taken::Ours(segment) = Segment::take(&found.path)? else { continue };
        let Some(name) = found.path.file_name() else { continue };
        let header = Header::new(to.fingerprint()).to_bytes();
        // Not by the segment's own descriptor, which writes at the end only.
        let file: File = OpenOptions::new().write(true).open(&found.path)?;
        os::write_all_at(&file, &header, 0)?;
        fs::rename(&found.path, to.path().join(name))?;
        drop(segment);
        moved += 1;
    }
    Ok(moved)
}

/// See whether segments can be made and written in `spool`; nothing of it stays.
pub fn probe(spool: &Path) -> io::Result<()> {
    // In a place of its own, so that nothing is in anybody's way.
    let folder = Folder::new(spool, "doctor");
    let tried = Segment::create(&folder).and_then(|segment| {
        let mut bytes = Vec::new();
        frame::push_padding(&mut bytes, super::PROBE_BYTES);
        let written = segment.append(HEADER as u64, &bytes);
        segment.unlink();
        written.map(drop)
    });
    let _ = fs::remove_dir(folder.path());
    tried
}
