//! The HTML report in a real browser: clicks, the keyboard alone, sort and filter, dark, print, narrow, without script, hostile text, accessibility.
//!
//! In come pages of golden logs, out come pictures in `browser` of the target folder. Each test has a browser of its own. Not here: what the page says
//! (unit tests of `view/html`).

mod axe;
mod driver;
mod pages;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use driver::{Browser, DOWN, ENTER, ESCAPE, RIGHT, TAB, UP};
use lab::harness::{self, Case};
use libtest_mimic::Failed;
use serde_json::{Value, json};

type Test = (&'static str, fn() -> Result<()>);

fn main() -> ExitCode {
    let tests: [Test; 9] = [
        ("hostile text is text", hostile_text_is_text),
        ("pages of all kinds are quiet", pages_are_quiet),
        ("the keyboard alone", the_keyboard_alone),
        ("pointer, zoom, copy", pointer_zoom_copy),
        ("sort and filter", sort_and_filter),
        ("dark and light", dark_and_light),
        ("print", print),
        ("without script", without_script),
        ("accessibility", accessibility),
    ];
    let cases = tests.map(|(name, test)| Case::new(name, false, move || test().map_err(|error| Failed::from(format!("{error:#}")))));
    harness::run("browser", cases.into(), Some(2))
}

/// A picture's file.
fn picture(name: &str) -> Result<PathBuf> {
    Ok(pages::folder()?.join(format!("{name}.png")))
}

/// Nothing was loaded, and the console is empty.
fn is_quiet(browser: &Browser) -> Result<()> {
    browser.expect("a request", "performance.getEntriesByType('resource').length === 0")?;
    let said = browser.console()?;
    ensure!(said.is_empty(), "the console says {said:?}");
    Ok(())
}

/// Every element that a page may have.
const ELEMENTS: &str = "html head meta title style body a svg defs pattern rect line text g use header nav span div label select option button main section ul li ol b i h1 \
                        h2 h3 h4 h5 dl dt dd p code pre kbd table caption thead tbody tfoot tr th td details summary article input output footer script";

fn hostile_text_is_text() -> Result<()> {
    let browser = Browser::start("hostile", 1400)?;
    browser.open(&pages::hostile()?)?;
    browser.run("document.querySelectorAll('details').forEach((it) => { it.open = true; });")?;
    browser.expect("a strange element", &format!("!{ELEMENTS:?}.split(/ +/).includes('') && [...document.querySelectorAll('*')].every((it) => {ELEMENTS:?}.split(/ +/).includes(it.localName))"))?;
    browser
        .expect("a script or a style more", "document.querySelectorAll('script').length === 1 && document.querySelectorAll('style').length === 1")?;
    browser.expect(
        "a handler, a style, a target",
        "[...document.querySelectorAll('*')].every((it) => [...it.attributes].every((at) => !/^(on|style$|src|autofocus)/.test(at.name)))",
    )?;
    browser.expect("a link elsewhere", "[...document.querySelectorAll('[href]')].every((it) => /^#[\\w-]+$/.test(it.getAttribute('href')))")?;
    browser.expect("the text is shown", "document.body.innerText.includes('<script>window.pwned=1</script>')")?;
    // Every bar and every field is touched: what shows evidence copies parts of the page.
    browser.run("document.querySelectorAll('.bar, button').forEach((it) => { it.focus(); it.dispatchEvent(new MouseEvent('mouseenter')); });")?;
    browser.expect("it ran", "window.pwned === undefined")?;
    is_quiet(&browser)?;
    browser.picture(&picture("hostile")?)?;
    // The policy holds: a script that gets into the page all the same does not run.
    browser.run("const it = document.createElement('script'); it.textContent = 'window.broken = 1'; document.body.append(it); document.body.setAttribute('onclick', 'window.broken = 2'); document.body.click();")?;
    browser.expect("the policy does not hold", "window.broken === undefined")?;
    ensure!(!browser.console()?.is_empty(), "the browser says nothing of what its policy refused");
    Ok(())
}

fn pages_are_quiet() -> Result<()> {
    let browser = Browser::start("pages", 1400)?;
    for name in [
        "postfix-milter-opendkim",
        "the-case",
        "exim-two-faults",
        "opensmtpd-busy-neighbour",
        "milter-opendkim",
        "two-clients",
        "fast",
        "hostile-and-lossy",
    ] {
        browser.resize(1400, 1000)?;
        browser.open(&pages::golden(name)?)?;
        is_quiet(&browser).with_context(|| name.to_owned())?;
        browser.expect(name, "document.querySelector('h1').textContent.length > 8")?;
        browser.picture(&picture(name)?)?;
        browser.resize(390, 844)?;
        browser.expect(name, "document.documentElement.scrollWidth <= 390")?;
    }
    browser.picture(&picture("narrow")?)?;
    browser.expect("loss stands at the top", "document.querySelector('.missing').textContent.includes('LOST') && document.querySelector('.missing').offsetTop < document.querySelector('h1').offsetTop")
}

fn the_keyboard_alone() -> Result<()> {
    let browser = Browser::start("keyboard", 1400)?;
    browser.open(&pages::golden("postfix-milter-opendkim")?)?;
    browser.press(TAB)?;
    browser.expect("the first stop", "document.activeElement.className === 'skip'")?;
    browser.press(ENTER)?;
    browser.expect("it leads to the report", "document.activeElement.id === 'main'")?;
    for _ in 0..60 {
        browser.press(TAB)?;
        if browser.run("return document.activeElement.matches('.bar')")? == Value::Bool(true) {
            break;
        }
    }
    browser.expect(
        "a bar has the focus, and its evidence is shown",
        "document.activeElement.matches('.bar') && !document.getElementById('tip').hidden",
    )?;
    browser.expect("the focus is visible", "getComputedStyle(document.activeElement.querySelector('rect')).strokeWidth === '4px'")?;
    browser.expect("one stop of all bars", "document.querySelectorAll('.bar[tabindex=\"0\"]').length === 1")?;
    browser.press(ESCAPE)?;
    browser.expect("Escape hides it", "document.getElementById('tip').hidden")?;
    browser.press(RIGHT)?;
    let row = "[...document.querySelectorAll('.waterfall tbody tr')].indexOf(document.activeElement.closest('tr'))";
    let at = browser.run(&format!("return {row}"))?.as_i64().context("a row")?;
    browser.press(DOWN)?;
    browser.expect("another row", &format!("{row} > {at}"))?;
    browser.press(UP)?;
    browser.expect("and back", &format!("{row} === {at}"))?;
    // To the last bar but those of QUIT: opendkim's own wait.
    for _ in 0..4 {
        browser.press(DOWN)?;
    }
    browser.expect("the evidence of a chain's end", "document.getElementById('tip').innerText.includes('the key of a DKIM signature')")?;
    let width = browser.run("return document.querySelector('.waterfall table').offsetWidth")?.as_f64().context("a width")?;
    browser.press("+")?;
    browser.expect("+ zooms", &format!("document.querySelector('.waterfall table').offsetWidth > {width} * 1.5"))?;
    browser.expect("its text stays in view", "(() => { const text = document.activeElement.querySelector('text').getBoundingClientRect(); return text.left >= document.querySelector('.waterfall').getBoundingClientRect().left + 300 && text.width > 0; })()")?;
    browser.picture(&picture("keyboard")?)?;
    browser.press("0")?;
    browser.expect("0 shows all", &format!("document.querySelector('.waterfall table').offsetWidth === {width}"))?;
    browser.press(ENTER)?;
    browser.expect(
        "Enter leads to the wait, opened",
        "document.activeElement.matches('tr.wait summary') && document.activeElement.parentElement.open",
    )?;
    browser.expect("which is marked", "document.querySelector('tr:target') === document.activeElement.closest('tr')")?;
    is_quiet(&browser)
}

fn pointer_zoom_copy() -> Result<()> {
    let browser = Browser::start("pointer", 1400)?;
    browser.open(&pages::golden("the-case")?)?;
    browser.point(".bar", 0)?;
    browser.expect("the evidence", "document.getElementById('tip').innerText.includes('connect timed out')")?;
    browser.picture(&picture("evidence")?)?;
    browser.point("h1", 0)?;
    browser.expect("gone with the pointer", "document.getElementById('tip').hidden")?;
    browser.point("[data-zoom=in]", 2)?;
    browser.expect("ticks stand closer", "document.querySelector('.axis').textContent.includes('12 s')")?;
    browser.point("[data-zoom=fit]", 1)?;
    browser.point(".waterfall tbody tr:nth-child(3) td.num", 2)?;
    browser.expect("a double click zooms to the row", "document.querySelector('.waterfall').scrollLeft > 0")?;
    browser.expect("which fills the view", "document.querySelector('.waterfall tbody tr:nth-child(3) .span').getBoundingClientRect().width > 600")?;
    browser.picture(&picture("zoomed")?)?;
    browser.point(".copy button", 1)?;
    browser.expect("the command is copied", "document.querySelector('.copy button').textContent === 'Copied'")?;
    browser.point("#open-all", 1)?;
    browser.expect("everything is open", "[...document.querySelectorAll('details')].every((it) => it.open)")?;
    browser.expect(
        "the system calls too",
        "document.querySelector('.calls pre').innerText.includes('poll(') && document.querySelector('.calls pre').innerText.includes('==== C MAIL')",
    )?;
    is_quiet(&browser)
}

fn sort_and_filter() -> Result<()> {
    let browser = Browser::start("list", 1400)?;
    let (page, sessions) = pages::many()?;
    browser.open(&page)?;
    is_quiet(&browser)?;
    browser.picture(&picture("many")?)?;
    browser.run("window.shown = () => [...document.querySelectorAll('#list tbody tr')].filter((it) => !it.hidden); window.column = (at) => shown().map((it) => Number(it.cells[at].textContent));")?;
    let falls = "column(3).every((it, at, all) => at === 0 || all[at - 1] >= it)";
    browser.expect("all are there, the slowest first", &format!("shown().length === {sessions} && {falls}"))?;
    browser.point("#list th:nth-child(4) button", 1)?;
    browser.expect(
        "upwards",
        "column(3).every((it, at, all) => at === 0 || all[at - 1] <= it) && document.querySelector('#list th:nth-child(4)').ariaSort === 'ascending'",
    )?;
    browser.picture(&picture("list")?)?;
    browser.point("#list th:nth-child(6) button", 1)?;
    browser.expect(
        "most commands first",
        "column(5).every((it, at, all) => at === 0 || all[at - 1] >= it) && document.querySelectorAll('#list th[aria-sort]').length === 1",
    )?;
    browser.point("#list th:nth-child(8) button", 1)?;
    browser.expect("the gravest first", "shown()[0].dataset.severity === 'high' && shown().at(-1).dataset.severity === 'none'")?;
    browser.point("#filter-text", 1)?;
    browser.type_text("milter rcpt")?;
    browser.expect("only those", "shown().length > 0 && shown().every((it) => /milter/i.test(it.textContent) && /rcpt/i.test(it.textContent))")?;
    browser.expect("and their number", &format!("document.getElementById('filter-count').value === shown().length + ' of {sessions} sessions'"))?;
    browser.run("const text = document.getElementById('filter-text'); text.value = ''; text.dispatchEvent(new Event('input')); const it = document.getElementById('filter-severity'); it.value = 'intended'; it.dispatchEvent(new Event('input'));")?;
    browser.expect("by how grave", "shown().length > 0 && shown().every((it) => it.dataset.severity === 'intended')")?;
    browser.run("const it = document.getElementById('filter-severity'); it.value = ''; it.dispatchEvent(new Event('input')); const least = document.getElementById('filter-least'); least.value = '10'; least.dispatchEvent(new Event('input'));")?;
    browser.expect("by time", "shown().length > 0 && column(3).every((it) => it >= 10)")?;
    browser.point("#list tbody tr:not([hidden]) a", 1)?;
    browser.expect("a session opens", "document.querySelectorAll('details.session[open]').length === 1 && document.querySelector('details.session[open]').id === location.hash.slice(1)")?;
    browser.expect("its timeline has been drawn", "document.querySelector('details.session[open] .bar rect').getBoundingClientRect().width > 20")?;
    browser.picture(&picture("session-of-many")?)?;
    is_quiet(&browser)
}

fn dark_and_light() -> Result<()> {
    let browser = Browser::start("dark", 1400)?;
    browser.open(&pages::golden("the-case")?)?;
    // The sum of the three colours of what is behind the text, of white 765.
    let brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((sum, it) => sum + Number(it), 0)";
    browser.expect("light", &format!("{brightness} > 700"))?;
    browser.devtools("Emulation.setEmulatedMedia", &json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]}))?;
    browser.expect("as the system", &format!("{brightness} < 120"))?;
    browser.picture(&picture("dark")?)?;
    let choose = |value: &str| {
        browser.run(&format!("const it = document.getElementById('theme'); it.value = '{value}'; it.dispatchEvent(new Event('change'));"))
    };
    choose("light")?;
    browser.expect("as chosen", &format!("{brightness} > 700"))?;
    browser.devtools("Emulation.setEmulatedMedia", &json!({"features": [{"name": "prefers-color-scheme", "value": "light"}]}))?;
    choose("dark")?;
    browser.expect("as chosen", &format!("{brightness} < 120"))?;
    browser.open(&pages::folder()?.join("the-case.html"))?;
    browser.expect("it is remembered", &format!("{brightness} < 120"))?;
    is_quiet(&browser)
}

