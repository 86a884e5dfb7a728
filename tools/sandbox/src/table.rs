//! Records for people: one line as each arrives, one table at the end.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::state::Record;

type Body = Map<String, Value>;

/// Fields shown as `name=value` after the fixed columns, with their path in the record.
const LABELS: &[(&str, &str)] = &[
    ("organization", "/organizationName"),
    ("product", "/productName"),
    ("subscriber", "/subscriber/id"),
    ("agent", "/agent"),
    ("task", "/taskType"),
    ("trace", "/traceId"),
    ("error", "/errorReason"),
];

pub fn line(number: usize, body: &Body) -> String {
    let columns = columns(body);
    let source = body.get("middlewareSource").and_then(Value::as_str).map(|source| format!("({source})"));
    let parts: Vec<String> =
        columns.into_iter().chain([labels(body)]).chain(source).filter(|part| !part.is_empty()).collect();
    format!("record {number}: {}", parts.join("  "))
}

/// All records, a group for each middleware.
pub fn table(records: &[Arc<Record>]) -> String {
    let mut groups: BTreeMap<String, Vec<Body>> = BTreeMap::new();
    for record in records {
        let body: Body = serde_json::from_slice(&record.request.body).unwrap_or_default();
        let source = body.get("middlewareSource").and_then(Value::as_str).unwrap_or("(no middlewareSource)");
        groups.entry(source.to_owned()).or_default().push(body);
    }
    let mut text = String::new();
    for (source, bodies) in &groups {
        let rows: Vec<[String; 6]> = bodies.iter().map(columns).collect();
        let widths: [usize; 6] =
            std::array::from_fn(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0));
        let sum = |name: &str| bodies.iter().map(|body| number(body, name)).sum::<u64>();
        let (input, output) = (sum("inputTokenCount"), sum("outputTokenCount"));
        let _ = writeln!(text, "{source}: {} records, {input} in + {output} out tokens", bodies.len());
        for (row, body) in rows.iter().zip(bodies) {
            let cells = row.iter().zip(widths).filter(|(_, width)| *width > 0);
            let cells: Vec<String> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
            let _ = writeln!(text, "{}", format!("  {}  {}", cells.join("  "), labels(body)).trim_end());
        }
    }
    let _ = writeln!(text, "{} records in all", records.len());
    text
}

fn columns(body: &Body) -> [String; 6] {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let streamed = body.get("isStreamed") == Some(&Value::Bool(true));
    [
        text("model"),
        format!("{} in + {} out tokens", number(body, "inputTokenCount"), number(body, "outputTokenCount")),
        text("stopReason"),
        format!("{} ms", number(body, "requestDuration")),
        if streamed { "stream".into() } else { String::new() },
        text("transactionId"),
    ]
}

fn number(body: &Body, name: &str) -> u64 {
    body.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn labels(body: &Body) -> String {
    let value = |path: &str| {
        let (member, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        let found = body.get(member)?;
        if rest.is_empty() { found.as_str() } else { found.get(rest)?.as_str() }
    };
    let set = LABELS.iter().filter_map(|(label, path)| Some(format!("{label}={}", value(path)?)));
    set.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_set_is_shown() {
        let mut body = json!({
            "model": "claude-sonnet-4-5-20250929", "inputTokenCount": 12, "outputTokenCount": 7, "stopReason": "END",
            "requestDuration": 185, "isStreamed": false, "transactionId": "msg_1"
        });
        let shown = line(3, body.as_object().unwrap());
        assert_eq!(shown, "record 3: claude-sonnet-4-5-20250929  12 in + 7 out tokens  END  185 ms  msg_1");
        body["isStreamed"] = json!(true);
        body["organizationName"] = json!("Acme");
        body["subscriber"] = json!({"id": "u1"});
        body["middlewareSource"] = json!("revenium-anthropic-c");
        let shown = line(1, body.as_object().unwrap());
        assert!(
            shown.ends_with("185 ms  stream  msg_1  organization=Acme subscriber=u1  (revenium-anthropic-c)"),
            "{shown}"
        );
    }
}
