//! Questions of a history: walks over its trace, on as many threads as decoding.

pub(in crate::history) mod block_splitter;
pub(in crate::history) mod blocks;
pub(in crate::history) mod code;
pub(in crate::history) mod columns;
pub(in crate::history) mod count;
pub(in crate::history) mod coverage;
pub(in crate::history) mod events;
pub(in crate::history) mod executions;
pub(in crate::history) mod expand;
pub(in crate::history) mod find;
pub(in crate::history) mod hash;
pub(in crate::history) mod nodes;
pub(in crate::history) mod parallel;
pub(in crate::history) mod question;
