//! A call that somebody else is making: its reply passes by, byte for byte.

use super::reply::ObservedReply;
use super::told::Told;
use super::{Observed, Seen, ending};
use crate::common::error::{Code, Error, Result};
use crate::meter::Times;
use parking_lot::Mutex;
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime};

/// It leaves its record when it ends, and as cancelled if nobody ends it.
pub struct Tap(Mutex<Option<Open>>);

struct Open {
    observed: Observed,
    reply: ObservedReply,
    started: SystemTime,
    clock: Instant,
    first_token: Option<Duration>,
}

impl Tap {
    pub fn new(observed: Observed, told: &Told<'_>) -> Tap {
        let max = observed.context.settings.max_response_bytes;
        let (now, clock) = (SystemTime::now(), Instant::now());
        let started = told.started_at.unwrap_or(now);
        // A call is often watched from its answer's head on, and has lasted a while by then.
        let before = now.duration_since(started).unwrap_or_default();
        Tap(Mutex::new(Some(Open {
            observed,
            reply: ObservedReply::new(max),
            started,
            clock: clock.checked_sub(before).unwrap_or(clock),
            first_token: None,
        })))
    }

    /// More of the reply. What cannot be read shows in the record; it is no matter of whoever passes it on.
    pub fn write(&self, bytes: &[u8]) {
        let mut open = self.0.lock();
        let Some(open) = open.as_mut().filter(|open| open.observed.is_watched()) else { return };
        open.reply.push(bytes);
        if open.first_token.is_none() && open.reply.has_first_delta() {
            open.first_token = Some(open.clock.elapsed());
        }
    }

    /// The reply is over: whole where `ending` says nothing. Once; whatever comes later changes nothing.
    pub fn end(&self, ending: Option<&str>) -> Result<()> {
        let error = match ending.map(str::trim).filter(|text| !text.is_empty()) {
            None => None,
            Some(text) => {
                let fault = |_| Error::new(Code::Json, "The ending is not valid JSON.");
                ending::of(&serde_json::from_str::<Value>(text).map_err(fault)?)?
            }
        };
        self.close(error);
        Ok(())
    }

    /// Nobody will end it.
    pub fn abandon(&self) {
        self.close(Some(Error::new(Code::Cancelled, "The call was given up.")));
    }

    fn close(&self, error: Option<Error>) {
        // Out of the lock: records take their time.
        let Some(open) = self.0.lock().take() else { return };
        let provider = open.reply.provider();
        let read = open.reply.end(open.observed.body.is_some());
        // A message that came whole was no failure, however its connection ended.
        let error = match read.fault {
            None if read.summary.is_some() => error.filter(|error| error.status().is_some_and(|status| status >= 400)),
            fault => error.or(fault),
        };
        let missing = Error::new(Code::Stream, "The call ended without a reply.");
        let error = error.as_ref().or(read.summary.is_none().then_some(&missing));
        open.observed.record(&Seen {
            provider,
            streamed: open.observed.streamed.unwrap_or(read.was_streamed),
            times: Times { started: open.started, first_token: open.first_token, ended: open.clock.elapsed() },
            summary: read.summary.as_ref(),
            error,
            batch: None,
            message: read.message.as_deref(),
        });
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.abandon();
    }
}
