//! What a record would cost at list price: an estimate, from a table that names its source and date.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The table as it is shown and served.
pub const JSON: &str = include_str!("prices.json");

#[derive(Deserialize)]
struct Table {
    batch: f64,
    prices: Vec<Price>,
}

#[derive(Deserialize)]
struct Price {
    models: Vec<String>,
    #[serde(flatten)]
    rates: Rates,
    long_prompt: Option<LongPrompt>,
    /// What fast mode multiplies the price by; without it that price isn't known.
    fast: Option<f64>,
}

#[derive(Deserialize)]
struct LongPrompt {
    above: f64,
    #[serde(flatten)]
    rates: Rates,
}

/// In USD per million tokens.
#[derive(Deserialize)]
struct Rates {
    input: f64,
    output: f64,
    cache_write_5m: f64,
    cache_write_1h: f64,
    cache_read: f64,
}

static TABLE: LazyLock<(f64, HashMap<String, usize>, Vec<Price>)> = LazyLock::new(|| {
    // The tests read the table; an empty one prices nothing.
    let table: Table = serde_json::from_str(JSON).unwrap_or(Table { batch: 1.0, prices: Vec::new() });
    let names =
        table.prices.iter().enumerate().flat_map(|(at, price)| price.models.iter().map(move |m| (m.clone(), at)));
    (table.batch, names.collect(), table.prices)
});

/// USD; `None` where the model, or this way of calling it, has no price in the table.
pub fn estimate(record: &Map<String, Value>) -> Option<f64> {
    let number = |name: &str| record.get(name).and_then(Value::as_f64);
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
    // A cost in the record takes the place of Revenium's own.
    if let Some(total) = number("totalCost") {
        return Some(total);
    }
    let count = |name: &str| number(name).unwrap_or(0.0);
    let (input, output) = (count("inputTokenCount"), count("outputTokenCount"));
    let (read, written) = (count("cacheReadTokenCount"), count("cacheCreationTokenCount"));
    if input + output + read + written == 0.0 {
        return Some(0.0);
    }
    let (batch, names, prices) = &*TABLE;
    let price = prices.get(*names.get(plain(text("model")))?)?;
    let long = price.long_prompt.as_ref().filter(|long| input + read + written > long.above);
    let rates = long.map_or(&price.rates, |long| &long.rates);
    let for_an_hour = count("cacheCreation1hTokenCount").min(written);
    let dollars = input * rates.input
        + output * rates.output
        + read * rates.cache_read
        + (written - for_an_hour) * rates.cache_write_5m
        + for_an_hour * rates.cache_write_1h;
    let tier = if text("pricingTier") == "BATCH" { *batch } else { 1.0 };
    let speed = if text("speed") == "fast" { price.fast? } else { 1.0 };
    Some(dollars * tier * speed / 1_000_000.0)
}

/// A model's name without what AWS, Google and dates add to it.
fn plain(model: &str) -> &str {
    let model = model.find("claude-").map_or(model, |at| &model[at..]);
    let model = model.split(['@', ':', '[']).next().unwrap_or(model);
    let model = ["-v1", "-v2", "-latest"].iter().find_map(|end| model.strip_suffix(end)).unwrap_or(model);
    match model.rsplit_once('-') {
        Some((name, date)) if date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => model,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cents(record: Value) -> Option<f64> {
        estimate(record.as_object().unwrap()).map(|dollars| (dollars * 1e6).round() / 1e4)
    }

    #[test]
    fn the_table_is_whole() {
        let table: Value = serde_json::from_str(JSON).unwrap();
        assert!(table["source"].as_str().unwrap().starts_with("https://"), "{}", table["source"]);
        assert_eq!(table["as_of"].as_str().unwrap().len(), 10);
        assert_eq!(TABLE.2.len(), table["prices"].as_array().unwrap().len());
        assert_eq!(
            TABLE.1.len(),
            TABLE.2.iter().map(|price| price.models.len()).sum::<usize>(),
            "a model stands twice"
        );
        for price in &TABLE.2 {
            for rates in [Some(&price.rates), price.long_prompt.as_ref().map(|long| &long.rates)].into_iter().flatten()
            {
                assert!(rates.cache_read < rates.input && rates.input < rates.cache_write_5m, "{:?}", price.models);
                assert!(
                    rates.cache_write_5m < rates.cache_write_1h && rates.input < rates.output,
                    "{:?}",
                    price.models
                );
            }
        }
    }

    #[test]
    fn each_kind_of_token_has_its_price() {
        let with = |more: Value| {
            let mut record = json!({"model": "claude-opus-5-5", "inputTokenCount": 1000, "outputTokenCount": 100});
            record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            cents(record)
        };
        assert_eq!(with(json!({})), Some(0.6));
        assert_eq!(with(json!({"cacheReadTokenCount": 10_000})), Some(0.8));
        assert_eq!(with(json!({"cacheCreationTokenCount": 1000})), Some(1.1));
        assert_eq!(with(json!({"cacheCreationTokenCount": 1000, "cacheCreation1hTokenCount": 1000})), Some(1.4));
        assert_eq!(with(json!({"pricingTier": "BATCH"})), Some(0.3));
        assert_eq!(with(json!({"speed": "fast"})), Some(1.2));
        assert_eq!(with(json!({"totalCost": 0.5})), Some(50.0));
        let long = |input: u64| cents(json!({"model": "claude-haiku-5-5", "inputTokenCount": input}));
        assert_eq!((long(100_000), long(100_001)), (Some(1.0), Some(5.0001)));
    }

    #[test]
    fn a_model_is_known_by_all_its_names_and_no_other() {
        for name in [
            "claude-sonnet-4-5",
            "claude-sonnet-4-5-20250929",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "claude-sonnet-4-5@20250929",
            "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ] {
            assert_eq!(cents(json!({"model": name, "inputTokenCount": 1000})), Some(0.3), "{name}");
        }
        for name in ["claude-sonnet-9", "sandbox-ok", "", "claude-sonnet"] {
            assert_eq!(cents(json!({"model": name, "inputTokenCount": 1000})), None, "{name}");
            assert_eq!(cents(json!({"model": name, "inputTokenCount": 0})), Some(0.0), "{name}");
        }
        let fast = json!({"model": "claude-haiku-4-5", "inputTokenCount": 1000, "speed": "fast"});
        assert_eq!(cents(fast), None, "a fast mode without a price");
    }
}
