//! The rules that Revenium serves, and the verdict on one call: pure, no clock, no I/O.

use super::Caller;
use super::filters::{Case, Filters, Name};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A set of rules as it was served once, made ready to judge by.
#[derive(Default)]
pub struct Rules {
    /// Those that can refuse or warn about somebody, in order.
    rules: Vec<Rule>,
    /// Whoever has reached a limit of his own in some rule.
    over_limit: HashSet<Box<str>>,
    names: Names,
    departments: Departments,
    count: usize,
}

/// Most rules are about one agent, organization and so on. What rules want of callers has numbers here, so that rules about
/// others are passed over without comparing texts.
#[derive(Default)]
struct Names([HashMap<Box<str>, usize>; Name::ALL.len()]);

impl Names {
    fn number(&mut self, name: Name, text: &str) -> usize {
        let known = &mut self.0[name as usize];
        let next = known.len();
        *known.entry(text.into()).or_insert(next)
    }

    /// By name; `None` is somebody whom no rule wants.
    fn of(&self, caller: &Caller<'_>) -> [Option<usize>; Name::ALL.len()] {
        Name::ALL.map(|name| match &self.0[name as usize] {
            known if known.is_empty() => None,
            known => known.get(name.of(caller)?).copied(),
        })
    }
}

struct Rule {
    facts: Facts,
    filters: Filters,
    /// Who alone is concerned.
    wants: Option<(Name, usize)>,
    blocks: bool,
    /// The entry of each group that is breached; `None`: it is about everybody at once.
    groups: Option<HashMap<Box<str>, Group>>,
}

struct Group {
    breached: bool,
    current_value: Value,
}

/// What a refusal tells of its rule.
#[derive(Default)]
pub struct Facts {
    pub name: String,
    pub id: Value,
    pub current_value: Value,
    pub threshold: Value,
    pub resets_at: Value,
    pub deny_message: Option<String>,
    pub action: String,
    /// As it was served: what "once a window" goes by.
    pub window: String,
    /// Unix seconds.
    window_end: Option<i64>,
}

/// The verdicts that Revenium has taken on whole departments, by their members' addresses.
#[derive(Default)]
struct Departments {
    candidates: HashMap<String, Vec<Candidate>>,
    blocks: HashMap<String, i64>,
    balances: HashMap<String, Value>,
    warnings: HashMap<String, i64>,
    /// The rules, for those that the maps name.
    rules: HashMap<i64, DepartmentRule>,
    unknown: HashMap<i64, Facts>,
}

struct Candidate {
    rule: i64,
    blocks: bool,
    balance: Value,
}

struct DepartmentRule {
    facts: Facts,
    filters: Filters,
    shadow: bool,
    blocks: bool,
}

/// A rule that has something to say about a call.
pub struct Hit<'r> {
    pub rule: &'r Facts,
    /// The caller's own, where there is one.
    pub current_value: &'r Value,
    /// Said to everybody of a department, and so once for each of them.
    pub of_department: bool,
}

#[derive(Default)]
pub struct Verdict<'r> {
    pub refused: Option<Hit<'r>>,
    pub warned: Vec<Hit<'r>>,
}

impl Rules {
    /// From the text that was served. `None`: it is no set of rules.
    pub fn parse(served: &[u8]) -> Option<Rules> {
        let served: Value = serde_json::from_slice(served).ok()?;
        let empty = Map::new();
        let (rules, maps) = match &served {
            Value::Array(rules) => (rules.as_slice(), &empty),
            Value::Object(members) => match members.get("rules") {
                Some(Value::Array(rules)) => (rules.as_slice(), members),
                None | Some(Value::Null) => (&[][..], members),
                Some(_) => return None,
            },
            _ => return None,
        };
        let mut read = Rules { departments: Departments::read(maps), count: rules.len(), ..Rules::default() };
        for rule in rules.iter().filter_map(Value::as_object) {
            if let Some(id) = rule.get("ruleId").and_then(Value::as_i64) {
                read.departments.learn(id, rule);
            }
            if let Some(mut rule) = Rule::read(rule) {
                rule.wants = rule.filters.wants().map(|(name, text)| (name, read.names.number(name, text)));
                read.rules.push(rule);
            }
        }
        for groups in read.rules.iter().filter_map(|rule| rule.groups.as_ref()) {
            let over = groups.iter().filter(|(_, group)| group.breached).map(|(name, _)| name.clone());
            read.over_limit.extend(over);
        }
        Some(read)
    }

