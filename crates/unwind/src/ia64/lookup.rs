//! The look-up protocol: asking where unwind information is, and reading it.

use std::sync::Arc;

use super::cache::{Cache, Learned, Source};
use super::found::{Found, How};
use super::information::{self, Layout};
use super::region::{self, Predicates, Rules};
use super::status::{Failure, Status};
use super::swap::{low, swizzle, ByteOrder};
use super::table::{Entry, Table};
use super::target::{key, Answer, Datum, Pair, Question, Target, VERSION};

/// Bit of the flags of an unwind table: its entries have 32 bits.
const SHORT_TABLE: u64 = 1 << 63;

/// Asks a question and hands the answer to `read`, which must not fail for what cannot be read later; then has it
/// freed, once, also if reading failed.
pub(super) fn ask<T>(
    target: &mut dyn Target,
    question: Question,
    ip: u64,
    pairs: &mut Vec<Pair>,
    read: impl FnOnce(&mut dyn Target, Answer, &[Pair]) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let answer = target.look_up(question, ip, pairs)?;
    let result = read(target, answer, pairs);
    let freed = if answer.is_freed() { target.free(ip) } else { Ok(()) };
    match (result, freed) {
        (Err(failure @ Failure::Foreign(_)), _) | (_, Err(failure)) | (Err(failure), _) => Err(failure),
        (Ok(result), Ok(())) => Ok(result),
    }
}

/// The pairs of a question.
pub(super) fn question(more: Option<(u64, u64)>) -> Vec<Pair> {
    let mut pairs = vec![(key::VERSION, Datum::Word(VERSION))];
    pairs.extend(more.map(|(key, word)| (key, Datum::Word(word))));
    pairs
}

/// What the engine knows before it asks.
pub(super) struct Known<'a> {
    pub(super) ip: u64,
    pub(super) order: ByteOrder,
    /// Predicates, if they are known without asking.
    pub(super) predicates: Option<u64>,
    pub(super) cache: &'a mut Cache,
}

/// What the first answer came to.
enum First {
    Remapped(u64),
    Interrupted(u64),
    Described(Box<Found>),
    Learned(Box<Found>, Learned, Source),
    Entry(Box<Found>, Option<Entry>, Source),
}

/// Finds the rules for an address. `read_predicates` is asked if conditional saves need them.
pub(super) fn find(
    known: Known<'_>,
    target: &mut dyn Target,
    read_predicates: &mut dyn FnMut(&mut dyn Target) -> Result<u64, Failure>,
) -> Result<Found, Failure> {
    let more = known.predicates.map(|value| (key::PREDS, value));
    let slot = known.ip & 15;
    let mut ip = known.ip;
    let mut first = ask(target, Question::Unwind, ip, &mut question(more), |target, answer, pairs| {
        understood(&known, target, ip, answer, pairs)
    })?;
    if let First::Remapped(other) = first {
        ip = other;
        first = ask(target, Question::Unwind, ip, &mut question(more), |target, answer, pairs| {
            understood(&known, target, ip, answer, pairs)
        })?;
    }
    let (mut found, learned) = match first {
        First::Remapped(_) => return Err(Status::LookUp.into()),
        First::Interrupted(context) => return Ok(Found::new(ip, How::Interrupted(context))),
        First::Described(found) => return Ok(*found),
        First::Learned(found, learned, source) => {
            let asked = learned.predicates;
            if asked == 0 || read_predicates(target)? & asked == learned.values {
                (found, learned)
            } else {
                // Saves are conditional here, and the predicates are others now.
                let entry = entry_of(&source, target, ip)?;
                let learned = learn(&source, entry, ip, slot, target, read_predicates)?;
                (found, known.cache.insert(source, ip, slot, learned))
            }
        }
        First::Entry(found, entry, source) => {
            let learned = learn(&source, entry, ip, slot, target, read_predicates)?;
            (found, known.cache.insert(source, ip, slot, learned))
        }
    };
    found.how = How::Rules(Arc::clone(&learned.rules));
    found.function_start = learned.function_start;
    if learned.undescribed {
        // A step goes by the rule for leaf functions; asking for the start is where the difference is told.
        found.function_start = None;
        found.without_start = Status::NoDescriptors;
    }
    Ok(*found)
}

fn understood(
    known: &Known<'_>,
    target: &mut dyn Target,
    ip: u64,
    answer: Answer,
    pairs: &[Pair],
) -> Result<First, Failure> {
    let mut found = Box::new(Found::new(ip, How::Rules(Arc::new(Rules::default()))));
    let source = match answer {
        Answer::NotFound => return Err(Status::IpNotFound.into()),
        Answer::Failed | Answer::Symbols => return Err(Status::LookUp.into()),
        Answer::Remap => return remapped(pairs).map(First::Remapped).map_err(Failure::from),
        Answer::Function => return described(pairs, found).map_err(Failure::from),
        Answer::Table => table(pairs, known.order, &mut found)?,
        Answer::Information => block(pairs, known.order, &mut found)?,
    };
    if let Some(learned) = known.cache.get(&source, ip, known.ip & 15) {
        return Ok(First::Learned(found, learned.clone(), source));
    }
    let entry = entry_of(&source, target, ip)?;
    Ok(First::Entry(found, entry, source))
}

fn entry_of(source: &Source, target: &mut dyn Target, ip: u64) -> Result<Option<Entry>, Failure> {
    match source {
        Source::Table(table) => match table.search(target, ip) {
            Ok(entry) => Ok(Some(entry)),
            Err(Failure::Status(Status::NoTableEntry)) => Ok(None),
            Err(failure) => Err(failure),
        },
        Source::Block { address, function_start, .. } => {
            Ok(Some(Entry { start: *function_start, information: Some(*address) }))
        }
    }
}

