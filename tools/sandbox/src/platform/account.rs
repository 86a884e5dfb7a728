//! The account: teams, the key's owner, model prices, and what a call cost.

use axum::Json;
use axum::extract::{Query, State};
use serde_json::{Map, Value, json};

use super::{Handled, Shared, answer, listed};
use crate::prices;

const TEAM: &str = "sandbox";

type Asked = Query<Map<String, Value>>;

pub(super) async fn teams(Query(query): Asked) -> Json<Value> {
    let tenant = query.get("tenantId").cloned().unwrap_or_default();
    let team = json!({"id": TEAM, "label": "Sandbox", "tenantId": tenant});
    Json(listed("teamResourceList", vec![team], &query))
}

pub(super) async fn me() -> Json<Value> {
    let team = json!({"id": TEAM, "label": "Sandbox"});
    Json(json!({"id": "sandbox-user", "teams": [team], "defaultTeamId": TEAM, "tenant": {"id": "sandbox-tenant"}}))
}

pub(super) async fn models(Query(query): Asked) -> Json<Value> {
    let table: Value = serde_json::from_str(prices::JSON).unwrap_or_default();
    let prices = table["prices"].as_array().cloned().unwrap_or_default();
    let models = prices.iter().flat_map(|price| {
        let names = price["models"].as_array().cloned().unwrap_or_default();
        names.into_iter().map(|name| {
            json!({"name": name, "provider": "ANTHROPIC", "inputCostPerMillionTokens": price["input"],
                   "outputCostPerMillionTokens": price["output"], "estimated": true, "source": table["source"]})
        })
    });
    Json(listed("aIModelResourceList", models.collect(), &query))
}

/// `?transactionId=`: the record, with the estimate as its cost.
pub(super) async fn costs(State(sandbox): Shared, Query(query): Asked) -> Handled {
    let wanted = query.get("transactionId").and_then(Value::as_str);
    let mut found = Vec::new();
    for record in sandbox.ledger.all() {
        let Ok(Value::Object(mut body)) = serde_json::from_slice(&record.request.body) else { continue };
        if wanted.is_some_and(|wanted| body.get("transactionId").and_then(Value::as_str) != Some(wanted)) {
            continue;
        }
        body.insert("totalCost".into(), record.cost.map_or(Value::Null, Value::from));
        found.push(Value::Object(body));
    }
    Ok(answer(200, listed("aICompletionMetricResourceList", found, &query)))
}
