#![expect(unsafe_code, reason = "plain data is declared to aya")]
//! The eBPF object: loaded with the running kernel's offsets, and every hook of the table attached.
//!
//! Order: load; attach fork, exec, exit and the scheduler; the caller sets the bits of what is traced; attach the system
//! calls. A hook that cannot be attached is an error with its name: never half of the hooks in silence.
//! Two back ends tell of completed calls, before the same handlers: `fentry`, a program on the function of each call, and the tracepoint of
//! all calls' exits, for kernels that do not attach the former.

use super::{Error, btf::Btf as KernelBtf, diagnostics::Diagnostics, offsets};
use crate::options::Hooks;
use aya::{
    Btf, BtfError, Ebpf, EbpfLoader,
    maps::{Array, HashMap, MapData, PerCpuArray, ProgramArray, RingBuf},
    programs::{BtfTracePoint, FExit, Program, ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _},
};
use mta_trace_common::{
    ABI_VERSION,
    config::{Filter, Offsets, Settings, Thread},
    event::LOSSES,
    smtp::Scanner,
    syscalls::{Call, Syscall, TABLE},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use zerocopy::IntoBytes as _;

/// As `build.rs` packed it.
static OBJECT: &[u8] = include_bytes!(env!("MTA_TRACE_OBJECT"));
const OBJECT_BYTES: &str = env!("MTA_TRACE_OBJECT_BYTES");

/// Makes a boundary type known to aya as plain data.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Plain<T>(pub T);

// SAFETY: the types of mta-trace-common that are used here are `repr(C)` integers without padding.
unsafe impl aya::Pod for Plain<Offsets> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<Settings> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<Filter> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<Scanner> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<Thread> {}

/// The loaded object.
pub struct Object {
    ebpf: Ebpf,
    btf: Btf,
    offsets: Offsets,
    handlers: Option<ProgramArray<MapData>>,
}

/// What follows processes, the scheduler and the listen backlog; attached before anybody's bit is set.
const PROCESS_HOOKS: [&str; 6] =
    ["sched_process_fork", "sched_process_exec", "sched_process_exit", "sched_switch", "sched_wakeup", "inet_sock_set_state"];
/// The tracepoint of all completed system calls.
const SYS_EXIT: &str = "sys_exit";
/// Calls without arguments, whose functions no kernel's BTF has under the usual name: what blocks in them is told by the scheduler's hooks.
const WITHOUT_ARGUMENTS: [Call; 2] = [Call::Sync, Call::RestartSyscall];

/// Of the kernel's functions that are system calls (`SYSCALL_DEFINE`).
const FUNCTION_PREFIX: &str = if cfg!(target_arch = "aarch64") { "__arm64_sys_" } else { "__x64_sys_" };
const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

impl Object {
    /// Loads the object; nothing is attached yet.
    pub fn load(settings: Settings, filters: &[Filter], ring_bytes: u32) -> Result<Self, Error> {
        let (offsets, sparse) = read_btf()?;
        let btf = Btf::parse(&sparse, aya::Endianness::default()).map_err(|_| Error::BtfUnreadable)?;
        let mut loader = loader();
        let settings = Plain(settings);
        let unpacked = unpacked()?;
        let unpacked = unpacked.as_bytes();
        let mut ebpf = loader
            .btf(None)
            .override_global("OFFSETS", &offsets, true)
            .override_global("SETTINGS", &settings, true)
            .map_max_entries("EVENTS", ring_bytes)
            .load(unpacked)
            .map_err(|error| refusal("loading the eBPF object", "load", &error))?;
        fill(&mut ebpf, "FILTERS", (0..).zip(filters.iter().map(|filter| Plain(*filter))))?;
        let mut object = Self { ebpf, btf, offsets: offsets.0, handlers: None };
        object.check_abi()?;
        Ok(object)
    }

    fn check_abi(&mut self) -> Result<(), Error> {
        let program: &mut RawTracePoint = self.program("request")?;
        program.load().map_err(|error| refusal("request", "load", &error))?;
        let found = self.run([0; 12]).ok();
        if found == Some(ABI_VERSION) { Ok(()) } else { Err(Error::Abi { found, wanted: ABI_VERSION }) }
    }

    fn program<'a, T>(&'a mut self, name: &str) -> Result<&'a mut T, Error>
    where
        &'a mut T: TryFrom<&'a mut aya::programs::Program>,
    {
        self.ebpf.program_mut(name).and_then(|program| program.try_into().ok()).ok_or_else(|| Error::Object(format!("program {name}")))
    }

    /// Runs the program `request`; returns what it returned.
    fn run(&mut self, args: [u64; 12]) -> Result<u32, Error> {
        let program: &mut RawTracePoint = self.program("request")?;
        let mut options = RawTracePointRunOptions::new();
        options.args = args;
        let result = program.test_run(options).map_err(|error| refusal("request", "run", &error))?;
        Ok(result.return_value)
    }

    /// Asks the kernel side for something; see `mta_trace_common::config::Request`.
    pub fn request(&mut self, args: &[u64]) -> Result<(), Error> {
        let mut all = [0; 12];
        for (to, from) in all.iter_mut().zip(args) {
            *to = *from;
        }
        self.run(all).map(drop)
    }

    /// Says on which ports the daemon listens.
    pub fn watch_ports(&mut self, ports: &[u16]) -> Result<(), Error> {
        let mut words: BTreeMap<u32, u64> = BTreeMap::new();
        for port in ports {
            *words.entry(u32::from(port >> 6)).or_default() |= 1 << (port & 63);
        }
        fill(&mut self.ebpf, "PORTS", words.into_iter())
    }

    /// Attaches fork, exec, exit, the scheduler and the listen backlog.
    pub fn attach_processes(&mut self) -> Result<(), Error> {
        PROCESS_HOOKS.iter().try_for_each(|hook| self.attach(hook))
    }

    /// Attaches what tells of completed system calls; gives the name of the back end.
    pub fn attach_calls(&mut self, wanted: Hooks) -> Result<&'static str, Error> {
        if wanted != Hooks::Tracepoint {
            match self.attach_fentry() {
                Ok(()) => return Ok("fentry"),
                Err(error) if wanted == Hooks::Fentry => return Err(error),
                Err(_) => self.unload_fentry(),
            }
        }
        self.attach_tracepoint()?;
        Ok("tracepoint")
    }

    /// Puts the program of each call behind the tracepoint of all calls, and attaches that.
    fn attach_tracepoint(&mut self) -> Result<(), Error> {
        let map = self.ebpf.take_map("HANDLERS").ok_or_else(|| Error::Object("map HANDLERS".into()))?;
        let mut handlers = ProgramArray::try_from(map).map_err(|_| Error::Object("map HANDLERS".into()))?;
        for row in TABLE {
            let Ok(number) = u32::try_from(row.number()) else { continue };
            let name = format!("{SYS_EXIT}_{}", row.name);
            let program = self.load_program(&name, SYS_EXIT)?;
            let fd = program.fd().map_err(|error| refusal(&name, "load", &error))?;
            handlers.set(number, fd, 0).map_err(|error| refusal(&name, "attach", &error))?;
        }
        // The kernel empties the array when nobody holds it.
        self.handlers = Some(handlers);
        self.hook_in_table(TABLE)?;
        self.attach(SYS_EXIT)
    }

    fn hook_in_table<'a>(&mut self, rows: impl IntoIterator<Item = &'a Syscall>) -> Result<(), Error> {
        fill(&mut self.ebpf, "CALLS", rows.into_iter().filter_map(|row| Some((u32::try_from(row.number()).ok()?, row.word().0))))
    }

    /// Attaches a program to the function of each call that this kernel has.
    fn attach_fentry(&mut self) -> Result<(), Error> {
        let calls = Call::ALL.iter().filter(|call| call.row().number() >= 0 && !WITHOUT_ARGUMENTS.contains(call));
        let mut attached = Vec::new();
        for call in calls {
            match self.attach_to_function(*call) {
                Ok(true) => attached.push(call.row()),
                Ok(false) => {}
                Err(Error::Hook { hook, step, reason }) => return Err(Error::NoFentry(format!("{step} {hook}: {reason}"))),
                // The other hooks were permitted, so it is not the user who lacks something.
                Err(Error::NotPermitted { what }) => return Err(Error::NoFentry(what)),
                Err(other) => return Err(other),
            }
        }
        if attached.is_empty() {
            return Err(Error::NoFentry("its BTF has no system call's function".to_owned()));
        }
        self.hook_in_table(attached)
    }

    /// False: this kernel has no such call.
    fn attach_to_function(&mut self, call: Call) -> Result<bool, Error> {
        let (function, name) = (format!("{FUNCTION_PREFIX}{}", call.name()), fexit_name(call));
        let Self { ebpf, btf, .. } = self;
        let program: &mut FExit =
            ebpf.program_mut(&name).and_then(|program| program.try_into().ok()).ok_or_else(|| Error::Object(format!("program {name}")))?;
        match program.load(&function, btf) {
            Ok(()) => {}
            Err(ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })) => return Ok(false),
            Err(error) => return Err(refusal(&function, "load", &error)),
        }
        program.attach().map_err(|error| refusal(&function, "attach", &error))?;
        Ok(true)
    }

    fn unload_fentry(&mut self) {
        for call in Call::ALL {
            if let Ok(program) = self.program::<FExit>(&fexit_name(*call)) {
                // What was not loaded says so.
                let _ = program.unload();
            }
        }
    }

    fn attach(&mut self, hook: &str) -> Result<(), Error> {
        self.load_program(hook, hook)?.attach().map(drop).map_err(|error| refusal(hook, "attach", &error))
    }

    /// Loads a program for a tracepoint.
    fn load_program(&mut self, name: &str, tracepoint: &str) -> Result<&mut BtfTracePoint, Error> {
        let Self { ebpf, btf, .. } = self;
        let program: &mut BtfTracePoint =
            ebpf.program_mut(name).and_then(|program| program.try_into().ok()).ok_or_else(|| Error::Object(format!("program {name}")))?;
        program.load(tracepoint, btf).map_err(|error| refusal(name, "load", &error))?;
        Ok(program)
    }

    /// Attaches every hook, each on its own, and both back ends; what came of it, by name.
    pub fn attach_each(&mut self, with_fentry: bool) -> Vec<(&'static str, Result<(), Error>)> {
        let mut all: Vec<_> = PROCESS_HOOKS.into_iter().map(|hook| (hook, self.attach(hook))).collect();
        all.push((SYS_EXIT, self.attach_tracepoint()));
        if with_fentry {
            all.push(("fentry", self.attach_fentry()));
        }
        all
    }

    /// The loaded programs: name, instructions that the verifier walked through, bytes of the translated program.
    pub fn programs(&self) -> Vec<(String, u32, u32)> {
        let figures = |(name, program): (&str, &Program)| {
            let info = program.info().ok()?;
            Some((name.to_owned(), info.verified_instruction_count().unwrap_or(0), info.size_translated().unwrap_or(0)))
        };
        self.ebpf.programs().filter_map(figures).collect()
    }

    /// Takes the ring out of the object.
    pub fn ring(&mut self) -> Result<RingBuf<MapData>, Error> {
        self.ebpf.take_map("EVENTS").and_then(|map| RingBuf::try_from(map).ok()).ok_or_else(|| Error::Object("map EVENTS".into()))
    }

    /// Takes the kernel side's own diagnostics out of the object.
    pub fn diagnostics(&mut self) -> Result<Diagnostics, Error> {
        Diagnostics::take(&mut self.ebpf)
    }

    /// Makes a session that had begun before us known: sizes only, until a whole reply.
    pub fn add_session(&mut self, inode: u64, scanner: Scanner) -> Result<(), Error> {
        let map = self.ebpf.map_mut("SESSIONS").ok_or_else(|| Error::Object("map SESSIONS".into()))?;
        let mut map: HashMap<_, u64, Plain<Scanner>> = HashMap::try_from(map).map_err(|_| Error::Object("map SESSIONS".into()))?;
        map.insert(inode, Plain(scanner), 0).map_err(|_| Error::Object("room in map SESSIONS".into()))
    }

    /// Makes a client of an event loop known whose session had begun before us: of it only the end is told.
    pub fn add_client(&mut self, pid: u32, fd: u32) -> Result<(), Error> {
        let map = self.ebpf.map_mut("CLIENTS").ok_or_else(|| Error::Object("map CLIENTS".into()))?;
        let mut map: HashMap<_, u64, u64> = HashMap::try_from(map).map_err(|_| Error::Object("map CLIENTS".into()))?;
        map.insert(u64::from(pid) << 32 | u64::from(fd), 0, 0).map_err(|_| Error::Object("room in map CLIENTS".into()))
    }

    /// Whether a thread is in the trace.
    pub fn is_traced(&self, tid: u32) -> bool {
        self.thread(tid).is_some()
    }

    /// The present state of a thread, if it is in the trace.
    pub fn thread(&self, tid: u32) -> Option<Thread> {
        let map = HashMap::<_, u32, Plain<Thread>>::try_from(self.ebpf.map("THREADS")?).ok()?;
        map.get(&tid, 0).ok().map(|Plain(thread)| thread)
    }

    /// Whether a session is known, by the inode of the client's socket.
    pub fn has_session(&self, inode: u64) -> bool {
        let map = self.ebpf.map("SESSIONS").and_then(|map| HashMap::<_, u64, Plain<Scanner>>::try_from(map).ok());
        map.is_some_and(|map| map.get(&inode, 0).is_ok())
    }

    /// All known sessions, by the inodes of their clients' sockets.
    pub fn sessions(&self) -> Vec<u64> {
        let map = self.ebpf.map("SESSIONS").and_then(|map| HashMap::<_, u64, Plain<Scanner>>::try_from(map).ok());
        map.map(|map| map.keys().filter_map(Result::ok).collect()).unwrap_or_default()
    }

    /// The present state of the traced threads.
    pub fn threads(&self) -> Vec<(u32, Thread)> {
        let Some(map) = self.ebpf.map("THREADS") else { return Vec::new() };
        let Ok(map) = HashMap::<_, u32, Plain<Thread>>::try_from(map) else { return Vec::new() };
        map.iter().filter_map(Result::ok).map(|(tid, Plain(thread))| (tid, thread)).collect()
    }

    /// Arguments of the call that a thread is in, out of its saved registers.
    pub fn arguments(&self, thread: &Thread) -> [u64; 6] {
        self.offsets.regs_args.map(|offset| thread.regs.get(offset as usize / 8).copied().unwrap_or_default())
    }

    /// Counts of what could not be reported, by `Loss`.
    pub fn loss(&self) -> [u64; LOSSES as usize] {
        let mut sums = [0; LOSSES as usize];
        let Some(map) = self.ebpf.map("LOSS") else { return sums };
        let Ok(map) = PerCpuArray::<_, u64>::try_from(map) else { return sums };
        for (i, sum) in (0..).zip(&mut sums) {
            *sum = map.get(&i, 0).map_or(0, |values| values.iter().sum());
        }
        sums
    }
}