/// Reads and follows the descriptors; without any, the rule for leaf functions holds.
fn learn(
    source: &Source,
    entry: Option<Entry>,
    ip: u64,
    slot: u64,
    target: &mut dyn Target,
    read_predicates: &mut dyn FnMut(&mut dyn Target) -> Result<u64, Failure>,
) -> Result<Learned, Failure> {
    let mut learned = Learned {
        rules: Arc::new(Rules::default()),
        function_start: entry.map(|entry| entry.start),
        undescribed: matches!(entry, Some(Entry { information: None, .. })),
        predicates: 0,
        values: 0,
    };
    let layout = match source {
        Source::Table(table) => table.layout,
        Source::Block { layout, .. } => *layout,
    };
    let Some(Entry { start, information: Some(address) }) = entry else { return Ok(learned) };
    let data = information::descriptors(target, layout, address)?;
    let ip = if layout.short && ip >> 32 == 0 { swizzle(low(ip)) } else { ip };
    let bundles = (ip & !15).wrapping_sub(start) / 16;
    let mut values = 0;
    let mut read = || {
        values = read_predicates(target)?;
        Ok(values)
    };
    let mut predicates = Predicates::new(&mut read);
    let rules = region::rules(&data, bundles.saturating_mul(3).saturating_add(slot), &mut predicates)?;
    learned.rules = Arc::new(rules.unwrap_or_default());
    learned.predicates = predicates.used;
    learned.values = values & learned.predicates;
    Ok(learned)
}

fn word(datum: &Datum) -> Result<u64, Status> {
    match datum {
        Datum::Word(word) => Ok(*word),
        Datum::Name(_) => Err(Status::BadKey),
    }
}

fn name(datum: &Datum) -> Result<Option<Vec<u8>>, Status> {
    match datum {
        Datum::Name(name) => Ok(name.clone()),
        Datum::Word(0) => Ok(None),
        Datum::Word(_) => Err(Status::BadKey),
    }
}

fn remapped(pairs: &[Pair]) -> Result<u64, Status> {
    match pairs {
        [(key::NEWIP, ip)] => word(ip),
        _ => Err(Status::BadKey),
    }
}

fn layout(flags: u64, order: ByteOrder) -> Layout {
    Layout { order, short: flags & SHORT_TABLE != 0 }
}

fn table(pairs: &[Pair], order: ByteOrder, found: &mut Found) -> Result<Source, Status> {
    let (mut base, mut start, mut end, mut flags) = (None, None, None, 0);
    for (key, datum) in pairs {
        match *key {
            key::TBASE => base = Some(word(datum)?),
            key::USTART => start = Some(word(datum)?),
            key::UEND => end = Some(word(datum)?),
            key::UFLAGS => flags = word(datum)?,
            key::GP => found.global_pointer = Some(word(datum)?),
            _ => return Err(Status::BadKey),
        }
    }
    let (Some(base), Some(start), Some(end)) = (base, start, end) else { return Err(Status::BadKey) };
    found.text_base = Some(base);
    found.without_start = Status::NoTableEntry;
    Ok(Source::Table(Table { base, start, end, layout: layout(flags, order) }))
}

fn block(pairs: &[Pair], order: ByteOrder, found: &mut Found) -> Result<Source, Status> {
    let (mut address, mut function_start, mut flags) = (None, None, 0);
    for (key, datum) in pairs {
        match *key {
            key::UINFO => address = Some(word(datum)?),
            key::FUNCSTART => function_start = Some(word(datum)?),
            key::UFLAGS => flags = word(datum)?,
            key::GP => found.global_pointer = Some(word(datum)?),
            key::MODULE => found.module = name(datum)?,
            key::FUNC => found.function = name(datum)?,
            _ => return Err(Status::BadKey),
        }
    }
    let (Some(address), Some(function_start)) = (address, function_start) else {
        return Err(Status::BadKey);
    };
    Ok(Source::Block { address, function_start, layout: layout(flags, order) })
}

fn described(pairs: &[Pair], mut found: Box<Found>) -> Result<First, Status> {
    if let [(key::CONTEXT, context)] = pairs {
        return word(context).map(First::Interrupted);
    }
    for (key, datum) in pairs {
        match *key {
            key::GP => found.global_pointer = Some(word(datum)?),
            key::MODULE => found.module = name(datum)?,
            key::FUNC => found.function = name(datum)?,
            key::FUNCSTART => found.function_start = Some(word(datum)?),
            // Documented, and never understood by uwx: the frame's size, and where a register is spilled.
            key::FSIZE => return Err(Status::CannotUnwind),
            spill if spill & 15 == 2 => return Err(Status::CannotUnwind),
            _ => return Err(Status::BadKey),
        }
    }
    // A function of which nothing is told saves nothing.
    Ok(First::Described(found))
}

/// Asks for names, and adds what is answered.
pub(super) fn add_names(found: &mut Found, target: &mut dyn Target, asked: Question) -> Result<(), Failure> {
    let more = found.function_start.map(|start| (key::FUNCSTART, start));
    let ip = found.ip;
    let mut named = found.clone();
    ask(target, asked, ip, &mut question(more), |_, answer, pairs| {
        match answer {
            Answer::Symbols => {}
            Answer::NotFound => return Err(Status::IpNotFound.into()),
            _ => return Err(Status::LookUp.into()),
        }
        for (key, datum) in pairs {
            match *key {
                key::MODULE => named.module = name(datum)?,
                key::FUNC => named.function = name(datum)?,
                key::FUNCSTART => named.function_start = Some(word(datum)?),
                key::TBASE => named.text_base = Some(word(datum)?),
                _ => return Err(Status::BadKey.into()),
            }
        }
        Ok(())
    })?;
    *found = named;
    Ok(())
}
