//! The page: one HTML document that holds all it needs, and the stream that it reads.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::feed::Feed;
use crate::prices;

const HTML: &str = include_str!("../page/page.html");
const STYLES: &[&str] = &[include_str!("../page/uplot/uPlot.min.css"), include_str!("../page/page.css")];
/// In the order they run.
const SCRIPTS: &[&str] = &[
    include_str!("../page/uplot/uPlot.iife.min.js"),
    include_str!("../page/dom.js"),
    include_str!("../page/data.js"),
    include_str!("../page/chart.js"),
    include_str!("../page/records.js"),
    include_str!("../page/export.js"),
    include_str!("../page/platform.js"),
    include_str!("../page/page.js"),
];
const FIELDS: &str = include_str!("../page/fields.json");

static STYLE: LazyLock<String> = LazyLock::new(|| STYLES.join("\n"));
/// uPlot's licence goes where uPlot goes.
const UPLOT_LICENCE: &str = include_str!("../page/uplot/LICENSE");
static SCRIPT: LazyLock<String> = LazyLock::new(|| format!("/*!\n{UPLOT_LICENCE}*/\n{}", SCRIPTS.join("\n")));

/// The page, its stream, and what else it may ask for, all under `path`. `about` is what the page is told of its server:
/// its `mode` and whatever else it shows.
pub fn router(feed: Arc<Feed>, about: Value, path: &str, more: Router) -> Router {
    let page = Arc::new(Page { feed, about });
    let (home, stream) = (format!("{path}/"), format!("{path}/sandbox/live"));
    let router = Router::new().route(&home, get(html)).route(&stream, get(live)).with_state(page);
    router.merge(more).layer(from_fn(only_local))
}

struct Page {
    feed: Arc<Feed>,
    about: Value,
}

async fn html(State(page): State<Arc<Page>>) -> Response {
    let nonce = format!("{:016x}{:016x}", random(), random());
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let about = json!({"about": page.about, "prices": parsed(prices::JSON), "fields": parsed(FIELDS)});
    // The only place where text from outside could stand in the document.
    let about = about.to_string().replace('<', "\\u003c");
    let html = HTML
        .replace("%NONCE%", &nonce)
        .replace("%ABOUT%", &about)
        .replace("%STYLE%", &STYLE)
        .replace("%SCRIPT%", &SCRIPT);
    // Nothing is loaded from anywhere, and nothing runs but the script that was just put in.
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, html).into_response()
}

async fn live(State(page): State<Arc<Page>>, headers: HeaderMap) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    page.feed.clone().live(last).into_response()
}

/// Pages of other sites reach a server on loopback too, by a name of their own that leads there or by a form.
async fn only_local(request: Request, next: Next) -> Response {
    let local = {
        let text = |name: header::HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
        is_local(text(header::HOST), text(header::ORIGIN))
    };
    match local {
        true => next.run(request).await,
        false => (StatusCode::FORBIDDEN, "only pages of this machine are answered\n").into_response(),
    }
}

/// What carries neither Host nor Origin is no browser.
pub fn is_local(host: Option<&str>, origin: Option<&str>) -> bool {
    let named_locally = |host: &str| {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        // A name without a dot is nobody's on the internet.
        matches!(name, "127.0.0.1" | "[::1]") || !name.contains(['.', ':'])
    };
    host.is_none_or(named_locally)
        && origin.is_none_or(|origin| host.is_some_and(|host| origin.strip_prefix("http://") == Some(host)))
}

/// Nobody can guess it.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_machine_are_answered() {
        for (host, origin, local) in [
            (None, None, true),
            (Some("127.0.0.1:7357"), None, true),
            (Some("localhost:7357"), Some("http://localhost:7357"), true),
            (Some("[::1]:7357"), None, true),
            (Some("localhost"), None, true),
            (Some("[2001:db8::1]"), None, false),
            (Some("evil.example:7357"), None, false),
            (Some("127.0.0.1.evil.example"), None, false),
            (Some("127.0.0.1:7357"), Some("http://evil.example"), false),
            (Some("127.0.0.1:7357"), Some("http://127.0.0.1:8000"), false),
            (Some("127.0.0.1:7357"), Some("null"), false),
        ] {
            assert_eq!(is_local(host, origin), local, "{host:?} {origin:?}");
        }
    }

    #[test]
    fn the_document_holds_all_it_needs() {
        for script in SCRIPTS {
            assert!(!script.to_ascii_lowercase().contains("</script"), "would end the script");
        }
        for style in STYLES {
            assert!(!style.to_ascii_lowercase().contains("</style") && !style.contains("url("), "would end or load");
        }
        for attribute in [" src=", " style=", " onclick="] {
            assert!(!HTML.contains(attribute), "{attribute}");
        }
        assert!(serde_json::from_str::<Value>(FIELDS).is_ok());
    }
}
