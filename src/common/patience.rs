//! Waiting for the network with a limit.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;

/// A process that was stopped, or had no processor for a while, finds its alarm and the bytes that came meanwhile at the
/// same time. So after the alarm it looks once more, for this long, before silence is judged.
pub const LAST_LOOK: Duration = Duration::from_millis(100);

/// What `future` gives within `limit`.
pub async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    match timeout(limit, &mut future).await {
        Ok(came) => Some(came),
        Err(_) => timeout(LAST_LOOK, future).await.ok(),
    }
}
