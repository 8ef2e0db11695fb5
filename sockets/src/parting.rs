//! HTTP connections when their process ends.

use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use tokio_util::sync::CancellationToken;

/// How long who has just connected may take to ask. A browser that connects in advance asks nothing, and nobody shall wait for it.
const FIRST_REQUEST: Duration = Duration::from_millis(500);

/// Serves a connection until it ends, or after `stop` until it is answered. One on which nothing has been `asked` yet gets a moment for it: whoever had
/// connected just before would otherwise be closed without an answer, and connected to the next process a moment later.
///
/// # Errors
/// The connection's own.
pub async fn until_answered<C: GracefulConnection>(
    connection: C,
    asked: &CancellationToken,
    stop: &CancellationToken,
) -> Result<(), C::Error> {
    tokio::pin!(connection);
    tokio::select! {
        ended = &mut connection => return ended,
        () = stop.cancelled() => {}
    }
    tokio::select! {
        ended = &mut connection => return ended,
        () = asked.cancelled() => {}
        () = tokio::time::sleep(FIRST_REQUEST) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}
