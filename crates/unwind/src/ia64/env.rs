//! An environment: one context, and everything that is asked of it.

use std::sync::Arc;

use super::cache::Cache;
use super::context::{branch_index, float_index, general_index, read_nat, Context, Float, History, Nat};
use super::evaluate::Frame;
use super::found::{Found, How};
use super::lookup::{add_names, find, Known};
use super::region::Rules;
use super::register::{Location, Register, Special, Value};
use super::status::{Failure, Status};
use super::step::{caller, Markers};
use super::swap::ByteOrder;
use super::target::{Question, Target};

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// The context is the caller's.
    Caller,
    /// There is no caller; the context is as it was.
    Bottom,
    /// The frame was interrupted, which only the system's own structures tell more of; the context is as it was.
    AbiFrame,
}

/// Names of where the context stands. None: not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The module.
    pub module: Option<Vec<u8>>,
    /// The function.
    pub function: Option<Vec<u8>>,
    /// Where the module's text begins.
    pub text_base: Option<u64>,
    /// Bytes from the function's start to the instruction pointer.
    pub offset: Option<u64>,
}

/// An unwind environment.
///
/// Calls that may have to ask take the [`Target`] that is asked. An error leaves the context as it was.
#[derive(Debug, Default)]
pub struct Env {
    context: Context,
    order: ByteOrder,
    without_floats: bool,
    cache: Cache,
    /// What is known of the context's frame.
    found: Option<Found>,
    psp: Option<(u64, Location)>,
    rp: Option<(u64, Location)>,
    pfs: Option<(u64, Location)>,
    abi_context: u64,
}

impl Env {
    /// An environment without a context, for little-endian targets.
    pub fn new() -> Self {
        Env::default()
    }

    /// The byte order of the target's unwind information. What was learned is forgotten.
    pub fn set_byte_order(&mut self, order: ByteOrder) {
        self.order = order;
        self.forget();
    }

    /// Forgets rules that were learned; for when the target's code is another.
    pub fn forget(&mut self) {
        self.cache.clear();
        self.forget_frame();
    }

    /// Preserved floating-point registers are not read with each step, only when they are asked for.
    pub fn skip_floats(&mut self) {
        self.without_floats = true;
    }

    /// Begins anew; every other register is forgotten.
    ///
    /// `ip` has the slot in its low bits; `bsp` is where general register 32 lies; `cfm` has the epilogue counter in
    /// bits 52 to 57.
    pub fn init_context(&mut self, ip: u64, sp: u64, bsp: u64, cfm: u64) {
        self.context = Context::default();
        for (special, value) in
            [(Special::Ip, ip), (Special::Sp, sp), (Special::Bsp, bsp), (Special::Cfm, cfm)]
        {
            self.set_special(special, value);
        }
        self.abi_context = 0;
    }

    /// Says that everything lies in its own register.
    pub fn init_history(&mut self) {
        self.context.history = History::default();
        self.forget_frame();
    }

    fn forget_frame(&mut self) {
        self.found = None;
        (self.psp, self.rp, self.pfs) = (None, None, None);
    }

    fn set_special(&mut self, special: Special, value: u64) {
        self.context.set(special, Some(value), Location::Register(Register::Special(special)));
        self.forget_frame();
    }

    /// Sets a register of the context: any special one, `sp` as general register 12, general registers 4 to 7, branch
    /// registers 1 to 5. A NaT bit is cleared.
    pub fn set_register(&mut self, register: Register, value: u64) -> Result<(), Status> {
        match (Frame::own(register), register) {
            (Register::Special(special), _) => self.set_special(special, value),
            (Register::General(number), _) => {
                let index = general_index(number).ok_or(Status::BadRegister)?;
                put(&mut self.context.general, index, Some(value));
                put(&mut self.context.nat, index, Nat::Known(false));
                put(&mut self.context.history.general, index, Location::Register(register));
            }
            (Register::Branch(number), _) => {
                let index = branch_index(number).ok_or(Status::BadRegister)?;
                put(&mut self.context.branch, index, Some(value));
                put(&mut self.context.history.branch, index, Location::Register(register));
            }
            (Register::Float(_), _) => return Err(Status::BadRegister),
        }
        self.forget_frame();
        Ok(())
    }

    /// Sets floating-point register 2 to 5 or 16 to 31; from here on they are read with each step.
    pub fn set_float(&mut self, register: Register, value: [u64; 2]) -> Result<(), Status> {
        let Register::Float(number) = register else { return Err(Status::BadRegister) };
        let index = float_index(number).ok_or(Status::BadRegister)?;
        put(&mut self.context.float, index, Float::Value(value));
        put(&mut self.context.history.float, index, Location::Register(register));
        self.without_floats = false;
        self.forget_frame();
        Ok(())
    }

