//! A machine with one module, a few registers and words, and a record of what it was asked.

use std::collections::HashMap;

use odograph_unwind::ia64::{
    key, Answer, ByteOrder, Datum, Env, Failure, Location, Pair, Question, Register, Request, Special,
    Status, Stepped, Target, Value,
};

use super::assembler::Descriptors;

/// Where the module's text begins, its first function, its unwind table, and its info blocks.
pub const TEXT: u64 = 0x4000_0000_0000_0000;
pub const FUNCTION: u64 = TEXT + 0x1000;
pub const TABLE: u64 = TEXT + 0x8000;
pub const BLOCKS: u64 = TEXT + 0x9000;

/// The context that tests begin with: stack pointer and backing store.
pub const SP: u64 = 0x6000_0000_0001_0000;
pub const BSP: u64 = 0x6000_0000_0002_0080;

/// How a look-up is answered.
pub type Answers = fn(&mut Machine, Question, u64, &mut Vec<Pair>) -> Answer;

pub struct Machine {
    pub order: ByteOrder,
    pub short: bool,
    pub code: HashMap<u64, u8>,
    pub memory: HashMap<u64, u64>,
    pub backing: HashMap<u64, u64>,
    pub registers: HashMap<u64, [u64; 2]>,
    pub table: (u64, u64),
    pub base: u64,
    pub answers: Option<Answers>,
    /// Requests with their places and sizes, in the order they came.
    pub asked: Vec<(Request, u64, usize)>,
    /// Questions, and how many answers were to be freed and were.
    pub questions: Vec<(Question, u64, Vec<Pair>)>,
    pub owed: usize,
    pub freed: usize,
    /// An exception that the next copy-in of this kind raises.
    pub raises: Option<Request>,
}

impl Default for Machine {
    fn default() -> Self {
        Machine {
            order: ByteOrder::Little,
            short: false,
            code: HashMap::new(),
            memory: HashMap::new(),
            backing: HashMap::new(),
            registers: HashMap::new(),
            table: (TABLE, TABLE),
            base: TEXT,
            answers: None,
            asked: Vec::new(),
            questions: Vec::new(),
            owed: 0,
            freed: 0,
            raises: None,
        }
    }
}

impl Machine {
    /// A machine with one function of 100 bundles, described so.
    pub fn with(descriptors: Descriptors) -> Self {
        let mut machine = Machine::default();
        machine.add_function(FUNCTION, FUNCTION + 1600, BLOCKS, descriptors);
        machine
    }

    /// A function; they have to come in the order of their addresses.
    pub fn add_function(&mut self, start: u64, end: u64, block: u64, descriptors: Descriptors) {
        for address in [start, end, block] {
            let at = self.table.1;
            self.put_word(at, address.wrapping_sub(self.base));
            self.table.1 += self.word();
        }
        self.put_block(block, 1, descriptors);
    }

    pub fn put_block(&mut self, block: u64, version: u64, Descriptors(mut bytes): Descriptors) {
        let word = self.word();
        bytes.resize(bytes.len().next_multiple_of(word as usize), 0);
        let words = bytes.len() as u64 / word;
        let header = (version << 48 | words).to_le_bytes();
        for (at, byte) in (block..).zip(self.ordered(&header).into_iter().chain(bytes)) {
            self.code.insert(at, byte);
        }
    }

    pub fn word(&self) -> u64 {
        if self.short {
            4
        } else {
            8
        }
    }

    fn ordered(&self, bytes: &[u8]) -> Vec<u8> {
        match self.order {
            ByteOrder::Little => bytes.to_vec(),
            ByteOrder::Big => bytes.iter().rev().copied().collect(),
        }
    }

    pub fn put_word(&mut self, address: u64, word: u64) {
        let size = self.word() as usize;
        for (at, byte) in (address..).zip(self.ordered(&word.to_le_bytes()[..size])) {
            self.code.insert(at, byte);
        }
    }

    pub fn set(&mut self, register: Register, value: u64) {
        self.registers.insert(register.code(), [value, 0]);
    }

    pub fn special(&mut self, special: Special, value: u64) {
        self.set(Register::Special(special), value);
    }

    /// General registers 32 and up of the frame, without a collection between them.
    pub fn stack(&mut self, values: &[u64]) {
        for (at, value) in (BSP..).step_by(8).zip(values) {
            assert_ne!(at & 0x1f8, 0x1f8, "a NaT collection lies here");
            self.backing.insert(at, *value);
        }
    }