/// The object, in words since aya wants it aligned; what is behind its end is zero.
fn unpacked() -> Result<Vec<u64>, Error> {
    let bytes: usize = OBJECT_BYTES.parse().map_err(|_| Error::Object("its size".to_owned()))?;
    let mut words = vec![0_u64; bytes.div_ceil(size_of::<u64>())];
    zstd::bulk::decompress_to_buffer(OBJECT, words.as_mut_bytes()).map_err(|error| Error::Object(format!("readable content ({error})")))?;
    Ok(words)
}

/// Offsets out of the kernel's BTF, and as much of it as the loader needs; the rest is not kept.
fn read_btf() -> Result<(Plain<Offsets>, Vec<u8>), Error> {
    let bytes = std::fs::read(BTF_PATH).map_err(Error::NoBtf)?;
    let whole = KernelBtf::parse(&bytes).ok_or(Error::BtfUnreadable)?;
    let is_wanted = |name: &str| name.starts_with(FUNCTION_PREFIX) || name.strip_prefix("btf_trace_").is_some_and(is_tracepoint);
    Ok((Plain(offsets::resolve(&whole)?), whole.sparse(is_wanted)))
}

/// Whether one of the hooks is on this tracepoint.
fn is_tracepoint(name: &str) -> bool {
    name == SYS_EXIT || PROCESS_HOOKS.contains(&name)
}