    /// Sets the NaT bit of general register 4 to 7.
    pub fn set_nat(&mut self, register: Register, nat: bool) -> Result<(), Status> {
        let Register::General(number) = register else { return Err(Status::BadRegister) };
        put(&mut self.context.nat, general_index(number).ok_or(Status::BadRegister)?, Nat::Known(nat));
        Ok(())
    }

    fn found(&mut self, target: &mut dyn Target) -> Result<&mut Found, Failure> {
        if !self.context.is_complete() {
            return Err(Status::NoContext.into());
        }
        let found = match self.found.take() {
            Some(found) => found,
            None => {
                let context = &self.context;
                let known = Known {
                    ip: context.basic(Special::Ip)?,
                    order: self.order,
                    predicates: context.known(Special::Preds),
                    cache: &mut self.cache,
                };
                let mut predicates = |target: &mut dyn Target| Ok(context.special(target, Special::Preds)?.0);
                find(known, target, &mut predicates)?
            }
        };
        Ok(self.found.insert(found))
    }

    fn rules(&mut self, target: &mut dyn Target) -> Result<Arc<Rules>, Failure> {
        match &self.found(target)?.how {
            How::Rules(rules) => Ok(Arc::clone(rules)),
            How::Interrupted(_) => Err(Status::CannotUnwind.into()),
        }
    }

    /// A register that was set by hand, or one that rules tell.
    fn preset(&self, special: Special) -> Option<(u64, Location)> {
        self.context.known(special).map(|value| (value, self.context.location(special)))
    }

    fn psp(&mut self, target: &mut dyn Target) -> Result<(u64, Location), Failure> {
        if let Some(psp) = self.psp.or_else(|| self.preset(Special::Psp)) {
            return Ok(psp);
        }
        let rules = self.rules(target)?;
        let psp = Frame { context: &self.context, rules: &rules, psp: None }.stack_pointer(target)?;
        Ok(*self.psp.insert(psp))
    }

    fn rp(&mut self, target: &mut dyn Target) -> Result<(u64, Location), Failure> {
        if let Some(rp) = self.rp.or_else(|| self.preset(Special::Rp)) {
            return Ok(rp);
        }
        let psp = self.psp(target)?;
        let rules = self.rules(target)?;
        let frame = Frame { context: &self.context, rules: &rules, psp: Some(psp.0) };
        let rp = frame.return_pointer(target)?;
        Ok(*self.rp.insert(rp))
    }

    fn pfs(&mut self, target: &mut dyn Target) -> Result<(u64, Location), Failure> {
        if let Some(pfs) = self.pfs.or_else(|| self.preset(Special::Pfs)) {
            return Ok(pfs);
        }
        let psp = self.psp(target)?;
        let rules = self.rules(target)?;
        let frame = Frame { context: &self.context, rules: &rules, psp: Some(psp.0) };
        let pfs = frame.frame_marker(target)?;
        Ok(*self.pfs.insert(pfs))
    }

    fn primary_unat(&mut self, target: &mut dyn Target) -> Result<(u64, Location), Failure> {
        if let Some(unat) = self.preset(Special::PriUnat) {
            return Ok(unat);
        }
        let psp = self.psp(target)?;
        let rules = self.rules(target)?;
        Frame { context: &self.context, rules: &rules, psp: Some(psp.0) }.primary_unat(target)
    }

    /// Steps to the caller's frame.
    pub fn step(&mut self, target: &mut dyn Target) -> Result<Stepped, Failure> {
        let interrupted = match &self.found(target)?.how {
            How::Rules(rules) => rules.abi.map(|(abi, context)| u64::from(abi) << 8 | u64::from(context)),
            How::Interrupted(context) => Some(*context),
        };
        if let Some(context) = interrupted {
            self.abi_context = context;
            return Ok(Stepped::AbiFrame);
        }
        let rules = self.rules(target)?;
        let psp = self.psp(target)?;
        let rp = self.rp(target)?;
        let pfs = self.pfs(target)?;
        if rp.0 == 0 {
            return Ok(Stepped::Bottom);
        }
        let frame = Frame { context: &self.context, rules: &rules, psp: Some(psp.0) };
        let stepped = caller(&frame, &Markers { psp, rp, pfs }, !self.without_floats, target)?;
        self.context = stepped;
        self.forget_frame();
        Ok(Stepped::Caller)
    }

