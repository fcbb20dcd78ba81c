//! The key to log in with, where ssh's options name files of keys.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use lariat_base::name::KeyLabel;
use zeroize::Zeroizing;

use super::option::Options;
use crate::context::Context;
use crate::error::CliError;
use crate::key::{self, ControllerKey};
use crate::output;

/// The label of the key that `-i` selects; `None` for the one that is used anyway. A file that is no key of lariat's,
/// as programs name them for ssh, is ignored.
pub(super) fn selected(options: &Options, context: &Context) -> Result<Option<KeyLabel>, CliError> {
    for path in &options.identities {
        if is_key(path) {
            return known(&ControllerKey::load_file(path)?, path, context).map(Some);
        }
        let shown = path.display();
        if options.identities_only {
            let error = CliError::new(format!("-i {shown}: it is no key of lariat's"));
            return Err(error.next("leave out IdentitiesOnly, or name a file of LARIAT_HOME/keys"));
        }
        if context.verbose || options.verbose {
            output::note(&format!("-i {shown} is ignored: it is no key of lariat's"));
        }
    }
    Ok(None)
}

/// Whether a file is a key of lariat's, by its form.
fn is_key(path: &Path) -> bool {
    /// Most bytes that such a file has.
    const MOST: u64 = 4096;
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut text));
    let has = |name: &str| {
        text.split(|&byte| byte == b'\n').any(|line| line.starts_with(name.as_bytes()))
    };
    read.is_ok() && ["id = ", "label = ", "secret = "].into_iter().all(has)
}

/// A key is used by its label, for its file may be replaced when it is rotated.
fn known(key: &ControllerKey, path: &Path, context: &Context) -> Result<KeyLabel, CliError> {
    let own = key::file(&context.home()?, &key.label);
    match ControllerKey::load_file(&own) {
        Ok(own) if own.id == key.id => Ok(key.label.clone()),
        _ => {
            let error = CliError::new(format!("-i {}: it is not in use here", path.display()));
            Err(error.next(format!("it would be {}", own.display())))
        }
    }
}
