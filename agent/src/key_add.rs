//! `lariatd key add REQ`: root's way back in. Adds the key of a request to the keyring of this host, with every verb.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use lariat_base::os_error::io_error;
use lariat_base::private::check_file_mode;
use lariat_wire::auth::request_file::RequestFile;
use lariat_wire::auth::request_sum::{ID_ALONE, ReadOut};
use lariat_wire::protocol::key::{KeyAdd, Rules};
use lariat_wire::protocol::request::KeyRequest;
use lariat_wire::protocol::verb::Verbs;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::core::store;
use crate::keyring::Asker;
use crate::policy::Clock;
use crate::running;

/// Largest request, in bytes.
const MAX_LEN: u64 = 16 * 1024 * 1024;

/// Which key to add.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The request's file, or - for stdin
    #[arg(value_name = "REQ")]
    request: PathBuf,
    /// The key's id and the request's sum, as the owner has read them out; asked for at a terminal
    #[arg(long, value_name = "ID:SUM")]
    id: Option<ReadOut>,
    /// Add it although it was revoked
    #[arg(long)]
    again: bool,
}

/// Adds the key, and tells the agent if it runs. Returns what to say.
pub fn run(config_path: &Path, args: &Args) -> Result<String, String> {
    let config = Config::load(config_path).map_err(|error| error.to_string())?;
    let path = &args.request;
    let text = read(path)?;
    let request = RequestFile::parse(path, &text).map_err(|error| error.to_string())?;
    let (id, label) = (request.id, &request.label);
    if let Some(Err(exchanged)) = args.id.map(|given| given.check(&request)) {
        return Err(format!("{exchanged}: somebody may have exchanged it"));
    }
    let wanted = request.host(&config.name);
    let wanted = wanted.ok_or_else(|| format!("the request has nothing for {}", config.name))?;
    let read_out = ReadOut::of(&request);
    match args.id {
        None => confirm(&format!(
            "{label} may do everything here. Is {read_out} what its owner has read out?"
        ))?,
        Some(ReadOut { sum: None, .. }) => note(&format!("{label}, {read_out}: {ID_ALONE}\n")),
        Some(ReadOut { sum: Some(_), .. }) => {}
    }
    let store = store(config_path, &config, &config.state);
    let (revision, _) = store.read().map_err(|failure| failure.to_string())?;
    let add = KeyAdd {
        revision,
        enrolment: wanted.enrolment,
        id,
        label: label.clone(),
        verifier: wanted.verifier.clone().into(),
        rules: Rules { verbs: Verbs::all(), ..Rules::default() },
        again: args.again,
        dry_run: false,
    };
    let clock = Clock::new(SystemTime::now(), UNIX_EPOCH);
    let changed =
        store.change(&KeyRequest::KeyAdd(add), Asker::Host, clock, &|_| false, |_| Ok(()));
    let changed = changed.map_err(|failure| failure.to_string())?.changed;
    let told = match running::reload(&config.state) {
        Ok(true) => "the agent was told",
        Ok(false) => "the agent does not run",
        Err(_) => "tell the agent: systemctl reload lariatd",
    };
    Ok(if changed {
        format!("added {label}, {id}; {told}")
    } else {
        format!("{label} is in the keyring already")
    })
}

/// Writes to stderr. If that is closed, nobody reads it, and the answer to a question is no.
fn note(text: &str) {
    let _ = write!(io::stderr(), "{text}");
}

/// Goes on only if a person says yes.
fn confirm(question: &str) -> Result<(), String> {
    if !io::stdin().is_terminal() {
        let message = format!("{question} There is no terminal to answer at; try: --id ID:SUM");
        return Err(message);
    }
    note(&format!("{question} (yes/no) "));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|e| io_error(&e))?;
    match line.trim() {
        "y" | "yes" => Ok(()),
        _ => Err("not confirmed; nothing was changed".to_owned()),
    }
}

/// Reads a request. A file that others can read is refused, for it is secret.
fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let failed = |e: io::Error| format!("read {}: {}", path.display(), io_error(&e));
    let mut text = Zeroizing::new(String::new());
    if path.as_os_str() == "-" {
        io::stdin().take(MAX_LEN).read_to_string(&mut text).map_err(failed)?;
        return Ok(text);
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    check_file_mode(path, &file).map_err(|error| error.to_string())?;
    file.take(MAX_LEN).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}
