//! What running a program means, and how the same program is run under QEMU instead.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use odograph_objects::header::{Headers, PT_INTERP};
use odograph_objects::source::limited;

use crate::arguments::Arguments;

/// How many `#!` lines in a row the kernel follows.
const INTERPRETERS: usize = 5;
const X86_64: u16 = 62;

/// A program ready to be run by QEMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The ELF file: the program itself, or the interpreter of a script.
    pub path: PathBuf,
    /// Its arguments, the zeroth included.
    pub arguments: Vec<Vec<u8>>,
}

/// Finds the ELF file that runs when `path` is executed with these arguments: follows `#!` lines and
/// checks what the kernel checks. A script learns its own path as `name`. The error says why it cannot
/// be followed; the kernel then gives its own errno, or runs it in a way we do not see.
pub fn resolve(path: &Path, name: &[u8], arguments: &[Vec<u8>]) -> Result<Program, String> {
    let mut path = path.to_owned();
    let mut name = name.to_vec();
    let mut arguments = arguments.to_vec();
    if arguments.is_empty() {
        arguments.push(Vec::new());
    }
    for _ in 0..=INTERPRETERS {
        let shown = path.display();
        let file = executable(&path)?;
        let mut head = [0u8; 256];
        let mut size = 0;
        while let Ok(got @ 1..) = (&file).read(head.get_mut(size..).unwrap_or(&mut [])) {
            size += got;
        }
        let head = head.get(..size).unwrap_or(&[]);
        if let Some(line) = head.strip_prefix(b"#!") {
            let (interpreter, option) =
                interpreter(line).ok_or_else(|| format!("{shown} has a #! line without an interpreter"))?;
            let mut longer = vec![interpreter.clone()];
            longer.extend(option);
            longer.push(name);
            longer.extend(arguments.drain(1..));
            arguments = longer;
            path = PathBuf::from(OsStr::from_bytes(&interpreter));
            name = interpreter;
            continue;
        }
        check_elf(file, head, &path)?;
        return Ok(Program { path, arguments });
    }
    Err(format!("{} has too many interpreters", path.display()))
}

/// Opens a file after asking whether we may execute it.
fn executable(path: &Path) -> Result<File, String> {
    let shown = path.display();
    let metadata = fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?;
    if !metadata.is_file() {
        return Err(format!("{shown} is not a regular file"));
    }
    let c_path = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: a C string and plain flags.
    if unsafe { libc::faccessat(libc::AT_FDCWD, c_path.as_ptr(), libc::X_OK, libc::AT_EACCESS) } != 0 {
        return Err(format!("{shown} may not be executed"));
    }
    // SAFETY: zero bytes are a valid statvfs.
    let mut system: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: a C string and a place for the answer.
    if unsafe { libc::statvfs(c_path.as_ptr(), &mut system) } == 0 && system.f_flag & libc::ST_NOEXEC != 0 {
        return Err(format!("{shown} is on a file system mounted noexec"));
    }
    // SAFETY: have no preconditions.
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    let honoured = system.f_flag & libc::ST_NOSUID == 0;
    let set_user = metadata.mode() & 0o4000 != 0 && metadata.uid() != user;
    let set_group = metadata.mode() & 0o2010 == 0o2010 && metadata.gid() != group;
    if honoured && (set_user || set_group) {
        return Err(format!("{shown} runs with the rights of another user (set-user-id)"));
    }
    File::open(path).map_err(|error| format!("{shown} cannot be read: {error}"))
}

/// Interpreter and optional argument of the text behind `#!`.
fn interpreter(line: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let begin = line.iter().position(|byte| !blank(byte))?;
    let end = line.iter().rposition(|byte| !blank(byte))? + 1;
    let line = line.get(begin..end)?;
    match line.iter().position(|byte| blank(byte) || *byte == 0) {
        None => Some((line.to_vec(), None)),
        Some(at) => {
            let rest = line.get(at..)?;
            let option = rest.iter().position(|byte| !blank(byte)).and_then(|from| rest.get(from..));
            Some((
                line.get(..at)?.to_vec(),
                option.filter(|text| text.first() != Some(&0)).map(<[u8]>::to_vec),
            ))
        }
    }
}

/// Refuses what is no program for this processor, or lacks its interpreter.
fn check_elf(file: File, head: &[u8], path: &Path) -> Result<(), String> {
    let shown = path.display();
    if !head.starts_with(b"\x7fELF") {
        return Err(format!("{shown} is neither an ELF file nor a script"));
    }
    let data = limited(file).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let headers = Headers::read(&data).map_err(|damage| format!("{shown} is no program: {}", damage.what))?;
    if (headers.bits, headers.is_little, headers.machine) != (64, true, X86_64) {
        return Err(format!("{shown} is built for another architecture"));
    }
    if !matches!(headers.kind, 2 | 3) {
        return Err(format!("{shown} is not a program"));
    }
    let (_, _, count) = headers.program_table;
    if headers.segments.len() as u64 != count {
        return Err(format!("{shown} is cut short"));
    }
    let interpreted = headers.segments.iter().any(|segment| segment.kind == PT_INTERP);
    let name = headers.interpreter(&data).unwrap_or_default();
    let loader = Path::new(OsStr::from_bytes(name));
    if interpreted && !loader.exists() {
        return Err(format!("{shown} asks for the loader {}, which does not exist", loader.display()));
    }
    Ok(())
}

/// Command line and environment that run `program` under QEMU. Variables for the dynamic loader are
/// meant for the program and not for QEMU, so they travel as options.
pub fn command(
    arguments: &Arguments,
    program: &Program,
    environment: impl IntoIterator<Item = Vec<u8>>,
) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut arguments = arguments.clone();
    // The program asks for its own file by this path, wherever it has gone to meanwhile.
    let path = std::path::absolute(&program.path).unwrap_or_else(|_| program.path.clone());
    arguments.program = path.clone();
    let mut line =
        vec![arguments.qemu.as_os_str().as_bytes().to_vec(), b"-plugin".to_vec(), arguments.to_option()];
    let mut kept = Vec::new();
    for variable in environment {
        if variable.starts_with(b"LD_") && !variable.contains(&b',') {
            line.push(b"-E".to_vec());
            line.push(variable);
        } else {
            kept.push(variable);
        }
    }
    let mut words = program.arguments.iter();
    line.push(b"-0".to_vec());
    line.push(words.next().cloned().unwrap_or_default());
    line.push(b"--".to_vec());
    line.push(path.into_os_string().into_vec());
    line.extend(words.cloned());
    (line, kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_runs_its_interpreter() {
        let path = std::env::temp_dir().join(format!("odograph-script-{}", std::process::id()));
        fs::write(&path, "#! /bin/sh  -e \nexit 3\n").unwrap();
        let words = [b"zero".to_vec(), b"one".to_vec()];
        assert!(resolve(&path, path.as_os_str().as_bytes(), &words)
            .unwrap_err()
            .contains("may not be executed"));
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let program = resolve(&path, path.as_os_str().as_bytes(), &words).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(program.path, Path::new("/bin/sh"));
        let name = path.as_os_str().as_bytes().to_vec();
        assert_eq!(program.arguments, [b"/bin/sh".to_vec(), b"-e".to_vec(), name, b"one".to_vec()]);
    }

    #[test]
    fn what_is_not_a_program_is_refused_with_a_reason() {
        let words = [b"x".to_vec()];
        assert!(resolve(Path::new("/no/such"), b"/no/such", &words).unwrap_err().starts_with("/no/such: "));
        assert!(resolve(Path::new("/"), b"/", &words).unwrap_err().contains("not a regular file"));
    }
}
