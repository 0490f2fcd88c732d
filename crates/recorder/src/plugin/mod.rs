//! The QEMU plugin: QEMU tells of blocks it translates and of each start of one; out come streams.
//!
//! A block that starts says how the one before it ended. What does not fit is looked at more closely
//! in [`arrive`]: signal handlers, and QEMU running an instruction again in a block of its own.
//!
//! This file is long because it holds what QEMU calls, and the state that all of that shares.

mod hook;
mod registers;

use std::collections::{HashMap, HashSet};
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::OnceLock;

use crate::abi::{self, Functions, Id, Info, Tb};
use crate::arguments::Arguments;
use crate::block::{Block, Leave, HANDLER, SINGLE, WATCHED};
use crate::code::Learned;
use crate::descriptor;
use crate::exec;
use crate::executed::Executed;
use crate::lock::Lock;
use crate::mapped::ReadOnly;
use crate::mappings;
use crate::maps;
use crate::process::{quoted, Origin, Process};
use crate::signal::{self, Delivery, Entry};
use crate::stream::Stream;
use crate::system::{inode, is_memory_file, peek, peek_string, peek_word, pid, tid};
use crate::watch::{written_descriptor, Watch};

use registers::number;

const THREADS: usize = 1 << 16;
/// What a command line may hold, as in Linux.
const LONGEST_STRING: usize = 128 << 10;
/// How many times a process tells of code that QEMU did not see change.
const MOST_STALE: u32 = 16;
/// Advice after which memory has other content.
const DROPPING: [c_int; 4] =
    [libc::MADV_DONTNEED, libc::MADV_REMOVE, libc::MADV_FREE, libc::MADV_DONTNEED_LOCKED];
/// The bit of `mmap`'s flags for both kinds of shared mappings.
const MAP_SHARED: u64 = libc::MAP_SHARED as u64;

static STREAMS: [AtomicPtr<Stream>; THREADS] = [const { AtomicPtr::new(ptr::null_mut()) }; THREADS];
/// One more than the highest used index of `STREAMS`.
static THREADS_SEEN: AtomicUsize = AtomicUsize::new(0);
/// Counts changes of code that was executed already; each stream has a PSB at each.
static EPOCH: AtomicU64 = AtomicU64::new(0);
static STOPPING: AtomicBool = AtomicBool::new(false);
static GUEST_BASE: AtomicU64 = AtomicU64::new(0);
static PLUGIN: OnceLock<Plugin> = OnceLock::new();
static STATE: Lock<Option<State>> = Lock::new(None);
static OFF: OnceLock<Block> = OnceLock::new();

struct Plugin {
    functions: Functions,
    arguments: Arguments,
    /// The content of the program's file, in case that is deleted.
    program: Option<ReadOnly>,
}

struct State {
    process: Process,
    blocks: HashMap<u64, Vec<&'static Block>>,
    watch: Watch,
    /// Of the mappings that `watch` knows.
    watched_version: u64,
    stale: u32,
    handlers: HashSet<u64>,
    /// Count and hash of threads that ended, for one with the same number.
    ended: HashMap<i32, (u64, u64)>,
    based: bool,
    complained: bool,
}

/// The interface version we were written for; QEMU reads it before it calls us.
#[no_mangle]
pub static mut qemu_plugin_version: c_int = 1;

#[used]
#[cfg_attr(target_os = "linux", link_section = ".init_array")]
static DECLARE_VERSION: extern "C" fn() = {
    extern "C" fn declare() {
        // SAFETY: runs once, before anybody else of this process can see the variable.
        unsafe { qemu_plugin_version = abi::version() };
    }
    declare
};

/// QEMU calls this once.
///
/// # Safety
/// To be called by QEMU only, with what its documentation promises.
#[no_mangle]
pub unsafe extern "C" fn qemu_plugin_install(
    id: Id,
    info: *const Info,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: QEMU passes `argc` C strings and a description that lives as long as this call.
    let result = unsafe {
        let options =
            (0..usize::try_from(argc).unwrap_or(0)).map(|at| CStr::from_ptr(*argv.add(at)).to_bytes());
        install(id, &*info, Arguments::parse(options))
    };
    match result {
        Ok(()) => 0,
        Err(reason) => {
            eprintln!("odograph: cannot record under QEMU: {reason}");
            -1
        }
    }
}

