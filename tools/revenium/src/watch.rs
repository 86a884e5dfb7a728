//! `revenium watch`: the records of a host's spool on the sandbox's page, read only.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ::sandbox::{Feed, View, estimate};
use lexopt::prelude::*;
use revenium::inside::journal::Look;
use revenium::inside::redact;
use revenium::inside::{Cause, Endpoint, Fate, Reason, Row};
use revenium::inside::{Settings, environment};
use serde_json::{Map, Value as Json, json};

use crate::sandbox::show;
use crate::spool::{directory, folder, looks, user_in_words};

const HELP: &str = "\
revenium watch: shows what waits in the spool and what becomes of it, on a page

Usage:
  revenium watch [--port N] [--open] [--seconds N]

Nothing is changed, nothing is sent. The records are those of REVENIUM_SPOOL_DIR, REVENIUM_METERING_API_KEY and
REVENIUM_METERING_BASE_URL; e-mail addresses and keys are left out. It listens on 127.0.0.1 only, and its address holds a
secret, because others may have a login on this machine.

  --port N      the port; 7358 by default, 0 takes a free one
  --open        open the page in a browser
  --seconds N   end after so many seconds
";

const PORT: u16 = 7358;
/// Between two looks into the spool.
const PAUSE: Duration = Duration::from_millis(500);
/// What a page is told at most before it is told anew, of what still waits.
const LIMIT: usize = 200_000;

pub struct Watch {
    port: u16,
    open: bool,
    seconds: Option<u64>,
}

/// `None`: the help was asked for, and shown.
pub fn parse(mut arguments: lexopt::Parser) -> Result<Option<Watch>, lexopt::Error> {
    let mut watch = Watch { port: PORT, open: false, seconds: None };
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => {
                say!("{}", HELP.trim_end());
                return Ok(None);
            }
            Long("port") => watch.port = arguments.value()?.parse()?,
            Long("open") => watch.open = true,
            Long("seconds") => watch.seconds = Some(arguments.value()?.parse()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(watch))
}

pub fn watch(asked: Watch) -> Result<(), String> {
    let settings = Settings::load(None, &environment).map_err(|error| error.message)?.0;
    let directory = directory(&settings)?;
    let feed = Arc::new(Feed::default());
    let mut known = Known::default();
    // What is wrong is said before anything is shown.
    let mut trouble = known.look(&settings, &feed)?;
    trouble.iter().for_each(|why| eprintln!("revenium: {why}"));
    let filled = feed.clone();
    // It ends with the process.
    thread::spawn(move || {
        loop {
            thread::sleep(PAUSE);
            let found = known.look(&settings, &filled).unwrap_or_else(|why| vec![why]);
            found.iter().filter(|why| !trouble.contains(why)).for_each(|why| eprintln!("revenium: {why}"));
            trouble = found;
        }
    });

    let view = View {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, asked.port)),
        path: format!("/{}", uuid::Uuid::new_v4().simple()),
        about: json!({
            "mode": "watch",
            "place": format!("The spool in {}, read only; e-mail addresses and keys are left out.", directory.display()),
        }),
        seconds: asked.seconds,
    };
    let listening = |url: &str| {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "What lies in {}: {url}", directory.display())?;
        stdout.flush()?;
        if asked.open {
            show(url);
        }
        Ok(())
    };
    ::sandbox::view(view, feed, listening).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {} is in use; choose another with --port, or 0 for a free one", asked.port)
        }
        _ => format!("the page cannot be served: {error}"),
    })
}

/// A record as it was found.
struct Seen<'a> {
    row: &'a Row,
    state: State,
}

#[derive(Clone, PartialEq)]
struct State {
    name: &'static str,
    why: String,
}

/// Every record that there is a trace of, oldest first.
fn seen(segments: &[Look]) -> Vec<Seen<'_>> {
    let mut seen = Vec::new();
    for look in segments {
        let why = match look.user {
            Some(_) => user_in_words(look.user),
            None => "left behind; the next process with this spool sends it, or revenium spool send".into(),
        };
        let waiting = State { name: "waiting", why };
        seen.extend(look.rows.iter().map(|row| Seen { row, state: waiting.clone() }));
        seen.extend(look.settled.iter().map(|(row, fate)| Seen { row, state: State::of(*fate) }));
    }
    seen.sort_by_key(|seen| seen.row.created_ms);
    seen
}

