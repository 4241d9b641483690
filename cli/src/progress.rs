//! What is going on, shown while it goes on: drawn on a terminal, in plain lines elsewhere.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::{Events, Owner, Ran};
use store::StoreError;

use crate::ci::Ci;
use crate::painter::Painter;
use crate::size::ByteSize;
use crate::terminal::{Paint, can_draw, chain, count, tell, tell_service};

/// How often the picture is drawn anew: smooth to the eye, cheap for the terminal.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// How many things that go on are named at once.
const LINES_MAX: usize = 8;

/// Shows what goes on; shared by whoever has something to show.
pub(crate) struct Display {
    painter: Option<Arc<Painter>>,
    state: Arc<State>,
    drawing: AtomicBool,
    /// Whether a section is open in the log of a CI service.
    grouped: AtomicBool,
}

struct State {
    next: AtomicU64,
    running: Mutex<BTreeMap<u64, Item>>,
    bytes: AtomicU64,
    began: Instant,
    hits: AtomicU64,
    ran: AtomicU64,
    failed: AtomicU64,
    /// What is shown of results that are still to be uploaded.
    upload: Mutex<Option<u64>>,
    coming: Mutex<Coming>,
}

/// Blobs that come from the remote now: one line for all, because there may be hundreds.
struct Coming {
    blobs: u64,
    /// Since when there are any.
    began: Instant,
}

struct Item {
    name: String,
    began: Instant,
    phase: &'static str,
    done: u64,
    total: Option<u64>,
}

impl Display {
    /// Returns a display for standard error; `quiet` shows only warnings.
    pub(crate) fn new(quiet: bool) -> Arc<Self> {
        let painter = (can_draw() && !quiet).then(Arc::default);
        let state = State {
            next: AtomicU64::new(0),
            running: Mutex::default(),
            bytes: AtomicU64::new(0),
            began: Instant::now(),
            hits: AtomicU64::new(0),
            ran: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            upload: Mutex::default(),
            coming: Mutex::new(Coming { blobs: 0, began: Instant::now() }),
        };
        Arc::new(Self {
            painter,
            state: Arc::new(state),
            drawing: AtomicBool::new(false),
            grouped: AtomicBool::new(false),
        })
    }

    /// Ends drawing and leaves a clean line.
    pub(crate) fn finish(&self) {
        if self.grouped.swap(false, Ordering::SeqCst) {
            tell_service(Ci::detect().end_group());
        }
        if let Some(painter) = &self.painter {
            painter.end();
        }
    }

    /// Prints a line above the picture.
    pub(crate) fn line(&self, text: &str) {
        if let Some(painter) = &self.painter {
            return painter.print_above(text);
        }
        if !self.grouped.swap(true, Ordering::SeqCst) {
            tell_service(Ci::detect().begin_group("bld: what was fetched and what ran"));
        }
        tell(text);
    }

    /// Shows that a blob comes from the remote, until what is returned is dropped.
    pub(crate) fn coming(&self) -> ComingBlob {
        let mut coming = self.state.coming.lock().expect("no holder panics");
        if coming.blobs == 0 {
            coming.began = Instant::now();
        }
        coming.blobs += 1;
        drop(coming);
        self.draw_from_now_on();
        ComingBlob(Arc::clone(&self.state))
    }

    fn begin_item(&self, name: String, phase: &'static str, total: Option<u64>) -> u64 {
        let id = self.state.next.fetch_add(1, Ordering::Relaxed);
        let item = Item { name, began: Instant::now(), phase, done: 0, total };
        self.state.running.lock().expect("no holder panics").insert(id, item);
        self.draw_from_now_on();
        id
    }

    fn draw_from_now_on(&self) {
        let Some(painter) = &self.painter else { return };
        if self.drawing.swap(true, Ordering::Relaxed) {
            return;
        }
        let (painter, state) = (Arc::clone(painter), Arc::clone(&self.state));
        std::thread::spawn(move || {
            while painter.draw(&state.picture()) {
                std::thread::sleep(DRAW_INTERVAL);
            }
        });
    }
}

/// Also where a mistake ends a command early, its message stands on a clean line.
impl Drop for Display {
    fn drop(&mut self) {
        self.finish();
    }
}

