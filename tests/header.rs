//! include/revenium.h is what the code says. `REVENIUM_BLESS=1` writes it.

#[path = "abi/header.rs"]
mod header;

#[test]
fn the_committed_header_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/include/revenium.h");
    let wanted = header::generated();
    if std::env::var_os("REVENIUM_BLESS").is_some() {
        std::fs::write(path, &wanted).unwrap();
    } else {
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(
            committed == wanted,
            "include/revenium.h is not what src/abi says: run the tests with REVENIUM_BLESS=1"
        );
    }
}
