//! JSON as bytes: what stays keeps its bytes, numbers their digits.

pub mod edit;
pub mod mend;
pub mod object;
pub mod writer;
