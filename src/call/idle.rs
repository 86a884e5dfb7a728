//! How long a provider may say nothing in the middle of its reply.

use crate::common::error::{Code, Error, Result};
use crate::common::patience::LAST_LOOK;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// One alarm for a whole reply, which asks when it goes off whether something was heard since. A timer for each read
/// would be put among those of all other streams and taken out again, which costs more than the read.
pub(super) struct IdleTimeout {
    limit: Duration,
    heard: Instant,
    /// The limit is over, and a last look is taken until then.
    last_look: Option<Instant>,
    /// Where everything is at hand there is none.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl IdleTimeout {
    pub fn new(limit: Duration) -> IdleTimeout {
        IdleTimeout { limit, heard: Instant::now(), last_look: None, alarm: None }
    }

    /// Something was heard, or nobody listened until now.
    pub fn restart(&mut self) {
        self.heard = Instant::now();
        self.last_look = None;
    }

    /// What `next` gives; E_TIMEOUT when that takes too long.
    pub async fn within<T>(&mut self, next: impl Future<Output = T>) -> Result<T> {
        let mut next = pin!(next);
        poll_fn(|cx| {
            if let Poll::Ready(came) = next.as_mut().poll(cx) {
                self.restart();
                return Poll::Ready(Ok(came));
            }
            loop {
                let due = self.last_look.unwrap_or(self.heard + self.limit);
                let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
                ready!(alarm.as_mut().poll(cx));
                if Instant::now() >= due && self.last_look.is_none() {
                    self.last_look = Some(Instant::now() + LAST_LOOK);
                } else if Instant::now() >= due {
                    let seconds = self.limit.as_secs();
                    let text = format!("The provider sent nothing for {seconds} s in the middle of its reply.");
                    return Poll::Ready(Err(Error::new(Code::Timeout, text)));
                }
                alarm.as_mut().reset(self.last_look.unwrap_or(due));
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::time::sleep;

    const LIMIT: Duration = Duration::from_secs(600);

    /// On a clock that moves when nothing else does.
    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test);
    }

    #[test]
    fn only_silence_counts_not_the_whole_time() {
        run(async {
            let mut idle = IdleTimeout::new(LIMIT);
            for _ in 0..10 {
                idle.within(sleep(LIMIT - Duration::from_secs(1))).await.unwrap();
            }
            let last = Instant::now();
            assert_eq!(idle.within(std::future::ready(7)).await.unwrap(), 7);
            let error = idle.within(pending::<()>()).await.unwrap_err();
            assert_eq!((error.code, last.elapsed().as_secs()), (Code::Timeout, LIMIT.as_secs()));
        });
    }

    #[test]
    fn time_in_which_nobody_listened_does_not_count() {
        run(async {
            let mut idle = IdleTimeout::new(LIMIT);
            idle.within(sleep(Duration::from_secs(1))).await.unwrap();
            sleep(2 * LIMIT).await;
            idle.restart();
            idle.within(sleep(LIMIT / 2)).await.unwrap();
            assert!(idle.within(sleep(2 * LIMIT)).await.is_err());
        });
    }
}
