//! Asking until the provider answers with success, or says no for good.

use super::{Context, Job, Progress, Unfinished};
use crate::common::error::Result;
use crate::common::log;
use crate::common::retry;
use crate::completion::outcome::Fallback;
use crate::provider::{Failure, Prepared, Reply, Sent};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The first good answer: of the provider that was chosen, or of Anthropic where another cannot say more.
pub(super) async fn answered(unfinished: &Unfinished, job: &Job, progress: &mut Progress) -> Result<Reply> {
    let failure = match attempts(unfinished, job, &*job.prepared, progress).await {
        Ok(reply) => return Ok(reply),
        Err(failure) => failure,
    };
    let asked = job.prepared.provider();
    let direct = if failure.ask_directly { unfinished.owner.direct_instead(asked, &job.request) } else { None };
    let Some(direct) = direct else { return Err(failure.error) };
    let title = asked.row().title;
    log::warn!("call {}: {title} did not answer, asking Anthropic directly: {}", unfinished.call.number, failure.error);
    progress.provider = direct.provider();
    progress.fallback = Some(Fallback { from: asked, error: failure.error });
    progress.head = None;
    // Boxed: rarely needed, and room for it would be held by every call.
    Box::pin(attempts(unfinished, job, &*direct, progress)).await.map_err(|failure| failure.error)
}

/// Attempts until the provider answers with success, or says no for good.
async fn attempts(unfinished: &Unfinished, job: &Job, prepared: &dyn Prepared, progress: &mut Progress) -> Sent {
    let Unfinished { context, call, .. } = unfinished;
    let idle = context.idle_timeout();
    let http = context.clients().map_err(|error| Failure::before_answer(error, false))?;
    let mut attempt = 0;
    loop {
        progress.attempts += 1;
        call.attempts.store(progress.attempts, Ordering::Relaxed);
        let sent = prepared.send(http, attempt, idle).await;
        if job.span.is_some() {
            progress.server = prepared.server();
        }
        let failure = match sent {
            Ok(reply) => {
                progress.retryable = false;
                progress.head = Some(reply.head.clone());
                let _ = call.head.set(reply.head.clone());
                return Ok(reply);
            }
            Err(failure) => failure,
        };
        progress.retryable = failure.retry;
        progress.head.clone_from(&failure.head);
        let Some(delay) = retry_delay(context, job, attempt, &failure) else { return Err(failure) };
        attempt += 1;
        log::debug!("attempt {attempt} failed, again in {} ms: {}", delay.as_millis(), failure.error);
        tokio::time::sleep(delay).await;
    }
}

/// How long to wait before the next attempt; `None`: there is none.
fn retry_delay(context: &Context, job: &Job, attempt: u32, failure: &Failure) -> Option<Duration> {
    if !failure.retry || attempt >= job.max_retries {
        return None;
    }
    match failure.retry_after {
        Some(delay) => {
            let longest = Duration::from_millis(context.settings.max_retry_after_ms);
            (delay <= longest).then_some(delay)
        }
        None => Some(retry::backoff(retry::FIRST, attempt)),
    }
}
