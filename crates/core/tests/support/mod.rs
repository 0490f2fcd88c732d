//! Random programs with known executions, and traces of them.

#![allow(dead_code)] // not every test uses everything

pub mod attack;
pub mod called;
pub mod forgery;
pub mod live;
pub mod loops;
pub mod parts;
pub mod program;
pub mod random;
pub mod run;
pub mod streams;
pub mod ways;
