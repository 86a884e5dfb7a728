//! The output tokens of a reply that broke off. The provider counts them at its end; until then all it has told is
//! message_start's placeholder, and what was written is billed all the same.

use crate::messages::{Summary, Written};
use parking_lot::Mutex;
use std::collections::HashMap;

/// Characters a token, where nothing is known of a model.
const USUAL: f64 = 3.6;

/// A whole reply beyond these teaches nothing: its count is a placeholder, or counts something that is not shown.
const PLAUSIBLE: std::ops::RangeInclusive<f64> = 0.2..=20.0;

/// For fewer characters than this the placeholder may well be right.
const TOO_FEW: u64 = 16;

/// So many models are remembered: their names come from outside.
const MAX_MODELS: usize = 256;

/// After so many replies a model is known well enough.
const MAX_REPLIES: u32 = 100;

/// How many characters the models of this run write a token.
#[derive(Default)]
pub struct Ratios(Mutex<HashMap<String, Learnt>>);

#[derive(Default)]
struct Learnt {
    characters: u64,
    tokens: u64,
    replies: u32,
}

impl Ratios {
    /// Whether another whole reply of `model` says anything new.
    pub fn wants(&self, model: &str) -> bool {
        let known = self.0.lock();
        known.get(model).map_or(known.len() < MAX_MODELS, |learnt| learnt.replies < MAX_REPLIES)
    }

    /// Take in a whole reply.
    pub fn learn(&self, model: &str, summary: &Summary) {
        let (written, thought) = (&summary.written, summary.usage.thinking_tokens);
        let output = summary.usage.tokens.output.unwrap_or(0);
        // Thinking is shown in part or not at all: it counts only as far as it can be left out on both sides.
        let (characters, tokens) = match thought.unwrap_or(0) {
            0 if written.thinking > 0 => return,
            thought => (written.text, output.saturating_sub(thought)),
        };
        let Ok(tokens) = u64::try_from(tokens) else { return };
        if tokens == 0 || characters == 0 || !PLAUSIBLE.contains(&(characters as f64 / tokens as f64)) {
            return;
        }
        let mut known = self.0.lock();
        if known.len() >= MAX_MODELS && !known.contains_key(model) {
            return;
        }
        let learnt = known.entry(model.to_owned()).or_default();
        if learnt.replies < MAX_REPLIES {
            learnt.characters = learnt.characters.saturating_add(characters);
            learnt.tokens = learnt.tokens.saturating_add(tokens);
            learnt.replies += 1;
        }
    }

    /// The output tokens of a reply of `model` that broke off, where it holds more than was counted.
    pub fn estimate(&self, model: &str, summary: &Summary) -> Option<i64> {
        let Written { uncounted, counted, .. } = summary.written;
        let known = self.0.lock();
        let ratio = known.get(model).map_or(USUAL, |learnt| learnt.characters as f64 / learnt.tokens as f64);
        let estimate = counted.saturating_add((uncounted as f64 / ratio).ceil() as i64);
        let reported = summary.usage.tokens.output.unwrap_or(0);
        (uncounted >= TOO_FEW && estimate > reported).then_some(estimate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Tokens;
    use crate::messages::summary::Usage;
    use proptest::prelude::*;

    fn summary(output: i64, text: u64, uncounted: u64, counted: i64) -> Summary {
        Summary {
            usage: Usage { tokens: Tokens { output: Some(output), ..Tokens::default() }, ..Usage::default() },
            written: Written { text, thinking: 0, uncounted, counted },
            ..Summary::default()
        }
    }

    #[test]
    fn what_was_written_counts_and_no_less_than_what_was_reported() {
        let ratios = Ratios::default();
        for (output, uncounted, counted, want) in [
            (1, 3600, 0, Some(1000)),
            (1, 15, 0, None),
            (1, 16, 0, Some(5)),
            (0, 0, 0, None),
            (500, 1000, 0, None),
            (500, 36, 500, Some(510)),
            (500, 0, 500, None),
        ] {
            assert_eq!(
                ratios.estimate("m", &summary(output, uncounted, uncounted, counted)),
                want,
                "{output} {uncounted}"
            );
        }
    }

    #[test]
    fn a_model_teaches_its_own_ratio_and_no_nonsense() {
        let ratios = Ratios::default();
        ratios.learn("m", &summary(100, 200, 0, 100));
        for (output, text) in [(1, 4000), (1000, 3), (0, 50), (50, 0), (-5, 10)] {
            ratios.learn("m", &summary(output, text, 0, output));
        }
        assert_eq!(ratios.estimate("m", &summary(1, 1000, 1000, 0)), Some(500));
        assert_eq!(ratios.estimate("other", &summary(1, 3600, 3600, 0)), Some(1000));

        // 900 of the 1000 tokens were thoughts, of which a summary is shown.
        let mut thought = summary(1000, 400, 0, 1000);
        (thought.usage.thinking_tokens, thought.written.thinking) = (Some(900), 300);
        ratios.learn("thinks", &thought);
        assert_eq!(ratios.estimate("thinks", &summary(1, 400, 400, 0)), Some(100));
        thought.usage.thinking_tokens = None;
        ratios.learn("silent", &thought);
        assert_eq!(ratios.estimate("silent", &summary(1, 36, 36, 0)), Some(10));
    }

    #[test]
    fn memory_is_bounded() {
        let ratios = Ratios::default();
        for n in 0..2 * MAX_MODELS {
            ratios.learn(&n.to_string(), &summary(10, 10, 0, 10));
        }
        assert_eq!(ratios.0.lock().len(), MAX_MODELS);
        assert!(ratios.wants("0") && !ratios.wants("another"));
    }

    proptest! {
        #[test]
        fn an_estimate_is_never_under_what_was_reported(
            taught in prop::collection::vec((any::<i64>(), any::<u64>()), 0..9),
            output: i64, uncounted: u64, counted in 0..i64::MAX,
        ) {
            let ratios = Ratios::default();
            for (output, text) in taught {
                ratios.learn("m", &summary(output, text, 0, output));
            }
            if let Some(estimate) = ratios.estimate("m", &summary(output, 0, uncounted, counted)) {
                prop_assert!(estimate > output && estimate > counted.min(i64::MAX - 1) - 1);
            }
        }
    }
}
