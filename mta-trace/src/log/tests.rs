use super::*;
use crate::event::*;
use mta_trace_common::syscalls::Call;
use proptest::prelude::*;
use std::io::{BufReader, Cursor, Write};

const HEADER: &str = r#"{"k":"header","schema":"mta-trace.log/1","tool":"0.1.0","kernel":"6.1.0","arch":"x86_64","hooks":"tracepoint","boot_to_wall_ns":1,"attach_ns":[1,2],"target":{"pid":1,"exe":"/x","mta":"sendmail"},"min_wait_ns":1000000}"#;

fn items(text: &[u8]) -> Result<Vec<Item>, Error> {
    Reader::new("test", Box::new(BufReader::new(Cursor::new(text.to_vec()))))?.collect()
}

#[test]
fn reads_what_it_knows_and_counts_the_rest() {
    let text = format!("{HEADER}\n\n{{\"k\":\"end\",\"t\":5,\"reason\":\"signal\",\"more\":1}}\n{{\"k\":\"future\"}}\nrubbish\n");
    let items = items(text.as_bytes()).expect("log");
    assert!(matches!(&items[0], Item::Record(record) if matches!(**record, Record::Header(_))));
    assert_eq!(items[1], Item::Record(Box::new(Record::End(End { t: 5, reason: "signal".into() }))));
    assert_eq!(items[2], Item::Unknown { line: 4, kind: "future".into() });
    assert!(matches!(&items[3], Item::Unreadable { line: 5, .. }));
}

#[test]
fn a_cut_last_line_is_told() {
    let text = format!("{HEADER}\n{{\"k\":\"end\",\"t\":5,\"re");
    assert_eq!(items(text.as_bytes()).expect("log")[1], Item::Cut { line: 2 });
}

#[test]
fn what_is_no_log_is_refused_by_name() {
    assert!(matches!(items(b""), Err(Error::Empty { .. })));
    assert!(matches!(items(&[0xff; 300]), Err(Error::NoLog { .. })));
    assert!(matches!(items(b"{\"k\":\"end\",\"t\":5,\"reason\":\"signal\"}\n"), Err(Error::NoLog { .. })));
    let newer = HEADER.replace("log/1", "log/2");
    match items(newer.as_bytes()) {
        Err(error @ Error::Schema { .. }) => assert!(error.to_string().contains("mta-trace.log/2")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_without_end_is_not_swallowed_whole() {
    let mut text = format!("{HEADER}\n").into_bytes();
    text.extend(std::iter::repeat_n(b'x', 3 << 20));
    text.extend(b"\n{\"k\":\"end\",\"t\":5,\"reason\":\"signal\"}\n");
    let items = items(&text).expect("log");
    assert_eq!(items.len(), 3);
    assert!(matches!(&items[2], Item::Record(_)));
}

/// A folder of the test's own, removed when it is over.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mta-trace-log-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("folder");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn end(t: u64) -> Record {
    Record::End(End { t, reason: "signal".into() })
}

fn header() -> Record {
    decode(HEADER).expect("header")
}

#[test]
fn writes_and_reads_plain_and_compressed() {
    let folder = Folder::new("round");
    for name in ["log.jsonl", "log.jsonl.zst"] {
        let path = folder.file(name);
        let mut writer = Writer::create(&path, false).expect("new file");
        for record in [header(), end(1)] {
            writer.write(&record).expect("written");
            writer.flush().expect("flushed");
        }
        writer.write(&end(2)).expect("written");
        drop(writer);
        let records: Vec<_> = read(&path).expect("log").map(|item| item.expect("readable")).collect();
        assert_eq!(records, [header(), end(1), end(2)].map(|record| Item::Record(Box::new(record))));
    }
}

#[test]
fn a_torn_frame_is_a_cut() {
    let folder = Folder::new("torn");
    let path = folder.file("log.zst");
    let mut writer = Writer::create(&path, false).expect("new file");
    for record in [header(), end(1)] {
        writer.write(&record).expect("written");
        writer.flush().expect("flushed");
    }
    drop(writer);
    let bytes = std::fs::read(&path).expect("bytes");
    std::fs::write(&path, &bytes[..bytes.len() - 3]).expect("cut");
    let items: Vec<_> = read(&path).expect("log").map(|item| item.expect("readable")).collect();
    assert!(matches!(items.as_slice(), [Item::Record(_), Item::Cut { .. }]), "{items:?}");
}

#[test]
fn a_file_is_private_and_not_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("safe");
    let path = folder.file("log");
    std::fs::write(&path, "old old old").expect("old");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("mode");
    assert!(matches!(Writer::create(&path, false), Err(Error::Exists { .. })));
    assert_eq!(std::fs::read(&path).expect("old"), b"old old old");
    drop(Writer::create(&path, true).expect("forced"));
    let metadata = std::fs::metadata(&path).expect("metadata");
    assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (0, 0o600));
    let link = folder.file("link");
    std::os::unix::fs::symlink(&path, &link).expect("link");
    for force in [false, true] {
        assert!(matches!(Writer::create(&link, force), Err(Error::Link { .. })));
    }
    let folder_path = folder.0.to_string_lossy().into_owned();
    assert!(matches!(Writer::create(&folder_path, true), Err(Error::NoFile { .. })));
    assert!(matches!(Writer::create("/dev/null", true), Err(Error::NoFile { .. })));
}

