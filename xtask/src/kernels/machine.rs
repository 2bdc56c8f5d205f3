//! A virtual machine for one command: an ordinary kernel, the host's whole tree read-only with an overlay in memory (virtiofs), so that
//! programs, fixtures and packages are at their usual paths. Nothing of what the command writes stays.

use super::packages::{Kernel, Tools, cache, fresh};
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

/// What a command in a machine came to.
pub struct Ended {
    /// Its exit status.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How often the machine had to be started again.
    pub retries: u32,
    /// From the first start to the end.
    pub time: Duration,
}

/// Runs a shell command in the repository's folder under this kernel.
pub fn run(kernel: &Kernel, tools: &Tools, command: &str, limit: Duration) -> anyhow::Result<Ended> {
    let began = Instant::now();
    let folder = fresh(&cache().join(format!("run.{}.{}", kernel.release, std::process::id())))?;
    let initrd = initramfs(kernel, tools, command, &folder)?;
    for retries in 0..BOOTS {
        let is_up = boot(kernel, tools, &initrd, &folder, limit)?;
        let read = |name: &str| fs::read(folder.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let status = read("status").trim().parse().ok();
        if let Some(status) = status {
            let ended = Ended { status, stdout: read("stdout"), stderr: read("stderr"), retries, time: began.elapsed() };
            fs::remove_dir_all(&folder)?;
            return Ok(ended);
        }
        let console = read("console");
        ensure!(!is_up, "{}: the machine died while the command ran; its console is in {}", kernel.release, folder.display());
        let last: Vec<&str> = console.lines().rev().take(3).collect();
        println!("{}: the kernel did not come up: {}", kernel.release, last.into_iter().rev().collect::<Vec<_>>().join(" | "));
    }
    bail!("{}: the kernel did not come up in {BOOTS} boots; its console is in {}", kernel.release, folder.display())
}

/// Everything that the machine has before it sees the host's tree.
fn initramfs(kernel: &Kernel, tools: &Tools, command: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let tree = fresh(&folder.join("initramfs"))?;
    for place in ["bin", "sbin", "proc", "sys", "dev", "host", "new", "rw", "tmp", "run", "etc", "root"] {
        fs::create_dir_all(tree.join(place))?;
    }
    let busybox = tools.busybox()?;
    fs::copy(&busybox, tree.join("bin/busybox"))?;
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
    fs::write(tree.join("modules"), kernel.modules.strip_prefix("/").unwrap_or(&kernel.modules).as_os_str().as_encoded_bytes())?;
    fs::write(tree.join("command"), format!("cd '{}' || exit 125\n{command}\n", root().display()))?;
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
fn boot(kernel: &Kernel, tools: &Tools, initrd: &Path, folder: &Path, limit: Duration) -> anyhow::Result<bool> {
    for name in ["console", "stdout", "stderr", "status", "fs.socket"] {
        let _ = fs::remove_file(folder.join(name));
    }
    let socket = folder.join("fs.socket");
    let mut shares = Guard(
        tools
            .command(&["usr/lib/qemu/virtiofsd", "usr/libexec/virtiofsd"])?
            .args(share(&socket))
            .stdin(Stdio::null())
            .stderr(fs::File::create(folder.join("virtiofsd"))?)
            .spawn()?,
    );
    let end = Instant::now() + Duration::from_secs(20);
    while !socket.exists() {
        ensure!(
            shares.0.try_wait()?.is_none() && Instant::now() < end,
            "virtiofsd does not start: {}",
            fs::read_to_string(folder.join("virtiofsd"))?
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut qemu = tools.command(&["usr/bin/qemu-system-x86_64"])?;
    for firmware in tools.firmware() {
        qemu.arg("-L").arg(firmware);
    }
    // Emulated processors take turns: when they run at once, one may still execute the int3 by which the kernel patches a function that another
    // has patched to its end (a panic in `__x64_sys_fcntl` was seen so; on a real processor the kernel's IPIs rule that out).
    let (accelerator, processor) = if has_kvm() { ("kvm", "host") } else { ("tcg,thread=single", "max") };
    qemu.args(["-M", "q35,memory-backend=mem", "-accel", accelerator, "-cpu", processor, "-smp", "2", "-m", &MEMORY_MIB.to_string()]);
    qemu.args(["-object", &format!("memory-backend-memfd,id=mem,size={MEMORY_MIB}M,share=on")]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    for name in ["console", "stdout", "stderr", "status"] {
        qemu.arg("-serial").arg(format!("file:{}", folder.join(name).display()));
    }
    qemu.arg("-chardev").arg(format!("socket,id=fs,path={}", socket.display()));
    qemu.args(["-device", "vhost-user-fs-pci,queue-size=1024,chardev=fs,tag=root"]);
    qemu.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initrd);
    qemu.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"]);
    qemu.stdin(Stdio::null()).stderr(fs::File::create(folder.join("qemu"))?);
    let mut machine = Guard(qemu.spawn().context("start QEMU")?);
    let end = Instant::now() + limit;
    while machine.0.try_wait()?.is_none() {
        ensure!(
            Instant::now() < end,
            "{}: the command did not end within {} s; what it said is in {}",
            kernel.release,
            limit.as_secs(),
            folder.display()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(fs::read_to_string(folder.join("console")).is_ok_and(|console| console.contains("init: ready")))
}

/// Arguments of virtiofsd; the one in Rust (Debian 13) and the one of QEMU 7 call them differently.
fn share(socket: &Path) -> Vec<String> {
    let socket = format!("--socket-path={}", socket.display());
    vec![socket, "-o".into(), "source=/".into(), "-o".into(), "cache=always".into(), "-o".into(), "sandbox=chroot".into(), "--rlimit-nofile=0".into()]
}

fn has_kvm() -> bool {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    fs::OpenOptions::new().write(true).open("/dev/kvm").is_ok() && flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm")
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
