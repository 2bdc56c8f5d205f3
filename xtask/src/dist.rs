//! What is given to users: `cargo xtask dist` makes a tarball, a .deb and an .rpm with the same statically linked program in them, and their sums.
//!
//! In: the sources, `mta-trace/share/`. Out: `target/dist/`; the same bytes from the same commit and toolchain, in whichever folder. Needs dpkg-deb and rpmbuild (Debian's
//! package `rpm`) and is for the architecture on which it runs. Not here: what the packages must be able to do (`tests/tests/dist.rs`).

mod licences;
mod pages;

use crate::shell::{has, output, root, run};
use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = "mta-trace";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const SUMMARY: &str = "shows why a mail server makes its clients wait";
const DESCRIPTION: &[&str] = &[
    "mta-trace attaches to a running mail server by eBPF, follows its SMTP sessions,",
    "and tells of each command what it waited for, and for how long: DNS, ident,",
    "milters, policy services, locks, disks, the client. Reports are made again",
    "from a saved log, on any machine and without privileges.",
];
const MAINTAINER: &str = "mta-trace maintainers <maintainers@mta-trace.invalid>";
/// What they are made of, below the folder.
const WORK: &str = "work";
/// Names the tree to the script of the .rpm: a path may have characters that it would take for its own.
const TREE: &str = "MTA_TRACE_TREE";
/// Documents for those who change the program, not for those who use it.
const NOT_FOR_USERS: &str = "howto-";

/// Where a kind of package wants what all have.
struct Layout {
    zsh: &'static str,
    licences: &'static str,
}

const DEB: Layout = Layout { zsh: "usr/share/zsh/vendor-completions", licences: "usr/share/doc/mta-trace" };
const RPM: Layout = Layout { zsh: "usr/share/zsh/site-functions", licences: "usr/share/licenses/mta-trace" };

/// Where everything is put.
fn folder() -> PathBuf {
    root().join("target/dist")
}

/// Makes them all, and says how large they are.
pub fn make() -> anyhow::Result<()> {
    for tool in ["dpkg-deb", "rpmbuild"] {
        ensure!(has(tool), "{tool} is missing: apt-get install dpkg rpm (or `cargo xtask setup`), then again");
    }
    let folder = folder();
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let epoch = epoch()?;
    let program = program(&folder)?;
    let made = [tarball(&folder, &program, &epoch)?, deb(&folder, &program, &epoch)?, rpm(&folder, &program, &epoch)?];
    let mut sums = String::new();
    for path in &made {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        writeln!(sums, "{}  {name}", hex(&Sha256::digest(&bytes)))?;
        println!("{:>9} bytes  {}", bytes.len(), path.display());
    }
    write(&folder.join("SHA256SUMS"), sums.as_bytes())
}

/// Time of the last commit, for everything that is dated; `SOURCE_DATE_EPOCH` if somebody sets it.
fn epoch() -> anyhow::Result<String> {
    let wanted = std::env::var("SOURCE_DATE_EPOCH").ok();
    let wanted = wanted.or_else(|| output(Command::new("git").args(["log", "-1", "--format=%ct"])).ok()).unwrap_or_else(|| "0".to_owned());
    ensure!(wanted.parse::<u32>().is_ok(), "SOURCE_DATE_EPOCH={wanted}: is no number of seconds since 1970");
    Ok(wanted)
}

/// The release build, linked with glibc's archive; in a target folder of its own, since its flags are others. Where its sources lie on this
/// machine does not stand in it (panics name files), so that it is the same program wherever it is made.
fn program(folder: &Path) -> anyhow::Result<PathBuf> {
    let target = root().join("target/dist-build");
    let folders = [(crate::shell::cargo_home()?, "/cargo"), (root(), "/mta-trace")];
    let rust: Vec<String> = folders.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();
    let c: Vec<String> = folders.iter().map(|(from, to)| format!("-ffile-prefix-map={}={to}", from.display())).collect();
    let build = ["rustc", "--quiet", "--release", "--package", NAME, "--bin", NAME, "--target-dir"];
    let mut cargo = crate::shell::cargo();
    cargo.args(build).arg(&target).args(["--", "-C", "target-feature=+crt-static"]);
    // Encoded flags may have blanks in them (cargo's reference, "Environment variables"), those of the crate `cc` may not. What the packager has set goes first.
    let own = std::env::var("CARGO_ENCODED_RUSTFLAGS")
        .ok()
        .or_else(|| Some(std::env::var("RUSTFLAGS").ok()?.split_whitespace().collect::<Vec<_>>().join("\x1f")));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", own.into_iter().filter(|flags| !flags.is_empty()).chain(rust).collect::<Vec<_>>().join("\x1f"));
    if c.iter().any(|flag| flag.contains(char::is_whitespace)) {
        println!("the path of this folder, or of cargo's home, has a blank: it may stand in the program");
    } else {
        cargo.env("CFLAGS", std::env::var("CFLAGS").into_iter().chain(c).collect::<Vec<_>>().join(" "));
    }
    run(&mut cargo)?;
    let place = folder.join(WORK).join(NAME);
    copy(&target.join("release").join(NAME), &place, 0o755)?;
    Ok(place)
}

