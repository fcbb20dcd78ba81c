//! What the owner of a request reads out to whoever adds it: `ID:SUM`. The id names the key, the sum covers the whole
//! request. Verifiers can't be tied to an id without the key, so the id alone does not show that they were exchanged.

use std::fmt;
use std::str::FromStr;

use lariat_base::name::KeyId;
use sha2::{Digest, Sha256};

use super::proof::{labelled, prefixed};
use super::request_file::{HostRequest, RequestFile};

/// What to say to whoever has compared an id and no sum.
pub const ID_ALONE: &str = "the id alone does not show that verifiers were exchanged: let the owner read out ID:SUM, which key request prints";

/// The fingerprint of a request: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestSum([u8; 8]);

impl RequestSum {
    /// The sum over all that the request says, whatever its file looks like.
    pub fn of(request: &RequestFile) -> Self {
        let RequestFile { id, label, hosts } = request;
        let mut hash = Sha256::new_with_prefix(labelled(" request"));
        hash.update(id.0);
        hash.update(prefixed(label.as_str().as_bytes()));
        for HostRequest { host, enrolment, verifier } in hosts {
            hash.update(prefixed(host.as_str().as_bytes()));
            hash.update(enrolment.0);
            hash.update(verifier.stored.expose());
            hash.update(verifier.agent.expose());
        }
        let hash: [u8; 32] = hash.finalize().into();
        Self(*hash.first_chunk().expect("8 of 32 bytes"))
    }
}

impl fmt::Display for RequestSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A key's id, and a request's sum if it was read out too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOut {
    /// The key's id.
    pub id: KeyId,
    /// The request's sum.
    pub sum: Option<RequestSum>,
}

/// A text is neither an id nor an id with a sum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ID:SUM is 32 and 16 hexadecimal digits, as key request prints them")]
pub struct BadReadOut;

/// A request is not the one that was read out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exchanged {
    /// It is of another key.
    #[error("the request is of the key {0}")]
    Key(KeyId),
    /// It is of this key, and says something else.
    #[error("the request's sum is {0}, and not the one that was read out")]
    Content(RequestSum),
}

impl ReadOut {
    /// What the owner of this request reads out.
    pub fn of(request: &RequestFile) -> Self {
        Self { id: request.id, sum: Some(RequestSum::of(request)) }
    }

    /// Refuses a request that is not the one that was read out.
    pub fn check(&self, request: &RequestFile) -> Result<(), Exchanged> {
        if self.id != request.id {
            return Err(Exchanged::Key(request.id));
        }
        let sum = RequestSum::of(request);
        if self.sum.is_some_and(|given| given != sum) {
            Err(Exchanged::Content(sum))
        } else {
            Ok(())
        }
    }
}

impl FromStr for ReadOut {
    type Err = BadReadOut;

    fn from_str(text: &str) -> Result<Self, BadReadOut> {
        let (id, sum) = match text.split_once(':') {
            Some((id, sum)) => (id, Some(sum)),
            None => (text, None),
        };
        let sum = sum.map(|sum| {
            let mut bytes = [0; 8];
            hex::decode_to_slice(sum, &mut bytes).map(|()| RequestSum(bytes))
        });
        let sum = sum.transpose().map_err(|_| BadReadOut)?;
        Ok(Self { id: id.parse().map_err(|_| BadReadOut)?, sum })
    }
}

impl fmt::Display for ReadOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sum {
            Some(sum) => write!(f, "{}:{sum}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lariat_base::name::EnrolmentId;
    use lariat_base::secret::Secret;

    use super::*;
    use crate::auth::proof::{HostKeys, key_id};

    /// The key of the vector in docs/PROTOCOL.md, for these hosts.
    fn request(hosts: &[&str]) -> RequestFile {
        let key = Secret::new(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        let hosts = hosts.iter().map(|host| {
            let (host, enrolment) = (host.parse().unwrap(), EnrolmentId([0xe1; 16]));
            let verifier = HostKeys::derive(&key, &host, &enrolment).verifier();
            HostRequest { host, enrolment, verifier }
        });
        RequestFile {
            id: key_id(&key),
            label: "bob@laptop".parse().unwrap(),
            hosts: hosts.collect(),
        }
    }

    #[test]
    fn test_vector() {
        let read_out = ReadOut::of(&request(&["web-01"])).to_string();
        assert_eq!(read_out, "f200b37c89fbd07ebda24f234f12c0af:eaba019bc6756b79");
    }

    #[test]
    fn whatever_is_exchanged_changes_the_sum_and_the_form_of_the_file_does_not() {
        let honest = request(&["web1", "web2"]);
        let read_out = ReadOut::of(&honest);
        assert_eq!(read_out.to_string().parse(), Ok(read_out));
        let text = honest.to_toml();
        let same = text.replace("\n\n", "\n# a comment\n\n").replace(" = ", "=");
        let parse = |text: &str| RequestFile::parse(Path::new("REQ"), text).unwrap();
        assert_eq!(read_out.check(&parse(&same)), Ok(()));

        let values = text.lines().filter_map(|line| line.split_once(" = \""));
        let values: Vec<&str> = values.map(|(_, value)| value.trim_end_matches('"')).collect();
        assert_eq!(values.len(), 10);
        for value in &values[1..] {
            // The last character of each becomes another one of its kind.
            let (start, last) = value.split_at(value.len() - 1);
            let other = format!("{start}{}", if last == "1" { "2" } else { "1" });
            let changed =
                parse(&text.replacen(&format!("\"{value}\""), &format!("\"{other}\""), 1));
            assert!(matches!(read_out.check(&changed), Err(Exchanged::Content(_))), "{value}");
            assert_eq!(ReadOut { sum: None, ..read_out }.check(&changed), Ok(()), "{value}");
        }
        for hosts in [&["web1"][..], &["web2", "web1"], &["web1", "web2", "web2"], &[]] {
            assert!(read_out.check(&request(hosts)).is_err(), "{hosts:?}");
        }
        let other = parse(&text.replacen(values[0], &"0".repeat(32), 1));
        assert_eq!(read_out.check(&other), Err(Exchanged::Key(KeyId([0; 16]))));
    }

    #[test]
    fn anything_but_an_id_with_or_without_a_sum_is_refused() {
        let id = "0c".repeat(16);
        assert_eq!(id.parse(), Ok(ReadOut { id: KeyId([0x0c; 16]), sum: None }));
        let digits = "0".repeat(16);
        for bad in [
            &id[1..],
            "",
            ":",
            &format!("{id}:"),
            &format!(":{digits}"),
            &format!("{id}:{digits}0"),
            &format!("{id}:{digits}:{digits}"),
            &format!("{id}: {digits}"),
        ] {
            assert_eq!(bad.parse::<ReadOut>(), Err(BadReadOut), "{bad}");
        }
    }
}
