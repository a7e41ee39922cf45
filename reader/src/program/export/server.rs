//! `export prometheus --listen`: an HTTP server for Prometheus.
//!
//! One thread has the nodes and makes the answers. Another one has all connections, and asks it. So a slow client delays
//! neither the nodes' exporter nor other clients, and no more than one answer is made at a time.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use atomscope::export::nodes::{Nodes, TICK};
use atomscope::export::prometheus::{Exposition, Prometheus};
use atomscope::export::text::Format;
use atomscope::system::{monotonic_ns, stopped};
use atomscope::text::{clean, clean_path};
use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};
use tokio_rustls::TlsAcceptor;

use crate::program::export::renewed::{Latest, Renewed};
use crate::program::export::tls::{acceptor, certificate};
use crate::program::export::what::{failed, poll};
use crate::program::output::{Failure, note};

/// The time that a client has in all: for TLS, its request and the answer.
const PER_CLIENT: Duration = Duration::from_secs(10);
/// The time that a client has for the head of its request.
const HEAD: Duration = Duration::from_secs(5);
/// Limit of bytes of the head of a request.
const HEAD_BYTES: usize = 16 << 10;
/// Limit of connections. Further ones are closed at once.
const CONNECTIONS: usize = 256;
/// An answer is given to all who ask within this time, so that many clients cost no more than a few.
const SAME_FOR: Duration = Duration::from_millis(100);
/// The exporter works if it has looked at its nodes within this time.
const WORKS: Duration = Duration::from_secs(10);

/// Where and for whom to serve.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Serve HTTP at this address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9464")]
    pub listen: SocketAddr,
    /// The certificate chain for TLS, in PEM. A new one is taken up within some seconds.
    #[arg(long, value_name = "FILE", requires = "tls_key", help_heading = "Protection")]
    pub tls_cert: Option<PathBuf>,
    /// The private key for TLS, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert", help_heading = "Protection")]
    pub tls_key: Option<PathBuf>,
    /// Answer only clients that send the token in this file. A new one is taken up within some seconds.
    #[arg(long, value_name = "FILE", help_heading = "Protection")]
    pub token_file: Option<PathBuf>,
}

/// A client's wish: the metrics in this form.
struct Ask {
    form: Form,
    answer: oneshot::Sender<Bytes>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    format: Format,
    gzip: bool,
}

/// What every connection needs.
struct Shared {
    asks: mpsc::Sender<Ask>,
    token: Option<Arc<Latest<Vec<u8>>>>,
    /// When the nodes were looked at last, by the monotonic clock.
    looked_ns: AtomicU64,
}

impl Shared {
    fn lets_in(&self, headers: &HeaderMap) -> bool {
        self.token.as_ref().is_none_or(|token| is_allowed(headers, &token.get()))
    }
}

/// Serves until a signal to stop.
pub fn serve(nodes: &mut Nodes, exporter: &mut Prometheus, args: &ServerArgs) -> Result<(), Failure> {
    let mut certificate = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(certificate(cert, key)?),
        _ => None,
    };
    let tls = certificate.as_ref().map(acceptor).transpose()?;
    let mut token_file = args.token_file.as_deref().map(token_file).transpose()?;
    let token = match &token_file {
        Some(file) => Some(file.latest()),
        None => token_of_environment()?.map(|token| Arc::new(Latest::new(token))),
    };
    let listener = listen(args.listen)?;
    let address = listener.local_addr().unwrap_or(args.listen);
    let scheme = if tls.is_some() { "https" } else { "http" };
    note(&format!("serving {scheme}://{address}/metrics"));
    if !address.ip().is_loopback() && (tls.is_none() || token.is_none()) {
        note("other machines can reach this address; protect it with --token-file and --tls-cert");
    }
    let (asks, asked) = mpsc::channel();
    let shared = Arc::new(Shared { asks, token, looked_ns: AtomicU64::new(monotonic_ns()) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    let of_thread = shared.clone();
    let thread = std::thread::Builder::new().name("http".to_owned());
    let thread = thread.spawn(move || runtime.block_on(accept(listener, tls, of_thread)));
    thread.map_err(|error| failed(&error))?;
    let mut made: Option<Made> = None;
    while !stopped() {
        poll(nodes, exporter)?;
        shared.looked_ns.store(monotonic_ns(), Ordering::Relaxed);
        certificate.iter_mut().for_each(Renewed::renew);
        token_file.iter_mut().for_each(Renewed::renew);
        let Ok(first) = asked.recv_timeout(TICK) else { continue };
        let made = match &mut made {
            Some(made) if made.at.elapsed() < SAME_FOR => made,
            _ => {
                // A node that has just ended must not be in it.
                poll(nodes, exporter)?;
                let exposition = exporter.collect(nodes).map_err(|error| failed(&error))?;
                made.insert(Made { at: Instant::now(), exposition, bodies: Vec::new() })
            }
        };
        for ask in std::iter::once(first).chain(asked.try_iter()) {
            // A client that is gone needs no answer.
            let _ = ask.answer.send(made.body(ask.form));
        }
    }
    Ok(())
}

/// Families, and the answers that were made of them.
struct Made {
    at: Instant,
    exposition: Exposition,
    bodies: Vec<(Form, Bytes)>,
}

impl Made {
    fn body(&mut self, form: Form) -> Bytes {
        if let Some((_, body)) = self.bodies.iter().find(|(made, _)| *made == form) {
            return body.clone();
        }
        let text = self.exposition.to_text(form.format).into_bytes();
        let body = Bytes::from(if form.gzip { packed(&text) } else { text });
        self.bodies.push((form, body.clone()));
        body
    }
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory does not fail.
    let _ = encoder.write_all(text);
    encoder.finish().unwrap_or_default()
}

fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let listening = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listening.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "; another program has it, so give another one with --listen",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need a privilege",
            _ => "; give one of this machine with --listen",
        };
        Failure::Failed(format!("cannot listen at {address}: {}{hint}", clean(&error.to_string())))
    })
}

