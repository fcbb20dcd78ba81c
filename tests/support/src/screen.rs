//! A program in a terminal of its own, and what it has shown there.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A program in a terminal.
pub struct Screen {
    /// The program.
    pub child: Child,
    ours: File,
    seen: Arc<Mutex<Vec<u8>>>,
    picture: Arc<Mutex<vt100::Parser>>,
}

impl Screen {
    /// Starts a program whose three streams are a terminal of 99 columns.
    ///
    /// # Panics
    /// If there is no terminal available, or no such program.
    pub fn start(command: &mut Command) -> Self {
        Self::start_sized(command, 33, 99)
    }

    /// Starts a program whose three streams are a terminal of this size.
    ///
    /// # Panics
    /// If there is no terminal available, or no such program.
    pub fn start_sized(command: &mut Command, rows: u16, columns: u16) -> Self {
        Self::start_by(command, rows, columns, |_| {})
    }

    /// Starts a program as [`Self::start_sized`] does, after a change of the streams.
    ///
    /// # Panics
    /// If there is no terminal available, or no such program.
    pub fn start_by(
        command: &mut Command,
        rows: u16,
        columns: u16,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        unlockpt(&ours).unwrap();
        let theirs = ioctl_tiocgptpeer(&ours, flags).unwrap();
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&theirs, size).unwrap();
        let end = || Stdio::from(theirs.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end());
        if command.get_envs().all(|(name, _)| name != "TERM") {
            command.env("TERM", "xterm");
        }
        change(command);
        let child = command.spawn().unwrap();
        // The streams that the command keeps would hold the terminal open.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let picture = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 1000)));
        let drawn = Arc::clone(&picture);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, into) = (File::from(ours.try_clone().unwrap()), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = reader.read(&mut buffer) {
                into.lock().unwrap().extend_from_slice(&buffer[..len]);
                drawn.lock().unwrap().process(&buffer[..len]);
            }
        });
        Self { child, ours: ours.into(), seen, picture }
    }

    /// Types a text.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn types(&mut self, text: &str) {
        self.ours.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for a text, and forgets everything up to its end. Returns how long that took.
    ///
    /// # Panics
    /// If it has not appeared within [`crate::wait::PATIENCE`]; the message shows what was there instead.
    pub fn sees(&self, text: &str) -> Duration {
        let began = Instant::now();
        loop {
            let mut seen = self.seen.lock().unwrap();
            let at = seen.windows(text.len()).position(|window| window == text.as_bytes());
            if let Some(at) = at {
                seen.drain(..at + text.len());
                return began.elapsed();
            }
            let there = String::from_utf8_lossy(&seen).into_owned();
            drop(seen);
            assert!(began.elapsed() < crate::wait::PATIENCE, "no {text:?} in {there:?}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Whether a line goes on in the next one, as it is wider than the screen.
    ///
    /// # Panics
    /// Never.
    pub fn is_wrapped(&self) -> bool {
        let picture = self.picture.lock().expect("no panic while it is held");
        let screen = picture.screen();
        (0..screen.size().0).any(|row| screen.row_wrapped(row))
    }

    /// The lines on the screen as they are now, up to the last that is not empty.
    ///
    /// # Panics
    /// Never.
    pub fn lines(&self) -> Vec<String> {
        let picture = self.picture.lock().expect("no panic while it is held");
        let screen = picture.screen();
        let lines = screen.rows(0, screen.size().1);
        let mut lines: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
        lines.truncate(lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1));
        lines
    }

    /// Waits until the lines on the screen are such, and returns them.
    ///
    /// # Panics
    /// If they are not within [`crate::wait::PATIENCE`]; the message shows what was there instead.
    pub fn until(&self, is_such: impl Fn(&[String]) -> bool) -> Vec<String> {
        crate::wait::until_or(
            || Some(self.lines()).filter(|lines| is_such(lines)),
            || format!("other lines than {:#?}", self.lines()),
        )
    }

    /// What has been shown since the last call.
    ///
    /// # Panics
    /// Never.
    pub fn shown(&self) -> String {
        let seen = std::mem::take(&mut *self.seen.lock().expect("no panic while it is held"));
        String::from_utf8_lossy(&seen).into_owned()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
