//! The options of the plugin, as they stand on QEMU's command line.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::process::Origin;

/// What the plugin is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// Directory for the files it writes.
    pub spool: PathBuf,
    /// The QEMU that runs it, for following exec.
    pub qemu: PathBuf,
    /// The plugin itself, for the same purpose.
    pub plugin: PathBuf,
    /// The program that is run, for naming it.
    pub program: PathBuf,
    /// How this process image came to be.
    pub origin: Origin,
    /// Count and hash of this thread's earlier images.
    pub truth: (u64, u64),
}

impl Arguments {
    /// Reads `name=value` options; the error is a sentence.
    pub fn parse<'a>(options: impl Iterator<Item = &'a [u8]>) -> Result<Arguments, String> {
        let mut arguments = Arguments {
            spool: PathBuf::new(),
            qemu: PathBuf::new(),
            plugin: PathBuf::new(),
            program: PathBuf::new(),
            origin: Origin::First,
            truth: (0, 0),
        };
        for option in options {
            let equals = option.iter().position(|byte| *byte == b'=').unwrap_or(option.len());
            let name = option.get(..equals).unwrap_or(&[]);
            let value = option.get(equals + 1..).unwrap_or(&[]);
            let path = || PathBuf::from(std::ffi::OsString::from_vec(value.to_vec()));
            match name {
                b"spool" => arguments.spool = path(),
                b"qemu" => arguments.qemu = path(),
                b"plugin" => arguments.plugin = path(),
                b"program" => arguments.program = path(),
                b"exec" => arguments.origin = Origin::Exec,
                b"count" => arguments.truth.0 = number(value)?,
                b"hash" => arguments.truth.1 = number(value)?,
                _ => return Err(format!("unknown option {}", String::from_utf8_lossy(name))),
            }
        }
        if arguments.spool.as_os_str().is_empty() {
            return Err("spool=DIRECTORY is missing".to_owned());
        }
        Ok(arguments)
    }

    /// The value of QEMU's `-plugin` that gives these arguments. Commas are doubled, as QEMU asks.
    pub fn to_option(&self) -> Vec<u8> {
        let mut option = doubled(self.plugin.as_os_str().as_bytes());
        for (name, path) in [
            ("spool", &self.spool),
            ("qemu", &self.qemu),
            ("plugin", &self.plugin),
            ("program", &self.program),
        ] {
            option.extend_from_slice(format!(",{name}=").as_bytes());
            option.extend_from_slice(&doubled(path.as_os_str().as_bytes()));
        }
        if self.origin == Origin::Exec {
            option.extend_from_slice(b",exec=on");
        }
        option.extend_from_slice(format!(",count={},hash={}", self.truth.0, self.truth.1).as_bytes());
        option
    }
}

fn number(value: &[u8]) -> Result<u64, String> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("{} is not a number", String::from_utf8_lossy(value)))
}

fn doubled(path: &[u8]) -> Vec<u8> {
    path.iter().flat_map(|byte| std::iter::repeat_n(*byte, if *byte == b',' { 2 } else { 1 })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back_as_arguments() {
        let arguments = Arguments {
            spool: "/tmp/a,b".into(),
            qemu: "/usr/bin/qemu-x86_64".into(),
            plugin: "/lib/x.so".into(),
            program: "/bin/ls".into(),
            origin: Origin::Exec,
            truth: (7, u64::MAX),
        };
        let option = String::from_utf8(arguments.to_option()).unwrap();
        assert!(option.starts_with("/lib/x.so,spool=/tmp/a,,b,"));
        let split = option.replace(",,", "\u{1}");
        let options: Vec<String> = split.split(',').skip(1).map(|part| part.replace('\u{1}', ",")).collect();
        assert_eq!(Arguments::parse(options.iter().map(|option| option.as_bytes())), Ok(arguments));
        assert!(Arguments::parse([&b"speed=1"[..]].into_iter()).is_err());
        assert!(Arguments::parse([].into_iter()).is_err());
    }
}
