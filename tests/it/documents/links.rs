//! Links between documents lead to a file, and to a heading of it. What the book shows is in the book.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::repository;

/// What a reader sees of a page, which may show the text of another file.
fn text(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    match text.trim().strip_prefix("{{#include ").and_then(|rest| rest.strip_suffix("}}")) {
        Some(other) => self::text(&resolve(path, other)),
        None => text,
    }
}

/// The file that a relative link in a page leads to.
fn resolve(page: &Path, link: &str) -> PathBuf {
    let mut path = page.parent().unwrap().to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    path
}

/// The lines outside of fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        inside ^= is_fence;
        !inside && !is_fence
    })
}

/// The targets of the links in a text.
fn links(text: &str) -> Vec<String> {
    let of = |line: &str| -> Vec<String> {
        let after = line.split("](").skip(1);
        after.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
    };
    prose(text).flat_map(of).collect()
}

/// The names of the headings in a text, as links give them.
fn headings(text: &str) -> BTreeSet<String> {
    let name = |heading: &str| -> String {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let keep = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        text.chars().filter(keep).map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    prose(text).filter(|line| line.starts_with('#')).map(name).collect()
}

/// All of the repository's documents.
fn documents() -> Vec<PathBuf> {
    let in_directory = |directory: &str| {
        let entries = fs::read_dir(repository().join(directory)).unwrap().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut all = ["", "docs", "docs/manual", "systemd", "fuzz"].map(in_directory).concat();
    all.retain(|path| path.extension().is_some_and(|end| end == "md"));
    all
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    for page in documents() {
        for link in links(&fs::read_to_string(&page).unwrap()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.clone() } else { resolve(&page, file) };
            let is_there = target.exists()
                && (heading.is_empty() || headings(&text(&target)).contains(heading));
            if !is_there {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_book_has_every_page_and_leads_to_no_other() {
    let docs = repository().join("docs");
    let summary = docs.join("SUMMARY.md");
    let chapters: Vec<_> =
        links(&text(&summary)).iter().map(|link| resolve(&summary, link)).collect();
    let book: BTreeSet<_> = chapters.iter().cloned().collect();
    assert_eq!(book.len(), chapters.len(), "a chapter comes twice");
    for entry in fs::read_dir(docs.join("manual")).unwrap().flatten() {
        assert!(book.contains(&entry.path()), "{} is not in SUMMARY.md", entry.path().display());
    }
    for page in &book {
        // What another file says of itself is not the book's; book.toml leads on from there.
        for link in links(&fs::read_to_string(page).unwrap()) {
            let (file, _) = link.split_once('#').unwrap_or((&link, ""));
            let leads_out = !file.is_empty()
                && !link.contains("://")
                && Path::new(file).extension().is_some_and(|end| end == "md")
                && !book.contains(&resolve(page, file));
            assert!(!leads_out, "{}: {link} is not in the book", page.display());
        }
    }
}
