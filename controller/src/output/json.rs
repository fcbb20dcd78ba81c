//! `--json`: one object per line for every host. Its fields are a stable interface.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lariat_base::name::{HostName, JobId};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::results;
use crate::error::CliError;
use crate::fanout::End;
use crate::target::Targets;

/// A host's result of `run`.
pub(crate) struct RunResult<'a> {
    /// The host.
    pub(crate) host: &'a HostName,
    /// The command, if it is one of several.
    pub(crate) command: Option<&'a [u8]>,
    /// Whether the command ran and succeeded.
    pub(crate) ok: bool,
    /// How it ended: see [`End::kind`].
    pub(crate) end: End,
    /// Its exit status as a shell would show it; `None` if it did not run.
    pub(crate) exit: Option<u8>,
    /// The signal that ended it.
    pub(crate) signal: Option<u8>,
    /// Its output.
    pub(crate) output: Streams<'a>,
    /// From connecting to the command's end.
    pub(crate) seconds: f64,
    /// The error, unless the command failed.
    pub(crate) error: Option<String>,
    /// The job id, if it is detached and was, or may have been, started.
    pub(crate) job: Option<JobId>,
}

/// A command's captured output: the fields `stdout`, `stderr`, `truncated` and `replaced`.
#[derive(Clone, Copy)]
pub(crate) struct Streams<'a> {
    pub(crate) stdout: &'a [u8],
    pub(crate) stderr: &'a [u8],
    /// Whether more was written than was captured.
    pub(crate) truncated: bool,
    /// How often something could not be decoded, and was replaced.
    pub(crate) replaced: u64,
}

impl Streams<'_> {
    fn entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        for (name, base64, bytes) in
            [("stdout", "stdout_base64", self.stdout), ("stderr", "stderr_base64", self.stderr)]
        {
            match std::str::from_utf8(bytes) {
                Ok(text) => map.serialize_entry(name, text)?,
                Err(_) => map.serialize_entry(base64, &BASE64_STANDARD.encode(bytes))?,
            }
        }
        if self.truncated {
            map.serialize_entry("truncated", &true)?;
        }
        if self.replaced > 0 {
            map.serialize_entry("replaced", &self.replaced)?;
        }
        Ok(())
    }
}

impl Serialize for Streams<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.entries(&mut map)?;
        map.end()
    }
}

impl Serialize for RunResult<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("host", self.host)?;
        if let Some(command) = self.command {
            map.serialize_entry("command", &String::from_utf8_lossy(command))?;
        }
        map.serialize_entry("kind", self.end.kind())?;
        map.serialize_entry("ok", &self.ok)?;
        map.serialize_entry("exit", &self.exit)?;
        map.serialize_entry("signal", &self.signal)?;
        self.output.entries(&mut map)?;
        map.serialize_entry("seconds", &self.seconds)?;
        map.serialize_entry("error", &self.error)?;
        if let Some(job) = self.job {
            map.serialize_entry("job", &job.to_string())?;
        }
        map.end()
    }
}

/// The fields of every verb's objects, with those that a verb adds.
#[derive(serde::Serialize)]
struct HostResult<'a, T> {
    host: &'a HostName,
    ok: bool,
    kind: &'static str,
    error: Option<String>,
    #[serde(flatten)]
    more: T,
}

/// A job.
#[derive(serde::Serialize)]
pub(crate) struct JobResult<'a> {
    /// The host.
    pub(crate) host: &'a HostName,
    /// How the query of the host ended.
    pub(crate) kind: &'static str,
    /// Whether the query succeeded.
    pub(crate) ok: bool,
    /// Its id.
    pub(crate) job: Option<String>,
    /// The first id of the key whose it is.
    pub(crate) key: Option<String>,
    /// `running`, `ended` or `died`.
    pub(crate) state: Option<&'static str>,
    /// Its exit status as a shell would show it, once it has one.
    pub(crate) exit: Option<u8>,
    /// The signal that ended it.
    pub(crate) signal: Option<u8>,
    /// Whether it is detached, so that its output is kept.
    pub(crate) detached: bool,
    /// The user it runs as, if not the agent's own.
    pub(crate) user: Option<&'a str>,
    /// The beginning of its command.
    #[serde(serialize_with = "lossy")]
    pub(crate) command: &'a [u8],
    /// When it began by the host's clock, in seconds since 1970.
    pub(crate) started: Option<u64>,
    /// How long it has run.
    pub(crate) seconds: Option<f64>,
    /// Why the query failed.
    pub(crate) error: Option<String>,
}

