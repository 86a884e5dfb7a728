//! What a host tells of a call that it made itself: one JSON object.

use super::ending;
use crate::common::error::{Code, Error, Result};
use crate::common::json::edit::object_of_request;
use crate::common::json::object::Object;
use crate::meter::Metadata;
use crate::settings::Provider;
use serde_json::Value;
use serde_json::value::RawValue;
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The members of the object, read.
#[derive(Default)]
pub struct Told<'a> {
    /// The body of the request, as JSON.
    pub request: Option<&'a str>,
    /// The reply: one message as JSON, or the text of a stream.
    pub response: Option<&'a str>,
    pub events: Option<String>,
    pub error: Option<Error>,
    pub provider: Option<Provider>,
    pub model: Option<String>,
    pub region: Option<String>,
    pub streamed: Option<bool>,
    pub started_at: Option<SystemTime>,
    pub duration: Option<Duration>,
    pub first_token: Option<Duration>,
    pub attempts: u32,
    pub metadata: Option<Metadata>,
    pub batch: Option<Batch>,
    /// One line of a batch's results was never worked on: it was cancelled, or it expired.
    pub unused: bool,
    /// Of `revenium_budget_check()`: the call is made if it may be.
    pub admit: bool,
}

/// Which request of which Message Batch.
#[derive(Debug, PartialEq)]
pub struct Batch {
    pub id: Option<String>,
    pub custom_id: Option<String>,
}

impl Batch {
    /// The transaction id, where the batch says which request it was.
    pub fn transaction_id(&self) -> Option<String> {
        Some(format!("{}-{}", self.id.as_deref()?, self.custom_id.as_deref()?))
    }
}

/// Milliseconds beyond this are a mistake: a year.
const LONGEST_MS: f64 = 366.0 * 86_400_000.0;

