//! Tests against rustls at the other end, over a stream in memory.

use std::sync::Arc;

use proptest::prelude::*;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedCipherSuite};
use rustls_pki_types::{PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::record::{BadRecord, Content, HEADER, MAX_CONTENT, OVERHEAD, RecordEvent, record_len};
use super::*;

const SUITES: [SupportedCipherSuite; 3] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
];

type Ours = Channel<DuplexStream>;

fn configs(suite: SupportedCipherSuite) -> (ClientConfig, ServerConfig) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["host".to_owned()]).unwrap();
    let provider = CryptoProvider { cipher_suites: vec![suite], ..default_provider() };
    let provider = Arc::new(provider);
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (client, server)
}

fn name() -> ServerName<'static> {
    ServerName::try_from("host").unwrap()
}

/// Our client and rustls's server, which has sent `early` in its first flight, followed by tickets.
async fn client(
    suite: SupportedCipherSuite,
    early: &[u8],
) -> (Ours, server::TlsStream<DuplexStream>) {
    let (near, far) = duplex(100_000);
    let (mut client, mut server) = configs(suite);
    let secrets = Secrets::default();
    secrets.keep_client(&mut client);
    server.send_half_rtt_data = true;
    let connector = TlsConnector::from(Arc::new(client));
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let write = |tls: &mut rustls::ServerConnection| {
        std::io::Write::write_all(&mut tls.writer(), early).unwrap();
    };
    let (ours, theirs) = tokio::join!(
        connector.connect(name(), RecordAligned::new(near)),
        acceptor.accept_with(far, write)
    );
    let (stream, connection) = ours.unwrap().into_inner();
    (Channel::take_over(stream, connection, &secrets).unwrap(), theirs.unwrap())
}

/// Our server and rustls's client, which has sent `early` right after its Finished.
async fn server(
    suite: SupportedCipherSuite,
    early: &[u8],
) -> (Ours, client::TlsStream<DuplexStream>) {
    let (near, far) = duplex(100_000);
    let (client, mut server) = configs(suite);
    let secrets = Secrets::default();
    secrets.keep_server(&mut server);
    server.send_tls13_tickets = 0;
    let connector = TlsConnector::from(Arc::new(client));
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let theirs = async {
        let mut theirs = connector.connect(name(), far).await.unwrap();
        theirs.write_all(early).await.unwrap();
        theirs.flush().await.unwrap();
        theirs
    };
    let (ours, theirs) = tokio::join!(acceptor.accept(RecordAligned::new(near)), theirs);
    let (stream, connection) = ours.unwrap().into_inner();
    (Channel::take_over(stream, connection, &secrets).unwrap(), theirs)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 251).to_le_bytes()[0]).collect()
}

/// Writes `bytes` in parts of many sizes.
async fn write(mut to: impl AsyncWriteExt + Unpin, bytes: &[u8]) {
    let sizes = [1, 100_000, 16_384, 16_385, 5, 300_000];
    let (mut at, mut sizes) = (0, sizes.iter().cycle());
    while at < bytes.len() {
        let end = bytes.len().min(at + sizes.next().unwrap());
        to.write_all(&bytes[at..end]).await.unwrap();
        at = end;
        to.flush().await.unwrap();
    }
}

/// Reads `len` bytes into buffers of many sizes.
async fn read(mut from: impl AsyncReadExt + Unpin, len: usize) -> Vec<u8> {
    let sizes = [1, 7, 50_000, 16_384, 16_385, 600_000];
    let (mut all, mut sizes) = (Vec::new(), sizes.iter().cycle());
    while all.len() < len {
        let mut buffer = vec![0; (*sizes.next().unwrap()).min(len - all.len())];
        let read = from.read(&mut buffer).await.unwrap();
        assert!(read > 0);
        all.extend_from_slice(&buffer[..read]);
    }
    all
}

/// Sends `sent` both ways at once.
async fn exchange<S>(ours: Ours, theirs: S, sent: &[u8])
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let (our_in, mut our_out) = split(ours);
    let (their_in, mut their_out) = split(theirs);
    let both = async {
        tokio::join!(
            write(&mut our_out, sent),
            write(&mut their_out, sent),
            read(our_in, sent.len()),
            read(their_in, sent.len())
        )
    };
    let ((), (), to_us, to_them) = both.await;
    assert!(to_us == sent && to_them == sent);
}

#[tokio::test]
async fn bytes_go_both_ways_exactly_under_every_cipher_as_client_and_as_server() {
    let sent = bytes(3_000_000);
    for suite in SUITES {
        let (mut ours, theirs) = client(suite, b"early").await;
        let mut early = [0; 5];
        ours.read_exact(&mut early).await.unwrap();
        assert_eq!(&early, b"early");
        exchange(ours, theirs, &sent).await;
        let (mut ours, theirs) = server(suite, &sent[..70_000]).await;
        let mut early = vec![0; 70_000];
        ours.read_exact(&mut early).await.unwrap();
        assert!(early == sent[..70_000]);
        exchange(ours, theirs, &sent).await;
    }
}

