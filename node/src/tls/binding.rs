//! Channel binding data of a client's TLS connection: tls-exporter (RFC 9266) and
//! tls-server-end-point (RFC 5929).

use entente_xmpp_core::sasl::ChannelBindings;
use entente_xmpp_core::stream::TlsChannel;
use ring::digest;
use rustls::{ProtocolVersion, ServerConnection};

use super::DomainCertificates;

/// What the SASL layer needs to know of an established connection.
pub(crate) fn channel(
    connection: &ServerConnection,
    certificates: &DomainCertificates,
) -> TlsChannel {
    let tls13 = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    let exporter = tls13
        .then(|| {
            connection
                .export_keying_material([0_u8; 32], b"EXPORTER-Channel-Binding", None)
                .ok()
        })
        .flatten();
    let shown = certificates.shown(connection.server_name());
    let end_point = shown.cert.first().and_then(|leaf| end_point_hash(leaf));
    TlsChannel {
        bindings: ChannelBindings {
            exporter,
            end_point,
        },
        tls13,
    }
}

/// The hash of the certificate by its signature algorithm's hash, SHA-256 in place of MD5 and SHA-1.
/// `None` where RFC 5929 leaves the hash undefined (Ed25519).
fn end_point_hash(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let algorithm = match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
        // md5WithRSA, sha1WithRSA, sha256WithRSA, ecdsa-with-SHA1, ecdsa-with-SHA256
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => &digest::SHA256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &digest::SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &digest::SHA512,
        _ => return None,
    };
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}
