//! Paths relative to a root.

/// The path of `name` in a directory, both relative to the same root.
pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

/// The path of `path` below a root that the operator named, for failures.
pub(crate) fn shown(root: &[u8], path: &[u8]) -> Vec<u8> {
    match (root, path) {
        (root, b"") => root.to_vec(),
        (b"", path) => path.to_vec(),
        (root, path) if root.ends_with(b"/") => [root, path].concat(),
        (root, path) => [root, b"/", path].concat(),
    }
}
