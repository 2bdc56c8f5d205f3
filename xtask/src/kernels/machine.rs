//! A virtual machine for one command: an ordinary kernel, the host's whole tree read-only with an overlay in memory (virtiofs), so that
//! programs, fixtures and packages are at their usual paths. Of what the command writes only what is in the results' folder stays.

use super::packages::{Arch, Kernel, Tools, cache, fresh};
use crate::shell::root;
use anyhow::{Context as _, bail, ensure};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const INIT: &str = include_str!("init.sh");
/// Modules that are needed before the host's tree is there.
const MODULES: [&str; 3] = ["virtio_pci", "virtiofs", "overlay"];
const MEMORY_MIB: u32 = 3072;
/// A kernel that dies before the command has begun is started again, at most so often in all.
const BOOTS: u32 = 3;

/// What runs in a machine.
pub struct Job<'a> {
    /// A shell command, run in the repository's folder.
    pub command: &'a str,
    /// At most so long.
    pub limit: Duration,
    /// A folder of the host that the command may write to, at the same path; its output is kept there too.
    pub results: &'a Path,
    /// Whether the clock has to count instructions, also where there is a virtual processor.
    pub is_counting: bool,
}

/// What a command in a machine came to.
pub struct Ended {
    /// How often the machine had to be started again.
    pub retries: u32,
    /// From the first start to the end.
    pub time: Duration,
}

/// Files of the results in which a command's output and status are.
const KEPT: [&str; 3] = ["stdout", "stderr", "status"];

/// Runs a command under this kernel.
pub fn run(kernel: &Kernel, tools: &Tools, job: &Job<'_>) -> anyhow::Result<Ended> {
    let began = Instant::now();
    let folder = fresh(&cache().join(format!("run.{}.{}", kernel.release, std::process::id())))?;
    let initrd = initramfs(kernel, tools, job, &folder)?;
    for retries in 0..BOOTS {
        let is_up = boot(kernel, tools, &initrd, &folder, job)?;
        let status = fs::read_to_string(job.results.join("status")).unwrap_or_default();
        if let Ok(status) = status.trim().parse::<i32>() {
            fs::remove_dir_all(&folder)?;
            let said = fs::read_to_string(job.results.join("stderr")).unwrap_or_default();
            ensure!(status == 0, "{}: the command ended with {status}: {said}", kernel.release);
            return Ok(Ended { retries, time: began.elapsed() });
        }
        let console = fs::read(folder.join("console")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        ensure!(!is_up, "{}: the machine died while the command ran; its console is in {}", kernel.release, folder.display());
        let last: Vec<&str> = console.lines().rev().take(3).collect();
        println!("{}: the kernel did not come up: {}", kernel.release, last.into_iter().rev().collect::<Vec<_>>().join(" | "));
    }
    bail!("{}: the kernel did not come up in {BOOTS} boots; its console is in {}", kernel.release, folder.display())
}

/// Everything that the machine has before it sees the host's tree.
fn initramfs(kernel: &Kernel, tools: &Tools, job: &Job<'_>, folder: &Path) -> anyhow::Result<PathBuf> {
    let tree = fresh(&folder.join("initramfs"))?;
    for place in ["bin", "sbin", "proc", "sys", "dev", "host", "new", "repo", "rw", "tmp", "run", "etc", "root"] {
        fs::create_dir_all(tree.join(place))?;
    }
    let busybox = tools.busybox()?;
    fs::copy(tools.busybox_of(kernel.arch)?, tree.join("bin/busybox"))?;
    symlink("busybox", tree.join("bin/sh"))?;
    symlink("../bin/busybox", tree.join("sbin/modprobe"))?;
    modules(kernel, &tree)?;
    let busybox_in = |args: &[&str]| -> anyhow::Result<()> {
        let status = Command::new(&busybox).args(args).current_dir(&tree).status()?;
        ensure!(status.success(), "busybox {}: {status}", args.join(" "));
        Ok(())
    };
    busybox_in(&["depmod", "-b", ".", &kernel.release])?;
    fs::write(tree.join("init"), INIT)?;
    fs::set_permissions(tree.join("init"), fs::Permissions::from_mode(0o755))?;
    let repository = root();
    let texts =
        [("modules", kernel.modules.strip_prefix(&repository).unwrap_or(&kernel.modules)), ("repository", &repository), ("results", job.results)];
    for (name, path) in texts {
        fs::write(tree.join(name), path.as_os_str().as_encoded_bytes())?;
    }
    fs::write(tree.join("command"), format!("cd '{}' || exit 125\n{}\n", repository.display(), job.command))?;
    let initrd = folder.join("initrd");
    busybox_in(&["sh", "-c", &format!("find . | '{}' cpio -o -H newc >'{}' 2>/dev/null", busybox.display(), initrd.display())])?;
    Ok(initrd)
}

/// The modules of [`MODULES`] with those that they need; what is built in has no file.
fn modules(kernel: &Kernel, tree: &Path) -> anyhow::Result<()> {
    let to = tree.join("lib/modules").join(&kernel.release);
    fs::create_dir_all(&to)?;
    // From 7.0 on the packages do not have them.
    for name in ["modules.order", "modules.builtin"].into_iter().filter(|name| kernel.modules.join(name).is_file()) {
        fs::copy(kernel.modules.join(name), to.join(name))?;
    }
    let dependencies = fs::read_to_string(kernel.modules.join("modules.dep"))?;
    for line in dependencies.lines() {
        let Some((file, needed)) = line.split_once(':') else { continue };
        let name = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().replace('-', "_")).unwrap_or_default();
        if !MODULES.contains(&name.as_str()) {
            continue;
        }
        for file in std::iter::once(file).chain(needed.split_whitespace()) {
            let copy = to.join(file);
            fs::create_dir_all(copy.parent().context("a module in no folder")?)?;
            fs::copy(kernel.modules.join(file), copy)?;
        }
    }
    Ok(())
}

