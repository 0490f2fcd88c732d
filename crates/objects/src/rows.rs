//! The rows of a unit's line table. What comes before damage counts.

use gimli::{ColumnType, Reader, UnitRef};

/// Code from `start` to `end` (not included) that one row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) file: u64,
    /// 0: no line.
    pub(crate) line: u32,
    pub(crate) column: u32,
    /// A debugger may stop at its start.
    pub(crate) is_stmt: bool,
    /// It is one of several blocks of code that its line has.
    pub(crate) is_block: bool,
}

/// Gives the rows of a unit to `take` until that says false; those of a sequence are in order of address.
pub(crate) fn each_row<R: Reader>(unit: UnitRef<'_, R>, mut take: impl FnMut(Row) -> bool) {
    let Some(program) = unit.line_program.clone() else { return };
    let mut rows = program.rows();
    let mut last: Option<Row> = None;
    // Of rows at one address, any may say that a statement begins.
    let mut begins = false;
    // A damaged row ends the table, and nothing says where the row before it ends.
    while let Ok(Some((_, row))) = rows.next_row() {
        let address = row.address();
        if let Some(mut before) = last.take() {
            before.end = address;
            begins = before.start == address && before.is_stmt;
            // Of several rows at one address the last one counts.
            if before.start < address && !take(before) {
                return;
            }
        }
        if row.end_sequence() {
            begins = false;
            continue;
        }
        let column = match row.column() {
            ColumnType::LeftEdge => 0,
            ColumnType::Column(column) => u32::try_from(column.get()).unwrap_or(0),
        };
        let line = row.line().map_or(0, |line| u32::try_from(line.get()).unwrap_or(0));
        let is_stmt = row.is_stmt() || begins;
        let is_block = row.discriminator() != 0;
        last = Some(Row {
            start: address,
            end: address,
            file: row.file_index(),
            line,
            column,
            is_stmt,
            is_block,
        });
    }
}

/// The path of a file of a unit's line table, with its directory if that is known.
pub(crate) fn file_name<R: Reader>(unit: UnitRef<'_, R>, number: u64) -> Option<String> {
    let header = unit.line_program.as_ref()?.header();
    let file = header.file(number)?;
    let text = |value| Some(unit.attr_string(value).ok()?.to_string_lossy().ok()?.into_owned());
    let mut path =
        unit.comp_dir.as_ref().and_then(|directory| directory.to_string_lossy().ok()).unwrap_or_default();
    let mut path = path.to_mut().clone();
    // Directory 0 is that of the unit.
    if file.directory_index() != 0 {
        if let Some(directory) = file.directory(header).and_then(text) {
            push(&mut path, &directory);
        }
    }
    push(&mut path, &text(file.path_name())?);
    Some(path)
}

fn push(path: &mut String, part: &str) {
    if part.starts_with('/') {
        part.clone_into(path);
        return;
    }
    if !path.is_empty() && !path.ends_with('/') {
        path.push('/');
    }
    path.push_str(part);
}