/// # Safety
/// As for `qemu_plugin_install`.
unsafe fn install(id: Id, info: &Info, arguments: Result<Arguments, String>) -> Result<(), String> {
    let arguments = arguments?;
    // SAFETY: a C string of QEMU's.
    let target = unsafe { CStr::from_ptr(info.target_name) };
    if target != c"x86_64" || info.system_emulation {
        return Err("only qemu-x86_64 (user mode) can record".to_owned());
    }
    let functions =
        Functions::find().map_err(|name| format!("this QEMU has no {}", name.to_string_lossy()))?;
    let name = comm(&arguments.program);
    // SAFETY: has no preconditions.
    let parent = unsafe { libc::getppid() };
    let process = Process::start(&arguments.spool, pid(), parent, arguments.origin, &name)
        .map_err(|error| format!("{}: {error}", arguments.spool.display()))?;
    *STATE.lock() = Some(State {
        process,
        blocks: HashMap::new(),
        watch: Watch::default(),
        watched_version: 0,
        stale: 0,
        handlers: HashSet::new(),
        ended: HashMap::from([(pid(), arguments.truth)]),
        based: false,
        complained: false,
    });
    OFF.get_or_init(Block::off);
    if !hook::install() {
        with_state(|state| state.process.event("note", "the end by a signal will not be seen exactly"));
    }
    let program = ReadOnly::map(&arguments.program).ok();
    descriptor::found(&arguments.program);
    PLUGIN.set(Plugin { functions, arguments, program }).map_err(|_| "it is loaded twice".to_owned())?;
    // SAFETY: functions of this library, which QEMU never unloads.
    unsafe {
        libc::pthread_atfork(Some(before_fork), Some(after_fork_in_parent), Some(after_fork_in_child));
        (functions.on_translation)(id, translated);
        (functions.on_syscall)(id, syscall_begins);
        (functions.on_syscall_return)(id, syscall_returned);
    }
    Ok(())
}

fn comm(program: &Path) -> Vec<u8> {
    let mut name = descriptor::name(program);
    name.truncate(15);
    name
}

fn off() -> &'static Block {
    OFF.get_or_init(Block::off)
}

/// Does something with the state and says on standard error, once, if the disk is full.
fn with_state<T>(work: impl FnOnce(&mut State) -> std::io::Result<T>) -> Option<T> {
    let mut guard = STATE.lock();
    let state = guard.as_mut()?;
    match work(state) {
        Ok(value) => Some(value),
        Err(error) => {
            // The rest of a recording whose directory is gone is of no use.
            if !state.complained && state.process.spool().exists() {
                state.complained = true;
                state.process.mark_lost();
                eprintln!("odograph: part of the recording is lost: {error}");
            }
            None
        }
    }
}

unsafe extern "C" fn translated(_: Id, tb: *mut Tb) {
    let Some(plugin) = PLUGIN.get() else { return };
    let functions = &plugin.functions;
    let mut bytes = Vec::new();
    let mut sizes = Vec::new();
    // SAFETY: `tb` and its instructions are valid during this callback.
    let (start, host) = unsafe {
        for at in 0..(functions.tb_size)(tb) {
            sizes.push(functions.append_insn((functions.tb_insn)(tb, at), &mut bytes));
        }
        ((functions.tb_address)(tb), (functions.insn_host_address)((functions.tb_insn)(tb, 0)) as u64)
    };
    let mut rest = bytes.as_slice();
    let instructions = sizes.iter().map(|size| {
        let (one, others) = rest.split_at((*size).min(rest.len()));
        rest = others;
        one
    });
    let Some(block) = Block::new(start, instructions) else { return };
    let block = with_state(|state| {
        if !state.based {
            state.based = true;
            let base = host.wrapping_sub(start);
            if host != 0 && *peek(host, block.code.len()) == *block.code {
                GUEST_BASE.store(base, Ordering::Relaxed);
                state.process.set_guest_base(base);
            }
        }
        let block = state.block(block);
        let learned = state.process.learn(start, &block.code, read_maps);
        state.watch_block(block);
        if matches!(learned, Ok(Learned::Changed)) {
            EPOCH.fetch_add(1, Ordering::Relaxed);
        }
        Ok((block, learned.err()))
    });
    let Some((block, error)) = block else { return };
    if let Some(error) = error {
        with_state(|_| Err::<(), _>(error));
    }
    // SAFETY: `tb` is valid and `block` is never freed.
    unsafe { (functions.on_execution)(tb, registers::callback(), 0, ptr::from_ref(block) as *mut c_void) };
}

