//! Which offsets the kernel side needs, and where they come from: the one place that names kernel structures.
//!
//! rustc emits no CO-RE relocations, so the offsets are resolved from the running kernel's BTF when the object is loaded.

use super::{Error, btf::Btf};
use mta_trace_common::config::{Offsets, REGS_BLOCK, SOCK_HEAD};

/// Resolves all offsets, or names the field that this kernel has not.
pub fn resolve(btf: &Btf<'_>) -> Result<Offsets, Error> {
    let of = |structure: &'static str, members: &[&'static str]| {
        members
            .iter()
            .find_map(|member| btf.offset(structure, member))
            .ok_or_else(|| Error::NoField { structure, field: members.first().copied().unwrap_or_default() })
    };
    // They are read at once.
    let head = |member: &'static str| {
        let offset = of("sock_common", &[member])?;
        let is_within = offset as usize + size_of::<u32>() <= SOCK_HEAD;
        is_within.then_some(offset).ok_or(Error::NoField { structure: "first 32 bytes of sock_common", field: member })
    };
    let registers = registers(of)?;
    Ok(Offsets {
        task_pid: of("task_struct", &["pid"])?,
        task_tgid: of("task_struct", &["tgid"])?,
        // Renamed in 5.14 (2f064a59a11f).
        task_state: of("task_struct", &["__state", "state"])?,
        task_exit_code: of("task_struct", &["exit_code"])?,
        task_comm: of("task_struct", &["comm"])?,
        task_files: of("task_struct", &["files"])?,
        files_fdt: of("files_struct", &["fdt"])?,
        fdt_max_fds: of("fdtable", &["max_fds"])?,
        fdt_fd: of("fdtable", &["fd"])?,
        file_inode: of("file", &["f_inode"])?,
        file_private_data: of("file", &["private_data"])?,
        file_path: of("file", &["f_path"])?,
        path_mnt: of("path", &["mnt"])?,
        path_dentry: of("path", &["dentry"])?,
        dentry_name: of("dentry", &["d_name"])?,
        dentry_parent: of("dentry", &["d_parent"])?,
        qstr_name: of("qstr", &["name"])?,
        mount_mnt: of("mount", &["mnt"])?,
        mount_parent: of("mount", &["mnt_parent"])?,
        mount_mountpoint: of("mount", &["mnt_mountpoint"])?,
        vfsmount_root: of("vfsmount", &["mnt_root"])?,
        inode_mode: of("inode", &["i_mode"])?,
        inode_ino: of("inode", &["i_ino"])?,
        socket_sk: of("socket", &["sk"])?,
        sock_family: head("skc_family")?,
        sock_num: head("skc_num")?,
        sock_dport: head("skc_dport")?,
        sock_saddr: head("skc_rcv_saddr")?,
        sock_daddr: head("skc_daddr")?,
        sock_v6_saddr: of("sock_common", &["skc_v6_rcv_saddr"])?,
        sock_v6_daddr: of("sock_common", &["skc_v6_daddr"])?,
        sock_type: of("sock", &["sk_type"])?,
        sock_protocol: of("sock", &["sk_protocol"])?,
        sock_socket: of("sock", &["sk_socket"])?,
        unix_peer: of("unix_sock", &["peer"])?,
        socket_inode: of("socket_alloc", &["vfs_inode"])?,
        regs_nr: registers.nr,
        regs_block: registers.block,
        regs_args: registers.args,
        regs_first: registers.first,
        regs_result: registers.result,
    })
}

/// Where `struct pt_regs` has a system call's number and arguments.
struct Registers {
    nr: u32,
    block: u32,
    args: [u32; 6],
    first: u32,
    result: u32,
}

const REGISTERS: &str = "pt_regs";

/// x86-64: `di`, `si`, `dx`, `r10`, `r8`, `r9`, and `orig_ax` the number. arm64: `x0` to `x5`, of which the result has taken the
/// first place when the call is over, so argument 0 is read from `orig_x0`; `syscallno`. The result: `ax`, `x0`.
fn registers(of: impl Fn(&'static str, &[&'static str]) -> Result<u32, Error>) -> Result<Registers, Error> {
    if cfg!(target_arch = "aarch64") {
        let block = of(REGISTERS, &["regs"])?;
        let behind = u32::try_from(REGS_BLOCK * 8).unwrap_or_default();
        return Ok(Registers {
            nr: of(REGISTERS, &["syscallno"])?,
            block,
            args: [behind, 8, 16, 24, 32, 40],
            first: of(REGISTERS, &["orig_x0"])?,
            result: 0,
        });
    }
    let mut args = [0; 6];
    for (place, member) in args.iter_mut().zip(["di", "si", "dx", "r10", "r8", "r9"]) {
        *place = of(REGISTERS, &[member])?;
    }
    let block = args.iter().copied().min().unwrap_or(0);
    let args = args.map(|offset| offset - block);
    let result = of(REGISTERS, &["ax"])?.wrapping_sub(block);
    if args.iter().chain([&result]).any(|offset| *offset as usize > (REGS_BLOCK - 1) * 8) {
        return Err(Error::NoField { structure: REGISTERS, field: "arguments" });
    }
    Ok(Registers { nr: of(REGISTERS, &["orig_ax"])?, block, args, first: 0, result })
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_kernel_has_all_fields() {
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else { return };
        let offsets = super::resolve(&super::Btf::parse(&bytes).expect("BTF")).expect("all fields");
        assert_ne!(offsets.task_pid, 0);
        assert_eq!(offsets.task_tgid, offsets.task_pid + 4);
        if cfg!(target_arch = "x86_64") {
            assert_eq!((offsets.regs_nr, offsets.regs_block, offsets.regs_first, offsets.regs_result), (120, 56, 0, 24));
        }
    }
}