#[tokio::test]
async fn our_keys_change_before_they_are_worn_and_rustls_follows() {
    let sent = bytes(1_000_000);
    for suite in SUITES {
        let (mut ours, theirs) = client(suite, b"e").await;
        assert_eq!(ours.read_u8().await.unwrap(), b'e');
        exchange(ours.with_key_limit(3), theirs, &sent).await;
        let (ours, theirs) = server(suite, b"").await;
        exchange(ours.with_key_limit(1), theirs, &sent).await;
    }
}

#[tokio::test]
async fn keys_of_rustls_change_and_so_do_ours_when_it_asks() {
    let sent = bytes(200_000);
    for suite in SUITES {
        let (mut ours, mut theirs) = server(suite, b"").await;
        for _ in 0..5 {
            theirs.get_mut().1.refresh_traffic_keys().unwrap();
            for _ in 0..2 {
                let there = async {
                    theirs.write_all(&sent).await.unwrap();
                    theirs.flush().await.unwrap();
                };
                let ((), came) = tokio::join!(there, read(&mut ours, sent.len()));
                assert!(came == sent);
                ours.write_all(b"back").await.unwrap();
                ours.flush().await.unwrap();
                assert_eq!(read(&mut theirs, 4).await, b"back");
            }
        }
    }
}

#[tokio::test]
async fn an_end_in_order_and_a_cut_are_told_apart() {
    let (mut ours, mut theirs) = server(SUITES[0], b"last").await;
    theirs.shutdown().await.unwrap();
    let mut all = Vec::new();
    ours.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"last");
    assert_eq!(ours.read(&mut [0; 5]).await.unwrap(), 0);
    // The other direction still works.
    ours.write_all(b"answer").await.unwrap();
    ours.shutdown().await.unwrap();
    theirs.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"lastanswer");
    assert!(ours.write_all(b"more").await.is_err());

    let (mut ours, theirs) = server(SUITES[0], b"last").await;
    drop(theirs);
    let error = ours.read_to_end(&mut all).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);

    let (ours, mut theirs) = server(SUITES[0], b"").await;
    drop(ours);
    let error = theirs.read(&mut [0; 5]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

/// The error of our reader for bytes that rustls did not send.
async fn told(forge: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
    let (mut ours, theirs) = server(SUITES[0], b"").await;
    let (mut below, mut connection) = theirs.into_inner();
    std::io::Write::write_all(&mut connection.writer(), &bytes(1000)).unwrap();
    let mut record = Vec::new();
    connection.write_tls(&mut record).unwrap();
    assert_eq!(record.len(), 1000 + OVERHEAD);
    below.write_all(&forge(record)).await.unwrap();
    drop(below);
    ours.read_to_end(&mut Vec::new()).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_forged_record_is_an_error() {
    const FORGED: &str = "a TLS record is damaged or forged";
    const HEADER_WRONG: &str = "a TLS record has no valid header";
    for place in [2, HEADER, 500, 1000 + OVERHEAD - 1] {
        let flip = |mut record: Vec<u8>| {
            record[place] ^= 1;
            record
        };
        assert_eq!(told(flip).await, FORGED, "byte {place}");
    }
    assert_eq!(told(|record| [record.clone(), record].concat()).await, FORGED, "a replay");
    assert_eq!(told(|record| [&[22], &record[1..]].concat()).await, HEADER_WRONG);
    assert_eq!(told(|_| vec![23, 3, 3, 0xff, 0xff]).await, HEADER_WRONG);
    assert_eq!(told(|_| vec![23, 3, 3, 0, 16]).await, HEADER_WRONG);
    assert_eq!(told(|record| record[..700].to_vec()).await, "unexpected end of file");
}

#[tokio::test]
async fn records_without_content_do_not_keep_us_busy_for_ever() {
    let (ours, mut theirs) = client(SUITES[0], b"e").await;
    let mut ours = ours;
    ours.read_u8().await.unwrap();
    // rustls never sends empty records, so our own end does.
    let mut hostile = ours;
    for _ in 0..40 {
        hostile.seal_for_test(Content::Data, b"");
    }
    hostile.flush().await.unwrap();
    assert!(theirs.read(&mut [0; 1]).await.is_err());
    let (mut ours, theirs) = server(SUITES[0], b"").await;
    let (mut below, mut connection) = theirs.into_inner();
    for _ in 0..40 {
        connection.refresh_traffic_keys().unwrap();
        let mut record = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut record).unwrap();
        }
        below.write_all(&record).await.unwrap();
    }
    let error = ours.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.to_string(), "a TLS record has an impossible content");
}