    /// An environment at a slot of the function.
    pub fn at(&self, slot: u64, cfm: u64) -> Env {
        let mut env = Env::new();
        env.set_byte_order(self.order);
        env.init_context(FUNCTION + slot / 3 * 16 + slot % 3, SP, BSP, cfm);
        env
    }

    pub fn count(&self, request: Request) -> usize {
        self.asked.iter().filter(|(asked, _, _)| *asked == request).count()
    }
}

impl Target for Machine {
    fn copy_in(&mut self, request: Request, place: u64, into: &mut [u8]) -> Result<bool, Failure> {
        self.asked.push((request, place, into.len()));
        if self.raises == Some(request) {
            return Err(Failure::Foreign(Box::new("raised")));
        }
        let words = match request {
            Request::UnwindInformation => {
                assert!(into.len() == self.word() as usize && place.is_multiple_of(into.len() as u64));
                for (at, byte) in (place..).zip(into) {
                    let Some(known) = self.code.get(&at) else { return Ok(false) };
                    *byte = *known;
                }
                return Ok(true);
            }
            Request::MemoryStack => self.memory.get(&place).map(|word| [*word, 0]),
            Request::RegisterStack => self.backing.get(&place).map(|word| [*word, 0]),
            Request::Register => self.registers.get(&place).copied(),
        };
        let size = if request == Request::Register && place >> 8 == 2 { 16 } else { 8 };
        assert_eq!(into.len(), size);
        assert!(request == Request::Register || place.is_multiple_of(8));
        let Some([low, high]) = words else { return Ok(false) };
        let bytes = [low.to_le_bytes(), high.to_le_bytes()].concat();
        into.copy_from_slice(&bytes[..size]);
        Ok(true)
    }

    fn look_up(&mut self, question: Question, ip: u64, pairs: &mut Vec<Pair>) -> Result<Answer, Failure> {
        self.questions.push((question, ip, pairs.clone()));
        let answer = match self.answers {
            Some(answers) => answers(self, question, ip, pairs),
            None => {
                *pairs = self.table_pairs();
                Answer::Table
            }
        };
        self.owed += usize::from(answer.is_freed());
        Ok(answer)
    }

    fn free(&mut self, _: u64) -> Result<(), Failure> {
        self.freed += 1;
        Ok(())
    }
}

impl Machine {
    pub fn table_pairs(&self) -> Vec<Pair> {
        let flags = if self.short { 1 << 63 } else { 0 };
        words(&[
            (key::TBASE, self.base),
            (key::UFLAGS, flags),
            (key::USTART, self.table.0),
            (key::UEND, self.table.1),
        ])
    }
}

pub fn words(pairs: &[(u64, u64)]) -> Vec<Pair> {
    pairs.iter().map(|(key, word)| (*key, Datum::Word(*word))).collect()
}

/// A frame marker without rotation.
pub const fn cfm(frame: u64, locals: u64) -> u64 {
    frame | locals << 7
}

pub const fn special(special: Special) -> Register {
    Register::Special(special)
}

/// A register that must be there.
pub fn get(env: &mut Env, machine: &mut Machine, register: Register) -> u64 {
    match env.register(machine, register) {
        Ok(Value::Word(word)) => word,
        other => panic!("{register:?}: {other:?}"),
    }
}

pub fn get_float(env: &mut Env, machine: &mut Machine, number: u8) -> [u64; 2] {
    match env.register(machine, Register::Float(number)) {
        Ok(Value::Float(words)) => words,
        other => panic!("fr{number}: {other:?}"),
    }
}

pub fn location(env: &mut Env, machine: &mut Machine, register: Register) -> Location {
    env.location(machine, register).unwrap_or_else(|error| panic!("{register:?}: {error:?}"))
}

pub fn step(env: &mut Env, machine: &mut Machine) {
    let stepped = env.step(machine);
    assert!(matches!(stepped, Ok(Stepped::Caller)), "{stepped:?}");
    assert_eq!(machine.owed, machine.freed);
}

/// The error of a step, after which the context is as it was.
pub fn step_error(env: &mut Env, machine: &mut Machine) -> Status {
    let before =
        [Special::Ip, Special::Sp, Special::Bsp, Special::Cfm].map(|each| get(env, machine, special(each)));
    let failure = env.step(machine).expect_err("an error");
    let after =
        [Special::Ip, Special::Sp, Special::Bsp, Special::Cfm].map(|each| get(env, machine, special(each)));
    assert_eq!(before, after);
    assert_eq!(machine.owed, machine.freed);
    failure.status().expect("one of the engine's")
}
