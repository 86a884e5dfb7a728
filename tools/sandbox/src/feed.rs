//! What the page shows, in the order it happened: read from the beginning by each page, then as it goes on.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, Stream};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use crate::state::Record;

/// One message to a page: so many items, or so many bytes of records.
const BATCH: usize = 2_000;
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// What arrives together is sent together.
const PAUSE: Duration = Duration::from_millis(30);

#[derive(Clone)]
pub(crate) enum Item {
    /// With its number.
    Record(usize, Arc<Record>),
    Line(Arc<str>),
}

/// Items are added, never changed; a later one may speak of the same thing as an earlier one.
pub struct Feed {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

struct Inner {
    /// Another one when everything was forgotten, or the process is another.
    epoch: u64,
    items: Vec<Item>,
}

impl Default for Feed {
    fn default() -> Self {
        let inner = Inner { epoch: crate::view::random(), items: Vec::new() };
        Self { inner: Mutex::new(inner), changed: watch::Sender::new(()) }
    }
}

impl Feed {
    /// Adds an item as the page reads it: a JSON object with a `kind`.
    pub fn push(&self, item: &Value) {
        self.add(Item::Line(item.to_string().into()));
    }

    /// What can be set on the page, or the jobs, are no longer what they were: pages ask for `/sandbox/state`.
    pub(crate) fn state_changed(&self) {
        self.add(Item::Line(r#"{"kind":"state"}"#.into()));
    }

    pub(crate) fn add(&self, item: Item) {
        self.inner.lock().items.push(item);
        self.changed.send_replace(());
    }

    pub fn clear(&self) {
        let mut inner = self.inner.lock();
        inner.epoch = crate::view::random();
        let old = std::mem::take(&mut inner.items);
        drop(inner);
        drop(old);
        self.changed.send_replace(());
    }

    /// `last` is the id of the last message that the page has read.
    pub fn live(self: Arc<Self>, last: Option<&str>) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
        let place = last.and_then(|id| id.split_once('-')).and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let changed = self.changed.subscribe();
        let (epoch, position) = place.unwrap_or((0, 0));
        let reader = Reader { feed: self, changed, epoch, position };
        let events = stream::unfold(reader, |mut reader| async {
            let event = reader.next().await;
            Some((Ok(event), reader))
        });
        Sse::new(events).keep_alive(KeepAlive::default())
    }
}

struct Reader {
    feed: Arc<Feed>,
    changed: watch::Receiver<()>,
    epoch: u64,
    position: usize,
}

impl Reader {
    async fn next(&mut self) -> Event {
        loop {
            self.changed.borrow_and_update();
            if let Some(event) = self.read() {
                return event;
            }
            // The feed is held here, so the sender lives.
            let _ = self.changed.changed().await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn read(&mut self) -> Option<Event> {
        let inner = self.feed.inner.lock();
        if inner.epoch != self.epoch || self.position > inner.items.len() {
            (self.epoch, self.position) = (inner.epoch, 0);
            let items = inner.items.len();
            drop(inner);
            return Some(self.event("reset", format!(r#"{{"items":{items}}}"#)));
        }
        let mut bytes = 0;
        let fits = |item: &&Item| {
            bytes += if let Item::Record(_, record) = item { record.request.body.len() } else { 0 };
            bytes <= BATCH_BYTES
        };
        let rest = inner.items.get(self.position..).unwrap_or_default();
        // One that is larger than a batch goes alone.
        let count = rest.iter().take(BATCH).take_while(fits).count().max(1).min(rest.len());
        let batch = rest.get(..count).unwrap_or_default().to_vec();
        drop(inner);
        if batch.is_empty() {
            return None;
        }
        self.position += batch.len();
        let items: Vec<String> = batch.iter().map(json).collect();
        Some(self.event("items", format!("[{}]", items.join(","))))
    }

    fn event(&self, name: &str, data: String) -> Event {
        Event::default().event(name).id(format!("{}-{}", self.epoch, self.position)).data(data)
    }
}

fn json(item: &Item) -> String {
    let (number, record) = match item {
        Item::Line(line) => return line.to_string(),
        Item::Record(number, record) => (number, record),
    };
    // Between the parts of a JSON text line ends mean nothing, inside of strings they don't occur; an event ends with one.
    let body = String::from_utf8_lossy(&record.request.body).replace(['\n', '\r'], " ");
    let (at, key) = (record.received_at_ms, Value::from(record.idempotency_key.as_str()));
    let mut json = format!(r#"{{"kind":"completion","n":{number},"at":{at},"key":{key},"body":{body}"#);
    if let Some(cost) = record.cost {
        let _ = write!(json, r#","cost":{cost}"#);
    }
    json.push('}');
    json
}