#[tokio::test]
async fn a_connection_is_taken_over_only_with_its_own_secrets_and_between_records() {
    let (near, far) = duplex(100_000);
    let (mut client, server) = configs(SUITES[0]);
    client.enable_secret_extraction = true;
    let connector = TlsConnector::from(Arc::new(client));
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let (ours, theirs) =
        tokio::join!(connector.connect(name(), RecordAligned::new(near)), acceptor.accept(far));
    let (stream, connection) = ours.unwrap().into_inner();
    let taken = Channel::take_over(stream, connection, &Secrets::default());
    let error = taken.err().unwrap().to_string();
    assert_eq!(error, "the TLS connection can't be taken over: its secrets were not kept");
    drop(theirs);
}

fn protection() -> (record::Sealer, record::Opener) {
    let suite = SUITES[0].tls13().unwrap();
    let secret = || rustls::crypto::tls13::OkmBlock::new(&[7; 32]);
    let sealer = record::Sealer::new(suite, secret(), 5).unwrap();
    (sealer, record::Opener::new(suite, secret(), 5).unwrap())
}

proptest! {
    #[test]
    fn what_is_sealed_opens_and_any_change_does_not(
        content in proptest::collection::vec(any::<u8>(), 0..300),
        place in any::<proptest::sample::Index>(),
        change in 1..=u8::MAX,
    ) {
        let (mut sealer, mut opener) = protection();
        let mut record = vec![0; content.len() + OVERHEAD];
        prop_assert_eq!(sealer.seal(Content::Data, &content, &mut record), record.len());
        prop_assert_eq!(record_len(&record), Ok(Some(record.len())));
        let mut out = vec![0; content.len() + 1];
        prop_assert_eq!(opener.open(&record, &mut out), Ok((Content::Data, content.len())));
        prop_assert_eq!(&out[..content.len()], &content);
        sealer.seal(Content::Data, &content, &mut record);
        let mut forged = record.clone();
        forged[place.index(record.len())] ^= change;
        prop_assert_eq!(opener.open_in_place(&mut forged), Err(BadRecord::Forged));
    }

    #[test]
    fn any_bytes_are_an_error_and_no_more(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let (_, mut opener) = protection();
        let _ = record_len(&bytes);
        prop_assert!(opener.open(&bytes, &mut [0; 100]).is_err());
        prop_assert!(opener.open(&bytes, &mut []).is_err());
        prop_assert!(opener.open_in_place(&mut bytes.clone()).is_err());
    }
}

#[test]
fn what_a_record_says_is_whole_or_an_error() {
    assert_eq!(RecordEvent::of(Content::Data, b""), Ok(RecordEvent::Data));
    assert_eq!(RecordEvent::of(Content::Alert, &[1, 0]), Ok(RecordEvent::Closed));
    assert_eq!(RecordEvent::of(Content::Alert, &[2, 20]), Err(BadRecord::Alert(20)));
    assert_eq!(
        RecordEvent::of(Content::Handshake, &[24, 0, 0, 1, 1]),
        Ok(RecordEvent::Update { asked: true })
    );
    assert_eq!(RecordEvent::of(Content::Handshake, &[4, 0, 0]), Ok(RecordEvent::Ticket));
    for bad in [&[][..], &[1], &[1, 0, 0]] {
        assert_eq!(RecordEvent::of(Content::Alert, bad), Err(BadRecord::Content));
    }
    for bad in [&[][..], &[24, 0, 0, 1], &[24, 0, 0, 1, 2], &[24, 0, 0, 1, 0, 0], &[1, 0, 0]] {
        assert_eq!(RecordEvent::of(Content::Handshake, bad), Err(BadRecord::Content));
    }
}

#[test]
fn a_records_length_is_known_once_its_header_is_there() {
    assert_eq!(record_len(&[23, 3, 3, 0]), Ok(None));
    assert_eq!(record_len(&[23, 3, 3, 0, 17]), Ok(Some(22)));
    assert_eq!(record_len(&[23, 3, 3, 0x41, 0]), Ok(Some(HEADER + MAX_CONTENT + 256)));
    assert_eq!(record_len(&[23, 3, 3, 0x41, 1]), Err(BadRecord::Header));
    assert_eq!(record_len(&[20, 3, 3, 0, 17]), Err(BadRecord::Header));
}

#[tokio::test]
async fn after_the_end_of_tls_come_the_bytes_of_the_stream_itself() {
    for (last, is_ended) in [(&b""[..], true), (b"more", false)] {
        let (ours, mut theirs) = server(SUITES[0], b"").await;
        let peer = async {
            theirs.write_all(last).await.unwrap();
            theirs.get_mut().1.send_close_notify();
            theirs.flush().await.unwrap();
            theirs.get_mut().0.write_all(b"bare").await.unwrap();
            assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0);
        };
        let (bare, ()) = tokio::join!(ours.bare(), peer);
        assert_eq!(bare.is_ok(), is_ended);
        if let Ok((mut stream, mut after)) = bare {
            let mut rest = vec![0; 4 - after.len()];
            stream.read_exact(&mut rest).await.unwrap();
            after.extend(rest);
            assert_eq!(after, b"bare");
        }
    }
}
