//! A way to the private server of `tests/postgres.sh` on which everything may get lost, as behind a firewall that forgets connections.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;

/// Even: what connects now is passed on, until the next change. Odd: nothing is.
type Epoch = Arc<AtomicU64>;

pub struct Relay {
    port: u16,
    epoch: Epoch,
}

impl Relay {
    /// To the server of that URL, which names the directory of its socket.
    pub async fn to(url: &str) -> Self {
        Self::followed(url).await.0
    }

    /// Likewise. Told `true`, what was lost on its way to the server comes there after all, sent again by a system that does not give up; and how often
    /// something was sent there.
    pub async fn followed(url: &str) -> (Self, watch::Sender<bool>, Arc<AtomicU64>) {
        let rest = url.split_once("host=").unwrap().1;
        let directory = rest.split('&').next().unwrap();
        let socket = PathBuf::from(directory).join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let epoch = Epoch::default();
        let known = Arc::clone(&epoch);
        let (is_late, late) = watch::channel(false);
        let questions = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&questions);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = UnixStream::connect(&socket).await.unwrap();
                let began = known.load(Ordering::SeqCst);
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let way = |late, passed| Way {
                    epoch: Arc::clone(&known),
                    began,
                    late,
                    passed,
                };
                let there = way(late.clone(), Arc::clone(&counted));
                let back = way(watch::channel(false).1, Arc::default());
                tokio::spawn(pass(from_client, to_server, there));
                tokio::spawn(pass(from_server, to_client, back));
            }
        });
        (Self { port, epoch }, is_late, questions)
    }

    /// The URL by this way.
    pub fn url(&self, url: &str) -> String {
        let (_, name) = url.split_once("///").unwrap();
        let name = name.split('?').next().unwrap();
        format!("postgres://kavadam@127.0.0.1:{}/{name}?sslmode=disable", self.port)
    }

    /// Nothing gets through from now on, and no end is told.
    pub fn stop(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Whatever connects from now on gets through; of what connected before, nothing ever will.
    pub fn go(&self) {
        self.stop();
    }
}

/// One way of a connection.
struct Way {
    epoch: Epoch,
    began: u64,
    late: watch::Receiver<bool>,
    passed: Arc<AtomicU64>,
}

async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, way: Way) {
    let (epoch, began, mut late) = (way.epoch, way.began, way.late);
    let mut buffer = vec![0; 65536];
    let mut lost = Vec::new();
    loop {
        let found = tokio::select! {
            found = from.read(&mut buffer) => found,
            true = async { late.wait_for(|is_late| *is_late).await.is_ok() }, if !lost.is_empty() => {
                _ = to.write_all(&std::mem::take(&mut lost)).await;
                continue;
            }
        };
        let length = found.unwrap_or(0);
        let is_lost = began % 2 == 1 || epoch.load(Ordering::SeqCst) != began;
        if is_lost && length == 0 {
            // Nobody is told of the end either.
            std::future::pending::<()>().await;
        }
        if is_lost {
            lost.extend_from_slice(&buffer[..length]);
        }
        if length == 0 {
            return;
        }
        way.passed.fetch_add(1, Ordering::Relaxed);
        if !is_lost && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
