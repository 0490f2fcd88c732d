//! Machine snapshots of executed programs, unwound and compared with the callers that the machine really had.
//!
//! They lie beside the repository; where they do not, the tests say so and pass. The tests of this crate that need
//! nothing from outside are in the other files.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::{GzDecoder, ZlibDecoder};
use odograph_unwind::ia64::{
    key, Answer, ByteOrder, Datum, Env, Failure, Location, Pair, Question, Register, Request, Special,
    Stepped, Target, Value,
};
use serde_json::Value as Json;

fn vectors() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("ODOGRAPH_SHARED").map_or(root.join("../shared"), PathBuf::from);
    let Ok(entries) = fs::read_dir(shared.join("ia64/vectors")) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.to_string_lossy().ends_with(".jsonl.gz"));
    paths.sort();
    paths
}

fn number(json: &Json) -> u64 {
    json.as_u64().expect("a number")
}

fn numbers(json: &Json) -> Vec<u64> {
    json.as_array().expect("a list").iter().map(number).collect()
}

fn base64(text: &str) -> Vec<u8> {
    let mut bits = 0u32;
    let mut held = 0;
    let mut bytes = Vec::new();
    for character in text.bytes().filter(|character| *character != b'=') {
        let six = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    bytes
}

/// Bytes at an address.
struct Stack {
    base: u64,
    bytes: Vec<u8>,
}

impl Stack {
    fn new(json: &Json) -> Self {
        let mut bytes = Vec::new();
        let packed = base64(json[1].as_str().expect("text"));
        ZlibDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("zlib");
        Stack { base: number(&json[0]), bytes }
    }

    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        let Some(offset) = address.checked_sub(self.base) else { return false };
        let Some(bytes) = self.bytes.get(offset as usize..).and_then(|rest| rest.get(..into.len())) else {
            return false;
        };
        into.copy_from_slice(bytes);
        true
    }
}

/// The program: one segment, and the unwind table in it.
struct Program {
    text: Stack,
    table: (u64, u64),
    order: ByteOrder,
}

impl Program {
    fn open(path: &Path) -> Self {
        let file = fs::read(path).expect("the program beside its snapshots");
        let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("eight bytes"));
        let mut text = Stack { base: 0, bytes: Vec::new() };
        let mut table = (0, 0);
        for index in 0..usize::from(u16::from_le_bytes([file[56], file[57]])) {
            let at = word(32) as usize + index * 56;
            let (offset, vaddr, size) = (word(at + 8) as usize, word(at + 16), word(at + 32));
            match u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes")) {
                1 if file[at + 4] & 1 == 1 => {
                    text = Stack { base: vaddr, bytes: file[offset..offset + size as usize].to_vec() };
                }
                0x7000_0001 => table = (vaddr, vaddr + size),
                _ => {}
            }
        }
        Program { text, table, order: ByteOrder::Little }
    }

    /// As a big-endian machine has it: table entries and headers of info blocks swapped, descriptors not.
    fn swap(&mut self) {
        let base = self.text.base;
        let swap = |bytes: &mut Vec<u8>, at: u64| {
            let at = (at - base) as usize;
            bytes[at..at + 8].reverse();
        };
        let mut blocks = Vec::new();
        for at in (self.table.0..self.table.1).step_by(8) {
            if (at - self.table.0) % 24 == 16 {
                let offset = (at - base) as usize;
                let bytes = self.text.bytes[offset..offset + 8].try_into().expect("eight bytes");
                blocks.push(base + u64::from_le_bytes(bytes));
            }
            swap(&mut self.text.bytes, at);
        }
        blocks.sort_unstable();
        blocks.dedup();
        for block in blocks {
            swap(&mut self.text.bytes, block);
        }
        self.order = ByteOrder::Big;
    }
}

struct Machine<'a> {
    program: &'a Program,
    snapshot: &'a Json,
    memory: Stack,
    backing: Stack,
    information_reads: usize,
    answered: usize,
    freed: usize,
}

impl<'a> Machine<'a> {
    fn new(program: &'a Program, snapshot: &'a Json) -> Self {
        let memory = Stack::new(&snapshot["mstack"]);
        let backing = Stack::new(&snapshot["rstack"]);
        Machine { program, snapshot, memory, backing, information_reads: 0, answered: 0, freed: 0 }
    }

    fn register(&self, code: u64) -> Option<[u64; 2]> {
        let register = Register::from_code(code)?;
        let snapshot = self.snapshot;
        let word = match register {
            Register::General(0) => 0,
            Register::General(number @ ..=31) => numbers(&snapshot["gr"])[usize::from(number) - 1],
            Register::Branch(number) => numbers(&snapshot["br"])[usize::from(number)],
            Register::Float(number) => {
                let value = snapshot["fr"].get(number.to_string())?;
                return Some([number_at(value, 0), number_at(value, 1)]);
            }
            Register::Special(special) => number(match special {
                Special::Preds => &snapshot["pr"],
                Special::Pfs => &snapshot["pfs"],
                Special::Unat => &snapshot["unat"],
                Special::Lc => &snapshot["lc"],
                Special::Fpsr => &snapshot["fpsr"],
                Special::Rnat => &snapshot["rnat"],
                Special::Ip => &snapshot["ip"],
                Special::Sp => &snapshot["sp"],
                Special::Bsp => &snapshot["bsp"],
                _ => return None,
            }),
            Register::General(_) => return None,
        };
        Some([word, 0])
    }
}

