//! The encodings, by their names on the web (WHATWG).

use std::str::FromStr;

use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};
use lariat_base::near::nearest;

/// Those that are still met, and where: what a shell completes.
pub(crate) const COMMON: [(&str, &str); 18] = [
    ("gbk", "Simplified Chinese"),
    ("gb18030", "Simplified Chinese"),
    ("big5", "Traditional Chinese"),
    ("shift_jis", "Japanese"),
    ("euc-jp", "Japanese"),
    ("iso-2022-jp", "Japanese"),
    ("euc-kr", "Korean"),
    ("latin1", "Western European"),
    ("windows-1252", "Western European"),
    ("iso-8859-15", "Western European, with the euro sign"),
    ("iso-8859-2", "Central European"),
    ("windows-1250", "Central European"),
    ("windows-1251", "Cyrillic"),
    ("koi8-r", "Russian"),
    ("windows-1253", "Greek"),
    ("windows-1254", "Turkish"),
    ("utf-16le", "Unicode"),
    ("utf-16be", "Unicode"),
];

// The option of verbs that show output of hosts.
#[derive(clap::Args)]
pub(crate) struct EncodingOption {
    /// The text there is not UTF-8, but NAME, such as gbk
    ///
    /// Stdout and stderr are decoded and shown as UTF-8, and stdin is encoded. The names are those of the web
    /// (WHATWG): gbk, big5, shift_jis, euc-kr, latin1, windows-1251, utf-16le and so on. What can't be converted is
    /// replaced and counted. Without it, all bytes stay as they are.
    #[arg(id = "encoding", long, value_name = "NAME", hide_short_help = true)]
    pub(crate) name: Option<HostEncoding>,
}

/// An encoding of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostEncoding(pub(super) &'static Encoding);

impl HostEncoding {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        self.0.name()
    }

    /// Whether its characters are units of two bytes, so that a byte by itself has no meaning.
    pub(crate) fn is_utf16(self) -> bool {
        self.0 == UTF_16LE || self.0 == UTF_16BE
    }
}

impl FromStr for HostEncoding {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Some(encoding) = Encoding::for_label_no_replacement(name.as_bytes()) {
            return Ok(Self(encoding));
        }
        let near = nearest(&name.to_lowercase(), COMMON.iter().map(|(common, _)| *common));
        let near = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
        Err(format!(
            "there is no encoding {name:?}{near}; names are such as gbk, big5, shift_jis, euc-kr, latin1, windows-1251, \
             utf-16le"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_web() {
        for (name, known) in [
            ("gbk", "GBK"),
            ("GB2312", "GBK"),
            ("sjis", "Shift_JIS"),
            ("latin1", "windows-1252"),
            (" utf-16 ", "UTF-16LE"),
        ] {
            assert_eq!(name.parse::<HostEncoding>().unwrap().name(), known);
        }
        for (name, _) in COMMON {
            assert!(name.parse::<HostEncoding>().is_ok(), "{name}");
        }
        // The last two are names of the web, for what is never decoded.
        for odd in ["", "x", "cp936", "gbk\0", "replacement", "iso-2022-kr"] {
            let error = odd.parse::<HostEncoding>().unwrap_err();
            assert!(error.contains("such as gbk"), "{error}");
        }
        let error = "Shift-JS".parse::<HostEncoding>().unwrap_err();
        assert!(error.contains("(did you mean shift_jis?)"), "{error}");
    }
}