    /// A register of the context.
    ///
    /// Registers that no frame so far has saved are those of the initial context, so that the ones a call may change
    /// mean something only there.
    pub fn register(&mut self, target: &mut dyn Target, register: Register) -> Result<Value, Failure> {
        if !self.context.is_complete() {
            return Err(Status::NoContext.into());
        }
        let context = &self.context;
        Ok(Value::Word(match register {
            Register::Float(number) => return Ok(Value::Float(context.float(target, number)?)),
            Register::General(number) => context.general(target, number)?,
            Register::Branch(number) => context.branch(target, number)?,
            Register::Special(special) => match special {
                Special::Ip | Special::Sp | Special::Bsp | Special::Cfm => context.basic(special)?,
                Special::Psp => self.psp(target)?.0,
                Special::Rp => self.rp(target)?.0,
                Special::Pfs => self.pfs(target)?.0,
                Special::PriUnat => self.primary_unat(target)?.0,
                Special::Gp => self.global_pointer(target)?,
                _ => context.special(target, special)?.0,
            },
        }))
    }

    fn global_pointer(&mut self, target: &mut dyn Target) -> Result<u64, Failure> {
        if let Some(value) = self.context.known(Special::Gp) {
            return Ok(value);
        }
        match self.found(target)?.global_pointer {
            Some(value) => Ok(value),
            // If it is not given, general register 1 holds it, as the conventions have it.
            None => self.context.general(target, 1),
        }
    }

    /// The NaT bit of general register 0, 4 to 7, or of a stacked one.
    pub fn nat(&mut self, target: &mut dyn Target, register: Register) -> Result<bool, Failure> {
        if !self.context.is_complete() {
            return Err(Status::NoContext.into());
        }
        match register {
            Register::General(0) => Ok(false),
            Register::General(number @ (4..=7 | 32..)) => read_nat(target, self.context.nat(number)?),
            _ => Err(Status::BadRegister.into()),
        }
    }

    /// Where a register of the context lies.
    pub fn location(&mut self, target: &mut dyn Target, register: Register) -> Result<Location, Failure> {
        if !self.context.is_complete() {
            return Err(Status::NoContext.into());
        }
        match register {
            Register::General(number) => self.context.general_location(number),
            Register::Float(number) => Ok(self.context.float_location(number)),
            Register::Branch(number) => Ok(self.context.branch_location(number)),
            Register::Special(Special::Psp) => Ok(self.psp(target)?.1),
            Register::Special(Special::Rp) => Ok(self.rp(target)?.1),
            Register::Special(Special::Pfs) => Ok(self.pfs(target)?.1),
            Register::Special(Special::PriUnat) => Ok(self.primary_unat(target)?.1),
            Register::Special(special) => Ok(self.context.location(special)),
        }
    }

    /// System and kind of the interrupted context that the last step met: `abi << 8 | context`; 0 if none did.
    pub fn abi_context(&self) -> u64 {
        self.abi_context
    }

    /// Where the function begins that the context stands in.
    pub fn function_start(&mut self, target: &mut dyn Target) -> Result<u64, Failure> {
        let found = self.found(target)?;
        found.function_start.ok_or(Failure::Status(found.without_start))
    }

    /// The module that the context stands in; its name and text base.
    pub fn module(&mut self, target: &mut dyn Target) -> Result<Named, Failure> {
        let found = self.found(target)?;
        if !found.asked_module && (found.module.is_none() || found.text_base.is_none()) {
            add_names(found, target, Question::Module)?;
            found.asked_module = true;
        }
        Ok(self.named())
    }

    /// The function that the context stands in; its name and module.
    pub fn symbol(&mut self, target: &mut dyn Target) -> Result<Named, Failure> {
        let found = self.found(target)?;
        if !found.asked_symbols && (found.module.is_none() || found.function.is_none()) {
            add_names(found, target, Question::Symbols)?;
            found.asked_symbols = true;
        }
        Ok(self.named())
    }

    fn named(&self) -> Named {
        let Some(found) = &self.found else { return Named::default() };
        Named {
            module: found.module.clone(),
            function: found.function.clone(),
            text_base: found.text_base,
            offset: found.function_start.map(|start| found.ip.wrapping_sub(start)),
        }
    }
}

fn put<T>(table: &mut [T], index: usize, value: T) {
    if let Some(slot) = table.get_mut(index) {
        *slot = value;
    }
}
