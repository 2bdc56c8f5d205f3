//! Where the fields of kernel structures lie: a reader of the kernel's BTF (`Documentation/bpf/btf.rst`).
//!
//! In: the bytes of `/sys/kernel/btf/vmlinux`. Out: offsets in bytes. Total on any bytes: what cannot be read
//! is `None`. Only structures and their members are read, anonymous ones inside are looked through.
//! (The loader's own BTF type has no public way to members.)

use std::collections::HashMap;

const MAGIC: u16 = 0xeb9f;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FWD: u32 = 7;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;
const KIND_INT: u32 = 1;

/// The structures of a kernel.
pub struct Btf<'a> {
    bytes: &'a [u8],
    strings: usize,
    /// Place of each type's head in `bytes`; type 0 is `void`.
    types: Vec<usize>,
    /// Structures by name.
    structs: HashMap<&'a str, u32>,
}

impl<'a> Btf<'a> {
    /// Reads the table of types.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if u16_at(bytes, 0)? != MAGIC {
            return None;
        }
        let head = usize::try_from(u32_at(bytes, 4)?).ok()?;
        let place = |at| usize::try_from(u32_at(bytes, at)?).ok()?.checked_add(head);
        let (start, strings) = (place(8)?, place(16)?);
        let end = start.checked_add(usize::try_from(u32_at(bytes, 12)?).ok()?)?;
        let mut btf = Self { bytes, strings, types: vec![0], structs: HashMap::new() };
        let mut at = start;
        while at < end {
            let (kind, count) = btf.kind(at)?;
            if kind == KIND_STRUCT
                && let Some(name) = btf.name(u32_at(bytes, at)?)
            {
                btf.structs.entry(name).or_insert(u32::try_from(btf.types.len()).ok()?);
            }
            btf.types.push(at);
            at = at.checked_add(12)?.checked_add(tail(kind, count))?;
        }
        Some(btf)
    }

    /// Offset of a member in bytes; members of anonymous structures and unions count as the structure's own.
    pub fn offset(&self, structure: &str, member: &str) -> Option<u32> {
        self.member(*self.structs.get(structure)?, member, 0).map(|bits| bits / 8)
    }

    /// A small BTF in which functions and type names that are wanted have the numbers that they have here, and nothing else has a name: what the
    /// loader needs to attach, without the 25 MiB that it would make of the kernel's own.
    pub fn sparse(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<u8> {
        let (mut types, mut strings) = (Vec::new(), vec![0]);
        for at in self.types.iter().skip(1) {
            let kind = self.kind(*at).map_or(KIND_FWD, |(kind, _)| kind);
            let name = u32_at(self.bytes, *at).and_then(|offset| self.name(offset));
            let kept = name.filter(|name| matches!(kind, KIND_FUNC | KIND_TYPEDEF) && is_wanted(name));
            let (kind, offset) = kept.map_or((KIND_FWD, 0), |_| (kind, u32::try_from(strings.len()).unwrap_or(0)));
            if let Some(name) = kept {
                strings.extend_from_slice(name.as_bytes());
                strings.push(0);
            }
            for word in [offset, kind << 24, 0] {
                types.extend_from_slice(&word.to_le_bytes());
            }
        }
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(0);
        let head = [u32::from(MAGIC) | 1 << 16, 24, 0, length(&types), length(&types), length(&strings)];
        head.iter().flat_map(|word| word.to_le_bytes()).chain(types).chain(strings).collect()
    }

    fn member(&self, id: u32, wanted: &str, depth: u8) -> Option<u32> {
        let at = *self.types.get(usize::try_from(id).ok()?)?;
        let (kind, count) = self.kind(at)?;
        if depth > 8 || (kind != KIND_STRUCT && kind != KIND_UNION) {
            return None;
        }
        let is_bitfield_form = u32_at(self.bytes, at.checked_add(4)?)? >> 31 == 1;
        (0..count).find_map(|i| {
            let entry = at.checked_add(12)?.checked_add(i.checked_mul(12)?)?;
            let name = u32_at(self.bytes, entry)?;
            let raw = u32_at(self.bytes, entry.checked_add(8)?)?;
            let bits = if is_bitfield_form { raw & 0x00ff_ffff } else { raw };
            if name == 0 {
                let inner = self.member(u32_at(self.bytes, entry.checked_add(4)?)?, wanted, depth + 1)?;
                return bits.checked_add(inner);
            }
            (self.name(name)? == wanted).then_some(bits)
        })
    }

    fn kind(&self, at: usize) -> Option<(u32, usize)> {
        let info = u32_at(self.bytes, at.checked_add(4)?)?;
        Some((info >> 24 & 31, usize::try_from(info & 0xffff).ok()?))
    }

    fn name(&self, offset: u32) -> Option<&'a str> {
        let rest = self.bytes.get(self.strings.checked_add(usize::try_from(offset).ok()?)?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(rest.get(..end)?).ok()
    }
}

/// Bytes behind the head of a type.
fn tail(kind: u32, count: usize) -> usize {
    match kind {
        KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * count,
        KIND_ENUM | KIND_FUNC_PROTO => 8 * count,
        _ => 0,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_copy_keeps_the_numbers() {
        let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else { return };
        let whole = Btf::parse(&bytes).unwrap();
        let sparse = whole.sparse(|name| name == "btf_trace_sched_switch" || name == "vfs_read");
        let copy = Btf::parse(&sparse).unwrap();
        assert_eq!(copy.types.len(), whole.types.len());
        let numbers = |btf: &Btf<'_>, wanted: &str| -> Vec<usize> {
            let is = |at: &usize| *at != 0 && u32_at(btf.bytes, *at).and_then(|offset| btf.name(offset)) == Some(wanted);
            (1..btf.types.len()).filter(|id| btf.types.get(*id).is_some_and(is)).collect()
        };
        for name in ["btf_trace_sched_switch", "vfs_read"] {
            assert_eq!(numbers(&whole, name), numbers(&copy, name), "{name}");
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        assert!(Btf::parse(&[]).is_none());
        assert!(Btf::parse(&[0x9f, 0xeb, 1, 0, 255, 255, 255, 255, 0, 0, 0, 0]).is_none());
        let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
        bytes.extend([0; 8]);
        bytes.extend([255; 8]);
        let _ = Btf::parse(&bytes);
    }
}
