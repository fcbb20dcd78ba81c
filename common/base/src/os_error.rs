//! The system's error messages in lower case and without a number.

use std::io;

/// The system's message for an `errno`, in lower case and without the number.
pub fn os_error(errno: i32) -> String {
    plain(&io::Error::from_raw_os_error(errno).to_string())
}

/// The message of an error, in the system's words if it has an `errno`; in lower case and without the number.
pub fn io_error(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| plain(&error.to_string()), os_error)
}

/// Removes the number, and what a library appended, from a text that may be a system's message.
pub fn plain(text: &str) -> String {
    let Some((words, _)) = text.split_once(" (os error") else { return text.to_owned() };
    let mut letters = words.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_words_come_without_its_number() {
        assert_eq!(os_error(2), "no such file or directory");
        let wrapped = io::Error::other("Permission denied (os error 13) at path \"/x\"");
        assert_eq!(io_error(&wrapped), "permission denied");
        assert_eq!(plain("Not the system's"), "Not the system's");
    }
}
