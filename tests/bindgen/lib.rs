//! What bindgen makes of `include/revenium.h`: all of it is there, it is laid out as in the library, and it works.

#![allow(non_camel_case_types, non_upper_case_globals)]

#[link(name = "revenium")]
unsafe extern "C" {}

include!(concat!(env!("OUT_DIR"), "/revenium.rs"));

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    const HEADER: &str = include_str!("../../include/revenium.h");
    const BINDINGS: &str = include_str!(concat!(env!("OUT_DIR"), "/revenium.rs"));

    /// The words after `#define ` that have a number, and the names before `(` of declarations.
    fn declared() -> Vec<String> {
        let mut names = Vec::new();
        for line in HEADER.lines().filter(|line| !line.starts_with([' ', '/'])) {
            if let Some(define) = line.strip_prefix("#define ") {
                if let [name, value] = define.split(' ').collect::<Vec<_>>()[..]
                    && value.parse::<i64>().is_ok()
                {
                    names.push(format!("pub const {name}:"));
                }
            } else if let Some((before, _)) = line.split_once('(')
                && let Some(name) = before.rsplit([' ', '*']).next().filter(|name| name.starts_with("revenium_"))
                && !line.starts_with("typedef")
            {
                names.push(format!("pub fn {name}("));
            }
        }
        names
    }

    #[test]
    fn every_function_and_constant_is_there() {
        let declared = declared();
        assert!(declared.iter().filter(|name| name.starts_with("pub fn")).count() > 30, "{declared:?}");
        assert!(declared.iter().filter(|name| name.starts_with("pub const")).count() > 30, "{declared:?}");
        let bindings: String =
            BINDINGS.split_whitespace().collect::<Vec<_>>().join(" ").replace(" (", "(").replace(" :", ":");
        let missing: Vec<_> = declared.iter().filter(|name| !bindings.contains(&**name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn it_works() {
        // SAFETY: a text that lives for ever; a structure of the size that it says.
        let (version, code, state) = unsafe {
            let mut state: revenium_state = std::mem::zeroed();
            state.struct_size = size_of::<revenium_state>() as u32;
            (CStr::from_ptr(revenium_version()), revenium_status(&mut state), state)
        };
        assert_eq!(version.to_str(), Ok(std::env::var("REVENIUM_VERSION").as_deref().unwrap_or("0.1.0")));
        assert_eq!(code, REVENIUM_OK as i32);
        assert_eq!(state.struct_size as usize, size_of::<revenium_state>());
    }
}
