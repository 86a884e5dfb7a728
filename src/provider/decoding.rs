//! Undoes what a proxy or gateway did to the bytes of a reply: compression that nobody asked for, announced or not, once
//! or several times, or announced and not done.

use crate::common::error::{Code, Error};
use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use std::io::{self, Write};

/// So many codings may lie on one another.
const MAX_LAYERS: usize = 4;

/// So many bytes tell every coding from text.
const LOOK: usize = 8;

/// What zstd and gzip begin with.
const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// The largest window of zstd for HTTP (RFC 9659): 8 MiB.
const ZSTD_WINDOW: u32 = 23;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Coding {
    Plain,
    Gzip,
    Zlib,
    RawDeflate,
    Brotli,
    Zstd,
}

/// The bytes of one body as they come, made plain.
pub struct Decoder {
    /// What the headers say, the outermost coding last.
    declared: Vec<String>,
    max: usize,
    layers: Vec<Layer>,
    /// The first bytes below the last layer, until they tell what they are. `None`: they did.
    start: Option<Vec<u8>>,
    fault: Option<Fault>,
}

enum Layer {
    Gzip(MultiGzDecoder<Sink>),
    Zlib(ZlibDecoder<Sink>),
    RawDeflate(DeflateDecoder<Sink>),
    Brotli(Box<brotli::DecompressorWriter<Sink>>),
    Zstd(zstd::stream::write::Decoder<'static, Sink>),
}

/// Where decoded bytes go, and no more of them than there is room for.
struct Sink {
    bytes: Vec<u8>,
    max: usize,
    is_full: bool,
}

#[derive(Clone, Copy)]
enum Fault {
    Damaged,
    TooLarge,
}

impl Decoder {
    /// For the body that `headers` announce; takes out of them what no longer fits it. No more than `max` bytes come of
    /// one chunk.
    pub fn new(headers: &mut HeaderMap, max: usize) -> Decoder {
        let values = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let words = values.flat_map(|value| value.split(',')).map(|word| word.trim().to_ascii_lowercase());
        let mut declared: Vec<_> = words.filter(|word| !word.is_empty() && word != "identity").collect();
        declared.truncate(MAX_LAYERS);
        if headers.remove(CONTENT_ENCODING).is_some() {
            headers.remove(CONTENT_LENGTH);
        }
        Decoder { declared, max, layers: Vec::new(), start: Some(Vec::new()), fault: None }
    }

    /// The plain bytes that `chunk` makes known: all of them, or none yet. After an error nothing more comes.
    pub fn push(&mut self, chunk: Bytes) -> Result<Bytes, Error> {
        if self.layers.is_empty() && self.start.is_none() {
            return Ok(chunk);
        }
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        let mut bytes = chunk;
        for layer in &mut self.layers {
            bytes = take_fault(layer.push(&bytes), &mut self.fault);
        }
        Ok(self.look(&bytes, false).unwrap_or(bytes))
    }

    /// What is left at the end of the body. That a coding was cut off is no fault of its own: what was coded shows it.
    pub fn end(&mut self) -> Result<Bytes, Error> {
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        Ok(self.look(&[], true).unwrap_or_default())
    }

    /// While it is not known what `more` is a part of: what comes of it. `None`: it is known, and plain.
    fn look(&mut self, more: &[u8], is_end: bool) -> Option<Bytes> {
        let mut start = self.start.take()?;
        start.extend_from_slice(more);
        loop {
            if start.len() < LOOK && !is_end {
                self.start = Some(start);
                return Some(Bytes::new());
            }
            let declared = self.declared.pop();
            let layer = match coding_of(&start, declared.as_deref()) {
                // It says more than was done.
                Coding::Plain if !self.declared.is_empty() => continue,
                Coding::Plain => None,
                coding if self.layers.len() < MAX_LAYERS => Layer::new(coding, self.max),
                _ => None,
            };
            let Some(mut layer) = layer else { return Some(start.into()) };
            start = take_fault(layer.push(&start), &mut self.fault).into();
            self.layers.push(layer);
        }
    }
}

fn take_fault((bytes, fault): (Bytes, Option<Fault>), first: &mut Option<Fault>) -> Bytes {
    *first = first.or(fault);
    bytes
}

/// What these first bytes are. A coding's own mark counts more than what was declared.
fn coding_of(start: &[u8], declared: Option<&str>) -> Coding {
    match declared {
        _ if start.starts_with(GZIP) => Coding::Gzip,
        _ if start.starts_with(ZSTD) => Coding::Zstd,
        Some("deflate") if is_zlib(start) => Coding::Zlib,
        Some("deflate") if !is_text(start) => Coding::RawDeflate,
        Some("br") if !is_text(start) => Coding::Brotli,
        _ => Coding::Plain,
    }
}

/// RFC 1950: deflate with a window of up to 32 KiB, and a check of these two bytes.
fn is_zlib(start: &[u8]) -> bool {
    let [method, flags, ..] = start else { return false };
    method & 0x0F == 8 && method >> 4 <= 7 && u16::from_be_bytes([*method, *flags]) % 31 == 0
}

/// Whether this may be the beginning of JSON, of events or of a page.
fn is_text(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start);
    let text = start.trim_ascii_start();
    if [&b"{\""[..], b"data:", b"event:", b"retry:", b"id:"].iter().any(|begin| text.starts_with(begin)) {
        return true;
    }
    let is_readable = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    start.iter().take(LOOK).all(is_readable) && text.first().is_none_or(|first| b"{[<edir:".contains(first))
}

