//! W3C Trace Context: whose child a call is, as `traceparent` and `tracestate` say it.
//!
//! <https://www.w3.org/TR/trace-context/>

use reqwest::header::{HeaderName, HeaderValue};
use std::fmt;
use uuid::Uuid;

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The only flag that version 00 knows.
const SAMPLED: u8 = 1;

/// 16 bytes, never all zero; prints as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId(pub [u8; 16]);

/// 8 bytes, never all zero; prints as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId(pub [u8; 8]);

/// The context that a call was made in: the span of whoever made it.
#[derive(Clone, PartialEq)]
pub struct TraceContext {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    /// Whether whoever began the trace records it.
    pub sampled: bool,
    /// As it was given: it may be of a version to come.
    traceparent: HeaderValue,
    tracestate: Option<HeaderValue>,
}

impl TraceContext {
    /// `None`: this is no traceparent. A tracestate that no header may hold is left out.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<TraceContext> {
        let traceparent = traceparent.trim();
        let (version, rest) = traceparent.split_at_checked(2)?;
        let [version] = bytes(version)?;
        let (known, more) = rest.split_at_checked(53)?;
        // Versions to come may say more behind the flags, 00 must not; ff is none.
        if version == 0xff || version == 0 && !more.is_empty() || !more.is_empty() && !more.starts_with('-') {
            return None;
        }
        let mut parts = known.strip_prefix('-')?.split('-');
        let (trace_id, span_id, flags) = (bytes(parts.next()?)?, bytes(parts.next()?)?, bytes::<1>(parts.next()?)?);
        if trace_id == [0; 16] || span_id == [0; 8] {
            return None;
        }
        let header = |text: &str| HeaderValue::from_str(text).ok();
        Some(TraceContext {
            trace_id: TraceId(trace_id),
            span_id: SpanId(span_id),
            sampled: flags[0] & SAMPLED != 0,
            traceparent: header(traceparent)?,
            tracestate: tracestate.map(str::trim).filter(|state| !state.is_empty()).and_then(header),
        })
    }

    /// The beginning of a trace, where nobody else has begun one.
    pub fn root() -> TraceContext {
        TraceContext::of(TraceId(Uuid::new_v4().into_bytes()), None)
    }

    /// A new span of the same trace.
    pub fn child(&self) -> TraceContext {
        TraceContext::of(self.trace_id, self.tracestate.clone())
    }

    fn of(trace_id: TraceId, tracestate: Option<HeaderValue>) -> TraceContext {
        // The last bytes of a random UUID are all random, and never all zero: two of their bits are set.
        let [.., a, b, c, d, e, f, g, h] = Uuid::new_v4().into_bytes();
        let span_id = SpanId([a, b, c, d, e, f, g, h]);
        let text = format!("00-{trace_id}-{span_id}-{SAMPLED:02x}");
        // Hex digits and hyphens may always stand in a header.
        let traceparent = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
        TraceContext { trace_id, span_id, sampled: true, traceparent, tracestate }
    }

    /// The two headers as they go out; `None` where there is nothing to say.
    pub fn headers(&self) -> [(HeaderName, Option<HeaderValue>); 2] {
        [(TRACEPARENT, Some(self.traceparent.clone())), (TRACESTATE, self.tracestate.clone())]
    }

    pub fn tracestate(&self) -> Option<&str> {
        self.tracestate.as_ref().and_then(|state| state.to_str().ok())
    }
}

/// Exactly so many bytes as lower-case hex digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?;
    }
    Some(bytes)
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.traceparent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn what_the_recommendation_allows_is_read() {
        for (text, sampled) in [
            (format!("00-{TRACE}-00f067aa0ba902b7-01"), true),
            (format!("00-{TRACE}-00f067aa0ba902b7-00"), false),
            (format!(" 00-{TRACE}-00f067aa0ba902b7-03 "), true),
            (format!("00-{TRACE}-00f067aa0ba902b7-02"), false),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01"), true),
            (format!("cc-{TRACE}-00f067aa0ba902b7-01-what-may-come"), true),
        ] {
            let read = TraceContext::parse(&text, Some(" a=1,b=2 ")).expect(&text);
            assert_eq!((read.trace_id.to_string().as_str(), read.sampled), (TRACE, sampled), "{text}");
            assert_eq!(read.span_id.to_string(), "00f067aa0ba902b7");
            let [(_, parent), (_, state)] = read.headers();
            assert_eq!((parent.unwrap().to_str().unwrap(), state.unwrap().to_str().unwrap()), (text.trim(), "a=1,b=2"));
        }
    }

    #[test]
    fn everything_else_is_none() {
        for text in [
            "",
            "00",
            "é0-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "00-4bf92f3577b34da6a3ce929d0e0e47360-0f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(text, None), None, "{text}");
        }
    }

    #[test]
    fn a_child_is_of_the_same_trace_and_has_a_span_of_its_own() {
        let parent = TraceContext::parse(&format!("cc-{TRACE}-00f067aa0ba902b7-01-more"), Some("a=1")).unwrap();
        let (one, two) = (parent.child(), parent.child());
        for child in [&one, &two] {
            let [(_, given), (_, state)] = child.headers();
            let given = given.unwrap();
            let read = TraceContext::parse(given.to_str().unwrap(), Some("a=1")).unwrap();
            assert_eq!(read, *child, "what goes out can be read");
            assert!(given.to_str().unwrap().starts_with(&format!("00-{TRACE}-")) && state.is_some());
            assert!(child.span_id != parent.span_id && child.sampled);
        }
        assert!(one.span_id != two.span_id);
        let (one, two) = (TraceContext::root(), TraceContext::root());
        assert!(one.trace_id != two.trace_id && one.tracestate().is_none());
    }

    #[test]
    fn a_state_that_no_header_may_hold_is_left_out() {
        let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        for state in [None, Some(""), Some("  "), Some("a=\nb")] {
            assert_eq!(TraceContext::parse(&traceparent, state).unwrap().tracestate(), None, "{state:?}");
        }
    }
}
