//! How include/revenium.h is made from src/abi.

use std::path::Path;

/// The header as the code says it should be.
pub fn generated() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is readable");
    let mut builder = cbindgen::Builder::new().with_config(config);
    for part in ["types", "library", "scope", "messages", "observed", "queue", "result", "platform", "log"] {
        builder = builder.with_src(root.join(format!("src/abi/{part}.rs")));
    }
    builder = builder.with_after_include(format!(
        "\n#define REVENIUM_VERSION_MAJOR {}\n#define REVENIUM_VERSION_MINOR {}\n#define REVENIUM_VERSION_PATCH {}\n\n{}",
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
        "/* The length of a NUL-terminated string, for every `*_len` parameter. */\n#define REVENIUM_NTS ((size_t)-1)",
    ));
    let mut text = Vec::new();
    builder.generate().expect("src/abi is understood").write(&mut text);
    String::from_utf8(text).expect("the header is UTF-8")
}
