//! What a key with rules can do, and the ways in which it tries to do more.

mod again;
mod can;
mod commands;
mod files;

use std::fs;
use std::path::PathBuf;

use lariat_testing::fleet::TestFleet;

/// Runs `lariat`, which must be refused by a rule, and returns its one line.
fn refused<'a>(fleet: &TestFleet, args: impl IntoIterator<Item = &'a str>) -> String {
    let error = fleet.fails(255, args);
    assert!(error.contains("not permitted"), "{error}");
    error
}

/// A directory of the test, by its real path.
fn directory(fleet: &TestFleet, name: &str) -> PathBuf {
    fs::create_dir_all(fleet.path(name)).unwrap();
    fleet.path(name).canonicalize().unwrap()
}
