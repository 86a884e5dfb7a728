//! ---- Revenium's platform ----

use super::messages::{caller, wait};
use super::types::*;
use super::{edge, scope};
use crate::client::process::process;
use crate::common::error::{Code, Error, Result};
use crate::completion::Target;
use crate::completion::backpressure::Backpressure;
use crate::completion::outcome::Outcome;
use crate::platform::webhook;
use std::ffi::{c_char, c_void};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// The name of an operation.
///
/// # Safety
/// `at` is NULL or points to a NUL-terminated string.
unsafe fn name<'a>(at: *const c_char) -> Result<&'a str> {
    // SAFETY: as promised by the caller.
    unsafe { edge::text(at, usize::MAX) }?.ok_or_else(|| Error::new(Code::Argument, "The operation is NULL."))
}

/// ---- Revenium's platform: jobs, outcomes, economics, budgets ----
///
/// Ask Revenium for something and wait for the answer. Waits, while it is tried
/// again for minutes: "timeoutMs" in `params` bounds that.
/// operation: NUL-terminated, one of "jobs.create", "jobs.list", "jobs.get",
///   "jobs.roi", "jobs.transactions", "jobs.types", "jobs.conversion_funnel",
///   "jobs.report_outcome", "jobs.amend_outcome", "jobs.append_metrics",
///   "jobs.outcome_history", "economics.get", "economics.put",
///   "economics.baselines", "economics.add_baseline", "economics.add_facts",
///   "budgets.list", "budgets.roster", "completions.cost". docs/platform.md has what
///   each takes.
/// params: a JSON object, or NULL for none. Names as in Revenium's API, or the
///   same in snake_case; "teamId" over the setting team_id.
/// result: receives a handle whose JSON is Revenium's answer, or an error with
///   Revenium's own in "response"; yours to release in both cases.
/// An unknown operation or parameter, a missing or malformed one
/// (ARGUMENT, JSON), a key that may not do it and a team that is not known
/// (CONFIG) are told before anything is sent. Counts as a call in
/// revenium_status() and for `max_in_flight`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_platform_call(
    operation: *const c_char,
    params: *const c_char,
    params_len: usize,
    result: *mut revenium_result,
) -> i32 {
    // SAFETY: the header asks for valid pointers.
    unsafe {
        edge::with_result(result, false, || {
            edge::may_wait()?;
            let (operation, params) = (name(operation)?, edge::text(params, params_len)?);
            let call = process().client()?.begin_operation(operation, params, caller(false), false)?;
            wait(&call, |_| ControlFlow::Continue(())).map(Some)
        })
    }
}

/// The same without waiting: the result goes to `queue`, marked with `tag`.
/// call: may be NULL. Else yours to release: a handle to cancel it by and, when
///   the RESULT frame has come, to read its result from; on an error that
///   starts nothing, a result that says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_platform_submit(
    operation: *const c_char,
    params: *const c_char,
    params_len: usize,
    queue: revenium_queue,
    tag: u64,
    call: *mut revenium_call,
) -> i32 {
    // SAFETY: the header asks for valid pointers.
    unsafe {
        edge::with_handle(call, true, || {
            let (operation, params) = (name(operation)?, edge::text(params, params_len)?);
            let target = Target::Queue {
                queue: process().handles.queue(queue)?,
                tag,
                backpressure: Arc::<Backpressure>::default(),
            };
            let begun = process().client()?.begin_operation(operation, params, target, !call.is_null());
            begun.map(|call| call.number)
        })
    }
}

/// Ask whether a call would be refused by a budget, without making it. Never
/// waits: the rules are those fetched last, and the first question starts the
/// fetching, as the first call does. With budget_enforcement off all is allowed.
/// request, scope: as for revenium_messages_create(). Of a call that something
///   else makes, the object of revenium_tap_new(), with "admit": true where it is
///   made if it may be: what there is to warn about is logged, a refusal counts.
/// REVENIUM_OK: the JSON of `result` is {"allowed": true, "enforced"}, with
///   "warnings" (rules that only warn) and "would_refuse" (in shadow mode).
/// REVENIUM_E_BUDGET: an error object of type "billing_error" with rule_name,
///   rule_id, current_value, threshold, resets_at and deny_message.
/// Each of the four ways to call returns the same code and error, before
/// anything is sent; such a call is not metered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_budget_check(
    request: *const c_char,
    request_len: usize,
    scope: revenium_scope,
    result: *mut revenium_result,
) -> i32 {
    // SAFETY: the header asks for valid pointers.
    unsafe {
        edge::with_result(result, false, || {
            let request = edge::required_text(request, request_len)?;
            let scope = scope::named(scope)?;
            let told = process().client()?.check_budget(request, scope)?;
            Ok(Some(Arc::new(Outcome::document(told))))
        })
    }
}

/// Whether a webhook really comes from Revenium.
///
/// timestamp, signature: the headers X-Revenium-Webhook-Timestamp and
///   X-Revenium-Signature-256, NUL-terminated; NULL where there is none.
/// body: the bytes as they came, before anything parsed them.
/// tolerance_s: how far its time may be from now, in seconds; Revenium's own
///   SDK takes 300.
/// REVENIUM_OK: yes. REVENIUM_E_AUTHENTICATION: no, whatever is the matter with
/// it. REVENIUM_E_ARGUMENT: the secret is empty, or the tolerance negative.
/// Works before init and after shutdown. Takes as long for a signature that is
/// nearly right as for any other.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn revenium_webhook_verify(
    secret: *const c_char,
    secret_len: usize,
    timestamp: *const c_char,
    signature: *const c_char,
    body: *const c_void,
    body_len: usize,
    tolerance_s: i32,
) -> i32 {
    edge::code(|| {
        // SAFETY: the header asks for valid pointers.
        let secret = unsafe { edge::text(secret, secret_len) }?.unwrap_or_default();
        let argument = |text: &str| Error::new(Code::Argument, text);
        if secret.is_empty() {
            return Err(argument("The secret is empty."));
        }
        let tolerance = u64::try_from(tolerance_s).map_err(|_| argument("The tolerance is negative."))?;
        // SAFETY: `body_len` bytes are readable there.
        let body = unsafe { edge::bytes(body, body_len)? };
        // SAFETY: NULL, or NUL-terminated. What is no text is no signature.
        let header = |at| unsafe { edge::text(at, usize::MAX) }.ok().flatten().unwrap_or_default();
        let (timestamp, signature) = (header(timestamp), header(signature));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let valid = webhook::verify(secret.as_bytes(), timestamp, signature, body, tolerance, now);
        Ok(if valid { Code::Ok } else { Code::Authentication })
    })
}
