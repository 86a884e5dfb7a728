//! A reply's bytes, however they are cut: the same message comes of them, or the same refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use revenium::inside::{Batch, Framing, Reader, Summary};

fn read(bytes: &[u8], cut: usize) -> (bool, Option<Vec<u8>>) {
    let (mut reader, mut batch) = (Reader::new(Framing::Sse, 1 << 20), Batch::new());
    let pushed = bytes.chunks(cut).try_for_each(|chunk| reader.push(chunk, &mut batch));
    let whole = pushed.and_then(|()| reader.end(&mut batch)).is_ok();
    for event in batch.iter() {
        let _ = (event.text_with_nul(), event.json_with_nul());
    }
    (whole, reader.into_message().to_json().ok())
}

fuzz_target!(|data: &[u8]| {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let _ = Summary::of(bytes);
    assert_eq!(read(bytes, bytes.len().max(1)), read(bytes, usize::from(cut).max(1)));
});
