//! Whole stacks of one process.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::machine::{Machine, Registers};
use super::memory::{Memory, Pages};
use super::modules::{Module, Modules};
use super::plain::Plain;
use super::row::Row;
use super::step::{End, Found, Frame, Stepper};
use super::tables::Context;

/// Rows that are kept.
const KEPT: usize = 1 << 16;

/// Unwinds stacks of one process; what it learned of code is kept for the next stack.
pub struct Unwinder {
    machine: Machine,
    modules: Modules,
    plain: Plain,
    context: Box<Context>,
    /// By address, and whether it is a return address.
    rows: HashMap<(u64, bool), Option<Arc<Row>>>,
}

impl Unwinder {
    /// An unwinder that knows no modules.
    pub fn new(machine: Machine) -> Unwinder {
        Unwinder {
            machine,
            modules: Modules::default(),
            plain: Plain::new(machine),
            context: Box::default(),
            rows: HashMap::new(),
        }
    }

    /// The machine that it is for.
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// Adds a module; those that lie where it does are gone.
    pub fn add_module(&mut self, module: Module) {
        if module.range.is_empty() {
            return;
        }
        self.rows.clear();
        for gone in self.modules.add(module.clone()) {
            self.plain.remove(&gone);
        }
        self.plain.add(&module);
    }

    /// The frames from these registers on, the innermost first, at most `limit`, and why there are no more.
    ///
    /// What reading memory fails with comes out as it is.
    pub fn stack<M: Memory>(
        &mut self,
        registers: Registers,
        memory: &mut M,
        limit: usize,
    ) -> Result<(Vec<Frame>, End), M::Error> {
        let machine = self.machine;
        let mut memory = Pages::new(memory);
        let mut frames = Vec::new();
        let mut passed = HashSet::new();
        let mut frame = Frame { registers, is_return: false, found: Found::Start, is_guess: false };
        let end = loop {
            let (pc, sp) = (frame.registers.get(machine.pc()), frame.registers.get(machine.sp()));
            let (Some(pc), Some(sp)) = (pc, sp) else { break End::Rule(pc.unwrap_or(0)) };
            if frames.len() >= limit {
                break End::Limit(limit);
            }
            if !passed.insert((pc, sp)) {
                break End::Cycle(pc);
            }
            let row = self.row(pc, frame.is_return);
            if row.as_ref().is_some_and(|row| row.is_signal) {
                // A signal's handler returns to code that called nothing.
                frame.is_return = false;
            }
            frames.push(frame);
            let mut stepper =
                Stepper { machine, modules: &self.modules, plain: &mut self.plain, memory: &mut memory };
            let next = match stepper.step(&frame, row.as_deref())? {
                Ok(next) => next,
                Err(end) => break end,
            };
            if let (Found::Signal, Some(last)) = (next.found, frames.last_mut()) {
                last.is_return = false;
            }
            let next_pc = next.registers.get(machine.pc()).unwrap_or(0);
            let next_sp = next.registers.get(machine.sp()).unwrap_or(0);
            if next_pc == 0 && next.is_return {
                break End::Bottom;
            }
            if next.is_return && !machine.is_code_address(next_pc) {
                break End::Address(next_pc);
            }
            // A signal may have switched to another stack, and its end goes back to the one before.
            if next.is_return && next_sp < sp {
                break End::Backwards(sp, next_sp);
            }
            frame = next;
        };
        Ok((frames, end))
    }

    /// The row of the instruction at an address, or of the call before it.
    fn row(&mut self, address: u64, is_return: bool) -> Option<Arc<Row>> {
        if let Some(row) = self.rows.get(&(address, is_return)) {
            return row.clone();
        }
        let mut row = self.learn(address.wrapping_sub(u64::from(is_return)));
        // Not every code that a signal's handler returns to has a byte before it that belongs to it.
        if is_return && !row.as_ref().is_some_and(|row| row.is_signal) {
            row = self.learn(address).filter(|own| own.is_signal).or(row);
        }
        let row = row.map(Arc::new);
        if self.rows.len() >= KEPT {
            self.rows.clear();
        }
        self.rows.insert((address, is_return), row.clone());
        row
    }

    fn learn(&mut self, address: u64) -> Option<Row> {
        let module = self.modules.at(address)?;
        module.tables.row(module.inside(address), &mut self.context)
    }
}