/// The token in this file, which clients must send.
fn token_file(file: &Path) -> Result<Renewed<Vec<u8>>, Failure> {
    let from = file.to_owned();
    Renewed::new("token", &[file], move || {
        let name = clean_path(&from);
        let text = std::fs::read(&from)
            .map_err(|error| Failure::Failed(format!("cannot read {name}: {}", clean(&error.to_string()))))?;
        token(&text, &name)
    })
}

/// The token that clients must send if there is no file.
fn token_of_environment() -> Result<Option<Vec<u8>>, Failure> {
    const NAME: &str = "ATOMSCOPE_TOKEN";
    std::env::var_os(NAME).map(|text| token(&text.into_vec(), NAME)).transpose()
}

fn token(text: &[u8], from: &str) -> Result<Vec<u8>, Failure> {
    let token = text.trim_ascii();
    if token.is_empty() {
        return Err(Failure::Failed(format!(
            "the token in {from} is empty; without one, everybody would be let in"
        )));
    }
    Ok(token.to_vec())
}

/// Takes connections, each in a task of its own.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or a client that is gone already.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(permit) = free.clone().try_acquire_owned() else { continue };
        let (tls, shared) = (tls.clone(), shared.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let served = async {
                match tls {
                    None => connection(TokioIo::new(stream), shared).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            connection(TokioIo::new(stream), shared).await;
                        }
                    }
                }
            };
            let _ = tokio::time::timeout(PER_CLIENT, served).await;
        });
    }
}

/// Serves one request: a client that asks every few seconds gains nothing from a connection that stays.
async fn connection<S>(stream: S, shared: Arc<Shared>)
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(&request, &shared).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES).keep_alive(false);
    // A client that breaks the protocol or is gone gets no answer.
    let _ = server.serve_connection(stream, service).await;
}

async fn answer(request: &Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" if !shared.lets_in(request.headers()) => {
            let mut response = plain(StatusCode::UNAUTHORIZED, "a token is needed\n");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        }
        "/metrics" => metrics(request.headers(), shared).await,
        "/healthz" => {
            let since = monotonic_ns().saturating_sub(shared.looked_ns.load(Ordering::Relaxed));
            if Duration::from_nanos(since) < WORKS {
                plain(StatusCode::OK, "ok\n")
            } else {
                plain(StatusCode::SERVICE_UNAVAILABLE, "the exporter has not looked at its nodes for 10 s\n")
            }
        }
        "/" => plain(StatusCode::OK, "atomscope: see /metrics and /healthz\n"),
        _ => plain(StatusCode::NOT_FOUND, "there are only /metrics and /healthz\n"),
    }
}

async fn metrics(headers: &HeaderMap, shared: &Shared) -> Response<Full<Bytes>> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::of_accept(text(header::ACCEPT));
    let gzip = accepts_gzip(text(header::ACCEPT_ENCODING));
    let (answer, answered) = oneshot::channel();
    let is_asked = shared.asks.send(Ask { form: Form { format, gzip }, answer }).is_ok();
    let body = if is_asked { answered.await.ok() } else { None };
    let Some(body) = body else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "the exporter is about to stop\n");
    };
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn accepts_gzip(accept_encoding: &str) -> bool {
    accept_encoding.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|part| part.strip_prefix("q=").is_some_and(is_zero))
    })
}

fn is_zero(weight: &str) -> bool {
    weight.trim().parse::<f64>().is_ok_and(|weight| weight == 0.0)
}

/// Whether the client has sent the token. The time of the comparison does not tell where they differ.
fn is_allowed(headers: &HeaderMap, token: &[u8]) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let Some((scheme, given)) = given.split_at_checked(7) else { return false };
    let given = given.trim_ascii();
    let differences = given.iter().zip(token).fold(0, |all, (a, b)| all | (a ^ b));
    scheme.eq_ignore_ascii_case(b"bearer ") && given.len() == token.len() && differences == 0
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_let_in() {
        let allowed = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(given).unwrap());
            is_allowed(&headers, b"secret")
        };
        assert!(allowed("Bearer secret") && allowed("bearer  secret"));
        for wrong in [
            "",
            "secret",
            "Bearer",
            "Bearer ",
            "Bearer secre",
            "Bearer secrets",
            "Bearer tecret",
            "Basic secret",
        ] {
            assert!(!allowed(wrong), "{wrong}");
        }
        assert!(!is_allowed(&HeaderMap::new(), b"secret"));
    }

    #[test]
    fn gzip_is_for_those_who_ask_for_it() {
        assert!(accepts_gzip("gzip") && accepts_gzip("deflate, gzip;q=0.5"));
        assert!(!accepts_gzip("") && !accepts_gzip("gzip;q=0") && !accepts_gzip("xgzip, deflate"));
    }
}
