//! Text of instructions, from iced-x86's Intel formatter.

use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, OpKind};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Writes instructions; keeps the formatter between them.
struct Writer(IntelFormatter);

impl Writer {
    fn new() -> Self {
        let mut formatter = IntelFormatter::new();
        let options = formatter.options_mut();
        options.set_hex_prefix("0x");
        options.set_hex_suffix("");
        options.set_uppercase_hex(false);
        options.set_space_after_operand_separator(true);
        options.set_branch_leading_zeros(false);
        options.set_small_hex_numbers_in_decimal(false);
        options.set_rip_relative_addresses(true);
        Writer(formatter)
    }

    /// The text, and the address a direct branch goes to (0 = none).
    ///
    /// `mode` is libipt's `pt_exec_mode` (1 = 16 bits, 2 = 32, anything else 64). Bytes that are no
    /// instruction iced-x86 knows become `(bad)`.
    fn write(&mut self, bytes: &[u8], ip: u64, mode: u8) -> (String, u64) {
        let bitness = match mode {
            1 => 16,
            2 => 32,
            _ => 64,
        };
        let mut instruction = Instruction::default();
        Decoder::with_ip(bitness, bytes, ip, DecoderOptions::NONE).decode_out(&mut instruction);
        if instruction.is_invalid() || instruction.len() != bytes.len() {
            return ("(bad)".to_owned(), 0);
        }
        let mut text = String::new();
        self.0.format(&instruction, &mut text);
        let near = matches!(
            instruction.op0_kind(),
            OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64
        );
        let target = if near { instruction.near_branch_target() } else { 0 };
        (text, target)
    }
}

/// The text of one instruction; `mode` as in libipt's `pt_exec_mode`.
#[pyfunction]
#[pyo3(signature = (data, ip, mode=3))]
fn disassemble(data: &[u8], ip: u64, mode: u8) -> String {
    Writer::new().write(data, ip, mode).0
}

/// The text of many instructions, and as native-endian u64 where direct branches go (0 = nowhere).
///
/// `ips` are native-endian u64, `modes` bytes, one for each of `rows`.
#[pyfunction]
fn disassemble_many<'py>(
    py: Python<'py>,
    ips: &[u8],
    modes: &[u8],
    rows: Vec<Bound<'py, PyBytes>>,
) -> (Vec<String>, Bound<'py, PyBytes>) {
    let mut writer = Writer::new();
    let mut texts = Vec::with_capacity(rows.len());
    let mut targets = Vec::with_capacity(rows.len() * 8);
    for ((ip, &mode), row) in ips.chunks_exact(8).zip(modes).zip(&rows) {
        let ip = u64::from_ne_bytes(ip.try_into().unwrap_or_default());
        let (text, target) = writer.write(row.as_bytes(), ip, mode);
        texts.push(text);
        targets.extend_from_slice(&target.to_ne_bytes());
    }
    (texts, PyBytes::new(py, &targets))
}

/// Adds this room's functions.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(disassemble, module)?)?;
    module.add_function(wrap_pyfunction!(disassemble_many, module)?)
}
