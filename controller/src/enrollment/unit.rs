//! The agent's unit, for a program in /usr/local/bin.

use sha2::{Digest, Sha256};

/// As packages have it.
const PACKAGED: &str = include_str!("../../../systemd/lariatd.service");

/// The unit's text.
pub(super) fn text() -> String {
    PACKAGED.replace("=/usr/bin/lariatd", "=/usr/local/bin/lariatd")
}

/// Its sum, as `sha256sum` prints it.
pub(super) fn sum() -> String {
    hex::encode(Sha256::digest(text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_of_the_agent_is_the_installed_one() {
        let text = text();
        assert!(!text.contains("/usr/bin/lariatd"), "{text}");
        for line in
            ["ExecStart=/usr/local/bin/lariatd\n", "ExecReload=/usr/local/bin/lariatd check\n"]
        {
            assert!(text.contains(line), "{text}");
        }
        assert_eq!(PACKAGED.matches("lariatd").count(), text.matches("lariatd").count());
    }
}
