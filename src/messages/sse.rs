//! Server-sent events: bytes → the type and the data of each event.
//!
//! Lines end with LF, CRLF or CR, wherever the network cuts them. An event that lies whole in one read and has one
//! data line is not copied.

use memchr::memchr2;

use super::Name;
use crate::common::error::{Code, Error, Result};

const BOM: &[u8] = b"\xEF\xBB\xBF";

pub(super) struct Splitter {
    /// No line or event may be longer than this.
    max: usize,
    /// The begin of a line whose end has not come.
    line: Vec<u8>,
    /// The data lines of the open event from former reads, or if there are several.
    data: Vec<u8>,
    has_data: bool,
    name: Name,
    is_first_line: bool,
    /// The last read ended with CR: an LF at the begin of the next belongs to it.
    after_cr: bool,
}

/// What a line says.
enum Line<'a> {
    Blank,
    Data(&'a [u8]),
    Event(Name),
    /// Comments, `id`, `retry`, unknown fields.
    Ignored,
}

impl<'a> Line<'a> {
    fn of(line: &'a [u8]) -> Line<'a> {
        if line.is_empty() {
            Line::Blank
        } else if let Some(data) = value(line, b"data") {
            Line::Data(data)
        } else if let Some(name) = value(line, b"event") {
            Line::Event(Name::of(name))
        } else {
            Line::Ignored
        }
    }
}

/// The value of the field `name`, without the one space that may follow the colon.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        [] => Some(&[]),
        _ => None,
    }
}

impl Splitter {
    pub fn new(max: usize) -> Splitter {
        Splitter {
            max,
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            name: Name::Missing,
            is_first_line: true,
            after_cr: false,
        }
    }

