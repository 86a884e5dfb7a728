//! Accepts connections and gives each request to its service.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::http::{After, Connection, ReadError, Request};
use crate::reply::{Body, Reply};
use crate::state::{Open, Sandbox};
use crate::{anthropic, bedrock, collector, control};

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

pub async fn serve(listener: TcpListener, sandbox: Arc<Sandbox>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, sandbox.clone()));
            }
            // Out of descriptors, or a client that left again: others may still be served.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(stream: TcpStream, sandbox: Arc<Sandbox>) {
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
        let reply = route(&sandbox, &request).await;
        let stream = matches!(reply.body, Body::Pieces(_)).then(|| Open::new(&stats.streams_open));
        let written = connection.write_reply(&reply).await;
        drop(stream);
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

async fn route(sandbox: &Sandbox, request: &Arc<Request>) -> Reply {
    let path = request.path.as_str();
    if control::serves(path) {
        return control::reply(sandbox, request).await;
    }
    let planned = sandbox.plans.next(path);
    if collector::serves(path) {
        sandbox.stats.collector_requests.fetch_add(1, Relaxed);
        sandbox.requests.add(collector::SERVICE, request);
        return collector::reply(sandbox, request, planned);
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
