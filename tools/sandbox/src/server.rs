//! Accepts connections and gives each request to its service.
//!
//! A kept connection may carry requests to a provider, to Revenium and to the page, so the choice is made for each. hyper
//! reads the requests and writes the answers, axum finds the handlers of the page and the platform; only an answer that
//! breaks the rules of HTTP gets the bare connection (`fault`).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower::ServiceExt;

use crate::environment::environment;
use crate::http::Request;
use crate::platform::Platform;
use crate::reply::{Body, Reply};
use crate::state::{Open, Sandbox};
use crate::{anthropic, bedrock, collector, control, fault, platform, played, view};

/// As many connections as may arrive at once; the system caps it.
const BACKLOG: u32 = 16_384;

const MAX_HEADERS: usize = 128;

pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    if !address.ip().is_loopback() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a loopback address", address.ip())));
    }
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

struct Server {
    sandbox: Arc<Sandbox>,
    platform: Platform,
    page: Router,
}

pub async fn serve(listener: TcpListener, sandbox: Arc<Sandbox>) {
    // Where it listens the page knows itself.
    let about = json!({"mode": "sandbox", "environment": environment("{url}", sandbox.providers)});
    let page = view::router(sandbox.feed.clone(), about, "", platform::settings(&sandbox));
    let server = Arc::new(Server { platform: Platform::new(&sandbox), page, sandbox });
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, server.clone()));
            }
            // Out of descriptors, or a client that left again: others may still be served.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(stream: TcpStream, server: Arc<Server>) {
    let sandbox = &server.sandbox;
    sandbox.stats.connections.fetch_add(1, Relaxed);
    let _open = Open::new(sandbox, |stats| &stats.open_connections);
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let planned = Mutex::new(None);
    let service = service_fn(|request| Box::pin(server.answer(request, &planned)));
    // Without writev what is ready goes out in one write, however many pieces it is.
    let mut connection = http1::Builder::new()
        .auto_date_header(false)
        .max_headers(MAX_HEADERS)
        .writev(false)
        .serve_connection(TokioIo::new(stream), service);
    // How it ended is the client's business; one that left in an answer was counted there.
    let _ = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
    let stream = connection.into_parts().io.into_inner();
    let fault = planned.lock().take();
    if let Some(reply) = fault {
        let _stream = matches!(reply.body, Body::Pieces(_)).then(|| Open::new(sandbox, |stats| &stats.streams_open));
        if fault::write(stream, &reply).await.is_err() {
            sandbox.stats.client_disconnects.fetch_add(1, Relaxed);
        }
    }
}

/// The HTTP library lets go of the connection.
#[derive(Debug)]
struct Over;

impl std::fmt::Display for Over {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is not the HTTP library's any more")
    }
}

impl std::error::Error for Over {}

/// What the page asks for, beside what tests ask for.
fn is_page(method: &str, path: &str) -> bool {
    (method == "GET" && path == "/")
        || ["/sandbox/live", "/sandbox/state", "/sandbox/budgets", "/sandbox/answers"].contains(&path)
}

impl Server {
    /// `planned` takes a reply that breaks the rules of HTTP: it is written when the library has let go.
    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        planned: &Mutex<Option<Reply>>,
    ) -> Result<Response, Over> {
        let sandbox = &self.sandbox;
        let reply = match Request::read(request).await {
            Ok(Some(request)) if is_page(&request.method, &request.path) => {
                match platform::foreign(&request, &request.path) {
                    Some(foreign) => {
                        let Ok(response) = self.page.clone().oneshot(foreign).await;
                        return Ok(response);
                    }
                    None => Reply::text(400, "the request cannot be read\n"),
                }
            }
            Ok(Some(request)) => self.service(&Arc::new(request)).await,
            Ok(None) => {
                let problem = "Request exceeds the maximum size";
                Reply::json(413, anthropic::error_body(413, problem, sandbox.next_id()))
            }
            Err(_) => return Err(Over),
        };
        match played::head(&reply) {
            Some(response) => Ok(played::play(response, reply, sandbox.clone()).await),
            None => {
                *planned.lock() = Some(reply);
                Err(Over)
            }
        }
    }

    async fn service(&self, request: &Arc<Request>) -> Reply {
        let sandbox = &*self.sandbox;
        let path = request.path.as_str();
        if control::serves(path) {
            if !view::is_local(request.header("host"), request.header("origin")) {
                return Reply::text(403, "only pages of this machine are answered\n");
            }
            return control::reply(sandbox, request).await;
        }
        let planned = sandbox.plans.next(path);
        if collector::serves(path) {
            sandbox.stats.collector_requests.fetch_add(1, Relaxed);
            sandbox.requests.add(collector::SERVICE, request);
            return collector::reply(sandbox, request, planned);
        }
        if platform::serves(path) {
            sandbox.stats.platform_requests.fetch_add(1, Relaxed);
            sandbox.requests.add(platform::SERVICE, request);
            return self.platform.reply(sandbox, request, planned).await;
        }
        sandbox.stats.requests.fetch_add(1, Relaxed);
        if !sandbox.providers && (anthropic::serves(path) || bedrock::serves(path)) {
            let message = "This sandbox plays Revenium only (--anthropic real): send this request to its provider";
            return Reply::json(404, anthropic::error_body(404, message, sandbox.next_id()));
        }
        if anthropic::serves(path) {
            sandbox.requests.add(anthropic::SERVICE, request);
            return anthropic::reply(sandbox, request, planned);
        }
        if bedrock::serves(path) {
            sandbox.requests.add(bedrock::SERVICE, request);
            return bedrock::reply(sandbox, request, planned);
        }
        sandbox.requests.add("unknown", request);
        let body = |status| anthropic::error_body(status, &format!("Nothing is served at {path}"), sandbox.next_id());
        match planned.filter(|answer| answer.is_complete()) {
            Some(answer) => answer.complete(body),
            None => Reply::json(404, body(404)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_loopback_is_bound() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let refused = listen(address.parse().unwrap()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{address}");
        }
        assert!(listen("127.0.0.1:0".parse().unwrap()).is_ok());
    }
}