/// A loader. aya's reads the whole of the kernel's BTF when it is made (0.1 s, 25 MiB), for relocations that our object does not have, and
/// cannot be told not to; so it is made while this process may not open files. No other thread runs yet.
fn loader<'a>() -> EbpfLoader<'a> {
    let limit = getrlimit(Resource::Nofile);
    // Where that is not possible, it takes longer.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..limit });
    let loader = EbpfLoader::new();
    let _ = setrlimit(Resource::Nofile, limit);
    loader
}

/// Name of the program that is attached to a call's function.
fn fexit_name(call: Call) -> String {
    format!("fexit_{}", call.name())
}

/// Fills an array that the kernel side only reads.
fn fill<T: aya::Pod>(ebpf: &mut Ebpf, name: &'static str, entries: impl Iterator<Item = (u32, T)>) -> Result<(), Error> {
    let broken = || Error::Object(format!("map {name}"));
    let mut map: Array<_, T> = Array::try_from(ebpf.map_mut(name).ok_or_else(broken)?).map_err(|_| broken())?;
    for (index, value) in entries {
        map.set(index, value, 0).map_err(|_| broken())?;
    }
    Ok(())
}

/// Turns what aya says into one of our errors, with the innermost reason.
fn refusal(hook: &str, step: &'static str, error: &(dyn std::error::Error + 'static)) -> Error {
    let mut reason = error.to_string();
    let mut source = error.source();
    let mut is_permission = false;
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            is_permission |= matches!(io.raw_os_error(), Some(1 | 13));
        }
        reason = format!("{}: {inner}", reason.trim_end_matches('.'));
        source = inner.source();
    }
    if let Some(ProgramError::LoadError { verifier_log, .. }) = error.downcast_ref::<ProgramError>() {
        let log = verifier_log.to_string();
        // aya's own text has the verifier's whole log behind its first sentence.
        reason.truncate(reason.find(" Verifier output").unwrap_or(reason.len()));
        let lines: Vec<&str> = log.lines().rev().take(if std::env::var_os("MTA_TRACE_VERIFIER_LOG").is_some() { 400 } else { 2 }).collect();
        reason = format!("{reason}: {}", lines.into_iter().rev().collect::<Vec<_>>().join(" | "));
        is_permission &= log.is_empty();
    }
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches([':', '.', ' ']).to_owned();
    if is_permission { Error::NotPermitted { what: format!("{step} {hook}: {reason}") } } else { Error::Hook { hook: hook.to_owned(), step, reason } }
}
