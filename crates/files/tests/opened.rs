//! What is opened by a name of a recording, and what is not.

#![cfg(target_os = "linux")]

use std::ffi::CString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use odograph_files::{open, Named};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("odograph-files-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary directory can be made");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn refused(path: &Path, named: Named) -> bool {
    open(path, named).is_err_and(|error| error.raw_os_error().is_none())
}

#[test]
fn regular_files_are_opened_also_through_links() {
    let folder = Folder::new("regular");
    let (file, link) = (folder.0.join("file"), folder.0.join("link"));
    std::fs::write(&file, b"bytes").expect("it can be written");
    std::os::unix::fs::symlink(&file, &link).expect("it can be linked");
    for path in [&file, &link] {
        let mut text = String::new();
        open(path, Named::ByRecording)
            .expect("it is regular")
            .read_to_string(&mut text)
            .expect("it has text");
        assert_eq!(text, "bytes");
    }
}

#[test]
fn pipes_do_not_block_and_are_refused_whoever_named_them() {
    let folder = Folder::new("pipe");
    let pipe = folder.0.join("pipe");
    let name = CString::new(pipe.as_os_str().as_bytes()).expect("the name has no zero byte");
    // SAFETY: `name` is a string that ends with a zero byte.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    assert!(refused(&pipe, Named::ByUser));
    assert!(refused(&pipe, Named::ByRecording));
}

#[test]
fn devices_and_directories_are_refused() {
    for path in ["/dev/null", "/dev/zero", "/"] {
        assert!(refused(Path::new(path), Named::ByRecording), "{path}");
        assert!(refused(Path::new(path), Named::ByUser), "{path}");
    }
}

#[test]
fn files_of_the_kernel_are_for_the_user_only_also_behind_links() {
    let folder = Folder::new("kernel");
    let link = folder.0.join("link");
    std::os::unix::fs::symlink("/proc/self/status", &link).expect("it can be linked");
    for path in [Path::new("/proc/self/status"), &link] {
        assert!(refused(path, Named::ByRecording));
        assert!(open(path, Named::ByUser).is_ok());
    }
    if Path::new("/sys/kernel/notes").exists() {
        assert!(refused(Path::new("/sys/kernel/notes"), Named::ByRecording));
    }
    // A link of procfs to a file elsewhere leads to that file.
    assert!(open(Path::new("/proc/self/exe"), Named::ByRecording).is_ok());
}

#[test]
fn a_missing_file_is_an_error_of_the_system() {
    let error = open(Path::new("/nothing/here"), Named::ByRecording).expect_err("there is none");
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert!(error.raw_os_error().is_some());
}