fn number_at(json: &Json, index: usize) -> u64 {
    number(&json[index])
}

impl Target for Machine<'_> {
    fn copy_in(&mut self, request: Request, place: u64, into: &mut [u8]) -> Result<bool, Failure> {
        Ok(match request {
            Request::UnwindInformation => {
                assert!(into.len() == 8 && place.is_multiple_of(8));
                self.information_reads += 1;
                self.program.text.read(place, into)
            }
            Request::MemoryStack => {
                assert!(into.len() == 8 && place.is_multiple_of(8));
                self.memory.read(place, into)
            }
            Request::RegisterStack => {
                assert!(into.len() == 8 && place.is_multiple_of(8));
                // Bits that are not flushed are still in the register.
                if place >> 3 & 63 == 63 && place >= number(&self.snapshot["rbs_end"]) {
                    into.copy_from_slice(&number(&self.snapshot["rnat"]).to_le_bytes());
                    return Ok(true);
                }
                self.backing.read(place, into)
            }
            Request::Register => {
                let Some(words) = self.register(place) else { return Ok(false) };
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                assert_eq!(into.len(), if place >> 8 == 2 { 16 } else { 8 });
                into.copy_from_slice(&bytes[..into.len()]);
                true
            }
        })
    }

    fn look_up(&mut self, question: Question, ip: u64, pairs: &mut Vec<Pair>) -> Result<Answer, Failure> {
        assert_eq!(question, Question::Unwind);
        assert_eq!(pairs[0], (key::VERSION, Datum::Word(3)));
        let text = &self.program.text;
        if ip.wrapping_sub(text.base) >= text.bytes.len() as u64 {
            return Ok(Answer::NotFound);
        }
        let (start, end) = self.program.table;
        *pairs = [(key::TBASE, text.base), (key::USTART, start), (key::UEND, end)]
            .map(|(key, word)| (key, Datum::Word(word)))
            .to_vec();
        self.answered += 1;
        Ok(Answer::Table)
    }

    fn free(&mut self, _: u64) -> Result<(), Failure> {
        self.freed += 1;
        Ok(())
    }
}

/// Steps of one snapshot, compared; returns how many frames there were.
fn unwind(env: &mut Env, machine: &mut Machine<'_>, imprecise: &mut usize) -> usize {
    let snapshot = machine.snapshot;
    let cfm = number(&snapshot["cfm"]) | number(&snapshot["ec"]) << 52;
    let [ip, sp, bsp] = ["ip", "sp", "bsp"].map(|name| number(&snapshot[name]));
    env.init_context(ip, sp, bsp, cfm);
    for register in 4..=7 {
        let nat = number(&snapshot["nat"]) >> register & 1 == 1;
        env.set_nat(Register::General(register), nat).expect("a preserved register");
    }
    let frames = snapshot["frames"].as_array().expect("frames");
    for (index, frame) in frames.iter().enumerate() {
        let place = format!("{} {} frame {}", snapshot["prog"], snapshot["n"], index + 1);
        let stepped = env.step(machine);
        assert!(matches!(stepped, Ok(Stepped::Caller)), "{place}: {stepped:?}");
        let known: HashMap<&str, ()> = snapshot["imprecise"]
            .get((index + 1).to_string())
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .map(|name| (name.as_str().expect("a name"), ()))
            .collect();
        *imprecise += known.len();
        compare(env, machine, frame, &known, &place);
    }
    let last = env.step(machine);
    assert!(matches!(last, Ok(Stepped::Bottom)), "{}: {last:?}", snapshot["n"]);
    assert_eq!(machine.answered, machine.freed);
    frames.len()
}

