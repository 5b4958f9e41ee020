//! A real Chromium without a window, driven by WebDriver. The browser and its driver are processes of the test, and end
//! with it. As root the browser has no sandbox, for it takes none then.

use crate::common::process::{Process, Start as _};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use thirtyfour::LoggingPrefsLogLevel;
use thirtyfour::prelude::*;

/// The folder for pictures of the pages.
const PICTURES: &str = "LARDER_TEST_PICTURES";

pub(super) struct Browser {
    pub(super) driver: WebDriver,
    _processes: [Process; 2],
    home: TempDir,
}

impl Browser {
    pub(super) async fn open() -> Self {
        let home = TempDir::new().unwrap();
        std::fs::create_dir(home.path().join("downloads")).unwrap();
        let profile = home.path().join("profile");
        let mut chromium = Command::new("chromium");
        chromium.args(["--headless=new", "--remote-debugging-port=0", "--no-first-run", "--disable-gpu"]);
        chromium.args(["--disable-dev-shm-usage", "--disable-background-networking", "--disable-crash-reporter"]);
        if rustix::process::geteuid().is_root() {
            chromium.arg("--no-sandbox");
        }
        if std::env::var_os(PICTURES).is_some() {
            chromium.arg("--hide-scrollbars");
        }
        chromium.arg(format!("--user-data-dir={}", profile.display())).arg("about:blank").env("HOME", home.path());
        let chromium = quiet(chromium).start().expect("chromium starts: tests/install installs it");
        let port = debugging_port(&profile.join("DevToolsActivePort"));

        let mut driver = Command::new("chromedriver");
        driver.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = driver.start().expect("chromedriver starts: tests/install installs it");
        let mut lines = BufReader::new(driver.stdout.take().expect("its output is a pipe")).lines();
        let said = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, behind) = line.split_once("successfully on port ")?;
            behind.trim_end_matches('.').parse::<u16>().ok()
        });
        let server = format!("http://127.0.0.1:{}", said.expect("chromedriver says its port"));
        std::thread::spawn(move || lines.for_each(drop));

        // The client that speaks to the driver is built with TLS, which it never uses.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut capabilities = DesiredCapabilities::chrome();
        capabilities.set_debugger_address(&format!("127.0.0.1:{port}")).unwrap();
        capabilities.set_logging_prefs("browser", LoggingPrefsLogLevel::All).unwrap();
        let driver_client = WebDriver::new(server, capabilities).await.expect("the driver finds the browser");
        let browser = Self { driver: driver_client, _processes: [driver, chromium], home };
        let downloads = browser.downloads();
        browser.tell("Browser.setDownloadBehavior", json!({"behavior": "allow", "downloadPath": downloads})).await;
        browser
    }

    /// Where downloads lie.
    pub(super) fn downloads(&self) -> PathBuf {
        self.home.path().join("downloads")
    }

    /// A command of the Chrome DevTools Protocol.
    pub(super) async fn tell(&self, method: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(method, parameters).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub(super) async fn without_scripts(&self) {
        self.tell("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
    }

    /// A screen of this width in CSS pixels, in a theme.
    pub(super) async fn look(&self, (width, height): (u32, u32), theme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.tell("Emulation.setDeviceMetricsOverride", size).await;
        let feature = json!({"features": [{"name": "prefers-color-scheme", "value": theme}]});
        self.tell("Emulation.setEmulatedMedia", feature).await;
    }

    /// What a script, run from outside of the page and its policy, gives back.
    pub(super) async fn ask(&self, script: &str) -> Value {
        let said = self.driver.execute(script, Vec::new()).await;
        said.unwrap_or_else(|error| panic!("{script:.200}: {error}")).json().clone()
    }

    /// All that is read on the page.
    pub(super) async fn text(&self) -> String {
        self.driver.find(By::Tag("body")).await.unwrap().text().await.unwrap()
    }

    /// Waits until the page says something.
    pub(super) async fn reads(&self, words: &str) {
        let deadline = Instant::now() + Duration::from_mins(1);
        let mut text = String::new();
        while Instant::now() < deadline {
            // Between two pages there is none.
            if let Ok(body) = self.driver.find(By::Tag("body")).await
                && let Ok(now) = body.text().await
            {
                if now.contains(words) {
                    return;
                }
                text = now;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the page never said {words:?}, but:\n{text}");
    }

    /// The link or button that is called so.
    pub(super) async fn click(&self, name: &str) {
        let path = format!("//a[normalize-space(.)='{name}'] | //button[normalize-space(.)='{name}']");
        let found = self.driver.find(By::XPath(path)).await;
        let Ok(found) = found else { panic!("there is no {name:?} on the page:\n{}", self.text().await) };
        found.click().await.unwrap();
    }

    /// Presses a key where the focus is.
    pub(super) async fn press(&self, key: &str) {
        self.driver.action_chain().send_keys(key).perform().await.unwrap();
    }

    /// What the focus is on: its tag and its name.
    pub(super) async fn focus(&self) -> String {
        let focused = self.driver.active_element().await.unwrap();
        let tag = focused.tag_name().await.unwrap();
        let name = match focused.attr("name").await.unwrap() {
            Some(name) => name,
            None => focused.text().await.unwrap(),
        };
        format!("{tag} {}", name.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Goes on by the tabulator until the focus is on this.
    pub(super) async fn tab_to(&self, wanted: &str) {
        let mut met = Vec::new();
        for _ in 0..80 {
            self.press("\u{e004}").await;
            let focus = self.focus().await;
            if focus == wanted {
                return;
            }
            met.push(focus);
        }
        panic!("{wanted:?} is not reached by the keyboard, but {met:?}");
    }

    /// The file with this ending, once it is there as a whole.
    pub(super) async fn downloaded(&self, name: &str) -> PathBuf {
        let (path, deadline) = (self.downloads().join(name), Instant::now() + Duration::from_mins(1));
        while !path.exists() {
            let there: Vec<_> = std::fs::read_dir(self.downloads()).unwrap().flatten().collect();
            assert!(Instant::now() < deadline, "{name} was never downloaded, but {there:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        path
    }

    /// Panics when the browser has found anything to complain of.
    pub(super) async fn has_no_complaint(&self) {
        let said = self.driver.browser_log().await.unwrap();
        let said: Vec<_> = said.iter().map(|entry| format!("{} {}", entry.level, entry.message)).collect();
        assert!(said.is_empty(), "{said:#?}");
    }

    /// A picture of what is seen, where the environment asks for pictures.
    pub(super) async fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os(PICTURES) else { return };
        let png = self.driver.screenshot_as_png().await.unwrap();
        std::fs::write(Path::new(&folder).join(name), png).unwrap();
    }
}

fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The first line of the file that the browser writes when it listens.
fn debugging_port(file: &Path) -> u16 {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let written = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(port) = written.lines().next().and_then(|line| line.parse().ok()) {
            return port;
        }
        assert!(Instant::now() < deadline, "chromium never listened");
        std::thread::sleep(Duration::from_millis(20));
    }
}
