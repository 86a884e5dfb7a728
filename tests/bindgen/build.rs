//! Rust's bindgen over the header as it is, with nothing said besides.

use std::path::Path;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let header = root.join("include/revenium.h");
    println!("cargo::rerun-if-changed={}", header.display());
    let library = std::env::var("REVENIUM_LIBRARY").expect("REVENIUM_LIBRARY: the path of librevenium.so");
    let directory = Path::new(&library).parent().expect("a path").display();
    println!("cargo::rustc-link-search={directory}");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{directory}");
    let bindings = bindgen::Builder::default().header(header.to_str().expect("a path in UTF-8"));
    let bindings = bindings.generate().unwrap_or_else(|error| panic!("bindgen: {error}"));
    let out = std::env::var("OUT_DIR").expect("cargo tells OUT_DIR");
    bindings.write_to_file(Path::new(&out).join("revenium.rs")).expect("OUT_DIR can be written to");
}
