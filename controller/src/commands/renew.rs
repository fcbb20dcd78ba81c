//! `lariat renew`: gives hosts new certificates. Each host signs a request, and keeps its private key.
//!
//! A host keeps a certificate only once a connection was made with it. With a new key, the inventory accepts both keys
//! meanwhile. So it can be cut anywhere, and run again.

use std::cell::Cell;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use lariat_base::clock::signed_seconds;
use lariat_base::date;
use lariat_base::name::HostName;
use lariat_base::units::parse_duration;
use lariat_certs::ca::Ca;
use lariat_certs::inspect::CertificateInfo;
use lariat_certs::request::RequestedKey;
use lariat_client::{HostHandle, Session};
use lariat_wire::protocol::Message;
use lariat_wire::protocol::renewal::{Install, Installed, Renew, SigningRequest};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::fanout::{
    End, Ended, Failed, FanoutOptions, HostContext, HostWork, Recorded, Verb, within,
};
use crate::fleet::{self, Fleet, ReachOptions};
use crate::home::Home;
use crate::inventory::{Enrolled, Inventory, Spki, edit};
use crate::output::json;
use crate::target::{self, Targets};

/// What is renewed unless the command line says: what ends within this time.
const WITHIN: Duration = Duration::from_secs(90 * 24 * 60 * 60);

#[derive(clap::Args)]
#[command(after_long_help = "\
Needs the CA's key, so it runs on the machine that created the fleet. A certificate is valid for a year. After \
--new-key the other operators need a new lariat fleet export, because they accept only the previous key.

Examples:
  lariat renew all
  lariat renew @web --within 30d
  lariat renew web1 --new-key       at once, with another private key")]
pub(crate) struct Args {
    /// Which hosts: web1, web[01-20], 'web*', @tag, all
    #[arg(value_name = "TARGET", long_help = target::HELP)]
    target: Targets,

    /// Renew what ends within this time [default: 90d]
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    within: Option<Duration>,

    /// Let each host create a new private key
    ///
    /// At once, whenever its certificate ends, unless there is --within.
    #[arg(long)]
    new_key: bool,

    /// Print one JSON object per host
    ///
    /// Its fields: host, ok, kind, error, changed, new_key, not_after.
    #[arg(long)]
    json: bool,

    /// Time limit per host, such as 30s, 5m or 2h
    ///
    /// It includes the time for connecting. DUR is a number with a unit, ms, s, m, h or d; without a unit it is
    /// seconds.
    #[arg(long, value_name = "DUR", value_parser = fleet::parse_limit)]
    timeout: Option<Duration>,

    #[command(flatten)]
    connect: ReachOptions,

    #[command(flatten)]
    fanout: FanoutOptions,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode, CliError> {
    let home = context.home()?;
    home.require_fleet()?;
    let ca = home.ca().map_err(|error| error.during("renew"))?;
    let verb = Verb {
        context,
        connect: &args.connect,
        fanout: &args.fanout,
        targets: vec![&args.target],
        json: args.json,
        recorded: Some(Recorded::new("renew", String::new())),
    };
    verb.run(async |hosts| {
        hosts.refuse_users("renew", "a certificate")?;
        let fleet = Fleet::load(context, &args.connect)?;
        let Args { new_key, within, json, timeout: limit, .. } = *args;
        let within = within.or((!new_key).then_some(WITHIN));
        Ok(Renewing { ca, home, fleet, new_key, within, json, limit })
    })
}

struct Renewing {
    ca: Ca,
    home: Home,
    fleet: Fleet,
    new_key: bool,
    /// `None`: whenever the certificate ends.
    within: Option<Duration>,
    json: bool,
    limit: Option<Duration>,
}

/// A host's certificate.
struct Done {
    /// Its end, in seconds since 1970.
    not_after: i64,
    /// Whether it is new.
    changed: bool,
}

/// The fields that the verb adds to a host's object.
#[derive(Default, Serialize)]
struct Added {
    changed: bool,
    new_key: bool,
    not_after: Option<String>,
}

impl HostWork for Renewing {
    type Outcome = Done;
    /// How many certificates are new.
    type Total = usize;

    async fn on(&self, host: HostContext<'_>) -> Result<Done, Failed> {
        let handle = &host.handle;
        within(self.limit, handle, async {
            tokio::select! {
                done = self.renew(&host) => done,
                () = host.outlet.interrupted() => Err(Failed::interrupted()),
            }
        })
        .await
    }

    fn report(
        &self,
        total: &mut usize,
        host: &HostName,
        outcome: Result<Done, Failed>,
    ) -> (Vec<u8>, Ended) {
        let Done { not_after, changed } = match outcome {
            Ok(done) => done,
            Err(failed) => {
                return self.failed(self.json, host, CliError::from(failed).during("renew"));
            }
        };
        *total += usize::from(changed);
        let not_after = day(not_after);
        let line = if self.json {
            json::result(
                host,
                End::Ok,
                None,
                Added { changed, new_key: changed && self.new_key, not_after },
            )
        } else {
            let end = not_after.unwrap_or_default();
            let told = match changed {
                true if self.new_key => {
                    "renewed with a new key, which other operators take by fleet import, until"
                }
                true => "renewed, until",
                false => "nothing to do until",
            };
            Ok(format!("{host}: {told} {end}\n").into_bytes())
        };
        match line {
            Ok(line) => (line, Ended::ok()),
            Err(error) => (Vec::new(), Ended::failed(End::Errored, error)),
        }
    }

