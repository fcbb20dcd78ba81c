//! Whose lines `audit show --key` shows.

use std::ops::ControlFlow;

use lariat_base::name::KeyId;
use lariat_client::HostHandle;
use lariat_wire::protocol::audit::AuditStart;
use serde_json::Value;

use super::lines::read_lines;
use crate::fanout::Failed;

/// Whose lines are wanted.
pub(super) struct Wanted {
    /// A label, or an id.
    pub(super) name: String,
    /// The first id of the key, if the name is a later one.
    pub(super) owner: Option<String>,
}

impl Wanted {
    /// Finds out which key is meant: a key keeps its label, but its id is another after each rotation. The record tells
    /// which was its first, mostly in the part that is shown.
    pub(super) async fn find(
        handle: &HostHandle,
        name: &str,
        start: AuditStart,
    ) -> Result<Self, Failed> {
        let mut owner = None;
        if name.parse::<KeyId>().is_ok() {
            for start in [Some(start), (start != AuditStart::Oldest).then_some(AuditStart::Oldest)]
                .into_iter()
                .flatten()
            {
                let find = async |lines: &[u8]| {
                    owner = lines.split(|&b| b == b'\n').find_map(|line| owner_of(line, name));
                    Ok(if owner.is_some() {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    })
                };
                read_lines(handle, start, find).await?;
                if owner.is_some() {
                    break;
                }
            }
        }
        Ok(Self { name: name.to_owned(), owner })
    }

    /// Whether a line is about what the key did.
    pub(super) fn has(&self, line: &Value) -> bool {
        let is = |field: &str, what: &str| line[field].as_str() == Some(what);
        let is_by = |id: &str| is("key", id) || is("owner", id);
        is("label", &self.name) || is_by(&self.name) || self.owner.as_deref().is_some_and(is_by)
    }
}

/// The first id of the key that has this one, if the line tells it: it is of the key itself, or of the one that it
/// has replaced.
fn owner_of(line: &[u8], id: &str) -> Option<String> {
    let line = serde_json::from_slice::<Value>(line).ok()?;
    let is = |field: &str, what: &str| line[field].as_str() == Some(what);
    let replaces = is("request", "begin rotation")
        && is("event", "ended")
        && line.get("error").is_none()
        && is("target", id);
    let first = line.get("owner").or_else(|| line.get("key"))?.as_str()?;
    (is("key", id) || replaces).then(|| first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_id_of_a_key_names_it() {
        let [first, second, third, other] = ["1", "2", "3", "4"].map(|byte| byte.repeat(32));
        let lines = [
            format!(r#"{{"event":"ended","request":"run","key":"{first}"}}"#),
            format!(
                r#"{{"event":"ended","request":"begin rotation","key":"{first}","target":"{other}","error":"no"}}"#
            ),
            format!(
                r#"{{"event":"ended","request":"begin rotation","key":"{first}","target":"{second}"}}"#
            ),
            format!(r#"{{"event":"ended","request":"run","key":"{second}","owner":"{first}"}}"#),
            format!(
                r#"{{"event":"ended","request":"begin rotation","key":"{second}","owner":"{first}","target":"{third}"}}"#
            ),
            format!(
                r#"{{"event":"ended","request":"add key","key":"{other}","target":"{third}"}}"#
            ),
        ];
        let owner = |id: &str| lines.iter().find_map(|line| owner_of(line.as_bytes(), id));
        for id in [&first, &second, &third] {
            let wanted = Wanted { name: id.clone(), owner: owner(id) };
            assert_eq!(wanted.owner.as_ref(), Some(&first));
            let has = |line: &String| wanted.has(&serde_json::from_str(line).unwrap());
            assert_eq!(lines.iter().filter(|line| has(line)).count(), 5);
        }
        assert_eq!(owner(&other), Some(other.clone()));
        assert_eq!((owner("5"), owner_of(b"x", &first)), (None, None));
    }
}
