//! Compressed bytes, real or not: never more comes of a chunk than there is room for.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};
use revenium::inside::Decoder;

const MOST: usize = 1 << 16;
const CODINGS: [&str; 6] = ["", "gzip", "deflate", "br", "zstd", "gzip, br"];

fuzz_target!(|data: &[u8]| {
    let [coding, cut, body @ ..] = data else { return };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(CODINGS[usize::from(*coding) % CODINGS.len()]));
    let mut decoder = Decoder::new(&mut headers, MOST);
    for chunk in body.chunks(usize::from(*cut).max(1)) {
        let Ok(plain) = decoder.push(Bytes::copy_from_slice(chunk)) else { break };
        assert!(plain.len() <= MOST + body.len());
    }
    let _ = decoder.end();
});