/// A sink without room.
struct FullDisk;

impl Write for FullDisk {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    let mut writer = Writer::new("/var/log/x.jsonl", Box::new(FullDisk), false);
    writer.write(&end(1)).expect("kept back");
    let error = writer.flush().expect_err("full");
    assert!(matches!(error, Error::Full { .. }) && error.to_string().starts_with("/var/log/x.jsonl: "));
}

fn text() -> impl Strategy<Value = String> {
    ".{0,12}"
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    prop_oneof![
        any::<(std::net::Ipv4Addr, u16)>().prop_map(|(ip, port)| Endpoint::Inet((ip, port).into())),
        any::<(std::net::Ipv6Addr, u16)>().prop_map(|(ip, port)| Endpoint::Inet((ip, port).into())),
        "[/@][a-z\\PC]{0,20}".prop_map(Endpoint::Unix),
    ]
}

fn counters() -> impl Strategy<Value = Counters> {
    any::<(u64, u64, u64)>().prop_map(|(cpu_ns, blocked_ns, rq_ns)| Counters { cpu_ns, blocked_ns, rq_ns })
}

fn bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes)
}

fn socket() -> impl Strategy<Value = SocketId> {
    let protos = prop_oneof![Just(Proto::Tcp), Just(Proto::Udp), Just(Proto::Unix), Just(Proto::Other)];
    let ends = (proptest::option::of(endpoint()), proptest::option::of(endpoint()));
    (any::<u64>(), protos, ends, any::<Option<u64>>()).prop_map(|(inode, proto, (local, peer), peer_inode)| SocketId {
        inode,
        proto,
        local,
        peer,
        peer_inode,
    })
}

fn args() -> impl Strategy<Value = Args> {
    let numbers = (any::<Option<i32>>(), any::<Option<i32>>(), any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<i32>>());
    let fds = proptest::collection::vec((any::<i32>(), proptest::collection::vec(text(), 0..2)), 0..3);
    let sets = proptest::collection::vec(any::<i32>(), 0..3);
    let texts = (proptest::option::of(text()), proptest::option::of(text()), proptest::collection::vec(text(), 0..3));
    (numbers, fds, sets, texts, proptest::option::of(endpoint())).prop_map(|((fd, fd2, len, timeout_ns, pid), fds, set, (path, op, flags), addr)| {
        Args {
            fd,
            fd2,
            len,
            flags,
            addr,
            path,
            op,
            fds: fds.into_iter().map(|(fd, events)| PollFd { fd, revents: events.clone(), events }).collect(),
            read: set.clone(),
            write: set.clone(),
            except: set,
            timeout_ns,
            pid,
        }
    })
}

