//! `lariat key allow`: replaces the rules of a key on hosts.

use std::process::ExitCode;

use lariat_base::name::KeyLabel;
use lariat_wire::protocol::key::{KeyAllow, Rules};

use super::change::{Change, Done, HostOptions, NewRules};
use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{Failed, HostContext};
use crate::host_keys;
use crate::key_first;
use crate::output;
use crate::rules::{RuleOptions, as_options, describe};
use crate::target::{self, Targets};

#[derive(clap::Args)]
#[command(after_long_help = "\
The new rules apply at once: what runs and is no longer permitted is ended within a second.

Examples:
  lariat key allow bob@laptop all --verbs run,jobs --expires 30d
  lariat key allow bob@laptop web1 --dry-run --push-root /srv")]
pub(super) struct Args {
    /// The key's label or id
    #[arg(value_name = "LABEL", index = 1)]
    name: KeyLabel,

    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", index = 2, long_help = target::HELP)]
    target: Targets,

    /// Ask whether hosts would take it; change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    rules: RuleOptions,

    #[command(flatten)]
    on: HostOptions,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    key_first::check("key allow", args.name.as_str(), &args.target, context)?;
    let rules = args.rules.rules().map_err(|error| error.during("key allow"))?;
    output::note(&format!("{} may do: {}", args.name, describe(&rules)));
    let what = (!args.dry_run).then(|| args.name.to_string());
    let allowing = Allowing { key: args.name.to_string(), rules, dry_run: args.dry_run };
    args.on.run(context, &args.target, what, || Ok(allowing))
}

struct Allowing {
    key: String,
    rules: Rules,
    dry_run: bool,
}

impl Change for Allowing {
    const VERB: &'static str = "key allow";

    async fn on(&self, host: &HostContext<'_>) -> Result<Done, Failed> {
        let handle = &host.handle;
        let keys = host_keys::list(handle).await?;
        // By its id, for the answer to a request that is repeated.
        let Some(key) = keys.find(&self.key).map(|key| key.id.to_string()) else {
            let unknown = keys.unknown(&self.key, handle);
            keys.session.leave().await;
            return Err(unknown.into());
        };
        let (revision, rules, dry_run) = (keys.revision, self.rules.clone(), self.dry_run);
        let request = KeyAllow { revision, key, rules, dry_run };
        let (session, changed) = host_keys::change(handle, Some(keys.session), &request).await?;
        session.leave().await;
        Ok(changed.into())
    }

    fn rules(&self) -> NewRules {
        if self.dry_run { NewRules::Same } else { NewRules::Are(as_options(&self.rules)) }
    }

    fn told(&self, Done { label, changed, .. }: &Done) -> String {
        match (changed, self.dry_run) {
            (false, _) => format!("{label} has these rules already"),
            (true, true) => format!("would replace the rules of {label}"),
            (true, false) => format!("replaced the rules of {label}"),
        }
    }
}
