//! Which offsets the kernel side needs, and where they come from: the one place that names kernel structures.
//!
//! rustc emits no CO-RE relocations, so the offsets are resolved from the running kernel's BTF when the object is loaded.

use super::{Error, btf::Btf};
use mta_trace_common::config::{Offsets, REGS_WORDS};

/// Resolves all offsets, or names the field that this kernel has not.
pub fn resolve(bytes: &[u8]) -> Result<Offsets, Error> {
    let btf = Btf::parse(bytes).ok_or(Error::BtfUnreadable)?;
    let of = |structure: &'static str, members: &[&'static str]| {
        members
            .iter()
            .find_map(|member| btf.offset(structure, member))
            .ok_or_else(|| Error::NoField { structure, field: members.first().copied().unwrap_or_default() })
    };
    let (nr, args) = registers();
    let mut at = [0; 6];
    for (place, (member, index)) in at.iter_mut().zip(args) {
        *place = of(REGISTERS, &[member])? + index * 8;
    }
    let block = at.iter().copied().min().unwrap_or(0);
    let within = at.map(|offset| offset - block);
    if within.iter().any(|offset| *offset as usize > (REGS_WORDS - 1) * 8) {
        return Err(Error::NoField { structure: REGISTERS, field: "arguments" });
    }
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
        inode_mode: of("inode", &["i_mode"])?,
        inode_ino: of("inode", &["i_ino"])?,
        socket_sk: of("socket", &["sk"])?,
        sock_family: of("sock_common", &["skc_family"])?,
        sock_num: of("sock_common", &["skc_num"])?,
        sock_dport: of("sock_common", &["skc_dport"])?,
        sock_saddr: of("sock_common", &["skc_rcv_saddr"])?,
        sock_daddr: of("sock_common", &["skc_daddr"])?,
        sock_v6_saddr: of("sock_common", &["skc_v6_rcv_saddr"])?,
        sock_v6_daddr: of("sock_common", &["skc_v6_daddr"])?,
        sock_type: of("sock", &["sk_type"])?,
        sock_protocol: of("sock", &["sk_protocol"])?,
        regs_nr: of(REGISTERS, &[nr])?,
        regs_block: block,
        regs_args: within,
    })
}

const REGISTERS: &str = if cfg!(target_arch = "aarch64") { "user_pt_regs" } else { "pt_regs" };

/// Member with the system call's number, and for each argument member and index in it.
fn registers() -> (&'static str, [(&'static str, u32); 6]) {
    if cfg!(target_arch = "aarch64") {
        ("regs", [("regs", 0), ("regs", 1), ("regs", 2), ("regs", 3), ("regs", 4), ("regs", 5)])
    } else {
        ("orig_ax", [("di", 0), ("si", 0), ("dx", 0), ("r10", 0), ("r8", 0), ("r9", 0)])
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_kernel_has_all_fields() {
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else { return };
        let offsets = super::resolve(&bytes).expect("all fields");
        assert_ne!(offsets.task_pid, 0);
        assert_eq!(offsets.task_tgid, offsets.task_pid + 4);
        if cfg!(target_arch = "x86_64") {
            assert_eq!((offsets.regs_nr, offsets.regs_block), (120, 56));
        }
    }
}
