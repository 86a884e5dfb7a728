//! The next answers of an operation, as set on the page.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use parking_lot::Mutex;
use serde_json::Value;

use super::{Handled, Refusal, Shared, operations};
use crate::answer::Answer;

#[derive(Default)]
pub struct Answers(Mutex<BTreeMap<&'static str, Left>>);

/// As they were set, and as they are given.
type Left = VecDeque<(Value, Arc<Answer>)>;

impl Answers {
    /// Each is used once; then the operation answers as usual.
    pub fn next(&self, operation: &str) -> Option<Arc<Answer>> {
        let mut answers = self.0.lock();
        let (_, answer) = answers.get_mut(operation)?.pop_front()?;
        answers.retain(|_, left| !left.is_empty());
        Some(answer)
    }

    pub fn state(&self) -> Value {
        let answers = self.0.lock();
        let texts =
            |left: &VecDeque<(Value, Arc<Answer>)>| left.iter().map(|(text, _)| text.clone()).collect::<Value>();
        answers
            .iter()
            .map(|(operation, left)| ((*operation).to_owned(), texts(left)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

pub(super) async fn set(State(sandbox): Shared, Json(body): Json<Value>) -> Handled {
    let refused = |problem: String| Refusal::new(400, "invalid_answers", &problem);
    let named = body["operation"].as_str().unwrap_or_default();
    let known = operations();
    let operation = known.iter().find(|known| **known == named);
    let operation = operation.ok_or_else(|| refused(format!("operation: one of {}", known.join(", "))))?;
    let given = body["answers"].as_array().ok_or_else(|| refused("answers: expected a list".into()))?;
    let mut answers = Left::new();
    for text in given {
        answers.push_back((text.clone(), Arc::new(Answer::from_json(text).map_err(refused)?)));
    }
    let mut all = sandbox.platform.answers.0.lock();
    if answers.is_empty() {
        all.remove(operation)
    } else {
        all.insert(operation, answers)
    };
    drop(all);
    sandbox.feed.state_changed();
    Ok(StatusCode::NO_CONTENT.into_response())
}