/// `NAME-VERSION-ARCH-linux/`: the program, and all else below `share/`.
fn tarball(folder: &Path, program: &Path, epoch: &str) -> anyhow::Result<PathBuf> {
    let name = format!("{NAME}-{VERSION}-{}-linux", std::env::consts::ARCH);
    let top = folder.join(WORK).join("tar").join(&name);
    copy(program, &top.join("bin").join(NAME), 0o755)?;
    copy_tree(&root().join("mta-trace/share"), &top.join("share"))?;
    documents(&top)?;
    licences::put(&top)?;
    let place = folder.join(format!("{name}.tar.gz"));
    let same = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"];
    let mut tar = Command::new("tar");
    tar.args(same).arg(format!("--mtime=@{epoch}")).args(["--use-compress-program", "gzip -n9", "-cf"]);
    run(tar.arg(&place).arg("-C").arg(folder.join(WORK).join("tar")).arg(&name))?;
    Ok(place)
}

/// What both packages have below `/`.
fn tree(top: &Path, program: &Path, layout: &Layout) -> anyhow::Result<()> {
    copy(program, &top.join("usr/bin").join(NAME), 0o755)?;
    let share = root().join("mta-trace/share");
    for path in files(&share.join("man"))? {
        let inside = path.strip_prefix(&share)?;
        copy(&path, &top.join("usr/share").join(inside), 0o644)?;
        run(Command::new("gzip").arg("-n9").arg(top.join("usr/share").join(inside)))?;
    }
    copy_tree(&share.join("bash-completion"), &top.join("usr/share/bash-completion"))?;
    copy_tree(&share.join("fish"), &top.join("usr/share/fish"))?;
    copy_tree(&share.join("zsh/site-functions"), &top.join(layout.zsh))?;
    documents(&top.join("usr/share/doc").join(NAME))?;
    licences::put(&top.join(layout.licences))
}

fn documents(place: &Path) -> anyhow::Result<()> {
    let mut packed: Vec<PathBuf> = ["README.md", "CHANGELOG.md"].map(PathBuf::from).into();
    for path in files(&root().join("docs"))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|it| it == "md") && !name.starts_with(NOT_FOR_USERS) {
            packed.push(Path::new("docs").join(&name));
        }
    }
    for page in &packed {
        let text = fs::read_to_string(root().join(page)).with_context(|| format!("read {}", page.display()))?;
        let to = place.join(page);
        write(&to, pages::packed(&text, page, |target| packed.iter().any(|known| known == target)).as_bytes())?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o644)).with_context(|| format!("mode of {}", to.display()))?;
    }
    Ok(())
}

fn deb(folder: &Path, program: &Path, epoch: &str) -> anyhow::Result<PathBuf> {
    let top = folder.join(WORK).join("deb");
    tree(&top, program, &DEB)?;
    let doc = top.join("usr/share/doc").join(NAME);
    write(&doc.join("copyright"), licences::DEBIAN.as_bytes())?;
    let date = output(Command::new("date").args(["-u", "-R", "-d", &format!("@{epoch}")]))?;
    let changes = format!("{NAME} ({VERSION}) unstable; urgency=medium\n\n  * See CHANGELOG.md beside this file.\n\n -- {MAINTAINER}  {date}\n");
    write(&doc.join("changelog"), changes.as_bytes())?;
    run(Command::new("gzip").arg("-n9").arg(doc.join("changelog")))?;
    let overrides = "# One program for every release of every distribution, linked statically (as a static PIE, which lintian takes for a library).\n\
         mta-trace: shared-library-lacks-prerequisites [usr/bin/mta-trace]\n";
    write(&top.join("usr/share/lintian/overrides").join(NAME), overrides.as_bytes())?;
    let arch = output(Command::new("dpkg").arg("--print-architecture"))?;
    let files = files(&top)?;
    let bytes = files.iter().map(|path| fs::metadata(path).map(|it| it.len())).sum::<Result<u64, _>>()?;
    let mut sums = String::new();
    for path in &files {
        let sum = output(Command::new("md5sum").arg(path))?;
        let (sum, _) = sum.split_once(' ').context("md5sum's line")?;
        writeln!(sums, "{sum}  {}", path.strip_prefix(&top)?.display())?;
    }
    let control = format!(
        "Package: {NAME}\nVersion: {VERSION}\nArchitecture: {arch}\nMaintainer: {MAINTAINER}\nInstalled-Size: {}\nSuggests: ca-certificates\n\
         Section: mail\nPriority: optional\nDescription: {SUMMARY}\n{}",
        bytes.div_ceil(1024),
        DESCRIPTION.iter().fold(String::new(), |text, line| text + " " + line + "\n"),
    );
    write(&top.join("DEBIAN/md5sums"), sums.as_bytes())?;
    write(&top.join("DEBIAN/control"), control.as_bytes())?;
    let place = folder.join(format!("{NAME}_{VERSION}_{arch}.deb"));
    run(Command::new("dpkg-deb").args(["--root-owner-group", "-Zxz", "--build"]).arg(&top).arg(&place).env("SOURCE_DATE_EPOCH", epoch))?;
    Ok(place)
}