impl Seen<'_> {
    fn key(&self) -> &str {
        &self.row.record.idempotency_key
    }
}

impl State {
    fn of(fate: Fate) -> State {
        match fate {
            Fate::Delivered => State { name: "delivered", why: String::new() },
            Fate::GivenUp(Cause { reason: Some(Reason::Refused), http_status: Some(status) }) => State {
                name: "refused",
                why: format!("Revenium answered with HTTP status {status}, as it would again"),
            },
            Fate::GivenUp(Cause { reason, .. }) => State { name: "given up", why: given_up(reason).into() },
        }
    }

    fn waiting(&self) -> bool {
        self.name == "waiting"
    }
}

fn given_up(reason: Option<Reason>) -> &'static str {
    match reason {
        Some(Reason::Expired) => "it waited longer than spool_max_age_s",
        Some(Reason::SpoolFull) => "the spool was full, and this its oldest record",
        Some(Reason::QueueFull) => "memory was full, and this the oldest record",
        Some(Reason::Shutdown) => "its process ended",
        Some(Reason::Corrupt) => "it could not be read",
        Some(Reason::Refused) => "it makes no request that Revenium would understand",
        None => "dropped by hand",
    }
}

/// What the pages were told.
#[derive(Default)]
struct Known {
    records: HashMap<String, Told>,
    /// Of the last record.
    number: u64,
    told: usize,
}

struct Told {
    item: Map<String, Json>,
    state: State,
}

impl Known {
    /// Look into the spool and tell what is new; gives what cannot be read of it, and why.
    fn look(&mut self, settings: &Settings, feed: &Feed) -> Result<Vec<String>, String> {
        let looks = looks(&folder(settings)?)?;
        self.tell(seen(&looks.segments), feed);
        Ok(looks.unreadable)
    }

    fn tell(&mut self, seen: Vec<Seen<'_>>, feed: &Feed) {
        if self.told > LIMIT {
            self.records.retain(|_, told| told.state.waiting());
            self.told = self.records.len();
            feed.clear();
            let mut left: Vec<&Told> = self.records.values().collect();
            left.sort_by_key(|told| told.item["n"].as_u64());
            left.iter().for_each(|told| feed.push(&json!(told.item)));
        }
        let here: HashSet<&str> = seen.iter().map(Seen::key).collect();
        let gone = State { name: "gone", why: "delivered, or refused for good".into() };
        for (_, told) in
            self.records.iter_mut().filter(|(key, told)| told.state.waiting() && !here.contains(key.as_str()))
        {
            self.told += usize::from(told.becomes(&gone, feed));
        }
        for seen in seen {
            if let Some(told) = self.records.get_mut(seen.key()) {
                self.told += usize::from(told.becomes(&seen.state, feed));
                continue;
            }
            self.number += 1;
            let mut told = Told { item: item(self.number, &seen), state: State { name: "", why: String::new() } };
            self.told += usize::from(told.becomes(&seen.state, feed));
            self.records.insert(seen.key().to_owned(), told);
        }
    }
}

impl Told {
    /// Tells the pages; `false` when there is nothing new to tell.
    fn becomes(&mut self, state: &State, feed: &Feed) -> bool {
        if self.state == *state {
            return false;
        }
        self.state = state.clone();
        self.item.insert("state".into(), state.name.into());
        self.item.insert("why".into(), state.why.as_str().into());
        feed.push(&json!(self.item));
        true
    }
}

fn item(number: u64, seen: &Seen<'_>) -> Map<String, Json> {
    let record = &seen.row.record;
    let body: Map<String, Json> = serde_json::from_slice(&record.body).unwrap_or_default();
    let kind = if record.endpoint == Endpoint::TOOL_EVENTS { "tool" } else { "completion" };
    let mut item = Map::new();
    if let Some(cost) = estimate(&body) {
        item.insert("cost".into(), cost.into());
    }
    item.insert("kind".into(), kind.into());
    item.insert("n".into(), number.into());
    item.insert("at".into(), seen.row.created_ms.into());
    item.insert("key".into(), seen.key().into());
    item.insert("body".into(), redacted(Json::Object(body)));
    item
}

fn redacted(value: Json) -> Json {
    match value {
        Json::String(text) => redact(&text).to_string().into(),
        Json::Array(values) => values.into_iter().map(redacted).collect(),
        Json::Object(members) => {
            members.into_iter().map(|(name, value)| (name, redacted(value))).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}
