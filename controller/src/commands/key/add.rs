//! `lariat key add`: adds the key of a request to hosts.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use lariat_base::name::HostName;
use lariat_base::os_error::io_error;
use lariat_base::private::check_file_mode;
use lariat_wire::auth::request_file::RequestFile;
use lariat_wire::auth::request_sum::{ID_ALONE, ReadOut};
use lariat_wire::protocol::key::{KeyAdd, Rules};
use zeroize::Zeroizing;

use super::change::{Change, Done, HostOptions, NewRules};
use crate::confirm::confirm;
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Failed, HostContext};
use crate::host_keys;
use crate::inventory::Inventory;
use crate::known_keys::KnownKeys;
use crate::output;
use crate::revocations::{PendingHost, Revocations};
use crate::rules::{RuleOptions, as_options, describe};
use crate::target::{self, Targets, fold};

/// Largest request, in bytes: enough for thousands of hosts.
const MAX_LEN: u64 = 16 * 1024 * 1024;

#[derive(clap::Args)]
#[command(after_long_help = "\
Make sure that the request is its owner's: they read out ID:SUM, which lariat key request prints there. The sum \
covers the whole request; with the id alone, verifiers that were exchanged are not noticed. A key or label that a \
host has already is refused, never replaced. Each host gets only its own verifier.

Without rules the key may do everything but change keys, so it is root on these hosts. Give every key an end.

Examples:
  lariat key add bob.req all --verbs run,jobs --expires 365d
  lariat key add ci.req @web --push-root /srv/www --command '/usr/bin/systemctl reload nginx' --expires 90d
  lariat key add bob.req web1 --id 0f3c...:5d1e... --verbs run,jobs --users deploy")]
pub(super) struct Args {
    /// The request's file, or - for stdin
    #[arg(value_name = "REQ", index = 1)]
    request: PathBuf,

    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", index = 2, long_help = target::HELP)]
    target: Targets,

    /// The key's id and the request's sum, as read out
    ///
    /// The owner reads them out: lariat key request prints them. The id alone is taken too. Without the option, they
    /// are asked for at a terminal.
    #[arg(long, value_name = "ID:SUM")]
    id: Option<ReadOut>,

    /// Add it although it was revoked
    #[arg(long, hide_short_help = true)]
    again: bool,

    /// Ask whether hosts would take it; change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    rules: RuleOptions,

    #[command(flatten)]
    on: HostOptions,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let text = read(&args.request).map_err(|error| error.during("key add"))?;
    let request = Arc::new(RequestFile::parse(&args.request, &text)?);
    let rules = args.rules.rules().map_err(|error| error.during("key add"))?;
    if let Some(Err(exchanged)) = args.id.map(|given| given.check(&request)) {
        return Err(CliError::from(exchanged)
            .during("key add")
            .next("somebody may have exchanged it: ask its owner for another"));
    }
    offer_former(args, &request, &rules, context).map_err(|error| error.during("key add"))?;
    let read_out = ReadOut::of(&request);
    output::note(&format!("{}, {read_out}", request.label));
    output::note(&format!("may do: {}", describe(&rules)));
    match args.id {
        None if args.dry_run => {}
        None => {
            let question =
                format!("Is {read_out} what the owner of {} has read out?", request.label);
            confirm(&question, "--id ID:SUM")?;
        }
        Some(ReadOut { sum: None, .. }) => output::note(ID_ALONE),
        Some(ReadOut { sum: Some(_), .. }) => {}
    }
    let what = (!args.dry_run).then(|| format!("{} {}", request.label, request.id));
    let adding =
        Adding { request: Arc::clone(&request), rules, again: args.again, dry_run: args.dry_run };
    let status = args.on.run(context, &args.target, what, || Ok(adding))?;
    if args.dry_run || status != ExitCode::SUCCESS {
        return Ok(status);
    }
    if args.again {
        let home = context.home()?;
        let hosts = PendingHost::all(&args.target, &Inventory::load(&home)?)?;
        let lock = home.lock()?;
        let mut revocations = Revocations::load(&home)?;
        revocations.take_back(request.id, request.label.as_str(), &hosts);
        revocations.save(&home, &lock)?;
    }
    let target = args.target.quoted();
    output::note(&format!(
        "Next, for the owner of {}: lariat key rotate {target}, for whoever has read the request on its way",
        request.label
    ));
    Ok(status)
}

/// Shows what the key was allowed where it was before, for a host that was enrolled anew.
fn offer_former(
    args: &Args,
    request: &RequestFile,
    rules: &Rules,
    context: &Context,
) -> Result<(), CliError> {
    let home = context.home()?;
    let known = KnownKeys::load(&home)?;
    let mut former = BTreeMap::<&str, Vec<HostName>>::new();
    let chosen = args.target.select(&Inventory::load(&home)?);
    for chosen in chosen.map_err(|error| args.on.not_begun(&args.target, error))? {
        let options = known.rules(&chosen.host, request.label.as_str());
        if let Some(options) = options.filter(|options| *options != as_options(rules)) {
            former.entry(options).or_default().push(chosen.host);
        }
    }
    for (options, hosts) in former {
        let hosts = fold(hosts.iter().map(HostName::as_str));
        output::note(&format!("{} was last seen on {hosts} with: {options}", request.label));
    }
    Ok(())
}

struct Adding {
    request: Arc<RequestFile>,
    rules: Rules,
    again: bool,
    dry_run: bool,
}

impl Change for Adding {
    const VERB: &'static str = "key add";

    async fn on(&self, host: &HostContext<'_>) -> Result<Done, Failed> {
        let (handle, name) = (&host.handle, &host.chosen.host);
        let Some(wanted) = self.request.host(name) else {
            let error = CliError::new(format!("the request has nothing for {name}"));
            return Err(error.hint(format!("lariat key request {name}, by its owner")).into());
        };
        let keys = host_keys::list(handle).await?;
        let request = KeyAdd {
            revision: keys.revision,
            enrolment: wanted.enrolment,
            id: self.request.id,
            label: self.request.label.clone(),
            verifier: wanted.verifier.clone().into(),
            rules: self.rules.clone(),
            again: self.again,
            dry_run: self.dry_run,
        };
        let (session, changed) = host_keys::change(handle, Some(keys.session), &request).await?;
        session.leave().await;
        Ok(changed.into())
    }

    fn rules(&self) -> NewRules {
        if self.dry_run { NewRules::Same } else { NewRules::Are(as_options(&self.rules)) }
    }

    fn told(&self, Done { label, changed, .. }: &Done) -> String {
        match (changed, self.dry_run) {
            (false, _) => format!("has {label} already"),
            (true, true) => format!("would add {label}"),
            (true, false) => format!("added {label}"),
        }
    }
}

/// Reads a request. A file that others can read is refused, for it is secret.
fn read(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let failed = |e: io::Error| CliError::new(format!("read {}: {}", path.display(), io_error(&e)));
    let mut text = Zeroizing::new(String::new());
    if path.as_os_str() == "-" {
        if io::stdin().is_terminal() {
            return Err(CliError::new("stdin is a terminal").hint("lariat key add FILE TARGET"));
        }
        io::stdin().take(MAX_LEN).read_to_string(&mut text).map_err(failed)?;
        return Ok(text);
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    check_file_mode(path, &file)?;
    file.take(MAX_LEN).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}