fn rpm(folder: &Path, program: &Path, epoch: &str) -> anyhow::Result<PathBuf> {
    let (top, work) = (folder.join(WORK).join("rpm"), folder.join(WORK).join("rpmbuild"));
    tree(&top, program, &RPM)?;
    let spec = work.join("mta-trace.spec");
    write(&spec, spec_text(&top, &files(&top)?)?.as_bytes())?;
    let macros = [
        ("_topdir", work.display().to_string()),
        ("_rpmdir", folder.display().to_string()),
        ("_rpmfilename", "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm".to_owned()),
        ("_buildhost", "localhost".to_owned()),
        ("use_source_date_epoch_as_buildtime", "1".to_owned()),
        ("clamp_mtime_to_source_date_epoch", "1".to_owned()),
        // The program is stripped already, and no other package has its build id.
        ("__os_install_post", "%{nil}".to_owned()),
        ("_build_id_links", "none".to_owned()),
        ("_binary_payload", "w9.xzdio".to_owned()),
        ("debug_package", "%{nil}".to_owned()),
    ];
    let mut build = Command::new("rpmbuild");
    build.args(["-bb", "--quiet"]).env("SOURCE_DATE_EPOCH", epoch).env(TREE, &top);
    for (name, value) in macros {
        build.args(["--define", &format!("{name} {value}")]);
    }
    run(build.arg(&spec))?;
    let place = folder.join(format!("{NAME}-{VERSION}-1.{}.rpm", std::env::consts::ARCH));
    if place.is_file() { Ok(place) } else { bail!("rpmbuild made no {}", place.display()) }
}

/// The files are there already; rpmbuild copies and lists them.
fn spec_text(top: &Path, files: &[PathBuf]) -> anyhow::Result<String> {
    let mut list = String::new();
    for path in files {
        let inside = path.strip_prefix(top)?.display().to_string();
        let kind = match inside.as_str() {
            it if it.starts_with("usr/share/licenses/") => "%license ",
            it if it.starts_with("usr/share/doc/") || it.starts_with("usr/share/man/") => "%doc ",
            _ => "",
        };
        writeln!(list, "{kind}\"/{inside}\"")?;
    }
    for own in ["usr/share/doc/mta-trace", "usr/share/doc/mta-trace/docs", "usr/share/licenses/mta-trace"] {
        writeln!(list, "%dir \"/{own}\"")?;
    }
    Ok(format!(
        "Name: {NAME}\nVersion: {VERSION}\nRelease: 1\nSummary: {}\nLicense: (MIT OR Apache-2.0) AND (MIT OR GPL-2.0-only)\nAutoReqProv: no\n\
         %description\n{}\n%install\ncp -a \"${TREE}\"/. \"%{{buildroot}}\"/\n%files\n%defattr(-,root,root,-)\n{list}",
        SUMMARY.replacen('s', "S", 1),
        DESCRIPTION.join("\n"),
    ))
}

/// The files of a folder itself.
fn files_of(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut found = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<PathBuf>>>()?;
    found.retain(|path| path.is_file());
    found.sort();
    Ok(found)
}

/// All files below a folder, in the order of their names.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    files(from)?.iter().try_for_each(|path| copy(path, &to.join(path.strip_prefix(from)?), 0o644))
}

/// With the modes that packages have, whatever the umask is.
fn copy(from: &Path, to: &Path, mode: u32) -> anyhow::Result<()> {
    write(to, &fs::read(from).with_context(|| format!("read {}", from.display()))?)?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).with_context(|| format!("mode of {}", to.display()))
}

fn write(place: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut above = place.parent().context("a file has a folder")?.to_owned();
    fs::create_dir_all(&above).with_context(|| format!("create {}", above.display()))?;
    while above.starts_with(folder()) {
        fs::set_permissions(&above, fs::Permissions::from_mode(0o755)).with_context(|| format!("mode of {}", above.display()))?;
        if !above.pop() {
            break;
        }
    }
    fs::write(place, bytes).with_context(|| format!("write {}", place.display()))?;
    fs::set_permissions(place, fs::Permissions::from_mode(0o644)).with_context(|| format!("mode of {}", place.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