fn read_maps() -> Vec<u8> {
    std::fs::read("/proc/self/maps").unwrap_or_default()
}

impl State {
    /// `block`, or the one that was made earlier of the same code.
    fn block(&mut self, block: Block) -> &'static Block {
        let handler = self.handlers.contains(&block.start);
        let same = self.blocks.entry(block.start).or_default();
        if let Some(known) = same.iter().find(|known| known.code == block.code) {
            return known;
        }
        if handler {
            block.mark_handler();
        }
        let block: &'static Block = Box::leak(Box::new(block));
        same.push(block);
        block
    }

    /// Watches a block that was translated, if it has to be.
    fn watch_block(&mut self, block: &Block) {
        let (mappings, version) = self.process.current_mappings(read_maps);
        let grown = self.watched_version != version && self.watch.learn(mappings);
        self.watched_version = version;
        if maps::find(mappings, block.start).is_some_and(|map| self.watch.includes(map)) {
            block.watch(true);
        }
        if grown {
            self.watch_all();
        }
    }

    /// More is to be watched than before.
    fn watch_all(&mut self) {
        let (mappings, _) = self.process.current_mappings(read_maps);
        for block in self.blocks.values().flatten() {
            if maps::find(mappings, block.start).is_some_and(|map| self.watch.includes(map)) {
                block.watch(true);
            }
        }
    }
}

/// Tells it if memory at `block`, which is about to run, has changed since QEMU translated it.
fn look_for_stale(tid: i32, block: &Block) {
    let memory = peek(block.start.wrapping_add(GUEST_BASE.load(Ordering::Relaxed)), block.code.len());
    if memory.len() != block.code.len() || *memory == *block.code {
        return;
    }
    block.watch(false);
    let text = format!(
        "QEMU did not notice that the code at {:#x} was changed through another mapping, a file or /proc, and ran \
         what was there before; from here on the program may do other things than without QEMU",
        block.start
    );
    with_state(|state| {
        state.stale += 1;
        if state.stale > MOST_STALE {
            return Ok(());
        }
        state.process.gap(tid, "stale", &text)
    });
}

/// `block` starts on virtual processor `vcpu`, whose registers may be at `registers`.
///
/// # Safety
/// Only for QEMU, which passes the block that was registered.
pub(crate) unsafe extern "C" fn executed(vcpu: u32, block: *const Block, registers: u64) {
    // SAFETY: blocks are never freed.
    let block: &'static Block = unsafe { &*block };
    let Some(slot) = STREAMS.get(vcpu as usize) else { return };
    let mut stream = slot.load(Ordering::Relaxed);
    if stream.is_null() {
        stream = new_stream(vcpu as usize, block, registers);
    }
    // SAFETY: the slot holds a stream that only the thread of this processor uses, and is never freed.
    let stream = unsafe { &mut *stream };
    stream.set_busy(true);
    let before = stream.block();
    if block.flags() != 0 || !stream.leave_to(before, block.start) {
        arrive(stream, before, block);
    }
    stream.begin(block);
    if stream.is_due() || stream.epoch != EPOCH.load(Ordering::Relaxed) {
        settle(stream, vcpu as usize, block.start);
    }
    stream.set_busy(false);
}

