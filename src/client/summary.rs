//! The terminal summary: what one metered call took and cost, on standard error, once its caller has the result.

use super::Client;
use crate::completion::outcome::Outcome;
use crate::meter::Metadata;
use crate::settings::{PrintSummary, environment};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// A cost is known a while after its record arrived: asked for as often, so far apart. Those of Revenium's own SDK.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(2);

/// What is printed of one call.
pub struct CallSummary {
    model: Option<String>,
    provider: Option<&'static str>,
    input: Option<i64>,
    output: Option<i64>,
    duration: Duration,
    transaction_id: String,
    trace_id: Option<String>,
}

/// Those whose cost is being asked for.
#[derive(Default)]
pub struct Waiting(Mutex<(u64, BTreeMap<u64, CallSummary>)>);

impl Waiting {
    fn add(&self, summary: CallSummary) -> u64 {
        let mut waiting = self.0.lock();
        waiting.0 += 1;
        let number = waiting.0;
        waiting.1.insert(number, summary);
        number
    }

    fn take(&self, number: u64) -> Option<CallSummary> {
        self.0.lock().1.remove(&number)
    }

    fn take_all(&self) -> BTreeMap<u64, CallSummary> {
        std::mem::take(&mut self.0.lock().1)
    }
}

impl Client {
    /// What is to be printed of a call, if anything is.
    pub(super) fn summary_of(&self, outcome: &Outcome, metadata: &Metadata) -> Option<CallSummary> {
        if self.context.settings.print_summary == PrintSummary::Off {
            return None;
        }
        let tokens = &outcome.summary.usage.tokens;
        Some(CallSummary {
            model: outcome.facts.model.clone(),
            provider: outcome.facts.provider.map(|provider| provider.row().label),
            input: tokens.input,
            output: tokens.output,
            duration: outcome.facts.duration,
            transaction_id: outcome.facts.transaction_id.clone()?,
            trace_id: metadata.trace_id().map(str::to_owned),
        })
    }

    /// Print it, once its cost is known where it can be.
    pub(super) fn print_summary(self: &Arc<Self>, summary: CallSummary) {
        let params = json!({ "transactionId": summary.transaction_id }).to_string();
        let askable = self.platform.prepare("completions.cost", Some(&params), &environment).is_ok();
        let (true, Ok(runtime)) = (askable, self.runtime()) else {
            return summary.print(self.context.settings.print_summary, None);
        };
        let number = self.summaries.add(summary);
        let client = self.clone();
        runtime.spawn(async move {
            let cost = client.cost(&params).await;
            // Whoever takes it prints it: the end of the library does not wait for a cost.
            if let Some(summary) = client.summaries.take(number) {
                summary.print(client.context.settings.print_summary, cost);
            }
        });
    }

    /// Those that still wait for their cost go without it.
    pub(super) fn print_what_waits(&self) {
        for summary in self.summaries.take_all().values() {
            summary.print(self.context.settings.print_summary, None);
        }
    }

    async fn cost(&self, params: &str) -> Option<f64> {
        let http = &self.context.clients().ok()?.metering;
        for _ in 0..ATTEMPTS {
            tokio::time::sleep(PAUSE).await;
            let prepared = self.platform.prepare("completions.cost", Some(params), &environment).ok()?;
            let asked = tokio::time::timeout(PAUSE, self.platform.run(http, prepared)).await;
            let answer: Value = match asked.map(|answer| answer.result) {
                Ok(Ok(json)) => serde_json::from_slice(&json).ok()?,
                _ => continue,
            };
            let cost = answer.pointer("/_embedded/aICompletionMetricResourceList/0/totalCost").and_then(Value::as_f64);
            if cost.is_some() {
                return cost;
            }
        }
        None
    }
}

impl CallSummary {
    fn print(&self, how: PrintSummary, cost: Option<f64>) {
        let text = if how == PrintSummary::Json { self.json(cost) } else { self.human(cost) };
        // Nobody reads it any more: that is no reason to panic.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    /// Input and output; what came from a cache is counted apart.
    fn total(&self) -> Option<i64> {
        Some(self.input?.saturating_add(self.output?))
    }

    fn json(&self, cost: Option<f64>) -> String {
        let line = json!({
            "model": self.model,
            "provider": self.provider,
            "inputTokenCount": self.input,
            "outputTokenCount": self.output,
            "totalTokenCount": self.total(),
            "durationSeconds": self.duration.as_millis() as f64 / 1000.0,
            "cost": cost,
            "transactionId": self.transaction_id,
            "traceId": self.trace_id,
        });
        format!("{line}\n")
    }

    fn human(&self, cost: Option<f64>) -> String {
        let count = |tokens: Option<i64>| tokens.map_or_else(|| "?".to_owned(), |tokens| tokens.to_string());
        let cost = cost.map_or_else(|| "unavailable".to_owned(), |cost| format!("${cost:.6}"));
        let mut text = format!(
            "Revenium usage\n  model     {}\n  provider  {}\n  duration  {:.2} s\n  tokens    {} input, {} output, {} total\n  cost      {cost}\n",
            self.model.as_deref().unwrap_or("?"),
            self.provider.unwrap_or("?"),
            self.duration.as_secs_f64(),
            count(self.input),
            count(self.output),
            count(self.total()),
        );
        if let Some(id) = &self.trace_id {
            text += &format!("  trace     {id}\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> CallSummary {
        CallSummary {
            model: Some("claude-haiku-4-5".into()),
            provider: Some("ANTHROPIC"),
            input: Some(25),
            output: Some(17),
            duration: Duration::from_millis(1234),
            transaction_id: "msg_1".into(),
            trace_id: None,
        }
    }

    #[test]
    fn for_people_and_for_programs() {
        let text = summary().human(None);
        assert!(text.contains("tokens    25 input, 17 output, 42 total\n  cost      unavailable\n"), "{text}");
        let priced = CallSummary { trace_id: Some("t".into()), output: None, ..summary() }.human(Some(0.0125));
        assert!(priced.contains("25 input, ? output, ? total\n  cost      $0.012500\n  trace     t\n"), "{priced}");
        let line: Value = serde_json::from_str(&summary().json(Some(0.5))).unwrap();
        assert_eq!(
            (&line["totalTokenCount"], &line["durationSeconds"], &line["cost"]),
            (&json!(42), &json!(1.234), &json!(0.5))
        );
    }
}
