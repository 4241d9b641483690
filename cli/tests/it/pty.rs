//! A terminal: a program in a pseudo-terminal, what is typed there, and what one sees.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::machine::wait_for;

/// How much of what has left the screen is kept.
const LINES_KEPT: usize = 1000;

/// A terminal with a program in it.
pub(crate) struct Terminal {
    keyboard: File,
    child: Child,
    seen: Arc<Mutex<Seen>>,
}

/// All that was written to the terminal, and what it shows now.
struct Seen {
    bytes: Vec<u8>,
    screen: vt100::Parser,
}

impl Terminal {
    /// Starts a program in a terminal of its own, as its controlling one.
    pub(crate) fn start(command: &Command, rows: u16, columns: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        tcsetwinsize(&master, size(rows, columns)).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
        let slave = OpenOptions::new().read(true).write(true).custom_flags(flags).open(name);
        let slave = slave.unwrap();
        // A session whose terminal this is, so that Ctrl-C and changes of its size reach the program.
        let mut session = Command::new("setsid");
        session
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("TERM", "xterm")
            .current_dir(command.get_current_dir().unwrap())
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave);
        let child = session.spawn().unwrap();
        drop(session);
        let keyboard = File::from(master);
        let screen = vt100::Parser::new(nonzero(rows), nonzero(columns), LINES_KEPT);
        let seen = Arc::new(Mutex::new(Seen { bytes: Vec::new(), screen }));
        let (mut from, to) = (keyboard.try_clone().unwrap(), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It ends with an error when nobody has the other side open any more.
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                let mut seen = to.lock().unwrap();
                seen.bytes.extend_from_slice(&buffer[..read]);
                seen.screen.process(&buffer[..read]);
            }
        });
        Self { keyboard, child, seen }
    }

    /// Types something.
    pub(crate) fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Makes the terminal larger or smaller.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        // What is written from now on is meant for the new size.
        self.seen.lock().unwrap().screen.screen_mut().set_size(nonzero(rows), nonzero(columns));
        tcsetwinsize(&self.keyboard, size(rows, columns)).unwrap();
    }

    /// Returns what one sees, row by row, without the blank ones at the end.
    pub(crate) fn screen(&self) -> String {
        let seen = self.seen.lock().unwrap();
        let screen = seen.screen.screen();
        let rows: Vec<String> = screen.rows(0, screen.size().1.into()).collect();
        rows.join("\n").trim_end_matches('\n').to_owned()
    }

    /// Returns everything that was written.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap().bytes.clone()
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let last = Mutex::new(String::new());
        let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_for(what, || {
                *last.lock().unwrap() = self.screen();
                is_so(&last.lock().unwrap()).then_some(())
            });
        }));
        assert!(looked.is_ok(), "waited in vain for {what} on\n{}", last.lock().unwrap());
    }

    /// Waits for the program's end.
    pub(crate) fn end(mut self) -> (ExitStatus, String, Vec<u8>) {
        let child = Mutex::new(&mut self.child);
        let ended = wait_for("the program's end", || child.lock().unwrap().try_wait().unwrap());
        (ended, self.screen(), self.bytes())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Whatever still runs in it loses its terminal with the last of these.
        let _ = self.keyboard.write_all(b"\x03\x04");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn nonzero(number: u16) -> NonZero<u16> {
    NonZero::new(number).unwrap()
}
