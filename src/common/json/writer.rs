//! JSON objects written member by member, straight into the bytes that go out.

use serde::Serialize;

/// A JSON object that is written as it grows.
pub struct ObjectWriter(Vec<u8>);

impl ObjectWriter {
    /// `capacity`: the bytes that the object will take, more or less.
    pub fn new(capacity: usize) -> ObjectWriter {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.push(b'{');
        ObjectWriter(bytes)
    }

    /// Add a member under one of our own names, which need no escapes.
    pub fn put(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) {
        let before = self.0.len();
        if before > 1 {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        if serde_json::to_writer(&mut self.0, value).is_err() {
            // Nothing that comes here fails to be written; if it did, the rest would go out without it.
            self.0.truncate(before);
        }
    }

    pub fn maybe(&mut self, name: &'static str, value: Option<&(impl Serialize + ?Sized)>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_separated_and_absent_ones_leave_nothing() {
        assert_eq!(ObjectWriter::new(0).finish(), b"{}");
        let mut object = ObjectWriter::new(0);
        object.maybe("none", None::<&str>);
        object.put("a", "x\"\u{FFFD}");
        object.maybe("b", Some(&1));
        assert_eq!(String::from_utf8(object.finish()).unwrap(), "{\"a\":\"x\\\"\u{FFFD}\",\"b\":1}");
    }

    #[test]
    fn a_member_that_cannot_be_written_is_left_out() {
        // JSON has no keys but text.
        let unwritable = std::collections::BTreeMap::from([(vec![1], 1)]);
        let mut object = ObjectWriter::new(0);
        object.put("a", &unwritable);
        object.put("b", &2);
        object.put("c", &unwritable);
        assert_eq!(object.finish(), br#"{"b":2}"#);
    }
}
