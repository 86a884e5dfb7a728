//! TLS and proxies, with real handshakes on loopback: trust from SSL_CERT_FILE, refusal without it, CONNECT.
//!
//! Each case runs in a process of its own, because the environment decides: this file runs itself again.

use revenium::inside::{abi_messages::*, library::*, result::*, types::*};
use std::ffi::{CStr, CString};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

const REPLY: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"over TLS"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}"#;

/// Read one request and answer it.
fn answer(mut stream: impl Read + Write) {
    let mut reader = BufReader::new(&mut stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", REPLY.len());
    let _ = stream.write_all(format!("{head}{REPLY}").as_bytes());
    let _ = stream.flush();
}

/// A TLS server for `localhost` and the file with the certificate to trust.
fn tls_server() -> (u16, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let trust = std::env::temp_dir().join(format!("revenium-tls-{port}.pem"));
    std::fs::write(&trust, made.cert.pem()).unwrap();
    let config = Arc::new(config);
    thread::spawn(move || {
        for tcp in listener.incoming().flatten() {
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            answer(rustls::StreamOwned::new(session, tcp));
        }
    });
    (port, trust)
}

/// A proxy that knows CONNECT; it tells where to.
fn proxy() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut reader = BufReader::new(client.try_clone().unwrap());
            let mut request = String::new();
            reader.read_line(&mut request).unwrap();
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            let target = request.split(' ').nth(1).unwrap().to_owned();
            tell.send(target.clone()).unwrap();
            let mut server = TcpStream::connect(target.replace("localhost", "127.0.0.1")).unwrap();
            client.write_all(b"HTTP/1.1 200 connected\r\n\r\n").unwrap();
            let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from_server, &mut to_client));
            thread::spawn(move || std::io::copy(&mut reader, &mut server));
        }
    });
    (port, told)
}

/// A proxy that answers everybody with `status`; it tells what it was asked.
fn proxy_that_says(status: &'static str) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let (mut reader, mut request) = (BufReader::new(client.try_clone().unwrap()), String::new());
            while reader.read_line(&mut request).unwrap() > 2 {}
            tell.send(request.to_ascii_lowercase().replace("basic dtphi2i=", "basic u:a#b")).unwrap();
            let _ = client.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes());
        }
    });
    (port, told)
}

/// What the child process does: one call with the environment it was given.
fn call() -> (i32, String, String) {
    let request = CString::new(r#"{"model":"m","max_tokens":9,"messages":[]}"#).unwrap();
    let mut result = 0;
    // SAFETY: valid pointers, and the result is released after it was read.
    unsafe {
        let code = revenium_messages_create(request.as_ptr(), usize::MAX, REVENIUM_SCOPE_NONE, &mut result);
        let text = |at| CStr::from_ptr(at).to_str().unwrap().to_owned();
        let length = std::ptr::null_mut();
        let told = (code, text(revenium_result_text(result, length)), text(revenium_result_message(result, length)));
        revenium_release(result);
        revenium_shutdown(1000);
        told
    }
}

/// Run `call` in a process with these variables and no others that matter.
fn in_child(variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_makes_a_call", "--nocapture"]);
    for (name, _) in std::env::vars() {
        let lower = name.to_ascii_lowercase();
        let ours = ["revenium_", "anthropic_", "aws_", "ssl_cert"].iter().any(|prefix| lower.starts_with(prefix));
        if ours || lower.ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command.envs([
        ("TLS_CHILD", "1"),
        ("ANTHROPIC_API_KEY", "k"),
        ("REVENIUM_MAX_RETRIES", "0"),
        ("REVENIUM_SPOOL_DIR", ""),
    ]);
    command.envs([("AWS_EC2_METADATA_DISABLED", "true"), ("REVENIUM_METERING_BASE_URL", "http://127.0.0.1:9")]);
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().find_map(|line| line.split_once("TLS_CHILD_SAYS ")).map(|(_, rest)| rest.to_owned()).unwrap_or(text)
}

#[test]
fn child_makes_a_call() {
    if std::env::var_os("TLS_CHILD").is_some() {
        let (code, text, message) = call();
        println!("TLS_CHILD_SAYS {code} {text} {message}");
    }
}

#[test]
fn a_certificate_of_ssl_cert_file_is_trusted_and_others_are_not() {
    let (port, trust) = tls_server();
    let url = format!("https://localhost:{port}");
    let trust = trust.to_str().unwrap().to_owned();
    assert_eq!(in_child(&[("ANTHROPIC_BASE_URL", &url), ("SSL_CERT_FILE", &trust)]).trim(), "0 over TLS");
    let refused = in_child(&[("ANTHROPIC_BASE_URL", &url)]);
    assert!(refused.starts_with("-20 ") && refused.contains("its certificate is"), "{refused}");
    // Who names roots means no others.
    let refused = in_child(&[("ANTHROPIC_BASE_URL", &url), ("SSL_CERT_FILE", "/no/such/roots.pem")]);
    assert!(refused.contains("SSL_CERT_FILE") && refused.contains("/no/such/roots.pem"), "{refused}");
    let elsewhere = url.replace("localhost", "127.0.0.1");
    let refused = in_child(&[("ANTHROPIC_BASE_URL", &elsewhere), ("SSL_CERT_FILE", &trust)]);
    assert!(refused.starts_with("-20 ") && refused.contains("its certificate is for another name"), "{refused}");
    std::fs::remove_file(trust).unwrap();
}

#[test]
fn a_server_for_plain_http_is_named_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
            // Closed only after the client, so that it reads what was said.
            let _ = client.read_to_end(&mut Vec::new());
        }
    });
    let refused = in_child(&[("ANTHROPIC_BASE_URL", &url)]);
    assert!(refused.starts_with("-20 ") && refused.contains("what it sends is not TLS"), "{refused}");
}