impl State {
    fn picture(&self) -> Vec<String> {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut lines = vec![format!(
            "{:.0}s · {} cached · {} ran · {} failed",
            self.began.elapsed().as_secs_f32(),
            number(&self.hits),
            number(&self.ran),
            number(&self.failed)
        )];
        let bytes = number(&self.bytes);
        if bytes > 0 {
            let seconds = self.began.elapsed().as_secs().max(1);
            let rate = ByteSize(bytes / seconds);
            lines[0] = format!("{} · {} ({rate}/s)", lines[0], ByteSize(bytes));
        }
        let coming = self.coming.lock().expect("no holder panics");
        if coming.blobs > 0 {
            let (blobs, seconds) = (coming.blobs, coming.began.elapsed().as_secs_f32());
            let what = count(blobs, "blob");
            lines.push(format!("    download {what} from the remote {seconds:.1}s"));
        }
        drop(coming);
        let running = self.running.lock().expect("no holder panics");
        for item in running.values().take(LINES_MAX) {
            let size = match item.total {
                Some(total) if item.phase == "download" => {
                    format!(" {} of {}", ByteSize(item.done), ByteSize(total))
                }
                _ => String::new(),
            };
            let seconds = item.began.elapsed().as_secs_f32();
            lines.push(format!("    {} {}{size} {seconds:.1}s", item.phase, item.name));
        }
        if running.len() > LINES_MAX {
            lines.push(format!("    and {} more", running.len() - LINES_MAX));
        }
        lines
    }
}

impl Display {
    fn end_item(&self, name: &str) {
        let mut running = self.state.running.lock().expect("no holder panics");
        let id = running.iter().find(|(_, item)| item.name == name).map(|(id, _)| *id);
        if let Some(id) = id {
            running.remove(&id);
        }
    }
}

impl Events for Display {
    fn started(&self, owner: &Owner) {
        self.begin_item(owner.to_string(), "run", None);
    }

    fn finished(&self, ran: &Ran) {
        let name = ran.owner.to_string();
        self.end_item(&name);
        self.state.ran.fetch_add(1, Ordering::Relaxed);
        let seconds = ran.wall.as_secs_f32();
        match &ran.failure {
            Some(kind) => {
                self.state.failed.fetch_add(1, Ordering::Relaxed);
                let failed = Paint::for_stderr().red("failed");
                self.line(&format!("{failed} {name} after {seconds:.1}s: {kind}"));
            }
            None if self.painter.is_none() => self.line(&format!("ran    {name} in {seconds:.1}s")),
            None => {}
        }
    }

    fn abandoned(&self, owner: &Owner) {
        self.end_item(&owner.to_string());
    }

    fn hit(&self, _ran: &Ran) {
        self.state.hits.fetch_add(1, Ordering::Relaxed);
    }

    fn degraded(&self, error: &StoreError) {
        let text = chain(error).join(": ");
        fetch::Progress::warn(self, &format!("{text}; what the remote does not give is made here"));
    }

    fn uploading(&self, left: usize) {
        let mut upload = self.state.upload.lock().expect("no holder panics");
        if let Some(id) = upload.take() {
            self.state.running.lock().expect("no holder panics").remove(&id);
        } else if left > 0 && self.painter.is_none() {
            self.line(&format!("upload {}", count(left as u64, "result")));
        }
        if left > 0 {
            *upload = Some(self.begin_item(count(left as u64, "result"), "upload", None));
        }
    }
}

impl fetch::Progress for Display {
    fn begin(&self, what: &str, total: Option<u64>) -> Box<dyn fetch::Step> {
        let id = self.begin_item(what.to_owned(), "wait", total);
        if self.painter.is_none() {
            let size = total.map(|total| format!(" ({})", ByteSize(total))).unwrap_or_default();
            self.line(&format!("fetch  {what}{size}"));
        }
        Box::new(DisplayStep { id, state: Arc::clone(&self.state) })
    }

    fn warn(&self, text: &str) {
        self.line(&format!("{} {text}", Paint::for_stderr().yellow("warning:")));
    }

    fn note(&self, text: &str) {
        self.line(text);
    }
}

/// A blob that comes from the remote.
pub(crate) struct ComingBlob(Arc<State>);

impl ComingBlob {
    /// Says that so many bytes more have come.
    pub(crate) fn advance(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for ComingBlob {
    fn drop(&mut self) {
        self.0.coming.lock().expect("no holder panics").blobs -= 1;
    }
}

/// One download or unpacking.
struct DisplayStep {
    id: u64,
    state: Arc<State>,
}

impl fetch::Step for DisplayStep {
    fn phase(&self, name: &'static str) {
        if let Some(item) = self.state.running.lock().expect("no holder panics").get_mut(&self.id) {
            item.phase = name;
        }
    }

    fn advance(&self, bytes: u64) {
        self.state.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(item) = self.state.running.lock().expect("no holder panics").get_mut(&self.id) {
            item.done += bytes;
        }
    }
}

impl Drop for DisplayStep {
    fn drop(&mut self) {
        self.state.running.lock().expect("no holder panics").remove(&self.id);
    }
}
