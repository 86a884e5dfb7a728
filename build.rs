//! Link options of the shared library: its soname, and that it is never unloaded.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if system == "linux" {
        // Must agree with REVENIUM_ABI_VERSION; a test compares.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,librevenium.so.1");
        // Threads of ours may run when a host unloads the library, as scripting runtimes do at their end.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,relro,-z,now");
    }
    // Where it is found is the program's to say.
    if system == "macos" {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/librevenium.1.dylib");
    }
}
