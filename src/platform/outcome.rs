//! What Revenium's answers about outcomes mean: reported already, amended meanwhile, nothing reported yet.

use super::params::Asked;
use super::send::{Failure, Request, Sent};
use super::{Platform, params};
use crate::common::error::Result;
use crate::common::log;
use crate::settings::Secret;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// Versions of more jobs than these are forgotten.
const MAX_VERSIONS: usize = 4096;

/// The last version of each job that an answer told, by team and id: an amendment says which one it means.
#[derive(Default)]
pub(super) struct Versions(Mutex<HashMap<(String, String), u64>>);

impl Versions {
    /// An amendment that names no version means the last one that was told.
    pub fn expect(&self, team: &str, asked: &mut Asked) {
        if asked.operation.name != "jobs.amend_outcome" {
            return;
        }
        let version = self.0.lock().get(&(team.to_owned(), job(asked).to_owned())).copied();
        if let (Some(Value::Object(body)), Some(version)) = (&mut asked.body, version) {
            body.entry("expectedEntityVersion").or_insert(version.into());
        }
    }

    fn learn(&self, team: &str, job: &str, answer: &Value) {
        let key = (team.to_owned(), job.to_owned());
        let mut versions = self.0.lock();
        match number(answer.get("entityVersion")) {
            Some(version) => {
                if versions.len() >= MAX_VERSIONS && !versions.contains_key(&key) {
                    versions.clear();
                }
                versions.insert(key, version);
            }
            None => drop(versions.remove(&key)),
        }
    }
}

fn job(asked: &Asked) -> &str {
    asked.path.iter().find(|(name, _)| *name == "id").map_or("", |(_, id)| id)
}

/// A whole number, or digits as text.
fn number(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(number) => number.as_u64(),
        Value::String(digits) => digits.trim().parse().ok(),
        _ => None,
    }
}

/// The member `name` of `details`, or of the answer itself.
fn detail<'a>(answer: &'a Value, name: &str) -> Option<&'a Value> {
    let inner = answer.get("details").and_then(|details| details.get(name));
    inner.or_else(|| answer.get(name)).filter(|value| !value.is_null())
}

/// The operation's JSON, or the error that tells what an answer means.
pub(super) async fn judge(
    platform: &Platform,
    http: &reqwest::Client,
    asked: &Asked,
    team: &str,
    key: &Secret,
    sent: Sent,
) -> Result<Vec<u8>> {
    let name = asked.operation.name;
    let failure = match sent {
        Ok(reply) => {
            // Lists and history tell of no single job.
            if matches!(name, "jobs.get" | "jobs.report_outcome" | "jobs.amend_outcome") {
                let answer = serde_json::from_slice(&reply.body).unwrap_or_default();
                platform.versions.learn(team, job(asked), &answer);
            }
            return Ok(reply.body);
        }
        Err(failure) => failure,
    };
    match (name, failure.status) {
        // There is such a job, which is what was asked for.
        ("jobs.create", 409) => Ok(match failure.json() {
            answer @ Value::Object(_) => answer.to_string().into_bytes(),
            _ => b"{}".to_vec(),
        }),
        ("jobs.report_outcome", 409) => reported(platform, http, asked, team, key, failure).await,
        ("jobs.amend_outcome", 409) => {
            let version = current_version(&failure.json());
            let told = version.map(|version| format!(": it is at version {version}")).unwrap_or_default();
            let sentence = format!("The outcome was amended meanwhile{told}. Read it, and amend it anew.");
            let facts = version.map_or_else(|| json!({}), |version| json!({ "current_entity_version": version }));
            Err(failure.into_error(asked.operation, Some(sentence), facts))
        }
        ("jobs.amend_outcome", 422) => {
            let sentence = "Nothing has been reported for this job that could be amended, or the reason is missing.";
            Err(failure.into_error(asked.operation, Some(sentence.to_owned()), json!({})))
        }
        ("jobs.report_outcome", 404) => {
            let sentence = "Revenium does not know this job: no record of it has arrived, and nobody created it.";
            Err(failure.into_error(asked.operation, Some(sentence.to_owned()), json!({})))
        }
        _ => Err(failure.into_error(asked.operation, None, json!({}))),
    }
}

/// 409 to a report: somebody reported before; maybe that was an earlier attempt of this very call.
async fn reported(
    platform: &Platform,
    http: &reqwest::Client,
    asked: &Asked,
    team: &str,
    key: &Secret,
    failure: Failure,
) -> Result<Vec<u8>> {
    if failure.maybe_done
        && let Some(stored) = stored(platform, http, asked, team, key).await
        && is_this_report(asked, &stored)
    {
        platform.versions.learn(team, job(asked), &stored);
        return Ok(stored.to_string().into_bytes());
    }
    let answer = failure.json();
    let guided = detail(&answer, "guidance").and_then(Value::as_str).is_some_and(|text| text.contains("PATCH"));
    if !guided {
        log::warn!("Revenium has an outcome of this job already; the report counts as made");
        return Ok(json!({ "alreadyReported": true }).to_string().into_bytes());
    }
    let mut facts = Map::from_iter([("already_reported".to_owned(), Value::Bool(true))]);
    if let Some(at) = detail(&answer, "reportedAt") {
        facts.insert("reported_at".into(), at.clone());
    }
    let updates = number(detail(&answer, "updateCount")).or_else(|| number(detail(&answer, "amendmentCount")));
    if let Some(updates) = updates {
        facts.insert("update_count".into(), updates.into());
    }
    let sentence = "An outcome was reported for this job already: amend it with jobs.amend_outcome.";
    Err(failure.into_error(asked.operation, Some(sentence.to_owned()), Value::Object(facts)))
}

