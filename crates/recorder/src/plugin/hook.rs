//! Learning of a deadly signal in time.
//!
//! When a signal kills its guest, QEMU restores the default action and calls `kill` on itself;
//! plugins are not told. So the entry of `kill` in the main program's table of imported functions is
//! replaced by one of ours, which completes the recording and goes on to the C library's.
//!
//! In the same way QEMU's own words about the death are kept from the program's standard error.

use std::ffi::{c_char, c_int, c_void, CStr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use libc::{dl_phdr_info, Elf64_Phdr, Elf64_Sym};

#[repr(C)]
#[derive(Clone, Copy)]
struct Dyn {
    tag: i64,
    value: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Rela {
    offset: u64,
    info: u64,
    addend: i64,
}

static INSTALLED: AtomicBool = AtomicBool::new(false);

unsafe extern "C" fn our_kill(pid: libc::pid_t, signal: c_int) -> c_int {
    if pid == crate::system::pid() {
        crate::plugin::dying(signal);
    }
    // SAFETY: what the caller meant to do.
    unsafe { libc::kill(pid, signal) }
}

/// True if QEMU is about to print its notice of a guest that a signal kills.
#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn is_notice(format: *const c_char) -> bool {
    // SAFETY: the format of a printf is a C string.
    !format.is_null()
        && unsafe { CStr::from_ptr(format) }.to_bytes().starts_with(b"qemu: uncaught target signal")
}

// `__fprintf_chk(stream, flag, format, ...)`: answers 0 for the notice and otherwise continues in the
// C library's function with all registers and the stack as they came.
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    ".globl odograph_fprintf_chk",
    ".hidden odograph_fprintf_chk",
    ".type odograph_fprintf_chk, @function",
    "odograph_fprintf_chk:",
    "push rdi",
    "push rsi",
    "push rdx",
    "push rcx",
    "push r8",
    "push r9",
    "push rax",
    "mov rdi, rdx",
    "call {is_notice}",
    "movzx r11d, al",
    "pop rax",
    "pop r9",
    "pop r8",
    "pop rcx",
    "pop rdx",
    "pop rsi",
    "pop rdi",
    "test r11d, r11d",
    "jnz 2f",
    "jmp qword ptr [rip + {real}]",
    "2:",
    "xor eax, eax",
    "ret",
    is_notice = sym is_notice,
    real = sym FPRINTF_CHK,
);

#[cfg(target_arch = "x86_64")]
extern "C" {
    fn odograph_fprintf_chk();
}

/// The C library's `__fprintf_chk`.
static FPRINTF_CHK: AtomicUsize = AtomicUsize::new(0);

/// Our function in the place of the imported function `name`.
fn replacement(name: &CStr) -> Option<usize> {
    if name == c"kill" {
        return Some(our_kill as *const () as usize);
    }
    #[cfg(target_arch = "x86_64")]
    if name == c"__fprintf_chk" {
        // SAFETY: looking up a name has no other effect.
        let real = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) } as usize;
        FPRINTF_CHK.store(real, Ordering::Relaxed);
        return (real != 0).then_some(odograph_fprintf_chk as *const () as usize);
    }
    None
}

/// Puts the hook in place; false if the table has no such entry.
pub fn install() -> bool {
    // SAFETY: the callback below is called with valid descriptions of loaded objects.
    unsafe { libc::dl_iterate_phdr(Some(first_object), std::ptr::null_mut()) };
    INSTALLED.load(Ordering::Relaxed)
}

/// The first object is the main program.
unsafe extern "C" fn first_object(info: *mut dl_phdr_info, _: usize, _: *mut c_void) -> c_int {
    // SAFETY: the loader passes a valid description whose program headers are mapped, and the dynamic
    // section of a loaded program, its tables included, stays mapped and well formed.
    unsafe { patch(&*info) };
    1
}

/// # Safety
/// `info` must describe the running main program.
unsafe fn patch(info: &dl_phdr_info) -> Option<()> {
    const PT_DYNAMIC: u32 = 2;
    const JUMP_SLOTS: [u64; 4] = [7, 6, 1025, 1026];
    // SAFETY: by the promise all tables named by the dynamic section are mapped where it says.
    unsafe {
        let headers: &[Elf64_Phdr] = std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum));
        let dynamic = headers.iter().find(|header| header.p_type == PT_DYNAMIC)?;
        let mut entry = (info.dlpi_addr + dynamic.p_vaddr) as *const Dyn;
        let (mut symbols, mut strings, mut tables) = (0u64, 0u64, [(0u64, 0u64); 2]);
        while (*entry).tag != 0 {
            match (*entry).tag {
                6 => symbols = (*entry).value,
                5 => strings = (*entry).value,
                23 => tables[0].0 = (*entry).value,
                2 => tables[0].1 = (*entry).value,
                7 => tables[1].0 = (*entry).value,
                8 => tables[1].1 = (*entry).value,
                _ => {}
            }
            entry = entry.add(1);
        }
        if symbols == 0 || strings == 0 {
            return None;
        }
        for (table, size) in tables {
            for at in 0..size / std::mem::size_of::<Rela>() as u64 {
                let relocation = *(table as *const Rela).add(at as usize);
                if !JUMP_SLOTS.contains(&(relocation.info & 0xffff_ffff)) {
                    continue;
                }
                let symbol = *(symbols as *const Elf64_Sym).add((relocation.info >> 32) as usize);
                let name = CStr::from_ptr((strings + u64::from(symbol.st_name)) as *const libc::c_char);
                if let Some(ours) = replacement(name) {
                    replace((info.dlpi_addr + relocation.offset) as *mut usize, ours);
                }
            }
        }
    }
    Some(())
}

/// # Safety
/// `slot` must be an entry in a table of imported functions, and `ours` a function of the same type.
unsafe fn replace(slot: *mut usize, ours: usize) {
    let page = slot as usize & !0xfff;
    // SAFETY: the table is ordinary data of the program that the loader made read-only after filling
    // it; one aligned word of it is replaced by the address of a function of the same type.
    unsafe {
        if libc::mprotect(page as *mut c_void, 0x1000, libc::PROT_READ | libc::PROT_WRITE) == 0 {
            slot.write_volatile(ours);
            libc::mprotect(page as *mut c_void, 0x1000, libc::PROT_READ);
            INSTALLED.store(true, Ordering::Relaxed);
        }
    }
}
