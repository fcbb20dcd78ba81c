//! The traffic secrets of a connection, and the keys derived from them (RFC 8446 section 7).

use std::fmt;
use std::sync::{Arc, Mutex};

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use lariat_base::lock::lock;
use rustls::crypto::tls13::{HkdfExpander, OkmBlock};
use rustls::{
    CipherSuite, ClientConfig, ConnectionTrafficSecrets, KeyLog, ServerConfig, Tls13CipherSuite,
};
use zeroize::{Zeroize, Zeroizing};

/// Keeps the first traffic secrets of one connection during its handshake.
///
/// It becomes the key log of the connection's configuration, so each connection needs a configuration of its
/// own.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Mutex<Both>>);

#[derive(Default)]
struct Both {
    client: Option<OkmBlock>,
    server: Option<OkmBlock>,
}

const CLIENT: &str = "CLIENT_TRAFFIC_SECRET_0";
const SERVER: &str = "SERVER_TRAFFIC_SECRET_0";

impl Secrets {
    /// Keeps the secrets of the one connection that a client makes with this configuration.
    pub fn keep_client(&self, config: &mut ClientConfig) {
        config.key_log = Arc::new(self.clone());
        config.enable_secret_extraction = true;
    }

    /// Keeps the secrets of the one connection that a server accepts with this configuration.
    pub fn keep_server(&self, config: &mut ServerConfig) {
        config.key_log = Arc::new(self.clone());
        config.enable_secret_extraction = true;
    }

    /// The client's and the server's secret, once the handshake is done.
    pub(super) fn take(&self) -> Option<(OkmBlock, OkmBlock)> {
        let mut both = lock(&self.0);
        both.client.take().zip(both.server.take())
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        let mut both = lock(&self.0);
        match label {
            CLIENT => both.client = Some(OkmBlock::new(secret)),
            SERVER => both.server = Some(OkmBlock::new(secret)),
            _ => {}
        }
    }

    fn will_log(&self, label: &str) -> bool {
        [CLIENT, SERVER].contains(&label)
    }
}

/// The keys of one direction until its next update.
pub(super) struct Keys {
    pub(super) key: LessSafeKey,
    pub(super) iv: [u8; 12],
}

/// A cipher suite that this end does not support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("TLS uses a cipher that is not known here")]
pub(super) struct UnknownCipher;

impl Keys {
    /// Derives the keys of a traffic secret (section 7.3).
    pub(super) fn of(suite: &Tls13CipherSuite, secret: &OkmBlock) -> Result<Self, UnknownCipher> {
        let algorithm = match suite.common.suite {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => &AES_128_GCM,
            CipherSuite::TLS13_AES_256_GCM_SHA384 => &AES_256_GCM,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => &CHACHA20_POLY1305,
            _ => return Err(UnknownCipher),
        };
        let expander = suite.hkdf_provider.expander_for_okm(secret);
        let mut key = Zeroizing::new([0; 32]);
        let key = &mut key[..algorithm.key_len()];
        expand(&*expander, b"key", key);
        let mut iv = [0; 12];
        expand(&*expander, b"iv", &mut iv);
        let key = UnboundKey::new(algorithm, key).map_err(|_| UnknownCipher)?;
        Ok(Self { key: LessSafeKey::new(key), iv })
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.iv.zeroize();
    }
}

/// The secret that follows this one after an update (section 7.2).
pub(super) fn next(suite: &Tls13CipherSuite, secret: &OkmBlock) -> OkmBlock {
    let expander = suite.hkdf_provider.expander_for_okm(secret);
    let mut next = Zeroizing::new([0; OkmBlock::MAX_LEN]);
    let next = &mut next[..expander.hash_len()];
    expand(&*expander, b"traffic upd", next);
    OkmBlock::new(next)
}

/// HKDF-Expand-Label with an empty context (section 7.1).
fn expand(expander: &dyn HkdfExpander, label: &[u8], out: &mut [u8]) {
    const PREFIX: &[u8] = b"tls13 ";
    let short = |len: usize| u8::try_from(len).expect("labels and outputs are under 64 bytes");
    let info: [&[u8]; 5] =
        [&[0, short(out.len())], &[short(PREFIX.len() + label.len())], PREFIX, label, &[0]];
    expander.expand_slice(&info, out).expect("a key is no longer than 255 hashes");
}

/// Whether rustls extracted the keys of `secret`.
pub(super) fn agree(
    suite: &Tls13CipherSuite,
    secret: &OkmBlock,
    extracted: &ConnectionTrafficSecrets,
) -> bool {
    let (key, iv) = match extracted {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key.as_ref(), iv.as_ref()),
        _ => return false,
    };
    let expander = suite.hkdf_provider.expander_for_okm(secret);
    let (mut our_key, mut our_iv) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 12]));
    let our_key = &mut our_key[..key.len().min(32)];
    expand(&*expander, b"key", our_key);
    expand(&*expander, b"iv", &mut *our_iv);
    our_key == key && *our_iv == iv
}
