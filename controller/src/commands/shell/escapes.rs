//! Escapes in what is typed, as in ssh: `~` at the beginning of a line. No I/O.

/// What was typed, once its escapes are taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Goes to the host.
    Byte(u8),
    /// `~.`: leave.
    Leave,
    /// `~?`: what escapes there are.
    Help,
}

/// How far a line has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Escapes {
    /// At its beginning.
    #[default]
    Begin,
    /// Behind a `~` at its beginning, which waits for what follows.
    Tilde,
    /// Further on.
    Inside,
}

impl Escapes {
    /// Takes the next byte. A `~` that was held back goes first, if it was no escape.
    pub(crate) fn take(&mut self, byte: u8) -> impl Iterator<Item = Typed> + use<> {
        let typed = match (*self, byte) {
            (Self::Begin, b'~') => [None, None],
            (Self::Tilde, b'.') => [Some(Typed::Leave), None],
            (Self::Tilde, b'?') => [Some(Typed::Help), None],
            // Twice is once.
            (Self::Begin | Self::Inside, byte) | (Self::Tilde, byte @ b'~') => {
                [Some(Typed::Byte(byte)), None]
            }
            (Self::Tilde, byte) => [Some(Typed::Byte(b'~')), Some(Typed::Byte(byte))],
        };
        *self = match (*self, byte) {
            (Self::Begin, b'~') => Self::Tilde,
            (Self::Tilde, b'?') | (_, b'\r' | b'\n') => Self::Begin,
            _ => Self::Inside,
        };
        typed.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> String {
        let mut escapes = Escapes::default();
        let all = text.bytes().flat_map(|byte| escapes.take(byte).collect::<Vec<_>>());
        let shown = all.map(|typed| match typed {
            Typed::Byte(byte) => char::from(byte),
            Typed::Leave => 'L',
            Typed::Help => 'H',
        });
        shown.collect()
    }

    #[test]
    fn only_at_the_beginning_of_a_line() {
        for (text, expected) in [
            ("ls ~.\\r", "ls ~.\\r"),
            ("~.", "L"),
            ("ls\\r~.", "ls\\rL"),
            ("\\n~?~.", "\\nHL"),
            ("~~.", "~."),
            ("~~~.", "~~."),
            ("~a~.", "~a~."),
            ("~\\r~.", "~\\rL"),
            ("~", ""),
            ("a\\r~", "a\\r"),
        ] {
            let (text, expected) = (
                text.replace("\\r", "\r").replace("\\n", "\n"),
                expected.replace("\\r", "\r").replace("\\n", "\n"),
            );
            assert_eq!(typed(&text), expected, "{text:?}");
        }
    }
}
