//! Output of programs, in forms that tests can compare.

use serde_json::Value;

/// Bytes as text.
///
/// # Panics
/// If they are not UTF-8.
pub fn text(bytes: &(impl AsRef<[u8]> + ?Sized)) -> &str {
    std::str::from_utf8(bytes.as_ref()).expect("text")
}

/// The lines, sorted.
///
/// # Panics
/// If they are not UTF-8.
pub fn sorted(bytes: &(impl AsRef<[u8]> + ?Sized)) -> Vec<&str> {
    let mut lines: Vec<&str> = text(bytes).lines().collect();
    lines.sort_unstable();
    lines
}

/// The JSON objects of the lines, sorted by host; those of one host keep their order.
///
/// # Panics
/// If a line is anything else.
pub fn objects(bytes: &(impl AsRef<[u8]> + ?Sized)) -> Vec<Value> {
    let lines = text(bytes).lines();
    let objects = lines.map(|line| serde_json::from_str(line).expect("an object"));
    let mut objects: Vec<Value> = objects.collect();
    objects.sort_by_key(|object| object["host"].as_str().map(ToOwned::to_owned));
    objects
}
