//! A library that is preloaded into the tracer (`LD_PRELOAD`) and keeps what the verifier says of each program that is accepted.
//!
//! In: the tracer's `bpf(2)` calls, which aya makes by libc's `syscall`; to those that load a program without a log it adds one of the verifier's
//! statistics (`BPF_LOG_STATS`). Out: a line for each in the file that `MTA_TRACE_VERIFIER_STATISTICS` names, the program's name in 15 bytes
//! and the log without its line ends. Not here: what is loaded and how; so the figures are those of the product's own programs.
//!
//! aya has a log of the programs that are refused only, and no way to get one of the others.
#![expect(unsafe_code, reason = "a function of libc is replaced")]

use std::{
    env,
    ffi::{CStr, c_char, c_long, c_void},
    fs::OpenOptions,
    io::{self, Write as _},
};

const SYS_BPF: c_long = if cfg!(target_arch = "aarch64") { 280 } else { 321 };
const BPF_PROG_LOAD: c_long = 5;
const BPF_LOG_STATS: u32 = 4;
const RTLD_NEXT: *mut c_void = usize::MAX as *mut c_void;
/// Of `union bpf_attr` for `BPF_PROG_LOAD`: where the log's level, size and address are, and the name.
const LOG: usize = 24;
const NAME: usize = 48;
const ATTR_BYTES: usize = 64;

type Syscall = unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// # Safety
///
/// What syscall(2) asks for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(number: c_long, a: c_long, b: c_long, c: c_long, d: c_long, e: c_long, f: c_long) -> c_long {
    // SAFETY: a function without conditions.
    let next = unsafe { dlsym(RTLD_NEXT, c"syscall".as_ptr()) };
    // SAFETY: libc's own; on both architectures its further arguments are passed as these are, however many it reads.
    let next = unsafe { std::mem::transmute::<*mut c_void, Syscall>(next) };
    let size = usize::try_from(c).unwrap_or(0);
    if number == SYS_BPF && a == BPF_PROG_LOAD && size >= ATTR_BYTES {
        // SAFETY: the kernel would read as much there.
        let attr = unsafe { std::slice::from_raw_parts(b as *const u8, size) };
        let (mut copy, mut log) = (attr.to_vec(), vec![0_u8; 1 << 16]);
        if add_log(&mut copy, &mut log).is_some() {
            // SAFETY: a copy of what the caller hands over, and the log's buffer, outlive the call.
            let result = unsafe { next(number, a, copy.as_mut_ptr() as c_long, c, d, e, f) };
            if result >= 0 {
                // Who reads the file sees what is missing.
                let _ = keep(&copy, &log);
            }
            return result;
        }
    }
    // SAFETY: the caller's own call.
    unsafe { next(number, a, b, c, d, e, f) }
}

/// None: the caller has a log.
fn add_log(attr: &mut [u8], log: &mut [u8]) -> Option<()> {
    let fields = attr.get_mut(LOG..LOG + 16)?;
    if fields.iter().any(|byte| *byte != 0) {
        return None;
    }
    let (level, size, address) = (BPF_LOG_STATS, u32::try_from(log.len()).ok()?, log.as_mut_ptr() as u64);
    fields.copy_from_slice(&[&level.to_ne_bytes()[..], &size.to_ne_bytes(), &address.to_ne_bytes()].concat());
    Some(())
}

/// Writes a line in one piece.
fn keep(attr: &[u8], log: &[u8]) -> io::Result<()> {
    let text = |bytes| CStr::from_bytes_until_nul(bytes).map(|text| text.to_string_lossy().replace('\n', " ")).unwrap_or_default();
    let Some(path) = env::var_os("MTA_TRACE_VERIFIER_STATISTICS") else { return Ok(()) };
    let line = format!("{} {}\n", text(attr.get(NAME..ATTR_BYTES).unwrap_or_default()), text(log));
    OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())
}
