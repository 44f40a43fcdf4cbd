//! HTTP for operators: probes, metrics, the cluster's state, drain.
//!
//! Must not know how a node decides; it asks the engine. Runs on the control thread, so a control thread that hangs fails
//! `/livez` by not answering. No cross-origin headers: a web page of another site must not read or steer a cache.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use memring_engine::node::{DrainState, DrainView, Shared};
use memring_engine::now::Mono;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use crate::clock::Clock;
use crate::health;
use crate::metrics::Metrics;

/// HTTP connections at once: probes and scrapers need a few, and the next one waits.
const CONNECTIONS_MAX: usize = 128;

/// How long an HTTP connection may send nothing.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// What the answers are made from.
pub(crate) struct Admin {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
    /// When each event loop last turned, in microseconds of the monotonic clock.
    pub(crate) heartbeats: Vec<Arc<AtomicU64>>,
    pub(crate) stopping: Arc<AtomicBool>,
    pub(crate) drain: Arc<Notify>,
    pub(crate) metrics: Metrics,
}

/// Serves for ever.
pub(crate) async fn serve(listener: TcpListener, admin: Admin) {
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .route("/metrics", get(metrics))
        .route("/api/cluster", get(cluster))
        .route("/api/drain", post(drain).get(drain_progress))
        .with_state(Arc::new(admin));
    let listener = Bounded { listener, permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)) };
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!(%error, "the admin port is no longer served");
    }
}

async fn livez(State(admin): State<Arc<Admin>>) -> Response {
    let turned = admin.heartbeats.iter().map(|heartbeat| Mono(heartbeat.load(Ordering::Relaxed)));
    tell(health::live(admin.clock.mono(), turned))
}

async fn readyz(State(admin): State<Arc<Admin>>) -> Response {
    let is_stopping = admin.stopping.load(Ordering::Relaxed);
    tell(health::ready(is_stopping, admin.shared.drain_view().state, admin.shared.is_ready()))
}

async fn startupz(State(admin): State<Arc<Admin>>) -> Response {
    tell(health::started(admin.clock.mono(), admin.shared.is_settled()))
}

async fn metrics(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    admin.metrics.answer(admin.clock.now(), &headers)
}

async fn cluster(State(admin): State<Arc<Admin>>) -> Response {
    Json(admin.shared.cluster_view()).into_response()
}

/// Begins to leave the ring; asked again, it says how far that is.
async fn drain(State(admin): State<Arc<Admin>>) -> Response {
    let view = admin.shared.drain_view();
    if let Some(refusal) = admin.shared.drain_refusal() {
        return (StatusCode::CONFLICT, Json(DrainView { error: Some(refusal), ..view })).into_response();
    }
    if view.state != DrainState::None {
        return (StatusCode::ACCEPTED, Json(view)).into_response();
    }
    admin.drain.notify_one();
    (StatusCode::ACCEPTED, Json(DrainView { state: DrainState::Draining, ..view })).into_response()
}

async fn drain_progress(State(admin): State<Arc<Admin>>) -> Response {
    Json(admin.shared.drain_view()).into_response()
}

fn tell(verdict: Result<(), String>) -> Response {
    match verdict {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// A listener that lets in [`CONNECTIONS_MAX`] at once and closes those that say nothing.
struct Bounded {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Impatient;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Impatient, SocketAddr) {
        loop {
            let permit = Arc::clone(&self.permits).acquire_owned().await;
            match (self.listener.accept().await, permit) {
                (Ok((stream, from)), Ok(permit)) => {
                    let patience = Box::pin(tokio::time::sleep(IDLE_MAX));
                    return (Impatient { stream, patience, _permit: permit }, from);
                }
                // Out of files, most likely; or the semaphore was closed, which nobody does.
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A socket whose reads fail after [`IDLE_MAX`] without a byte.
struct Impatient {
    stream: TcpStream,
    patience: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Impatient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(outcome) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            self.patience = Box::pin(tokio::time::sleep(IDLE_MAX));
            return Poll::Ready(outcome);
        }
        match self.patience.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