fn compare(
    env: &mut Env,
    machine: &mut Machine<'_>,
    frame: &Json,
    imprecise: &HashMap<&str, ()>,
    place: &str,
) {
    let mut check = |name: &str, register: Register, expected: Value| {
        if imprecise.contains_key(name) {
            return;
        }
        let value =
            env.register(machine, register).unwrap_or_else(|error| panic!("{place} {name}: {error:?}"));
        match (name, value, expected) {
            // A call preserves no predicate from 6 to 15.
            ("pr", Value::Word(value), Value::Word(expected)) => {
                assert_eq!((value ^ expected) & !0xffc0, 0, "{place} {name}");
            }
            // Nor the flags in each of the four status fields.
            ("fpsr", Value::Word(value), Value::Word(expected)) => {
                let flags = [13, 26, 39, 52].into_iter().fold(0, |flags, shift| flags | 0x3f << shift);
                assert_eq!((value ^ expected) & !flags, 0, "{place} {name}");
            }
            _ => assert_eq!(value, expected, "{place} {name}"),
        }
        let location = env.location(machine, register).expect("a location");
        let mut bytes = [0; 16];
        let read = match (location, value) {
            (Location::Nowhere, _) => return,
            // These are given when a context is made, not asked.
            (
                Location::Register(Register::Special(
                    Special::Ip | Special::Sp | Special::Bsp | Special::Cfm,
                )),
                _,
            ) => return,
            (Location::Register(source @ Register::Float(_)), Value::Word(_)) => {
                machine.copy_in(Request::Register, source.code(), &mut bytes)
            }
            (Location::Register(source), Value::Word(_)) => {
                machine.copy_in(Request::Register, source.code(), &mut bytes[..8])
            }
            (Location::Register(source), Value::Float(_)) => {
                machine.copy_in(Request::Register, source.code(), &mut bytes)
            }
            (Location::MemoryStack(address), Value::Word(_)) => {
                machine.copy_in(Request::MemoryStack, address, &mut bytes[..8])
            }
            (Location::MemoryStack(address), Value::Float(_)) => {
                let (low, high) = bytes.split_at_mut(8);
                machine
                    .copy_in(Request::MemoryStack, address, low)
                    .and_then(|_| machine.copy_in(Request::MemoryStack, address + 8, high))
            }
            (Location::RegisterStack(address), _) => {
                machine.copy_in(Request::RegisterStack, address, &mut bytes[..8])
            }
        };
        assert!(matches!(read, Ok(true)), "{place} {name}: {location:?}");
        let low = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        let high = u64::from_le_bytes(bytes[8..].try_into().expect("eight bytes"));
        match value {
            Value::Word(word) => assert_eq!(low, word, "{place} {name} at {location:?}"),
            Value::Float(words) => assert_eq!([low, high], words, "{place} {name} at {location:?}"),
        }
    };
    for (name, special) in [
        ("ip", Special::Ip),
        ("sp", Special::Sp),
        ("bsp", Special::Bsp),
        ("cfm", Special::Cfm),
        ("pr", Special::Preds),
        ("lc", Special::Lc),
        ("unat", Special::Unat),
        ("fpsr", Special::Fpsr),
    ] {
        check(name, Register::Special(special), Value::Word(number(&frame[name])));
    }
    for (register, value) in (4..).zip(numbers(&frame["gr"])) {
        check(&format!("r{register}"), Register::General(register), Value::Word(value));
    }
    for (register, value) in (1..).zip(numbers(&frame["br"])) {
        check(&format!("b{register}"), Register::Branch(register), Value::Word(value));
    }
    for (register, value) in (32..).zip(numbers(&frame["stacked"])) {
        check(&format!("r{register}"), Register::General(register), Value::Word(value));
    }
    for (name, value) in frame["fr"].as_object().expect("floats") {
        let register = Register::Float(name.parse().expect("a number"));
        let expected = Value::Float([number_at(value, 0), number_at(value, 1)]);
        check(&format!("f{name}"), register, expected);
    }
    let nats = (4..).zip(numbers(&frame["nat"])).chain((32..).zip(numbers(&frame["snat"])));
    for (register, nat) in nats {
        if !imprecise.contains_key(format!("r{register}.nat").as_str()) {
            let value = env.nat(machine, Register::General(register));
            assert!(
                matches!(value, Ok(value) if value == (nat != 0)),
                "{place} r{register}.nat: {value:?}, not {nat}"
            );
        }
    }
}

fn all(swapped: bool) {
    let paths = vectors();
    if paths.is_empty() {
        eprintln!("skipped: there are no snapshots beside the repository");
        return;
    }
    let (mut frames, mut imprecise) = (0, 0);
    for path in &paths {
        let mut program = Program::open(&PathBuf::from(path.to_string_lossy().replace(".jsonl.gz", ".elf")));
        if swapped {
            program.swap();
        }
        let mut env = Env::new();
        env.set_byte_order(program.order);
        let mut text = String::new();
        GzDecoder::new(fs::File::open(path).expect("snapshots")).read_to_string(&mut text).expect("gzip");
        for line in text.lines() {
            let snapshot: Json = serde_json::from_str(line).expect("JSON");
            let mut machine = Machine::new(&program, &snapshot);
            frames += unwind(&mut env, &mut machine, &mut imprecise);
            // What was learned once is not read again.
            let mut again = Machine::new(&program, &snapshot);
            unwind(&mut env, &mut again, &mut 0);
            assert_eq!(again.information_reads, 0);
        }
    }
    eprintln!("{frames} frames of {} programs, {imprecise} registers left out", paths.len());
    assert!(frames > 10_000);
}

#[test]
fn callers_of_executed_programs() {
    all(false);
}

#[test]
fn callers_of_executed_programs_with_swapped_tables() {
    all(true);
}
