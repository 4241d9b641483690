//! A real browser without a screen, spoken to through its debugging pipe.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the browser hears and speaks, after what every program has.
const START: &str = "exec chromium \"$@\" 3<\"$IN\" 4>\"$OUT\"";

/// No sandbox of its own: the tests may run as root. Nothing that speaks to anybody.
const OPTIONS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
    "--window-size=1100,800",
    "about:blank",
];

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    to: Option<File>,
    from: Receiver<Value>,
    session: String,
    asked: u64,
    /// What happened meanwhile.
    events: Vec<Value>,
    _folder: TempDir,
}

impl Browser {
    /// Starts a browser. `.ci/run` installs it.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (hears, speaks) = (folder.path().join("in"), folder.path().join("out"));
        let made = Command::new("mkfifo").args([&hears, &speaks]).status().unwrap();
        assert!(made.success());
        let child = Command::new("sh")
            .args(["-c", START, "sh"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .args(OPTIONS)
            .env("IN", &hears)
            .env("OUT", &speaks)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let to = File::options().write(true).open(&hears).unwrap();
        let lines = BufReader::new(File::open(&speaks).unwrap()).split(0);
        let (sender, from) = channel();
        std::thread::spawn(move || {
            for message in lines.map_while(Result::ok) {
                let _ = sender.send(serde_json::from_slice(&message).unwrap());
            }
        });
        let mut browser = Self {
            child,
            to: Some(to),
            from,
            session: String::new(),
            asked: 0,
            events: Vec::new(),
            _folder: folder,
        };
        let target = browser.ask("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", &attach);
        session["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.ask(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    fn send(&mut self, method: &str, parameters: &Value) {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut to = self.to.as_ref().unwrap();
        to.write_all(format!("{message}\0").as_bytes())
            .unwrap_or_else(|error| panic!("{error}: is chromium installed?"));
    }

    fn next(&self) -> Value {
        self.from.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            panic!("{error}: the browser says nothing; is chromium installed?")
        })
    }

    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.send(method, parameters);
        loop {
            let message = self.next();
            if message["id"] == self.asked {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    /// Opens a file, with what follows `#`, and waits until its script has run.
    pub(crate) fn open(&mut self, file: &Path, hash: &str) {
        // The same file with another hash would not be loaded again.
        self.load("about:blank");
        self.events.clear();
        self.load(&format!("file://{}#{hash}", file.display()));
    }

    fn load(&mut self, url: &str) {
        let loaded = |message: &Value| message["method"] == "Page.loadEventFired";
        self.events.retain(|message| !loaded(message));
        self.ask("Page.navigate", &json!({ "url": url }));
        while !self.events.iter().any(loaded) {
            let message = self.next();
            self.events.push(message);
        }
    }

    /// Returns the value of an expression in the page.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", &parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Clicks with the mouse on the middle of the first element that fits.
    pub(crate) fn click(&mut self, selector: &str) {
        let place = self.eval(&format!(
            "(() => {{ const it = document.querySelector({selector:?}); \
             it.scrollIntoView({{ block: 'center' }}); const at = it.getBoundingClientRect(); \
             return [at.x + at.width / 2, at.y + at.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1,
            });
            self.ask("Input.dispatchMouseEvent", &event);
        }
    }

    /// Types into what has the focus.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.ask("Input.insertText", &json!({ "text": text }));
    }

    /// Chooses between light and dark.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.ask("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
    }

    /// Has pages run no script from now on.
    pub(crate) fn without_scripts(&mut self) {
        self.ask("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    }

    /// Returns the addresses that the page has asked for.
    pub(crate) fn requests(&self) -> Vec<String> {
        let sent = self.events.iter().filter(|it| it["method"] == "Network.requestWillBeSent");
        sent.map(|it| it["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns what the page has complained of.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let kinds = ["Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"];
        let found = self.events.iter().filter(|it| kinds.iter().any(|kind| it["method"] == *kind));
        found.map(|it| it["params"].to_string()).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A browser that nobody speaks to ends; one that does not is ended.
        drop(self.to.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
