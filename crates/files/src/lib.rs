//! Opens files by names that cannot be trusted: names that a recording, a core or an ELF file holds.
//!
//! Such a name may be anything that the writer of the recording chose. A pipe would block the reader. A device, or a
//! file of the kernel such as `/proc/kmsg`, does something when it is read. So [`open`] gives regular files only, and
//! for names that the user did not choose only files that are stored somewhere.
//!
//! What is checked is the opened file, and the caller reads that same file: there is no time between check and use.
//!
//! Out of scope: file systems that do not answer (network, FUSE), and whether the content is the recorded one.
//!
//! ```
//! use std::io::ErrorKind;
//! use std::path::Path;
//!
//! use odograph_files::{open, Named};
//!
//! assert!(open(Path::new("/bin/sh"), Named::ByRecording).is_ok());
//! let refused = open(Path::new("/dev/null"), Named::ByUser).expect_err("a device is no regular file");
//! assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Who chose the name of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// The user: any regular file, also one of the kernel, such as `/proc/kcore`.
    ByUser,
    /// A recording, a core, or an ELF file: only files that are stored somewhere.
    ByRecording,
}

/// Opens a regular file to read it.
///
/// Never waits: a pipe or a device is an error. Errors of kind
/// [`io::ErrorKind::PermissionDenied`] without an error number of the system are refusals of this function.
pub fn open(path: &Path, named: Named) -> io::Result<File> {
    // Opening some devices does something already, so they are not even opened.
    if !std::fs::metadata(path)?.is_file() {
        return Err(refusal("not a regular file"));
    }
    let file = options().open(path)?;
    // Another file may have taken its place since.
    if !file.metadata()?.is_file() {
        return Err(refusal("not a regular file"));
    }
    if named == Named::ByRecording && is_of_the_kernel(&file)? {
        return Err(refusal("a file of the kernel, which no recording may name"));
    }
    Ok(file)
}

fn refusal(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

#[cfg(unix)]
fn options() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options
}

#[cfg(not(unix))]
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    options
}

/// File systems whose files are made by the kernel when they are read. The numbers stand in Linux's `linux/magic.h`, or in
/// the file that is named behind them.
#[cfg(any(target_os = "linux", target_os = "android"))]
const OF_THE_KERNEL: &[u32] = &[
    0x0000_9fa0, // proc
    0x6265_6572, // sysfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0xcafe_4a11, // bpf
    0x6165_676c, // pstore
    0xde5e_81e4, // efivarfs
    0x6265_6570, // configfs
    0xf97c_ff8c, // selinuxfs
    0x4249_4e4d, // binfmt_misc
    0x1980_0202, // mqueue
    0x0000_1cd1, // devpts
    0x6573_5543, // fusectl (fs/fuse/control.c)
    0x5a3c_69f0, // apparmorfs
    0x0765_5821, // resctrl
    0x6e73_6673, // nsfs
    0x5049_4446, // pidfs
    0x6759_6969, // rpc_pipefs (net/sunrpc/rpc_pipe.c)
    0x4341_5d53, // smackfs
    0x6e66_7364, // nfsd (fs/nfsd/nfsctl.c)
    0x6c6f_6f70, // binder
    0x0000_9fa1, // openpromfs
    0x0000_9fa2, // usbdevfs
    0xabba_1974, // xenfs
    0x0a64_7361, // functionfs (drivers/usb/gadget/function/f_fs.c)
    0xaee7_1ee7, // gadgetfs (drivers/usb/gadget/legacy/inode.c)
];

#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_of_the_kernel(file: &File) -> io::Result<bool> {
    use std::mem::MaybeUninit;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    let mut answer = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open as long as `file` lives, and `answer` is a valid place for the answer.
    let status = unsafe { libc::fstatfs(file.as_raw_fd(), answer.as_mut_ptr()) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fstatfs succeeded, so it has filled all of `answer`.
    let kind = unsafe { answer.assume_init() }.f_type;
    // The numbers have 32 bits; the field's width and sign depend on the architecture.
    if OF_THE_KERNEL.contains(&(kind as u32)) {
        return Ok(true);
    }
    // devtmpfs says that it is tmpfs. It is what is mounted on /dev, if that is no part of the root.
    let device = |path: &str| std::fs::metadata(path).ok().map(|metadata| metadata.dev());
    let dev = device("/dev").filter(|dev| Some(*dev) != device("/"));
    Ok(dev == Some(file.metadata()?.dev()))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_of_the_kernel(_: &File) -> io::Result<bool> {
    Ok(false)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::OF_THE_KERNEL;

    #[test]
    fn the_numbers_are_those_of_the_header() {
        let Ok(header) = std::fs::read_to_string("/usr/include/linux/magic.h") else { return };
        let names = [
            "PROC_SUPER_MAGIC SYSFS_MAGIC DEBUGFS_MAGIC TRACEFS_MAGIC SECURITYFS_MAGIC CGROUP_SUPER_MAGIC CGROUP2_SUPER_MAGIC",
            "BPF_FS_MAGIC PSTOREFS_MAGIC EFIVARFS_MAGIC SELINUX_MAGIC BINFMTFS_MAGIC DEVPTS_SUPER_MAGIC AAFS_MAGIC",
            "RDTGROUP_SUPER_MAGIC NSFS_MAGIC PID_FS_MAGIC SMACK_MAGIC BINDERFS_SUPER_MAGIC OPENPROM_SUPER_MAGIC",
            "USBDEVICE_SUPER_MAGIC XENFS_SUPER_MAGIC",
        ];
        for name in names.iter().flat_map(|line| line.split(' ')) {
            let said = header.lines().find_map(|line| {
                let mut words = line.strip_prefix("#define")?.split_whitespace();
                (words.next()? == name).then(|| words.next().map(str::to_owned))?
            });
            // Older headers do not know all of them.
            let Some(said) = said else { continue };
            let number = u32::from_str_radix(said.trim_start_matches("0x"), 16).expect("it is a number");
            assert!(OF_THE_KERNEL.contains(&number), "{name}");
        }
    }
}