    /// How many were served.
    pub fn count(&self) -> usize {
        self.count
    }

    /// `now`: unix seconds.
    pub fn judge(&self, caller: &Caller<'_>, now: i64) -> Verdict<'_> {
        let mut verdict = Verdict::default();
        if self.rules.is_empty() && self.departments.is_empty() {
            return verdict;
        }
        self.departments.judge(caller, now, &mut verdict);
        if verdict.refused.is_some() {
            return verdict;
        }
        let names = self.names.of(caller);
        let over_own_limit = caller.names().any(|name| self.over_limit.contains(name));
        for rule in &self.rules {
            if rule.wants.is_some_and(|(name, number)| names[name as usize] != Some(number)) {
                continue;
            }
            let current_value = match &rule.groups {
                None => &rule.facts.current_value,
                Some(_) if !over_own_limit => continue,
                Some(groups) => match caller.names().find_map(|name| groups.get(name)) {
                    Some(group) if group.breached => &group.current_value,
                    _ => continue,
                },
            };
            if rule.facts.is_over(now) || !rule.filters.match_call(caller, Case::Counts) {
                continue;
            }
            let hit = Hit { rule: &rule.facts, current_value, of_department: false };
            if rule.blocks {
                verdict.refused = Some(hit);
                return verdict;
            }
            verdict.warned.push(hit);
        }
        verdict
    }
}

/// Servers write `true`; 1 and "true" mean the same.
fn is_true(rule: &Map<String, Value>, name: &str) -> bool {
    match rule.get(name) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        _ => false,
    }
}

/// A number, also one that is written as text; null for anything else.
fn number(rule: &Map<String, Value>, name: &str) -> Value {
    match rule.get(name) {
        Some(Value::Number(number)) => Value::Number(number.clone()),
        Some(Value::String(text)) => text.trim().parse::<f64>().map_or(Value::Null, Value::from),
        _ => Value::Null,
    }
}

fn given<'a>(rule: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    rule.get(name).filter(|value| !value.is_null())
}

/// The action of a rule in capitals. Without one it blocks.
fn action(rule: &Map<String, Value>) -> String {
    match given(rule, "action") {
        Some(action) => action.as_str().unwrap_or_default().trim().to_ascii_uppercase(),
        None => "BLOCK".to_owned(),
    }
}

impl Rule {
    /// `None`: it never says anything.
    fn read(rule: &Map<String, Value>) -> Option<Rule> {
        let group_by = given(rule, "groupBy").and_then(Value::as_str).map(str::to_ascii_uppercase);
        let of_department = given(rule, "departmentId").or_else(|| given(rule, "orgUnitId")).is_some()
            || matches!(group_by.as_deref(), Some("DEPARTMENT" | "ORG_UNIT"));
        if of_department || is_true(rule, "shadowMode") {
            return None;
        }
        let breakdown = given(rule, "groupBreakdown").and_then(Value::as_array);
        let has_groups = |breakdown: &&Vec<Value>| {
            !breakdown.is_empty() || group_by.as_ref().is_some_and(|group_by| !group_by.is_empty())
        };
        let groups = breakdown.filter(has_groups).map(|breakdown| {
            let entry = |entry: &Value| {
                let entry = entry.as_object()?;
                let name = match entry.get("groupValue")? {
                    Value::String(name) => name.clone(),
                    Value::Number(number) => number.to_string(),
                    _ => return None,
                };
                let (breached, current_value) = (is_true(entry, "breached"), number(entry, "currentValue"));
                Some((name.into_boxed_str(), Group { breached, current_value }))
            };
            // Of two entries with one name the first counts.
            breakdown.iter().rev().filter_map(entry).collect::<HashMap<_, _>>()
        });
        let trips = match &groups {
            Some(groups) => groups.values().any(|group| group.breached),
            None => is_true(rule, "breached") || is_true(rule, "blocked"),
        };
        let facts = Facts::read(rule);
        trips.then(|| Rule {
            blocks: facts.action == "BLOCK",
            facts,
            filters: Filters::read(rule.get("filters")),
            wants: None,
            groups,
        })
    }
}

