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
}

/// Gives the rows of a unit to `take` until that says false; those of a sequence are in order of address.
pub(crate) fn each_row<R: Reader>(unit: UnitRef<'_, R>, mut take: impl FnMut(Row) -> bool) {
    let Some(program) = unit.line_program.clone() else { return };
    let mut rows = program.rows();
    let mut last: Option<Row> = None;
    // A damaged row ends the table, and nothing says where the row before it ends.
    while let Ok(Some((_, row))) = rows.next_row() {
        let address = row.address();
        if let Some(mut before) = last.take() {
            before.end = address;
            // Of several rows at one address the last one counts.
            if before.start < address && !take(before) {
                return;
            }
        }
        if row.end_sequence() {
            continue;
        }
        let column = match row.column() {
            ColumnType::LeftEdge => 0,
            ColumnType::Column(column) => u32::try_from(column.get()).unwrap_or(0),
        };
        let line = row.line().map_or(0, |line| u32::try_from(line.get()).unwrap_or(0));
        last = Some(Row { start: address, end: address, file: row.file_index(), line, column });
    }
}

/// Code that debuggers take for one piece of a line, from `start` to `end` (not included).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) file: u64,
    pub(crate) line: u32,
    /// A statement begins at its start.
    pub(crate) is_stmt: bool,
}

/// Gives the pieces that debuggers step by; those of a sequence are in order of address.
///
/// Which rows make a piece: see [`Lines::pieces`](crate::Lines::pieces).
pub(crate) fn each_piece<R: Reader>(unit: UnitRef<'_, R>, mut take: impl FnMut(Piece)) {
    let Some(program) = unit.line_program.clone() else { return };
    let mut rows = program.rows();
    let mut open: Option<Piece> = None;
    let (mut before, mut divided) = ((0, 0), false);
    while let Ok(Some((_, row))) = rows.next_row() {
        let start = row.address();
        if row.end_sequence() {
            if let Some(piece) = open.take().filter(|piece| piece.start < start) {
                take(Piece { end: start, ..piece });
            }
            (before, divided) = ((0, 0), false);
            continue;
        }
        let line = row.line().map_or(0, |line| u32::try_from(line.get()).unwrap_or(0));
        let file = row.file_index();
        let continues = before == (file, line);
        before = (file, line);
        divided = row.discriminator() != 0 || divided && continues;
        if line == 0 || continues && divided {
            continue;
        }
        let piece = Piece { start, end: start, file, line, is_stmt: row.is_stmt() };
        match open {
            Some(last) if last.start == start && last.is_stmt && !piece.is_stmt => {}
            Some(last) if last.start < start => {
                take(Piece { end: start, ..last });
                open = Some(piece);
            }
            _ => open = Some(piece),
        }
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
