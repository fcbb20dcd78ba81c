//! What programs have said, as tests look at it.

use serde_json::Value;

/// Bytes that are text.
///
/// # Panics
/// When they are not.
pub fn text(bytes: &(impl AsRef<[u8]> + ?Sized)) -> &str {
    std::str::from_utf8(bytes.as_ref()).expect("text")
}

/// The lines in an order of their own.
///
/// # Panics
/// When it is no text.
pub fn sorted(bytes: &(impl AsRef<[u8]> + ?Sized)) -> Vec<&str> {
    let mut lines: Vec<&str> = text(bytes).lines().collect();
    lines.sort_unstable();
    lines
}

/// One object a line, in the order of their hosts; those of one host as they came.
///
/// # Panics
/// When they are anything else.
pub fn objects(bytes: &(impl AsRef<[u8]> + ?Sized)) -> Vec<Value> {
    let lines = text(bytes).lines();
    let objects = lines.map(|line| serde_json::from_str(line).expect("an object"));
    let mut objects: Vec<Value> = objects.collect();
    objects.sort_by_key(|object| object["host"].as_str().map(ToOwned::to_owned));
    objects
}
