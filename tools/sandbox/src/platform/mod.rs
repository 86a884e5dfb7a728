//! The rest of Revenium: tool events, budget rules, jobs with their outcomes and economics, costs, and the account.
//!
//! What these answer can be set, on the page or by a test:
//!
//! - `GET /sandbox/state`: the budget rules, the answers that are set, the jobs
//! - `PUT /sandbox/budgets`: what the enforcement endpoint answers. A rule that doesn't say whether it is `breached` is
//!   counted: the estimated cost of the records that match its `filters`, against its `threshold`.
//! - `PUT /sandbox/answers` with `{"operation", "answers"}`: the next answers of an operation, each used once; none
//!   takes them back. Unlike a plan they go by operation, not by path.

mod account;
mod answers;
mod budgets;
mod economics;
mod jobs;
mod outcomes;
mod tools;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, patch, post, put};
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

pub use self::answers::Answers;
use crate::answer::Answer;
use crate::http;
use crate::reply::{Body as ReplyBody, Reply};
use crate::state::{Sandbox, now_ms};

pub const SERVICE: &str = "platform";

const REQUESTS_PER_SECOND: u64 = 50;

#[derive(Default)]
pub struct Kept {
    pub answers: Answers,
    budgets: budgets::Budgets,
    jobs: jobs::Jobs,
    economics: economics::Economics,
    pub tool_events: tools::ToolEvents,
}

impl Kept {
    /// A completion record that was taken in.
    pub fn metered(&self, record: &Map<String, Value>, cost: Option<f64>) {
        self.budgets.count(record, cost);
        self.jobs.count(record, cost);
    }

    /// What was metered and reported; what was set stays.
    pub fn forget(&self) {
        self.budgets.forget();
        self.jobs.forget();
        self.economics.forget();
        self.tool_events.forget();
    }
}

type Shared = State<Arc<Sandbox>>;
type Handled = Result<Response, Refusal>;

/// Operations by the names they have in librevenium, with their place in the API.
fn routes() -> Vec<(&'static str, Method, &'static str, MethodRouter<Arc<Sandbox>>)> {
    const JOBS: &str = "/profitstream/v2/api/jobs";
    const JOB: &str = "/profitstream/v2/api/jobs/{id}";
    const OUTCOME: &str = "/profitstream/v2/api/jobs/{id}/outcome";
    const ECONOMICS: &str = "/profitstream/v2/api/jobs/types/{type}/economics";
    const BASELINES: &str = "/profitstream/v2/api/jobs/types/{type}/baselines";
    const COSTS: &str = "/profitstream/v2/api/sources/metrics/ai/completions";
    const RULES: &str = "/v2/api/ai/enforcement-rules/{team}";
    vec![
        ("tool_events.create", Method::POST, "/meter/v2/tool/events", post(tools::create)),
        ("budgets.list", Method::GET, RULES, get(budgets::list)),
        ("budgets.roster", Method::GET, "/v2/api/ai/enforcement-rules/{team}/roster", get(budgets::roster)),
        ("jobs.list", Method::GET, JOBS, get(jobs::list)),
        ("jobs.create", Method::POST, JOBS, post(jobs::create)),
        ("jobs.types", Method::GET, "/profitstream/v2/api/jobs/types", get(jobs::types)),
        ("jobs.conversion_funnel", Method::GET, "/profitstream/v2/api/jobs/conversion-funnel", get(jobs::funnel)),
        ("jobs.get", Method::GET, JOB, get(jobs::one)),
        ("jobs.roi", Method::GET, "/profitstream/v2/api/jobs/{id}/roi", get(jobs::roi)),
        ("jobs.transactions", Method::GET, "/profitstream/v2/api/jobs/{id}/transactions", get(jobs::transactions)),
        ("jobs.report_outcome", Method::POST, OUTCOME, post(outcomes::report)),
        ("jobs.amend_outcome", Method::PATCH, OUTCOME, patch(outcomes::amend)),
        (
            "jobs.append_metrics",
            Method::POST,
            "/profitstream/v2/api/jobs/{id}/outcome/metrics",
            post(outcomes::metrics),
        ),
        ("jobs.outcome_history", Method::GET, "/profitstream/v2/api/jobs/{id}/outcome/history", get(outcomes::history)),
        ("economics.get", Method::GET, ECONOMICS, get(economics::get)),
        ("economics.put", Method::PUT, ECONOMICS, put(economics::put)),
        ("economics.baselines", Method::GET, BASELINES, get(economics::baselines)),
        ("economics.add_baseline", Method::POST, BASELINES, post(economics::add_baseline)),
        (
            "economics.add_facts",
            Method::POST,
            "/profitstream/v2/api/jobs/types/{type}/facts",
            post(economics::add_facts),
        ),
        ("completions.cost", Method::GET, COSTS, get(account::costs)),
        ("models.list", Method::GET, "/profitstream/v2/api/sources/ai/models", get(account::models)),
        ("teams.list", Method::GET, "/profitstream/v2/api/teams", get(account::teams)),
        ("users.me", Method::GET, "/profitstream/v2/api/users/me", get(account::me)),
    ]
}

/// The operations whose answers can be set; the last three are those of the other services.
pub fn operations() -> Vec<&'static str> {
    let others = ["completions.create", "messages.create", "bedrock.invoke"];
    routes().into_iter().map(|(operation, ..)| operation).chain(others).collect()
}

/// The path without what a base URL may put before it.
fn inner(path: &str) -> Option<&str> {
    let roots = ["/meter/v2/tool/events", "/profitstream/v2/api/", "/v2/api/ai/enforcement-rules/"];
    roots.iter().find_map(|root| path.find(root)).and_then(|at| path.get(at..))
}