    fn nothing(&self, host: &HostName, error: &CliError) -> Result<Vec<u8>, CliError> {
        json::failure(host, error, Added::default())
    }

    fn sum(&self, total: &usize, _: Duration) -> Option<String> {
        Some(format!("{total} renewed"))
    }
}

impl Renewing {
    async fn renew(&self, host: &HostContext<'_>) -> Result<Done, Failed> {
        let (name, handle) = (&host.chosen.host, &host.handle);
        let (mut session, mut request) = signing_request(handle, None, false).await?;
        let not_after = request.not_after;
        let (_, enrolled) = self.fleet.inventory.enrolled(name)?;
        let present = key_of(&request, handle)?;
        if Some(Spki(present.spki())) == enrolled.next {
            // A run before this one was cut after the host had taken its new key.
            self.set_keys(name, Spki(present.spki()), None)?;
        } else if present.spki() != enrolled.spki.0 {
            return Err(misbehaved("its signing request is for another key", handle));
        }
        if self.within.is_some_and(|within| not_after > end_of(within)) {
            session.leave().await;
            return Ok(Done { not_after, changed: false });
        }
        let mut key = present;
        if self.new_key {
            (session, request) = signing_request(handle, Some(session), true).await?;
            key = key_of(&request, handle)?;
            self.check_new(name, &key, handle)?;
            let present = Inventory::load(&self.home)?.enrolled(name)?.1.spki;
            self.set_keys(name, present, Some(Spki(key.spki())))?;
        }
        let certificate = self.ca.issue_for(name, &key).map_err(CliError::from)?;
        let not_after = CertificateInfo::parse(&certificate)
            .map_err(|error| CliError::new(error.to_string()))?
            .not_after;
        let install = Install { certificate: certificate.to_vec() };
        let (session, Installed { .. }) = ask(handle, Some(session), &install).await?;
        session.leave().await;
        // This connection is made with the new certificate.
        let handle = &self.fleet.host_with_key(host.chosen, Spki(key.spki()))?;
        let (session, Installed { is_kept }) = ask(handle, None, &install).await?;
        session.leave().await;
        if !is_kept {
            return Err(misbehaved("it did not keep its new certificate", handle));
        }
        if self.new_key {
            self.set_keys(name, Spki(key.spki()), None)?;
        }
        Ok(Done { not_after, changed: true })
    }

    /// Refuses a new key that another host has.
    fn check_new(
        &self,
        name: &HostName,
        key: &RequestedKey,
        handle: &HostHandle,
    ) -> Result<(), Failed> {
        let has = |enrolled: Enrolled| {
            [Some(enrolled.spki), enrolled.next].contains(&Some(Spki(key.spki())))
        };
        let mut hosts = self.fleet.inventory.iter();
        match hosts.find(|(_, host)| host.enrolled.is_some_and(has)) {
            Some((other, _)) if other != name => {
                Err(misbehaved(&format!("its new key is that of {other}"), handle))
            }
            _ => Ok(()),
        }
    }

    fn set_keys(&self, name: &HostName, spki: Spki, next: Option<Spki>) -> Result<(), CliError> {
        edit::set_keys(&self.home, &self.home.lock()?, name, spki, next)
    }
}

async fn signing_request(
    handle: &HostHandle,
    session: Option<Session>,
    new_key: bool,
) -> Result<(Session, SigningRequest), Failed> {
    ask(handle, session, &Renew { new_key }).await
}

/// Sends a request, on this connection if there is one. The host does it once, however often it is asked.
async fn ask<M: Message, A: Message>(
    handle: &HostHandle,
    session: Option<Session>,
    request: &M,
) -> Result<(Session, A), Failed> {
    Ok(Box::pin(handle.ask_on(session, request, &Cell::default(), Session::answer)).await?)
}

/// The public key of a host's request, whose signature holds.
fn key_of(request: &SigningRequest, handle: &HostHandle) -> Result<RequestedKey, Failed> {
    RequestedKey::verify(&request.request)
        .map_err(|error| misbehaved(&format!("its signing request is {error}"), handle))
}

fn misbehaved(why: &str, handle: &HostHandle) -> Failed {
    CliError::new(why).during(handle.place()).into()
}

/// The moment in so much time, in seconds since 1970.
fn end_of(within: Duration) -> i64 {
    let within = i64::try_from(within.as_secs()).unwrap_or(i64::MAX);
    signed_seconds(SystemTime::now()).saturating_add(within)
}

/// A date as people read it.
fn day(seconds: i64) -> Option<String> {
    date::format(u64::try_from(seconds).ok()?)
}