fn sys() -> impl Strategy<Value = Record> {
    use SmtpMode::{Auth, Command, Data, Opaque, Pending, Unknown};
    let modes = proptest::sample::select(vec![Unknown, Command, Pending, Auth, Data, Opaque]);
    let smtp = (modes, any::<bool>(), proptest::option::of(bytes())).prop_map(|(mode, dot, carry)| Smtp { mode, dot, carry });
    let numbers = (any::<u64>(), any::<u32>(), any::<u32>(), any::<i64>(), any::<Option<u64>>(), 0..Call::ALL.len());
    let more = (proptest::option::of(socket()), proptest::option::of(endpoint()), proptest::option::of(bytes()), proptest::option::of(smtp));
    (numbers, args(), counters(), proptest::option::of(counters()), more, any::<[bool; 4]>(), (any::<(Option<bool>, Option<i32>)>(), messages()))
        .prop_map(
            |(
                (t, pid, tid, ret, start, call),
                args,
                at,
                at_start,
                (socket, peer, data, smtp),
                [cut, fault, milter, policy],
                ((matched, passed), messages),
            )| {
                Record::Sys(Box::new(Sys {
                    t,
                    pid,
                    tid,
                    call: Call::ALL[call],
                    args,
                    ret,
                    start,
                    cpu_ns: at.cpu_ns,
                    blocked_ns: at.blocked_ns,
                    rq_ns: at.rq_ns,
                    at_start,
                    socket,
                    peer,
                    data,
                    cut,
                    fault,
                    smtp,
                    matched,
                    milter,
                    policy,
                    passed,
                    messages,
                }))
            },
        )
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    let message = any::<(u32, u16, u32, u32, u64)>().prop_map(|(kind, len, peer, pid, id)| Message { kind, len, peer, pid, id });
    proptest::collection::vec(message, 0..3)
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        4 => sys(),
        1 => (any::<(u64, u32, u32, i64, u64)>(), proptest::option::of(text()), proptest::option::of(args()), any::<bool>(), counters()).prop_map(
            |((t, pid, tid, nr, since), call, args, unfinished, at)| Record::Block(Box::new(Block { t, pid, tid, nr, cause: call.clone(), call, since, unfinished, args, at, at_start: Some(at), socket: None, peer: None }))
        ),
        1 => (any::<(u64, u32, u32, u32, bool)>(), text(), counters()).prop_map(
            |((t, pid, child, child_tid, traced), comm, at)| Record::Fork(Fork { t, pid, tid: pid, child, child_tid, comm, traced, at })
        ),
        1 => (any::<(u64, u32, i32, Option<u32>, Option<u64>)>(), counters()).prop_map(
            |((t, pid, code, signal, since), at)| Record::Exit(Exit { t, pid, tid: pid, code, signal, call: None, since, at })
        ),
        1 => (any::<(u64, u64)>(), endpoint()).prop_map(|((t, since), peer)| Record::Backlog(Backlog { t, peer, since })),
        1 => any::<(u64, i64)>().prop_map(|(t, wall_ns)| Record::Clock(Clock { t, wall_ns })),
        1 => (any::<u64>(), any::<u32>(), proptest::option::of(text()), any::<[u64; 2]>()).prop_map(
            |(t, pid, state, [listen_overflows, listen_drops])| Record::Daemon(Daemon { t, pid, state, listen_overflows, listen_drops })
        ),
        1 => (any::<[u64; 3]>(), any::<[u32; 3]>(), text(), proptest::option::of(endpoint())).prop_map(
            |([t, inode, peer_inode], [pid, waiter, connections], comm, endpoint)| Record::Helper(Helper { t, pid, exe: comm.clone(), comm, waiter, inode, peer_inode, endpoint, connections })
        ),
        1 => any::<(u64, u32)>().prop_map(|(t, pid)| Record::Release(Release { t, pid })),
        1 => any::<[u64; 7]>().prop_map(|[t, ring, truncated, fault, tables, switches, exits]| Record::Loss(Loss { t, ring, truncated, fault, tables, switches, exits })),
        1 => (text(), bytes()).prop_map(|(reason, malformed)| Record::Malformed(Malformed { reason, malformed })),
        1 => (any::<(u32, u32)>(), text(), proptest::option::of(text())).prop_map(|((pid, ppid), comm, verb)| Record::SeedProc(SeedProc {
            pid, ppid, exe: comm.clone(), comm, cwd: verb.clone(), root: None, role: None, service: verb.clone(), verb, call: None, fd: Some(3)
        })),
        1 => (any::<(u32, i32, bool)>(), proptest::option::of(text()), proptest::option::of(socket())).prop_map(
            |((pid, fd, client), path, socket)| Record::SeedFd(SeedFd { pid, fd, path, socket, client })
        ),
        1 => (text(), text()).prop_map(|(path, text)| Record::SeedFile(SeedFile { path, text })),
        1 => (text(), text(), proptest::option::of(text()), any::<(bool, bool, u32)>()).prop_map(|(file, name, value, (whole, newer, line))| {
            Record::SeedSettings(SeedSettings { file, whole, newer, settings: vec![SeedSetting { name, value, line }] })
        }),
        1 => (any::<(u64, u32)>(), text()).prop_map(|((t, pid), comm)| Record::Exec(Exec { t, pid, comm })),
    ]
}

