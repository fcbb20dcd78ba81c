//! TLS as both ends use it: version 1.3 only, lariat's ALPN, hybrid key exchange first, and AES-128-GCM first
//! where the processor has AES, for the speed of transfers.
//!
//! rustls does the handshake, over a [`RecordAligned`] stream and with its [`Secrets`] kept; a [`Channel`]
//! then takes the connection over.

mod channel;
mod record;
mod record_aligned;
mod secrets;

#[cfg(test)]
mod tests;

use std::sync::Arc;

#[cfg(feature = "fuzzing")]
pub use channel::fuzzing::read_records;
pub use channel::{Channel, TakeOverError};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};

pub use record_aligned::RecordAligned;
pub use secrets::Secrets;

use crate::auth::proof::{EXPORTER_LABEL, Exporter};

/// The protocol that both ends must name in their handshake.
pub const ALPN: &[u8] = b"lariat/1";

/// Ciphers in order of preference, and the key exchanges of aws-lc-rs, X25519MLKEM768 first.
///
/// On a processor without AES instructions ChaCha20-Poly1305 comes first.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = default_provider();
    let aes = cipher_suite::TLS13_AES_128_GCM_SHA256;
    let aes256 = cipher_suite::TLS13_AES_256_GCM_SHA384;
    let chacha = cipher_suite::TLS13_CHACHA20_POLY1305_SHA256;
    provider.cipher_suites =
        if has_aes() { vec![aes, chacha, aes256] } else { vec![chacha, aes, aes256] };
    Arc::new(provider)
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}

/// The exporter of a connection whose handshake is done. Any failure must end the connection.
pub fn exporter<Side>(
    connection: &rustls::ConnectionCommon<Side>,
) -> Result<Exporter, rustls::Error> {
    connection.export_keying_material([0; 32], EXPORTER_LABEL, Some(&[]))
}
