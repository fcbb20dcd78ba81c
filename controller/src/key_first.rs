//! Notices a key and a target in the wrong order.

use lariat_base::name::HostName;

use crate::context::Context;
use crate::error::CliError;
use crate::inventory::Inventory;
use crate::shell_word::shell_word;
use crate::target::Targets;

/// Refuses a host in the place of a key, where the target names none.
pub(crate) fn check(
    verb: &str,
    key: &str,
    target: &Targets,
    context: &Context,
) -> Result<(), CliError> {
    let inventory = context.home().and_then(|home| Inventory::load(&home));
    // Without one, the verb itself says so.
    let Some(inventory) = inventory.ok().filter(|_| context.local.is_none()) else { return Ok(()) };
    let is_host = key.parse::<HostName>().is_ok_and(|host| inventory.contains(&host));
    if !is_host || target.select(&inventory).is_ok() {
        return Ok(());
    }
    let what = format!("{verb}: {key} is a host, and {target} is none: the key comes first");
    Err(CliError::new(what).hint(format!("lariat {verb} {} {}", target.quoted(), shell_word(key))))
}