proptest! {
    #[test]
    fn encode_and_decode_are_inverse(record in record()) {
        let line = encode(&record);
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(decode(&line).expect("own line"), record);
    }

    #[test]
    fn a_call_has_the_line_that_serde_gives_it(record in sys()) {
        prop_assert_eq!(encode(&record), serde_json::to_string(&record).expect("JSON"));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), with_header: bool) {
        let mut text = if with_header { format!("{HEADER}\n").into_bytes() } else { Vec::new() };
        text.extend(bytes);
        let _ = items(&text);
    }

    #[test]
    fn compressed_rubbish_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut text = zstd::encode_all(format!("{HEADER}\n").as_bytes(), 1).expect("frame");
        text.extend(bytes);
        let _ = items(&text);
    }
}

#[test]
fn a_log_that_is_too_large_is_begun_again() {
    let folder = Folder::new("rotation");
    let path = folder.file("x.jsonl");
    let mut writer = Writer::create(&path, false).unwrap().rotating(Some(2_000));
    writer.write(&decode(HEADER).unwrap()).unwrap();
    for t in 0..100 {
        writer.write(&exec(t)).unwrap();
        writer.flush().unwrap();
    }
    drop(writer);
    let (old, new) = (times(&format!("{path}.1")), times(&path));
    assert_eq!(new.last(), Some(&99));
    assert_eq!(old.last().map(|t| t + 1), new.first().copied(), "nothing is missing between the two");
    let length = std::fs::metadata(format!("{path}.1")).unwrap().len();
    assert!((2_000..2_500).contains(&length), "{length}");
}

fn exec(t: u64) -> Record {
    Record::Exec(Exec { t, pid: 1, comm: "sendmail".into() })
}

fn records(path: &str) -> Vec<Record> {
    let items = read(path).unwrap().map(|item| item.unwrap());
    items.filter_map(|item| if let Item::Record(record) = item { Some(*record) } else { None }).collect()
}

fn times(path: &str) -> Vec<u64> {
    records(path).iter().filter_map(Record::t).collect()
}

fn daemon(t: u64, listen_overflows: u64) -> Record {
    Record::Daemon(Daemon { t, pid: 1, state: None, listen_overflows, listen_drops: 0 })
}

#[test]
fn regress_what_is_written_between_two_flushes_stands_in_one_log() {
    let folder = Folder::new("rotation-session");
    let path = folder.file("x.jsonl");
    let mut writer = Writer::create(&path, false).unwrap().rotating(Some(2_000));
    writer.write(&decode(HEADER).unwrap()).unwrap();
    // Much more than is kept back.
    for t in 0..20_000 {
        writer.write(&exec(t)).unwrap();
    }
    writer.flush().unwrap();
    assert!(!std::fs::exists(format!("{path}.1")).unwrap(), "a log that would be empty is not begun");
    writer.write(&exec(20_000)).unwrap();
    drop(writer);
    assert_eq!((times(&format!("{path}.1")).len(), times(&path)), (20_000, vec![20_000]));
}