/// The first block of a thread.
#[cold]
fn new_stream(vcpu: usize, block: &'static Block, registers: u64) -> *mut Stream {
    let tid = tid();
    let made = with_state(|state| {
        let path = state.process.thread(tid, pid())?;
        let (count, hash) = state.ended.remove(&tid).unwrap_or((0, 0));
        Stream::create(&path, tid, off(), count, hash)
    });
    let stream = made.unwrap_or_else(|| lose(tid));
    let found = registers != 0 && registers::read(registers, number::RIP) == Some(block.start);
    stream.registers = if found { registers } else { 0 };
    stream.epoch = EPOCH.load(Ordering::Relaxed);
    THREADS_SEEN.fetch_max(vcpu + 1, Ordering::Relaxed);
    let stream = ptr::from_mut(stream);
    if let Some(slot) = STREAMS.get(vcpu) {
        slot.store(stream, Ordering::Relaxed);
    }
    stream
}

fn lose(tid: i32) -> &'static mut Stream {
    with_state(|state| state.process.gap(tid, "lost", "the recording of this thread could not be written"));
    Stream::discard(tid, off())
}

/// What has to be done now and then, and at once when code changed or the program ends.
#[cold]
fn settle(stream: &mut Stream, vcpu: usize, ip: u64) {
    let epoch = EPOCH.load(Ordering::Relaxed);
    let force = stream.epoch != epoch && !stream.discarding;
    stream.epoch = epoch;
    if STOPPING.load(Ordering::Relaxed) && !stream.discarding {
        stop(stream, vcpu, ip);
    } else if let Err(error) = stream.settle(ip, force) {
        stream.lose(ip);
        let complained =
            STATE.lock().as_mut().is_none_or(|state| std::mem::replace(&mut state.complained, true));
        if !complained {
            eprintln!("odograph: thread {} is counted, but no longer recorded: {error}", stream.tid);
        }
    }
}

/// Ends the stream at `ip`; the thread goes on without being recorded.
fn stop(stream: &mut Stream, vcpu: usize, ip: u64) {
    if ip != 0 {
        stream.interrupt(ip);
    }
    stream.begin(off());
    stream.set_busy(false);
    if let Some(slot) = STREAMS.get(vcpu) {
        slot.store(Stream::discard(stream.tid, off()), Ordering::Relaxed);
    }
}

/// `block` starts after `before` in a way that needs a second look.
#[cold]
fn arrive(stream: &mut Stream, before: &Block, block: &Block) {
    let to = block.start;
    if block.flags() & WATCHED != 0 {
        look_for_stale(stream.tid, block);
    }
    if block.flags() & HANDLER != 0 && stream.registers != 0 {
        if let Some(entry) = entry(stream.registers, to) {
            let base = GUEST_BASE.load(Ordering::Relaxed);
            let memory = |address: u64, size| peek(address.wrapping_add(base), size);
            let handlers = STATE.lock().as_ref().map(|state| state.handlers.clone()).unwrap_or_default();
            let deliveries = signal::deliveries(&entry, memory, |ip| handlers.contains(&ip));
            if !deliveries.is_empty() {
                deliver(stream, before, &deliveries);
                return;
            }
        }
    }
    let again = before.leave != Leave::Off && before.index_of(to).is_some();
    let indirect = matches!(before.leave, Leave::Return | Leave::Indirect | Leave::IndirectCall);
    if again && indirect && block.flags() & SINGLE != 0 {
        restart(stream, before, to);
    } else if !stream.leave_to(before, to) {
        if again {
            restart(stream, before, to);
        } else {
            unexplained(stream, before, to);
        }
    }
}

/// QEMU gave up `before` at the instruction at `to` and runs that again.
fn restart(stream: &mut Stream, before: &Block, to: u64) {
    if let Some(done) = before.index_of(to) {
        stream.account(before, done);
    }
}

fn unexplained(stream: &mut Stream, before: &Block, to: u64) {
    stream.overflow(to);
    let text = format!("control went from the code at {:#x} to {to:#x} in an unknown way", before.start);
    let tid = stream.tid;
    with_state(|state| state.process.gap(tid, "unexplained", &text));
}