pub fn serves(path: &str) -> bool {
    inner(path).is_some()
}

pub struct Platform {
    router: Router,
    operations: matchit::Router<Vec<(Method, &'static str)>>,
}

impl Platform {
    pub fn new(sandbox: &Arc<Sandbox>) -> Self {
        let mut router = Router::new();
        let mut by_path: Vec<(&str, Vec<(Method, &'static str)>)> = Vec::new();
        for (operation, method, path, handler) in routes() {
            router = router.route(path, handler);
            match by_path.iter_mut().find(|(known, _)| *known == path) {
                Some((_, operations)) => operations.push((method, operation)),
                None => by_path.push((path, vec![(method, operation)])),
            }
        }
        let mut operations = matchit::Router::new();
        for (path, methods) in by_path {
            // The router above takes the same paths, or panics.
            let _ = operations.insert(path, methods);
        }
        let router = router.fallback(nothing).layer(from_fn(authenticate)).with_state(sandbox.clone());
        Self { router, operations }
    }

    /// `planned` is a test's answer for this very path.
    pub async fn reply(&self, sandbox: &Sandbox, request: &http::Request, planned: Option<Arc<Answer>>) -> Reply {
        let path = inner(&request.path).unwrap_or(&request.path);
        let operation = self.operations.at(path).ok().and_then(|found| {
            found.value.iter().find(|(method, _)| method.as_str() == request.method).map(|(_, operation)| *operation)
        });
        let set = || operation.and_then(|operation| sandbox.platform.answers.next(operation));
        let answer = planned.or_else(set).or_else(|| sandbox.failing(SERVICE)).unwrap_or_default();
        let mut reply = if answer.is_complete() {
            return answer
                .complete(|status| error("planned", &format!("Status {status}, planned by the sandbox")).to_string());
        } else {
            match foreign(request, path) {
                Some(request) => native(self.router.clone().oneshot(request).await.into_response()).await,
                None => Reply::json(400, error("bad_request", "the request cannot be read").to_string()),
            }
        };
        answer.apply(&mut reply);
        reply
    }
}

/// The request as the router takes it.
pub fn foreign(request: &http::Request, path: &str) -> Option<Request> {
    let target = if request.query.is_empty() { path.to_owned() } else { format!("{path}?{}", request.query) };
    let mut built = Request::builder().method(request.method.as_str()).uri(target);
    for (name, value) in &request.headers {
        built = built.header(name, value);
    }
    built.body(Body::from(request.body.clone())).ok()
}

async fn native(response: Response) -> Reply {
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut reply = Reply::empty(parts.status.as_u16());
    reply.body = ReplyBody::Whole(body);
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != "content-length") {
        reply.set_header(name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned());
    }
    reply
}

async fn authenticate(request: Request, next: Next) -> Response {
    let key = request.headers().get("x-api-key").and_then(|key| key.to_str().ok()).unwrap_or_default().trim();
    let writes = request.method() != Method::GET && request.uri().path().starts_with("/profitstream/");
    let mut response = if key.is_empty() {
        Refusal::new(401, "unauthorized", "x-api-key is missing").into_response()
    } else if writes && key.starts_with("rev_mk_") {
        Refusal::new(403, "forbidden", "a metering key may not write jobs and outcomes").into_response()
    } else {
        next.run(request).await
    };
    let reset = now_ms() / 1000 + 1;
    for (name, value) in [
        ("x-ratelimit-limit", REQUESTS_PER_SECOND),
        ("x-ratelimit-remaining", REQUESTS_PER_SECOND - 1),
        ("x-ratelimit-reset", reset),
    ] {
        response.headers_mut().insert(name, HeaderValue::from(value));
    }
    response.headers_mut().insert("x-ratelimit-bucket", HeaderValue::from_static("platform"));
    response
}

async fn nothing() -> Response {
    Refusal::new(404, "not_found", "nothing is served at this path").into_response()
}

/// The page's side, and a test's.
pub fn settings(sandbox: &Arc<Sandbox>) -> Router {
    Router::new()
        .route("/sandbox/state", get(state))
        .route("/sandbox/budgets", put(budgets::set))
        .route("/sandbox/answers", put(answers::set))
        .with_state(sandbox.clone())
}

async fn state(State(sandbox): Shared) -> Json<Value> {
    let platform = &sandbox.platform;
    Json(json!({
        "budgets": platform.budgets.state(),
        "answers": platform.answers.state(),
        "operations": operations(),
        "jobs": platform.jobs.all(),
        "tool_events": platform.tool_events.len(),
    }))
}

/// An error, as the API words it.
#[derive(Debug)]
struct Refusal {
    status: u16,
    body: Value,
}

impl Refusal {
    fn new(status: u16, code: &str, message: &str) -> Self {
        Self { status, body: error(code, message) }
    }

    fn with(mut self, details: Value) -> Self {
        self.body["details"] = details;
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        answer(self.status, self.body)
    }
}

fn error(code: &str, message: &str) -> Value {
    json!({"error": code, "message": message})
}

fn answer(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Json(body)).into_response()
}

/// A page of a list, as the API lays it out.
fn listed(name: &str, items: Vec<Value>, query: &Map<String, Value>) -> Value {
    let number = |name: &str, usual: usize| {
        query.get(name).and_then(Value::as_str).map_or(usual, |n| n.parse().unwrap_or(usual))
    };
    let (total, size, page) = (items.len(), number("size", 20).clamp(1, 1000), number("page", 0));
    let shown: Vec<Value> = items.into_iter().skip(page.saturating_mul(size)).take(size).collect();
    json!({
        "_embedded": {name: shown},
        "page": {"size": size, "totalElements": total, "totalPages": total.div_ceil(size), "number": page},
    })
}
