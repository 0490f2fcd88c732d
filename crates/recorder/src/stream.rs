//! The packets of one thread, and the recorder's own account of what it executed.
//!
//! A stream is a file: a page for [`Stream`] itself, which lives in the shared mapping while the
//! program runs, a page of padding, then packets. Packet formats are those of the Intel SDM, volume 3,
//! "Intel Processor Trace". This file holds the few packets that are written at every branch; it is
//! what decides how much a recorded program is slowed down.
//!
//! The truth (count and hash) is computed from instruction addresses alone and never from packets.
//!
//! This file is long because it holds one structure in shared memory, and what writes packets into it.

use std::ffi::CString;
use std::io;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{compiler_fence, Ordering};

use odograph_core::packet::{encode, mark, MARK_PERIOD};

use crate::block::{Block, Leave};
use crate::mapped::{c_path, next_size, Window, PAGE};
use crate::system::now;

/// First eight bytes of a stream file.
pub const MAGIC: u64 = u64::from_le_bytes(*b"ODOPT 1\n");
/// Where packets begin in the file.
pub const DATA: u64 = 2 * PAGE;
/// Packets between two PSBs, in bytes.
pub const PSB_PERIOD: usize = 4096;
/// What one call of [`Stream::leave_to`] and its companions may write at most, generously.
const MARGIN: usize = 1024;
/// Depth of the return stack of Intel processors' RET compression.
const RETURNS: usize = 64;
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// State of one thread's recording.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Stream {
    /// [`MAGIC`].
    pub magic: u64,
    /// 1 while an update is under way: a process that is killed meanwhile leaves this file in disorder.
    pub busy: u64,
    position: *mut u8,
    limit: *mut u8,
    block: *const Block,
    /// Address where the block now running began, 0 if tracing is off.
    pub current: u64,
    /// Last IP of the compression of addresses.
    pub last_ip: u64,
    /// TNT bits not yet written, below a stop bit.
    pub tnt: u64,
    /// Executed instructions.
    pub count: u64,
    /// Count at the last place that the packets so far tell of: a decided branch, a PSB, or where tracing went on.
    pub decided: u64,
    /// Their hash: for each address h = (rotl64(h, 5) ^ ip) * 0x9E3779B97F4A7C15, from 0.
    pub hash: u64,
    /// Version of the code this thread's trace is at.
    pub epoch: u64,
    returns_top: u64,
    returns_count: u64,
    window: Window,
    /// Thread id.
    pub tid: i32,
    /// True for a stream whose packets lead nowhere, after the disk was full. What is executed is still counted.
    pub discarding: bool,
    /// Length of the file when the disk was full, 0 if it never was.
    pub lost_length: u64,
    /// Count at that moment.
    pub lost_count: u64,
    /// At the last PSB: length of the file behind PSB+.
    pub psb_length: u64,
    /// At the last PSB: where execution was, 0 if tracing was off.
    pub psb_ip: u64,
    /// At the last PSB: count.
    pub psb_count: u64,
    /// At the last PSB: hash.
    pub psb_hash: u64,
    /// The emulator's register file of this thread, 0 if unknown.
    pub registers: u64,
    path: *const libc::c_char,
    returns: [u64; RETURNS],
}

const _: () = assert!(std::mem::size_of::<Stream>() <= PAGE as usize);

/// The bytes of a [`mark`].
pub fn mark_bytes(count: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(11);
    // A mark can always be encoded.
    let _ = encode(&mark(count), &mut bytes);
    bytes
}

