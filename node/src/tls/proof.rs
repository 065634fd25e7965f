//! What a peer's certificate proves (RFC 6125, RFC 9525, RFC 6120 section 13.7): subject alternative
//! names only, serverAuth in both directions. Public CAs issue no clientAuth any more, so rustls'
//! stock client verifier would refuse most of the Internet; and a certificate with clientAuth alone
//! proves nothing for a server.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::der_parser::Oid;
use x509_parser::extensions::GeneralName;

/// The CAs that external certificates are checked against; reloadable.
#[derive(Clone)]
pub(crate) struct PeerTrust {
    anchors: Arc<ArcSwap<Vec<TrustAnchor<'static>>>>,
}

impl PeerTrust {
    pub(crate) fn new(anchors: Vec<TrustAnchor<'static>>) -> Self {
        Self {
            anchors: Arc::new(ArcSwap::from_pointee(anchors)),
        }
    }

    /// Replaces the CAs; handshakes under way keep the old ones.
    pub(crate) fn replace(&self, anchors: Vec<TrustAnchor<'static>>) {
        self.anchors.store(Arc::new(anchors));
    }

    /// Whether `chain` proves that its owner is the server of `domain` (an A-label domain).
    pub(crate) fn proves(&self, chain: &[CertificateDer<'_>], domain: &str, now: UnixTime) -> bool {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return false;
        };
        let Ok(end_entity) = EndEntityCert::try_from(leaf) else {
            return false;
        };
        let anchors = self.anchors.load();
        let algorithms = rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .all;
        if end_entity
            .verify_for_usage(
                algorithms,
                &anchors,
                intermediates,
                now,
                KeyUsage::server_auth(),
                None,
                None,
            )
            .is_err()
        {
            return false;
        }
        let by_dns_name = ServerName::try_from(domain)
            .is_ok_and(|name| end_entity.verify_is_valid_for_subject_name(&name).is_ok());
        by_dns_name || names_in_other_names(leaf, domain)
    }
}

impl PeerTrust {
    /// Whether the chain leads to one of the CAs, with a certificate for servers or for clients: SIP
    /// servers are both, and CAs issue now one, now the other.
    pub(crate) fn verifies(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let end_entity = EndEntityCert::try_from(leaf)?;
        let anchors = self.anchors.load();
        let algorithms = rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .all;
        let check = |usage| {
            let path = end_entity.verify_for_usage(
                algorithms,
                &anchors,
                intermediates,
                now,
                usage,
                None,
                None,
            );
            path.map(|_| ())
        };
        check(KeyUsage::server_auth()).or_else(|_| check(KeyUsage::client_auth()))
    }
}

/// id-on-xmppAddr (RFC 6120 section 13.7.1.4) and SRVName `_xmpp-server.` (RFC 4985).
fn names_in_other_names(leaf: &CertificateDer<'_>, domain: &str) -> bool {
    let xmpp_addr = Oid::from(&[1, 3, 6, 1, 5, 5, 7, 8, 5]).expect("a constant object identifier");
    let srv_name = Oid::from(&[1, 3, 6, 1, 5, 5, 7, 8, 7]).expect("a constant object identifier");
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(leaf) else {
        return false;
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return false;
    };
    names.value.general_names.iter().any(|name| {
        let GeneralName::OtherName(kind, value) = name else {
            return false;
        };
        let Some(text) = string_in(value) else {
            return false;
        };
        if *kind == xmpp_addr {
            text.eq_ignore_ascii_case(domain)
        } else if *kind == srv_name {
            text.strip_prefix("_xmpp-server.")
                .is_some_and(|name| name.eq_ignore_ascii_case(domain))
        } else {
            false
        }
    })
}

/// The string inside `[0] EXPLICIT UTF8String | IA5String`, the shape of both name kinds.
fn string_in(value: &[u8]) -> Option<&str> {
    let inner = short_der(value, 0xa0)?;
    let text = short_der(inner, 0x0c).or_else(|| short_der(inner, 0x16))?;
    std::str::from_utf8(text).ok()
}

/// The content of one DER value with `tag` and a length below 256: names are no longer.
fn short_der(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (&first, rest) = bytes.split_first()?;
    if first != tag {
        return None;
    }
    let (&length, rest) = rest.split_first()?;
    match length {
        0..=0x7f => rest.get(..usize::from(length)),
        0x81 => {
            let (&length, rest) = rest.split_first()?;
            rest.get(..usize::from(length))
        }
        _ => None,
    }
}

/// The system's CA certificates (Debian's bundle), or those of `file`.
pub(crate) fn load_anchors(
    file: Option<&std::path::Path>,
) -> Result<Vec<TrustAnchor<'static>>, super::TlsError> {
    let system = std::path::Path::new("/etc/ssl/certs/ca-certificates.crt");
    let path = match file {
        Some(path) => path,
        None if system.exists() => system,
        None => return Ok(Vec::new()),
    };
    let certificates = super::pem::chain(path)?;
    let mut anchors = Vec::with_capacity(certificates.len());
    for certificate in &certificates {
        match webpki::anchor_from_trusted_cert(certificate) {
            Ok(anchor) => anchors.push(anchor.to_owned()),
            Err(error) if file.is_some() => {
                tracing::warn!(file = %path.display(), %error, "a CA certificate was skipped");
            }
            Err(_) => {}
        }
    }
    Ok(anchors)
}
