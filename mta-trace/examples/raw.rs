fn main() {
    mta_trace::kernel::prepare_tracefs().unwrap();
    let mut o = mta_trace::options::AttachOptions { min_wait_ns: 1_000_000, ..Default::default() };
    o.pid = std::env::args().nth(1).and_then(|s| s.parse().ok());
    let mut t = match mta_trace::kernel::attach(&o) { Ok(t) => t, Err(e) => { eprintln!("{e}"); std::process::exit(e.exit_code().into()) } };
    eprintln!("ready {:?} {:?}", t.target, t.attach_ns[1]-t.attach_ns[0]);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(std::env::args().nth(2).and_then(|s| s.parse().ok()).unwrap_or(5));
    for s in &t.seeds { println!("{}", serde_json::to_string(s).unwrap()); }
    while std::time::Instant::now() < end {
        t.drain(|b| println!("{}", serde_json::to_string(&mta_trace::decode::record(b)).unwrap()));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    eprintln!("loss {:?}", t.loss());
}