/// A job with its output.
#[derive(serde::Serialize)]
pub(crate) struct LogsResult<'a> {
    /// The job.
    #[serde(flatten)]
    pub(crate) job: JobResult<'a>,
    /// Its output.
    #[serde(flatten)]
    pub(crate) output: Streams<'a>,
}

impl<'a> JobResult<'a> {
    /// An object without data.
    pub(crate) fn none(host: &'a HostName) -> Self {
        Self {
            host,
            ok: true,
            kind: End::Ok.kind(),
            job: None,
            key: None,
            state: None,
            exit: None,
            signal: None,
            detached: false,
            user: None,
            command: &[],
            started: None,
            seconds: None,
            error: None,
        }
    }

    /// The query of the host failed.
    pub(crate) fn failed(host: &'a HostName, error: &CliError) -> Self {
        let (kind, error) = (error.end().kind(), Some(error.line()));
        Self { ok: false, kind, error, ..Self::none(host) }
    }
}

fn lossy<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}

/// For a verb that adds no field.
#[derive(serde::Serialize)]
pub(crate) struct Nothing {}

/// Encodes a host's result as a line: how it ended, why, and what the verb adds.
pub(crate) fn result(
    host: &HostName,
    end: End,
    error: Option<String>,
    more: impl Serialize,
) -> Result<Vec<u8>, CliError> {
    line(&HostResult { host, ok: end == End::Ok, kind: end.kind(), error, more })
}

/// Encodes the result of a host where the verb failed.
pub(crate) fn failure(
    host: &HostName,
    error: &CliError,
    more: impl Serialize,
) -> Result<Vec<u8>, CliError> {
    result(host, error.end(), Some(error.line()), more)
}

/// Reports that a verb does not begin. With `json`, the one host that is named gets its object, and stderr nothing, as
/// where the verb failed on it.
pub(crate) fn not_begun(
    json: bool,
    targets: &Targets,
    error: CliError,
    more: impl Serialize,
) -> CliError {
    let Some(chosen) = targets.plain().filter(|_| json) else { return error };
    match failure(&chosen.host, &error, more).and_then(|object| results::bytes(&object)) {
        Ok(()) => error.quiet(),
        Err(error) => error,
    }
}

/// Encodes an object as a line.
pub(crate) fn line(object: &impl Serialize) -> Result<Vec<u8>, CliError> {
    let mut line = serde_json::to_vec(object)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_objects() {
        let host = "web1".parse().unwrap();
        let mut result = RunResult {
            host: &host,
            command: None,
            ok: true,
            end: End::Ok,
            exit: Some(0),
            signal: None,
            output: Streams {
                stdout: "grüße\n".as_bytes(),
                stderr: b"",
                truncated: false,
                replaced: 0,
            },
            seconds: 0.25,
            error: None,
            job: None,
        };
        let text = |result: &RunResult<'_>| serde_json::to_string(result).unwrap();
        insta::assert_snapshot!(text(&result), @r#"{"host":"web1","kind":"ok","ok":true,"exit":0,"signal":null,"stdout":"grüße\n","stderr":"","seconds":0.25,"error":null}"#);
        (result.ok, result.exit, result.signal) = (false, Some(137), Some(9));
        result.end = End::Failed;
        (result.output.stderr, result.output.truncated) = (b"\xff\xfe", true);
        result.output.replaced = 2;
        insta::assert_snapshot!(text(&result), @r#"{"host":"web1","kind":"failed","ok":false,"exit":137,"signal":9,"stdout":"grüße\n","stderr_base64":"//4=","truncated":true,"replaced":2,"seconds":0.25,"error":null}"#);
        result = RunResult {
            ok: true,
            end: End::Ok,
            exit: None,
            job: Some(JobId([0x2a; 16])),
            ..result
        };
        (result.signal, result.output) =
            (None, Streams { stdout: b"", stderr: b"", truncated: false, replaced: 0 });
        insta::assert_snapshot!(text(&result), @r#"{"host":"web1","kind":"ok","ok":true,"exit":null,"signal":null,"stdout":"","stderr":"","seconds":0.25,"error":null,"job":"2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a"}"#);
    }
}
