//! QEMU's plugin interface, declared from its documentation ("QEMU TCG Plugins", API).
//!
//! Functions are looked up by name when QEMU loads the plugin, so that this library also loads where
//! there is no QEMU. Versions: 1 (QEMU 7.2 to 8.2), 2 (9.0) and 3 and up (9.1), where an
//! instruction's bytes are copied out instead of lent.

use std::ffi::{c_char, c_int, c_void, CStr};

/// Opaque translation block, valid during a translation callback.
#[repr(C)]
pub struct Tb {
    _opaque: [u8; 0],
}

/// Opaque instruction of a translation block.
#[repr(C)]
pub struct Insn {
    _opaque: [u8; 0],
}

/// What QEMU says about itself.
#[repr(C)]
pub struct Info {
    /// Name of the guest architecture.
    pub target_name: *const c_char,
    /// Lowest version of the interface that it still speaks.
    pub minimum_version: c_int,
    /// The version it speaks best.
    pub current_version: c_int,
    /// False in user mode.
    pub system_emulation: bool,
}

/// `qemu_plugin_id_t`.
pub type Id = u64;
/// `qemu_plugin_vcpu_tb_trans_cb_t`.
pub type TranslationCallback = unsafe extern "C" fn(Id, *mut Tb);
/// `qemu_plugin_vcpu_udata_cb_t`.
pub type ExecutionCallback = unsafe extern "C" fn(u32, *mut c_void);
/// `qemu_plugin_vcpu_syscall_cb_t`.
pub type SyscallCallback = unsafe extern "C" fn(Id, u32, i64, u64, u64, u64, u64, u64, u64, u64, u64);
/// `qemu_plugin_vcpu_syscall_ret_cb_t`.
pub type SyscallReturnCallback = unsafe extern "C" fn(Id, u32, i64, i64);

type InsnDataLent = unsafe extern "C" fn(*const Insn) -> *const u8;
type InsnDataCopied = unsafe extern "C" fn(*const Insn, *mut c_void, usize) -> usize;

/// The functions that are used.
#[derive(Clone, Copy)]
pub struct Functions {
    /// `qemu_plugin_register_vcpu_tb_trans_cb`.
    pub on_translation: unsafe extern "C" fn(Id, TranslationCallback),
    /// `qemu_plugin_register_vcpu_tb_exec_cb`.
    pub on_execution: unsafe extern "C" fn(*mut Tb, ExecutionCallback, c_int, *mut c_void),
    /// `qemu_plugin_register_vcpu_syscall_cb`.
    pub on_syscall: unsafe extern "C" fn(Id, SyscallCallback),
    /// `qemu_plugin_register_vcpu_syscall_ret_cb`.
    pub on_syscall_return: unsafe extern "C" fn(Id, SyscallReturnCallback),
    /// `qemu_plugin_tb_n_insns`.
    pub tb_size: unsafe extern "C" fn(*const Tb) -> usize,
    /// `qemu_plugin_tb_get_insn`.
    pub tb_insn: unsafe extern "C" fn(*const Tb, usize) -> *mut Insn,
    /// `qemu_plugin_tb_vaddr`.
    pub tb_address: unsafe extern "C" fn(*const Tb) -> u64,
    /// `qemu_plugin_insn_size`.
    pub insn_size: unsafe extern "C" fn(*const Insn) -> usize,
    /// `qemu_plugin_insn_haddr`.
    pub insn_host_address: unsafe extern "C" fn(*const Insn) -> *const u8,
    insn_data: *mut c_void,
    copies_data: bool,
}

// SAFETY: these are addresses of functions that may be called from any thread.
unsafe impl Send for Functions {}
// SAFETY: as above.
unsafe impl Sync for Functions {}

fn symbol(name: &CStr) -> *mut c_void {
    // SAFETY: `name` is a C string; looking it up has no other effect.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
}

/// The interface version to declare, by what the program that loads us offers.
pub fn version() -> c_int {
    if symbol(c"qemu_plugin_register_vcpu_tb_exec_cond_cb").is_null() {
        if symbol(c"qemu_plugin_scoreboard_new").is_null() {
            1
        } else {
            2
        }
    } else {
        3
    }
}

macro_rules! function {
    ($name:literal as $type:ty) => {{
        let address = symbol($name);
        if address.is_null() {
            return Err($name);
        }
        // SAFETY: QEMU documents the function of this name with the type it is given here.
        unsafe { std::mem::transmute::<*mut c_void, $type>(address) }
    }};
}

impl Functions {
    /// Finds all of them; the error is the name of one that is missing.
    pub fn find() -> Result<Functions, &'static CStr> {
        let insn_data = symbol(c"qemu_plugin_insn_data");
        if insn_data.is_null() {
            return Err(c"qemu_plugin_insn_data");
        }
        Ok(Functions {
            on_translation: function!(
                c"qemu_plugin_register_vcpu_tb_trans_cb" as unsafe extern "C" fn(Id, TranslationCallback)
            ),
            on_execution: function!(
                c"qemu_plugin_register_vcpu_tb_exec_cb"
                    as unsafe extern "C" fn(*mut Tb, ExecutionCallback, c_int, *mut c_void)
            ),
            on_syscall: function!(
                c"qemu_plugin_register_vcpu_syscall_cb" as unsafe extern "C" fn(Id, SyscallCallback)
            ),
            on_syscall_return: function!(
                c"qemu_plugin_register_vcpu_syscall_ret_cb"
                    as unsafe extern "C" fn(Id, SyscallReturnCallback)
            ),
            tb_size: function!(c"qemu_plugin_tb_n_insns" as unsafe extern "C" fn(*const Tb) -> usize),
            tb_insn: function!(
                c"qemu_plugin_tb_get_insn" as unsafe extern "C" fn(*const Tb, usize) -> *mut Insn
            ),
            tb_address: function!(c"qemu_plugin_tb_vaddr" as unsafe extern "C" fn(*const Tb) -> u64),
            insn_size: function!(c"qemu_plugin_insn_size" as unsafe extern "C" fn(*const Insn) -> usize),
            insn_host_address: function!(
                c"qemu_plugin_insn_haddr" as unsafe extern "C" fn(*const Insn) -> *const u8
            ),
            insn_data,
            copies_data: version() >= 3,
        })
    }

    /// Appends the bytes of an instruction to `bytes` and returns how many there are.
    ///
    /// # Safety
    /// `insn` must come from the translation callback that is running.
    pub unsafe fn append_insn(&self, insn: *const Insn, bytes: &mut Vec<u8>) -> usize {
        // SAFETY: the caller's promise; the two forms of `qemu_plugin_insn_data` are told apart by
        // version, and the lent form lends as many bytes as `insn_size` says.
        unsafe {
            let size = (self.insn_size)(insn).min(16);
            if self.copies_data {
                let copy: InsnDataCopied = std::mem::transmute(self.insn_data);
                let mut room = [0u8; 16];
                let got = copy(insn, room.as_mut_ptr().cast(), size).min(size);
                bytes.extend_from_slice(room.get(..got).unwrap_or(&[]));
                got
            } else {
                let lend: InsnDataLent = std::mem::transmute(self.insn_data);
                let data = lend(insn);
                if data.is_null() {
                    return 0;
                }
                bytes.extend_from_slice(std::slice::from_raw_parts(data, size));
                size
            }
        }
    }
}
