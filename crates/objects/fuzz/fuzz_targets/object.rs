//! Any bytes as an object file: every question about it has an answer, and functions are where they say.

#![no_main]

use libfuzzer_sys::fuzz_target;
use odograph_objects::demangle::demangle;
use odograph_objects::functions::Functions;
use odograph_objects::header::{class, Headers};
use odograph_objects::unwind_tables::unwind_tables_of;
use odograph_objects::lines::Lines;
use odograph_objects::packed::unpacked;
use odograph_objects::source::with_data;

// The first two bytes choose an address; the rest is the file.
fuzz_target!(|data: &[u8]| {
    let Some((address, data)) = data.split_first_chunk::<2>() else { return };
    let address = u64::from(u16::from_le_bytes(*address));
    let _ = (class(data), unpacked(data));
    if let Ok(headers) = Headers::read(data) {
        let _ = (headers.build_id(data), headers.notes(data), headers.interpreter(data));
        let _ = headers.has_symbol_table(data);
    }
    let mut functions = Functions::of_bytes(data);
    for number in functions.all() {
        let Some(function) = functions.get(number) else { panic!("function {number} is listed and not there") };
        assert_eq!(functions.start(number), Some(function.start));
    }
    if let Some(number) = functions.at(address, &mut ()) {
        let found = functions.get(number).map(|function| (function.start..function.end).contains(&address));
        assert_eq!(found, Some(true));
    }
    let _ = (functions.named("main"), functions.matches("f"), functions.shown_names(1 << 12));
    let _ = with_data(data, |file| unwind_tables_of(file));
    if let Some(lines) = Lines::of_bytes(data) {
        let _ = (lines.at(address), lines.calls_at(address), lines.function_at(address));
        let _ = (lines.addresses_of("a.c", 1), lines.code_of("main"));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = demangle(text);
    }
});