/// The job as Revenium has it; one attempt.
async fn stored(platform: &Platform, http: &reqwest::Client, asked: &Asked, team: &str, key: &Secret) -> Option<Value> {
    let get = params::operation("jobs.get").ok()?;
    let read = Asked { operation: get, team: None, timeout: None, path: asked.path.clone(), query: vec![], body: None };
    let request = Request { url: platform.url(&read, team), body: None, key: key.clone() };
    let heard =
        platform.attempt(http, get.method, &request).await.ok().filter(|heard| (200..300).contains(&heard.status))?;
    serde_json::from_slice(&heard.body).ok()
}

/// Whether `stored` holds exactly what this call reports, and nobody amended it.
fn is_this_report(asked: &Asked, stored: &Value) -> bool {
    let Some(Value::Object(sent)) = &asked.body else { return false };
    let of_job = |name: &str| {
        let inner = stored.get("outcome").and_then(|outcome| outcome.get(name));
        stored.get(name).or(inner).filter(|value| !value.is_null())
    };
    let amended = number(of_job("updateCount")).or_else(|| number(of_job("amendmentCount"))).unwrap_or(0);
    let same = |name: &str| match (sent.get(name), of_job(name)) {
        (None, None) => true,
        // Numbers come back in another notation.
        (Some(sent), Some(stored)) => sent == stored || sent.as_f64().is_some_and(|sent| stored.as_f64() == Some(sent)),
        _ => false,
    };
    const TOLD: [&str; 5] = ["executionStatus", "outcomeType", "outcomeValue", "outcomeReason", "metadata"];
    amended == 0 && TOLD.into_iter().all(same)
}

/// The version that stands in Revenium's way, as a member or in its sentence.
fn current_version(answer: &Value) -> Option<u64> {
    let told = number(detail(answer, "currentEntityVersion")).or_else(|| number(detail(answer, "entityVersion")));
    told.or_else(|| {
        let (_, after) = answer.get("message")?.as_str()?.split_once("current version is ")?;
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(params: &str) -> Asked {
        params::read(params::operation("jobs.report_outcome").unwrap(), Some(params)).unwrap()
    }

    #[test]
    fn the_same_report_is_known_again() {
        let asked = report(r#"{"id":"j","executionStatus":"SUCCESS","outcomeType":"CONVERTED","outcomeValue":500}"#);
        for (stored, same) in [
            (json!({"executionStatus": "SUCCESS", "outcomeType": "CONVERTED", "outcomeValue": 500.0}), true),
            (json!({"outcome": {"executionStatus": "SUCCESS", "outcomeType": "CONVERTED", "outcomeValue": 500}}), true),
            (
                json!({"executionStatus": "SUCCESS", "outcomeType": "CONVERTED", "outcomeValue": 500, "updateCount": "1"}),
                false,
            ),
            (json!({"executionStatus": "SUCCESS", "outcomeType": "CONVERTED", "outcomeValue": 501}), false),
            (json!({"executionStatus": "SUCCESS", "outcomeType": "CONVERTED"}), false),
            (
                json!({"executionStatus": "SUCCESS", "outcomeType": "CONVERTED", "outcomeValue": 500, "outcomeReason": "x"}),
                false,
            ),
            (json!({}), false),
        ] {
            assert_eq!(is_this_report(&asked, &stored), same, "{stored}");
        }
    }

    #[test]
    fn versions_are_learned_sent_and_forgotten() {
        let versions = Versions::default();
        let amend = |params| {
            let operation = params::operation("jobs.amend_outcome").unwrap();
            let mut asked = params::read(operation, Some(params)).unwrap();
            versions.expect("t", &mut asked);
            asked.body.unwrap().get("expectedEntityVersion").and_then(Value::as_u64)
        };
        assert_eq!(amend(r#"{"id":"j","outcomeValue":1}"#), None);
        versions.learn("t", "j", &json!({"entityVersion": "4"}));
        assert_eq!(amend(r#"{"id":"j","outcomeValue":1}"#), Some(4));
        assert_eq!(amend(r#"{"id":"j","outcomeValue":1,"expectedEntityVersion":9}"#), Some(9));
        versions.learn("other", "j", &json!({}));
        assert_eq!(amend(r#"{"id":"j","outcomeValue":1}"#), Some(4));
        versions.learn("t", "j", &json!({}));
        assert_eq!(amend(r#"{"id":"j","outcomeValue":1}"#), None);
    }

    #[test]
    fn the_current_version_stands_in_a_member_or_in_the_sentence() {
        for (answer, expected) in [
            (json!({"details": {"currentEntityVersion": 7}}), Some(7)),
            (json!({"details": {"entityVersion": "8"}}), Some(8)),
            (json!({"message": "conflict: the current version is 12."}), Some(12)),
            (json!({"message": "conflict"}), None),
            (json!(null), None),
        ] {
            assert_eq!(current_version(&answer), expected, "{answer}");
        }
    }
}