#[test]
fn a_proxy_that_cannot_be_read_refuses_the_call() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let refused = in_child(&[("ANTHROPIC_BASE_URL", &url), ("HTTPS_PROXY", "htp://127.0.0.1:1")]);
    assert!(refused.starts_with("-6 ") && refused.contains("HTTPS_PROXY"), "{refused}");
    assert!(listener.accept().is_err(), "something was sent");
}

#[test]
fn a_proxy_is_used_unless_no_proxy_says_otherwise() {
    let (port, trust) = tls_server();
    let (proxy_port, told) = proxy();
    let url = format!("https://localhost:{port}");
    let proxy_url = format!("http://127.0.0.1:{proxy_port}");
    let trust = trust.to_str().unwrap().to_owned();
    let mut variables = vec![("ANTHROPIC_BASE_URL", &*url), ("SSL_CERT_FILE", &*trust), ("HTTPS_PROXY", &*proxy_url)];
    assert_eq!(in_child(&variables).trim(), "0 over TLS");
    assert_eq!(told.try_recv().unwrap(), format!("localhost:{port}"));
    let with_port = format!("other.example localhost:{port}");
    for except in ["localhost", "*", "*.localhost", &with_port] {
        variables.push(("NO_PROXY", except));
        assert_eq!(in_child(&variables).trim(), "0 over TLS", "{except}");
        assert!(told.try_recv().is_err(), "{except}");
        variables.pop();
    }
    variables.push(("NO_PROXY", "localhost:1"));
    assert_eq!(in_child(&variables).trim(), "0 over TLS");
    assert!(told.try_recv().is_ok());
    std::fs::remove_file(trust).unwrap();
}

#[test]
fn a_proxy_that_refuses_is_named() {
    let base = ("ANTHROPIC_BASE_URL", "https://provider.invalid");
    let (port, told) = proxy_that_says("403 Forbidden");
    // A raw `#` is one of the password's, and an empty variable hides no other.
    let url = format!("http://u:a#b@127.0.0.1:{port}");
    for variables in [&[base, ("HTTPS_PROXY", &*url)][..], &[base, ("HTTPS_PROXY", ""), ("https_proxy", &url)]] {
        let said = in_child(variables);
        assert!(said.starts_with("-20 ") && said.contains("refused to connect to provider.invalid"), "{said}");
        assert!(said.contains(&format!("The proxy 127.0.0.1:{port} (")) && !said.contains("a#b"), "{said}");
        let asked = told.try_recv().unwrap();
        assert!(asked.contains("connect provider.invalid:443") && asked.contains("basic u:a#b"), "{asked}");
    }
    let (port, _told) = proxy_that_says("407 Proxy Authentication Required");
    let said = in_child(&[base, ("ALL_PROXY", &format!("127.0.0.1:{port}"))]);
    assert!(said.contains(&format!("127.0.0.1:{port} (ALL_PROXY)")) && said.contains("credentials"), "{said}");
    let (port, _told) = proxy_that_says("403 Forbidden");
    let said =
        in_child(&[("ANTHROPIC_BASE_URL", "http://provider.invalid"), ("http_proxy", &format!("127.0.0.1:{port}"))]);
    assert!(said.starts_with("-43 ") && said.contains(&format!("127.0.0.1:{port} (http_proxy)")), "{said}");
}

#[test]
fn a_proxy_that_is_dead_or_no_proxy_is_named() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (scheme, variable) in [("https", "HTTPS_PROXY"), ("http", "HTTP_PROXY")] {
        let base = format!("{scheme}://provider.invalid");
        let said = in_child(&[("ANTHROPIC_BASE_URL", &base), (variable, &format!("127.0.0.1:{port}"))]);
        assert!(said.contains(&format!("Could not connect to the proxy 127.0.0.1:{port} ({variable})")), "{said}");
    }
    let base = ("ANTHROPIC_BASE_URL", "https://provider.invalid");
    let said = in_child(&[base, ("HTTPS_PROXY", &format!("socks5://u:pw@127.0.0.1:{port}"))]);
    assert!(said.starts_with("-20 ") && said.contains("socks5 is not supported") && !said.contains("pw"), "{said}");
    let said = in_child(&[base, ("HTTPS_PROXY", "http://u:pw@a b")]);
    assert!(said.starts_with("-6 ") && said.contains("HTTPS_PROXY") && !said.contains("pw"), "{said}");
}