fn entry(registers: u64, ip: u64) -> Option<Entry> {
    let read = |number| registers::read(registers, number);
    Some(Entry {
        ip,
        rsp: read(number::RSP)?,
        rdi: read(number::RDI)?,
        rsi: read(number::RSI)?,
        rdx: read(number::RDX)?,
    })
}

/// Signals were delivered after `before`, or in it.
fn deliver(stream: &mut Stream, before: &Block, deliveries: &[Delivery]) {
    for (number, delivery) in deliveries.iter().enumerate() {
        if number == 0 {
            interrupted(stream, before, delivery.interrupted, delivery.fault);
        } else {
            stream.interrupt(delivery.interrupted);
        }
        stream.enable(delivery.handler);
    }
}

/// Execution was at `ip`, in or after `before`, when the kernel took over.
fn interrupted(stream: &mut Stream, before: &Block, ip: u64, fault: bool) {
    if matches!(before.leave, Leave::Off | Leave::Syscall | Leave::Interrupt)
        && !(fault && before.last != ip && before.index_of(ip).is_some())
    {
        stream.leave_user(before);
        return;
    }
    let inside = before.index_of(ip);
    match inside {
        Some(done) if fault => stream.account(before, done),
        _ if stream.leave_to(before, ip) => {}
        Some(done) => stream.account(before, done),
        None => unexplained(stream, before, ip),
    }
    stream.interrupt(ip);
}

/// Called by the thread that a signal is about to end the process from.
pub(crate) fn dying(signal: c_int) {
    let me = tid();
    let seen = THREADS_SEEN.load(Ordering::Relaxed).min(THREADS);
    for slot in STREAMS.iter().take(seen) {
        let stream = slot.load(Ordering::Relaxed);
        // SAFETY: streams are never freed; a thread number is written before the stream is published.
        if stream.is_null() || unsafe { (*stream).tid } != me {
            continue;
        }
        // SAFETY: this thread's own stream, which no other thread writes to.
        let stream = unsafe { &mut *stream };
        stream.set_busy(true);
        let before = stream.block();
        let found = if stream.registers == 0 { None } else { registers::read(stream.registers, number::RIP) };
        let ip = found.unwrap_or(before.start);
        if before.leave != Leave::Off {
            interrupted(stream, before, ip, signal::is_fault(signal as u64));
        }
        stream.begin(off());
        stream.set_busy(false);
        with_state(|state| state.process.event("killed", &format!("{me}\t{signal}\t{ip}")));
    }
    quiesce(me);
}

