//! Chromium without a window, driven by its own driver (W3C WebDriver).

use std::{
    fs,
    io::{BufReader, Write},
    path::Path,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    client::{connect, read_response},
    server::Server,
    vm::free_port,
};

/// A browser with one window. Dropping it ends it.
pub struct Browser {
    session: String,
    driver: Server,
}

/// It speaks to nobody but whom it is sent to.
const ARGUMENTS: [&str; 12] = [
    "--headless",
    // As root it has no sandbox. The pages are our own.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--window-size=1000,800",
];

impl Browser {
    /// Starts one that keeps its files in this folder.
    pub fn start(profile: &Path) -> Browser {
        let driver = Server::chromedriver(free_port());
        let arguments = ARGUMENTS.map(str::to_owned);
        let arguments = arguments.into_iter().chain([format!("--user-data-dir={}", profile.display())]);
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments.collect::<Vec<_>>() },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let mut browser = Browser { session: String::new(), driver };
        let session = browser.command("POST", "session", &wanted);
        browser.session = session["sessionId"].as_str().expect("a session has a name").to_owned();
        browser
    }

    /// Goes to a page, and returns when it is loaded with all that is on it.
    pub fn opens(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// The value of a script's `return`.
    pub fn asks(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What the page has complained of, in the console of its developer.
    pub fn complaints(&self) -> Vec<String> {
        let lines = self.post("se/log", &json!({ "type": "browser" }));
        let lines = lines.as_array().expect("a log has lines").iter();
        lines.filter(|line| line["level"] != "INFO" && line["level"] != "DEBUG").map(|line| line.to_string()).collect()
    }

    /// Writes what the window shows, as PNG.
    pub fn takes_screenshot(&self, file: &Path) {
        let picture = self.command("GET", &format!("session/{}/screenshot", self.session), &Value::Null);
        let picture = BASE64_STANDARD.decode(picture.as_str().expect("a picture is text")).expect("it is base64");
        assert!(picture.starts_with(b"\x89PNG"), "the picture is a PNG");
        fs::write(file, picture).expect("the file can be written");
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        self.command("POST", &format!("session/{}/{command}", self.session), body)
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let answer = connect(self.driver.port).and_then(|mut stream| {
            // A browser takes its time to start on a busy computer.
            stream.set_read_timeout(Some(Duration::from_secs(180)))?;
            stream.write_all(format!("{head}{body}").as_bytes())?;
            read_response(&mut BufReader::new(stream))
        });
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{method} {path}: {text}");
        let mut answer: Value = serde_json::from_str(&text).expect("the answer is JSON");
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver does not take its browser with it. It may be gone, and a test may be failing already.
        let request =
            format!("DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", self.session);
        let _ = connect(self.driver.port).and_then(|mut stream| {
            stream.write_all(request.as_bytes())?;
            read_response(&mut BufReader::new(stream))
        });
    }
}
