//! A tiny assembler of unwind descriptors and a machine made of a few maps.

#![allow(dead_code)] // each test file uses its part

pub mod assembler;
pub mod machine;
