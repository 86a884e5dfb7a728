//! Waiting: for the network with a limit, or for others to have their turn.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
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

/// Let everything that is ready have its turn. (Tokio's `yield_now` asks the kernel for news besides.)
pub async fn yield_once() {
    let mut had = false;
    poll_fn(|cx| match std::mem::replace(&mut had, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}
