//! What calls cost, and who called whom: sums and rows of what a stack's ledger tells.

pub(in crate::history) mod call_tree;
pub(in crate::history) mod functions;
pub(in crate::history) mod pairs;
pub(in crate::history) mod rows;
pub(in crate::history) mod sum;