    /// Hands each event that `chunk` completes to `on_event`. After an error the splitter is of no more use.
    pub fn feed(&mut self, chunk: &[u8], mut on_event: impl FnMut(Name, &[u8]) -> Result<()>) -> Result<()> {
        let mut rest = chunk;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        // The open event's only data line, while it lies in this chunk.
        let mut data = None;
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            let (line, tail) = rest.split_at(end);
            rest = match tail {
                [b'\r', b'\n', rest @ ..] => rest,
                [b'\r'] => {
                    self.after_cr = true;
                    &[]
                }
                _ => &tail[1..],
            };
            if self.line.is_empty() {
                self.check(line.len())?;
                self.take(line, &mut data, &mut on_event)?;
            } else {
                self.keep_line(line)?;
                self.take_kept_line(&mut data, &mut on_event)?;
            }
        }
        self.keep_line(rest)?;
        match data {
            Some(data) => self.keep_data(data),
            None => Ok(()),
        }
    }

    /// The transport ended: hands out the event that no blank line followed.
    pub fn finish(&mut self, mut on_event: impl FnMut(Name, &[u8]) -> Result<()>) -> Result<()> {
        let mut data = None;
        self.take_kept_line(&mut data, &mut on_event)?;
        self.take(b"", &mut data, &mut on_event)
    }

    fn take_kept_line(
        &mut self,
        data: &mut Option<&[u8]>,
        on_event: &mut impl FnMut(Name, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            // The line cannot outlive this call, so neither may the event's data.
            if let Some(data) = data.take() {
                self.keep_data(data)?;
            }
            let mut own = None;
            self.take(&line, &mut own, on_event)?;
            if let Some(own) = own {
                self.keep_data(own)?;
            }
        }
        line.clear();
        self.line = line;
        Ok(())
    }

    fn take<'a>(
        &mut self,
        mut line: &'a [u8],
        data: &mut Option<&'a [u8]>,
        on_event: &mut impl FnMut(Name, &[u8]) -> Result<()>,
    ) -> Result<()> {
        if self.is_first_line {
            self.is_first_line = false;
            line = line.strip_prefix(BOM).unwrap_or(line);
        }
        match Line::of(line) {
            Line::Data(value) if data.is_none() && !self.has_data => *data = Some(value),
            Line::Data(value) => {
                if let Some(data) = data.take() {
                    self.keep_data(data)?;
                }
                self.keep_data(value)?;
            }
            Line::Event(name) => self.name = name,
            Line::Ignored => {}
            Line::Blank => {
                let name = std::mem::replace(&mut self.name, Name::Missing);
                if let Some(data) = data.take() {
                    on_event(name, data)?;
                } else if self.has_data {
                    on_event(name, &self.data)?;
                    self.data.clear();
                    self.has_data = false;
                }
            }
        }
        Ok(())
    }

    fn keep_line(&mut self, part: &[u8]) -> Result<()> {
        self.check(self.line.len() + part.len())?;
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn keep_data(&mut self, line: &[u8]) -> Result<()> {
        self.check(self.data.len() + line.len())?;
        if self.has_data {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(line);
        self.has_data = true;
        Ok(())
    }

    fn check(&self, len: usize) -> Result<()> {
        if len > self.max { Err(too_large(self.max)) } else { Ok(()) }
    }
}

pub(super) fn too_large(max: usize) -> Error {
    Error::new(Code::Stream, format!("The provider's stream has an event of more than {max} bytes."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Kind;

    fn split(chunks: &[&[u8]], max: usize) -> (Vec<(Name, String)>, Option<Code>) {
        let mut events = Vec::new();
        let mut splitter = Splitter::new(max);
        let mut keep = |name, data: &[u8]| {
            events.push((name, String::from_utf8(data.to_vec()).unwrap()));
            Ok(())
        };
        let fed = chunks.iter().try_for_each(|chunk| splitter.feed(chunk, &mut keep));
        let end = fed.and_then(|()| splitter.finish(&mut keep));
        (events, end.err().map(|e| e.code))
    }

    #[test]
    fn lines_and_fields() {
        const NONE: Name = Name::Missing;
        const PING: Name = Name::Kind(Kind::Ping);
        const OTHER: Name = Name::Kind(Kind::Other);
        let cases: &[(&str, &[(Name, &str)])] = &[
            ("", &[]),
            ("\n\r\n\r", &[]),
            ("event: ping\ndata: 1\n\n", &[(PING, "1")]),
            ("event:ping\rdata:1\r\r", &[(PING, "1")]),
            ("event: ping\r\ndata: 1\r\n\r\n", &[(PING, "1")]),
            ("data:  1 \n\n", &[(NONE, " 1 ")]),
            ("\u{feff}data: 1\n\n\u{feff}data: 2\n\n", &[(NONE, "1")]),
            ("\u{feff}\ndata: 1\n\n", &[(NONE, "1")]),
            (": c\ndata: 1\n:mid\nevent: error\n\n", &[(Name::Error, "1")]),
            ("event: ping\nevent: new\ndata: 1\n\n", &[(OTHER, "1")]),
            ("event: ping\nevent:\ndata: 1\n\n", &[(NONE, "1")]),
            ("event: ping\nevent\ndata: 1\n\n", &[(NONE, "1")]),
            ("event: ping\n\ndata: 1\n\n", &[(NONE, "1")]),
            ("data: 1\ndata: 2\ndata: 3\n\n", &[(NONE, "1\n2\n3")]),
            ("data\ndata:\ndata: 3\n\n", &[(NONE, "\n\n3")]),
            ("data:\n\ndata\n\n", &[(NONE, ""), (NONE, "")]),
            ("id: 7\nretry: 1\ndatax: 1\nDATA: 2\n data: 3\ndata: 4\n\n", &[(NONE, "4")]),
            ("data: a\u{2028}b\u{85}c\u{b}d\u{c}e\n\n", &[(NONE, "a\u{2028}b\u{85}c\u{b}d\u{c}e")]),
            ("data: 1\n\r\ndata: 2\r\n\rdata: 3\r\r\n", &[(NONE, "1"), (NONE, "2"), (NONE, "3")]),
            ("data: 1\n\ndata: 2\n", &[(NONE, "1"), (NONE, "2")]),
            ("data: 1\n\nevent: ping\ndata: 2", &[(NONE, "1"), (PING, "2")]),
            ("data: 1\n\nevent: ping", &[(NONE, "1")]),
        ];
        for (text, want) in cases {
            let want: Vec<_> = want.iter().map(|(name, data)| (*name, (*data).to_owned())).collect();
            let bytes = text.as_bytes();
            assert_eq!(split(&[bytes], 100), (want.clone(), None), "{text:?}");
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(split(&single, 100), (want.clone(), None), "{text:?} byte by byte");
            for cut in 0..bytes.len() {
                let (a, b) = bytes.split_at(cut);
                assert_eq!(split(&[a, b], 100), (want.clone(), None), "{text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn size_is_bounded() {
        for (text, events, code) in [
            ("data: 34567890\n\n", 1, None),
            ("data: 345678901\n\n", 0, Some(Code::Stream)),
            ("data: 1\n\ndata: 345678901", 1, Some(Code::Stream)),
            (":23456789012345\n", 0, Some(Code::Stream)),
            ("data: 1234567\ndata: 1234567\n\n", 1, None),
            ("data: 1234567\ndata: 12345678\n\n", 0, Some(Code::Stream)),
            ("data: 1234567\ndata:\ndata: 12345678", 0, Some(Code::Stream)),
        ] {
            for size in 1..=text.len() {
                let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                let (seen, end) = split(&chunks, 14);
                assert_eq!((seen.len(), end), (events, code), "{text:?} in chunks of {size}");
            }
        }
    }
}