impl<'a> Told<'a> {
    /// The request's body, as far as it is known.
    pub fn body(&self) -> &'a str {
        self.request.unwrap_or("{}")
    }

    /// A call that is over; `text`: the object of `revenium_record()`.
    pub fn parse_over(text: &'a str) -> Result<Told<'a>> {
        let told = Told::of(&object_of_request(text)?)?.of_a_record()?;
        if told.response.is_none() && told.events.is_none() && told.error.is_none() && !told.unused {
            let text = "A record needs what came of the call: \"response\", \"events\", \"result\" or \"error\".";
            return Err(Error::new(Code::Argument, text));
        }
        Ok(told)
    }

    /// A call that is not made yet, and where it would go; or a body alone.
    pub fn parse_planned(text: &'a str) -> Result<Told<'a>> {
        let Some(mut told) = Told::without_reply(text)? else { return Ok(Told::of_body(text)) };
        told.provider = told.provider.or_else(|| provider_of(told.body()));
        Ok(told)
    }

    /// A call that is being made; or a body alone.
    pub fn parse_begun(text: &'a str) -> Result<Told<'a>> {
        Told::without_reply(text)?.map_or_else(|| Ok(Told::of_body(text)), Told::of_a_record)
    }

    fn of_body(text: &'a str) -> Told<'a> {
        Told { request: Some(text), attempts: 1, ..Told::default() }
    }

    /// `None`: it is a body alone. That is an object, too: the Messages API's.
    fn without_reply(text: &'a str) -> Result<Option<Told<'a>>> {
        let members = object_of_request(text)?;
        if members.get("request").is_none() {
            return Ok(None);
        }
        let told = Told::of(&members)?;
        if told.response.is_some() || told.events.is_some() || told.error.is_some() || told.batch.is_some() {
            let text = "A call that is being made has no reply yet: revenium_record() takes one that is over.";
            return Err(Error::new(Code::Argument, text));
        }
        Ok(Some(told))
    }

    fn of(members: &Object<'a>) -> Result<Told<'a>> {
        let mut told = Told { attempts: 1, ..Told::default() };
        let (mut is_batch, mut batch) = (false, Batch { id: None, custom_id: None });
        for (name, value) in members.iter() {
            let value = members.get(name).unwrap_or(value);
            if value.get() == "null" {
                continue;
            }
            let wanted = |what: &str| Error::new(Code::Argument, format!("\"{name}\" must be {what}."));
            match name {
                "request" => told.request = Some(object(value).ok_or_else(|| wanted("the request's body, an object"))?),
                "response" => told.response = Some(object(value).ok_or_else(|| wanted("the reply, an object"))?),
                "events" => told.events = Some(string(value).ok_or_else(|| wanted("the text of the stream"))?),
                "result" => told.take_result(value).map_err(|_| wanted("one result of a Message Batch"))?,
                "error" => told.error = ending::of(&json(value).ok_or_else(|| wanted("an object"))?)?.or_else(failed),
                "provider" => {
                    let known = string(value).and_then(|name| Provider::named(&name));
                    told.provider =
                        Some(known.ok_or_else(|| wanted("\"anthropic\", \"bedrock\", \"vertex\" or \"foundry\""))?);
                }
                "model" => told.model = Some(word(value).ok_or_else(|| wanted("the name of a model"))?),
                "region" => told.region = Some(word(value).ok_or_else(|| wanted("the name of a region"))?),
                "streamed" => told.streamed = Some(flag(value).ok_or_else(|| wanted("true or false"))?),
                "started_at" => {
                    let what = "a time such as 2026-11-23T00:03:53.412Z, or milliseconds since 1970";
                    told.started_at = Some(time(value).ok_or_else(|| wanted(what))?);
                }
                "duration_ms" => told.duration = Some(millis(value).ok_or_else(|| wanted("milliseconds"))?),
                "time_to_first_token_ms" => {
                    told.first_token = Some(millis(value).ok_or_else(|| wanted("milliseconds"))?);
                }
                "attempts" => {
                    let attempts = value.get().parse().ok().filter(|attempts| *attempts > 0);
                    told.attempts = attempts.ok_or_else(|| wanted("a number above 0"))?;
                }
                "usage_metadata" => told.metadata = Some(Metadata::from_json(value.get())),
                "batch" => is_batch = flag(value).ok_or_else(|| wanted("true or false"))?,
                "batch_id" => batch.id = Some(word(value).ok_or_else(|| wanted("the batch's id"))?),
                "admit" => told.admit = flag(value).ok_or_else(|| wanted("true or false"))?,
                "custom_id" => batch.custom_id = Some(word(value).ok_or_else(|| wanted("the id of a request"))?),
                _ => return Err(unknown(name)),
            }
        }
        told.batch = is_batch.then_some(batch);
        Ok(told)
    }

    fn of_a_record(self) -> Result<Told<'a>> {
        match self.admit {
            true => Err(unknown("admit")),
            false => Ok(self),
        }
    }

    /// `{"type":"succeeded","message":{…}}`, `{"type":"errored","error":{…}}`, or one of those that were not worked on.
    fn take_result(&mut self, value: &'a RawValue) -> Result<()> {
        let members = object_of_request(value.get())?;
        let kind = members.get("type").and_then(string).unwrap_or_default();
        let wrong = || Error::new(Code::Argument, "");
        match kind.as_str() {
            "succeeded" => {
                self.response = Some(members.get("message").and_then(object).ok_or_else(wrong)?);
            }
            "errored" => {
                // The Messages API's own envelope, or what stands in it.
                let error = members.get("error").and_then(json).ok_or_else(wrong)?;
                let inner = error.get("error").filter(|inner| inner.is_object()).unwrap_or(&error).clone();
                self.error = ending::of(&serde_json::json!({ "error": inner }))?;
            }
            "canceled" | "expired" => self.unused = true,
            _ => return Err(wrong()),
        }
        Ok(())
    }
}

fn unknown(name: &str) -> Error {
    Error::new(Code::Argument, format!("A record has no member named \"{name}\"."))
}

/// "error": {} is one of which nobody knows more.
fn failed() -> Option<Error> {
    Some(Error::new(Code::Api, "The call failed."))
}

/// Whose body this is: AWS and Google want a version of their own in it.
pub fn provider_of(body: &str) -> Option<Provider> {
    Provider::of_version(&Object::parse(body)?.get("anthropic_version").and_then(string)?)
}

fn json(value: &RawValue) -> Option<Value> {
    serde_json::from_str(value.get()).ok()
}

fn object(value: &RawValue) -> Option<&str> {
    Some(value.get()).filter(|text| text.starts_with('{'))
}

fn string(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// Text that is an id or a name.
fn word(value: &RawValue) -> Option<String> {
    let text = string(value)?.trim().to_owned();
    (!text.is_empty() && text.len() <= 2048 && !text.chars().any(char::is_control)).then_some(text)
}

fn flag(value: &RawValue) -> Option<bool> {
    value.get().parse().ok()
}

fn millis(value: &RawValue) -> Option<Duration> {
    let millis: f64 = value.get().parse().ok()?;
    (0.0..=LONGEST_MS).contains(&millis).then(|| Duration::from_secs_f64(millis / 1000.0))
}

fn time(value: &RawValue) -> Option<SystemTime> {
    if let Ok(millis) = value.get().parse::<f64>() {
        // Up to the year 9999.
        let fits = (0.0..253_402_300_800_000.0).contains(&millis);
        return fits.then(|| SystemTime::UNIX_EPOCH + Duration::from_millis(millis as u64));
    }
    let time = OffsetDateTime::parse(&string(value)?, &Rfc3339).ok()?;
    (time.unix_timestamp() >= 0).then(|| time.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn parse(text: &str) -> Result<Told<'_>> {
        Told::of(&object_of_request(text)?)
    }

    #[test]
    fn everything_that_can_be_told() {
        let told = parse(
            r#"{"request":{"model":"m"},"events":"event: ping\n","provider":"vertex","model":"m@1","region":"us-east5",
            "streamed":true,"started_at":"2026-11-23T01:03:53.5+01:00","duration_ms":12.5,"time_to_first_token_ms":3,
            "attempts":2,"batch":false,"batch_id":"b","response":null,"error":{"status":503}}"#,
        )
        .unwrap();
        assert_eq!((told.request, told.events.as_deref()), (Some(r#"{"model":"m"}"#), Some("event: ping\n")));
        assert_eq!((told.provider, told.streamed, told.attempts), (Some(Provider::Vertex), Some(true), 2));
        assert_eq!(told.started_at, Some(UNIX_EPOCH + Duration::from_millis(1_795_392_233_500)));
        assert_eq!(
            (told.duration, told.first_token),
            (Some(Duration::from_micros(12_500)), Some(Duration::from_millis(3)))
        );
        assert_eq!(told.error.unwrap().code, Code::InternalServer);
        assert!(told.batch.is_none() && told.response.is_none());
        let told = parse(r#"{"started_at":1795392233500,"error":{}}"#).unwrap();
        assert_eq!(told.started_at, Some(UNIX_EPOCH + Duration::from_millis(1_795_392_233_500)));
        assert_eq!(told.error.unwrap().code, Code::Api);
    }

    #[test]
    fn results_of_batches() {
        let of = |result: &str| {
            let line = format!(r#"{{"batch":true,"batch_id":"msgbatch_1","custom_id":"a","result":{result}}}"#);
            parse(&line).map(|told| {
                assert_eq!(told.batch.unwrap().transaction_id().as_deref(), Some("msgbatch_1-a"));
                (told.response.map(str::to_owned), told.error.map(|error| error.code), told.unused)
            })
        };
        assert_eq!(
            of(r#"{"type":"succeeded","message":{"id":"x"}}"#).unwrap(),
            (Some(r#"{"id":"x"}"#.into()), None, false)
        );
        let errored = r#"{"type":"errored","error":{"type":"error","error":{"type":"invalid_request_error"}}}"#;
        assert_eq!(of(errored).unwrap(), (None, Some(Code::BadRequest), false));
        assert_eq!(of(r#"{"type":"expired"}"#).unwrap(), (None, None, true));
        assert_eq!(of(r#"{"type":"canceled"}"#).unwrap(), (None, None, true));
        for wrong in ["{}", "7", r#"{"type":"succeeded"}"#, r#"{"type":"new"}"#] {
            assert_eq!(of(wrong).err().map(|error| error.code), Some(Code::Argument), "{wrong}");
        }
    }

    #[test]
    fn a_body_says_whose_it_is() {
        for (body, provider) in [
            (r#"{"anthropic_version":"bedrock-2023-05-31"}"#, Some(Provider::Bedrock)),
            (r#"{"anthropic_version":"vertex-2023-10-16"}"#, Some(Provider::Vertex)),
            (r#"{"anthropic_version":5}"#, None),
            (r#"{"model":"m"}"#, None),
        ] {
            assert_eq!(provider_of(body), provider, "{body}");
        }
        let told = Told::parse_begun(r#"{"model":"m","messages":[]}"#).unwrap();
        assert_eq!(told.request, Some(r#"{"model":"m","messages":[]}"#));
        assert!(Told::parse_begun(r#"{"request":{},"response":{}}"#).is_err());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            (r#"{"duration":5}"#, "\"duration\""),
            (r#"{"request":"text"}"#, "\"request\""),
            (r#"{"response":[]}"#, "\"response\""),
            (r#"{"provider":"openai"}"#, "\"vertex\""),
            (r#"{"duration_ms":-1}"#, "\"duration_ms\""),
            (r#"{"started_at":"yesterday"}"#, "\"started_at\""),
            (r#"{"started_at":1e300}"#, "\"started_at\""),
            (r#"{"streamed":"yes"}"#, "\"streamed\""),
            (r#"{"attempts":0}"#, "\"attempts\""),
            (r#"{"custom_id":" "}"#, "\"custom_id\""),
        ] {
            let error = parse(text).err().unwrap();
            assert!(error.code == Code::Argument && error.message.contains(part), "{text}: {}", error.message);
        }
        assert_eq!(parse("[]").err().unwrap().code, Code::Json);
    }
}