impl Layer {
    fn new(coding: Coding, max: usize) -> Option<Layer> {
        let sink = Sink { bytes: Vec::new(), max, is_full: false };
        Some(match coding {
            Coding::Plain => return None,
            Coding::Gzip => Layer::Gzip(MultiGzDecoder::new(sink)),
            Coding::Zlib => Layer::Zlib(ZlibDecoder::new(sink)),
            Coding::RawDeflate => Layer::RawDeflate(DeflateDecoder::new(sink)),
            Coding::Brotli => Layer::Brotli(Box::new(brotli::DecompressorWriter::new(sink, 4096))),
            Coding::Zstd => {
                let mut decoder = zstd::stream::write::Decoder::new(sink).ok()?;
                decoder.window_log_max(ZSTD_WINDOW).ok()?;
                Layer::Zstd(decoder)
            }
        })
    }

    /// What came of `bytes`, and what kept more from coming.
    fn push(&mut self, bytes: &[u8]) -> (Bytes, Option<Fault>) {
        let written = match self {
            Layer::Gzip(writer) => write(writer, bytes),
            Layer::Zlib(writer) => write(writer, bytes),
            Layer::RawDeflate(writer) => write(writer, bytes),
            Layer::Brotli(writer) => write(writer, bytes),
            Layer::Zstd(writer) => write(writer, bytes),
        };
        let sink = match self {
            Layer::Gzip(writer) => writer.get_mut(),
            Layer::Zlib(writer) => writer.get_mut(),
            Layer::RawDeflate(writer) => writer.get_mut(),
            Layer::Brotli(writer) => writer.get_mut(),
            Layer::Zstd(writer) => writer.get_mut(),
        };
        let fault = match (sink.is_full, written) {
            (true, _) => Some(Fault::TooLarge),
            (false, Err(_)) => Some(Fault::Damaged),
            (false, Ok(())) => None,
        };
        (std::mem::take(&mut sink.bytes).into(), fault)
    }
}