impl Facts {
    fn read(rule: &Map<String, Value>) -> Facts {
        let value = |name: &str| rule.get(name).cloned().unwrap_or_default();
        let text =
            |name: &str| given(rule, name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
        let window = text("windowEnd").unwrap_or_default();
        Facts {
            name: text("name").unwrap_or("unnamed rule").to_owned(),
            id: value("ruleId"),
            current_value: number(rule, "currentValue"),
            threshold: number(rule, "threshold"),
            resets_at: value("resetsAt"),
            deny_message: text("denyMessage").map(str::to_owned),
            action: action(rule),
            window: window.to_owned(),
            window_end: unix_seconds(window),
        }
    }

    /// A window that has ended says nothing about today.
    fn is_over(&self, now: i64) -> bool {
        self.window_end.is_some_and(|end| end <= now)
    }
}

/// Of a time in RFC 3339; one without a zone is UTC. `None`: it is none, and never ends.
fn unix_seconds(time: &str) -> Option<i64> {
    let read = |time: &str| OffsetDateTime::parse(time, &Rfc3339).ok();
    read(time).or_else(|| read(&format!("{time}Z"))).map(OffsetDateTime::unix_timestamp)
}

/// An e-mail address as the maps hold it.
pub(super) fn normalised(address: &str) -> String {
    address.trim().to_lowercase()
}

impl Departments {
    fn read(served: &Map<String, Value>) -> Departments {
        // Older servers call a department an organisational unit.
        let map = |name: &str, old: &str| {
            let map = given(served, name).or_else(|| given(served, old)).and_then(Value::as_object);
            map.into_iter().flatten().map(|(address, value)| (normalised(address), value))
        };
        let ids = |name, old| map(name, old).filter_map(|(address, id)| Some((address, id.as_i64()?))).collect();
        let candidate = |candidate: &Value| {
            let candidate = candidate.as_object()?;
            let blocks = match candidate.get("tier")?.as_str()?.to_ascii_uppercase().as_str() {
                "BLOCK" => true,
                "WARN" => false,
                _ => return None,
            };
            let rule = candidate.get("ruleId")?.as_i64()?;
            Some(Candidate { rule, blocks, balance: number(candidate, "balance") })
        };
        let mut departments = Departments {
            candidates: map("departmentBudgetCandidates", "orgUnitBudgetCandidates")
                .filter_map(|(address, list)| Some((address, list.as_array()?.iter().filter_map(candidate).collect())))
                .collect(),
            blocks: ids("departmentBudgetBlocks", "orgUnitBudgetBlocks"),
            balances: map("departmentBudgetBlockBalances", "orgUnitBudgetBlockBalances")
                .map(|(address, balance)| (address, balance.clone()))
                .collect(),
            warnings: ids("departmentBudgetWarnings", "orgUnitBudgetWarnings"),
            ..Departments::default()
        };
        let named = departments.candidates.values().flatten().map(|candidate| candidate.rule);
        let named = named.chain(departments.blocks.values().copied()).chain(departments.warnings.values().copied());
        let named: HashSet<_> = named.collect();
        let unknown = |id| Facts { name: "Department budget".into(), id: Value::from(id), ..Facts::default() };
        departments.unknown = named.into_iter().map(|id| (id, unknown(id))).collect();
        departments
    }

    /// Keep what is known of a rule, if the maps name it.
    fn learn(&mut self, id: i64, rule: &Map<String, Value>) {
        if self.unknown.remove(&id).is_some() {
            let facts = Facts::read(rule);
            let blocks = facts.action == "BLOCK";
            let (filters, shadow) = (Filters::read(rule.get("filters")), is_true(rule, "shadowMode"));
            self.rules.insert(id, DepartmentRule { facts, filters, shadow, blocks });
        }
    }

    fn is_empty(&self) -> bool {
        self.candidates.is_empty() && self.blocks.is_empty() && self.warnings.is_empty()
    }