/// The process is about to end: lets every other thread complete its stream, for a moment at most.
fn quiesce(me: i32) {
    STOPPING.store(true, Ordering::SeqCst);
    EPOCH.fetch_add(1, Ordering::SeqCst);
    let seen = THREADS_SEEN.load(Ordering::Relaxed).min(THREADS);
    for _ in 0..200 {
        let running = STREAMS.iter().take(seen).any(|slot| {
            let stream = slot.load(Ordering::Relaxed);
            // SAFETY: streams are never freed; these fields are words, and a stale value only means
            // that we wait a little longer or shorter.
            !stream.is_null()
                && unsafe { (*stream).tid != me && (*stream).current != 0 && !(*stream).discarding }
        });
        if !running {
            return;
        }
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
}

unsafe extern "C" fn syscall_begins(
    _: Id,
    vcpu: u32,
    syscall: i64,
    a1: u64,
    a2: u64,
    a3: u64,
    a4: u64,
    a5: u64,
    _a6: u64,
    _a7: u64,
    _a8: u64,
) {
    let Some(slot) = STREAMS.get(vcpu as usize) else { return };
    let stream = slot.load(Ordering::Relaxed);
    if stream.is_null() {
        return;
    }
    // SAFETY: this thread's own stream.
    let stream = unsafe { &mut *stream };
    stream.set_busy(true);
    let before = stream.block();
    stream.leave_user(before);
    stream.begin(off());
    if stream.is_due() {
        settle(stream, vcpu as usize, 0);
    }
    stream.set_busy(false);
    let base = GUEST_BASE.load(Ordering::Relaxed);
    match syscall {
        libc::SYS_exit => {
            let ended = (stream.count, stream.hash);
            let tid = stream.tid;
            slot.store(ptr::null_mut(), Ordering::Relaxed);
            with_state(|state| {
                state.ended.insert(tid, ended);
                state.process.event("exit", &format!("{tid}"))
            });
        }
        libc::SYS_exit_group => quiesce(stream.tid),
        libc::SYS_rt_sigaction if a2 != 0 => {
            if let Some(handler) = peek_word(a2.wrapping_add(base)) {
                handles(handler);
            }
        }
        number if mappings::changes(number) => {
            let tid = stream.tid;
            with_state(|state| {
                state.process.mappings_change(tid);
                Ok(())
            });
            if let (libc::SYS_mmap, true, Some(file)) = (number, a4 & MAP_SHARED != 0, inode(a5 as c_int)) {
                watch_more(|watch| watch.written(file));
            }
        }
        libc::SYS_madvise if DROPPING.contains(&(a3 as c_int)) => {
            with_state(|state| {
                let dropped = |block: &&&'static Block| block.start.wrapping_sub(a1) < a2;
                state.blocks.values().flatten().filter(dropped).for_each(|block| block.watch(true));
                Ok(())
            });
        }
        libc::SYS_process_vm_writev => watch_more(Watch::memory_written),
        libc::SYS_prctl if a1 == libc::PR_SET_NAME as u64 => {
            let name = peek(a2.wrapping_add(base), 16);
            let name = quoted(name.split(|byte| *byte == 0).next().unwrap_or(&[]));
            let tid = stream.tid;
            with_state(|state| state.process.event("comm", &format!("{tid}\t{name}")));
        }
        libc::SYS_execve => {
            let path = peek_string(a1.wrapping_add(base), libc::PATH_MAX as usize);
            follow(stream, path.and_then(|path| Executed::new(path, None)), a2, a3);
        }
        libc::SYS_execveat => {
            let path = peek_string(a2.wrapping_add(base), libc::PATH_MAX as usize);
            let from = Some((a1 as c_int, a5 as c_int));
            follow(stream, path.and_then(|path| Executed::new(path, from)), a3, a4);
        }
        _ => {
            if let Some(descriptor) = written_descriptor(syscall, [a1, a2, a3]) {
                written(descriptor);
            }
        }
    }
}

/// Watches more code if `learn` says that there is more to be watched.
fn watch_more(learn: impl FnOnce(&mut Watch) -> bool) {
    with_state(|state| {
        if learn(&mut state.watch) {
            state.watch_all();
        }
        Ok(())
    });
}

/// The program writes to a file, which may be one whose code it runs, or memory itself.
fn written(descriptor: c_int) {
    if is_memory_file(descriptor) {
        watch_more(Watch::memory_written);
    }
    if let Some(inode) = inode(descriptor) {
        with_state(|state| {
            if state.process.has_executed(inode) && state.watch.written(inode) {
                state.watch_all();
            }
            Ok(())
        });
    }
}

/// Blocks at `handler` may from now on be starts of a signal handler.
fn handles(handler: u64) {
    if handler > 1 {
        with_state(|state| {
            if state.handlers.insert(handler) {
                for known in state.blocks.get(&handler).into_iter().flatten() {
                    known.mark_handler();
                }
            }
            Ok(())
        });
    }
}

/// The program asks to be replaced by another: starts that under QEMU with this plugin. Comes back
/// if that is not possible; QEMU then asks the kernel, which has its own answer.
fn follow(stream: &Stream, executed: Option<Executed>, argv: u64, envp: u64) {
    let Some(plugin) = PLUGIN.get() else { return };
    let (Some(executed), Some(words), Some(environment)) = (executed, strings(argv), strings(envp)) else {
        return;
    };
    let tid = stream.tid;
    match executed.resolve(&plugin.arguments.program, plugin.program.as_ref(), &words) {
        Ok((program, _reached)) => {
            let arguments = Arguments {
                origin: Origin::Exec,
                truth: truth_of_leader(stream),
                ..plugin.arguments.clone()
            };
            let (line, environment) = exec::command(&arguments, &program, environment);
            replace(&line, &environment);
        }
        Err(reason) => {
            let reason = quoted(reason.as_bytes());
            with_state(|state| state.process.event("native", &format!("{tid}\t{reason}")));
        }
    }
}

/// Exec makes the calling thread the first one, which counts on from where the old first one was.
fn truth_of_leader(stream: &Stream) -> (u64, u64) {
    let leader = pid();
    if stream.tid == leader {
        return (stream.count, stream.hash);
    }
    let seen = THREADS_SEEN.load(Ordering::Relaxed).min(THREADS);
    let found = STREAMS.iter().take(seen).map(|slot| slot.load(Ordering::Relaxed)).find(|other| {
        // SAFETY: streams are never freed.
        !other.is_null() && unsafe { (**other).tid } == leader
    });
    // SAFETY: as above; the first thread normally waits in a system call now and does not count.
    found.map_or((0, 0), |other| unsafe { ((*other).count, (*other).hash) })
}

/// The strings of an argument vector of the program, `None` if they cannot be read.
fn strings(vector: u64) -> Option<Vec<Vec<u8>>> {
    let base = GUEST_BASE.load(Ordering::Relaxed);
    let mut all = Vec::new();
    let mut at = vector;
    while at != 0 {
        let string = peek_word(at.wrapping_add(base))?;
        if string == 0 {
            break;
        }
        all.push(peek_string(string.wrapping_add(base), LONGEST_STRING)?);
        at = at.wrapping_add(8);
    }
    Some(all)
}

/// Executes a command line; comes back only if that failed.
fn replace(line: &[Vec<u8>], environment: &[Vec<u8>]) {
    let owned = |words: &[Vec<u8>]| {
        words.iter().map(|word| CString::new(word.as_slice())).collect::<Result<Vec<_>, _>>()
    };
    let (Ok(line), Ok(environment)) = (owned(line), owned(environment)) else { return };
    let pointers = |words: &[CString]| {
        words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect::<Vec<*const c_char>>()
    };
    let (argv, envp) = (pointers(&line), pointers(&environment));
    if let Some(path) = line.first() {
        // SAFETY: both arrays hold C strings that live until here and end in a null pointer.
        unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    }
}

unsafe extern "C" fn syscall_returned(_: Id, vcpu: u32, syscall: i64, result: i64) {
    let executes = syscall == libc::SYS_execve || syscall == libc::SYS_execveat;
    if !executes && !mappings::changes(syscall) {
        return;
    }
    let stream = STREAMS.get(vcpu as usize).map_or(ptr::null_mut(), |slot| slot.load(Ordering::Relaxed));
    if stream.is_null() {
        return;
    }
    // SAFETY: this thread's own stream.
    let tid = unsafe { (*stream).tid };
    with_state(|state| {
        if executes {
            return state.process.event("execfailed", &format!("{tid}\t{result}"));
        }
        state.process.mappings_changed(tid);
        Ok(())
    });
}

unsafe extern "C" fn before_fork() {
    std::mem::forget(STATE.lock());
}

unsafe extern "C" fn after_fork_in_parent() {
    // SAFETY: `before_fork` took the lock in this thread and forgot the guard.
    unsafe { STATE.release() };
}

unsafe extern "C" fn after_fork_in_child() {
    // SAFETY: as in the parent; this is the only thread here.
    unsafe { STATE.release() };
    for slot in &STREAMS[..THREADS_SEEN.load(Ordering::Relaxed).min(THREADS)] {
        slot.store(ptr::null_mut(), Ordering::Relaxed);
    }
    let Some(plugin) = PLUGIN.get() else { return };
    with_state(|state| {
        state.ended.clear();
        state.process.fork(pid(), &comm(&plugin.arguments.program))
    });
}
