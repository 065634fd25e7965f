//! The names in a SIP peer's certificate, and which domains they prove (RFC 5922 section 7).

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

/// The names of a certificate whose chain was checked; all in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CertificateNames {
    /// The domains of URIs `sip:domain` among the subject alternative names.
    sip: Vec<String>,
    /// The dNSNames.
    dns: Vec<String>,
    /// The common name; only of a certificate without subject alternative names.
    common: Option<String>,
}

impl CertificateNames {
    /// Reads the names; none of a certificate that can't be read.
    pub(crate) fn of(leaf: &CertificateDer<'_>) -> Self {
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(leaf) else {
            return Self::default();
        };
        let mut names = Self::default();
        match certificate.subject_alternative_name() {
            Ok(Some(alternatives)) => {
                for name in &alternatives.value.general_names {
                    match name {
                        GeneralName::URI(uri) => names.sip.extend(domain_of(uri)),
                        GeneralName::DNSName(name) => names.dns.push(name.to_ascii_lowercase()),
                        _ => {}
                    }
                }
            }
            Ok(None) => {
                let common = certificate.subject().iter_common_name().next();
                names.common = common
                    .and_then(|name| name.as_str().ok())
                    .map(str::to_ascii_lowercase);
            }
            // Twice the same extension: nothing can be believed.
            Err(_) => {}
        }
        names
    }

    /// Whether the certificate speaks for `domain` (an A-label domain): by SIP URIs if it has any, else
    /// by DNS names. Whole names only: a wildcard proves no SIP domain (section 7.2).
    pub(crate) fn prove(&self, domain: &str) -> bool {
        let names = if self.sip.is_empty() {
            &self.dns
        } else {
            &self.sip
        };
        names.iter().any(|name| name.eq_ignore_ascii_case(domain))
    }

    /// Whether `subject`, which an operator wrote down or DNS led to, stands in the certificate.
    pub(crate) fn have(&self, subject: &str, common_name_too: bool) -> bool {
        let mut names = self.sip.iter().chain(&self.dns);
        names.any(|name| name.eq_ignore_ascii_case(subject))
            || common_name_too
                && self
                    .common
                    .as_ref()
                    .is_some_and(|name| name.eq_ignore_ascii_case(subject))
    }

    /// All names, for the log and the status.
    pub(crate) fn shown(&self) -> String {
        let uris = self.sip.iter().map(|domain| format!("sip:{domain}"));
        let common = self.common.iter().map(|name| format!("CN={name}"));
        let all: Vec<String> = uris.chain(self.dns.iter().cloned()).chain(common).collect();
        all.join(" ")
    }
}

/// The domain of `sip:domain`; `None` for other URIs, and for those that name a user or more.
fn domain_of(uri: &str) -> Option<String> {
    let uri = uri.to_ascii_lowercase();
    let domain = uri.strip_prefix("sip:")?;
    let plain = !domain.is_empty() && !domain.contains(['@', ';', '?', ':', '/', '*']);
    plain.then(|| domain.to_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn names(common: &str, alternatives: Vec<SanType>) -> CertificateNames {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common);
        params.subject_alt_names = alternatives;
        let key = KeyPair::generate().unwrap();
        CertificateNames::of(params.self_signed(&key).unwrap().der())
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    fn uri(uri: &str) -> SanType {
        SanType::URI(uri.try_into().unwrap())
    }

    #[test]
    fn sip_uris_count_alone_where_there_are_any() {
        let both = names("x", vec![dns("edge.example.com"), uri("sip:example.com")]);
        assert!(both.prove("example.com") && both.prove("EXAMPLE.com"));
        assert!(!both.prove("edge.example.com"));
        assert!(both.have("edge.example.com", false));
        let host_only = names("x", vec![dns("example.com")]);
        assert!(host_only.prove("example.com"));
        assert!(!host_only.prove("sub.example.com") && !host_only.prove("com"));
    }

    #[test]
    fn users_and_other_schemes_prove_no_domain() {
        let odd = names(
            "x",
            vec![
                uri("sip:alice@example.com"),
                uri("https://example.com"),
                uri("sip:example.com:5061"),
            ],
        );
        assert!(!odd.prove("example.com"));
    }

    #[test]
    fn wildcards_prove_nothing_but_can_be_written_down() {
        let wild = names("x", vec![dns("*.example.com")]);
        assert!(!wild.prove("edge.example.com"));
        assert!(wild.have("*.example.com", false));
        assert!(!wild.have("edge.example.com", false));
    }

    #[test]
    fn the_common_name_counts_only_where_allowed_and_alone() {
        let alone = names("edge.example.com", vec![]);
        assert!(alone.have("edge.example.com", true));
        assert!(!alone.have("edge.example.com", false));
        assert!(!alone.prove("edge.example.com"));
        let beside = names("edge.example.com", vec![dns("other.example")]);
        assert!(!beside.have("edge.example.com", true));
    }
}
