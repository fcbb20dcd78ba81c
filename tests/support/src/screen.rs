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
}

impl Screen {
    /// Starts a program whose three streams are a terminal of 99 columns.
    ///
    /// # Panics
    /// If there is no terminal available, or no such program.
    pub fn start(command: &mut Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).unwrap();
        unlockpt(&ours).unwrap();
        let theirs = ioctl_tiocgptpeer(&ours, flags).unwrap();
        let size = Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&theirs, size).unwrap();
        let end = || Stdio::from(theirs.try_clone().unwrap());
        let child = command.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end());
        let child = child.spawn().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, into) = (File::from(ours.try_clone().unwrap()), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = reader.read(&mut buffer) {
                into.lock().unwrap().extend_from_slice(&buffer[..len]);
            }
        });
        Self { child, ours: ours.into(), seen }
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