/// The first count of the new log was all that the old ones had lost, and its sessions began by a clock that was days old.
#[test]
fn regress_a_log_that_is_begun_again_has_its_own_loss_and_the_clock() {
    let folder = Folder::new("rotation-loss");
    let path = folder.file("x.jsonl");
    let mut writer = Writer::create(&path, false).unwrap().rotating(Some(1));
    let loss = |t, ring| Record::Loss(Loss { t, ring, ..Loss::default() });
    let clock = Record::Clock(Clock { t: 2, wall_ns: 5 });
    for record in [&header(), &loss(1, 70), &clock] {
        writer.write(record).unwrap();
    }
    writer.flush().unwrap();
    for record in [&exec(3), &loss(4, 73)] {
        writer.write(record).unwrap();
    }
    drop(writer);
    assert_eq!(records(&format!("{path}.1")), [header(), loss(1, 70), clock.clone()]);
    assert_eq!(records(&path), [header(), clock, exec(3), loss(4, 3)]);
}

#[test]
fn regress_a_log_that_is_begun_again_begins_with_the_daemon_as_it_was() {
    let folder = Folder::new("rotation-daemon");
    let path = folder.file("x.jsonl");
    let mut writer = Writer::create(&path, false).unwrap().rotating(Some(200));
    for record in [decode(HEADER).unwrap(), daemon(1, 3), daemon(2, 5)] {
        writer.write(&record).unwrap();
    }
    writer.flush().unwrap();
    writer.write(&daemon(3, 9)).unwrap();
    drop(writer);
    assert_eq!(records(&path), [decode(HEADER).unwrap(), daemon(2, 5), daemon(3, 9)]);
}

/// All that was told of helpers went into the head of every next log, for ever, and not that they were helpers.
#[test]
fn regress_what_was_taken_in_later_goes_into_the_next_log_until_it_is_over() {
    let folder = Folder::new("rotation-helpers");
    let path = folder.file("x.jsonl");
    let helper = |t, pid| {
        let (comm, exe) = ("opendkim".to_owned(), "/usr/sbin/opendkim".to_owned());
        Record::Helper(Helper { t, pid, comm, exe, waiter: 2, inode: 40, peer_inode: 41, endpoint: None, connections: 1 })
    };
    let descriptor = |pid, fd| Record::SeedFd(SeedFd { pid, fd, path: Some("/etc/passwd".into()), socket: None, client: false });
    let mut writer = Writer::create(&path, false).unwrap().rotating(Some(1));
    for record in [header(), descriptor(1, 3), exec(1), helper(2, 70), descriptor(70, 4), helper(3, 71), descriptor(71, 5)] {
        writer.write(&record).unwrap();
    }
    writer.write(&Record::Release(Release { t: 4, pid: 71 })).unwrap();
    writer.flush().unwrap();
    writer.write(&exec(5)).unwrap();
    writer.flush().unwrap();
    assert_eq!(records(&path), [header(), descriptor(1, 3), helper(2, 70), descriptor(70, 4), exec(5)]);
    // More descriptors than are kept, each time that somebody waits for it; and more helpers than that.
    for pid in (100..4_000).chain([70]) {
        writer.write(&helper(6, pid)).unwrap();
        (0..if pid == 70 { 2_000 } else { 1 }).for_each(|fd| writer.write(&descriptor(pid, fd)).unwrap());
    }
    writer.flush().unwrap();
    writer.write(&exec(7)).unwrap();
    drop(writer);
    let records = records(&path);
    assert!(records.len() < 2_000 && std::fs::metadata(&path).unwrap().len() < 200_000, "{} records", records.len());
    let place = |wanted: &Record| records.iter().position(|record| record == wanted).expect("it is kept");
    assert!(place(&helper(6, 70)) < place(&descriptor(70, 0)), "whose they are stands before descriptors");
    assert_eq!(records.iter().filter(|record| matches!(record, Record::Helper(_))).count(), 256);
}

/// The log seemed to end there, and nothing was said to be missing.
#[test]
fn regress_a_line_that_is_too_long_is_passed_over_and_counted() {
    let long = format!("{HEADER}\n{{\"k\":\"exec\",\"comm\":\"{}\"}}\n{}\n", "x".repeat(3 << 20), encode(&exec(5)));
    let items = items(long.as_bytes()).expect("log");
    assert!(matches!(&items[1], Item::Unreadable { line: 2, reason } if reason.contains("1048576 bytes")), "{:?}", items[1]);
    assert_eq!(items[2], Item::Record(Box::new(exec(5))));
}