/// One boot, to the end. True: the command had begun.
fn boot(kernel: &Kernel, tools: &Tools, initrd: &Path, folder: &Path, job: &Job<'_>) -> anyhow::Result<bool> {
    let console = folder.join("console");
    for path in KEPT.iter().map(|name| job.results.join(name)).chain([console.clone()]) {
        let _ = fs::remove_file(path);
    }
    let (program, machine, tty) = match kernel.arch {
        Arch::Amd64 => ("usr/bin/qemu-system-x86_64", "q35", "ttyS0"),
        Arch::Arm64 => ("usr/bin/qemu-system-aarch64", "virt", "ttyAMA0"),
    };
    let mut qemu = tools.command(&[program])?;
    for firmware in tools.firmware() {
        qemu.arg("-L").arg(firmware);
    }
    qemu.args(["-M", &format!("{machine},memory-backend=mem"), "-m", &MEMORY_MIB.to_string()]).args(processor(kernel, job.is_counting));
    qemu.args(["-object", &format!("memory-backend-memfd,id=mem,size={MEMORY_MIB}M,share=on")]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", &format!("file:{}", console.display())]);
    let system = Tools::system(kernel.arch);
    let mut shares = Vec::new();
    for (tag, of_host, cache) in [("root-share", system.as_path(), "always"), ("repo-share", &root(), "always"), ("kept-share", job.results, "auto")]
    {
        let socket = folder.join(tag);
        shares.push(share(tools, of_host, cache, &socket)?);
        qemu.args(["-chardev", &format!("socket,id={tag},path={}", socket.display())]);
        qemu.args(["-device", &format!("vhost-user-fs-pci,queue-size=1024,chardev={tag},tag={tag}")]);
    }
    qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initrd);
    qemu.args(["-append", &format!("console={tty} quiet panic=-1 mitigations=off")]);
    qemu.stdin(Stdio::null()).stderr(fs::File::create(folder.join("qemu"))?);
    let mut machine = Guard(qemu.spawn().context("start QEMU")?);
    let end = Instant::now() + job.limit;
    while machine.0.try_wait()?.is_none() {
        ensure!(
            Instant::now() < end,
            "{}: the command did not end within {} s; its console is in {}, what it said in {}",
            kernel.release,
            job.limit.as_secs(),
            folder.display(),
            job.results.display()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(fs::read_to_string(console).is_ok_and(|console| console.contains("init: ready")))
}

/// Where there is no virtual processor, its clock counts instructions, one a nanosecond: then it is no slower than a real one by its own
/// clock, whatever else the host does, and no slack is needed. Before 6.12 kernels do not come up so.
/// Emulated processors take turns: when they run at once, one may still execute the int3 by which the kernel patches a function that another
/// has patched to its end (a panic in `__x64_sys_fcntl` was seen so; on a real processor the kernel's IPIs rule that out).
fn processor(kernel: &Kernel, is_counting: bool) -> Vec<&'static str> {
    let model = match kernel.arch {
        Arch::Amd64 => "max",
        // Of `max` the emulation of pointer authentication takes most of the time.
        Arch::Arm64 => "cortex-a72",
    };
    if is_virtual(kernel) && !is_counting {
        vec!["-accel", "kvm", "-cpu", "host", "-smp", "2"]
    } else if is_slow(kernel) {
        vec!["-accel", "tcg,thread=single", "-cpu", model, "-smp", "2"]
    } else {
        vec!["-accel", "tcg,thread=single", "-cpu", model, "-smp", "1", "-icount", "shift=0,sleep=on"]
    }
}

/// Whether by its own clock the machine is 20 to 30 times slower than a real one.
pub fn is_slow(kernel: &Kernel) -> bool {
    !is_virtual(kernel) && super::packages::version(&kernel.release) < (6, 12)
}

/// Shares a folder of the host; the daemon is there when this returns.
fn share(tools: &Tools, of_host: &Path, cache: &str, socket: &Path) -> anyhow::Result<Guard> {
    let _ = fs::remove_file(socket);
    let said = socket.with_extension("virtiofsd");
    let mut command = tools.command(&["usr/lib/qemu/virtiofsd", "usr/libexec/virtiofsd"])?;
    command.arg(format!("--socket-path={}", socket.display()));
    command.args(["-o", &format!("source={}", of_host.display()), "-o", &format!("cache={cache}"), "-o", "sandbox=chroot", "--rlimit-nofile=0"]);
    let mut daemon = Guard(command.stdin(Stdio::null()).stderr(fs::File::create(&said)?).spawn()?);
    let end = Instant::now() + Duration::from_secs(20);
    while !socket.exists() {
        let is_up = daemon.0.try_wait()?.is_none() && Instant::now() < end;
        ensure!(is_up, "virtiofsd does not start: {}", fs::read_to_string(&said)?);
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(daemon)
}

fn is_virtual(kernel: &Kernel) -> bool {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let is_able = fs::OpenOptions::new().write(true).open("/dev/kvm").is_ok() && flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    is_able && kernel.arch == Arch::Amd64
}

/// A process that does not outlive its use.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
