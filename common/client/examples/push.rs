//! Sends a file to a host and shows its progress. Run again after a cut, it sends only what is missing.
//!
//! `LARIAT_HOME=... cargo run --example push -- FILE HOST DEST`

mod common;

use std::cell::Cell;
use std::error::Error;
use std::io::Write;
use std::path::Path;

use lariat_client::Progress;
use lariat_client::transfer::push_file;

/// Called as bytes move.
#[derive(Default)]
struct Percent {
    size: Cell<u64>,
    done: Cell<u64>,
}

impl Progress for Percent {
    fn begin(&self, size: Option<u64>, have: u64) {
        self.size.set(size.unwrap_or_default());
        self.done.set(have);
    }

    fn moved(&self, bytes: u64) {
        self.done.set(self.done.get() + bytes);
        let percent = self.done.get().saturating_mul(100) / self.size.get().max(1);
        let _ = write!(std::io::stderr(), "\r{percent} %");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [file, name, dest] = words.as_slice() else {
        return Err("usage: push FILE HOST DEST".into());
    };
    let fleet = common::Fleet::load()?;
    let host = fleet.client.host(fleet.peer(name)?);
    let moved = push_file(&host, Path::new(file), dest.as_bytes(), &Percent::default()).await?;
    let (size, sent) = (moved.size, moved.sent);
    writeln!(std::io::stdout(), "\r{name}: {size} bytes, {sent} of them sent")?;
    Ok(())
}