/// Writes all of `bytes`, or as far as they are wanted: what follows the end of a coding is nothing.
fn write(writer: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match writer.write(bytes) {
            Ok(0) => break,
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            Err(fault) => return Err(fault),
        }
    }
    writer.flush()
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.max.saturating_sub(self.bytes.len());
        if bytes.len() > room {
            self.is_full = true;
        }
        if self.is_full {
            self.bytes.extend_from_slice(bytes.get(..room).unwrap_or_default());
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        let text = match fault {
            Fault::Damaged => "The reply is compressed, and damaged.",
            Fault::TooLarge => "The reply is larger than max_response_bytes.",
        };
        Error::new(Code::Stream, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    const CODINGS: [Coding; 6] =
        [Coding::Plain, Coding::Gzip, Coding::Zlib, Coding::RawDeflate, Coding::Brotli, Coding::Zstd];

    /// `pieces`, each flushed.
    fn coded(coding: Coding, pieces: &[&[u8]]) -> Vec<u8> {
        fn flushed<W: Write>(mut writer: W, pieces: &[&[u8]]) -> W {
            for piece in pieces {
                writer.write_all(piece).unwrap();
                writer.flush().unwrap();
            }
            writer
        }
        match coding {
            Coding::Plain => pieces.concat(),
            Coding::Gzip => flushed(GzEncoder::new(Vec::new(), Compression::default()), pieces).finish().unwrap(),
            Coding::Zlib => flushed(ZlibEncoder::new(Vec::new(), Compression::default()), pieces).finish().unwrap(),
            Coding::RawDeflate => {
                flushed(DeflateEncoder::new(Vec::new(), Compression::default()), pieces).finish().unwrap()
            }
            Coding::Brotli => flushed(brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22), pieces).into_inner(),
            Coding::Zstd => {
                flushed(zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap(), pieces).finish().unwrap()
            }
        }
    }

    fn name(coding: Coding) -> &'static str {
        match coding {
            Coding::Plain => "identity",
            Coding::Gzip => "gzip",
            Coding::Zlib | Coding::RawDeflate => "deflate",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }

    fn decoder(declared: &str, max: usize) -> Decoder {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, declared.parse().unwrap());
        headers.insert(CONTENT_LENGTH, 5.into());
        let decoder = Decoder::new(&mut headers, max);
        assert!(headers.is_empty());
        decoder
    }

    fn decode(decoder: &mut Decoder, chunks: &[&[u8]]) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        for chunk in chunks {
            all.extend_from_slice(&decoder.push(Bytes::copy_from_slice(chunk))?);
        }
        all.extend_from_slice(&decoder.end()?);
        Ok(all)
    }

    const EVENT: &[u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";

    #[test]
    fn what_was_flushed_is_there_at_once() {
        for coding in CODINGS {
            let [first, both] = [&[EVENT][..], &[EVENT, EVENT]].map(|pieces| coded(coding, pieces));
            // Up to where the two part, the second holds no more than the first event and its flush.
            let same = first.iter().zip(&both).take_while(|(one, other)| one == other).count();
            let mut decoder = decoder(name(coding), 1 << 20);
            let mut seen = Vec::new();
            for (at, byte) in both.iter().enumerate() {
                seen.extend_from_slice(&decoder.push(Bytes::copy_from_slice(&[*byte])).unwrap());
                if at == same + 1 {
                    assert!(seen.len() >= EVENT.len(), "{coding:?}: {} bytes", seen.len());
                }
            }
            assert_eq!(seen, [EVENT, EVENT].concat(), "{coding:?}");
        }
    }

    #[test]
    fn what_is_declared_and_not_done_is_plain() {
        for declared in
            ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "none", "utf-8", "gzip, br", "br, deflate"]
        {
            for text in [
                EVENT,
                b"{}",
                b"{\"id\":\"msg_1\"}",
                b"\n\n {\"a\":1}",
                b"<html>",
                b"\xEF\xBB\xBF{\"a\":1}",
                b": ok\n\n",
                b"",
            ] {
                assert_eq!(decode(&mut decoder(declared, 1 << 20), &[text]).unwrap(), text, "{declared}");
            }
        }
    }

    #[test]
    fn damage_and_cuts() {
        for coding in [Coding::Gzip, Coding::Zlib, Coding::RawDeflate, Coding::Brotli, Coding::Zstd] {
            let whole = coded(coding, &[EVENT]);
            let cut = decode(&mut decoder(name(coding), 1 << 20), &[&whole[..whole.len() - 1]]).unwrap();
            assert_eq!(cut, EVENT, "{coding:?}");
            let mut damaged = whole.clone();
            let middle = damaged.len() / 2;
            damaged[middle..].iter_mut().for_each(|byte| *byte ^= 0xA5);
            // An error or other bytes, but an end.
            let _ = decode(&mut decoder(name(coding), 1 << 20), &[&damaged]);
        }
        let more = [coded(Coding::Gzip, &[EVENT]), coded(Coding::Gzip, &[EVENT])].concat();
        assert_eq!(decode(&mut decoder("gzip", 1 << 20), &[&more]).unwrap(), [EVENT, EVENT].concat());
    }

    #[test]
    fn a_bomb_takes_no_more_than_its_room() {
        let large = vec![b' '; 40 << 20];
        for coding in [Coding::Gzip, Coding::Zlib, Coding::RawDeflate, Coding::Brotli, Coding::Zstd] {
            let bomb = coded(coding, &[&large]);
            let mut decoder = decoder(name(coding), 1 << 20);
            let first = decoder.push(bomb.clone().into()).unwrap();
            assert_eq!(first.len(), 1 << 20, "{coding:?}");
            let error = decoder.push(bomb.into()).unwrap_err();
            assert!(error.code == Code::Stream && error.message.contains("max_response_bytes"));
            assert!(decoder.end().is_err());
        }
        // A bomb inside a bomb.
        let twice = coded(Coding::Gzip, &[&coded(Coding::Gzip, &[&large])]);
        assert!(decode(&mut decoder("gzip, gzip", 1 << 20), &[&twice, &[]]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_chunks_of_any_codings_give_what_was_coded(
            texts in prop::collection::vec("[ -~é🌍\n]{0,40}", 0..6),
            codings in prop::collection::vec(prop::sample::select(&CODINGS[..]), 0..3),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            lies in prop::bool::weighted(0.2),
        ) {
            let pieces: Vec<Vec<u8>> = texts.iter().map(|text| format!("data: {text}\n\n").into_bytes()).collect();
            let want = pieces.concat();
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let mut body = coded(Coding::Plain, &pieces);
            for (at, coding) in codings.iter().enumerate() {
                body = if at == 0 { coded(*coding, &pieces) } else { coded(*coding, &[&body]) };
            }
            let mut declared = codings.iter().map(|coding| name(*coding)).collect::<Vec<_>>().join(", ");
            if lies {
                declared = format!("br, {declared}");
            }
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(body.len() + 1)).chain([0, body.len()]).collect();
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|ends| &body[ends[0]..ends[1]]).collect();
            let read = decode(&mut decoder(declared.trim_matches([',', ' ']), 1 << 20), &chunks);
            prop_assert_eq!(read.unwrap(), want);
        }

        #[test]
        fn any_bytes_come_to_an_end(body in prop::collection::vec(any::<u8>(), 0..300), declared in "(gzip|br|deflate|zstd|x)?") {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, declared.parse().unwrap());
            let mut decoder = Decoder::new(&mut headers, 1 << 16);
            let chunks: Vec<&[u8]> = body.chunks(7).collect();
            let _ = decode(&mut decoder, &chunks);
        }
    }
}
