//! A browser that is driven by `WebDriver` (W3C), as far as the tests need it: Debian's `chromedriver` and `chromium`, over plain HTTP on loopback.
//!
//! In: paths of pages, scripts, keys, places of the pointer. Out: values, pictures, what the browser's console said. Not here: what is expected.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use serde_json::{Value, json};

/// How long the browser may take for one command.
const LIMIT: Duration = Duration::from_mins(2);

/// Keys of the `WebDriver` standard (17.4.2), and their names.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";
pub const UP: &str = "\u{e013}";
pub const RIGHT: &str = "\u{e014}";
pub const DOWN: &str = "\u{e015}";

/// A browser without a window; it ends with this value.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    /// Its home, with its profile; it is removed with it.
    home: PathBuf,
}

impl Browser {
    /// Starts one, with a page of this width.
    pub fn start(name: &str, width: u32) -> Result<Self> {
        let home = std::env::temp_dir().join(format!("mta-trace-browser-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&home).with_context(|| format!("create {}", home.display()))?;
        // The wrapper of Debian's package reads the home's settings.
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").env("HOME", &home).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = command.spawn().context("start chromedriver; `apt-get install chromium-driver` has it")?;
        let port = driver.stdout.take().and_then(|out| port(BufReader::new(out)));
        let mut browser = Self { driver, port: port.context("chromedriver does not say its port")?, session: String::new(), home };
        // As root there is no sandbox; in a container /dev/shm may be small.
        let args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run"];
        let options = json!({"args": args});
        let wanted = json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}, "timeouts": {"script": 110_000}});
        let made = browser.ask("POST", "/session", &json!({"capabilities": {"alwaysMatch": wanted}})).context("start chromium")?;
        made.get("sessionId").and_then(Value::as_str).context("no session")?.clone_into(&mut browser.session);
        browser.resize(width, 1000)?;
        Ok(browser)
    }

    /// Sets the size of the page.
    pub fn resize(&self, width: u32, height: u32) -> Result<()> {
        self.devtools("Emulation.setDeviceMetricsOverride", &json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}))?;
        Ok(())
    }

    /// Opens a file.
    pub fn open(&self, page: &Path) -> Result<()> {
        self.command("url", &json!({"url": format!("file://{}", page.display())}))?;
        Ok(())
    }

    /// Runs the body of a function and gives what it returns.
    pub fn run(&self, script: &str) -> Result<Value> {
        self.command("execute/sync", &json!({"script": script, "args": []}))
            .with_context(|| format!("run {}", script.chars().take(200).collect::<String>()))
    }

    /// The same of one that calls its last argument with what it gives.
    pub fn run_async(&self, script: &str) -> Result<Value> {
        self.command("execute/async", &json!({"script": script, "args": []}))
    }

    /// Fails where a script does not return true, at once or soon.
    pub fn expect(&self, what: &str, script: &str) -> Result<()> {
        let began = Instant::now();
        loop {
            let value = self.run(&format!("return ({script})"))?;
            if value == Value::Bool(true) {
                return Ok(());
            }
            ensure!(began.elapsed() < Duration::from_secs(5), "{what}: {script} is {value}");
            // WebDriver has no event for what a page shows.
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Presses and releases a key.
    pub fn press(&self, key: &str) -> Result<()> {
        let actions = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        self.command("actions", &json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]}))?;
        Ok(())
    }

    /// Types a text.
    pub fn type_text(&self, text: &str) -> Result<()> {
        text.chars().try_for_each(|c| self.press(&c.to_string()))
    }

    /// Moves the pointer to the middle of what a selector finds first, and clicks so often.
    pub fn point(&self, selector: &str, clicks: usize) -> Result<()> {
        let script = format!(
            "const it = document.querySelector({selector:?}); it.scrollIntoView({{block: 'center', behavior: 'instant'}}); \
             const box = it.getBoundingClientRect(); return [box.left + Math.min(box.width / 2, 60), box.top + box.height / 2];"
        );
        let place = self.run(&script).with_context(|| format!("there is no {selector}"))?;
        let at = |index: usize| place.get(index).and_then(Value::as_f64).map(f64::round).context("no place");
        let mut actions = vec![json!({"type": "pointerMove", "duration": 0, "x": at(0)?, "y": at(1)?, "origin": "viewport"})];
        for _ in 0..clicks {
            actions.extend([json!({"type": "pointerDown", "button": 0}), json!({"type": "pointerUp", "button": 0})]);
        }
        self.command(
            "actions",
            &json!({"actions": [{"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}]}),
        )?;
        Ok(())
    }

    /// A command of the browser's own protocol.
    pub fn devtools(&self, command: &str, params: &Value) -> Result<Value> {
        self.command("goog/cdp/execute", &json!({"cmd": command, "params": params})).with_context(|| command.to_owned())
    }

    /// What the console has said since it was last asked.
    pub fn console(&self) -> Result<Vec<String>> {
        let entries = self.command("se/log", &json!({"type": "browser"}))?;
        Ok(entries.as_array().into_iter().flatten().map(|entry| entry.get("message").unwrap_or(entry).to_string()).collect())
    }

    /// Keeps a picture of what is visible.
    pub fn picture(&self, path: &Path) -> Result<()> {
        let image = self.ask("GET", &format!("/session/{}/screenshot", self.session), &Value::Null)?;
        keep(path, &image)
    }

    /// Prints the page as PDF into a file.
    pub fn print(&self, path: &Path) -> Result<()> {
        let pdf = self.command("print", &json!({"background": true}))?;
        keep(path, &pdf)
    }

    fn command(&self, name: &str, body: &Value) -> Result<Value> {
        self.ask("POST", &format!("/session/{}/{name}", self.session), body)
    }

    /// One request, one answer, one connection.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).context("connect to chromedriver")?;
        stream.set_read_timeout(Some(LIMIT))?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        let mut answer = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            let read = answer.read_line(&mut line).with_context(|| format!("chromedriver does not answer {method} {path}"))?;
            let line = line.trim_end().to_ascii_lowercase();
            if read == 0 || line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().context("a length that is no number")?;
            }
        }
        // It leaves the connection open.
        let mut body = vec![0; length];
        answer.read_exact(&mut body).context("chromedriver's answer is cut")?;
        let mut answer: Value = serde_json::from_slice(&body).context("chromedriver's answer is no JSON")?;
        let value = answer.get_mut("value").map(Value::take).unwrap_or_default();
        if let Some(error) = value.get("error") {
            bail!("{error}: {}", value.get("message").unwrap_or(error));
        }
        Ok(value)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser itself.
        let _ = self.ask("DELETE", &format!("/session/{}", self.session), &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

/// `ChromeDriver was started successfully on port 40435.`
fn port(out: impl std::io::BufRead) -> Option<u16> {
    let said = out.lines().map_while(Result::ok).find(|line| line.contains("started successfully"))?;
    said.trim_end_matches('.').rsplit(' ').next()?.parse().ok()
}

fn keep(path: &Path, base64: &Value) -> Result<()> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64.as_str().context("no bytes")?).context("no base64")?;
    std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}
