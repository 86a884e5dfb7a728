//! Accepts connections and gives each request to its service.
//!
//! A kept connection may carry requests to a provider, to Revenium and to the page, so the choice is made for each. Where
//! no answer is planned to the byte, axum finds the handler and makes the response.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower::ServiceExt;

use crate::environment::environment;
use crate::http::{After, Connection, ReadError, Request};
use crate::platform::Platform;
use crate::reply::{Body, Reply};
use crate::state::{Open, Sandbox};
use crate::{anthropic, bedrock, collector, control, platform, view};

/// As many connections as may arrive at once; the system caps it.
const BACKLOG: u32 = 16_384;

const LINGER: Duration = Duration::from_secs(5);

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
    let stats = &sandbox.stats;
    stats.connections.fetch_add(1, Relaxed);
    let _open = Open::new(&stats.open_connections);
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut connection = Connection::new(stream);
    loop {
        let request = match connection.read_request().await {
            Ok(Some(request)) => Arc::new(request),
            Ok(None) | Err(ReadError::Left) => return,
            Err(ReadError::Refused(status, problem)) => {
                let mut reply = Reply::json(status, anthropic::error_body(status, problem, sandbox.next_id()));
                reply.shape.end = crate::reply::End::CloseDelimited;
                if connection.write_reply(&reply).await.is_ok() {
                    // Closing on a body that is still being sent would reset the connection before the answer is read.
                    let _ = tokio::time::timeout(LINGER, connection.until_closed()).await;
                }
                return;
            }
        };
        let written = match server.route(&request).await {
            Routed::Page(response) => match connection.write_response(response).await {
                // A page is closed as soon as nobody looks at it any more.
                Err(_) => return,
                written => written,
            },
            Routed::Service(reply) => {
                let _stream = matches!(reply.body, Body::Pieces(_)).then(|| Open::new(&stats.streams_open));
                connection.write_reply(&reply).await
            }
        };
        match written {
            Ok(After::KeepAlive) => {}
            Ok(After::Close) => return,
            Err(_) => {
                stats.client_disconnects.fetch_add(1, Relaxed);
                return;
            }
        }
    }
}

enum Routed {
    Service(Reply),
    Page(Response),
}

/// What the page asks for, beside what tests ask for.
fn is_page(method: &str, path: &str) -> bool {
    (method == "GET" && path == "/")
        || ["/sandbox/live", "/sandbox/state", "/sandbox/budgets", "/sandbox/answers"].contains(&path)
}

impl Server {
    async fn route(&self, request: &Arc<Request>) -> Routed {
        if is_page(&request.method, &request.path) {
            return match platform::foreign(request, &request.path) {
                Some(foreign) => {
                    let Ok(response) = self.page.clone().oneshot(foreign).await;
                    Routed::Page(response)
                }
                None => Routed::Service(Reply::text(400, "the request cannot be read\n")),
            };
        }
        Routed::Service(self.service(request).await)
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
