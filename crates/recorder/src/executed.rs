//! What execve and execveat are asked to execute.

use std::ffi::{c_int, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::descriptor::{self, Reachable};
use crate::exec::{self, Program};
use crate::mapped::ReadOnly;
use crate::system::pid;

/// What a system call is to execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    path: PathBuf,
    /// What a script is told to be.
    name: Vec<u8>,
    /// The descriptor that such a name needs.
    descriptor: Option<c_int>,
}

impl Executed {
    /// The file that execve or, with a directory and flags, execveat means.
    pub fn new(path: Vec<u8>, from: Option<(c_int, c_int)>) -> Option<Executed> {
        let owned = |path: &[u8]| Path::new(OsStr::from_bytes(path)).to_owned();
        let plain = Executed { path: owned(&path), name: path.clone(), descriptor: None };
        match from {
            None => Some(plain),
            Some((libc::AT_FDCWD, _)) if !path.is_empty() => Some(plain),
            Some(_) if path.first() == Some(&b'/') => Some(plain),
            Some((_, flags)) if path.is_empty() && flags & libc::AT_EMPTY_PATH == 0 => None,
            Some((directory, _)) => {
                // The kernel's names for these, which exist only where there is a /dev/fd.
                let below = if path.is_empty() { Vec::new() } else { [b"/".as_slice(), &path].concat() };
                let in_directory = |fds: &str| [format!("{fds}/{directory}").as_bytes(), &below].concat();
                Some(Executed {
                    path: owned(&in_directory("/proc/self/fd")),
                    name: in_directory("/dev/fd"),
                    descriptor: Some(directory),
                })
            }
        }
    }

    /// True if the program asks for itself.
    fn is_self(&self) -> bool {
        let own = format!("/proc/{}/exe", pid());
        ["/proc/self/exe", "/proc/thread-self/exe", own.as_str()]
            .iter()
            .any(|own| self.path == Path::new(own))
    }

    /// The program to run, and what keeps it reachable. `own` is the program that runs now, `content` its file; the
    /// error says why it cannot be followed.
    pub fn resolve(
        &self,
        own: &Path,
        content: Option<&ReadOnly>,
        words: &[Vec<u8>],
    ) -> Result<(Program, Reachable), String> {
        let lost = |error: std::io::Error| format!("{}: {error}", self.path.display());
        let reached = if self.is_self() {
            descriptor::reach_again(own, content).map_err(lost)?
        } else {
            Reachable::plain(self.path.clone())
        };
        let mut program = exec::resolve(&reached.path, &self.name, words)?;
        if program.path != reached.path {
            if self.descriptor.is_some_and(descriptor::closes_on_exec) {
                return Err(format!("the script {} is closed when it is executed", self.path.display()));
            }
            return Ok((program, reached));
        }
        let reached =
            if self.is_self() { reached } else { descriptor::reach(&reached.path).map_err(lost)? };
        program.path.clone_from(&reached.path);
        Ok((program, reached))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str, from: Option<(c_int, c_int)>) -> Option<(String, String, Option<c_int>)> {
        let one = Executed::new(path.as_bytes().to_vec(), from)?;
        let name = String::from_utf8(one.name).ok()?;
        Some((one.path.to_str()?.to_owned(), name, one.descriptor))
    }

    #[test]
    fn a_script_gets_the_name_that_the_kernel_gives_it() {
        let own = |text: &str| text.to_owned();
        let plain = Some((own("bin/x"), own("bin/x"), None));
        assert_eq!(named("bin/x", None), plain);
        assert_eq!(named("bin/x", Some((libc::AT_FDCWD, 0))), plain);
        assert_eq!(named("/bin/x", Some((7, 0))), Some((own("/bin/x"), own("/bin/x"), None)));
        let below = Some((own("/proc/self/fd/7/bin/x"), own("/dev/fd/7/bin/x"), Some(7)));
        assert_eq!(named("bin/x", Some((7, 0))), below);
        let itself = Some((own("/proc/self/fd/7"), own("/dev/fd/7"), Some(7)));
        assert_eq!(named("", Some((7, libc::AT_EMPTY_PATH))), itself);
        assert_eq!(named("", Some((7, 0))), None);
    }
}
