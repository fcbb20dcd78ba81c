//! The documents: their commands run as they are printed, their links lead somewhere, and the book has every page.

mod blocks;
mod compare;
mod links;

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lariat_testing::stage::{Stage, Who};
use rustix::process::geteuid;

use blocks::{Act, Actor, Page, Step};
use compare::{Ids, compare};

/// How many blocks are marked as not to be run. Each takes a reader's trust: it is better to find a way to run it.
const MARKED: usize = 19;

/// How many pages are tried at once: commands wait for each other more than they compute.
const AT_ONCE: usize = 4;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and the pages of the manual.
fn documents() -> Vec<PathBuf> {
    let manual = fs::read_dir(repository().join("docs/manual")).unwrap().flatten();
    let mut pages: Vec<_> = manual.map(|entry| entry.path()).collect();
    pages.retain(|path| path.extension().is_some_and(|end| end == "md"));
    pages.sort();
    pages.insert(0, repository().join("README.md"));
    pages
}

/// Name and text of each document.
fn texts() -> Vec<(String, String)> {
    let name = |path: &Path| path.strip_prefix(repository()).unwrap().display().to_string();
    let text = |path: PathBuf| (name(&path), fs::read_to_string(&path).unwrap());
    documents().into_iter().map(text).collect()
}

#[test]
fn every_block_runs_or_says_why_not() {
    let mut marked = Vec::new();
    for (name, text) in texts() {
        let page = Page::parse(&text).unwrap_or_else(|error| panic!("{name}:{error}"));
        let blocks = page.marked.iter().map(|(line, reason)| format!("{name}:{line}: {reason}"));
        marked.extend(blocks);
    }
    assert_eq!(marked.len(), MARKED, "{marked:#?}");
}

#[test]
fn commands_of_the_documents_run() {
    if !geteuid().is_root() {
        not_checked("the documents' machines need root");
        return;
    }
    let mut texts = texts();
    // Those that enroll take longest.
    texts.sort_by_key(|(_, text)| !text.contains("\n<!-- machines: "));
    let queue = Mutex::new(VecDeque::from(texts));
    let told = Mutex::new(String::new());
    let next = || queue.lock().unwrap().pop_front();
    let only = std::env::var("LARIAT_DOCUMENT").unwrap_or_default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, text)) = next() {
                    if !name.contains(&only) {
                        continue;
                    }
                    // It gets namespaces of its own, and does not come back from them.
                    let wrong = std::thread::scope(|own| own.spawn(|| run(&name, &text)).join());
                    told.lock().unwrap().push_str(&wrong.unwrap());
                }
            });
        }
    });
    let told = told.into_inner().unwrap();
    assert!(told.is_empty(), "\n{told}");
}

/// Runs a page to its end or to the first thing that is not as it says, which is returned.
fn run(name: &str, text: &str) -> String {
    let page = Page::parse(text).unwrap_or_else(|error| panic!("{name}:{error}"));
    if page.steps.is_empty() {
        return String::new();
    }
    let stage = match Stage::new(&page.hosts, &page.machines) {
        Ok(stage) => stage,
        Err(why) => {
            not_checked(&format!("{name}: {why}"));
            return String::new();
        }
    };
    let mut ids = Ids::default();
    for Step { line, needs, act } in &page.steps {
        if let Some(program) = needs.as_deref().filter(|program| !stage.has(program)) {
            not_checked(&format!("{name}:{line}: {program} is not here"));
            continue;
        }
        if let Err(why) = step(&stage, act, &mut ids) {
            return format!("{name}:{line}: {why}\n");
        }
    }
    String::new()
}

fn step(stage: &Stage, act: &Act, ids: &mut Ids) -> Result<(), String> {
    let (actor, command, shows) = match act {
        Act::File { name, text } => {
            return stage.write(name, &ids.real(text)).map_err(|e| format!("{name}: {e}"));
        }
        Act::Command { actor, command, shows } => (actor, ids.real(command), shows),
    };
    let who = match actor {
        Actor::Alice => Who::Alice,
        Actor::Bob => Who::Bob,
        Actor::Host(host) => Who::Host(host),
    };
    let (status, printed) = stage.run(who, &command).map_err(|e| format!("{command}: {e}"))?;
    if !status.success() {
        return Err(format!("{command}: {status}\n{printed}"));
    }
    if shows.is_empty() {
        return Ok(());
    }
    compare(shows, &printed, ids).map_err(|why| format!("{command}: {why}; it prints:\n{printed}"))
}

fn not_checked(what: &str) {
    let _ = writeln!(io::stderr(), "not checked: {what}");
}