impl Stream {
    /// Makes a stream file and maps it. It begins with a PSB while tracing is off, as a user-only
    /// trace does. `count` and `hash` go on from an earlier stream of the same thread.
    #[allow(clippy::mut_from_ref)] // The mapping is new; `off` is only kept.
    pub fn create(
        path: &Path,
        tid: i32,
        off: &'static Block,
        count: u64,
        hash: u64,
    ) -> io::Result<&'static mut Stream> {
        let path = c_path(path)?;
        let head = Window::map(&path, 0, DATA)?;
        let window = Window::map(&path, DATA, 64 << 10)?;
        // SAFETY: the mapping is a zeroed page of its own, aligned to a page, as large as a Stream and
        // never unmapped; zero bytes are a valid Stream. There is no other reference to it.
        let stream = unsafe { &mut *head.address.cast::<Stream>() };
        stream.magic = MAGIC;
        stream.tid = tid;
        stream.count = count;
        stream.decided = count;
        stream.hash = hash;
        stream.tnt = 1;
        stream.block = off;
        stream.path = CString::into_raw(path);
        stream.enter_window(window);
        stream.psb(0);
        Ok(stream)
    }

    /// A stream whose packets are thrown away.
    #[allow(clippy::mut_from_ref)] // The memory is new; `off` is only kept.
    pub fn discard(tid: i32, off: &'static Block) -> &'static mut Stream {
        // SAFETY: all fields are numbers, raw pointers and a bool, for which zero bytes are valid.
        let stream: &'static mut Stream = Box::leak(Box::new(unsafe { std::mem::zeroed() }));
        let room: &'static mut [u8] = Box::leak(vec![0; 64 << 10].into_boxed_slice());
        stream.tid = tid;
        stream.tnt = 1;
        stream.block = off;
        stream.discarding = true;
        stream.enter_window(Window { address: room.as_mut_ptr(), offset: 0, size: room.len() as u64 });
        stream
    }

    /// There is no room for more packets: tracing ends at `ip` (0 if it is off), counting goes on.
    #[cold]
    pub fn lose(&mut self, ip: u64) {
        if self.discarding {
            return;
        }
        if ip == 0 {
            self.flush_tnt();
        } else {
            self.interrupt(ip);
        }
        self.lost_length = self.length();
        self.lost_count = self.count;
        self.discarding = true;
        self.window.unmap();
        let room: &'static mut [u8] = Box::leak(vec![0; 64 << 10].into_boxed_slice());
        self.enter_window(Window { address: room.as_mut_ptr(), offset: 0, size: room.len() as u64 });
        self.decided = self.count;
        self.current = ip;
    }

    /// The block that is running.
    #[inline(always)]
    pub fn block(&self) -> &'static Block {
        // SAFETY: only `begin` and `create` set it, to blocks that are never freed.
        unsafe { &*self.block }
    }

    /// Marks the start and, with `false`, the end of an update.
    #[inline(always)]
    pub fn set_busy(&mut self, busy: bool) {
        compiler_fence(Ordering::SeqCst);
        // SAFETY: an ordinary field of ours; volatile because it is read after our death.
        unsafe { ptr::write_volatile(&mut self.busy, u64::from(busy)) };
        compiler_fence(Ordering::SeqCst);
    }

    /// `block` begins to run.
    #[inline(always)]
    pub fn begin(&mut self, block: &'static Block) {
        self.block = block;
        self.current = block.start;
    }

    /// True if `settle` has work to do.
    #[inline(always)]
    pub fn is_due(&self) -> bool {
        self.position >= self.limit
    }

    /// `block` was executed to its end and control went on to address `to`: writes what the
    /// processor would and counts. False, and nothing done, if `block` cannot lead there.
    #[inline(always)]
    pub fn leave_to(&mut self, block: &Block, to: u64) -> bool {
        match block.leave {
            Leave::Conditional => {
                if to == block.next {
                    self.tnt_bit(0);
                } else if to == block.target {
                    self.tnt_bit(1);
                } else {
                    return false;
                }
            }
            Leave::Through | Leave::Jump | Leave::Call => {
                if to != block.target {
                    return false;
                }
                if block.leave == Leave::Call {
                    self.push(block.next);
                }
                self.account(block, block.sizes.len());
                if self.count.wrapping_sub(self.decided) >= MARK_PERIOD {
                    self.limit = self.position;
                }
                return true;
            }
            Leave::Return => self.return_to(to),
            Leave::Indirect => self.tip(to),
            Leave::IndirectCall => {
                self.push(block.next);
                self.tip(to);
            }
            Leave::Repeat => {
                if to == block.last {
                    self.account(block, block.sizes.len() - 1);
                    return true;
                } else if to != block.next {
                    return false;
                }
                self.account(block, block.sizes.len());
                return true;
            }
            Leave::Off | Leave::Syscall | Leave::Interrupt => {
                self.leave_user(block);
                self.enable(to);
                return true;
            }
        }
        self.account(block, block.sizes.len());
        self.decided = self.count;
        true
    }

    /// Ends `block` where the kernel takes over: nothing for `Off`, otherwise its system call or
    /// software interrupt.
    pub fn leave_user(&mut self, block: &Block) {
        match block.leave {
            Leave::Off => {}
            Leave::Interrupt => {
                self.account(block, block.sizes.len() - 1);
                self.interrupt(block.last);
            }
            _ => {
                self.account(block, block.sizes.len());
                self.flush_tnt();
                self.byte(0x01);
            }
        }
        self.current = 0;
    }

    /// Counts the first `count` instructions of `block`.
    #[inline(always)]
    pub fn account(&mut self, block: &Block, count: usize) {
        let mut hash = self.hash;
        let mut ip = block.start;
        for size in block.sizes.iter().take(count) {
            hash = (hash.rotate_left(5) ^ ip).wrapping_mul(MULTIPLIER);
            ip = ip.wrapping_add(u64::from(*size));
        }
        self.hash = hash;
        self.count = self.count.wrapping_add(count as u64);
    }

    /// Control leaves the program before the instruction at `ip`: a mark, FUP, TIP.PGD.
    pub fn interrupt(&mut self, ip: u64) {
        self.flush_tnt();
        self.mark();
        self.address(0x1d, ip);
        self.byte(0x01);
        self.current = 0;
    }

    /// Control comes back to the program at `ip`: TSC, MODE.Exec, TIP.PGE.
    pub fn enable(&mut self, ip: u64) {
        self.tsc();
        self.bytes(&[0x99, 0x01]);
        self.address(0x11, ip);
        self.decided = self.count;
        self.current = ip;
    }

    /// Execution was lost up to now and goes on at `ip`: OVF, FUP.
    pub fn overflow(&mut self, ip: u64) {
        self.flush_tnt();
        self.bytes(&[0x02, 0xf3]);
        self.last_ip = 0;
        self.returns_count = 0;
        self.address(0x1d, ip);
        self.decided = self.count;
        self.current = ip;
    }

    /// From the bytes of a stream file's head: position, and address and file offset of the window it lies in.
    pub(crate) fn place(head: &[u8]) -> (u64, u64, u64) {
        let field = |offset: usize| {
            head.get(offset..offset + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
        };
        let window = std::mem::offset_of!(Stream, window);
        (
            field(std::mem::offset_of!(Stream, position)),
            field(window + std::mem::offset_of!(Window, address)),
            field(window + std::mem::offset_of!(Window, offset)),
        )
    }

    /// Everything that need not be done at every branch: more room and, if it is time or
    /// `force_psb`, a PSB. Execution is at `ip`, or tracing is off if that is 0.
    #[cold]
    pub fn settle(&mut self, ip: u64, force_psb: bool) -> io::Result<()> {
        if self.discarding {
            self.position = self.window.address;
            self.decided = self.count;
            self.set_limit();
            return Ok(());
        }
        if self.room() < 2 * MARGIN {
            let length = self.length();
            // SAFETY: `path` was made by `CString::into_raw` in `create` and is never freed.
            let path: CString = unsafe { std::ffi::CStr::from_ptr(self.path) }.to_owned();
            let offset = length / PAGE * PAGE;
            let window = Window::map(&path, offset, next_size(self.window.size))?;
            self.window.unmap();
            self.enter_window(window);
            // SAFETY: `length - offset` is less than a page and the window is larger.
            self.position = unsafe { self.position.add((length - offset) as usize) };
        }
        let long = self.count.wrapping_sub(self.decided) >= MARK_PERIOD;
        if force_psb || long || self.length().wrapping_sub(self.psb_length) >= PSB_PERIOD as u64 {
            self.psb(ip);
        }
        self.set_limit();
        Ok(())
    }

    /// Length of the file in bytes, head included.
    pub fn length(&self) -> u64 {
        self.window.offset + (self.position as u64).wrapping_sub(self.window.address as u64)
    }

    /// PSB, TSC, MODE.Exec and FUP where tracing is on, with a mark before; PSBEND. The FUP has its whole address and the
    /// return stack starts anew, so that any decoder can begin here.
    fn psb(&mut self, ip: u64) {
        self.flush_tnt();
        if ip != 0 {
            self.mark();
        }
        self.bytes(&[
            0x02, 0x82, 0x02, 0x82, 0x02, 0x82, 0x02, 0x82, 0x02, 0x82, 0x02, 0x82, 0x02, 0x82, 0x02, 0x82,
        ]);
        self.tsc();
        self.bytes(&[0x99, 0x01]);
        self.last_ip = 0;
        self.returns_count = 0;
        if ip != 0 {
            self.whole_address(0x1d, ip);
        }
        self.bytes(&[0x02, 0x23]);
        self.decided = self.count;
        self.psb_length = self.length();
        self.psb_ip = ip;
        self.psb_count = self.count;
        self.psb_hash = self.hash;
        self.set_limit();
    }

    /// Says how often code that writes no packets has been run through up to the address that follows.
    fn mark(&mut self) {
        self.bytes(&mark_bytes(self.count.wrapping_sub(self.decided)));
    }

    /// The time now.
    fn tsc(&mut self) {
        let time = now().to_le_bytes();
        self.byte(0x19);
        self.bytes(&[time[0], time[1], time[2], time[3], time[4], time[5], time[6]]);
    }

    #[inline(always)]
    fn tnt_bit(&mut self, bit: u64) {
        let bits = self.tnt << 1 | bit;
        if bits >= 1 << 6 {
            self.byte((bits << 1) as u8);
            self.tnt = 1;
        } else {
            self.tnt = bits;
        }
    }

    /// Writes the TNT bits that are waiting.
    #[inline(always)]
    pub fn flush_tnt(&mut self) {
        if self.tnt != 1 {
            self.byte((self.tnt << 1) as u8);
            self.tnt = 1;
        }
    }

    #[inline(always)]
    fn push(&mut self, address: u64) {
        self.returns_top = (self.returns_top + 1) % RETURNS as u64;
        self.returns[self.returns_top as usize] = address;
        self.returns_count = (self.returns_count + 1).min(RETURNS as u64);
    }

    /// A return to where the innermost call came from is one taken bit. Any other is a TIP, and
    /// forgets all calls: decoders differ in whether it pops.
    #[inline(always)]
    fn return_to(&mut self, to: u64) {
        let top = (self.returns_top % RETURNS as u64) as usize;
        if self.returns_count > 0 && self.returns[top] == to {
            self.returns_top = self.returns_top.wrapping_sub(1) % RETURNS as u64;
            self.returns_count -= 1;
            self.tnt_bit(1);
        } else {
            self.returns_count = 0;
            self.tip(to);
        }
    }

    #[inline(always)]
    fn tip(&mut self, to: u64) {
        self.flush_tnt();
        self.address(0x0d, to);
    }

    /// A packet with an address, compressed against the last one.
    #[inline(always)]
    fn address(&mut self, opcode: u8, ip: u64) {
        let changed = ip ^ self.last_ip;
        self.last_ip = ip;
        // SAFETY: at most 9 bytes where `MARGIN` are free behind the limit; see `put`.
        unsafe {
            if changed >> 16 == 0 {
                self.put(u64::from(opcode | 1 << 5) | (ip & 0xffff) << 8, 3);
            } else if changed >> 32 == 0 {
                self.put(u64::from(opcode | 2 << 5) | (ip & 0xffff_ffff) << 8, 5);
            } else {
                self.put_long(opcode, ip);
            }
        }
    }

    fn whole_address(&mut self, opcode: u8, ip: u64) {
        self.last_ip = ip;
        // SAFETY: as in `address`.
        unsafe { self.put_long(opcode, ip) };
    }

    /// # Safety
    /// 16 bytes must be free at the position.
    #[inline(always)]
    unsafe fn put_long(&mut self, opcode: u8, ip: u64) {
        // SAFETY: the caller's promise, twice.
        unsafe {
            if (ip as i64) << 16 >> 16 == ip as i64 {
                self.put(u64::from(opcode | 3 << 5) | ip << 8, 7);
            } else {
                self.put(u64::from(opcode | 6 << 5), 1);
                self.put(ip, 8);
            }
        }
    }

    /// # Safety
    /// 8 bytes must be free at the position, and `size` is at most 8.
    #[inline(always)]
    unsafe fn put(&mut self, bytes: u64, size: usize) {
        // SAFETY: the caller's promise; the position lies in the window, which is mapped for writing.
        unsafe {
            self.position.cast::<u64>().write_unaligned(bytes.to_le());
            self.position = self.position.add(size);
        }
    }

    #[inline(always)]
    fn byte(&mut self, byte: u8) {
        // SAFETY: callers write less than `MARGIN` between two calls of `settle`, which keeps twice
        // that much free; what is free never ends below the limit.
        unsafe {
            *self.position = byte;
            self.position = self.position.add(1);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.byte(*byte);
        }
    }

    fn room(&self) -> usize {
        (self.window.address as usize + self.window.size as usize).saturating_sub(self.position as usize)
    }

    fn enter_window(&mut self, window: Window) {
        self.position = window.address;
        self.window = window;
        self.set_limit();
    }

    fn set_limit(&mut self) {
        let room = self.room().saturating_sub(2 * MARGIN);
        let written = self.length().wrapping_sub(self.psb_length) as usize;
        let until_psb = if self.discarding { room } else { PSB_PERIOD.saturating_sub(written) };
        self.limit = self.position.wrapping_add(room.min(until_psb));
    }
}