fn print() -> Result<()> {
    let browser = Browser::start("print", 1400)?;
    browser.open(&pages::golden("postfix-milter-opendkim")?)?;
    let pdf = pages::folder()?.join("postfix-milter-opendkim.pdf");
    browser.print(&pdf)?;
    let bytes = std::fs::read(&pdf)?;
    ensure!(bytes.starts_with(b"%PDF") && bytes.len() > 20_000, "{} bytes", bytes.len());
    // As the printer sees it, also of a page whose script did not run.
    browser.devtools("Emulation.setEmulatedMedia", &json!({"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}))?;
    browser.resize(720, 1000)?;
    browser.expect(
        "what is for the screen is gone",
        "['.top', '.zoom', '.calls'].every((it) => getComputedStyle(document.querySelector(it)).display === 'none')",
    )?;
    browser
        .expect("the evidence is there", "[...document.querySelectorAll('.what .facts')].every((it) => it.getBoundingClientRect().height > 20)")?;
    browser.expect("on white", "getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'")?;
    browser.expect("nothing is cut", "document.documentElement.scrollWidth <= 720")?;
    browser.picture(&picture("print")?)
}

fn without_script() -> Result<()> {
    let browser = Browser::start("still", 1400)?;
    browser.devtools("Emulation.setScriptExecutionDisabled", &json!({"value": true}))?;
    browser.open(&pages::golden("postfix-milter-opendkim")?)?;
    let tree = browser.devtools("Runtime.evaluate", &json!({"expression": "[document.documentElement.className, getComputedStyle(document.querySelector('.tools')).display, document.querySelectorAll('.bar').length, document.body.innerText].join('|')"}))?;
    let text = tree.pointer("/result/value").and_then(Value::as_str).context("no text")?;
    ensure!(text.starts_with("|none|"), "what needs a script is not shown: {}", text.chars().take(40).collect::<String>());
    for part in ["EOM waited 5.01 s", "Timeline", "opendkim (pid", "MAIL FROM:<a@example.com>", "dig @10.99.0.1", "System calls"] {
        ensure!(text.contains(part), "{part} is missing");
    }
    browser.picture(&picture("without-script")?)
}

fn accessibility() -> Result<()> {
    let browser = Browser::start("axe", 1400)?;
    for (name, page) in [("one", pages::golden("postfix-milter-opendkim")?), ("lossy", pages::golden("hostile-and-lossy")?), ("many", pages::some()?)]
    {
        for scheme in ["light", "dark"] {
            browser.devtools("Emulation.setEmulatedMedia", &json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]}))?;
            browser.open(&page)?;
            let folds = if name == "many" { "details.session:first-of-type" } else { "details" };
            browser.run(&format!("document.querySelectorAll('{folds}').forEach((it) => {{ it.open = true; }});"))?;
            let violations = axe::violations(&browser)?;
            ensure!(violations.is_empty(), "{name}, {scheme}: {violations:#?}");
        }
    }
    Ok(())
}