    fn judge<'r>(&'r self, caller: &Caller<'_>, now: i64, verdict: &mut Verdict<'r>) {
        if self.is_empty() || caller.told.email.is_none() {
            return;
        }
        let address = caller.email();
        if let Some(candidates) = self.candidates.get(address).filter(|candidates| !candidates.is_empty()) {
            let concerns = |candidate: &&Candidate| match self.rules.get(&candidate.rule) {
                None => true,
                Some(rule) => !rule.facts.is_over(now) && rule.filters.match_call(caller, Case::Ignored),
            };
            if let Some(candidate) = candidates.iter().find(concerns) {
                self.tell(candidate.rule, candidate.blocks, Some(&candidate.balance), now, verdict);
            }
        } else if let Some(id) = self.blocks.get(address) {
            self.tell(*id, true, self.balances.get(address), now, verdict);
        } else if let Some(id) = self.warnings.get(address) {
            self.tell(*id, false, self.balances.get(address), now, verdict);
        }
    }

    fn tell<'r>(&'r self, id: i64, blocks: bool, balance: Option<&'r Value>, now: i64, verdict: &mut Verdict<'r>) {
        let rule = self.rules.get(&id);
        let Some(facts) = rule.map(|rule| &rule.facts).or_else(|| self.unknown.get(&id)) else { return };
        if facts.is_over(now) || rule.is_some_and(|rule| rule.shadow) {
            return;
        }
        let current_value = balance.filter(|balance| !balance.is_null()).unwrap_or(&facts.current_value);
        let hit = Hit { rule: facts, current_value, of_department: true };
        // A rule that nobody told us of is the server's to know.
        if blocks && rule.is_none_or(|rule| rule.blocks) {
            verdict.refused = Some(hit);
        } else {
            verdict.warned.push(hit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Metadata;

    /// What Revenium's own SDK says to these.
    #[test]
    fn judges_as_the_vendor_does() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/platform/budgets.json");
        let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let mut judged = 0;
        for case in &cases {
            let (settings, call, expected) = (&case["settings"], &case["call"], &case["expect"]);
            if settings["enabled"] == false || case["served"].is_null() {
                continue;
            }
            let name = &case["name"];
            let rules = Rules::parse(case["served"].to_string().as_bytes()).unwrap();
            let metadata = Metadata::from_json(&call["metadata"].to_string());
            let told = metadata.attribution();
            let text = |name: &str| call[name].as_str().unwrap_or_default();
            let caller = Caller::new(text("model"), text("provider"), &told);
            let verdict = rules.judge(&caller, 1_800_000_000);
            assert_eq!(verdict.refused.is_some(), expected["refused"], "{name}");
            assert_eq!(!verdict.warned.is_empty(), expected["warned"], "{name}");
            if let Some(hit) = &verdict.refused {
                let same = |ours: &Value, theirs: &Value| ours == theirs || ours.as_f64() == theirs.as_f64();
                assert_eq!(hit.rule.name, expected["rule_name"], "{name}");
                assert_eq!(hit.rule.id, expected["rule_id"], "{name}");
                assert!(same(hit.current_value, &expected["current_value"]), "{name}: {}", hit.current_value);
                assert!(same(&hit.rule.threshold, &expected["threshold"]), "{name}");
                assert_eq!(hit.rule.resets_at, expected["resets_at"], "{name}");
                assert_eq!(hit.rule.deny_message.as_deref(), expected["deny_message"].as_str(), "{name}");
            }
            judged += 1;
        }
        assert!(judged > 100, "{judged}");
    }

    #[test]
    fn windows_end_at_their_time_in_any_zone() {
        for (time, expected) in [
            ("2026-01-01T00:00:00Z", Some(1_767_225_600)),
            ("2026-01-01T01:00:00.5+01:00", Some(1_767_225_600)),
            ("2026-01-01T00:00:00", Some(1_767_225_600)),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(unix_seconds(time), expected, "{time}");
        }
    }

    #[test]
    fn what_is_no_set_of_rules_is_none() {
        for served in ["", "null", "7", r#"{"rules":7}"#, "<html>"] {
            assert!(Rules::parse(served.as_bytes()).is_none(), "{served}");
        }
        for served in ["[]", "{}", r#"{"rules":null}"#, r#"{"rules":[1,null,{}]}"#] {
            assert!(Rules::parse(served.as_bytes()).is_some(), "{served}");
        }
    }
}
