//! Serves the page, on a thread of its own: whatever is asked of it never holds up a session.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use lariat_base::name::HostName;
use lariat_client::status::{CountsObject, StatusObject};
use lariat_wire::protocol::status::Report;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::metrics::Metrics;
use super::page::{page, policy};
use super::target::{Target, decide};
use crate::config::StatusPlace;
use crate::core::Agent;
use crate::report::{Asker, report};
use crate::transport::bind_private;

/// Connections at a time.
const MOST: usize = 8;

/// How long a request's head may take to arrive, and a connection to be done.
const HEAD: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(15);

/// The pause before accepting again when descriptors ran out.
const PAUSE: Duration = Duration::from_millis(100);

/// The older text format of Prometheus.
const CONTENT_TYPE_PLAIN: &str = prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// Bytes of a head.
const HEAD_LEN: usize = 8 * 1024;

/// Where the page is served.
pub(crate) enum StatusListener {
    /// On a loopback address.
    Tcp(std::net::TcpListener),
    /// On a unix socket that only its owner can open. The next agent replaces it.
    Unix(std::os::unix::net::UnixListener),
}

impl StatusListener {
    /// Listens at a place of the configuration. Replaces a socket that an earlier agent left behind.
    pub(crate) fn bind(place: &StatusPlace) -> io::Result<Self> {
        match place {
            StatusPlace::Loopback(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                info!("status on http://{}/", listener.local_addr()?);
                Ok(Self::Tcp(listener))
            }
            StatusPlace::Socket(path) => {
                let listener = bind_private(path)?;
                info!("status on {}", path.display());
                Ok(Self::Unix(listener))
            }
        }
    }
}

/// Serves on a thread of its own, until the process ends.
pub(crate) fn start(listener: StatusListener, agent: &Arc<Agent>) -> io::Result<()> {
    let server = Arc::new(Server::new(agent, &listener)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(MOST)
        .build()?;
    let run = move || runtime.block_on(accept(listener, server));
    std::thread::Builder::new().name("status".into()).spawn(run).map(drop)
}

/// What is served.
struct Server {
    agent: Arc<Agent>,
    host: HostName,
    metrics: Metrics,
    /// The port, on a loopback address.
    port: Option<u16>,
    policy: HeaderValue,
}

/// A document.
struct Document {
    kind: &'static str,
    text: String,
}

impl Server {
    fn new(agent: &Arc<Agent>, listener: &StatusListener) -> io::Result<Self> {
        let port = match listener {
            StatusListener::Tcp(listener) => Some(listener.local_addr()?.port()),
            StatusListener::Unix(_) => None,
        };
        let policy = HeaderValue::try_from(policy()).map_err(io::Error::other)?;
        let (host, metrics) = (agent.config().name.clone(), Metrics::new(&agent.counters));
        Ok(Self { agent: Arc::clone(agent), host, metrics, port, policy })
    }

    /// A document, from figures of this moment. Reads files, and may wait for a disk.
    fn document(&self, target: Target) -> Document {
        let in_full = self.port.is_none();
        let measured = || report(&self.agent, Asker::host());
        let (kind, text) = match target {
            Target::Health => ("text/plain; charset=utf-8", "ok\n".to_owned()),
            Target::Metrics => (
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                self.metrics.encode(&measured(), false),
            ),
            Target::PlainMetrics => (CONTENT_TYPE_PLAIN, self.metrics.encode(&measured(), true)),
            Target::Page => ("text/html; charset=utf-8", page(&self.host, &measured(), in_full)),
            Target::Object => ("application/json", self.object(&measured(), in_full)),
        };
        Document { kind, text }
    }

    fn object(&self, report: &Report, in_full: bool) -> String {
        let host = &self.host;
        let text = if in_full {
            serde_json::to_string(&Named { host, status: StatusObject::of(report, None) })
        } else {
            serde_json::to_string(&Named { host, status: CountsObject::of(report) })
        };
        text.expect("texts and numbers can be written as JSON") + "\n"
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<String> {
        let head = request.into_parts().0;
        let decided = decide(&head.method, &head.uri, &head.headers, self.port);
        let server = Arc::clone(&self);
        let document = match decided {
            Ok(target) => spawn_blocking(move || server.document(target)).await,
            Err(status) => return self.response(status, Document::of(status)),
        };
        if let Ok(document) = document {
            return self.response(StatusCode::OK, document);
        }
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        self.response(status, Document::of(status))
    }

    fn response(&self, status: StatusCode, Document { kind, text }: Document) -> Response<String> {
        let mut response = Response::new(text);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        for (name, value) in [
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (CACHE_CONTROL, "no-store"),
            (REFERRER_POLICY, "no-referrer"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

impl Document {
    /// Says only what the status is.
    fn of(status: StatusCode) -> Self {
        Self { kind: "text/plain; charset=utf-8", text: format!("{status}\n") }
    }
}

/// An object that begins with its host.
#[derive(Serialize)]
struct Named<'a, T> {
    host: &'a HostName,
    #[serde(flatten)]
    status: T,
}

/// Accepts, a few connections at a time.
async fn accept(listener: StatusListener, server: Arc<Server>) {
    let accepted = match listener {
        StatusListener::Tcp(listener) => match TcpListener::from_std(listener) {
            Ok(listener) => each(async || Ok(listener.accept().await?.0), server).await,
            Err(error) => Err(error),
        },
        StatusListener::Unix(listener) => match UnixListener::from_std(listener) {
            Ok(listener) => each(async || Ok(listener.accept().await?.0), server).await,
            Err(error) => Err(error),
        },
    };
    if let Err(error) = accepted {
        warn!("the status is not served: {error}");
    }
}

async fn each<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    next: impl AsyncFn() -> io::Result<S>,
    server: Arc<Server>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        // Further connections wait to be accepted.
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        match next().await {
            Ok(stream) => {
                let serving = serve(stream, Arc::clone(&server));
                tokio::spawn(async move {
                    let _ = timeout(WHOLE, serving).await;
                    drop(place);
                });
            }
            // The peer has gone, or descriptors ran out.
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Serves one request of a connection. What goes wrong concerns its peer only.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, server: Arc<Server>) {
    let service = service_fn(move |request| {
        let answer = Arc::clone(&server).answer(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).keep_alive(false);
    let _ = builder.max_buf_size(HEAD_LEN).serve_connection(TokioIo::new(stream), service).await;
}
